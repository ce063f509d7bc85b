"""BTNG-PAY over HTTP: what works, and what bad input gets."""

import json
from typing import Any

import pytest

from tests.support.http import Answer
from tests.support.shop import Shop, make_address

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVOICE = "/api/btngpay/invoice"


def refused(answer: Answer, *statuses: int) -> bool:
    """A client error with code and message, and nothing of our insides."""
    assert answer.status in (statuses or (400, 401, 403, 404, 409, 413, 422, 429)), (
        f"{answer.status} {answer.text}"
    )
    assert answer.json["code"]
    assert answer.json["message"]
    assert "Traceback" not in answer.text
    return True


async def test_an_invoice_is_made_and_read_back(shop: Shop) -> None:
    made = await shop.btng_invoice(amount=12.5, ttlSeconds=600)
    assert made["invoiceId"].startswith("btngpay_")
    assert made["status"] == "pending"
    assert made["amountText"] == "12.5"
    assert made["expiresAt"] == made["createdAt"] + 600
    assert made["uri"] == f"gld:{made['address']}?amount=12.5&memo={made['invoiceId']}"
    assert made["merchant"] == shop.address
    answer = await shop.owner.get(f"{INVOICE}/{made['invoiceId']}")
    assert answer.json == made


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("12.5", "12.5"),
        ('"12.5"', "12.5"),
        ("0.00001001", "0.00001001"),
        ('"0.00001001"', "0.00001001"),
        ("100000000", "100000000"),
        ("0.1", "0.1"),
        ('"5.00"', "5.00"),
        ("99999999.99999999", "99999999.99999999"),
    ],
)
async def test_amounts_are_exact_and_written_as_numbers(shop: Shop, sent: str, shown: str) -> None:
    body = f'{{"merchant": "{shop.address}", "amount": {sent}}}'.encode()
    answer = await shop.owner.post(INVOICE, raw=body)
    assert answer.status == 200, answer.text
    assert f'"amount":{shown},' in answer.text
    assert answer.json["amountText"] == shown


async def test_the_payer_sees_no_more_than_the_payer_needs(shop: Shop) -> None:
    made = await shop.btng_invoice(callbackUrl="http://127.0.0.1:9/secret-path")
    answer = await shop.anyone.get(f"{INVOICE}/{made['invoiceId']}")
    assert answer.status == 200
    assert answer.json["status"] == "pending"
    assert not {"storeId", "callbackUrl", "payments", "detail"} & answer.json.keys()
    assert "secret-path" not in answer.text


async def test_a_property_name_may_have_any_case(shop: Shop) -> None:
    answer = await shop.owner.post(INVOICE, {"Merchant": shop.address, "AMOUNT": "1"})
    assert answer.status == 200


async def test_the_key_may_come_as_token_bearer_or_x_api_key(shop: Shop) -> None:
    body = {"merchant": shop.address, "amount": 1}
    for headers in (
        {"Authorization": f"token {shop.key}"},
        {"Authorization": f"Bearer {shop.key}"},
        {"authorization": f"TOKEN  {shop.key}"},
        {"X-API-Key": shop.key},
    ):
        assert (await shop.anyone.post(INVOICE, body, headers=headers)).status == 200


@pytest.mark.parametrize(
    "amount",
    [
        "1e999999999",
        "1e2",
        "1E-8",
        "-0",
        "-1",
        "0",
        "0.0",
        "0.000000001",
        "100000000.00000001",
        "99999999999999999999",
        "1" * 5000,
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        ".5",
        "5.",
        "+1",
        "0x10",
        "true",
        "null",
        "[]",
        "{}",
        '"NaN"',
        '"Infinity"',
        '"-Infinity"',
        '"1_000"',
        '" 12 "',
        '"12 "',
        '"1,5"',
        '"1e2"',
        '"-0"',
        '"+1"',
        '""',
        '"0"',
        '"0x10"',
        '"١٢"',
        '"१२"',
        '"1２"',
        '"1\\u0000"',
        '"1\\n"',
        '"12.5 GLD"',
    ],
)
async def test_what_is_no_amount_is_refused(shop: Shop, amount: str) -> None:
    body = f'{{"merchant": "{shop.address}", "amount": {amount}}}'.encode()
    assert refused(await shop.owner.post(INVOICE, raw=body), 400, 422)


