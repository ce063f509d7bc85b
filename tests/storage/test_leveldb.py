"""What only an engine on a disk can do wrong."""

import resource
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.errors import DatabaseCorrupt, DatabaseLocked, StorageError, Unavailable
from storage.kv import WriteBatch
from storage.leveldb import LevelKV


def batch_of(**pairs: bytes) -> WriteBatch:
    batch = WriteBatch()
    for key, value in pairs.items():
        batch.put(key.encode(), value)
    return batch


def test_content_is_there_after_reopening(tmp_path: Path) -> None:
    kv = LevelKV.open(tmp_path / "deep" / "kv")
    kv.write(batch_of(a=b"1"), sync=True)
    kv.close()
    kv = LevelKV.open(tmp_path / "deep" / "kv")
    assert kv.get(b"a") == b"1"
    kv.close()


def test_second_process_is_told_which_lock_and_what_to_do(tmp_path: Path) -> None:
    kv = LevelKV.open(tmp_path)
    script = (
        f"from pathlib import Path; from storage.leveldb import LevelKV; LevelKV.open(Path({str(tmp_path)!r}))"
    )
    second = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    kv.close()
    message = second.stderr.strip().splitlines()[-1]
    assert "DatabaseLocked" in message
    assert str(tmp_path / "LOCK") in message
    assert "already running" in message


def test_second_opening_in_this_process_is_refused(tmp_path: Path) -> None:
    kv = LevelKV.open(tmp_path)
    with pytest.raises(DatabaseLocked, match="LOCK"):
        LevelKV.open(tmp_path)
    kv.close()


def test_missing_database_is_an_error_when_it_may_not_be_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        LevelKV.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none" / "CURRENT").exists()


def test_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "kv").write_text("not a folder")
    with pytest.raises(StorageError, match="kv"):
        LevelKV.open(tmp_path / "kv")


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[LevelKV]:
    """A database of 2,000 entries with a few wrong bytes in the middle of its table."""
    kv = LevelKV.open(tmp_path, compress=False)
    kv.write(batch_of(**{f"k{number:05}": bytes(100) for number in range(2_000)}), sync=True)
    kv.compact()
    kv.close()
    (table,) = tmp_path.glob("*.ldb")
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 0xFF
    table.write_bytes(content)
    kv = LevelKV.open(tmp_path)
    yield kv
    kv.close()


@pytest.mark.parametrize("reverse", [False, True])
def test_damage_is_reported_not_skipped_by_an_iteration(damaged: LevelKV, reverse: bool) -> None:
    with pytest.raises(DatabaseCorrupt, match="damaged"):
        list(damaged.iterate(reverse=reverse))


def test_damage_is_reported_wherever_an_iteration_begins(damaged: LevelKV) -> None:
    lost = []
    for number in range(2_000):
        try:
            damaged.get(b"k%05d" % number)
        except DatabaseCorrupt:
            lost.append(number)
    assert 0 < len(lost) < 100
    for number in lost:
        for reverse in (False, True):
            bounds = (b"k%05d" % number, b"k%05d" % (number + 1))
            with pytest.raises(DatabaseCorrupt):
                list(damaged.iterate(start=bounds[0], stop=bounds[1], reverse=reverse))


def test_damaged_manifest_is_named_when_opening(tmp_path: Path) -> None:
    LevelKV.open(tmp_path).close()
    (tmp_path / "CURRENT").write_text("nonsense")
    with pytest.raises(DatabaseCorrupt, match="damaged"):
        LevelKV.open(tmp_path)


@pytest.fixture
def unsynced(tmp_path: Path) -> tuple[Path, bytes]:
    """A copy of an open database's folder, after 5 batches of 3 keys each, and its log's bytes."""
    kv = LevelKV.open(tmp_path / "kv")
    for number in range(5):
        value = bytes(20_000) if number == 3 else b"x" * 20  # the fourth spans two of the log's blocks
        kv.write(batch_of(**{f"{number}{name}": value for name in "abc"}), sync=False)
    shutil.copytree(tmp_path / "kv", tmp_path / "cut")
    kv.close()
    (log,) = (tmp_path / "cut").glob("*.log")
    return log, log.read_bytes()


