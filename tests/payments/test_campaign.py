"""A walk of everything that can happen to invoices, against a naive recomputation from chain and mempool.

The model below knows nothing of the engine's records: after every step it looks at every block and the whole
mempool again and says what each invoice should be.
"""

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from gldnode.errors import Reject
from gldnode.primitives.amount import COIN
from gldnode.primitives.block import Block, parse_block
from gldnode.primitives.tx import OutPoint, Tx, TxOut
from payments import engine
from payments.events import EventType
from payments.invoice import (
    Additional,
    FeeMode,
    Invoice,
    PaymentStatus,
    Presence,
    SpeedPolicy,
    Status,
    payment_status,
)
from tests.support.campaign import campaign
from tests.support.host import ANYONE
from tests.support.till import Till, open_till

STEPS = 40
POLICIES = {SpeedPolicy.MEDIUM: 1, SpeedPolicy.LOW_MEDIUM: 2, SpeedPolicy.LOW: 6}


@dataclass
class ModelPayment:
    outpoint: OutPoint
    tx: Tx
    amount: int
    received_at: int
    settled: bool = False


@dataclass
class ModelInvoice:
    """What was agreed, what was seen, and what was decided."""

    invoice: Invoice
    price: int
    depth: int
    payments: list[ModelPayment] = field(default_factory=list)
    expired: bool = False
    settled: str = ""
    invalid: str = ""
    marked: Status | None = None


class Model:
    """The naive recomputation."""

    def __init__(self, till: Till) -> None:
        self.till = till
        self.invoices: list[ModelInvoice] = []

    def places(self) -> tuple[dict[bytes, int], dict[bytes, bytes]]:
        """Where each transaction is (height, -1 for the mempool), and who spends what."""
        where: dict[bytes, int] = {}
        spenders: dict[bytes, bytes] = {}
        chain, mempool = self.till.node.chain, self.till.node.mempool
        txs: list[tuple[Tx, int]] = []
        for txid in mempool.txids():
            info = mempool.get(txid)
            assert info is not None
            txs.append((info.tx, -1))
        for height in range(102, chain.tip.height + 1):
            block_hash = chain.block_hash(height)
            assert block_hash is not None
            txs += [(tx, height) for tx in self.block(block_hash).txs]
        for tx, height in txs:
            where[tx.txid] = height
            spenders.update((txin.prevout, tx.txid) for txin in tx.inputs)
        return where, spenders

    def block(self, block_hash: bytes) -> Block:
        raw = self.till.node.chain.block_bytes(block_hash)  # type: ignore[arg-type]
        assert raw is not None
        return parse_block(raw)

    def observe(self, *, at_tick: bool = False) -> None:
        """Look again, and decide what the engine should have decided by now."""
        where, spenders = self.places()
        tip, now = self.till.node.chain.tip.height, self.till.now
        for one in self.invoices:
            for p in one.payments:
                height = where.get(p.tx.txid)
                in_block = height is not None and height >= 0
                confirmations = tip - height + 1 if height is not None and in_block else 0
                p.settled = in_block and (p.settled or confirmations >= one.depth)
            self.decide(one, where, spenders, now, at_tick)

    def presence(self, p: ModelPayment, where: dict[bytes, int], spenders: dict[bytes, bytes]) -> Presence:
        height = where.get(p.tx.txid)
        if height is not None:
            return Presence.MEMPOOL if height < 0 else Presence.BLOCK
        return Presence.CONFLICTED if self.is_taken(p.tx, where, spenders) else Presence.UNSEEN

    def is_taken(self, tx: Tx, where: dict[bytes, int], spenders: dict[bytes, bytes]) -> bool:
        """Whether another transaction spends an input of `tx`, or of an ancestor that it needs."""
        if tx.txid in where:
            return False
        for txin in tx.inputs:
            parent = self.till.made.get(txin.prevout.txid)
            if spenders.get(txin.prevout) or (parent is not None and self.is_taken(parent, where, spenders)):
                return True
        return False

    def sums(self, one: ModelInvoice, where: dict[bytes, int], spenders: dict[bytes, bytes]) -> dict[str, int]:
        live = [p for p in one.payments if self.presence(p, where, spenders) is not Presence.CONFLICTED]
        invoice = one.invoice
        counted = [p for p in live if p.received_at <= invoice.monitoring_ends_at]
        return {
            "all": sum(p.amount for p in live),
            "in_time": sum(p.amount for p in live if p.received_at < invoice.expires_at),
            "counted": sum(p.amount for p in counted),
            "settled": sum(p.amount for p in counted if p.settled),
        }

    def decide(
        self, one: ModelInvoice, where: dict[bytes, int], spenders: dict[bytes, bytes], now: int, at_tick: bool
    ) -> None:
        if one.marked or one.settled or one.invalid:
            return
        sums = self.sums(one, where, spenders)
        is_processing = not one.expired and sums["in_time"] >= one.price
        over = Additional.PAID_OVER if sums["counted"] > one.price else Additional.NONE
        if is_processing and sums["settled"] >= one.price:
            one.settled = over.value
        elif is_processing and at_tick and now > one.invoice.monitoring_ends_at:
            one.invalid = over.value
        elif not is_processing and not one.expired and at_tick and now >= one.invoice.expires_at:
            one.expired = True

    def state(
        self, one: ModelInvoice, where: dict[bytes, int], spenders: dict[bytes, bytes]
    ) -> tuple[Status, Additional]:
        if one.marked:
            return one.marked, Additional.MARKED
        if one.settled:
            return Status.SETTLED, Additional(one.settled)
        if one.invalid:
            return Status.INVALID, Additional(one.invalid)
        sums = self.sums(one, where, spenders)
        if one.expired:
            if sums["counted"] >= one.price:
                return Status.EXPIRED, Additional.PAID_LATE
            return Status.EXPIRED, Additional.PAID_PARTIAL if sums["counted"] else Additional.NONE
        if sums["in_time"] >= one.price:
            over = sums["counted"] > one.price
            return Status.PROCESSING, Additional.PAID_OVER if over else Additional.NONE
        return Status.NEW, Additional.PAID_PARTIAL if sums["in_time"] else Additional.NONE


