"""Webhooks: at least once, in order, never waiting across; and what is sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from payments import layout
from payments.errors import PaymentError
from payments.invoice import Status
from payments.layout import ReaderState
from payments.service import BtngInvoiceDraft
from tests.support.receiver import Receiver, open_receiver
from tests.support.till import Till, open_till


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with open_receiver() as opened:
        yield opened


@pytest.fixture
async def till(tmp_path: Path) -> AsyncIterator[Till]:
    async with open_till(tmp_path, coins=0) as opened:
        yield opened


async def wait_until(condition: Callable[[], bool], timeout_s: float = 5) -> None:
    for _ in range(int(timeout_s * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not become true")


def position(till: Till, reader: str) -> int:
    with till.service.database.reader() as rows:
        state = rows.get_record(layout.reader_key(reader), ReaderState)
    assert state is not None
    return state.position


async def test_the_body_is_greenfields(till: Till, receiver: Receiver) -> None:
    hook = await till.service.create_webhook(till.store.id, receiver.url, secret="geheim")
    invoice = await till.make_invoice("1", metadata=b'{"orderId":"A-1"}')
    (got,) = await receiver.wait(1)
    fields = got.fields
    assert list(fields) == [
        "deliveryId",
        "webhookId",
        "originalDeliveryId",
        "isRedelivery",
        "type",
        "timestamp",
        "storeId",
        "invoiceId",
        "metadata",
        "eventId",
        "sequence",
    ]
    assert fields["deliveryId"] == fields["originalDeliveryId"]
    assert (fields["webhookId"], fields["invoiceId"], fields["isRedelivery"]) == (hook.id, invoice.id, False)
    assert fields["metadata"] == {"orderId": "A-1"}
    assert got.body == json.dumps(fields, indent=2, ensure_ascii=False).encode()
    assert got.content_type == "application/json"
    assert got.is_signed("geheim")
    assert not got.is_signed("other")


async def test_only_events_that_the_endpoint_names_are_sent(till: Till, receiver: Receiver) -> None:
    await till.service.create_webhook(
        till.store.id, receiver.url, everything=False, specific_events=["InvoiceSettled", "InvoiceInvalid"]
    )
    invoice = await till.make_invoice("1")
    await till.service.mark_invoice(invoice.id, Status.SETTLED)
    await receiver.wait(1)
    assert receiver.types() == ["InvoiceSettled"]
    assert receiver.received[0].fields["manuallyMarked"] is True


async def test_a_refused_event_holds_back_its_invoice_only(till: Till, receiver: Receiver) -> None:
    bad = await till.make_invoice("1")
    receiver.answer = lambda got: 500 if got.fields["invoiceId"] == bad.id else 200
    hook = await till.service.create_webhook(till.store.id, receiver.url)
    await till.service.mark_invoice(bad.id, Status.SETTLED)
    await till.service.mark_invoice(bad.id, Status.INVALID)
    good = await till.make_invoice("2")
    await till.service.mark_invoice(good.id, Status.SETTLED)
    await wait_until(lambda: len(receiver.types(good.id)) == 2)
    assert receiver.types(bad.id) == ["InvoiceSettled"]
    await wait_until(lambda: position(till, hook.id) == 5)
    receiver.answer = lambda _: 200
    till.pass_time(20)
    await till.make_invoice("3")
    await wait_until(lambda: len(receiver.types(bad.id)) == 3)
    assert receiver.types(bad.id) == ["InvoiceSettled", "InvoiceSettled", "InvoiceInvalid"]
    first, again, _ = [got.fields for got in receiver.received if got.fields["invoiceId"] == bad.id]
    assert again["originalDeliveryId"] == first["deliveryId"] != again["deliveryId"]
    assert again["isRedelivery"] is True


async def test_a_dead_endpoint_delays_nobody_else(till: Till, receiver: Receiver) -> None:
    async with open_receiver() as black_hole:
        black_hole.answer = lambda _: None
        await till.service.create_webhook(till.store.id, black_hole.url)
        await till.service.create_webhook(till.store.id, "http://127.0.0.1:9/nobody")
        await till.service.create_webhook(till.store.id, receiver.url)
        invoices = [await till.make_invoice("1") for _ in range(30)]
        await receiver.wait(30)
        assert {got.fields["invoiceId"] for got in receiver.received} == {i.id for i in invoices}


async def test_nothing_is_lost_over_a_restart(till: Till, receiver: Receiver) -> None:
    receiver.answer = lambda _: 503
    await till.service.create_webhook(till.store.id, receiver.url)
    invoices = [await till.make_invoice("1") for _ in range(3)]
    await receiver.wait(3)
    await till.stop_payments()
    receiver.answer = lambda _: 200
    receiver.received.clear()
    till.pass_time(60)
    await till.start_payments()
    await receiver.wait(3)
    assert {got.fields["invoiceId"] for got in receiver.received} == {i.id for i in invoices}


async def test_the_circuit_opens_and_the_position_waits(till: Till) -> None:
    hook = await till.service.create_webhook(till.store.id, "http://127.0.0.1:9/nobody")
    for _ in range(40):
        await till.make_invoice("1")

    def is_open() -> bool:
        with till.service.database.reader() as rows:
            state = rows.get_record(layout.reader_key(hook.id), ReaderState)
        return state is not None and state.closed_until > till.now

    await wait_until(is_open)


async def test_an_event_that_is_refused_for_a_day_is_given_up_and_the_rest_goes_on(
    till: Till, receiver: Receiver
) -> None:
    hook = await till.service.create_webhook(till.store.id, receiver.url)
    receiver.answer = lambda got: 400 if got.fields["type"] == "InvoiceCreated" else 200
    invoice = await till.make_invoice("1")
    await receiver.wait(1)
    await till.service.mark_invoice(invoice.id, Status.SETTLED)
    await asyncio.sleep(0.05)
    assert receiver.types() == ["InvoiceCreated"]
    till.pass_time(86_400 + 60)
    await till.service.update_webhook(hook)  # wakes the worker
    await wait_until(lambda: len(till.service.deliveries(hook.id)) == 3)
    assert sorted(row.is_success for row in till.service.deliveries(hook.id)) == [False, False, True]
    assert await till.service.redeliver_failed(hook.id, 0) == 1
    await wait_until(lambda: receiver.types().count("InvoiceCreated") == 3)


async def test_redelivery_by_hand(till: Till, receiver: Receiver) -> None:
    hook = await till.service.create_webhook(till.store.id, receiver.url)
    await till.make_invoice("1")
    await receiver.wait(1)
    await wait_until(lambda: bool(till.service.deliveries(hook.id)))
    (delivery,) = till.service.deliveries(hook.id)
    assert (delivery.is_success, delivery.http_code) == (True, 200)
    assert till.service.delivery_body(hook.id, delivery.id) == receiver.received[0].body
    new_id = await till.service.redeliver(hook.id, delivery.id)
    await receiver.wait(2)
    again = receiver.received[1].fields
    assert (again["deliveryId"], again["originalDeliveryId"]) == (new_id, delivery.id)
    with pytest.raises(PaymentError, match="webhookdelivery-not-found"):
        await till.service.redeliver(hook.id, "nothing")


async def test_redirects_are_failures_and_not_followed(till: Till, receiver: Receiver) -> None:
    receiver.answer = lambda _: 302
    hook = await till.service.create_webhook(till.store.id, receiver.url, automatic_redelivery=False)
    await till.make_invoice("1")
    await receiver.wait(1)
    await wait_until(lambda: bool(till.service.deliveries(hook.id)))
    assert till.service.deliveries(hook.id)[0].http_code == 302
    assert len(receiver.received) == 1


async def test_a_deleted_or_disabled_endpoint_hears_nothing(till: Till, receiver: Receiver) -> None:
    hook = await till.service.create_webhook(till.store.id, receiver.url, enabled=False)
    gone = await till.service.create_webhook(till.store.id, receiver.url)
    await till.service.delete_webhook(till.store.id, gone.id)
    await till.make_invoice("1")
    await wait_until(lambda: position(till, hook.id) == 1)
    assert receiver.received == []
    assert till.service.webhooks(till.store.id) == [hook]


async def test_callbacks_go_to_the_invoices_own_url(till: Till, receiver: Receiver) -> None:
    draft = BtngInvoiceDraft(till.store.id, "1.25", memo="tea", callback_url=receiver.url)
    invoice = (await till.service.create_btng_invoice(till.store.id, draft)).invoice
    await till.service.mark_invoice(invoice.id, Status.SETTLED)
    (got,) = await receiver.wait(1)
    assert got.is_signed(till.store.callback_secret)
    fields = got.fields
    assert (fields["invoiceId"], fields["status"], fields["amountText"]) == (invoice.id, "paid", "1.25")
    assert b'"amount":1.25' in got.body
    await till.service.set_callback(invoice.id, None)
    again = (await receiver.wait(2))[1].fields
    assert (again["event"], again["status"]) == ("InvoiceCallbackRequested", "paid")


async def test_the_feed_can_be_waited_for(till: Till) -> None:
    waiting = asyncio.create_task(till.service.wait_events(till.store.id, 0, 5))
    await asyncio.sleep(0.01)
    invoice = await till.make_invoice("1")
    (event,) = await waiting
    assert (event.seq, event.invoice_id) == (1, invoice.id)
    assert till.service.event_body(event)["sequence"] == 1
    assert await till.service.wait_events(till.store.id, 1, 0.01) == []


async def test_a_reader_that_is_far_behind_does_not_wait_between_windows(till: Till) -> None:
    reader = layout.callback_reader(till.store.id)
    await till.make_invoice("1", callback_url="http://127.0.0.1:9/callback")
    await asyncio.gather(*(till.make_invoice("1") for _ in range(3 * 256)))
    # Nothing has rung for it: by its clock alone it would take a window of events every five seconds.
    till.service._vault.bell.ring([reader])
    await wait_until(lambda: position(till, reader) >= 3 * 256, timeout_s=3)


async def test_callbacks_read_nothing_until_there_is_a_callback_url(till: Till, receiver: Receiver) -> None:
    reader = layout.callback_reader(till.store.id)
    await asyncio.gather(*(till.make_invoice("1") for _ in range(300)))
    invoice = await till.make_invoice("1", callback_url=receiver.url)
    await till.service.mark_invoice(invoice.id, Status.SETTLED)
    await receiver.wait(1)
    later = await till.make_invoice("1")
    await till.service.set_callback(later.id, receiver.url)
    await till.service.mark_invoice(later.id, Status.SETTLED)
    await receiver.wait(2)
    assert position(till, reader) > 300
