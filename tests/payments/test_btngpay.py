"""BTNG-PAY's main job: create, pay, webhook."""

from pathlib import Path

from payments.events import EventType
from payments.invoice import Status
from payments.service import BtngInvoiceDraft
from tests.support.receiver import open_receiver
from tests.support.till import MERCHANT, open_till


async def test_an_invoice_is_paid_and_the_merchant_is_told(tmp_path: Path) -> None:
    async with open_receiver() as receiver, open_till(tmp_path, chain=MERCHANT) as till:
        webhook = await till.service.create_webhook(till.store.id, receiver.url)
        draft = BtngInvoiceDraft(MERCHANT, "1.5", memo="coffee", callback_url=None)
        invoice = (await till.service.create_btng_invoice(till.store.id, draft)).invoice
        assert till.status(invoice) is Status.NEW
        await till.pay(invoice, memo=True)
        assert till.status(invoice) is Status.PROCESSING
        await till.mine()
        assert till.status(invoice) is Status.SETTLED
        assert till.event_types(invoice) == [
            EventType.CREATED,
            EventType.RECEIVED_PAYMENT,
            EventType.PROCESSING,
            EventType.PAYMENT_SETTLED,
            EventType.SETTLED,
        ]
        received = await receiver.wait(5)
        assert receiver.types(invoice.id) == [event.value for event in till.event_types(invoice)]
        assert all(got.is_signed(webhook.secret) for got in received)
