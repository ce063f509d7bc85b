"""Bodies of events as Greenfield's clients expect them, made from the log's rows when they are sent. Pure.

Greenfield's fields come first and unchanged; ours are `eventId` and `sequence`. BTNG-PAY's callback has a body of
its own.
"""

from typing import Any

import msgspec

from gldnode.address import script_to_address
from gldnode.params import ChainParams
from gldnode.primitives.amount import format_amount_short
from gldnode.primitives.hashes import to_display_hex
from payments.accounting import price_text
from payments.events import Event, EventType, PaymentFacts
from payments.invoice import Invoice
from payments.methods import chain_method_id

__all__ = ["DeliveryNames", "callback_body", "event_fields", "payment_id", "webhook_body"]

_WITH_PAYMENT = frozenset(
    (
        EventType.RECEIVED_PAYMENT,
        EventType.PAYMENT_SETTLED,
        EventType.PAYMENT_REPLACED,
        EventType.PAYMENT_REORGED,
        EventType.PAYMENT_RESTORED,
        EventType.PAYMENT_CONTESTED,
    )
)
BTNG_STATUS = {
    "New": "pending",
    "Processing": "pending",
    "Settled": "paid",
    "Expired": "expired",
    "Invalid": "failed",
}


class DeliveryNames(msgspec.Struct, frozen=True):
    """The ids of one delivery."""

    delivery_id: str
    webhook_id: str
    original_id: str

    @property
    def is_redelivery(self) -> bool:
        return self.delivery_id != self.original_id


def payment_id(outpoint: bytes) -> str:
    """txid-n, as Greenfield names a payment on chain."""
    return f"{to_display_hex(outpoint[:32])}-{int.from_bytes(outpoint[32:], 'little')}"


def _payment_fields(facts: PaymentFacts, params: ChainParams) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": payment_id(facts.outpoint),
        "receivedDate": facts.received_at,
        "value": format_amount_short(facts.amount),
        "fee": format_amount_short(facts.fee),
        "status": facts.status,
        "destination": script_to_address(facts.script, params),
    }
    if facts.other_txid:
        fields["replacedBy"] = to_display_hex(facts.other_txid)
    return fields


def event_fields(event: Event, metadata: bytes, params: ChainParams) -> dict[str, Any]:
    """What the event says, without the ids of a delivery."""
    fields: dict[str, Any] = {"type": event.type.value, "timestamp": event.at, "storeId": event.store_id}
    if event.invoice_id:
        fields["invoiceId"] = event.invoice_id
        fields["metadata"] = msgspec.Raw(metadata)
    if event.payment_request_id:
        fields["paymentRequestId"] = event.payment_request_id
        fields["status"] = event.request_status
    fields.update(event.flags)
    if event.type in _WITH_PAYMENT and event.payment is not None:
        fields["paymentMethodId"] = chain_method_id(params)
        fields["payment"] = _payment_fields(event.payment, params)
    fields["eventId"] = event.id
    fields["sequence"] = event.seq
    return fields


def webhook_body(event: Event, metadata: bytes, names: DeliveryNames, params: ChainParams) -> bytes:
    """The body of a webhook delivery: indented JSON in UTF-8."""
    fields = {
        "deliveryId": names.delivery_id,
        "webhookId": names.webhook_id,
        "originalDeliveryId": names.original_id,
        "isRedelivery": names.is_redelivery,
        **event_fields(event, metadata, params),
    }
    return msgspec.json.format(msgspec.json.encode(fields), indent=2)


def callback_body(event: Event, invoice: Invoice, names: DeliveryNames, params: ChainParams) -> bytes:
    """The body of BTNG-PAY's callback: the invoice's status at the event, and what happened."""
    amount = price_text(invoice)
    received = sum(p.amount for p in invoice.accounted)
    fields: dict[str, Any] = {
        "deliveryId": names.delivery_id,
        "eventId": event.id,
        "sequence": event.seq,
        "event": event.type.value,
        "timestamp": event.at,
        "invoiceId": invoice.id,
        "status": BTNG_STATUS[event.invoice_status],
        "amount": msgspec.Raw(amount.encode()),
        "amountText": amount,
        "currency": invoice.currency,
        "memo": invoice.memo,
        "received": format_amount_short(received),
    }
    if event.payment is not None:
        fields["txId"] = to_display_hex(event.payment.outpoint[:32])
        fields["paid"] = format_amount_short(event.payment.amount)
    return msgspec.json.encode(fields)
