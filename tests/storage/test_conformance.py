"""Every engine behaves like a sorted dictionary that is changed in batches."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.kv import KV, WriteBatch, key_range, prefix_end
from tests.support.campaign import campaign
from tests.support.storage import ENGINES, model_iterate, open_engine

# Few bytes, so that keys collide, nest and touch the ends of the byte range.
keys = st.lists(st.sampled_from([b"\x00", b"a", b"\xff"]), max_size=4).map(b"".join)
values = st.binary(max_size=8) | st.integers(0, 20_000).map(bytes)
changes = st.lists(st.tuples(keys, st.none() | values), max_size=8)
ranges = st.fixed_dictionaries(
    {
        "prefix": st.none() | keys,
        "start": st.none() | keys,
        "stop": st.none() | keys,
        "reverse": st.booleans(),
        "keys_only": st.booleans(),
    }
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("write"), changes, st.booleans(), st.none() | st.booleans()),
        st.tuples(st.just("iterate"), ranges),
        st.tuples(st.just("get"), keys),
        st.tuples(st.just("snapshot")),
        st.tuples(st.just("view"), keys),
    ),
    max_size=14,
)


@pytest.fixture(params=ENGINES)
def kv(request: pytest.FixtureRequest) -> Iterator[KV]:
    with open_engine(request.param) as opened:
        yield opened


def put(kv: KV, **pairs: bytes) -> None:
    batch = WriteBatch()
    for key, value in pairs.items():
        batch.put(key.encode(), value)
    kv.write(batch, sync=False)


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_agrees_with_a_sorted_dictionary(engine: str) -> None:
    @settings(max_examples=campaign(60, 2_000))
    @given(operations)
    def agrees(steps: list[tuple[Any, ...]]) -> None:
        with open_engine(engine) as kv:
            run(kv, steps)

    agrees()


def run(kv: KV, steps: list[tuple[Any, ...]]) -> None:
    model: dict[bytes, bytes] = {}
    snapshots = []
    for step in steps:
        match step:
            case ("write", changed, sync, prepared_for):
                batch = WriteBatch()
                for key, value in changed:
                    if value is None:
                        batch.delete(key)
                        model.pop(key, None)
                    else:
                        batch.put(key, value)
                        model[key] = value
                assert len(batch) == len({key for key, _ in changed})
                if prepared_for is not None:
                    kv.prepare(batch, sync=prepared_for)
                kv.write(batch, sync=sync)
            case ("iterate", bounds):
                assert list(kv.iterate(**bounds)) == model_iterate(model, **bounds)
            case ("get", key):
                assert kv.get(key) == model.get(key)
            case ("snapshot",):
                snapshots.append((kv.snapshot(), dict(model)))
            case ("view", prefix):
                inner = {key[len(prefix) :]: value for key, value in model.items() if key.startswith(prefix)}
                view = kv.prefixed(prefix)
                assert list(view.iterate()) == model_iterate(inner)
                assert list(view.iterate(prefix=b"a", reverse=True)) == model_iterate(
                    inner, prefix=b"a", reverse=True
                )
    assert list(kv.iterate()) == model_iterate(model)
    for snapshot, content in snapshots:
        with snapshot as past:
            assert list(past.iterate()) == model_iterate(content)
            assert list(past.iterate(prefix=b"a", reverse=True, keys_only=True)) == model_iterate(
                content, prefix=b"a", reverse=True, keys_only=True
            )
            assert all(past.get(key) == value for key, value in content.items())


def test_reversed_range_includes_the_entry_at_its_start(kv: KV) -> None:
    put(kv, a=b"1", b=b"2")
    assert list(kv.iterate(start=b"a", stop=b"b", reverse=True)) == [(b"a", b"1")]


def test_iteration_shows_the_moment_of_the_call(kv: KV) -> None:
    put(kv, a=b"1", b=b"2")
    seen = kv.iterate()
    put(kv, a=b"9", c=b"3")
    assert list(seen) == [(b"a", b"1"), (b"b", b"2")]


def test_batch_can_be_written_while_an_iteration_is_open(kv: KV) -> None:
    put(kv, **{f"k{number:03}": b"x" for number in range(200)})
    for key, _ in kv.iterate(prefix=b"k"):
        batch = WriteBatch()
        batch.delete(key)
        kv.write(batch, sync=False)
    assert list(kv.iterate()) == []


def test_keys_may_be_of_a_subclass_of_bytes(kv: KV) -> None:
    class Name(bytes):
        pass

    batch = WriteBatch()
    batch.put(Name(b"n"), Name(b"v"))
    kv.write(batch, sync=True)
    with kv.snapshot() as past:
        assert kv.get(Name(b"n")) == past.get(Name(b"n")) == b"v"
    assert list(kv.iterate(start=Name(b"n"), stop=Name(b"o"), reverse=True)) == [(b"n", b"v")]


def test_view_is_a_part_of_the_whole(kv: KV) -> None:
    view = kv.prefixed(b"p/")
    put(view, x=b"1")
    assert kv.get(b"p/x") == b"1"
    assert view.approximate_size() >= 0
    view.close()
    with pytest.raises(StorageError, match="closed"):
        view.get(b"x")
    assert kv.get(b"p/x") == b"1"


def test_snapshot_refuses_reads_after_its_end(kv: KV) -> None:
    with kv.snapshot() as past:
        pass
    past.close()
    with pytest.raises(StorageError):
        past.get(b"a")


def test_closed_database_refuses_everything(kv: KV) -> None:
    put(kv, a=b"1")
    kv.close()
    kv.close()
    with pytest.raises(StorageError, match="closed"):
        kv.get(b"a")
    with pytest.raises(StorageError, match="closed"):
        list(kv.iterate())
    with pytest.raises(StorageError, match="closed"):
        put(kv, b=b"2")
    with pytest.raises(StorageError, match="closed"):
        kv.snapshot()


@given(keys, keys)
def test_prefix_end_bounds_exactly_the_prefixed_keys(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    assert key.startswith(prefix) == (key >= prefix and (end is None or key < end))


@given(keys, keys, keys, keys)
def test_key_range_is_the_intersection(prefix: bytes, start: bytes, stop: bytes, key: bytes) -> None:
    low, high = key_range(prefix, start, stop)
    inside = (low is None or key >= low) and (high is None or key < high)
    assert inside == (key.startswith(prefix) and start <= key < stop)
