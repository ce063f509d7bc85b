"""Followers that are stopped and started anywhere come to the same end; a creation is answered once for all."""

import random
from functools import partial
from pathlib import Path

import pytest

from gldnode.primitives.amount import COIN
from gldnode.primitives.tx import TxOut
from payments import engine
from payments.invoice import FeeMode, Invoice
from payments.service import Idempotency, InvoiceDraft
from storage.database import Database
from tests.payments.test_crash import credited
from tests.support.campaign import campaign
from tests.support.host import ANYONE
from tests.support.storage_faults import FaultKV
from tests.support.till import Till, open_till, replace_database


async def busy_chain(till: Till) -> list[Invoice]:
    """Payments, replacements and reorganisations over some thirty blocks."""
    invoices = [await till.make_invoice("1", expiration_s=10**6) for _ in range(6)]
    for round_, invoice in enumerate(invoices):
        paid = await till.pay(invoice, COIN // 2)
        if round_ % 3 == 1:
            await till.replace(paid, [TxOut(COIN, ANYONE)])
        hashes = await till.mine(2)
        await till.pay(invoice, COIN // 2)
        if round_ % 2:
            await till.invalidate(hashes[round_ % 4 // 2])
        await till.mine(2)
    return invoices


async def test_two_followers_restarted_at_arbitrary_cursors_end_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kv = FaultKV()
    choose = random.Random(1)
    async with open_till(tmp_path, coins=8, network_fee_mode=FeeMode.NEVER, database=lambda: Database(kv)) as till:
        invoices = await busy_chain(till)
        wanted = {i.id: (till.state(i), credited(till, i)) for i in invoices}
        await till.stop_payments()
        points = list(kv.crash_points())
        for _ in range(campaign(8, 200)):
            follower = kv.state_at(choose.choice(points))
            for _ in range(choose.randrange(3)):  # stopped again on its way, a few blocks at a time
                monkeypatch.setattr(engine, "STEPS_AT_ONCE", choose.randrange(1, 5))
                replace_database(till.node, partial(Database, follower))
                await till.start_payments()
                await till.stop_payments()
                follower = follower.state_at(choose.choice(list(follower.crash_points())))
            replace_database(till.node, partial(Database, follower))
            await till.start_payments()
            for invoice in invoices:
                if till.service.invoice(invoice.id) is not None:
                    assert (till.state(invoice), credited(till, invoice)) == wanted[invoice.id]
            await till.stop_payments()


async def test_a_creation_whose_answer_was_lost_in_a_crash_is_answered_again(tmp_path: Path) -> None:
    kv = FaultKV()
    async with open_till(tmp_path, database=lambda: Database(kv)) as till:

        async def create() -> tuple[str, bytes | None]:
            asked = Idempotency("shop", "POST /invoices", "order-1", b"body", lambda invoice: invoice.id.encode())
            draft = InvoiceDraft("1", "GLD", expiration_s=10**6)
            sent = await till.service.create_invoice(till.store.id, draft, idempotency=asked)
            return sent.invoice.id, sent.stored

        before = list(kv.crash_points())[-1]
        first, stored = await create()
        assert stored is None
        await till.stop_payments()
        after = list(kv.crash_points())[-1]
        for point, is_repeated in ((after, True), (before, False)):
            replace_database(till.node, partial(Database, kv.state_at(point)))
            await till.start_payments()
            again, stored = await create()
            assert (again == first) == is_repeated
            assert stored == (first.encode() if is_repeated else None)
            assert (await create())[0] == again
            await till.stop_payments()
