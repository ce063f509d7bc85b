"""Block filters against the published vectors, BIP 158."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gldnode.errors import DecodeError
from gldnode.indexes.blockfilterindex import basic_filter, basic_filter_matches
from gldnode.indexes.gcs import M, decode_gcs, encode_gcs, hash_to_range, matches_any
from gldnode.primitives.block import parse_block
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import from_display_hex, sha256d
from gldnode.primitives.siphash import siphash
from tests.support.vectors import load_json

FILES = ["bips/bip158-testnet-19.json", "bitcoin-core/blockfilters.json", "bcoin/filter-valid.json"]
KEY = bytes(range(16))


@pytest.mark.parametrize("name", FILES)
def test_filters_and_headers_of_published_blocks(name: str) -> None:
    rows = [row for row in load_json(name) if len(row) > 1 and isinstance(row[0], int)]
    assert len(rows) >= 9
    for _, block_hash, raw, spent, before, data, header, note in rows:
        block = parse_block(bytes.fromhex(raw))
        assert block.hash == from_display_hex(block_hash)
        undo = ((*(Coin(0, bytes.fromhex(script), 0, False) for script in spent),),)
        found = basic_filter(block, undo)
        assert found.hex() == data, note
        assert sha256d(sha256d(found) + from_display_hex(before)) == from_display_hex(header), note
        for script in filter(None, map(bytes.fromhex, spent)):
            assert basic_filter_matches(found, block.hash, [script])


def test_siphash_of_published_inputs_one_by_one_and_many_at_once() -> None:
    for case in load_json("bitcoin-core/siphash.json"):
        k0, k1 = (int(half, 16) for half in case["key"])
        data = b"".join(map(bytes.fromhex, case["input"]))
        expected = int(case["expected"]["siphash24"], 16)
        assert siphash(k0, k1, data) == expected
        key = k0.to_bytes(8, "little") + k1.to_bytes(8, "little")
        assert set(hash_to_range([data] * 5, 1 << 64, key)) == {expected}


@given(st.lists(st.binary(max_size=40), max_size=60), st.integers(1, 1 << 64), st.binary(min_size=16, max_size=16))
def test_many_hashes_at_once_are_those_of_one_at_a_time(items: list[bytes], limit: int, key: bytes) -> None:
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    expected = sorted(siphash(k0, k1, item) * limit >> 64 for item in items)
    assert sorted(hash_to_range(items, limit, key)) == expected


def test_more_items_than_one_integer_holds() -> None:
    items = [b"%d" % number for number in range(1_500)]
    k0, k1 = int.from_bytes(KEY[:8], "little"), int.from_bytes(KEY[8:], "little")
    limit = len(items) * M
    expected = sorted(siphash(k0, k1, item) * limit >> 64 for item in items)
    assert decode_gcs(encode_gcs(items, KEY)) == (limit, expected)


@given(st.sets(st.binary(max_size=40), max_size=60))
def test_set_matches_its_items_and_hardly_others(items: set[bytes]) -> None:
    data = encode_gcs(items, KEY)
    limit, values = decode_gcs(data)
    assert (limit, len(values)) == (len(items) * M, len(items))
    assert all(matches_any(data, KEY, [item]) for item in items)
    assert not matches_any(data, KEY, [])


def test_false_positives_are_rare() -> None:
    data = encode_gcs([b"in %d" % number for number in range(1_000)], KEY)
    hits = sum(matches_any(data, KEY, [b"out %d" % number for number in range(at, at + 100)]) for at in range(20))
    assert hits <= 1


@given(st.binary(max_size=60))
def test_damaged_filter_raises_only_its_own_error(data: bytes) -> None:
    try:
        limit, values = decode_gcs(data)
    except DecodeError:
        return
    assert values == sorted(values)
    assert limit == len(values) * M


@pytest.mark.parametrize("data", ["", "00ff", "01", "01019dfca8ff", "fdffff00", "02ffffffffffff"])
def test_filter_that_is_not_one_is_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        decode_gcs(bytes.fromhex(data))
