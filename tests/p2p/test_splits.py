"""The same bytes have the same effects, however the network cuts them up."""

import random
from itertools import pairwise

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gldnode.p2p.framing import encode_frame
from gldnode.p2p.messages import Addr, Headers, Inventory, InvItem, Locator, SendCompact, TimedAddress
from gldnode.p2p.netaddress import NetAddress, Network
from gldnode.p2p.peer import ConnectionType, LocalNode, Peer
from gldnode.p2p.v2transport import V2Transport
from gldnode.primitives.hashes import BlockHash
from tests.support.simnet import SIM_PARAMS, SeededEntropy
from tests.support.wire import Lab, version_message

MAGIC = SIM_PARAMS.message_start
SOURCE = Lab(seed=9, blocks=12)
"""Where the blocks come from that the tested node is given."""


def source_blocks() -> list[bytes]:
    return [
        SOURCE.node.chain.read_block_bytes(SOURCE.node.chain.block_hash(height) or b"") or b""
        for height in range(1, 7)
    ]


BLOCKS = source_blocks()
HEADERS = [SOURCE.node.chain.entry_at(height) for height in range(1, 7)]
TX = SOURCE.node.pay()
KNOWN = [SIM_PARAMS.genesis.hash, *(entry.hash for entry in HEADERS if entry is not None)]

hashes = st.sampled_from(KNOWN) | st.binary(min_size=32, max_size=32)
invs = st.lists(st.builds(InvItem, st.sampled_from([1, 2, 4, 5, 0x40000001, 0x40000002, 9]), hashes), max_size=6)
messages = st.one_of(
    st.tuples(st.just("ping"), st.binary(min_size=8, max_size=8)),
    st.tuples(st.sampled_from(["inv", "getdata", "notfound"]), invs.map(lambda items: Inventory(items).encode())),
    st.tuples(
        st.sampled_from(["getheaders", "getblocks"]),
        st.builds(
            lambda found, stop: Locator([BlockHash(n) for n in found], stop).encode(), st.lists(hashes), hashes
        ),
    ),
    st.tuples(
        st.just("headers"),
        st.integers(0, 6).map(lambda n: Headers([entry.header for entry in HEADERS[:n] if entry]).encode()),
    ),
    st.tuples(st.just("block"), st.sampled_from(BLOCKS)),
    st.tuples(st.just("tx"), st.just(TX.raw if TX else b"")),
    st.tuples(
        st.just("sendcmpct"), st.builds(SendCompact, st.booleans(), st.integers(1, 2)).map(lambda m: m.encode())
    ),
    st.tuples(
        st.just("addr"),
        st.lists(
            st.builds(
                TimedAddress,
                st.integers(0, 2**32 - 1),
                st.just(9),
                st.builds(NetAddress, st.just(Network.IPV4), st.binary(min_size=4, max_size=4), st.integers(1, 9)),
            ),
            max_size=3,
        ).map(lambda found: Addr(found).encode()),
    ),
    st.tuples(st.sampled_from(["sendheaders", "getaddr", "mempool", "wtxidrelay", "what"]), st.just(b"")),
    st.tuples(st.sampled_from(["tx", "block", "headers", "inv", "cmpctblock"]), st.binary(max_size=60)),
)
tails = st.sampled_from([b"", b"garbage", MAGIC + bytes(12) + b"\xff\xff\xff\xff" + bytes(4)])


def effects(stream: bytes, cuts: list[int]) -> tuple[object, ...]:
    lab = Lab(seed=1)
    peer = lab.peer(handshake=False)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for a, b in pairwise(places):
        peer.raw(stream[a:b])
    lab.run(1)
    return (
        [(message.command, message.payload) for message in peer.got],
        peer.closed,
        lab.node.tip,
        lab.node.chain.best_header.hash,
        sorted(lab.node.pool.txids()),
        lab.discouraged,
        dict(peer.peer.received_per_message),
    )


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(messages, max_size=10), tails, st.lists(st.integers(0, 100_000), max_size=12))
def test_a_connection_has_the_same_effects_in_any_split(
    script: list[tuple[str, bytes]], tail: bytes, cuts: list[int]
) -> None:
    opening = [("version", version_message(time=1)), ("wtxidrelay", b""), ("verack", b"")]
    stream = b"".join(encode_frame(MAGIC, name, payload) for name, payload in [*opening, *script]) + tail
    assert effects(stream, cuts) == effects(stream, [])


@example(script=[("ping", bytes(8))] * 4 + [("wtxidrelay", b""), ("inv", b"\0")], cuts=[458], seed=0)
@settings(max_examples=25)
@given(st.lists(messages, max_size=6), st.lists(st.integers(0, 100_000), max_size=10), st.integers(0, 2**31))
def test_an_encrypted_connection_gives_the_same_messages_in_any_split(
    script: list[tuple[str, bytes]], cuts: list[int], seed: int
) -> None:
    def run(cuts: list[int]) -> tuple[object, ...]:
        entropy = SeededEntropy(random.Random(seed))
        local = LocalNode(MAGIC, SOURCE.node.local.services, "/x/", entropy)
        address = NetAddress(Network.IPV4, bytes(4), 1)
        peer = Peer(1, local, ConnectionType.INBOUND, address, 1)
        dialler = V2Transport(MAGIC, initiating=True, secret=b"\1" * 32, key_entropy=b"\2" * 32, garbage=b"g" * 50)
        first = dialler.handshake()
        taken = []

        def give(data: bytes) -> None:
            for message in peer.feed(data, 1):
                if not peer.take(message, 1, 1000):
                    taken.append(message)

        give(first[:1])
        list(dialler.feed(peer.take_output()))
        rest = first[1:] + dialler.pending()
        rest += dialler.encode("version", version_message(time=1)) + dialler.encode("verack", b"")
        rest += b"".join(dialler.encode(name, payload) for name, payload in script)
        places = sorted({0, len(rest), *(cut % (len(rest) + 1) for cut in cuts)})
        for a, b in pairwise(places):
            give(rest[a:b])
        return taken, peer.take_output(), peer.disconnect_reason, peer.is_established, peer.session_id

    assert run(cuts) == run([])


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.lists(messages | st.tuples(st.text("abcdefgh", max_size=12), st.binary(max_size=300)), max_size=20))
def test_nothing_that_a_peer_sends_raises(script: list[tuple[str, bytes]]) -> None:
    lab = Lab(seed=1)
    peer = lab.peer()
    for name, payload in script:
        if peer.closed is None:
            peer.send(name, payload)
    lab.run(2)
