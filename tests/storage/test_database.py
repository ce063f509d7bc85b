"""Transactions: one after another, durable when they return, all of a group or none of it."""

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import turns
from storage.database import ABSENT, Database, Txn
from storage.errors import CommitFailed, DatabaseCorrupt, GuardFailed, StorageError
from storage.leveldb import LevelKV
from storage.memory import MemoryKV
from storage.turns import Pieces, at_once
from tests.support.campaign import campaign
from tests.support.storage import add_one, model_iterate
from tests.support.storage_faults import FaultKV, PowerCut, SlowKV, until


class Person(msgspec.Struct):
    name: str
    age: int = 0


def put(key: bytes, value: bytes) -> Callable[[Txn], None]:
    return lambda txn: txn.put(key, value)


async def test_result_comes_back_and_is_durable() -> None:
    kv = FaultKV()
    database = Database(kv)
    assert await database.transact(add_one) == 1
    assert kv.synced == kv.writes == 1
    database.close()


async def test_concurrent_transactions_follow_one_another_in_few_writes() -> None:
    kv = FaultKV()
    database = Database(kv)
    counts = await asyncio.gather(*(database.transact(add_one) for _ in range(500)))
    assert sorted(counts) == list(range(1, 501))
    assert kv.content() == {b"count": b"500"}
    assert kv.writes <= 5
    database.close()


async def test_loop_goes_on_and_the_next_group_gathers_while_one_is_written() -> None:
    kv = SlowKV()
    database = Database(kv)
    first = asyncio.create_task(database.transact(add_one))
    await until(kv.started.is_set)
    later = [asyncio.create_task(database.transact(add_one)) for _ in range(50)]
    await asyncio.sleep(0.01)
    assert not first.done()
    assert database.reader().get(b"count") is None  # nothing is durable yet
    kv.gate.set()
    assert await first == 1
    assert await asyncio.gather(*later) == list(range(2, 52))
    assert kv.writes == 2
    database.close()


async def test_failed_write_fails_its_group_and_what_was_built_on_it() -> None:
    kv = SlowKV()
    kv.fail_write(1)
    database = Database(kv)
    group = [asyncio.create_task(database.transact(add_one)) for _ in range(3)]
    await until(kv.started.is_set)
    dependent = asyncio.create_task(database.transact(add_one))
    await asyncio.sleep(0)
    kv.gate.set()
    results = await asyncio.gather(*group, dependent, return_exceptions=True)
    assert [type(result) for result in results] == [CommitFailed] * 4
    assert "No space left" in str(results[0])
    assert kv.content() == {}
    assert await database.transact(add_one) == 1  # and it goes on by itself
    database.close()


async def test_exception_of_one_function_aborts_only_that_one() -> None:
    class Refused(Exception):
        pass

    def refuse(txn: Txn) -> None:
        txn.put(b"count", b"99")
        raise Refused

    database = Database(MemoryKV())
    results = await asyncio.gather(
        database.transact(add_one),
        database.transact(refuse),
        database.transact(add_one),
        return_exceptions=True,
    )
    assert results[0] == 1
    assert isinstance(results[1], Refused)
    assert results[2] == 2
    database.close()


async def test_guard_lets_only_one_claim_through() -> None:
    def claim(name: bytes) -> Callable[[Txn], bytes]:
        def run(txn: Txn) -> bytes:
            txn.require(b"claim", ABSENT)
            txn.put(b"claim", name)
            return name

        return run

    database = Database(MemoryKV())
    results = await asyncio.gather(
        *(database.transact(claim(b"%d" % number)) for number in range(10)), return_exceptions=True
    )
    assert results[0] == b"0"
    assert all(isinstance(result, GuardFailed) and result.key == b"claim" for result in results[1:])
    assert database.reader().get(b"claim") == b"0"
    database.close()


async def test_guard_on_a_value_refuses_a_stale_one() -> None:
    database = Database(MemoryKV())
    await database.transact(put(b"version", b"1"))

    def update(seen: bytes) -> Callable[[Txn], None]:
        def run(txn: Txn) -> None:
            txn.require(b"version", seen)
            txn.put(b"version", b"2")

        return run

    await database.transact(update(b"1"))
    with pytest.raises(GuardFailed, match="version"):
        await database.transact(update(b"1"))
    database.close()


async def test_function_is_run_again_after_a_conflict() -> None:
    database = Database(MemoryKV())
    await database.transact(put(b"id/1", b""))
    candidates = iter([b"1", b"2", b"3"])

    def pick(txn: Txn) -> bytes:
        candidate = next(candidates)
        txn.require(b"id/" + candidate, ABSENT)
        txn.put(b"id/" + candidate, b"")
        return candidate

    assert await database.transact(pick) == b"2"
    database.close()


