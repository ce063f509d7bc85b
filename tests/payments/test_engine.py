"""The engine on a real chain and mempool: what happens there, and what the invoices then say."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gldnode.address import script_to_address
from gldnode.events import HintsLost
from gldnode.params import REGTEST
from gldnode.primitives.amount import COIN
from gldnode.primitives.tx import TxOut
from payments.events import EventType
from payments.invoice import Additional, FeeMode, Presence, SpeedPolicy, Status
from tests.support.host import ANYONE
from tests.support.till import Till, op_return, open_till

E = EventType


@pytest.fixture
async def till(tmp_path: Path) -> AsyncIterator[Till]:
    async with open_till(tmp_path, coins=2) as opened:
        yield opened


async def test_every_invoice_has_its_own_address(till: Till) -> None:
    invoices = [await till.make_invoice() for _ in range(5)]
    assert len({invoice.address for invoice in invoices}) == 5


async def test_partial_payments_add_up(till: Till) -> None:
    invoice = await till.make_invoice("1")
    await till.pay(invoice, 40_000_000)
    assert till.additional(invoice) is Additional.PAID_PARTIAL
    await till.pay(invoice, 60_000_000 + till.load(invoice).next_fee)
    assert till.status(invoice) is Status.PROCESSING
    await till.mine()
    assert till.status(invoice) is Status.SETTLED


async def test_a_payment_first_seen_in_a_block_is_found(till: Till) -> None:
    invoice = await till.make_invoice("1")
    await till.stop_payments()
    await till.node.submit(till.spend([till.take_coin()], [TxOut(COIN, invoice.script)]))
    await till.node.mine(3)
    await till.start_payments()
    assert till.status(invoice) is Status.SETTLED


async def test_a_payment_that_was_spent_while_the_payments_were_down_is_found(tmp_path: Path) -> None:
    anyone = script_to_address(ANYONE, REGTEST)
    async with open_till(tmp_path, chain=anyone) as till:
        invoice = await till.make_invoice("1")
        await till.stop_payments()
        memo = op_return(invoice.id.encode())
        tx = till.spend([till.take_coin()], [TxOut(COIN, invoice.script), memo])
        await till.node.submit(tx)
        await till.node.submit(till.spend([(tx.outpoint(0), COIN)], []))
        await till.node.mine(2)
        await till.start_payments()
        assert till.status(invoice) is Status.SETTLED


async def test_a_payment_to_an_expired_invoice_while_down_is_late(till: Till) -> None:
    invoice = await till.make_invoice("1", expiration_s=30)
    await till.stop_payments()
    till.pass_time(40)
    await till.node.submit(till.spend([till.take_coin()], [TxOut(COIN, invoice.script)]))
    await till.node.mine(1)
    await till.start_payments()
    await till.tick()
    assert till.status(invoice) is Status.EXPIRED
    assert till.additional(invoice) is Additional.PAID_LATE
    assert till.event_types(invoice)[-3:] == [E.PAYMENT_SETTLED, E.EXPIRED, E.PAID_AFTER_EXPIRATION]


async def test_expiry_is_recorded_by_the_clock(till: Till) -> None:
    invoice = await till.make_invoice("1", expiration_s=60)
    till.pass_time(59)
    await till.tick()
    assert till.status(invoice) is Status.NEW
    till.pass_time(1)
    await till.tick()
    assert till.status(invoice) is Status.EXPIRED
    await till.tick()
    assert till.event_types(invoice) == [E.CREATED, E.EXPIRED]


async def test_a_replacement_that_pays_nobody_takes_the_payment_away(till: Till) -> None:
    invoice = await till.make_invoice("1")
    tx = await till.pay(invoice)
    other = await till.replace(tx, [TxOut(COIN, ANYONE)])
    assert till.status(invoice) is Status.NEW
    payment = till.load(invoice).payments[0]
    assert (payment.presence, payment.conflict) == (Presence.CONFLICTED, other.txid)
    assert till.event_types(invoice)[-1] is E.PAYMENT_REPLACED
    await till.mine()
    assert till.status(invoice) is Status.NEW


async def test_a_bumped_fee_keeps_the_payment_in_time(till: Till) -> None:
    invoice = await till.make_invoice("1", expiration_s=60)
    tx = await till.pay(invoice)
    till.pass_time(100)
    await till.replace(tx, [TxOut(COIN, invoice.script)])
    await till.tick()
    assert till.status(invoice) is Status.PROCESSING
    await till.mine()
    assert till.status(invoice) is Status.SETTLED
    assert [p.accounted for p in till.load(invoice).payments] == [False, True]


async def test_a_replacement_that_pays_more_is_late_after_the_expiry(till: Till) -> None:
    invoice = await till.make_invoice("1", expiration_s=60)
    tx = await till.pay(invoice, 1_000)
    till.pass_time(100)
    await till.replace(tx, [TxOut(COIN, invoice.script)])
    await till.tick()
    assert till.additional(invoice) is Additional.PAID_LATE


@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_a_reorganisation_with_the_payment_in_both_branches_tells_nothing(till: Till, depth: int) -> None:
    invoice = await till.make_invoice("1", speed_policy=SpeedPolicy.MEDIUM)
    await till.pay(invoice)
    blocks = await till.mine(depth)
    told = till.event_types(invoice)
    await till.node.invalidate(blocks[0])
    await till.mine(depth + 1)
    assert till.status(invoice) is Status.SETTLED
    assert till.load(invoice).payments[0].presence is Presence.BLOCK
    assert [e for e in till.event_types(invoice) if e not in told] in ([], [E.PAYMENT_REORGED])


@pytest.mark.parametrize("depth", [1, 3, 6])
async def test_a_settled_payment_that_is_double_spent_by_a_reorganisation_is_told(till: Till, depth: int) -> None:
    invoice = await till.make_invoice("1")
    tx = await till.pay(invoice)
    blocks = await till.mine(depth)
    assert till.status(invoice) is Status.SETTLED
    await till.invalidate(blocks[0])
    await till.replace(tx, [TxOut(COIN, ANYONE)])
    await till.mine(depth + 1)
    assert till.status(invoice) is Status.SETTLED
    payment = till.load(invoice).payments[0]
    assert payment.presence is Presence.CONFLICTED
    assert E.PAYMENT_REORGED in till.event_types(invoice)
    assert any("settlement stands" in sentence for sentence in till.service.explain(invoice.id))


async def test_a_conflict_in_a_block_that_is_left_again_gives_the_payment_back(till: Till) -> None:
    invoice = await till.make_invoice("1")
    tx = await till.pay(invoice)
    await till.replace(tx, [TxOut(COIN, ANYONE)])
    (block,) = await till.mine()
    assert till.load(invoice).payments[0].conflict_height == till.node.chain.tip.height
    await till.invalidate(block)
    # The replacement is in the mempool again, so the payment stays un-accounted.
    assert till.load(invoice).payments[0].presence is Presence.CONFLICTED


async def test_after_a_deep_reorganisation_settlement_waits(till: Till) -> None:
    invoice = await till.make_invoice("1")
    blocks = await till.mine(4)
    await till.invalidate(blocks[0])
    await till.pay(invoice)
    await till.mine(5)
    assert till.service.safe_mode() is not None
    assert till.status(invoice) is Status.PROCESSING
    await till.mine(7)
    assert till.service.safe_mode() is None
    assert till.status(invoice) is Status.SETTLED


async def test_the_operator_may_end_the_safe_mode(till: Till) -> None:
    invoice = await till.make_invoice("1")
    blocks = await till.mine(4)
    await till.invalidate(blocks[0])
    await till.pay(invoice)
    await till.mine(2)
    assert till.status(invoice) is Status.PROCESSING
    assert await till.service.acknowledge_reorganisation()
    assert till.status(invoice) is Status.SETTLED


async def test_lost_hints_are_made_good_by_reading_the_mempool(till: Till) -> None:
    invoice = await till.make_invoice("1")
    await till.stop_payments()
    await till.node.submit(till.spend([till.take_coin()], [TxOut(COIN, invoice.script)]))
    await till.start_payments()
    assert till.status(invoice) is Status.PROCESSING
    await till.service.engine.take_hints([HintsLost()])
    assert len(till.load(invoice).payments) == 1


async def test_zero_confirmations_are_enough_within_the_policy(till: Till) -> None:
    invoice = await till.make_invoice("1", speed_policy=SpeedPolicy.HIGH)
    await till.pay(invoice)
    assert till.status(invoice) is Status.SETTLED
    signalling = await till.make_invoice("1", speed_policy=SpeedPolicy.HIGH)
    await till.pay(signalling, sequence=0xFFFFFFFD)
    assert till.status(signalling) is Status.PROCESSING


async def test_several_outputs_of_one_transaction_are_several_payments(tmp_path: Path) -> None:
    async with open_till(tmp_path, network_fee_mode=FeeMode.NEVER) as till:
        invoice, other = await till.make_invoice("1"), await till.make_invoice("2")
        outputs = [
            TxOut(COIN // 2, invoice.script),
            TxOut(2 * COIN, other.script),
            TxOut(COIN // 2, invoice.script),
        ]
        await till.send(till.spend([till.take_coin()], outputs))
        await till.mine()
        assert [till.status(i) for i in (invoice, other)] == [Status.SETTLED] * 2
        assert [p.number for p in till.load(invoice).payments] == [1, 2]


async def test_a_coinbase_needs_to_mature(till: Till) -> None:
    invoice = await till.make_invoice(None)
    await till.node.mine(1, invoice.script)
    await till.mine(98)
    assert till.status(invoice) is Status.PROCESSING
    await till.mine(1)
    assert till.status(invoice) is Status.SETTLED


async def test_everything_is_still_there_after_a_restart(till: Till) -> None:
    invoice = await till.make_invoice("1")
    await till.pay(invoice)
    before = till.load(invoice)
    await till.stop_payments()
    await till.start_payments()
    assert till.load(invoice) == before
    await till.mine()
    assert till.status(invoice) is Status.SETTLED


async def test_late_payments_are_taken_within_the_stores_grace(tmp_path: Path) -> None:
    async with open_till(tmp_path, late_payment_grace=300) as till:
        invoice = await till.make_invoice("1", expiration_s=60)
        till.pass_time(61)
        await till.tick()
        assert till.status(invoice) is Status.EXPIRED
        await till.pay(invoice)
        await till.mine()
        assert till.status(invoice) is Status.SETTLED


async def test_a_fee_bumped_twice_keeps_the_time_of_the_payment_that_brought_as_much(tmp_path: Path) -> None:
    async with open_till(tmp_path, coins=1, network_fee_mode=FeeMode.NEVER) as till:
        invoice = await till.make_invoice("2", expiration_s=1_000)
        first = await till.pay(invoice, COIN)
        till.pass_time(10)
        second = await till.replace(first, [TxOut(2 * COIN, invoice.script)], fee=60_000)
        came_at = till.now
        till.pass_time(2_000)
        await till.replace(second, [TxOut(2 * COIN, invoice.script)], fee=120_000)
        assert [payment.received_at for payment in till.load(invoice).payments] == [came_at - 10, came_at, came_at]
        assert till.status(invoice) is Status.PROCESSING