def positions(log: bytes) -> list[int]:
    """Where to cut: often in the small batches, now and then in the large one."""
    return [*range(0, 300, 23), *range(300, len(log) - 100, 9_001), *range(len(log) - 100, len(log), 23), len(log)]


def reopened(log: Path, content: bytes) -> int:
    """How many whole batches the database has with that log; it must be the first ones."""
    folder = log.parent.with_name("try")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(log.parent, folder)
    (folder / log.name).write_bytes(content)
    survivor = LevelKV.open(folder)
    keys = [key.decode() for key, _ in survivor.iterate()]
    survivor.write(batch_of(z=b"1"), sync=True)
    survivor.close()
    assert keys == [f"{number}{name}" for number in range(len(keys) // 3) for name in "abc"]
    survivor = LevelKV.open(folder)
    assert survivor.get(b"z") == b"1"
    survivor.close()
    return len(keys) // 3


@pytest.mark.parametrize("rest", [None, b"\x00", b"\xa5"], ids=["ends", "is zeros", "is garbage"])
def test_log_whose_tail_is_lost_leaves_the_first_batches_whole(
    unsynced: tuple[Path, bytes], rest: bytes | None
) -> None:
    """What the simulated power cuts of the other tests take for granted."""
    log, whole = unsynced
    found = [
        reopened(log, whole[:size] + (rest * (len(whole) - size) if rest else b"")) for size in positions(whole)
    ]
    assert found == sorted(found)
    assert set(found) == {0, 1, 2, 3, 4, 5}


def test_damage_before_intact_writes_is_not_taken_for_a_torn_tail(unsynced: tuple[Path, bytes]) -> None:
    log, whole = unsynced
    for at in (10, 100, 40_000):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        with pytest.raises(DatabaseCorrupt, match="damaged"):
            reopened(log, bytes(damaged))


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    from storage.errors import StorageError
    from storage.kv import WriteBatch
    from storage.leveldb import LevelKV

    def put(kv, key, value, sync):
        batch = WriteBatch()
        batch.put(key, value)
        kv.write(batch, sync=sync)

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    kv = LevelKV.open(Path(sys.argv[1]))
    put(kv, b"before", b"1", True)
    put(kv, b"torn", b"old", True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    past = kv.snapshot()
    seen = kv.iterate()
    assert next(seen) == (b"before", b"1")
    refused = []
    for attempt in range(4):
        try:
            put(kv, b"torn", bytes(300_000), True)
        except StorageError as error:
            refused.append(str(error))
        assert kv.get(b"before") == b"1" and kv.get(b"torn") == b"old"
    assert len(refused) == 4 and "File too large" in refused[-1], refused
    assert next(seen) == (b"torn", b"old")  # reads go on while the disk is full
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    put(kv, b"after", b"2", True)
    try:
        past.get(b"before")
    except StorageError:
        pass
    else:
        raise AssertionError("a snapshot from before the reopening cannot be read")
    expected = {b"before": b"1", b"torn": b"old", b"after": b"2"}
    assert dict(kv.iterate()) == expected, dict(kv.iterate())
    kv.close()
    kv = LevelKV.open(Path(sys.argv[1]))
    assert dict(kv.iterate()) == expected
    print("recovered")
"""


def test_full_disk_refuses_writes_serves_reads_and_recovers_by_itself(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path / "kv")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout.strip() == "recovered", run.stderr


def test_failed_write_is_undone_even_when_its_bytes_reached_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import plyvel

    kv = LevelKV.open(tmp_path)
    kv.write(batch_of(a=b"old"), sync=True)
    real = LevelKV._write

    def fails_after_writing(self: LevelKV, ops: dict[bytes, bytes | None], sync: bool, ready: object) -> None:
        real(self, ops, sync, ready)
        raise plyvel.IOError(b"IO error: sync failed")

    monkeypatch.setattr(LevelKV, "_write", fails_after_writing)
    monkeypatch.setattr(LevelKV, "_present", lambda self, keys: {b"a": b"old", b"b": None})
    with pytest.raises(StorageError, match="sync failed"):
        kv.write(batch_of(a=b"new", b=b"new"), sync=True)
    monkeypatch.undo()
    ready = batch_of(d=b"2")
    kv.prepare(ready, sync=True)  # for the handle that the next write replaces
    kv.write(batch_of(c=b"1"), sync=True)
    kv.write(ready, sync=True)
    assert dict(kv.iterate()) == {b"a": b"old", b"c": b"1", b"d": b"2"}
    kv.close()
    kv.prepare(ready, sync=True)
    with pytest.raises(StorageError, match="closed"):
        kv.write(ready, sync=True)


def test_what_was_read_before_a_recovery_must_be_read_again(tmp_path: Path) -> None:
    kv = LevelKV.open(tmp_path)
    kv.write(batch_of(a=b"1", b=b"2"), sync=True)
    past, seen = kv.snapshot(), kv.iterate()
    next(seen)
    kv._undo = {}  # as after a failed write
    kv.write(batch_of(c=b"3"), sync=True)
    with pytest.raises(Unavailable):
        past.get(b"a")
    with pytest.raises(Unavailable):
        next(seen)
    assert kv.get(b"c") == b"3"
    kv.close()
    with pytest.raises(StorageError, match="is closed") as closed:
        kv.get(b"a")
    assert not isinstance(closed.value, Unavailable)


def test_a_recovery_that_fails_is_tried_again_by_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(self: LevelKV) -> None:
        raise StorageError("No space left on device")

    kv = LevelKV.open(tmp_path)
    kv.write(batch_of(a=b"new"), sync=True)
    kv._undo = {b"a": b"old"}  # as after a failed write
    with monkeypatch.context() as patched:
        patched.setattr(LevelKV, "_open", cannot)
        with pytest.raises(StorageError, match="No space"):
            kv.write(batch_of(b=b"1"), sync=True)
        for _ in range(2):
            with pytest.raises(Unavailable):
                kv.get(b"a")
    with pytest.raises(Unavailable):
        kv.get(b"a")  # not at every read
    kv._try_at = 0.0
    with pytest.raises(Unavailable):
        kv.snapshot()
    assert dict(kv.iterate()) == {b"a": b"old"}
    kv.close()


def test_recovery_waits_for_readers_of_other_threads(tmp_path: Path) -> None:
    kv = LevelKV.open(tmp_path, write_buffer_bytes=64 << 10)
    kv.write(batch_of(**{f"k{number:04}": bytes(50) for number in range(1_000)}), sync=True)
    stop = threading.Event()
    problems: list[BaseException] = []
    rounds = [0]

    def read() -> None:
        while not stop.is_set():
            try:
                assert kv.get(b"k0500") is not None
                assert sum(1 for _ in kv.iterate(prefix=b"k05")) == 100
                rounds[0] += 1
            except StorageError as error:
                if not isinstance(error, Unavailable):
                    problems.append(error)
            except BaseException as error:
                problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(5):
        kv._undo = {}  # as after a failed write
        kv.write(batch_of(n=b"%d" % number), sync=False)
    stop.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert rounds[0] > 0
    kv.close()


def test_open_files_are_bounded(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 256
    kv = LevelKV.open(tmp_path, max_open_files=16, write_buffer_bytes=64 << 10)
    assert kv.path == tmp_path
    for number in range(20):
        kv.write(batch_of(**{f"{number}-{i}": bytes(2_000) for i in range(40)}), sync=False)
    assert sum(1 for _ in kv.iterate()) == 800
    kv.compact()
    assert kv.approximate_size() > 0
    kv.close()
