"""Transactions in turns: the loop goes on between their pieces, and they are single steps all the same."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from storage import turns
from storage.database import ABSENT, Database, Txn
from storage.errors import CommitFailed, GuardFailed, StorageError
from storage.memory import MemoryKV
from storage.turns import Pieces, at_once, in_turns
from tests.support.storage import add_one
from tests.support.storage_faults import FaultKV, SlowKV, until

PIECES = 50


@pytest.fixture
def pausing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece is followed by a pause, however fast the machine is."""
    monkeypatch.setattr(turns, "TURN_S", 0.0)
    monkeypatch.setattr(turns, "LONG_TURN_S", 0.0)


def count_up(txn: Txn) -> Pieces[int]:
    """A row in each piece, and the count that came before."""
    before = int(txn.get(b"count") or b"0")
    for number in range(PIECES):
        txn.put(b"row/%03d" % number, b"")
        yield
    txn.put(b"count", b"%d" % (before + PIECES))
    return before


async def begin(database: Database, fn: Callable[[Txn], Pieces[int]] = count_up) -> asyncio.Task[int]:
    """A transaction in turns that is under way."""
    task = asyncio.create_task(database.transact_in_turns(fn))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    return task


@pytest.mark.usefixtures("pausing")
async def test_loop_goes_on_between_the_pieces_and_one_write_makes_them_durable(
    kv: FaultKV, database: Database
) -> None:
    beats = 0
    task = await begin(database)
    while database._line is not None:
        assert list(database.reader().iterate()) == []  # nothing of it is to be seen
        beats += 1
        await asyncio.sleep(0)
    assert await task == 0
    assert beats >= PIECES - 2
    assert len(kv.content()) == PIECES + 1
    assert kv.writes == kv.synced == 1


