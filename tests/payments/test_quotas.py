"""No store, key or address takes more than its share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from payments import idempotency
from payments.errors import PaymentError
from payments.idempotency import prune_answers
from payments.invoice import Status
from payments.quotas import Quotas, count_open
from payments.service import Idempotency, InvoiceDraft
from tests.support.http import StubHost
from tests.support.shop import Shop, open_shop
from tests.support.till import Till, open_till


def open_count(till: Till) -> int:
    with till.service.database.reader() as reader:
        return count_open(reader, till.store.id)


async def test_open_invoices_are_counted_and_bounded(tmp_path: Path) -> None:
    async with open_till(tmp_path, options=[("maxopeninvoices", "2")]) as till:
        first = await till.make_invoice("1", expiration_s=60)
        second = await till.make_invoice("1", expiration_s=1000)
        assert open_count(till) == 2
        with pytest.raises(PaymentError, match="invoice-limit-reached"):
            await till.make_invoice("1")
        till.pass_time(61)
        await till.tick()
        assert till.status(first) is Status.EXPIRED
        assert open_count(till) == 1
        await till.make_invoice("1")
        await till.pay(second)
        assert open_count(till) == 2
        await till.mine()
        assert till.status(second) is Status.SETTLED
        assert open_count(till) == 1


async def test_webhooks_and_payment_requests_are_bounded(tmp_path: Path) -> None:
    flags = [("maxwebhooks", "1"), ("maxpaymentrequests", "1")]
    async with open_shop(tmp_path, flags=flags) as shop:
        base = f"/api/v1/stores/{shop.store.id}"
        for path, body in (
            ("/webhooks", {"url": "http://127.0.0.1:9/hook"}),
            ("/payment-requests", {"amount": "1", "currency": "GLD", "title": "Bill"}),
        ):
            assert (await shop.owner.post(base + path, body)).status == 200
            refused = await shop.owner.post(base + path, body)
            assert refused.status == 403
            assert refused.json["code"].endswith("-limit-reached")


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5"])
def test_a_quota_is_a_whole_number(text: str) -> None:
    with pytest.raises(ValueError, match="maxwebhooks"):
        Quotas.of_host(StubHost({"maxwebhooks": [text]}))  # type: ignore[arg-type]


async def test_idempotency_rows_are_capped_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MAX_ROWS", 2)
    async with open_till(tmp_path) as till:

        async def make(key: str, principal: str = "p", body: bytes = b"b", route: str = "r") -> str:
            asked = Idempotency(principal, route, key, body, lambda invoice: invoice.id.encode())
            sent = await till.service.create_invoice(
                till.store.id, InvoiceDraft("1", "GLD", expiration_s=10**6), idempotency=asked
            )
            return sent.invoice.id

        first = await make("one")
        await make("two")
        assert await make("one") == first
        with pytest.raises(PaymentError, match="idempotency-limit-reached"):
            await make("three")
        assert await make("one", "another") != first
        for changed in ({"body": b"c"}, {"route": "s"}):
            with pytest.raises(PaymentError, match="idempotency-key-reused"):
                await make("one", **changed)
        till.pass_time(86_401)
        assert await till.service.database.transact(lambda txn: prune_answers(txn, till.now)) == 3
        assert await make("three") != first
        assert await make("one") != first


@pytest.fixture
async def slow_shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path, flags=[("createratelimit", "3/60")]) as shop:
        yield shop


async def test_creations_are_limited_with_the_time_to_wait_and_reads_are_not(slow_shop: Shop) -> None:
    base = f"/api/v1/stores/{slow_shop.store.id}/invoices"
    made = [await slow_shop.owner.post(base, {"amount": "1", "currency": "GLD"}) for _ in range(4)]
    assert [answer.status for answer in made] == [200, 200, 200, 429]
    assert 0 < int(made[-1].headers["Retry-After"]) <= 20
    for _ in range(5):
        assert (await slow_shop.owner.get(f"{base}/{made[0].json['id']}")).status == 200
