"""Events: what they are called, and how they follow from two states of an invoice. Pure.

An event row belongs to its store's log and is written in the transaction of the change it tells of. The rows
hold references and figures, no bodies: a body is made from the row when somebody reads it.
"""

from enum import StrEnum
from typing import Final

import msgspec

from payments.invoice import (
    Additional,
    Invoice,
    Payment,
    Presence,
    Status,
    is_untouched,
    payment_status,
    status,
)

__all__ = ["EXTENSION_TYPES", "Event", "EventDraft", "EventType", "PaymentFacts", "events_between"]


class EventType(StrEnum):
    CREATED = "InvoiceCreated"
    RECEIVED_PAYMENT = "InvoiceReceivedPayment"
    PAYMENT_SETTLED = "InvoicePaymentSettled"
    PROCESSING = "InvoiceProcessing"
    EXPIRED = "InvoiceExpired"
    EXPIRED_PAID_PARTIAL = "InvoiceExpiredPaidPartial"
    PAID_AFTER_EXPIRATION = "InvoicePaidAfterExpiration"
    SETTLED = "InvoiceSettled"
    INVALID = "InvoiceInvalid"
    REQUEST_CREATED = "PaymentRequestCreated"
    REQUEST_UPDATED = "PaymentRequestUpdated"
    REQUEST_ARCHIVED = "PaymentRequestArchived"
    REQUEST_STATUS_CHANGED = "PaymentRequestStatusChanged"
    REQUEST_COMPLETED = "PaymentRequestCompleted"
    # Ours; sent only to endpoints that name them.
    PAYMENT_REPLACED = "InvoicePaymentReplaced"
    PAYMENT_REORGED = "InvoicePaymentReorged"
    PAYMENT_RESTORED = "InvoicePaymentRestored"
    PAYMENT_CONTESTED = "InvoicePaymentContested"
    CALLBACK_REQUESTED = "InvoiceCallbackRequested"
    TEST = "Test"


EXTENSION_TYPES: Final = frozenset(
    (
        EventType.PAYMENT_REPLACED,
        EventType.PAYMENT_REORGED,
        EventType.PAYMENT_RESTORED,
        EventType.PAYMENT_CONTESTED,
        EventType.CALLBACK_REQUESTED,
        EventType.TEST,
    )
)


class PaymentFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """A payment as it was when the event happened."""

    outpoint: bytes
    received_at: int
    amount: int
    fee: int
    status: str
    script: bytes
    other_txid: bytes = b""
    """Of the transaction that took its place."""


class EventDraft(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event without its place in the log."""

    type: EventType
    payment: PaymentFacts | None = None
    flags: dict[str, bool] = {}
    """`overPaid`, `partiallyPaid`, `manuallyMarked`, `afterExpiration`, as the type has them."""
    payment_request_id: str = ""
    request_status: str = ""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row of a store's log."""

    store_id: str
    seq: int
    """Counts the store's events from 1, without gaps."""
    type: EventType
    at: int
    invoice_id: str = ""
    metadata_version: int = 0
    payment: PaymentFacts | None = None
    flags: dict[str, bool] = {}
    invoice_status: str = ""
    """As of the event, for BTNG-PAY's callback."""
    payment_request_id: str = ""
    """Of events about a payment request, which have no invoice."""
    request_status: str = ""

    @property
    def id(self) -> str:
        """Stable over deliveries and restarts."""
        return f"{self.store_id}-{self.seq}"


def events_between(before: Invoice | None, after: Invoice) -> list[EventDraft]:
    """What happened between two records of the same invoice, in the order it is to be told.

    Payments come first (received, then settled), then the statuses that were passed through: a payment that
    settles at once tells Processing and then Settled.
    """
    if before is None:
        created = EventDraft(EventType.CREATED)
        return [created] if is_untouched(after) else [created, *_status_events(None, after)]
    return [*_payment_events(before, after), *_status_events(before, after)]


def _facts(payment: Payment, fresh: bool = False) -> PaymentFacts:
    # A payment is told of as Processing when it is received, even where it settles in the same moment.
    told = "Processing" if fresh else payment_status(payment).value
    return PaymentFacts(
        payment.outpoint, payment.received_at, payment.amount, payment.fee, told, payment.script, payment.conflict
    )


def _payment_events(before: Invoice, after: Invoice) -> list[EventDraft]:
    late = {"afterExpiration": status(before).status in (Status.EXPIRED, Status.INVALID)}
    known = {p.outpoint: p for p in before.payments}
    received: list[EventDraft] = []
    settled: list[EventDraft] = []
    others: list[EventDraft] = []
    for payment in after.payments:
        old = known.get(payment.outpoint)
        if old is payment:
            continue
        if old is None:
            received.append(EventDraft(EventType.RECEIVED_PAYMENT, _facts(payment, fresh=True), late))
        if payment.settled_at and (old is None or not old.settled_at):
            settled.append(EventDraft(EventType.PAYMENT_SETTLED, _facts(payment), late))
        if not payment.accounted and (old is None or old.accounted):
            others.append(EventDraft(EventType.PAYMENT_REPLACED, _facts(payment), late))
        if old is None:
            continue
        if payment.accounted and not old.accounted:
            received.append(EventDraft(EventType.PAYMENT_RESTORED, _facts(payment), late))
        if old.settled_at and old.presence is Presence.BLOCK and payment.presence is not Presence.BLOCK:
            others.append(EventDraft(EventType.PAYMENT_REORGED, _facts(payment), late))
        if payment.contested and not old.contested:
            others.append(EventDraft(EventType.PAYMENT_CONTESTED, _facts(payment), late))
    return [*others, *received, *settled]


def _status_events(before: Invoice | None, after: Invoice) -> list[EventDraft]:
    if before is not None and len(after.marks) > len(before.marks):
        return [_mark_event(after)]
    if after.marks:
        return []
    old = status(before).status if before is not None else Status.NEW
    state = status(after)
    drafts: list[EventDraft] = []
    over = {"overPaid": state.additional is Additional.PAID_OVER}
    newly_expired = after.expired_at and not (before is not None and before.expired_at)
    if newly_expired:
        drafts += _expiry_events(after)
    was_late = before is not None and status(before).additional is Additional.PAID_LATE
    if state.additional is Additional.PAID_LATE and not was_late:
        drafts.append(EventDraft(EventType.PAID_AFTER_EXPIRATION))
    passed = (Status.PROCESSING, Status.SETTLED, Status.INVALID)
    if state.status in passed and old in (Status.NEW, Status.EXPIRED):
        drafts.append(EventDraft(EventType.PROCESSING, None, over))
    if state.status is Status.SETTLED and old is not Status.SETTLED:
        drafts.append(EventDraft(EventType.SETTLED, None, {"manuallyMarked": False, **over}))
    if state.status is Status.INVALID and old is not Status.INVALID:
        drafts.append(EventDraft(EventType.INVALID, None, {"manuallyMarked": False}))
    return drafts


def _expiry_events(after: Invoice) -> list[EventDraft]:
    partly = any(p.accounted and p.received_at < after.expires_at for p in after.payments)
    drafts = [EventDraft(EventType.EXPIRED, None, {"partiallyPaid": partly})]
    if partly:
        drafts.append(EventDraft(EventType.EXPIRED_PAID_PARTIAL))
    return drafts


def _mark_event(after: Invoice) -> EventDraft:
    if after.marks[-1].status is Status.SETTLED:
        return EventDraft(EventType.SETTLED, None, {"manuallyMarked": True, "overPaid": False})
    return EventDraft(EventType.INVALID, None, {"manuallyMarked": True})