async def test_short_work_does_not_pause(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_S", 60.0)
    first = asyncio.create_task(database.transact_in_turns(count_up))
    second = asyncio.create_task(database.transact(add_one))
    await asyncio.sleep(0)
    assert (await first, await second) == (0, PIECES + 1)


@pytest.mark.usefixtures("pausing")
async def test_those_who_come_meanwhile_run_behind_it_in_their_order(database: Database) -> None:
    task = await begin(database)
    others = [
        asyncio.create_task(database.transact_in_turns(count_up) if number == 2 else database.transact(add_one))
        for number in range(5)
    ]
    results = await asyncio.gather(task, *others)
    assert results == [0, PIECES + 1, PIECES + 2, PIECES + 2, 2 * PIECES + 3, 2 * PIECES + 4]


@pytest.mark.usefixtures("pausing")
async def test_nobody_goes_ahead_of_the_line(database: Database) -> None:
    late: list[asyncio.Task[int]] = []

    def first(txn: Txn) -> int:
        late.append(asyncio.create_task(database.transact(add_one)))
        return add_one(txn)

    task = await begin(database)
    waiting = [asyncio.create_task(database.transact(fn)) for fn in (first, add_one, add_one)]
    assert await asyncio.gather(task, *waiting) == [0, PIECES + 1, PIECES + 2, PIECES + 3]
    assert await late[0] == PIECES + 4


@pytest.mark.usefixtures("pausing")
async def test_what_was_gathered_before_is_seen_and_joined() -> None:
    kv = SlowKV()
    database = Database(kv)
    written = asyncio.create_task(database.transact(add_one))
    await until(kv.started.is_set)
    gathered = asyncio.create_task(database.transact(add_one))
    await asyncio.sleep(0)
    task = asyncio.create_task(database.transact_in_turns(count_up))
    for _ in range(PIECES + 5):
        await asyncio.sleep(0)
    kv.gate.set()
    assert (await written, await gathered, await task) == (1, 2, 2)
    assert kv.writes == 2  # the first one, and the gathered one with all pieces
    assert kv.content()[b"count"] == b"%d" % (PIECES + 2)
    database.close()


@pytest.mark.usefixtures("pausing")
async def test_what_it_sees_does_not_change_when_the_writes_below_it_end() -> None:
    kv = SlowKV()
    database = Database(kv)
    written = asyncio.create_task(database.transact(lambda txn: txn.put(b"a", b"1")))
    await until(kv.started.is_set)
    gathered = asyncio.create_task(database.transact(lambda txn: txn.put(b"b", b"2")))
    await asyncio.sleep(0)
    go_on = asyncio.Event()

    def look(txn: Txn) -> Pieces[list[object]]:
        seen: list[object] = []
        while not go_on.is_set():
            seen.append((txn.get(b"a"), txn.get(b"b"), txn.get(b"c"), list(txn.iterate())))
            yield
        return seen

    task = asyncio.create_task(database.transact_in_turns(look))
    await asyncio.sleep(0)
    behind = asyncio.create_task(database.transact(lambda txn: txn.put(b"c", b"3")))
    kv.gate.set()
    await asyncio.gather(written, gathered)
    go_on.set()
    seen = await task
    assert len(seen) > 2
    assert all(moment == (b"1", b"2", None, [(b"a", b"1"), (b"b", b"2")]) for moment in seen)
    await behind
    assert kv.content() == {b"a": b"1", b"b": b"2", b"c": b"3"}
    database.close()


@pytest.mark.usefixtures("pausing")
@pytest.mark.parametrize("failing", [1, 2])
async def test_write_that_fails_below_it_fails_it_and_not_those_behind(failing: int) -> None:
    kv = SlowKV()
    kv.fail_write(failing)
    database = Database(kv)
    written = asyncio.create_task(database.transact(add_one))
    await until(kv.started.is_set)
    gathered = asyncio.create_task(database.transact(add_one))
    await asyncio.sleep(0)
    was_closed = []

    def endless(txn: Txn) -> Pieces[None]:
        try:
            while True:
                txn.put(b"never", txn.get(b"count") or b"")
                yield
        finally:
            was_closed.append(True)

    task = asyncio.create_task(database.transact_in_turns(endless))
    behind = asyncio.create_task(database.transact(add_one))
    await asyncio.sleep(0)
    kv.gate.set()
    with pytest.raises(CommitFailed, match="No space left"):
        await task
    assert was_closed == [True]
    results = await asyncio.gather(written, gathered, return_exceptions=True)
    assert [isinstance(result, CommitFailed) for result in results] == [failing == 1, True]
    assert await behind == failing
    assert kv.content() == {b"count": b"%d" % failing}
    database.close()


@pytest.mark.usefixtures("pausing")
async def test_write_that_fails_behind_its_last_piece_fails_it() -> None:
    kv = SlowKV()
    kv.fail_write(1)
    database = Database(kv)
    written = asyncio.create_task(database.transact(add_one))
    await until(kv.started.is_set)
    task = await begin(database)
    for _ in range(PIECES + 5):
        await asyncio.sleep(0)
    kv.gate.set()
    results = await asyncio.gather(written, task, return_exceptions=True)
    assert [type(result) for result in results] == [CommitFailed, CommitFailed]
    assert kv.content() == {}
    assert await database.transact_in_turns(count_up) == 0
    database.close()


@pytest.mark.usefixtures("pausing")
async def test_cancelled_in_the_middle_it_leaves_nothing(kv: FaultKV, database: Database) -> None:
    task = await begin(database)
    behind = [asyncio.create_task(database.transact(add_one)) for _ in range(3)]
    await asyncio.sleep(0)
    task.cancel()
    behind[1].cancel()
    results = await asyncio.gather(task, *behind, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert isinstance(results[2], asyncio.CancelledError)
    assert (results[1], results[3]) == (1, 2)
    assert kv.content() == {b"count": b"2"}
    assert await database.transact(add_one) == 3


@pytest.mark.usefixtures("pausing")
async def test_cancelled_in_the_line_it_lets_the_others_go_on(database: Database) -> None:
    task = await begin(database)
    second = asyncio.create_task(database.transact_in_turns(count_up))
    third = asyncio.create_task(database.transact(add_one))
    await asyncio.sleep(0)
    second.cancel()
    assert (await task, await third) == (0, PIECES + 1)
    assert second.cancelled()


@pytest.mark.usefixtures("pausing")
async def test_exception_of_a_piece_comes_out_and_nothing_is_written(kv: FaultKV, database: Database) -> None:
    def refuse(txn: Txn) -> Pieces[int]:
        yield from count_up(txn)
        raise KeyError("refused")

    task = await begin(database, refuse)
    behind = asyncio.create_task(database.transact(add_one))
    with pytest.raises(KeyError, match="refused"):
        await task
    assert await behind == 1
    assert kv.content() == {b"count": b"1"}


@pytest.mark.usefixtures("pausing")
async def test_pieces_are_run_again_from_the_first_after_a_conflict(kv: FaultKV, database: Database) -> None:
    await database.transact(lambda txn: txn.put(b"id/1", b""))
    candidates = iter(range(1, 10))

    def pick(txn: Txn) -> Pieces[int]:
        candidate = next(candidates)
        txn.put(b"tried/%d" % candidate, b"")
        yield
        txn.require(b"id/1" if candidate == 1 else b"id/2", ABSENT)
        return candidate

    def fail(txn: Txn) -> Pieces[None]:
        yield
        next(candidates)
        txn.require(b"id/1", ABSENT)

    assert await database.transact_in_turns(pick) == 2
    assert kv.content() == {b"id/1": b"", b"tried/2": b""}
    with pytest.raises(GuardFailed):
        await database.transact_in_turns(fail)
    assert next(candidates) == 6  # the third run's error is the caller's


@pytest.mark.usefixtures("pausing")
async def test_close_in_the_middle_writes_nothing_of_it(kv: FaultKV, database: Database) -> None:
    task = await begin(database)
    behind = asyncio.create_task(database.transact(add_one))
    await asyncio.sleep(0)
    database.close()
    for waiter in (task, behind):
        with pytest.raises(StorageError, match="closed"):
            await waiter
    assert kv.content() == {}


@pytest.mark.usefixtures("pausing")
async def test_close_in_another_thread_ends_it(kv: FaultKV, database: Database) -> None:
    task = await begin(database)
    closing = threading.Thread(target=database.close)
    closing.start()
    closing.join()
    with pytest.raises(StorageError, match="closed"):
        await task
    assert kv.content() == {}


@pytest.mark.usefixtures("pausing")
async def test_close_behind_the_last_piece_writes_it(kv: FaultKV, database: Database) -> None:
    task = await begin(database)
    while database._line is not None:  # noqa: ASYNC110 (its pieces are what is waited for)
        await asyncio.sleep(0)
    database.close()
    assert await task == 0
    assert len(kv.content()) == PIECES + 1


@pytest.mark.usefixtures("pausing")
async def test_blocking_transaction_is_refused_meanwhile(database: Database) -> None:
    task = await begin(database)
    with pytest.raises(StorageError, match="under way"):
        database.transact_blocking(add_one)
    await task
    assert database.transact_blocking(add_one) == PIECES + 1


@pytest.mark.usefixtures("pausing")
def test_loop_that_ended_in_the_middle_does_not_stop_the_next_one(kv: FaultKV, database: Database) -> None:
    async def leave() -> None:
        await begin(database)

    async def abandon(loop: asyncio.AbstractEventLoop) -> None:
        tasks.append(await begin(database))
        loop.stop()

    asyncio.run(leave())
    tasks: list[asyncio.Task[int]] = []
    loop = asyncio.new_event_loop()
    running = loop.create_task(abandon(loop))
    loop.run_forever()  # stopped, and closed with everything under way
    tasks[0]._log_destroy_pending = False  # type: ignore[attr-defined]
    assert running.done()
    loop.close()
    assert asyncio.run(database.transact(add_one)) == 1
    assert asyncio.run(database.transact_in_turns(count_up)) == 1
    tasks.clear()  # what is left of the abandoned one ends here
    assert asyncio.run(database.transact(add_one)) == PIECES + 2


@pytest.mark.usefixtures("pausing")
async def test_reading_in_turns_waits_for_what_it_has_read() -> None:
    kv = SlowKV()
    database = Database(kv)
    written = asyncio.create_task(database.transact(add_one))
    await until(kv.started.is_set)

    def read(txn: Txn) -> Pieces[bytes | None]:
        yield
        return txn.get(b"count")

    task = asyncio.create_task(database.transact_in_turns(read))
    await asyncio.sleep(0.01)
    assert not task.done()
    kv.gate.set()
    assert (await written, await task) == (1, b"1")
    assert kv.writes == 1
    database.close()


def test_pieces_at_once_give_their_result() -> None:
    database = Database(MemoryKV())
    assert database.transact_blocking(lambda txn: at_once(count_up(txn))) == 0
    database.close()


async def test_busy_loop_gives_the_work_as_long_as_it_takes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(turns, "TURN_S", 0.001)
    monkeypatch.setattr(turns, "LONG_TURN_S", 0.01)
    monkeypatch.setattr(turns, "monotonic", lambda: now)
    runs = [0]
    others = [0.0, 0.004, 1.0]

    def work() -> Pieces[None]:
        nonlocal now
        for _ in range(25):
            now += 0.0005
            runs[-1] += 1
            yield

    async def busy() -> None:
        nonlocal now
        for took in others:
            now += took
            runs.append(0)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(in_turns(work()))
        tasks.create_task(busy())
    # A millisecond at first, and behind an idle turn; as long as the others took; ten at most.
    assert runs == [2, 2, 8, 13]