async def test_group_of_cursor_moves_is_not_synced() -> None:
    kv = FaultKV()
    database = Database(kv)
    await database.transact(put(b"cursor", b"1"), sync=False)
    assert (kv.writes, kv.synced) == (1, 0)
    await asyncio.gather(
        database.transact(put(b"cursor", b"2"), sync=False), database.transact(put(b"payment", b"1"))
    )
    assert kv.synced == kv.writes == 2
    database.close()


async def test_reading_transaction_waits_for_what_it_has_read() -> None:
    kv = SlowKV()
    kv.fail_write(1)
    database = Database(kv)
    writing = asyncio.create_task(database.transact(put(b"a", b"1")))
    await until(kv.started.is_set)
    reading = asyncio.create_task(database.transact(lambda txn: txn.get(b"a")))
    await asyncio.sleep(0.01)
    assert not reading.done()
    kv.gate.set()
    with pytest.raises(CommitFailed):
        await writing
    with pytest.raises(CommitFailed):
        await reading
    assert await database.transact(lambda txn: txn.get(b"a")) is None
    database.close()


async def test_cancelled_caller_does_not_stop_the_group() -> None:
    kv = SlowKV()
    database = Database(kv)
    leaving = asyncio.create_task(database.transact(put(b"a", b"1")))
    staying = asyncio.create_task(database.transact(put(b"b", b"1")))
    await until(kv.started.is_set)
    leaving.cancel()
    await asyncio.sleep(0)
    kv.gate.set()
    await staying
    assert kv.content() == {b"a": b"1", b"b": b"1"}
    with pytest.raises(asyncio.CancelledError):
        await leaving
    database.close()


async def test_close_writes_what_is_gathered() -> None:
    kv = FaultKV()
    database = Database(kv)
    tasks = [asyncio.create_task(database.transact(add_one)) for _ in range(3)]
    await asyncio.sleep(0)
    database.close()
    database.close()
    assert await asyncio.gather(*tasks) == [1, 2, 3]
    assert kv.content() == {b"count": b"3"}
    with pytest.raises(StorageError, match="closed"):
        await database.transact(add_one)


async def test_close_waits_for_the_write_under_way() -> None:
    kv = SlowKV()
    database = Database(kv)
    first = asyncio.create_task(database.transact(add_one))
    await until(kv.started.is_set)
    second = asyncio.create_task(database.transact(add_one))
    await asyncio.sleep(0)
    threading.Timer(0.05, kv.gate.set).start()
    database.close()
    assert (await first, await second) == (1, 2)
    assert kv.content() == {b"count": b"2"}


async def test_what_no_database_can_hold_is_told_to_those_who_wrote_it(tmp_path: Path) -> None:
    database = Database(LevelKV.open(tmp_path))
    for key, value in (("text", b""), (b"text", "text"), (b"number", 1)):
        with pytest.raises(CommitFailed):
            await database.transact(lambda txn, key=key, value=value: txn.put(key, value))  # type: ignore[misc]
    assert await database.transact(add_one) == 1
    database.close()


async def test_work_in_pieces_is_refused_where_it_would_not_be_done() -> None:
    def wrong(txn: Txn) -> Pieces[None]:
        txn.put(b"a", b"1")
        yield

    database = Database(MemoryKV())
    with pytest.raises(TypeError, match="pieces"):
        await database.transact(wrong)
    with pytest.raises(TypeError, match="pieces"):
        await database.transact_together(wrong)
    database.close()


async def test_coroutine_function_is_refused() -> None:
    async def wrong(txn: Txn) -> None:
        txn.put(b"a", b"1")

    database = Database(MemoryKV())
    with pytest.raises(TypeError, match="coroutine"):
        await database.transact(wrong)  # type: ignore[unused-coroutine]
    database.close()


def test_blocking_transaction_serves_where_no_loop_runs() -> None:
    kv = FaultKV()
    database = Database(kv)
    assert database.transact_blocking(add_one) == 1
    assert asyncio.run(database.transact(add_one)) == 2
    assert asyncio.run(database.transact(add_one)) == 3
    assert database.transact_blocking(add_one, sync=False) == 4
    assert kv.synced == 3
    database.close()


def test_loop_that_ended_in_the_middle_does_not_stop_the_next_one() -> None:
    kv = FaultKV()
    database = Database(kv)

    async def leave() -> None:
        task = asyncio.create_task(database.transact(add_one))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    assert asyncio.run(database.transact(add_one)) == 2
    database.close()


async def test_reader_sees_one_moment() -> None:
    database = Database(MemoryKV())
    await database.transact(put(b"a", b"1"))
    with database.reader() as before:
        await database.transact(put(b"a", b"2"))
        assert before.get(b"a") == b"1"
        assert list(before.iterate()) == [(b"a", b"1")]
    assert database.reader().get(b"a") == b"2"
    database.close()


