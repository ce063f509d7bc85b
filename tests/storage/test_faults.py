"""The power cuts that other tests build on are themselves right."""

import pytest

from storage.errors import StorageError
from storage.kv import WriteBatch
from tests.support.storage_faults import CrashPoint, FaultKV, PowerCut, PowerSupply


def write(kv: FaultKV, key: bytes, *, sync: bool) -> None:
    batch = WriteBatch()
    batch.put(key, b"1")
    kv.write(batch, sync=sync)


def test_power_cut_keeps_what_was_synced_and_any_first_part_of_the_rest() -> None:
    kv = FaultKV(content={b"0": b"1"})
    write(kv, b"a", sync=False)
    write(kv, b"b", sync=True)
    write(kv, b"c", sync=False)
    write(kv, b"d", sync=False)
    states = [sorted(survivor.content()) for survivor in kv.survivors()]
    assert states == [[b"0", b"a", b"b"], [b"0", b"a", b"b", b"c"], [b"0", b"a", b"b", b"c", b"d"]]
    assert (kv.writes, kv.synced) == (4, 2)


def test_crash_points_cover_every_moment() -> None:
    kv = FaultKV()
    write(kv, b"a", sync=False)
    write(kv, b"b", sync=True)
    points = set(kv.crash_points())
    assert points == {CrashPoint(0, 0), CrashPoint(1, 0), CrashPoint(1, 1), CrashPoint(2, 2)}


def test_databases_on_one_supply_lose_power_together() -> None:
    power = PowerSupply()
    one, other = FaultKV(power), FaultKV(power)
    power.cut_before(3)
    write(one, b"a", sync=True)
    write(other, b"b", sync=False)
    with pytest.raises(PowerCut):
        write(one, b"c", sync=True)
    with pytest.raises(PowerCut):
        other.get(b"b")
    assert sorted(one.content()) == [b"a"]
    assert [len(survivor.content()) for survivor in other.survivors()] == [0, 1]


def test_write_and_read_faults_pass_by_when_healed() -> None:
    kv = FaultKV()
    kv.fail_write(2)
    write(kv, b"a", sync=True)
    with pytest.raises(StorageError, match="No space"):
        write(kv, b"b", sync=True)
    write(kv, b"c", sync=True)
    kv.fill_disk()
    with pytest.raises(StorageError, match="No space"):
        write(kv, b"d", sync=True)
    kv.fail_reads(after=1)
    assert kv.get(b"a") == b"1"
    with pytest.raises(StorageError, match="Input/output"):
        kv.get(b"a")
    kv.heal()
    write(kv, b"e", sync=True)
    assert kv.get(b"e") == b"1"
    kv.power.cut()
    with pytest.raises(PowerCut):
        kv.snapshot()
