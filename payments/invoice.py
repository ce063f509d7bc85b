"""The invoice: facts that are stored, and the status that follows from them. Pure.

Stored: the payments with the block they are in and when they were received, and the moments at which the
invoice was *recorded* as expired, settled, invalid or marked. Everything else is computed. In this order, the
first line that holds is the status (Greenfield's words):

| what is on record                                              | status     | additional                      |
|----------------------------------------------------------------|------------|---------------------------------|
| marked by hand (the last mark counts)                          | the mark's | Marked                          |
| settled                                                        | Settled    | PaidOver when it was so then    |
| invalid                                                        | Invalid    | as it was then                  |
| payments received in time cover the price                      | Processing | PaidOver when more than the due |
| expired, and payments received before monitoring ended cover it| Expired    | PaidLate                        |
| expired, with some payment                                     | Expired    | PaidPartial                     |
| expired                                                        | Expired    | None                            |
| some payment                                                   | New        | PaidPartial                     |
| nothing                                                        | New        | None                            |

"In time" is before `expires_at`, and with a late payment policy up to `grace_s` later. Once the expiry is on
record only the grace counts: a payment that turns up afterwards with an earlier time is late. `now` only
proposes a transition, which is a fact once recorded: a clock that jumps back changes nothing.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from gldnode.primitives.amount import COIN
from payments.money import RATE_ONE, WHOLE, ceil_div

__all__ = [
    "DEPTH_OF",
    "Additional",
    "Checkout",
    "FeeMode",
    "Invoice",
    "Mark",
    "Payment",
    "PaymentStatus",
    "Presence",
    "Risk",
    "SpeedPolicy",
    "State",
    "Status",
    "TipFacts",
    "ZeroConf",
    "advance",
    "allowed_marks",
    "covers",
    "depth",
    "due",
    "due_transitions",
    "effective_price",
    "is_enough",
    "is_untouched",
    "mark",
    "net",
    "next_deadline",
    "payment_status",
    "status",
]


class Status(StrEnum):
    NEW = "New"
    PROCESSING = "Processing"
    SETTLED = "Settled"
    EXPIRED = "Expired"
    INVALID = "Invalid"


class Additional(StrEnum):
    NONE = "None"
    PAID_PARTIAL = "PaidPartial"
    PAID_OVER = "PaidOver"
    PAID_LATE = "PaidLate"
    MARKED = "Marked"


class SpeedPolicy(StrEnum):
    """How many confirmations a payment needs."""

    HIGH = "HighSpeed"
    MEDIUM = "MediumSpeed"
    LOW_MEDIUM = "LowMediumSpeed"
    LOW = "LowSpeed"


DEPTH_OF: Final = {SpeedPolicy.HIGH: 0, SpeedPolicy.MEDIUM: 1, SpeedPolicy.LOW_MEDIUM: 2, SpeedPolicy.LOW: 6}


class FeeMode(StrEnum):
    """When the payer is charged for what spending his output will cost."""

    NEVER = "Never"
    ALWAYS = "Always"
    MULTIPLE = "MultiplePaymentsOnly"


class Presence(StrEnum):
    """Where the node has a payment's transaction."""

    MEMPOOL = "mempool"
    UNSEEN = "unseen"
    """It left the mempool without a conflict: it still counts for Processing, never for a settlement."""
    BLOCK = "block"
    CONFLICTED = "conflicted"
    """Another transaction took one of its inputs: not accounted."""


class PaymentStatus(StrEnum):
    PROCESSING = "Processing"
    SETTLED = "Settled"
    INVALID = "Invalid"


