"""A block of many payments is booked in turns of the loop: what comes meanwhile, and what it finds then."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest

from gldnode.events import BlockConnected, ChainStep
from gldnode.primitives.amount import COIN
from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx
from payments import engine
from payments.engine import read_cursor
from payments.events import EventType
from payments.invoice import FeeMode, Invoice, Presence, SpeedPolicy, Status
from payments.layout import CURSOR, Watch
from payments.ledger import Ledger
from payments.repository import load_invoice
from storage import turns
from storage.database import Database, Txn
from storage.kv import WriteBatch
from storage.leveldb import LevelKV
from storage.turns import Pieces
from tests.support.host import ANYONE
from tests.support.storage_faults import FaultKV
from tests.support.till import MERCHANT, Till, open_till, replace_database

MANY = 40
AMOUNT = COIN // 100


@pytest.fixture(autouse=True)
def pausing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece is followed by a pause, however fast the machine is."""
    monkeypatch.setattr(turns, "TURN_S", 0.0)
    monkeypatch.setattr(turns, "LONG_TURN_S", 0.0)
    monkeypatch.setattr(engine, "RETRY_S", 0.01)


@pytest.fixture
def kv() -> FaultKV:
    return FaultKV()


@pytest.fixture
async def till(tmp_path: Path, kv: FaultKV) -> AsyncIterator[Till]:
    async with open_till(
        tmp_path, coins=2, network_fee_mode=FeeMode.NEVER, database=lambda: Database(kv)
    ) as opened:
        yield opened


