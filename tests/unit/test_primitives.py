"""The wire formats: integers, transactions, blocks."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gldnode.errors import DecodeError
from gldnode.primitives.block import HEADER_SIZE, make_block, make_header, parse_block, parse_header
from gldnode.primitives.codec import MAX_SIZE, Reader, compact_size
from gldnode.primitives.hashes import from_display_hex, sha256d, to_display_hex
from gldnode.primitives.tx import (
    NULL_OUTPOINT,
    OutPoint,
    Tx,
    TxIn,
    TxOut,
    make_tx,
    outpoint,
    parse_tx,
    with_witnesses,
)
from tests.support.vectors import load_json, read_bytes

scripts = st.binary(max_size=300)
outpoints = st.binary(min_size=36, max_size=36).map(OutPoint)
inputs = st.builds(TxIn, outpoints, scripts, st.integers(0, 0xFFFFFFFF), st.lists(scripts, max_size=3).map(tuple))
outputs = st.builds(TxOut, st.integers(-(1 << 63), (1 << 63) - 1), scripts)
transactions = st.builds(
    make_tx,
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.lists(inputs, min_size=1, max_size=4),
    st.lists(outputs, max_size=4),
    st.integers(0, 0xFFFFFFFF),
)


@given(st.integers(0, MAX_SIZE))
def test_compact_size_is_read_back(n: int) -> None:
    assert Reader(compact_size(n)).compact_size() == n


@pytest.mark.parametrize("text", ["fd0000", "fdfc00", "fe00000000", "feffff0000", "ff00000000ffffff00"])
def test_longer_compact_size_than_needed_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        Reader(bytes.fromhex(text)).compact_size()


def test_compact_size_above_the_limit_is_refused() -> None:
    with pytest.raises(DecodeError):
        Reader(compact_size(MAX_SIZE + 1)).compact_size()


@given(transactions)
def test_transactions_are_read_back(tx: Tx) -> None:
    again = parse_tx(tx.raw)
    assert again == tx
    assert (again.inputs, again.outputs, again.version, again.lock_time) == (
        tx.inputs,
        tx.outputs,
        tx.version,
        tx.lock_time,
    )
    assert (again.txid, again.wtxid, again.base_size, again.weight) == (
        tx.txid,
        tx.wtxid,
        tx.base_size,
        tx.weight,
    )
    assert sha256d(tx.stripped()) == tx.txid
    assert len(tx.stripped()) == tx.base_size


@given(transactions, st.data())
def test_a_cut_transaction_is_a_decode_error(tx: Tx, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(tx.raw) - 1))
    with pytest.raises(DecodeError):
        parse_tx(tx.raw[:cut])


@given(transactions, st.data())
def test_a_changed_byte_gives_a_transaction_or_a_decode_error(tx: Tx, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(tx.raw) - 1))
    raw = bytearray(tx.raw)
    raw[at] = data.draw(st.integers(0, 255))
    try:
        again = parse_tx(bytes(raw))
    except DecodeError:
        return
    assert again.raw == bytes(raw)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_transaction_a_block_or_a_decode_error(data: bytes) -> None:
    for parse in (parse_tx, parse_block):
        try:
            value = parse(data)
        except DecodeError:
            continue
        assert value.raw == data


def test_a_witness_marker_without_witness_is_refused() -> None:
    tx = make_tx(2, [TxIn(outpoint(bytes(32), 1), b"", 0)], [TxOut(1, b"")])
    raw = tx.raw[:4] + b"\x00\x01" + tx.raw[4:-4] + b"\x00" + tx.raw[-4:]
    with pytest.raises(DecodeError, match="Superfluous witness record"):
        parse_tx(raw)


def test_huge_counts_are_refused_before_anything_is_built() -> None:
    raw = struct.pack("<i", 1) + b"\xfe\xff\xff\xff\x01" + bytes(100)
    with pytest.raises(DecodeError):
        parse_tx(raw)
    block = bytes(HEADER_SIZE) + b"\xfe\xff\xff\xff\x01" + bytes(100)
    with pytest.raises(DecodeError):
        parse_block(block)


def test_witnesses_can_be_replaced() -> None:
    tx = make_tx(2, [TxIn(outpoint(bytes(32), 1), b"", 0)], [TxOut(1, b"\x51")])
    signed = with_witnesses(tx, [[b"sig", b"key"]])
    assert signed.txid == tx.txid
    assert signed.wtxid != tx.wtxid
    assert signed.inputs[0].witness == (b"sig", b"key")
    assert not tx.has_witness
    assert signed.has_witness


def test_coinbases_are_recognised_by_their_null_outpoint() -> None:
    assert make_tx(1, [TxIn(NULL_OUTPOINT, b"\x51\x51", 0)], [TxOut(1, b"")]).is_coinbase
    assert not make_tx(1, [TxIn(outpoint(bytes(32), 0), b"", 0)], [TxOut(1, b"")]).is_coinbase


def test_header_fields_and_hash_are_read_back() -> None:
    header = make_header(-5, b"\x01" * 32, b"\x02" * 32, 0xFFFFFFFF, 0x207FFFFF, 7)
    assert parse_header(header.serialize()) == header
    block = make_block(header, [make_tx(1, [TxIn(NULL_OUTPOINT, b"\x51", 0)], [])])
    assert parse_block(block.raw) == block


def test_display_hex_is_reversed_and_checked() -> None:
    value = bytes(range(32))
    assert from_display_hex(to_display_hex(value)) == value
    for bad in ("00", "zz" * 32, " " * 64, "0 " * 32):
        with pytest.raises(DecodeError):
            from_display_hex(bad)


@pytest.mark.parametrize(
    "name",
    ["btclib/block_1.bin", "btclib/block_170.bin", "btclib/block_200000.bin", "btclib/block_481824.bin"],
)
def test_published_blocks_are_read_back(name: str) -> None:
    raw = read_bytes(name)
    block = parse_block(raw)
    assert make_block(block.header, block.txs).raw == raw


def test_witness_blocks_have_the_published_size_and_weight() -> None:
    for name in ("bitcoin_mainnet_951658.json", "bitcoin_testnet4_40000.json", "bitcoin_signet_31500.json"):
        golden = load_json(f"electrumx/{name}")
        block = parse_block(bytes.fromhex(golden["block"]))
        assert to_display_hex(block.hash) == golden["hash"]
        for field, value in (
            ("weight", block.weight),
            ("size", block.total_size),
            ("strippedsize", block.base_size),
            ("nTx", len(block.txs)),
        ):
            assert golden.get(field, value) == value
        txids = [tx if isinstance(tx, str) else tx["txid"] for tx in golden["tx"]]
        assert [to_display_hex(tx.txid) for tx in block.txs] == txids
