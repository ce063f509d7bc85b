"""Coins, undo data and block files as they are stored; the hashes of sets."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gldnode.chain.blockfiles import BlockFileDamaged, BlockFiles, DiskFiles, Files, MemoryFiles
from gldnode.chain.coins import CoinRecordDamaged, CoinsCache, decode_coin, encode_coin
from gldnode.chain.undo import encode_undo, parse_undo
from gldnode.consensus.connect import CoinsChange
from gldnode.crypto.muhash import MuHash3072
from gldnode.errors import DecodeError
from gldnode.params import REGTEST
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import OutPoint, outpoint
from storage.memory import MemoryKV
from tests.support.chain import RegtestChain

_MAGIC = REGTEST.message_start

_coins = st.builds(
    Coin,
    amount=st.integers(0, REGTEST.max_money),
    script_pubkey=st.binary(max_size=300),
    height=st.integers(0, (1 << 31) - 1),
    is_coinbase=st.booleans(),
)


@given(_coins)
def test_coins_are_read_as_they_were_written(coin: Coin) -> None:
    assert decode_coin(encode_coin(coin)) == coin


@given(st.lists(st.lists(_coins, max_size=4).map(tuple), max_size=5).map(tuple))
def test_undo_data_is_read_as_it_was_written(undo: tuple[tuple[Coin, ...], ...]) -> None:
    assert parse_undo(encode_undo(undo)) == undo


@given(st.binary(max_size=200))
def test_damaged_undo_data_raises_only_what_is_declared(data: bytes) -> None:
    with contextlib.suppress(DecodeError, CoinRecordDamaged):
        assert encode_undo(parse_undo(data)) is not None


def test_muhash_of_cores_tests() -> None:
    """Insert 0 and 1, remove 2 (crypto_tests.cpp, muhash_tests)."""
    numbers = [bytes((number,)) + bytes(31) for number in range(3)]
    muhash = MuHash3072()
    muhash.insert(numbers[0])
    muhash.insert(numbers[1])
    muhash.remove(numbers[2])
    assert muhash.digest()[::-1].hex() == "10d312b100cbd32ada024a6646e40d3482fcff103668d2625f10002a607d5863"
    again = MuHash3072.from_bytes(muhash.to_bytes())
    again.insert(numbers[2])
    again.remove(numbers[1])
    single = MuHash3072()
    single.insert(numbers[0])
    assert again.digest() == single.digest()


def _key(number: int) -> OutPoint:
    return outpoint(bytes((number,)) * 32, number)


def test_a_coin_that_is_made_and_spent_between_flushes_never_reaches_the_database() -> None:
    kv = MemoryKV()
    cache = CoinsCache(kv, 0)
    coin = Coin(5, b"\x51", 1, False)
    cache.apply(CoinsChange([], {_key(1): coin, _key(2): coin}))
    cache.apply(CoinsChange([_key(1)], {}))
    assert cache.changed_count == 1
    cache.flush(BlockHash(bytes(32)))
    assert [prevout for prevout, _ in cache.stored_coins()] == [_key(2)]
    cache.apply(CoinsChange([_key(2)], {}))
    assert cache.get(_key(2)) is None
    cache.apply(CoinsChange([], {_key(2): coin}))  # taken back by a reorganisation
    assert cache.get(_key(2)) == coin
    cache.apply(CoinsChange([_key(2)], {}))
    cache.flush(BlockHash(bytes(32)))
    assert list(cache.stored_coins()) == []


@pytest.fixture(params=["memory", "disk"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    return MemoryFiles() if request.param == "memory" else DiskFiles(tmp_path / "blocks")


def test_blocks_and_undo_data_are_found_where_they_were_put(files: Files) -> None:
    store = BlockFiles(files, _MAGIC, 1_000)
    places = [store.write_block(bytes((n,)) * 300) for n in range(10)]
    assert [file for file, _ in places] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    undo = store.write_undo(1, b"undo", bytes(32))
    store.sync()
    assert store.read_undo(1, undo, bytes(32)) == b"undo"
    for number, (file, pos) in enumerate(places):
        assert store.read_block(file, pos) == bytes((number,)) * 300
    with pytest.raises(BlockFileDamaged):
        store.read_undo(1, undo, b"\x01" * 32)
    with pytest.raises(BlockFileDamaged):
        store.read_block(0, places[0][1] + 1)
    with pytest.raises(BlockFileDamaged):
        store.read_block(9, 8)
    store.delete(1)
    assert store.numbers() == [0, 2, 3]
    store.close()


def test_a_scan_finds_every_whole_block_behind_torn_ones(files: Files) -> None:
    chain = RegtestChain()
    blocks = chain.mine(6)
    store = BlockFiles(files, _MAGIC, 1 << 20)
    store.write_block(blocks[0].raw)
    files.append("blk00000.dat", _MAGIC + b"\xff\x00\x00\x00" + blocks[1].raw[:60])  # torn
    store.write_block(blocks[2].raw)
    files.append("blk00000.dat", _MAGIC[:3])
    store.write_block(blocks[3].raw)
    files.append("blk00000.dat", bytes(5_000))
    store.write_block(blocks[4].raw)
    files.append("blk00000.dat", _MAGIC + len(blocks[5].raw).to_bytes(4, "little") + blocks[5].raw[:-1])
    found = list(store.scan(0))
    assert [block.hash for _, block in found] == [blocks[n].hash for n in (0, 2, 3, 4)]
    for pos, block in found:
        assert store.read_block(0, pos) == block.raw
    store.close()


def test_many_files_are_not_kept_open(tmp_path: Path) -> None:
    disk = DiskFiles(tmp_path)
    for number in range(80):
        disk.append(f"blk{number:05d}.dat", b"x" * 10)
        disk.sync()
    assert len(disk._handles) <= 33
    assert all(disk.read(f"blk{number:05d}.dat", 9, 10) == b"x" for number in range(80))
    disk.append("blk00000.dat", b"y")
    assert disk.read("blk00000.dat", 10, 1) == b"y"
    disk.close()