class Risk(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the mempool said of an unconfirmed payment when it came."""

    signals_replacement: bool = False
    feerate_per_kvb: int = 0
    ancestors: int = 0
    """Unconfirmed ones."""


class ZeroConf(msgspec.Struct, frozen=True, omit_defaults=True):
    """When an unconfirmed payment is enough for HighSpeed. The default lets none."""

    max_amount: int = 0
    """Grains; a larger payment waits for a block."""
    min_feerate_per_kvb: int = 1000
    seconds_seen: int = 0
    """How long it must have been in the mempool without a conflict."""


class Payment(msgspec.Struct, frozen=True, omit_defaults=True):
    """One output that pays the invoice."""

    outpoint: bytes
    number: int
    """Its place in the order of arrival at this invoice, from 1."""
    amount: int
    received_at: int
    """Unix seconds: when the mempool first had it, or min(now, block time) where a block was first."""
    script: bytes
    presence: Presence = Presence.MEMPOOL
    fee: int = 0
    """The network fee charged for it, in grains, part of the amount."""
    needed: int = 1
    """Confirmations that settle it."""
    block_hash: bytes = b""
    height: int = -1
    conflict: bytes = b""
    """The transaction that took its input."""
    conflict_height: int = -1
    """Of the block with that transaction; -1 while it is in the mempool."""
    seen_at: int = 0
    """Since when the mempool has it without interruption; 0 while it has not."""
    contested: bool = False
    """A conflicting transaction has reached the node, even if it was refused."""
    risk: Risk | None = None
    settled_at: int = 0
    reorged_at: int = 0
    """When a reorganisation took it out of the chain; 0 once it is in again."""
    claimed: str = ""
    """How a claim assigned it: `proof`, `amount`, `operator`; empty where address or memo did."""

    @property
    def accounted(self) -> bool:
        return self.presence is not Presence.CONFLICTED

    @property
    def txid(self) -> bytes:
        return self.outpoint[:32]

    @property
    def net(self) -> int:
        return self.amount - self.fee


class Mark(msgspec.Struct, frozen=True):
    """A decision by hand."""

    status: Status
    at: int


class Checkout(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the payer's page was asked to look like; no influence on the status."""

    payment_methods: tuple[str, ...] = ()
    default_payment_method: str | None = None
    redirect_url: str | None = None
    redirect_automatically: bool = False
    default_language: str | None = None


class Invoice(msgspec.Struct, frozen=True, omit_defaults=True):
    """The facts of one invoice. Payments are kept in rows of their own and put in when it is loaded."""

    id: str
    store_id: str
    created_at: int
    expires_at: int
    monitoring_ends_at: int
    currency: str
    price: int | None
    """In 10^-8 of the currency; None for a top-up invoice, which takes what comes."""
    price_decimals: int
    """As the merchant wrote it, so that "5.00" stays so."""
    rate: int
    """Price of one coin in the currency, in 10^-12; frozen at creation."""
    script: bytes
    address: str
    own_address: bool
    """Made for this invoice; otherwise the merchant's fixed one."""
    key_index: int = -1
    """Of the own address in the store's descriptor."""
    tolerance: int = 0
    """How much of the price may be missing, in 10^-8 percent."""
    speed_policy: SpeedPolicy = SpeedPolicy.MEDIUM
    depth: int = 1
    """Confirmations that the policy and the store's table by amount ask for."""
    zero_conf: ZeroConf = ZeroConf()
    grace_s: int = 0
    """How long after the expiry a payment is still taken at the original rate."""
    fee_mode: FeeMode = FeeMode.NEVER
    next_fee: int = 0
    """The network fee that the next payment is charged."""
    memo: str = ""
    """The merchant's words to the payer (BTNG-PAY)."""
    callback_url: str | None = None
    metadata: bytes = b"{}"
    """JSON as the merchant sent it."""
    metadata_version: int = 0
    receipt: bytes = b"{}"
    checkout: Checkout = Checkout()
    search_terms: tuple[str, ...] = ()
    archived: bool = False
    expired_at: int = 0
    settled_at: int = 0
    settled_over: bool = False
    settled_price: int | None = None
    """Of a top-up invoice, once settled."""
    invalid_at: int = 0
    invalid_over: bool = False
    marks: tuple[Mark, ...] = ()
    timer_at: int = 0
    """When the clock next matters to it; 0 for never."""
    payment_count: int = 0
    shrunk_at: int = 0
    """When it was taken out of the lists as abandoned; 0 for never."""
    revision: int = 0
    """Counts every change of the record or its payments."""
    payments: tuple[Payment, ...] = ()

    @property
    def accounted(self) -> tuple[Payment, ...]:
        return tuple(p for p in self.payments if p.accounted)


class State(msgspec.Struct, frozen=True):
    status: Status
    additional: Additional = Additional.NONE


KNOWN_STATES: Final = 16
_known_states: dict[int, tuple[Invoice, State]] = {}
"""The last answers of `status`. They keep their invoice, so that no other one can have its id()."""


class TipFacts(msgspec.Struct, frozen=True):
    """Where the follower is."""

    height: int
    fresh: bool = True
    """At a tip not known to be behind: only there the clock may expire anything."""
    safe: bool = True
    """No deep reorganisation is being waited out: only then anything settles."""


def net(payments: Iterable[Payment]) -> int:
    """Grains received, without the network fees charged."""
    return sum(p.amount - p.fee for p in payments)


def effective_price(invoice: Invoice) -> int | None:
    """The price in 10^-8 of the currency. A top-up's is the net value of its first payment in time, else None."""
    if invoice.price is not None:
        return invoice.price
    if invoice.settled_price is not None:
        return invoice.settled_price
    first = min(_in_time(invoice), key=lambda p: p.number, default=None)
    return None if first is None else first.net * invoice.rate // RATE_ONE


def covers(invoice: Invoice, payments: Iterable[Payment]) -> bool:
    """Whether these payments satisfy the price less the tolerance, exactly."""
    payments = tuple(payments)
    return bool(payments) if invoice.price is None else is_enough(invoice, net(payments))


def is_enough(invoice: Invoice, grains: int) -> bool:
    """Whether this net amount is the price less the tolerance, or more; for a top-up, whether it is any."""
    if invoice.price is None:
        return grains > 0
    return grains * invoice.rate * WHOLE >= invoice.price * RATE_ONE * (WHOLE - invoice.tolerance)


def due(invoice: Invoice, payments: Iterable[Payment] | None = None) -> int:
    """Grains still missing, rounded up; negative when overpaid by at least one grain; 0 for an open top-up."""
    price = effective_price(invoice)
    if price is None or invoice.rate == 0:
        return 0
    counted = invoice.accounted if payments is None else payments
    return ceil_div(price * RATE_ONE - net(counted) * invoice.rate, invoice.rate)


def _deadline(invoice: Invoice) -> int:
    """Payments received before this are in time."""
    return invoice.expires_at + invoice.grace_s


def _in_time(invoice: Invoice) -> tuple[Payment, ...]:
    limit = _deadline(invoice)
    return tuple(p for p in invoice.payments if p.accounted and p.received_at < limit)


def _counted(invoice: Invoice) -> tuple[Payment, ...]:
    """What may change the status: accounted, and received while the invoice was monitored."""
    return tuple(p for p in invoice.payments if p.accounted and p.received_at <= invoice.monitoring_ends_at)


def _is_paid_in_time(invoice: Invoice) -> bool:
    if invoice.expired_at and not invoice.grace_s:
        return False
    return covers(invoice, _in_time(invoice))


def is_untouched(invoice: Invoice) -> bool:
    """Whether nothing is on record and nothing has been paid, so that it waits for its expiry alone."""
    return not (
        invoice.payment_count
        or invoice.payments
        or invoice.price == 0
        or invoice.expired_at
        or invoice.settled_at
        or invoice.invalid_at
        or invoice.marks
    )


def status(invoice: Invoice) -> State:
    """What the invoice is; the table is in this module's docstring.

    Confirmations do not appear: that they suffice is recorded as the settlement, which then stands.
    """
    # One transaction asks a dozen times about the same record, which cannot change.
    known = _known_states.get(id(invoice))
    if known is not None and known[0] is invoice:
        return known[1]
    state = _status(invoice)
    if len(_known_states) >= KNOWN_STATES:
        _known_states.clear()
    _known_states[id(invoice)] = (invoice, state)
    return state


def _status(invoice: Invoice) -> State:
    if invoice.marks:
        return State(invoice.marks[-1].status, Additional.MARKED)
    if invoice.settled_at:
        return State(Status.SETTLED, _over(invoice.settled_over))
    if invoice.invalid_at:
        return State(Status.INVALID, _over(invoice.invalid_over))
    if not invoice.payment_count and invoice.price != 0:
        return State(Status.EXPIRED if invoice.expired_at else Status.NEW)
    counted = _counted(invoice)
    if _is_paid_in_time(invoice):
        return State(Status.PROCESSING, _over(_is_over(invoice, counted)))
    if invoice.expired_at:
        if counted and covers(invoice, counted):
            return State(Status.EXPIRED, Additional.PAID_LATE)
        return State(Status.EXPIRED, Additional.PAID_PARTIAL if counted else Additional.NONE)
    return State(Status.NEW, Additional.PAID_PARTIAL if _in_time(invoice) else Additional.NONE)


def _over(is_over: bool) -> Additional:
    return Additional.PAID_OVER if is_over else Additional.NONE


def _is_over(invoice: Invoice, counted: Iterable[Payment]) -> bool:
    # A top-up takes what comes and is never overpaid by it.
    return invoice.price is not None and due(invoice, counted) < 0


def payment_status(payment: Payment) -> PaymentStatus:
    if not payment.accounted:
        return PaymentStatus.INVALID
    return PaymentStatus.SETTLED if payment.settled_at else PaymentStatus.PROCESSING


def depth(payment: Payment, tip_height: int) -> int:
    """Confirmations: 1 in the newest block, 0 outside the chain."""
    return max(0, tip_height - payment.height + 1) if payment.presence is Presence.BLOCK else 0


def _zero_conf_at(invoice: Invoice, payment: Payment) -> int | None:
    """From when on the unconfirmed payment is enough; None when it has to be in a block."""
    policy, risk = invoice.zero_conf, payment.risk
    if payment.needed or payment.presence is not Presence.MEMPOOL or payment.contested or risk is None:
        return None
    if payment.amount > policy.max_amount or risk.feerate_per_kvb < policy.min_feerate_per_kvb:
        return None
    if risk.signals_replacement or risk.ancestors:
        return None
    return payment.seen_at + policy.seconds_seen


def _is_confirmed(invoice: Invoice, payment: Payment, tip: TipFacts, now: int) -> bool:
    if payment.presence is Presence.BLOCK:
        return depth(payment, tip.height) >= max(1, payment.needed)
    ready_at = _zero_conf_at(invoice, payment)
    return ready_at is not None and now >= ready_at


class Transition(StrEnum):
    """What `due_transitions` proposes to put on record."""

    PAYMENTS_SETTLED = "payments-settled"
    EXPIRED = "expired"
    SETTLED = "settled"
    INVALID = "invalid"


def due_transitions(invoice: Invoice, tip: TipFacts, now: int) -> tuple[Transition, ...]:
    """What should be recorded next, in order. Empty when nothing is due.

    Only at a fresh tip does the clock expire or invalidate; only at a safe one does anything settle.
    """
    if now < invoice.expires_at and is_untouched(invoice):
        return ()
    due_now: list[Transition] = []
    if tip.safe and _ripe(invoice, tip, now):
        due_now.append(Transition.PAYMENTS_SETTLED)
    current = status(invoice).status
    if current is Status.NEW and tip.fresh and now >= invoice.expires_at:
        due_now.append(Transition.EXPIRED)
    if current is Status.PROCESSING:
        if tip.safe and covers(invoice, (p for p in _counted(invoice) if p.settled_at)):
            due_now.append(Transition.SETTLED)
        elif tip.fresh and tip.safe and now > invoice.monitoring_ends_at and not due_now:
            due_now.append(Transition.INVALID)
    return tuple(due_now)


def _ripe(invoice: Invoice, tip: TipFacts, now: int) -> list[Payment]:
    return [
        p for p in invoice.payments if p.accounted and not p.settled_at and _is_confirmed(invoice, p, tip, now)
    ]


def record(invoice: Invoice, transition: Transition, tip: TipFacts, now: int) -> Invoice:
    """The invoice with `transition` on record as of `now`."""
    # A recorded moment must be true as a number: a clock at 0 still records.
    moment = max(now, 1)
    match transition:
        case Transition.PAYMENTS_SETTLED:
            ripe = {p.outpoint for p in _ripe(invoice, tip, now)}
            settled = tuple(
                msgspec.structs.replace(p, settled_at=moment) if p.outpoint in ripe else p
                for p in invoice.payments
            )
            return msgspec.structs.replace(invoice, payments=settled)
        case Transition.EXPIRED:
            return msgspec.structs.replace(invoice, expired_at=moment)
        case Transition.SETTLED:
            price = effective_price(invoice) if invoice.price is None else None
            over = status(invoice).additional is Additional.PAID_OVER
            return msgspec.structs.replace(invoice, settled_at=moment, settled_over=over, settled_price=price)
        case Transition.INVALID:
            over = status(invoice).additional is Additional.PAID_OVER
            return msgspec.structs.replace(invoice, invalid_at=moment, invalid_over=over)


def advance(invoice: Invoice, tip: TipFacts, now: int) -> Invoice:
    """The invoice with everything recorded that is due, one transition making the next one due."""
    for _ in range(6):
        transitions = due_transitions(invoice, tip, now)
        if not transitions:
            break
        invoice = record(invoice, transitions[0], tip, now)
    return invoice


def next_deadline(invoice: Invoice) -> int:
    """When the clock alone may make a transition due; 0 for never."""
    if is_untouched(invoice):
        return invoice.expires_at
    current = status(invoice).status
    moments = [
        ready_at
        for p in invoice.payments
        if not p.settled_at and (ready_at := _zero_conf_at(invoice, p)) is not None
    ]
    if current is Status.NEW:
        moments.append(invoice.expires_at)
    elif current is Status.PROCESSING:
        moments.append(invoice.monitoring_ends_at + 1)
    return min(moments, default=0)


def allowed_marks(invoice: Invoice) -> tuple[Status, ...]:
    """What the invoice may be marked as by hand now: a normal settlement cannot be taken back."""
    state = status(invoice)
    marks: list[Status] = []
    if state.status is not Status.SETTLED:
        marks.append(Status.SETTLED)
    is_marked = state.additional is Additional.MARKED
    if state.status in (Status.NEW, Status.PROCESSING, Status.EXPIRED) or (
        is_marked and state.status is not Status.INVALID
    ):
        marks.append(Status.INVALID)
    return tuple(marks)


def mark(invoice: Invoice, wanted: Status, now: int) -> Invoice | None:
    """The invoice marked by hand, None where that is not allowed."""
    if wanted not in allowed_marks(invoice):
        return None
    return msgspec.structs.replace(invoice, marks=(*invoice.marks, Mark(wanted, now)))


assert WHOLE == 100 * COIN