@pytest.fixture
def half_booked(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set in the middle of the first block that pays somebody."""
    return reached_at(monkeypatch, MANY // 2)


def reached_at(monkeypatch: pytest.MonkeyPatch, piece: int) -> asyncio.Event:
    """Set at that piece of a block."""
    reached = asyncio.Event()
    connected = Ledger.connected

    def watched_connected(
        self: Ledger, step: BlockConnected, watched: Mapping[bytes, Watch] | None = None
    ) -> Pieces[None]:
        for number, _ in enumerate(connected(self, step, watched)):
            if number == piece:
                reached.set()
            yield

    monkeypatch.setattr(Ledger, "connected", watched_connected)
    return reached


async def make_many(till: Till) -> tuple[list[Invoice], list[Tx]]:
    """Invoices, and a payment of each that nobody has seen yet."""
    invoices = [await till.make_invoice("0.01", expiration_s=1_000_000) for _ in range(MANY)]
    fan = till.spend([till.take_coin()], [TxOut(AMOUNT + 1000, ANYONE) for _ in invoices])
    await till.mine_only([fan])
    return invoices, [
        make_tx(2, [TxIn(fan.outpoint(at), b"", 0xFFFFFFFF, (b"\x51",))], [TxOut(AMOUNT, invoice.script)])
        for at, invoice in enumerate(invoices)
    ]


async def beside(till: Till, txs: Sequence[Tx], meanwhile: Callable[[], Awaitable[None]]) -> None:
    """Mine the payments and do something else at the same time."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(till.mine_only(txs))
        tasks.create_task(meanwhile())  # type: ignore[arg-type]
    await till.settle()


async def test_loop_has_its_turns_while_a_block_is_booked(till: Till, half_booked: asyncio.Event) -> None:
    invoices, txs = await make_many(till)
    database = till.service.database
    before = till.service.engine.cursor
    seen: list[tuple[int, int]] = []

    def look(txn: Txn) -> tuple[int, int]:
        cursor = read_cursor(txn)
        loaded = [load_invoice(txn, invoice.id) for invoice in invoices]
        assert cursor is not None
        return cursor.height, sum(len(invoice.payments) for invoice in loaded if invoice is not None)

    async def meanwhile() -> None:
        await half_booked.wait()
        looking = asyncio.create_task(database.transact(look))
        beats = 0
        while not looking.done():
            beats += 1
            with database.reader() as reader:
                assert read_cursor(reader) == before or beats > MANY
            await asyncio.sleep(0)
        seen.append(await looking)
        assert beats > MANY  # the rest of the outputs, and each invoice at the end

    await beside(till, txs, meanwhile)
    assert seen == [(before.height + 1, MANY)]
    assert {till.status(invoice) for invoice in invoices} == {Status.SETTLED}


async def test_what_comes_in_the_middle_is_done_behind_it_and_nothing_is_lost(
    till: Till, half_booked: asyncio.Event
) -> None:
    invoices, txs = await make_many(till)
    unpaid = await till.make_invoice("1", expiration_s=1_000_000)
    expiring = await till.make_invoice("1", expiration_s=60)
    made: list[Invoice] = []

    async def meanwhile() -> None:
        await half_booked.wait()
        payment = till.spend([till.take_coin()], [TxOut(COIN, unpaid.script)])
        async with asyncio.TaskGroup() as tasks:
            creating = tasks.create_task(till.make_invoice("3"))
            tasks.create_task(till.node.submit(payment))
            tasks.create_task(till.service.set_metadata(invoices[0].id, b'{"orderId":"new"}'))
            tasks.create_task(till.service.set_metadata(invoices[-1].id, b'{"orderId":"new"}'))
            tasks.create_task(till.tick())
            assert not till.load(invoices[0]).payments  # all this came before the block was booked
        made.append(creating.result())

    await beside(till, txs, meanwhile)
    await till.tick()
    assert till.status(made[0]) is Status.NEW
    assert till.load(unpaid).payments[0].presence is Presence.MEMPOOL
    assert till.status(unpaid) is Status.PROCESSING
    assert till.status(expiring) is Status.EXPIRED
    for invoice in invoices:
        loaded = till.load(invoice)
        assert [payment.presence for payment in loaded.payments] == [Presence.BLOCK]
        assert till.status(invoice) is Status.SETTLED
    for changed in (invoices[0], invoices[-1]):
        loaded = till.load(changed)
        assert (loaded.metadata, len(loaded.payments)) == (b'{"orderId":"new"}', 1)
    log = till.service.events(till.store.id, 0, 1000)
    assert [event.seq for event in log] == list(range(1, len(log) + 1))


@pytest.mark.parametrize("depth", [1, 2])
async def test_what_is_assigned_behind_a_block_knows_its_height(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    policy = {1: SpeedPolicy.MEDIUM, 2: SpeedPolicy.LOW_MEDIUM}[depth]
    async with open_till(tmp_path, chain=MERCHANT, speed_policy=policy) as till:
        invoice = await till.make_invoice("1", expiration_s=1_000_000)
        assert invoice.depth == depth
        payment = till.spend([till.take_coin()], [TxOut(COIN, invoice.script)])
        blocks = [[payment], *[[]] * (depth - 1)]
        for txs in blocks[:-1]:
            await till.mine_only(txs)
        begun = reached_at(monkeypatch, 0)

        async def meanwhile() -> None:
            await begun.wait()
            await till.service.assign(till.store.id, invoice.id, bytes(payment.outpoint(0)))

        await beside(till, blocks[-1], meanwhile)
        assert till.status(invoice) is Status.SETTLED


async def test_a_block_that_pays_nobody_moves_the_cursor_without_waiting_for_the_disk(
    till: Till, kv: FaultKV
) -> None:
    writes = kv.writes
    await till.mine_only([])
    assert [(set(ops), synced) for ops, synced in kv.history[writes:]] == [({CURSOR}, False)]


async def test_stopped_in_the_middle_it_is_booked_once_at_the_next_start(
    till: Till, kv: FaultKV, half_booked: asyncio.Event
) -> None:
    invoices, txs = await make_many(till)
    mining = asyncio.create_task(till.mine_only(txs))
    await half_booked.wait()
    await till.stop_payments()
    content = FaultKV(content=kv.content())
    mining.cancel()
    replace_database(till.node, lambda: Database(content))
    await till.start_payments()
    for invoice in invoices:
        assert till.status(invoice) is Status.SETTLED
        told = till.event_types(invoice)
        assert told.count(EventType.RECEIVED_PAYMENT) == told.count(EventType.SETTLED) == 1


async def test_disk_that_fills_in_the_middle_costs_nothing(
    till: Till, kv: FaultKV, half_booked: asyncio.Event
) -> None:
    invoices, txs = await make_many(till)

    async def meanwhile() -> None:
        await half_booked.wait()
        kv.fill_disk()
        await asyncio.sleep(0.05)
        assert not till.load(invoices[0]).payments
        kv.fill_disk(False)

    await beside(till, txs, meanwhile)
    assert {till.status(invoice) for invoice in invoices} == {Status.SETTLED}
    assert {len(till.events(invoice)) for invoice in invoices} == {len(till.events(invoices[0]))}


async def test_database_that_is_opened_again_in_the_middle_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()
    watched_scripts = engine.Engine._watched_scripts

    def watched_watched_scripts(self: engine.Engine, steps: Sequence[ChainStep]) -> Pieces[dict[bytes, Watch]]:
        pieces = watched_scripts(self, steps)
        next(pieces)
        begun.set()
        yield
        return (yield from pieces)

    monkeypatch.setattr(engine, "SCRIPTS_AT_ONCE", 1)
    kv = LevelKV.open(tmp_path / "payments")
    async with open_till(tmp_path, coins=2, network_fee_mode=FeeMode.NEVER, database=lambda: Database(kv)) as till:
        invoices, txs = await make_many(till)

        monkeypatch.setattr(engine.Engine, "_watched_scripts", watched_watched_scripts)

        async def meanwhile() -> None:
            await begun.wait()
            kv._undo = {}  # as after a failed write
            kv.write(WriteBatch({b"~": b""}), sync=True)

        await beside(till, txs, meanwhile)
        assert till.node.failure is None
        assert {till.status(invoice) for invoice in invoices} == {Status.SETTLED}
        assert {len(till.events(invoice)) for invoice in invoices} == {len(till.events(invoices[0]))}


async def test_reorganisation_of_many_payments_leaves_the_loop_to_others(
    till: Till, half_booked: asyncio.Event
) -> None:
    invoices, txs = await make_many(till)
    await till.mine_only(txs)
    tip = till.node.chain.tip
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while till.service.engine.cursor.hash == tip.hash:
            beats += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(till.invalidate(tip.hash))
        tasks.create_task(beat())
    assert beats > 2 * MANY
    assert {till.load(invoice).payments[0].presence for invoice in invoices} == {Presence.MEMPOOL}
    await till.mine(1)
    assert {till.load(invoice).payments[0].presence for invoice in invoices} == {Presence.BLOCK}