class Walk(RuleBasedStateMachine):
    """Steps of a shop's life."""

    @initialize()
    def begin(self) -> None:
        engine.TICK_S = 1e9  # type: ignore[misc]  # the clock ticks by the rule `wait` only
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.context = open_till(Path(self.folder.name), coins=6, network_fee_mode=FeeMode.NEVER)
        self.till: Till = self.run(self.context.__aenter__())
        self.model = Model(self.till)
        self.sent: list[tuple[Tx, ModelPayment, ModelInvoice]] = []

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        if not hasattr(self, "context"):
            return
        self.check()
        self.run(self.context.__aexit__(None, None, None))
        engine.TICK_S = 1.0  # type: ignore[misc]
        self.loop.close()
        self.folder.cleanup()

    def looked(self) -> None:
        self.model.observe()
        self.check()

    @rule(
        price=st.integers(1, 5),
        expiration=st.sampled_from([60, 3_000, 40_000]),
        policy=st.sampled_from(list(POLICIES)),
    )
    def create(self, price: int, expiration: int, policy: SpeedPolicy) -> None:
        if len(self.model.invoices) >= 8:
            return
        made = self.run(
            self.till.make_invoice(str(price), expiration_s=expiration, monitoring_s=5_000, speed_policy=policy)
        )
        self.model.invoices.append(ModelInvoice(made, price * COIN, POLICIES[policy]))
        self.looked()

    @precondition(lambda self: self.model.invoices)
    @rule(data=st.data(), quarters=st.sampled_from([1, 2, 4, 4, 4, 5]))
    def pay(self, data: st.DataObject, quarters: int) -> None:
        one = data.draw(st.sampled_from(self.model.invoices), label="invoice")
        if not self.till.has_coins:
            return
        amount = one.price * quarters // 4
        try:
            tx = self.run(self.till.pay(one.invoice, amount))
        except Reject:
            self.refused()
            return
        self.note(one, tx, 0, amount, self.till.now)
        self.looked()

    def refused(self) -> None:
        """Too long a chain, or its parent expired just now: others may have left the mempool all the same."""
        self.run(self.till.settle())
        self.looked()

    def note(self, one: ModelInvoice, tx: Tx, vout: int, amount: int, received_at: int) -> None:
        payment = ModelPayment(tx.outpoint(vout), tx, amount, received_at)
        one.payments.append(payment)
        self.sent.append((tx, payment, one))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), kind=st.sampled_from(["nobody", "bump", "more", "mined"]))
    def replace(self, data: st.DataObject, kind: str) -> None:
        tx, payment, one = data.draw(st.sampled_from(self.sent), label="payment")
        if self.till.node.mempool.get(tx.txid) is None:
            return
        amount = payment.amount + (1_000 if kind == "more" else 0)
        if kind in ("nobody", "mined"):
            outputs = [TxOut(COIN // 2, ANYONE)]
        else:
            outputs = [TxOut(amount, one.invoice.script)]
        bump = self.till.next_fee()
        try:
            if kind == "mined":
                self.correct_clock()
                other = self.till.rival(tx, outputs)
                self.run(self.till.mine_only([other]))
            else:
                other = self.run(self.till.replace(tx, outputs, fee=bump))
        except Reject:
            self.refused()
            return
        if kind in ("bump", "more"):
            received = self.till.now
            if kind == "bump":
                received = min(received, payment.received_at)
            self.note(one, other, 0, amount, received)
        self.looked()

    @rule(count=st.integers(1, 3))
    def mine(self, count: int) -> None:
        self.correct_clock()
        self.run(self.till.mine(count))
        self.looked()

    @rule(depth=st.integers(1, 3), empty=st.booleans())
    def reorganise(self, depth: int, empty: bool) -> None:
        tip = self.till.node.chain.tip.height
        if tip - depth < 110:
            return
        fork = self.till.node.chain.block_hash(tip - depth + 1)
        assert fork is not None
        self.correct_clock()
        self.run(self.till.invalidate(fork))
        self.looked()
        for _ in range(depth + 1):
            self.run(self.till.mine_only([]) if empty else self.till.mine(1))
            self.looked()

    def correct_clock(self) -> None:
        """A clock far behind the chain is set right before anybody mines: nobody takes a block of the future."""
        behind = self.till.node.chainstate.tip_entry.median_time_past - self.till.now
        if behind > 0:
            self.till.pass_time(behind)

    @rule(seconds=st.sampled_from([30, 600, 4_000, -300, -300, -7_000, -100_000, -2_000_000, 100_000, 2_000_000]))
    def wait(self, seconds: int) -> None:
        self.till.pass_time(seconds)
        self.run(self.till.tick())
        # Two looks: an invoice may expire and its payments be told late in one tick.
        self.model.observe(at_tick=True)
        self.check()

    @precondition(lambda self: self.model.invoices)
    @rule(data=st.data(), wanted=st.sampled_from([Status.SETTLED, Status.INVALID]))
    def mark(self, data: st.DataObject, wanted: Status) -> None:
        one = data.draw(st.sampled_from(self.model.invoices), label="invoice")
        state = self.till.state(one.invoice)
        if wanted in (Status.SETTLED,) and state.status is Status.SETTLED:
            return
        try:
            self.run(self.till.service.mark_invoice(one.invoice.id, wanted))
        except Exception:
            assert state.status in (Status.SETTLED, Status.INVALID)
            return
        one.marked = wanted
        self.looked()

    @precondition(lambda self: self.model.invoices)
    @rule(data=st.data())
    def archive(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.model.invoices), label="invoice")
        self.run(self.till.service.archive(one.invoice.id))
        self.looked()

    @rule(blocks=st.integers(0, 2))
    def restart(self, blocks: int) -> None:
        self.run(self.till.stop_payments())
        if blocks:
            self.correct_clock()
            self.run(self.till.node.mine(blocks))
        self.run(self.till.start_payments())
        self.looked()

    def check(self) -> None:
        where, spenders = self.model.places()
        for one in self.model.invoices:
            invoice = self.till.load(one.invoice)
            expected = self.model.state(one, where, spenders)
            state = self.till.service.state(invoice)
            facts = {p.outpoint: (p.amount, p.presence, payment_status(p)) for p in invoice.payments}
            naive = {
                bytes(p.outpoint): (p.amount, presence, self.payment_state(p, presence))
                for p in one.payments
                if (presence := self.model.presence(p, where, spenders))
            }
            assert facts == naive
            assert (state.status, state.additional) == expected
            assert all(p.height == where.get(p.txid) for p in invoice.payments if p.presence is Presence.BLOCK)
        self.check_events()

    @staticmethod
    def payment_state(p: ModelPayment, presence: Presence) -> PaymentStatus:
        if presence is Presence.CONFLICTED:
            return PaymentStatus.INVALID
        return PaymentStatus.SETTLED if p.settled else PaymentStatus.PROCESSING

    def check_events(self) -> None:
        service = self.till.service
        log = list(service.events(self.till.store.id, 0, 100_000))
        assert [event.seq for event in log] == list(range(1, len(log) + 1))
        for one in self.model.invoices:
            mine = [event.type for event in log if event.invoice_id == one.invoice.id]
            assert mine == [event.type for event in service.invoice_events(one.invoice.id)]
            assert mine.count(EventType.CREATED) == 1
            assert mine.count(EventType.RECEIVED_PAYMENT) == len(one.payments)
            assert mine.count(EventType.EXPIRED) <= 1
            told = [event for event in log if event.invoice_id == one.invoice.id]
            if not one.marked:
                assert mine.count(EventType.SETTLED) == bool(one.settled)
                assert mine.count(EventType.INVALID) == bool(one.invalid)
                assert mine.count(EventType.EXPIRED) == one.expired
            else:
                assert told[-1].invoice_status == one.marked.value


def test_everything_that_happens_is_on_the_invoices() -> None:
    rounds = campaign(1_000, 100_000) // STEPS
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=rounds,
            stateful_step_count=STEPS,
            derandomize=True,
            print_blob=False,
            phases=[Phase.generate],
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
