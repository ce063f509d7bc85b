"""Every message is read back, and any bytes are a message or a DecodeError."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gldnode.errors import DecodeError
from gldnode.p2p import messages as m
from gldnode.p2p.netaddress import SIZES, NetAddress, Network, parse_host
from gldnode.primitives.block import make_header
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import NULL_OUTPOINT, TxIn, TxOut, make_tx
from tests.support.vectors import read_bytes

u64 = st.integers(0, (1 << 64) - 1)
hashes = st.binary(min_size=32, max_size=32)
headers = st.builds(
    make_header, st.integers(-(1 << 31), (1 << 31) - 1), hashes, hashes, *[st.integers(0, 0xFFFFFFFF)] * 3
)
ports = st.integers(0, 0xFFFF)
addresses = st.one_of(
    *(
        st.builds(NetAddress, st.just(network), st.binary(min_size=size, max_size=size), ports)
        for network, size in SIZES.items()
        if network is not Network.TORV2
    )
)
timed = st.builds(m.TimedAddress, st.integers(0, 0xFFFFFFFF), u64, addresses)
txs = st.builds(
    lambda lock, script: make_tx(2, [TxIn(NULL_OUTPOINT, script, 0, (b"w",))], [TxOut(1, script)], lock),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=40),
)
compact = st.builds(
    lambda header, nonce, ids, txs: m.CompactBlock(header, nonce, ids, list(enumerate(txs))),
    headers,
    u64,
    st.lists(st.binary(min_size=6, max_size=6), max_size=5),
    st.lists(txs, max_size=3),
)
values = st.one_of(
    st.builds(
        m.Version,
        st.integers(0, 80000),
        u64,
        st.integers(0, 1 << 40),
        st.binary(min_size=26, max_size=26),
        st.binary(min_size=26, max_size=26),
        st.binary(min_size=8, max_size=8),
        st.text("abc/:.0123456789", max_size=60),
        st.integers(-1, 1 << 30),
        st.booleans(),
    ),
    st.builds(m.Ping, u64),
    st.builds(m.Inventory, st.lists(st.builds(m.InvItem, st.integers(0, 0xFFFFFFFF), hashes), max_size=8)),
    st.builds(m.Locator, st.lists(hashes.map(BlockHash), max_size=8), hashes, st.integers(0, 80000)),
    st.builds(m.Headers, st.lists(headers, max_size=5)),
    st.builds(m.FeeFilter, st.integers(0, 1 << 50)),
    st.builds(m.SendCompact, st.booleans(), u64),
    st.builds(m.AddrV2, st.lists(timed, max_size=5)),
    compact,
    st.builds(
        m.GetBlockTxn,
        hashes.map(BlockHash),
        st.lists(st.integers(0, 0xFFFF), max_size=6, unique=True).map(sorted),
    ),
    st.builds(m.BlockTxn, hashes.map(BlockHash), st.lists(txs, max_size=3)),
)
DECODERS = [
    m.Version.decode,
    m.Ping.decode,
    m.Inventory.decode,
    m.Locator.decode,
    m.Headers.decode,
    m.FeeFilter.decode,
    m.SendCompact.decode,
    m.Addr.decode,
    m.AddrV2.decode,
    m.CompactBlock.decode,
    m.GetBlockTxn.decode,
    m.BlockTxn.decode,
]


@given(values)
def test_every_message_is_read_back(value: m.Version | m.Inventory) -> None:
    assert type(value).decode(value.encode()) == value


@given(values, st.data())
def test_changed_bytes_are_a_message_or_a_decode_error(value: m.Version, data: st.DataObject) -> None:
    raw = bytearray(value.encode())
    if raw:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    for decode in DECODERS:
        try:
            decode(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
        except DecodeError:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_decode_error(data: bytes) -> None:
    for decode in DECODERS:
        try:
            decode(data)
        except DecodeError:
            continue


@pytest.mark.parametrize(
    ("decode", "count"),
    [(m.Inventory.decode, 50_001), (m.Headers.decode, 2_001), (m.AddrV2.decode, 1_001), (m.Locator.decode, 102)],
)
def test_counts_above_the_limit_are_refused(decode: object, count: int) -> None:
    prefix = b"\x80\x11\x01\x00" if decode == m.Locator.decode else b""
    payload = (
        prefix + b"\xfe" + count.to_bytes(4, "little") + bytes(100)
        if count > 0xFFFF
        else (
            prefix
            + (b"\xfd" + count.to_bytes(2, "little") if count >= 0xFD else bytes((count,)))
            + bytes(100 * count)
        )
    )
    with pytest.raises(DecodeError):
        decode(payload)  # type: ignore[operator]


@given(addresses)
def test_addresses_are_read_back_from_their_text(address: NetAddress) -> None:
    again = parse_host(address.host, address.port)
    assert again is not None
    assert again.host == address.host or address.network is Network.IPV6


def test_names_need_a_look_up_and_bad_onions_are_refused() -> None:
    assert parse_host("seed.example.org", 1) is None
    with pytest.raises(DecodeError):
        parse_host("abc.onion", 1)


@pytest.mark.parametrize("name", ["bcoin/compact426884.raw", "bcoin/compact898352.raw"])
def test_published_compact_blocks_are_read_back(name: str) -> None:
    raw = read_bytes(name)
    block = m.CompactBlock.decode(raw)
    assert block.short_ids
    assert block.encode() == raw
