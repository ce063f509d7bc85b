"""From an invoice to its payment over HTTP, settled by the node's own view."""

from typing import Any

import pytest
import pytest_asyncio

from gldnode.primitives.hashes import to_display_hex
from tests.support.greenfield import Greenfield
from tests.support.http import Answer
from tests.support.shop import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _coins(shop: Shop) -> None:
    """For whichever of the tests runs first."""
    await shop.till.fill_purse(6)
    await shop.till.settle()


async def status(shop: Shop, made: dict[str, Any]) -> str:
    return str((await shop.anyone.get(f"/api/btngpay/invoice/{made['invoiceId']}")).json["status"])


async def claim(shop: Shop, made: dict[str, Any], txid: bytes, **fields: Any) -> Answer:
    body = {"invoiceId": made["invoiceId"], "txId": to_display_hex(txid), **fields}
    return await shop.anyone.post("/api/btngpay/pay", body)


async def test_a_payment_with_the_memo_settles_after_a_block(shop: Shop) -> None:
    made = await shop.btng_invoice(amount="1.25")
    invoice = shop.service.invoice(made["invoiceId"])
    assert invoice is not None
    tx = await shop.till.pay(invoice, memo=True)
    shown = (await shop.owner.get(f"/api/btngpay/invoice/{made['invoiceId']}")).json
    assert (shown["status"], shown["detail"], shown["receivedText"], shown["dueText"]) == (
        "pending",
        "Processing",
        "1.25",
        "0",
    )
    assert shown["payments"][0]["txId"] == to_display_hex(tx.txid)
    answer = await claim(shop, made, tx.txid)
    assert (answer.status, answer.json["status"], answer.json["confirmations"]) == (200, "pending", 0)
    await shop.till.mine()
    assert await status(shop, made) == "paid"
    assert (await claim(shop, made, tx.txid)).json["status"] == "paid"


async def test_a_plain_payment_is_claimed_by_its_transaction(shop: Shop) -> None:
    made = await shop.btng_invoice(amount="1.3")
    invoice = shop.service.invoice(made["invoiceId"])
    assert invoice is not None
    tx = await shop.till.pay(invoice)
    assert (await shop.anyone.get(f"/api/btngpay/invoice/{made['invoiceId']}")).json["receivedText"] == "0"
    answer = await claim(shop, made, tx.txid)
    assert (answer.status, answer.json["status"]) == (200, "pending")
    await shop.till.mine()
    assert await status(shop, made) == "paid"
    other = await shop.btng_invoice(amount="1.3")
    refused = await claim(shop, other, tx.txid)
    assert refused.status in (409, 422)
    assert refused.json["message"]
    assert await status(shop, other) == "pending"


async def test_a_claim_that_might_be_a_strangers_needs_a_proof(shop: Shop) -> None:
    first = await shop.btng_invoice(amount="2")
    second = await shop.btng_invoice(amount="2")
    invoice = shop.service.invoice(first["invoiceId"])
    assert invoice is not None
    tx = await shop.till.pay(invoice)
    answer = await claim(shop, second, tx.txid)
    assert (answer.status, answer.code) == (409, "claim-proof-required")
    assert "GLD payment claim v1" in answer.json["messageToSign"]
    assert await status(shop, first) == "pending"


async def test_a_payment_of_too_little_is_shown_as_what_is_due(shop: Shop) -> None:
    made = await shop.btng_invoice(amount="3")
    invoice = shop.service.invoice(made["invoiceId"])
    assert invoice is not None
    await shop.till.pay(invoice, 100_000_000, memo=True)
    shown = (await shop.anyone.get(f"/api/btngpay/invoice/{made['invoiceId']}")).json
    assert (shown["receivedText"], shown["status"]) == ("1", "pending")
    assert float(shown["dueText"]) >= 2
    page = await shop.anyone.get(f"/i/{made['invoiceId']}")
    assert "still due" in page.text


async def test_greenfield_shows_the_same_payment(shop: Shop) -> None:
    made = await shop.btng_invoice(amount="1.7")
    invoice = shop.service.invoice(made["invoiceId"])
    assert invoice is not None
    tx = await shop.till.pay(invoice, memo=True)
    await shop.till.mine()
    api = Greenfield(shop.owner, storeId=shop.store.id, invoiceId=made["invoiceId"])
    shown = await api.call("GET /stores/{storeId}/invoices/{invoiceId}")
    assert (shown["status"], shown["paidAmount"], shown["amount"]) == ("Settled", "1.7", "1.7")
    method = (await api.call("GET /stores/{storeId}/invoices/{invoiceId}/payment-methods"))[0]
    assert (method["totalPaid"], method["due"]) == ("1.7", "0")
    assert method["payments"][0]["id"] == f"{to_display_hex(tx.txid)}-0"
    assert method["payments"][0]["status"] == "Settled"


async def test_an_unpaid_invoice_expires(shop: Shop) -> None:
    made = await shop.btng_invoice(ttlSeconds=60)
    shop.till.pass_time(61)
    await shop.till.mine()
    await shop.till.tick()
    assert await status(shop, made) == "expired"
    page = await shop.anyone.get(f"/i/{made['invoiceId']}")
    assert "Expired" in page.text
