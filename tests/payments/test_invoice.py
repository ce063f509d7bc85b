"""The invoice's status as a function of its facts, against Greenfield's rules."""

from typing import Any

import pytest
from msgspec.structs import replace

from gldnode.primitives.amount import COIN
from payments.accounting import method_figures, paid_text, price_text
from payments.events import EventType, events_between
from payments.invoice import (
    Additional,
    FeeMode,
    Invoice,
    Payment,
    Presence,
    Risk,
    State,
    Status,
    TipFacts,
    Transition,
    ZeroConf,
    advance,
    allowed_marks,
    due,
    due_transitions,
    mark,
    next_deadline,
    status,
)
from payments.money import RATE_ONE

CREATED = 1_000
EXPIRES = 1_900
MONITORED = 5_500
TIP = TipFacts(100)


def make(price: int | None = COIN, **fields: Any) -> Invoice:
    return Invoice(
        id="btngpay_1",
        store_id="s",
        created_at=CREATED,
        expires_at=EXPIRES,
        monitoring_ends_at=MONITORED,
        currency=fields.pop("currency", "GLD"),
        price=price,
        price_decimals=0,
        rate=fields.pop("rate", RATE_ONE),
        script=b"script",
        address="address",
        own_address=True,
        **fields,
    )


def paid(invoice: Invoice, *amounts: int, **fields: Any) -> Invoice:
    """With further payments of these amounts, unconfirmed and in time unless the fields say otherwise."""
    payments = list(invoice.payments)
    for amount in amounts:
        number = len(payments) + 1
        given = {"received_at": CREATED + 1, "seen_at": CREATED + 1, "needed": invoice.depth, **fields}
        payments.append(Payment(bytes((number,)) * 36, number, amount, script=b"script", **given))
    return replace(invoice, payments=tuple(payments), payment_count=len(payments))


def confirmed(invoice: Invoice, *amounts: int, height: int = 100, **fields: Any) -> Invoice:
    return paid(invoice, *amounts, presence=Presence.BLOCK, height=height, block_hash=b"b" * 32, **fields)


def kinds(before: Invoice | None, after: Invoice) -> list[EventType]:
    return [draft.type for draft in events_between(before, after)]


E = EventType
NEW, PROCESSING, SETTLED, EXPIRED, INVALID = Status
NONE, PARTIAL, OVER, LATE, MARKED = Additional
LATE_TIME = {"received_at": EXPIRES, "seen_at": EXPIRES}