@pytest.mark.parametrize(
    "changes",
    [
        {"merchant": None},
        {"merchant": ""},
        {"merchant": 5},
        {"merchant": "gldrt1qqqqqqqqqq"},
        {"merchant": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"},
        {"merchant": make_address(5)},
        {"merchant": "m" * 10_000},
        {"memo": "x" * 1025},
        {"memo": "line\nbreak"},
        {"memo": "bell\x07"},
        {"memo": "nul\x00"},
        {"memo": "\x9f"},
        {"memo": 7},
        {"ttlSeconds": 0},
        {"ttlSeconds": -1},
        {"ttlSeconds": 10**12},
        {"ttlSeconds": 1.5},
        {"ttlSeconds": "600"},
        {"ttlSeconds": True},
        {"currency": "XYZ"},
        {"currency": "not a currency"},
        {"currency": "€€€"},
        {"currency": "G" * 40},
        {"callbackUrl": "ftp://example.com/"},
        {"callbackUrl": "javascript:alert(1)"},
        {"callbackUrl": "https://user:pass@example.com/"},
        {"callbackUrl": "not a url"},
        {"callbackUrl": "http://[::1"},
        {"callbackUrl": "https://e.com/" + "a" * 3000},
    ],
)
async def test_bad_fields_are_refused(shop: Shop, changes: dict[str, Any]) -> None:
    body = {"merchant": shop.address, "amount": 1, **changes}
    assert refused(await shop.owner.post(INVOICE, body), 400, 404, 422)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b"[]",
        b'"text"',
        b"5",
        b"null",
        b"{}",
        b'{"merchant": "a", "amount": 1,}',
        b"{'merchant': 'a'}",
        b'{"merchant": "a" "amount": 1}',
        b'{"merchant": "a", "amount": 1} x',
        b'{"merchant": "a", "amount": 1, "amount": 2}',
        b'{"merchant": "a", "amount": 1, "Amount": 2}',
        b'{"merchant": "a", "amount": 1, "x": {"y": 1, "y": 2}}',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"merchant": "a", "amount": 1, "memo": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"x":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"merchant": "a", "amount": 1, "memo": "\\ud800"}',
        b'{"merchant": "a", "amount": 1, "memo": "\\udc00\\ud800"}',
        b'{"merchant": "a", "amount": 1, "memo": "\xed\xa0\x80"}',
        b'{"merchant": "a", "amount": 1, "memo": "\xff\xfe"}',
        b'{"merchant": "a", "amount": 1, "\\ud800": 1}',
        b'\xef\xbb\xbf{"merchant": "a", "amount": 1}',
        b'{"merchant": "a", "amount": 1, "memo": "raw \x01 control"}',
        b"\x00",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    ],
)
async def test_what_is_no_json_is_refused(shop: Shop, body: bytes) -> None:
    body = body.replace(b'"a"', json.dumps(shop.address).encode())
    assert refused(await shop.owner.post(INVOICE, raw=body), 400, 422)
    assert refused(await shop.anyone.post("/api/btngpay/pay", raw=body), 400, 422)


async def test_large_bodies_are_refused(shop: Shop) -> None:
    assert refused(await shop.owner.post(INVOICE, raw=b" " * 300_000), 413)


async def test_other_content_types_are_refused(shop: Shop) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await shop.owner.post(INVOICE, {"merchant": shop.address, "amount": 1}, headers=headers)
    assert (answer.status, answer.code) == (415, "unsupported-media-type")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "token"},
        {"Authorization": "token wrong"},
        {"Authorization": "token " + "a" * 64},
        {"Authorization": "Basic bm9ib2R5Ondyb25n"},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Digest abc"},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
    ],
)
async def test_missing_and_wrong_keys_are_refused(shop: Shop, headers: dict[str, str]) -> None:
    body = {"merchant": shop.address, "amount": 1}
    answer = await shop.anyone.post(INVOICE, body, headers=headers)
    assert (answer.status, answer.code) == (401, "unauthenticated")


