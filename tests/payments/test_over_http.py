"""What payments offer, reached over HTTP as a shop does."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from gldnode.address import script_to_address
from gldnode.messages import bip322_to_sign, bip322_to_spend, encode_simple, sign_message
from gldnode.params import REGTEST
from gldnode.primitives.amount import COIN
from gldnode.primitives.hashes import to_display_hex
from gldnode.primitives.tx import TxIn, TxOut, make_tx
from payments import dispatcher
from payments.receipts import parse_receipt, verify_receipt
from storage.database import ReadSnapshot
from storage.errors import Unavailable
from tests.payments.test_claims import p2pkh_payment
from tests.support.chain import Key
from tests.support.host import ANYONE
from tests.support.receiver import open_receiver
from tests.support.shop import Shop, open_shop
from tests.support.till import XPUB


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as shop:
        await shop.till.fill_purse(3)
        await shop.till.settle()
        await shop.service.set_chain_method(shop.store.id, XPUB)
        yield shop


def path(shop: Shop, rest: str = "") -> str:
    return f"/api/v1/stores/{shop.store.id}{rest}"


async def test_records_that_cannot_be_read_now_are_asked_for_later(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reader() -> ReadSnapshot:
        raise Unavailable("opened again after a failed write")

    monkeypatch.setattr(shop.service.database, "reader", reader)
    answer = await shop.owner.get(path(shop, "/invoices"))
    assert (answer.status, answer.code) == (503, "not-available")
    assert answer.headers["Retry-After"] == "30"


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


async def test_what_an_endpoint_has_not_got_is_shown_and_sent_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "POLL_S", 0.05)
    async with open_receiver() as receiver:
        receiver.answer = lambda got: 500 if got.fields["type"] == "InvoiceCreated" else 200
        made = await shop.owner.post(path(shop, "/webhooks"), {"url": receiver.url})
        hook = path(shop, f"/webhooks/{made.json['id']}")
        invoice = await shop.owner.post(path(shop, "/invoices"), {"amount": "1", "currency": "GLD"})
        await receiver.wait(1)
        await asyncio.sleep(0.05)
        shown = (await shop.owner.get(f"{hook}/undelivered")).json
        (held,) = shown["waiting"]
        assert (held["invoiceId"], held["attempts"]) == (invoice.json["id"], 1)
        assert shown["failuresInRow"] == 1
        for _ in range(12):  # a day and more of refusals
            shop.till.pass_time(3 * 3600)
            count = len(receiver.received)
            await shop.owner.post(f"{hook}/redeliver-failed", {"since": shop.till.now})
            await receiver.wait(count + 1)
            await asyncio.sleep(0.05)
            shown = (await shop.owner.get(f"{hook}/undelivered")).json
            if shown["parked"]:
                break
        assert [one["error"] for one in shown["parked"]] == ["HTTP Error Code 500"]
        receiver.answer = lambda got: 200
        count = len(receiver.received)
        again = await shop.owner.post(f"{hook}/redeliver-failed")
        assert again.json["count"] >= 1
        await receiver.wait(count + 1)
        assert receiver.types()[-1] == "InvoiceCreated"
        assert receiver.received[-1].fields["isRedelivery"]


async def test_the_feed_is_a_stream_that_goes_on_where_it_was(shop: Shop) -> None:
    async def read(after: str, count: int) -> list[tuple[int, str]]:
        headers = {"Accept": "text/event-stream", "Authorization": f"token {shop.key}", "Last-Event-ID": after}
        url = f"http://127.0.0.1:{shop.running.sites.addresses[0][1]}{path(shop, '/events')}"
        found: list[tuple[int, str]] = []
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
            assert answer.content_type == "text/event-stream"
            while len(found) < count:
                block = (await answer.content.readuntil(b"\n\n")).decode().splitlines()
                data = json.loads(block[2].removeprefix("data: "))
                assert block[0] == f"id: {data['sequence']}"
                found.append((data["sequence"], data["type"]))
        return found

    listening = asyncio.create_task(read("0", 2))
    made = await shop.owner.post(path(shop, "/invoices"), {"amount": "1", "currency": "GLD"})
    invoice = shop.service.invoice(made.json["id"])
    assert invoice is not None
    await shop.till.pay(invoice)
    async with asyncio.timeout(10):
        assert await listening == [(1, "InvoiceCreated"), (2, "InvoiceReceivedPayment")]
        assert (await read("1", 1))[0] == (2, "InvoiceReceivedPayment")


def bip322(key: Key, text: str) -> str:
    to_spend = bip322_to_spend(key.script, text.encode())
    to_sign = bip322_to_sign(key.script, text.encode())
    return encode_simple(key.sign(to_sign, 0, to_spend.outputs[0]))


def legacy(key: Key, text: str) -> str:
    return sign_message(key.secret, text)


@pytest.mark.parametrize("sign", [bip322, legacy])
async def test_the_payer_proves_a_claim_over_http(shop: Shop, sign: Callable[[Key, str], str]) -> None:
    await shop.service.set_chain_method(shop.store.id, shop.address)
    key = Key(5)
    script = key.script if sign is bip322 else b"\x76\xa9\x14" + key.script[2:] + b"\x88\xac"
    payer = script_to_address(script, REGTEST)
    purse = await shop.till.send(shop.till.spend([shop.till.take_coin()], [TxOut(3 * COIN, script)]))
    await shop.till.mine()
    invoice, other = await shop.btng_invoice(amount=1), await shop.btng_invoice(amount=1)
    stored = shop.service.invoice(invoice["invoiceId"])
    assert stored is not None
    if sign is bip322:
        outputs = [TxOut(COIN, stored.script), TxOut(2 * COIN - 10_000, ANYONE)]
        draft = make_tx(2, [TxIn(purse.outpoint(0), b"", 0xFFFFFFFF)], outputs)
        witness = key.sign(draft, 0, purse.outputs[0])
        tx = make_tx(2, [TxIn(purse.outpoint(0), b"", 0xFFFFFFFF, witness)], outputs)
    else:
        tx = p2pkh_payment(key, purse, script, TxOut(COIN, stored.script))
    await shop.till.send(tx)
    body = {"invoiceId": invoice["invoiceId"], "txId": to_display_hex(tx.txid), "from": payer}
    refused = await shop.anyone.post("/api/btngpay/pay", body)
    assert refused.status == 409
    assert refused.json["code"] == "claim-proof-required"
    proof = sign(key, refused.json["messageToSign"])
    stolen = await shop.anyone.post("/api/btngpay/pay", {**body, "invoiceId": other["invoiceId"], "proof": proof})
    assert stolen.status == 409
    # One outpoint never pays two invoices, also with parallel claims.
    both = await asyncio.gather(
        *(shop.anyone.post("/api/btngpay/pay", {**body, "proof": proof}) for _ in range(8)),
        *(
            shop.anyone.post("/api/btngpay/pay", {**body, "invoiceId": other["invoiceId"], "proof": proof})
            for _ in range(8)
        ),
    )
    assert [answer.status for answer in both] == [200] * 8 + [409] * 8
    await shop.till.mine()
    states = [await shop.owner.get(f"/api/btngpay/invoice/{one['invoiceId']}") for one in (invoice, other)]
    assert [state.json["status"] for state in states] == ["paid", "pending"]
