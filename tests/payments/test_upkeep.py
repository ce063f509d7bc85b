"""What is forgotten in time, and what never is."""

from pathlib import Path

from payments.invoice import Status
from payments.repository import metadata_of
from payments.upkeep import tidy
from tests.support.till import open_till

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