async def test_documents_and_records_are_typed() -> None:
    def write(txn: Txn) -> None:
        txn.put_json(b"p/1", Person("Ada", 36))
        txn.put_record(b"r/1", Person("Grace"))
        assert txn.get_json(b"p/1", Person) == Person("Ada", 36)
        assert txn.get_record(b"r/2", Person) is None

    database = Database(MemoryKV())
    await database.transact(write)
    reader = database.reader()
    assert reader.get(b"p/1") == b'{"name":"Ada","age":36}'
    assert reader.get_record(b"r/1", Person) == Person("Grace")
    assert list(reader.iterate_json(b"p/", Person)) == [(b"p/1", Person("Ada", 36))]
    assert list(reader.iterate_records(b"r/", Person, reverse=True)) == [(b"r/1", Person("Grace"))]
    with pytest.raises(DatabaseCorrupt, match="list"):
        reader.get_json(b"p/1", list[int])
    with pytest.raises(DatabaseCorrupt, match="Person"):
        reader.get_record(b"p/1", Person)
    database.close()


short_keys = st.binary(max_size=2).map(lambda raw: bytes(byte % 3 for byte in raw))
transactions = st.lists(
    st.tuples(
        st.lists(st.tuples(short_keys, st.none() | st.binary(max_size=2)), max_size=40),
        st.none() | short_keys,
        st.none() | short_keys,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["commit", "abort", "wait"]),
    ),
    max_size=12,
)


@settings(max_examples=campaign(60, 3_000))
@given(transactions)
def test_transaction_sees_the_database_its_group_and_itself(plan: list[tuple[object, ...]]) -> None:
    class Abort(Exception):
        pass

    async def play() -> None:
        database = Database(MemoryKV())
        model: dict[bytes, bytes] = {}
        tasks: list[asyncio.Future[None]] = []

        def transaction(changes, prefix, start, reverse, keys_only, in_turns, end):  # type: ignore[no-untyped-def]
            def pieces(txn: Txn) -> Pieces[None]:
                own = dict(model)
                for key, value in changes:
                    if value is None:
                        txn.delete(key)
                        own.pop(key, None)
                    else:
                        txn.put(key, value)
                        own[key] = value
                    assert txn.get(key) == value
                    yield
                bounds = {"prefix": prefix, "start": start, "reverse": reverse, "keys_only": keys_only}
                assert list(txn.iterate(**bounds)) == model_iterate(own, **bounds)
                if end == "abort":
                    raise Abort
                model.clear()
                model.update(own)

            if in_turns:
                return database.transact_in_turns(pieces)
            return database.transact(lambda txn: at_once(pieces(txn)))

        for step in plan:
            tasks.append(asyncio.ensure_future(transaction(*step)))  # type: ignore[no-untyped-call]
            await asyncio.sleep(0)
            if step[-1] == "wait":
                await asyncio.gather(*tasks, return_exceptions=True)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result is None or isinstance(result, Abort) for result in results), results
        assert dict(database.reader().iterate()) == model
        database.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "TURN_S", 0.0)
        patch.setattr(turns, "LONG_TURN_S", 0.0)
        asyncio.run(play())


@pytest.mark.parametrize("cut", range(1, 8))
async def test_power_cut_loses_nothing_that_returned(cut: int) -> None:
    kv = FaultKV()
    kv.power.cut_before(cut)
    database = Database(kv)
    returned = 0
    with pytest.raises(CommitFailed) as caught:  # noqa: PT012
        while True:
            returned = await database.transact(add_one)
    assert isinstance(caught.value.__cause__, PowerCut)
    for survivor in kv.survivors():
        assert int(survivor.content().get(b"count", b"0")) == returned == cut - 1


KILLED = """
    import asyncio, sys
    from pathlib import Path
    from storage.database import Database
    from storage.leveldb import LevelKV

    def add_one(txn):
        count = int(txn.get(b"count") or b"0") + 1
        txn.put(b"count", b"%d" % count)
        txn.put(b"row/%d" % count, b"x" * 500)
        return count

    async def client(database):
        while True:
            print(await database.transact(add_one), flush=True)

    async def main():
        database = Database(LevelKV.open(Path(sys.argv[1])))
        await asyncio.gather(*(client(database) for _ in range(8)))

    asyncio.run(main())
"""


@pytest.mark.parametrize("round_number", range(campaign(1, 30)))
def test_killed_process_has_kept_what_it_told(tmp_path: Path, round_number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(200 + 37 * round_number)]
    process.kill()
    told += [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    process.stdout.close()
    process.wait()
    kv = LevelKV.open(tmp_path)
    kept = int(kv.get(b"count") or b"0")
    assert kept >= max(told)
    assert sum(1 for _ in kv.iterate(prefix=b"row/")) == kept  # each transaction whole or not at all
    kv.close()


async def test_transactions_on_disk_survive_reopening(tmp_path: Path) -> None:
    database = Database(LevelKV.open(tmp_path), name="payments")
    await asyncio.gather(*(database.transact(add_one) for _ in range(100)))
    assert (database.name, database.kv.get(b"count")) == ("payments", b"100")
    database.close()
    database = Database(LevelKV.open(tmp_path))
    assert await database.transact(add_one) == 101
    database.close()