async def test_a_key_without_the_permission_is_refused(shop: Shop) -> None:
    viewer = await shop.with_permissions("btcpay.store.canviewinvoices")
    answer = await viewer.post(INVOICE, {"merchant": shop.address, "amount": 1})
    assert refused(answer, 403, 404)


async def test_another_stores_key_cannot_use_this_merchant(shop: Shop) -> None:
    _, stranger = await shop.another_store()
    answer = await stranger.post(INVOICE, {"merchant": shop.address, "amount": 1})
    assert (answer.status, answer.code) == (404, "merchant-not-found")
    made = await shop.btng_invoice()
    shown = await stranger.get(f"{INVOICE}/{made['invoiceId']}")
    assert "storeId" not in shown.json
    answer = await stranger.post("/api/btngpay/callback", {"invoiceId": made["invoiceId"]})
    assert (answer.status, answer.code) == (404, "invoice-not-found")


@pytest.mark.parametrize(
    "invoice_id", ["btngpay_nothing", "x", "btngpay_" + "1" * 22, "%00", "..%2f..%2fetc", "%ff%fe", "a" * 5000]
)
async def test_unknown_invoices_are_not_found(shop: Shop, invoice_id: str) -> None:
    assert refused(await shop.anyone.get(f"{INVOICE}/{invoice_id}"), 404)


@pytest.mark.parametrize(
    "changes",
    [
        {"invoiceId": "btngpay_unknown"},
        {"invoiceId": ""},
        {"invoiceId": None},
        {"txId": "zz"},
        {"txId": "ab" * 31},
        {"txId": "ab" * 33},
        {"txId": None},
        {"txId": 5},
        {"from": "not an address"},
        {"from": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"},
        {"from": 5},
        {"proof": "x" * 30_000},
    ],
)
async def test_bad_claims_are_refused_and_change_nothing(shop: Shop, changes: dict[str, Any]) -> None:
    made = await shop.btng_invoice()
    body = {"invoiceId": made["invoiceId"], "txId": "ab" * 32, **changes}
    assert refused(await shop.anyone.post("/api/btngpay/pay", body), 400, 404, 409, 422)
    assert (await shop.owner.get(f"{INVOICE}/{made['invoiceId']}")).json == made


async def test_an_unknown_transaction_stays_pending(shop: Shop) -> None:
    made = await shop.btng_invoice()
    answer = await shop.anyone.post("/api/btngpay/pay", {"invoiceId": made["invoiceId"], "txId": "ab" * 32})
    assert answer.status == 200
    assert answer.json["status"] == "pending"
    assert (await shop.owner.get(f"{INVOICE}/{made['invoiceId']}")).json == made


async def test_an_idempotency_key_makes_one_invoice(shop: Shop) -> None:
    body = {"merchant": shop.address, "amount": "2"}
    headers = {"Idempotency-Key": "order-1"}
    first = await shop.owner.post(INVOICE, body, headers=headers)
    second = await shop.owner.post(INVOICE, body, headers=headers)
    assert first.text == second.text
    assert second.headers["Idempotency-Replayed"] == "true"
    other = await shop.owner.post(INVOICE, {**body, "amount": "3"}, headers=headers)
    assert (other.status, other.code) == (409, "idempotency-key-reused")
    assert refused(await shop.owner.post(INVOICE, body, headers={"Idempotency-Key": "x" * 300}), 400)


async def test_a_callback_url_is_set_and_sent_again(shop: Shop) -> None:
    made = await shop.btng_invoice()
    url = "http://127.0.0.1:9/hook"
    answer = await shop.owner.post("/api/btngpay/callback", {"invoiceId": made["invoiceId"], "url": url})
    assert answer.json["callbackUrl"] == url
    assert (await shop.owner.post("/api/btngpay/callback", {"invoiceId": made["invoiceId"]})).status == 200
    answer = await shop.owner.post("/api/btngpay/callback", {"invoiceId": made["invoiceId"], "url": "gopher://x"})
    assert refused(answer, 400, 422)
    answer = await shop.anyone.post("/api/btngpay/callback", {"invoiceId": made["invoiceId"], "url": url})
    assert refused(answer, 401)