@pytest.mark.parametrize(
    ("invoice", "expected"),
    [
        (make(), State(NEW)),
        (paid(make(), COIN), State(PROCESSING)),
        (paid(make(), COIN - 1), State(NEW, PARTIAL)),
        (paid(make(), COIN + 1), State(PROCESSING, OVER)),
        (paid(make(), COIN // 2, COIN // 2), State(PROCESSING)),
        (paid(make(), COIN, presence=Presence.CONFLICTED), State(NEW)),
        (paid(make(), COIN, presence=Presence.UNSEEN), State(PROCESSING)),
        (paid(make(), COIN, **LATE_TIME), State(NEW)),
        (make(expired_at=EXPIRES), State(EXPIRED)),
        (paid(make(expired_at=EXPIRES), 1), State(EXPIRED, PARTIAL)),
        (paid(make(expired_at=EXPIRES), COIN, **LATE_TIME), State(EXPIRED, LATE)),
        (paid(make(expired_at=EXPIRES), COIN), State(EXPIRED, LATE)),
        (paid(make(expired_at=EXPIRES), COIN // 2, COIN // 2, **LATE_TIME), State(EXPIRED, LATE)),
        (paid(make(expired_at=EXPIRES), COIN, received_at=MONITORED + 1), State(EXPIRED)),
        (paid(make(settled_at=1_500), COIN, COIN), State(SETTLED)),
        (make(settled_at=1_500, settled_over=True), State(SETTLED, OVER)),
        (make(invalid_at=6_000), State(INVALID)),
        (make(price=0), State(PROCESSING)),
        (make(price=None), State(NEW)),
        (paid(make(price=None), 1), State(PROCESSING)),
        (paid(make(price=None, expired_at=EXPIRES), 1, **LATE_TIME), State(EXPIRED, LATE)),
        (paid(make(tolerance=COIN), COIN * 99 // 100), State(PROCESSING)),
        (paid(make(tolerance=COIN), COIN * 99 // 100 - 1), State(NEW, PARTIAL)),
        (paid(make(grace_s=60), COIN, received_at=EXPIRES + 59), State(PROCESSING)),
        (paid(make(grace_s=60, expired_at=EXPIRES), COIN, received_at=EXPIRES + 59), State(PROCESSING)),
        (paid(make(grace_s=60, expired_at=EXPIRES), COIN, received_at=EXPIRES + 60), State(EXPIRED, LATE)),
    ],
)
def test_status_follows_from_the_facts(invoice: Invoice, expected: State) -> None:
    assert status(invoice) == expected


@pytest.mark.parametrize(("missing", "is_paid"), [(0, True), (1, False)])
def test_tolerance_at_the_exact_boundary(missing: int, is_paid: bool) -> None:
    # 33.33333333 percent of 3 grains more than 10^8: no float decides this.
    price, tolerance = 100_000_003, 3_333_333_333
    least = -(-price * (10**10 - tolerance) // 10**10)
    state = status(paid(make(price=price, tolerance=tolerance), least - missing))
    assert (state.status is PROCESSING) is is_paid


def test_the_due_of_a_fiat_invoice_is_rounded_up_and_paying_it_is_not_too_much() -> None:
    invoice = make(price=10 * COIN, currency="EUR", rate=3 * RATE_ONE)
    assert due(invoice) == 333_333_334
    full = paid(invoice, due(invoice))
    assert status(full) == State(PROCESSING)
    assert due(full) == 0
    assert status(paid(invoice, due(invoice) + 1)) == State(PROCESSING, OVER)


def test_a_further_payment_must_cover_the_network_fee() -> None:
    # Greenfield's worked example: price 1, fee 0.00001.
    invoice = replace(paid(make(fee_mode=FeeMode.MULTIPLE, next_fee=1_000), 40_000_000), next_fee=1_000)
    figures = method_figures(invoice)
    assert (figures.amount, figures.total_paid, figures.due, figures.fee) == (
        100_001_000,
        40_000_000,
        60_001_000,
        1_000,
    )
    full = paid(invoice, 60_001_000, fee=1_000)
    assert status(full).status is PROCESSING
    assert method_figures(full).due == 0
    assert paid_text(full) == "1"


def test_nothing_is_due_to_be_recorded_without_a_reason() -> None:
    assert due_transitions(make(), TIP, EXPIRES - 1) == ()


def test_the_clock_expires_only_at_a_fresh_tip() -> None:
    assert due_transitions(make(), TIP, EXPIRES) == (Transition.EXPIRED,)
    assert due_transitions(make(), TipFacts(100, fresh=False), EXPIRES) == ()


def test_a_clock_that_jumps_back_changes_nothing() -> None:
    expired = advance(make(), TIP, EXPIRES)
    assert advance(expired, TIP, CREATED) == expired


@pytest.mark.parametrize(
    ("depth", "height", "settles"), [(1, 100, True), (2, 100, False), (2, 99, True), (6, 95, True)]
)
def test_an_invoice_settles_with_the_confirmations_of_its_policy(depth: int, height: int, settles: bool) -> None:
    before = make(depth=depth)
    after = advance(confirmed(before, COIN, height=height), TIP, 1_500)
    assert (status(after).status is SETTLED) is settles
    told = [E.RECEIVED_PAYMENT, E.PAYMENT_SETTLED, E.PROCESSING, E.SETTLED]
    assert kinds(before, after) == (told if settles else [E.RECEIVED_PAYMENT, E.PROCESSING])


def test_nothing_settles_in_the_safe_mode() -> None:
    waiting = confirmed(make(), COIN)
    assert advance(waiting, TipFacts(100, safe=False), MONITORED + 1) == waiting


def test_paid_but_never_confirmed_becomes_invalid() -> None:
    invoice = paid(make(), COIN)
    assert status(advance(invoice, TIP, MONITORED)).status is PROCESSING
    after = advance(invoice, TIP, MONITORED + 1)
    assert status(after).status is INVALID
    assert kinds(invoice, after) == [E.INVALID]


def test_late_confirmation_of_an_invalid_invoice_is_told() -> None:
    invalid = advance(paid(make(), COIN), TIP, MONITORED + 1)
    payment = replace(invalid.payments[0], presence=Presence.BLOCK, height=100)
    after = advance(replace(invalid, payments=(payment,)), TIP, MONITORED + 9)
    assert status(after).status is INVALID
    drafts = events_between(invalid, after)
    assert [(d.type, d.flags) for d in drafts] == [(E.PAYMENT_SETTLED, {"afterExpiration": True})]


def test_expiry_with_part_of_the_money_is_told_twice() -> None:
    invoice = paid(make(), 1)
    drafts = events_between(invoice, advance(invoice, TIP, EXPIRES))
    assert [(d.type, d.flags) for d in drafts] == [
        (E.EXPIRED, {"partiallyPaid": True}),
        (E.EXPIRED_PAID_PARTIAL, {}),
    ]


def test_late_full_payment_is_told_once_and_does_not_settle() -> None:
    expired = advance(make(), TIP, EXPIRES)
    late = confirmed(expired, COIN, **LATE_TIME)
    after = advance(late, TIP, EXPIRES + 10)
    assert status(after) == State(EXPIRED, LATE)
    assert kinds(expired, after) == [E.RECEIVED_PAYMENT, E.PAYMENT_SETTLED, E.PAID_AFTER_EXPIRATION]
    assert kinds(after, paid(after, 5, **LATE_TIME)) == [E.RECEIVED_PAYMENT]


def test_a_replacement_that_pays_less_goes_back_to_new() -> None:
    before = paid(make(), COIN)
    gone = replace(before.payments[0], presence=Presence.CONFLICTED, conflict=b"c" * 32)
    after = replace(before, payments=(gone,))
    assert status(after) == State(NEW)
    assert kinds(before, after) == [E.PAYMENT_REPLACED]


def test_zero_amount_is_settled_at_once() -> None:
    after = advance(make(price=0), TIP, CREATED)
    assert status(after) == State(SETTLED)
    assert kinds(None, after) == [E.CREATED, E.PROCESSING, E.SETTLED]


def test_top_up_takes_the_value_of_its_first_payment() -> None:
    assert price_text(make(price=None)) == "0"
    settled = advance(confirmed(make(price=None), 150_000_000), TIP, 1_500)
    assert price_text(settled) == "1.5"
    assert status(paid(settled, COIN)) == State(SETTLED)
    assert price_text(paid(settled, COIN)) == "1.5"


ZERO = ZeroConf(max_amount=COIN, min_feerate_per_kvb=1_000, seconds_seen=5)


@pytest.mark.parametrize(
    ("fields", "settles"),
    [
        ({"risk": Risk(False, 1_000, 0)}, True),
        ({"risk": Risk(True, 1_000, 0)}, False),
        ({"risk": Risk(False, 999, 0)}, False),
        ({"risk": Risk(False, 1_000, 1)}, False),
        ({"risk": Risk(False, 1_000, 0), "contested": True}, False),
        ({"risk": Risk(False, 1_000, 0), "presence": Presence.UNSEEN}, False),
        ({"risk": None}, False),
    ],
)
def test_unconfirmed_payments_count_only_within_the_policy(fields: dict[str, Any], settles: bool) -> None:
    invoice = paid(make(depth=0, zero_conf=ZERO), COIN, **fields)
    assert status(advance(invoice, TIP, CREATED + 5)).status is PROCESSING
    assert (status(advance(invoice, TIP, CREATED + 6)).status is SETTLED) is settles
    assert (next_deadline(invoice) == CREATED + 6) is settles


def test_a_larger_unconfirmed_payment_waits_for_a_block() -> None:
    invoice = paid(make(depth=0, zero_conf=ZERO), COIN + 1, risk=Risk(False, 5_000, 0))
    assert status(advance(invoice, TIP, 1_500)).status is PROCESSING


@pytest.mark.parametrize(
    ("invoice", "allowed"),
    [
        (make(), (SETTLED, INVALID)),
        (paid(make(), COIN), (SETTLED, INVALID)),
        (make(expired_at=1_900), (SETTLED, INVALID)),
        (make(invalid_at=6_000), (SETTLED,)),
        (make(settled_at=1_500), ()),
    ],
)
def test_what_may_be_marked_by_hand(invoice: Invoice, allowed: tuple[Status, ...]) -> None:
    assert allowed_marks(invoice) == allowed


def test_a_marked_settlement_can_be_taken_back() -> None:
    before = make()
    settled = mark(before, SETTLED, 1_500)
    assert settled is not None
    assert status(settled) == State(SETTLED, MARKED)
    drafts = events_between(before, settled)
    assert [(d.type, d.flags["manuallyMarked"]) for d in drafts] == [(E.SETTLED, True)]
    invalid = mark(settled, INVALID, 1_600)
    assert invalid is not None
    assert status(invalid) == State(INVALID, MARKED)
    assert kinds(settled, invalid) == [E.INVALID]
    assert mark(invalid, INVALID, 1_700) is None


def test_a_settled_payment_that_a_reorganisation_removes_is_told_and_the_settlement_stands() -> None:
    settled = advance(confirmed(make(), COIN), TIP, 1_500)
    gone = replace(settled.payments[0], presence=Presence.UNSEEN, height=-1, settled_at=0, reorged_at=1_600)
    after = replace(settled, payments=(gone,))
    assert status(after) == State(SETTLED)
    assert kinds(settled, after) == [E.PAYMENT_REORGED]
