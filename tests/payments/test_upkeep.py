"""What is forgotten in time, and what never is."""

from pathlib import Path

import msgspec

from payments import layout
from payments.invoice import Status
from payments.layout import Parked
from payments.quotas import count_open
from payments.recount import count_open_invoices, migrate_counts
from payments.repository import metadata_of
from payments.service import InvoiceFilter
from payments.upkeep import tidy
from storage.kv import WriteBatch
from tests.support.till import Till, open_till

DAY = 86_400


async def test_old_events_go_once_every_endpoint_is_done_with_them(tmp_path: Path) -> None:
    async with open_till(tmp_path) as till:
        service, database = till.service, till.service.database
        hook = await service.create_webhook(till.store.id, "http://127.0.0.1:9/dead")
        invoice = await till.make_invoice("1", metadata=b'{"orderId":"first"}', expiration_s=200 * DAY)
        await service.set_metadata(invoice.id, b'{"orderId":"second"}')
        with database.reader() as reader:
            assert metadata_of(reader, invoice.id, 0) == b'{"orderId":"first"}'
        await till.pay(invoice)
        await till.mine()
        count = len(till.events(invoice))
        till.pass_time(91 * DAY)
        await tidy(database, till.now, 200 * DAY)
        await tidy(database, till.now)  # the endpoint has not had them yet
        assert len(till.events(invoice)) == count
        await service.delete_webhook(till.store.id, hook.id)
        later = await till.make_invoice("1", expiration_s=1000)
        await tidy(database, till.now, 0)
        assert len(till.events(invoice)) == count
        for _ in range(100):
            await tidy(database, till.now)
            if not till.events(invoice):
                break
            await till.settle()
            await till.tick()
            till.service._vault.bell.ring([f"callback:{till.store.id}"])
        assert till.events(invoice) == []
        assert [event.invoice_id for event in service.events(till.store.id, 0)] == [later.id]
        assert till.status(invoice) is Status.SETTLED
        with database.reader() as reader:
            assert metadata_of(reader, invoice.id, 0) == b"{}"
            assert metadata_of(reader, invoice.id, 1) == b'{"orderId":"second"}'
            assert not list(reader.iterate(prefix=b"M"))
        assert service.storage_used()["total"] >= 0
        assert service.open_invoices() == 1


def listed(till: Till, **wanted: object) -> list[str]:
    page = till.service.list_invoices(till.store.id, InvoiceFilter(**wanted))  # type: ignore[arg-type]
    return [invoice.id for invoice in page.invoices]


async def told_everything(till: Till) -> None:
    """Until every endpoint is done with every event."""
    reader = layout.callback_reader(till.store.id)
    for _ in range(200):
        till.service._vault.bell.ring([reader])
        await till.settle()
        undelivered = till.service.undelivered(reader)
        if undelivered.position == undelivered.last_sequence:
            return
    raise AssertionError("the events are not told")


async def test_abandoned_invoices_leave_the_lists_and_a_late_payment_brings_them_back(tmp_path: Path) -> None:
    async with open_till(tmp_path, coins=2) as till:
        database = till.service.database
        order = b'{"orderId":"A-1","buyerEmail":"ann@example.com","itemDesc":"a long story"}'
        left = await till.make_invoice("1", metadata=order, memo="for you", search_terms=("red",))
        till.pass_time(10)
        paid = await till.make_invoice("2", metadata=b'{"orderId":"A-2"}')
        await till.pay(paid)
        await till.mine()
        till.pass_time(100 * DAY)
        await till.tick()
        await told_everything(till)
        before = database.kv.get(layout.invoice_key(left.id))
        await tidy(database, till.now)
        assert till.status(left) is Status.EXPIRED
        assert listed(till) == [paid.id, left.id]
        till.pass_time(100 * DAY)
        open_one = await till.make_invoice("3")
        await tidy(database, till.now, 200 * DAY)  # its events are still there
        assert listed(till) == [open_one.id, paid.id, left.id]
        await tidy(database, till.now, abandoned_kept_s=0)
        await tidy(database, till.now)
        assert listed(till) == [open_one.id, paid.id]
        assert not any(listed(till, text=word) for word in ("red", "ann@", "A-1", left.id))
        small = till.load(left)
        assert (small.metadata, small.memo, small.price) == (b'{"orderId":"A-1"}', "", left.price)
        after = database.kv.get(layout.invoice_key(left.id))
        assert before is not None
        assert after is not None
        assert len(after) < len(before)
        await till.pay(left)
        await till.mine()
        assert till.status(left) is Status.EXPIRED
        assert len(till.load(left).payments) == 1
        assert listed(till) == [open_one.id, paid.id, left.id]
        assert listed(till, text="a-1") == listed(till, order_ids=("A-1",)) == [left.id]
        await tidy(database, till.now + 400 * DAY)
        assert left.id in listed(till)


async def test_what_was_given_up_goes_with_its_body(tmp_path: Path) -> None:
    async with open_till(tmp_path) as till:
        hook = await till.service.create_webhook(till.store.id, "http://127.0.0.1:9/dead")
        database, now = till.service.database, till.now

        def give_up(seq: int, at: int) -> None:
            row = layout.parked_key(hook.id, seq)
            database.kv.write(_batch({row: msgspec.msgpack.encode(Parked("one", at, "it is dead"))}), sync=True)

        give_up(1, now - 91 * DAY)
        give_up(2, now - 89 * DAY)
        await tidy(database, now, 0)
        assert len(till.service.undelivered(hook.id).parked) == 2
        await tidy(database, now)
        assert [row.sequence for row in till.service.undelivered(hook.id).parked] == [2]


def _batch(rows: dict[bytes, bytes | None]) -> WriteBatch:
    batch = WriteBatch()
    batch.ops = rows
    return batch


async def test_a_database_of_before_the_counts_is_counted(tmp_path: Path) -> None:
    async with open_till(tmp_path, coins=3) as till:
        kv = till.service.database.kv
        for amount in ("1", "2", "3"):
            invoice = await till.make_invoice(amount, metadata=b'{"a":1}')
        await till.pay(invoice)
        await till.mine()
        with till.service.database.reader() as reader:
            assert count_open(reader, till.store.id) == count_open_invoices(reader)[till.store.id] == 2
        old = {layout.open_count_key(till.store.id): None, layout.metadata_key(invoice.id, 0): b'{"a":1}'}
        kv.write(_batch(old), sync=True)
        batch = WriteBatch()
        migrate_counts(kv, batch)
        kv.write(batch, sync=True)
        with till.service.database.reader() as reader:
            assert count_open(reader, till.store.id) == 2
            assert metadata_of(reader, invoice.id, 0) == b'{"a":1}'
            assert not list(reader.iterate(prefix=b"M"))
