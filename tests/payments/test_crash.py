"""A power cut at every commit: after the next start nothing is lost, and nothing is there twice."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from gldnode.primitives.amount import COIN
from gldnode.primitives.tx import TxOut
from payments import dispatcher, engine
from payments.errors import PaymentError
from payments.invoice import FeeMode, Invoice, Presence, Status
from storage.database import Database
from tests.support.host import ANYONE
from tests.support.receiver import open_receiver
from tests.support.storage_faults import FaultKV
from tests.support.till import Till, open_till, replace_database


def credited(till: Till, invoice: Invoice) -> dict[bytes, tuple[int, Presence, int]]:
    loaded = till.load(invoice)
    assert [p.number for p in loaded.payments] == list(range(1, len(loaded.payments) + 1))
    return {p.outpoint: (p.amount, p.presence, p.height) for p in loaded.payments if p.accounted}


async def shop_day(till: Till) -> list[Invoice]:
    """Payments of every kind, with a reorganisation."""
    invoices = [await till.make_invoice(amount, expiration_s=100_000) for amount in ("1", "2", "3", "0.5")]
    first, second, third, fourth = invoices
    await till.pay(first)
    lost = await till.pay(second)
    await till.replace(lost, [TxOut(COIN, ANYONE)])
    await till.pay(third, COIN)
    await till.mine()
    await till.pay(third, 2 * COIN)
    blocks = await till.mine(2)
    await till.invalidate(blocks[0])
    await till.pay(fourth)
    await till.mine(3)
    return invoices


async def test_every_commit_point_leads_to_the_same_end(tmp_path: Path) -> None:
    kv = FaultKV()
    async with (
        open_receiver() as receiver,
        open_till(tmp_path, coins=5, network_fee_mode=FeeMode.NEVER, database=lambda: Database(kv)) as till,
    ):
        await till.service.create_webhook(till.store.id, receiver.url)
        invoices = await shop_day(till)
        wanted = {i.id: (till.state(i), credited(till, i)) for i in invoices}
        settled = {i.id for i in invoices if "InvoiceSettled" in [e.value for e in till.event_types(i)]}
        assert len(settled) == 3
        await till.stop_payments()
        points = list(kv.crash_points())
        assert len(points) > 20
        for point in points:
            state = kv.state_at(point)
            replace_database(till.node, partial(Database, state))
            await till.start_payments()
            known = [i for i in invoices if till.service.invoice(i.id) is not None]
            for invoice in known:
                assert (till.state(invoice), credited(till, invoice)) == wanted[invoice.id]
                told = [event.value for event in till.event_types(invoice)]
                assert told.count("InvoiceReceivedPayment") == len(till.load(invoice).payments)
                assert told.count("InvoiceSettled") == (invoice.id in settled)
            log = till.service.events(till.store.id, 0, 1000)
            assert [event.seq for event in log] == list(range(1, len(log) + 1))
            await till.stop_payments()


async def test_a_full_disk_stops_creations_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RETRY_S", 0.01)
    monkeypatch.setattr(dispatcher, "POLL_S", 0.05)
    kv = FaultKV()
    async with (
        open_receiver() as receiver,
        open_till(tmp_path, network_fee_mode=FeeMode.NEVER, database=lambda: Database(kv)) as till,
    ):
        await till.service.create_webhook(till.store.id, receiver.url)
        invoice = await till.make_invoice("1")
        await receiver.wait(1)
        kv.fill_disk()
        with pytest.raises(PaymentError) as caught:
            await till.make_invoice("2")
        assert (caught.value.code, caught.value.status) == ("not-available", 503)
        await till.node.submit(till.spend([till.take_coin()], [TxOut(COIN, invoice.script)]))
        await till.node.mine(2)
        await asyncio.sleep(0.05)
        assert till.load(invoice).payments == ()
        kv.fill_disk(False)
        await till.settle()
        assert till.state(invoice).status is Status.SETTLED
        await receiver.wait(5)
        assert till.node.failure is None
