"""What payments offer, reached over HTTP as a shop does."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gldnode.params import REGTEST
from payments.receipts import parse_receipt, verify_receipt
from tests.support.shop import Shop, open_shop
from tests.support.till import XPUB


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as shop:
        await shop.till.fill_purse(3)
        await shop.service.set_chain_method(shop.store.id, XPUB)
        yield shop


def path(shop: Shop, rest: str = "") -> str:
    return f"/api/v1/stores/{shop.store.id}{rest}"


async def test_an_unconfirmed_payment_comes_with_its_risk(shop: Shop) -> None:
    settings = {
        "zeroConf": {"maxAmount": "2", "minFeeratePerKvb": 1000, "secondsSeen": 30},
        "confirmationsByAmount": [{"amount": "5", "confirmations": 4}],
        "speedPolicy": "HighSpeed",
    }
    changed = await shop.owner.put(path(shop), {"name": "Shop", **settings})
    assert changed.status == 200
    assert {name: changed.json[name] for name in settings} == settings
    assert (await shop.owner.put(path(shop), {"zeroConf": {"secondsSeen": -1}})).status == 422
    assert (await shop.owner.put(path(shop), {"confirmationsByAmount": [{"confirmations": 1}]})).status == 422
    kept = await shop.owner.put(path(shop), {"zeroConf": {"secondsSeen": 60}})
    assert kept.json["zeroConf"] == {"maxAmount": "2", "minFeeratePerKvb": 1000, "secondsSeen": 60}
    made = await shop.owner.post(path(shop, "/invoices"), {"amount": "1", "currency": "GLD"})
    invoice = shop.service.invoice(made.json["id"])
    assert invoice is not None
    await shop.till.pay(invoice, sequence=0xFFFFFFFD)
    shop.till.pass_time(7)
    explained = await shop.owner.get(path(shop, f"/invoices/{invoice.id}/explain"))
    (payment,) = explained.json["payments"]
    risk = payment["risk"]
    assert risk["signalsReplacement"]
    assert risk["inMempool"]
    assert not risk["withinPolicy"]
    assert (risk["secondsSeen"], risk["unconfirmedAncestors"], risk["conflictSeen"]) == (7, 0, False)
    assert risk["findings"][0] == "It signals that it may be replaced."
    await shop.till.mine()
    methods = await shop.owner.get(path(shop, f"/invoices/{invoice.id}/payment-methods"))
    (payment,) = methods.json[0]["payments"]
    assert "risk" not in payment
    assert payment["confirmations"] == 1
    large = await shop.owner.post(path(shop, "/invoices"), {"amount": "5", "currency": "GLD"})
    stored = shop.service.invoice(large.json["id"])
    assert stored is not None
    assert stored.depth == 4


async def test_a_settled_invoice_has_a_receipt(shop: Shop) -> None:
    made = await shop.owner.post(path(shop, "/invoices"), {"amount": "1", "currency": "GLD"})
    where = path(shop, f"/invoices/{made.json['id']}/receipt")
    assert (await shop.owner.get(where)).status == 409
    invoice = shop.service.invoice(made.json["id"])
    assert invoice is not None
    await shop.till.pay(invoice)
    await shop.till.mine(2)
    answer = await shop.owner.get(where)
    assert answer.status == 200
    receipt = parse_receipt(json.dumps(answer.json).encode())
    assert len(verify_receipt(receipt, REGTEST)) == 2
    store = await shop.owner.get(path(shop))
    assert store.json["identity"] == receipt.identity
    assert (await shop.anyone.get(where)).status == 401
