"""mempool.dat: Core's bytes, both versions, and what damaged files do."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gldnode.errors import DecodeError
from gldnode.mempool.dump import DumpedTx, MempoolDump, encode_dump, parse_dump
from gldnode.mempool.options import MempoolOptions
from gldnode.primitives.hashes import Txid
from tests.support.pool import START_TIME, PoolLab


def test_version_1_is_laid_out_as_core_writes_it() -> None:
    lab = PoolLab()
    tx = lab.tx()
    dump = MempoolDump([DumpedTx(tx, 1_700_000_000, -5)], {Txid(b"\x01" * 32): 7}, frozenset({tx.txid}))
    expected = b"".join(
        (
            bytes.fromhex("0100000000000000"),
            bytes.fromhex("0100000000000000"),
            tx.raw,
            (1_700_000_000).to_bytes(8, "little"),
            (-5).to_bytes(8, "little", signed=True),
            b"\x01" + b"\x01" * 32 + (7).to_bytes(8, "little"),
            b"\x01" + tx.txid,
        )
    )
    assert encode_dump(dump, None) == expected
    assert parse_dump(expected) == dump


def test_version_2_is_masked_by_file_position() -> None:
    dump = MempoolDump((), {Txid(b"\x02" * 32): 1}, frozenset())
    key = bytes(range(1, 9))
    data = encode_dump(dump, key)
    assert data[:17] == bytes.fromhex("0200000000000000") + b"\x08" + key
    plain = encode_dump(dump, None)[8:]
    assert data[17:] == bytes(byte ^ key[(17 + offset) % 8] for offset, byte in enumerate(plain))
    assert parse_dump(data) == MempoolDump([], {Txid(b"\x02" * 32): 1}, frozenset())


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_other_bytes_are_refused_or_read(data: bytes) -> None:
    for prefix in (b"", bytes.fromhex("0100000000000000"), bytes.fromhex("020000000000000008")):
        with contextlib.suppress(DecodeError):
            parse_dump(prefix + data)


def test_a_restart_keeps_transactions_times_deltas_and_what_nobody_asked_for(tmp_path: Path) -> None:
    lab = PoolLab()
    txs = lab.chain_of(3)
    absent = lab.tx()
    lab.clock.set_mock_time(START_TIME + 50)
    late = lab.add()
    lab.pool.prioritise(txs[1].txid, 500)
    lab.pool.prioritise(absent.txid, -7)
    lab.pool.set_unbroadcast(late.txid)
    path = tmp_path / "mempool.dat"
    for version in (1, 2):
        assert lab.pool.dump(path, version=version) == 4
        again = PoolLab(blocks=0)
        for height in range(1, lab.chain.tip.height + 1):
            entry = lab.chain.entry_at(height)
            assert entry is not None
            block = lab.chain.read_block(entry.hash)
            assert block is not None
            again.chain.accept_block(block)
        again.clock.set_mock_time(START_TIME + 900)
        assert again.pool.load(path) == 4
        assert set(again.pool.txids()) == set(lab.pool.txids())
        assert again.pool.prioritised() == {txs[1].txid: 500, absent.txid: -7}
        assert again.pool.unbroadcast() == {late.txid}
        for txid in lab.pool.txids():
            mine, theirs = again.pool.get(txid), lab.pool.get(txid)
            assert mine is not None
            assert theirs is not None
            assert (mine.time, mine.modified_fee) == (theirs.time, theirs.modified_fee)
        again.pool.check()
    assert [one.name for one in tmp_path.iterdir()] == ["mempool.dat"]


def test_what_is_too_old_or_not_valid_any_more_is_left_out(tmp_path: Path) -> None:
    lab = PoolLab(MempoolOptions(expiry_s=1_000))
    old = lab.add()
    lab.clock.set_mock_time(START_TIME + 600)
    young, spent = lab.add(), lab.add()
    path = tmp_path / "mempool.dat"
    lab.pool.dump(path)
    lab.mine_exactly(lab.tx(spent.inputs[0].prevout, fee=3))
    lab.clock.set_mock_time(START_TIME + 1_001)
    fresh = type(lab.pool)(lab.chain, lab.pool.options, lab.clock)
    assert fresh.load(path) == 1
    assert fresh.txids() == [young.txid]
    fresh = type(lab.pool)(lab.chain, lab.pool.options, lab.clock)
    assert fresh.load(path, use_current_time=True) == 2
    assert set(fresh.txids()) == {old.txid, young.txid}


def test_a_missing_file_is_an_empty_pool_and_a_damaged_one_an_error(tmp_path: Path) -> None:
    lab = PoolLab(blocks=0)
    assert lab.pool.load(tmp_path / "none") == 0
    path = tmp_path / "mempool.dat"
    path.write_bytes(bytes.fromhex("0300000000000000"))
    with pytest.raises(DecodeError):
        lab.pool.load(path)
    assert lab.pool.loaded


def test_loading_gives_way_between_batches(tmp_path: Path) -> None:
    lab = PoolLab()
    for _ in range(5):
        lab.add()
    path = tmp_path / "mempool.dat"
    lab.pool.dump(path)
    fresh = type(lab.pool)(lab.chain, lab.pool.options, lab.clock)
    steps = fresh.load_steps(path, batch=2)
    assert next(steps) == 2
    assert not fresh.loaded
    assert list(steps) == [4, 5]
    assert fresh.loaded


def test_fee_deltas_are_taken_in_only_where_that_is_wanted(tmp_path: Path) -> None:
    lab = PoolLab()
    tx, absent = lab.add(), lab.tx()
    lab.pool.prioritise(tx.txid, 500)
    lab.pool.prioritise(absent.txid, 7)
    lab.pool.dump(tmp_path / "mempool.dat")
    for wanted, expected in ((False, {}), (True, {tx.txid: 500, absent.txid: 7})):
        other = PoolLab()
        *_, taken = other.pool.load_steps(tmp_path / "mempool.dat", apply_fee_deltas=wanted)
        assert taken == 1
        assert other.pool.prioritised() == expected
