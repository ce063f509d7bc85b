"""Snapshots of the set of coins: what is written is read again, earlier sets, damaged files."""

import asyncio
import io
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gldnode.chain.compression import (
    compress_amount,
    compress_script,
    decompress_amount,
    read_script,
    read_varint,
    varint,
)
from gldnode.chain.snapshot import (
    HEADER_SIZE,
    CoinItem,
    Metadata,
    SnapshotWritten,
    Unwinding,
    read_coins,
    read_metadata,
    write_snapshot,
)
from gldnode.chain.utxostats import HashKind
from gldnode.crypto.secp256k1 import pubkey_of
from gldnode.errors import DecodeError
from gldnode.params import REGTEST, AssumedCoins
from gldnode.primitives.amount import COIN
from gldnode.primitives.codec import Reader
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import outpoint
from gldnode.rpc.txoutset import _problem_with
from tests.support.pool import PoolLab

MAGIC = REGTEST.message_start
MAX = REGTEST.max_money


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (0x7F, "7f"),
        (0x80, "8000"),
        (0x1234, "a334"),
        (0xFFFF, "82fe7f"),
        (0x123456, "c7e756"),
        (0x80123456, "86ffc7e756"),
        (0xFFFFFFFF, "8efefefe7f"),
        (0xFFFFFFFFFFFFFFFF, "80fefefefefefefefe7f"),
    ],
)
def test_varints_are_cores(value: int, encoded: str) -> None:
    assert varint(value).hex() == encoded
    assert read_varint(Reader(bytes.fromhex(encoded)), 64) == value


