"""Keys sort as what they name."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import keys
from storage.errors import DatabaseCorrupt
from storage.keys import KeyReader

blobs = st.lists(st.sampled_from([b"\x00", b"\x01", b"\xff", b"a"]), max_size=5).map(b"".join)
rows = st.tuples(blobs, st.integers(0, (1 << 32) - 1), st.text(max_size=4), st.integers(0, (1 << 64) - 1))
Row = tuple[bytes, int, str, int]


def key_of(row: Row) -> bytes:
    return keys.key(b"t", keys.blob(row[0]), keys.u32(row[1]), row[2], row[3])


@given(rows, rows)
def test_keys_sort_as_their_parts(one: Row, other: Row) -> None:
    def order(row: Row) -> tuple[bytes, int, bytes, int]:
        return row[0], row[1], row[2].encode(), row[3]  # UTF-8 sorts by code points

    assert (key_of(one) < key_of(other)) == (order(one) < order(other))


@given(rows)
def test_reader_takes_a_key_apart(row: Row) -> None:
    reader = KeyReader(key_of(row), 1)
    assert (reader.blob(), reader.u32(), reader.text(), reader.u64()) == row
    assert reader.rest() == b""


@given(blobs, blobs)
def test_no_closed_part_is_the_beginning_of_another(one: bytes, other: bytes) -> None:
    assert keys.blob(one).startswith(keys.blob(other)) == (one == other)


@given(st.lists(st.integers(0, (1 << 64) - 1)))
def test_descending_integers_sort_the_greatest_first(numbers: list[int]) -> None:
    ordered = sorted(numbers, key=keys.u64_descending)
    assert ordered == sorted(numbers, reverse=True)
    assert [KeyReader(keys.u64_descending(number)).u64_descending() for number in numbers] == numbers


def test_integers_are_big_endian() -> None:
    assert keys.u8(1) + keys.u16(2) + keys.u32(3) + keys.u64(4) == bytes.fromhex(
        "01000200000003" + "00" * 7 + "04"
    )
    reader = KeyReader(bytes.fromhex("010002"))
    assert (reader.u8(), reader.u16()) == (1, 2)


@given(st.binary(max_size=12))
def test_reader_raises_only_its_own_error(data: bytes) -> None:
    for read in (KeyReader.u8, KeyReader.u32, KeyReader.u64, KeyReader.blob, KeyReader.text):
        with contextlib.suppress(DatabaseCorrupt):
            read(KeyReader(data))


@pytest.mark.parametrize("data", [b"", b"a", b"a\x00", b"a\x00\x02", b"\x00\xff"])
def test_open_or_wrongly_escaped_part_is_corrupt(data: bytes) -> None:
    with pytest.raises(DatabaseCorrupt):
        KeyReader(data).blob()
