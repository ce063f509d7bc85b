"""Transactions that run together: the same results as one by one, and nobody's mistake is another's."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.database import ABSENT, Database, Txn
from storage.errors import CommitFailed, GuardFailed, StorageError
from storage.memory import MemoryKV
from storage.turns import Pieces
from tests.support.storage import add_one
from tests.support.storage_faults import FaultKV


async def test_a_crowd_follows_one_another_and_is_durable(database: Database) -> None:
    results = await asyncio.gather(*(database.transact_together(add_one) for _ in range(50)))
    assert results == list(range(1, 51))
    with database.reader() as reader:
        assert reader.get(b"count") == b"50"


async def test_an_iterator_at_its_end_is_nobody_elses_mistake(database: Database) -> None:
    def fail(txn: Txn) -> int:
        return next(iter(()))

    async with asyncio.timeout(5):
        results = await asyncio.gather(
            *(database.transact_together(fn) for fn in (add_one, fail, add_one)), return_exceptions=True
        )
    assert results[0::2] == [1, 2]
    assert isinstance(results[1], RuntimeError)


async def test_one_that_comes_alone_runs_at_the_end_of_its_turn(database: Database) -> None:
    task = asyncio.create_task(database.transact_together(add_one))
    await asyncio.sleep(0)
    # One that runs at once is before it, though it came later.
    assert await database.transact(add_one) == 1
    assert await task == 2


async def test_an_exception_is_its_own_transactions(database: Database) -> None:
    def fail(txn: Txn) -> int:
        txn.put(b"count", b"1000")
        raise ValueError("no")

    results = await asyncio.gather(
        *(database.transact_together(fn) for fn in (add_one, fail, add_one)), return_exceptions=True
    )
    assert results[0::2] == [1, 2]
    assert isinstance(results[1], ValueError)
    with database.reader() as reader:
        assert reader.get(b"count") == b"2"


async def test_a_claim_goes_to_one_of_the_crowd(database: Database) -> None:
    def claim(txn: Txn) -> None:
        txn.require(b"claim", ABSENT)
        txn.put(b"claim", b"taken")

    results = await asyncio.gather(*(database.transact_together(claim) for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] + [GuardFailed] * 4


async def test_a_failed_write_fails_the_whole_crowd(kv: FaultKV, database: Database) -> None:
    kv.fill_disk()
    results = await asyncio.gather(
        *(database.transact_together(add_one) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [CommitFailed] * 3
    kv.heal()
    assert await database.transact_together(add_one) == 1


async def test_who_is_cancelled_in_time_leaves_nothing(database: Database) -> None:
    tasks = [asyncio.create_task(database.transact_together(add_one)) for _ in range(3)]
    await asyncio.sleep(0)  # they stand in the crowd now
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert results[0::2] == [1, 2]


async def test_reading_in_a_crowd_waits_only_for_what_it_has_read(database: Database) -> None:
    assert await database.transact_together(lambda txn: txn.get(b"count")) is None
    written, seen = await asyncio.gather(
        database.transact_together(add_one), database.transact_together(lambda txn: txn.get(b"count"))
    )
    assert (written, seen) == (1, b"1")


async def test_a_crowd_that_came_before_long_work_is_seen_by_it(database: Database) -> None:
    def work(txn: Txn) -> Pieces[int]:
        found = int(txn.get(b"count") or b"0")
        yield
        txn.put(b"count", b"%d" % (found + 10))
        return found

    crowd = [asyncio.create_task(database.transact_together(add_one)) for _ in range(3)]
    await asyncio.sleep(0)
    long = asyncio.create_task(database.transact_in_turns(work))
    later = asyncio.create_task(database.transact_together(add_one))
    assert await asyncio.gather(*crowd) == [1, 2, 3]
    assert await long == 3
    assert await later in (4, 14)  # before it or behind it, never in the middle
    with database.reader() as reader:
        assert reader.get(b"count") == b"14"


async def test_a_crowd_is_told_when_the_database_closes_first(kv: FaultKV) -> None:
    database = Database(kv)
    task = asyncio.create_task(database.transact_together(add_one))
    await asyncio.sleep(0)
    database.close()
    with pytest.raises(StorageError, match="closed"):
        await task


@given(st.lists(st.tuples(st.sampled_from(["together", "at once", "turns"]), st.integers(0, 3)), max_size=30))
def test_all_kinds_of_transactions_are_one_after_the_other(plan: list[tuple[str, int]]) -> None:
    """Each sees a counter of all before it, whatever they are and however they come."""

    def in_pieces(txn: Txn) -> Pieces[int]:
        count = int(txn.get(b"count") or b"0") + 1
        yield
        txn.put(b"count", b"%d" % count)
        return count

    async def run() -> list[int]:
        database = Database(MemoryKV())
        tasks = []
        for kind, pauses in plan:
            match kind:
                case "together":
                    tasks.append(asyncio.create_task(database.transact_together(add_one)))
                case "at once":
                    tasks.append(asyncio.create_task(database.transact(add_one)))
                case _:
                    tasks.append(asyncio.create_task(database.transact_in_turns(in_pieces)))
            for _ in range(pauses):
                await asyncio.sleep(0)
        results = await asyncio.gather(*tasks)
        database.close()
        return sorted(results)

    assert asyncio.run(run()) == list(range(1, len(plan) + 1))