@pytest.mark.parametrize(
    ("amount", "compressed"),
    [(0, 0), (1, 1), (COIN // 100, 7), (COIN, 9), (50 * COIN, 0x32), (21_000_000 * COIN, 0x1406F40)],
)
def test_amounts_are_compressed_as_cores(amount: int, compressed: int) -> None:
    assert compress_amount(amount) == compressed


@given(st.integers(0, 2**63))
def test_every_amount_comes_back(amount: int) -> None:
    assert decompress_amount(compress_amount(amount)) == amount


def test_every_script_comes_back_and_the_usual_ones_are_small() -> None:
    key = pubkey_of(bytes(31) + b"\x07", compressed=False)
    small = {
        b"\x76\xa9\x14" + bytes(20) + b"\x88\xac": 21,
        b"\xa9\x14" + bytes(20) + b"\x87": 21,
        b"\x21" + pubkey_of(bytes(31) + b"\x07") + b"\xac": 33,
        b"\x41" + key + b"\xac": 33,
    }
    plain = [b"", b"\x51", b"\x00\x14" + bytes(20), b"\x41\x04" + bytes(64) + b"\xac", b"\x51" * 10_000]
    for script in (*small, *plain):
        assert read_script(Reader(compress_script(script))) == script
        assert script not in small or len(compress_script(script)) == small[script]
    assert read_script(Reader(varint(10_001 + 6) + bytes(10_001))) == b"\x6a"  # could never be spent


def written(coins: list[CoinItem]) -> tuple[bytes, SnapshotWritten]:
    file = io.BytesIO()
    result = write_snapshot(file, MAGIC, bytes(range(32)), iter(coins))
    return file.getvalue(), result


def read(data: bytes, height: int = 1_000) -> list[CoinItem]:
    file = io.BytesIO(data)
    return list(read_coins(file, read_metadata(file, MAGIC), height, MAX))


def test_what_is_written_is_read_even_across_pieces_of_the_file() -> None:
    coins = [
        (outpoint(sha256(bytes((n % 7, n // 7))).digest(), vout), Coin(n * 1_000 + 1, b"\x52" * 5_000, n, n == 3))
        for n in range(200)
        for vout in (0, 300)
    ]
    coins.sort(key=lambda item: (item[0][:32], item[0].vout))
    data, result = written(coins)
    assert len(data) > 1 << 20
    assert result.coins_count == len(coins)
    assert read_metadata(io.BytesIO(data), MAGIC) == Metadata(bytes(range(32)), len(coins))
    assert read(data) == coins


def test_an_earlier_set_of_coins_has_the_hash_that_it_had() -> None:
    lab = PoolLab()
    hashes = {lab.chain.tip.height: lab.chain.coin_stats(HashKind.HASH_SERIALIZED_3).hash}
    for _ in range(6):
        first = lab.add(outputs=3)
        lab.add(first.outpoint(1))  # spent in the block that makes it
        lab.mine()
        hashes[lab.chain.tip.height] = lab.chain.coin_stats(HashKind.HASH_SERIALIZED_3).hash
    assert len(set(hashes.values())) == 7
    for height, expected in hashes.items():
        tip, coins = lab.chain.scan_coins()
        unwinding = Unwinding()
        for above in range(tip.height, height, -1):
            entry = lab.chain.entry_at(above)
            assert entry is not None
            block, undo = lab.chain.read_block(entry.hash), lab.chain.read_undo(entry.hash)
            assert block is not None
            assert undo is not None
            unwinding.take_back(block, undo)
        assert write_snapshot(io.BytesIO(), MAGIC, bytes(32), unwinding.apply(coins)).hash_serialized == expected


COINS = [(outpoint(bytes([n]) * 32, 0), Coin(COIN, b"\x51", 5, False)) for n in range(3)]
GOOD = written(COINS)[0]
FIRST = HEADER_SIZE + 32  # number of coins of the first transaction, then output number, code, amount, script


def changed(at: int, new: bytes) -> bytes:
    return GOOD[:at] + new + GOOD[at + len(new) :]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (GOOD[:-1], "Bad snapshot format or truncated snapshot after deserializing 2 coins"),
        (GOOD + b"\x00", "Bad snapshot - coins left over after deserializing 3 coins"),
        (changed(43, b"\x02"), "Bad snapshot - coins left over after deserializing 2 coins"),
        (changed(43, b"\x04"), "Bad snapshot format or truncated snapshot after deserializing 3 coins"),
        (changed(FIRST, b"\x7f"), "Mismatch in coins count in snapshot metadata and actual snapshot data"),
        (changed(FIRST + 2, b"\x84\x58"), "Bad snapshot data after deserializing 0 coins"),
        (
            changed(FIRST + 3, varint(compress_amount(MAX + 1))),
            "Bad snapshot data after deserializing 0 coins - bad tx out value",
        ),
    ],
)
def test_a_damaged_file_is_told_from_a_good_one(data: bytes, sentence: str) -> None:
    assert read(GOOD, 5) == COINS
    with pytest.raises(DecodeError) as caught:
        read(data, 5)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (GOOD[:20], "end of file"),
        (b"utxo\x00" + GOOD[5:], "Invalid UTXO set snapshot magic bytes."),
        (changed(5, b"\x01"), "Version of snapshot 1 does not match any of the supported versions."),
        (changed(7, b"abcd"), "The network of the snapshot does not match the network of this node."),
    ],
)
def test_the_head_of_a_file_is_checked(data: bytes, sentence: str) -> None:
    with pytest.raises(DecodeError, match=sentence):
        read_metadata(io.BytesIO(data), MAGIC)


@given(st.binary(max_size=200))
def test_junk_behind_a_head_is_a_damaged_file(junk: bytes) -> None:
    with suppress(DecodeError):
        read(GOOD[:HEADER_SIZE] + junk)


def test_a_snapshot_of_a_known_block_is_checked_to_the_last_byte(tmp_path: Path) -> None:
    source, lab = PoolLab(blocks=110), PoolLab(blocks=0)
    file = io.BytesIO()
    tip, coins = source.chain.scan_coins()
    result = write_snapshot(file, MAGIC, tip.hash, coins)
    path = tmp_path / "utxo.dat"
    path.write_bytes(file.getvalue())
    ctx: Any = SimpleNamespace(
        node=SimpleNamespace(params=REGTEST, chainstate=lab.chain, pool=lab.pool, stop_requested=asyncio.Event())
    )
    assert _problem_with(ctx, path).startswith("assumeutxo block hash in snapshot metadata not recognized")
    assumed = AssumedCoins(110, BlockHash(tip.hash), result.hash_serialized, 111)
    ctx.node.params = replace(REGTEST, assumed_coins=(assumed,))
    assert "must appear in the headers chain" in _problem_with(ctx, path)
    for height in range(1, 111):
        block_hash = source.chain.block_hash(height)
        assert block_hash is not None
        block = source.chain.read_block(block_hash)
        assert block is not None
        lab.chain.accept_header(block.header)
    assert _problem_with(ctx, path) == "it is valid, but this node computes its coins from the blocks only"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "Bad snapshot content hash: expected" in _problem_with(ctx, path)
    ctx.node.chainstate = source.chain
    assert _problem_with(ctx, path) == "Population failed: Work does not exceed active chainstate"
