"""An old database is brought up to date step by step, a newer one is refused."""

from pathlib import Path

import pytest

from storage.errors import DatabaseCorrupt, StorageError
from storage.jsondocs import decode_json, encode_json
from storage.kv import KV, WriteBatch
from storage.leveldb import LevelKV
from storage.memory import MemoryKV
from storage.schema import SCHEMA_KEY, SchemaTooNew, ensure_schema, stored_schema
from tests.support.storage_faults import FaultKV


def rename_keys(kv: KV, batch: WriteBatch) -> None:
    """Schema 1 had names under n/, schema 2 has them under name/."""
    for key, value in kv.iterate(prefix=b"n/"):
        batch.delete(key)
        batch.put(b"name/" + key[2:], value)


def make_documents(kv: KV, batch: WriteBatch) -> None:
    """Schema 3 has documents instead of bare names."""
    for key, value in kv.iterate(prefix=b"name/"):
        batch.put(key, encode_json({"name": value.decode()}))


MIGRATIONS = {1: rename_keys, 2: make_documents}
OLD = {SCHEMA_KEY: b"1", b"n/1": b"ada", b"n/2": b"grace"}


def test_new_database_gets_the_present_schema() -> None:
    kv = MemoryKV()
    ensure_schema(kv, 3, MIGRATIONS)
    assert stored_schema(kv) == 3
    ensure_schema(kv, 3, MIGRATIONS)
    assert kv.content() == {SCHEMA_KEY: b"3"}


def test_old_database_on_disk_is_opened_by_a_newer_version(tmp_path: Path) -> None:
    kv = LevelKV.open(tmp_path)
    old = WriteBatch()
    for key, value in OLD.items():
        old.put(key, value)
    kv.write(old, sync=True)
    kv.close()

    kv = LevelKV.open(tmp_path)
    ensure_schema(kv, 3, MIGRATIONS)
    assert stored_schema(kv) == 3
    names = [decode_json(value, dict[str, str])["name"] for _, value in kv.iterate(prefix=b"name/")]
    assert names == ["ada", "grace"]
    assert list(kv.iterate(prefix=b"n/")) == []
    kv.close()


def test_newer_database_is_refused_and_left_alone() -> None:
    kv = FaultKV(content={SCHEMA_KEY: b"4", b"future": b"1"})
    with pytest.raises(SchemaTooNew, match="schema 4"):
        ensure_schema(kv, 3, MIGRATIONS)
    assert kv.writes == 0


def test_power_cut_between_or_during_migrations_is_repaired_by_the_next_start() -> None:
    done = FaultKV(content=OLD)
    ensure_schema(done, 3, MIGRATIONS)
    for point in done.crash_points():
        survivor = done.state_at(point)
        ensure_schema(survivor, 3, MIGRATIONS)
        assert survivor.content() == done.content()


def test_missing_migration_is_an_error() -> None:
    with pytest.raises(StorageError, match="from schema 2 to 3"):
        ensure_schema(MemoryKV(OLD), 3, {1: rename_keys})


def test_strange_database_is_refused() -> None:
    with pytest.raises(DatabaseCorrupt, match="no schema number"):
        ensure_schema(MemoryKV({b"a": b"1"}), 1)
    with pytest.raises(DatabaseCorrupt, match="not a number"):
        ensure_schema(MemoryKV({SCHEMA_KEY: b"x"}), 1)
