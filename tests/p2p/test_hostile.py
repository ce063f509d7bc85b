"""Peers that mean harm, or do not care: each is bounded in memory and work, and gets the verdict it deserves."""

import random

import pytest

from gldnode.chain.options import ChainOptions
from gldnode.consensus.merkle import merkle_root
from gldnode.mining.generate import solve
from gldnode.mining.template import build_template
from gldnode.p2p.framing import MAX_PAYLOAD
from gldnode.p2p.messages import (
    MAX_HEADERS,
    AddrV2,
    CompactBlock,
    GetBlockTxn,
    Headers,
    Inventory,
    InvItem,
    InvType,
    Locator,
    TimedAddress,
)
from gldnode.p2p.netaddress import NetAddress, Network
from gldnode.p2p.peer import ConnectionType, Permission
from gldnode.primitives.block import Block, make_block, make_header
from gldnode.primitives.codec import compact_size
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import OutPoint, TxIn, TxOut, make_tx
from tests.support.simnet import P2SH_TRUE
from tests.support.wire import Lab, header_chain, version_message

FULL = ConnectionType.OUTBOUND_FULL_RELAY


@pytest.fixture
def lab() -> Lab:
    return Lab(blocks=8)


def solved(block: Block) -> Block:
    header = solve(block.header)
    assert header is not None
    return make_block(header, block.txs)


def next_block(lab: Lab) -> Block:
    """A valid block on the node's tip that the node does not have."""
    lab.clock.ms += 1000
    template = build_template(lab.node.chain, lab.node.pool, P2SH_TRUE, now=lab.clock.now())
    return solved(template.block)


# -- the stream --


def test_a_wrong_checksum_is_ignored(lab: Lab) -> None:
    peer = lab.peer()
    bad = bytearray(peer.frame("ping", bytes(8)))
    bad[20] ^= 1
    peer.take()
    peer.raw(bytes(bad) * 100)
    peer.send("ping", bytes(8))
    assert len(peer.take("pong")) == 1
    assert peer.closed is None


def test_an_oversized_message_ends_the_connection_before_it_is_taken_in(lab: Lab) -> None:
    peer = lab.peer()
    head = (
        lab.params.message_start + b"block".ljust(12, b"\0") + (MAX_PAYLOAD + 1).to_bytes(4, "little") + bytes(4)
    )
    peer.raw(head)
    assert peer.closed is not None
    assert "Size too large" in peer.closed


def test_a_foreign_network_is_cut_off(lab: Lab) -> None:
    peer = lab.peer()
    peer.raw(bytes.fromhex("f9beb4d9") + bytes(20))
    assert peer.closed is not None
    assert "Wrong MessageStart" in peer.closed


def test_everything_before_the_handshake_is_ignored(lab: Lab) -> None:
    peer = lab.peer(handshake=False)
    for command in ("ping", "getheaders", "getaddr", "inv", "tx", "mempool", "verack", "sendcmpct"):
        peer.send(command, bytes(40))
    assert peer.take() == []
    peer.send("version", version_message())
    peer.send("getaddr")
    peer.send("ping", bytes(8))
    assert [message.command for message in peer.take()] == ["version", "wtxidrelay", "sendaddrv2", "verack"]
    assert peer.closed is None


def test_handshakes_that_do_not_end_are_ended(lab: Lab) -> None:
    peers = [lab.peer(handshake=False) for _ in range(50)]
    for peer in peers:
        peer.raw(peer.frame("version", version_message())[:30])  # slow-loris: the rest never comes
    lab.run(62)
    assert all(peer.closed == "version handshake timeout" for peer in peers)
    assert not lab.node.processing.peers


def test_a_peer_that_falls_silent_is_let_go(lab: Lab) -> None:
    peer = lab.peer()
    for _ in range(22):
        lab.run(60)
        peer.raw(b"")
    assert peer.closed is not None
    assert "timeout" in peer.closed


def test_features_after_verack_end_the_connection(lab: Lab) -> None:
    for command in ("wtxidrelay", "sendaddrv2"):
        peer = lab.peer()
        peer.send(command)
        assert peer.closed == f"{command} received after verack"
    peer = lab.peer()
    peer.send("sendtxrcncl", bytes(12))
    peer.send("version", version_message())
    peer.send("verack")
    assert peer.closed is None


def test_our_own_nonce_coming_back_is_ourselves(lab: Lab) -> None:
    dialled = lab.peer(FULL, handshake=False)
    (own,) = dialled.take("version")
    inbound = lab.peer(handshake=False)
    inbound.send("version", version_message(nonce=own.payload[72:80]))
    assert inbound.closed == "connected to self"
    assert inbound.take() == []


def test_obsolete_and_useless_peers_are_not_kept(lab: Lab) -> None:
    old = lab.peer(protocol=31799)
    assert old.closed is not None
    assert "obsolete" in old.closed
    useless = lab.peer(FULL, services=0)
    assert useless.closed is not None
    assert "expected services" in useless.closed


def test_invented_commands_take_no_memory(lab: Lab) -> None:
    peer = lab.peer()
    for number in range(3000):
        peer.send(f"x{number}", b"data")
    assert len(peer.peer.received_per_message) < 10
    assert peer.peer.received_per_message["*other*"] == 3000 * 28
    assert peer.closed is None


# -- answers that are not read, requests that cost --


def test_a_peer_that_does_not_read_is_not_served(lab: Lab) -> None:
    peer = lab.peer()
    lab.node.mine(300)
    peer.take()
    state, processing = peer.state, lab.node.processing
    question = peer.frame("getheaders", Locator([lab.params.genesis.hash], bytes(32)).encode())
    peer.peer.socket_backlog = 900_000
    processing.receive(peer.peer, question * 900)
    assert peer.peer.output_size < 1_200_000
    assert len(state.inbox) > 850
    assert processing.is_waiting(peer.peer)
    peer.peer.socket_backlog = 0
    for _ in range(100):
        lab.collect(lab.node)
        processing.resume(peer.peer)
    assert not processing.is_waiting(peer.peer)
    lab.collect(lab.node)
    assert len(peer.take("headers")) == 900  # late, but every one of them, in order


def test_pongs_keep_their_place_among_the_answers(lab: Lab) -> None:
    peer = lab.peer()
    peer.take()
    hashes = [lab.node.chain.block_hash(height) or b"" for height in range(1, 6)]
    ask = Inventory([InvItem(InvType.WITNESS_BLOCK, name) for name in hashes]).encode()
    peer.raw(peer.frame("getdata", ask) + peer.frame("ping", b"\1" * 8))
    assert [message.command for message in peer.take()] == ["block"] * 5 + ["pong"]


def test_long_locators_inventories_and_lists_are_refused(lab: Lab) -> None:
    hashes = [BlockHash(bytes(32))] * 102
    peer = lab.peer()
    peer.send("getheaders", Locator(hashes, bytes(32)).encode())
    assert peer.closed is not None
    assert "locator size" in peer.closed
    for command in ("inv", "getdata"):
        peer = lab.peer()
        peer.send(command, compact_size(50_001) + bytes(36) * 50_001)
        assert peer.closed is not None
        assert f"{command} message size = 50001" in peer.closed
    for command in ("addr", "addrv2"):
        peer = lab.peer()
        peer.send(command, compact_size(1001) + bytes(31) * 1001)
        assert peer.closed is not None
        assert f"{command} message size = 1001" in peer.closed
    peer = lab.peer()
    peer.send("headers", compact_size(2001) + bytes(81) * 2001)
    assert peer.closed is not None
    assert "headers message size = 2001" in peer.closed
    assert len(lab.discouraged) == 5


def test_mempool_and_bloom_messages_end_the_connection(lab: Lab) -> None:
    for command in ("mempool", "filterload", "filteradd", "filterclear", "getcfilters", "getcfcheckpt"):
        peer = lab.peer()
        peer.send(command, bytes(37))
        assert peer.closed is not None, command
    allowed = lab.peer(permissions=Permission.MEMPOOL)
    tx = lab.node.pay()
    assert tx is not None
    allowed.send("mempool")
    lab.run(60)
    assert allowed.closed is None
    assert any(tx.wtxid in message.payload for message in allowed.take("inv"))


# -- headers --


def minimum_work_lab(blocks_of_work: int) -> Lab:
    """A node that knows only genesis and demands this many blocks' work."""
    return Lab(options=ChainOptions(minimum_chain_work=2 * blocks_of_work))  # a regtest block: two hashes


def test_low_work_headers_are_counted_not_kept() -> None:
    lab = minimum_work_lab(1_000_000)
    peer = lab.peer(FULL)
    headers = header_chain(lab.params, lab.params.genesis.hash, lab.params.genesis.header.time, MAX_HEADERS * 3)
    known = len(lab.node.chain.entries())
    for at in range(0, len(headers), MAX_HEADERS):
        peer.send("headers", Headers(headers[at : at + MAX_HEADERS]).encode())
    assert len(lab.node.chain.entries()) == known
    assert peer.state.low_work.presync_height == len(headers)
    assert peer.state.low_work.memory_bytes < 100
    peer.send("headers", Headers(headers[:1]).encode())  # starts again: forgotten, not punished
    assert peer.state.low_work is None
    assert len(lab.node.chain.entries()) == known


def test_a_short_chain_of_low_work_is_ignored() -> None:
    lab = minimum_work_lab(1_000_000)
    peer = lab.peer()
    for salt in range(50):
        headers = header_chain(lab.params, lab.params.genesis.hash, lab.params.genesis.header.time, 10, salt)
        peer.send("headers", Headers(headers).encode())
    assert len(lab.node.chain.entries()) == 1
    assert peer.closed is None


def test_enough_work_is_taken_the_second_time() -> None:
    lab = minimum_work_lab(3_000)
    peer = lab.peer(FULL)
    headers = header_chain(lab.params, lab.params.genesis.hash, lab.params.genesis.header.time, 3_500)
    parts = [headers[:2000], headers[2000:]]
    for part in (*parts, *parts):
        assert peer.take("getheaders")
        peer.send("headers", Headers(part).encode())
    assert lab.node.chain.best_header.height == 3_500


def test_other_headers_the_second_time_are_not_kept() -> None:
    lab = minimum_work_lab(3_000)
    peer = lab.peer(FULL)
    time = lab.params.genesis.header.time
    good = header_chain(lab.params, lab.params.genesis.hash, time, 3_500)
    other = header_chain(lab.params, lab.params.genesis.hash, time, 3_500, salt=2)
    for part in (good[:2000], good[2000:], other[:2000], other[2000:]):
        peer.send("headers", Headers(part).encode())
    assert lab.node.chain.best_header.height == 0


def test_headers_without_proof_of_work_or_connection_are_punished(lab: Lab) -> None:
    time = lab.node.chain.tip.time
    chain = header_chain(lab.params, lab.node.tip, time, 4)
    hard = make_header(4, BlockHash(lab.node.tip), bytes(32), time, 0x1D00FFFF, 0)
    for headers in ([chain[0], chain[2]], [hard]):
        peer = lab.peer()
        peer.send("headers", Headers(headers).encode())
        assert peer.closed is not None
        assert peer.closed.startswith("misbehaving")
    assert len(lab.discouraged) == 2


def test_unconnected_headers_give_one_question_not_a_storm(lab: Lab) -> None:
    peer = lab.peer()
    peer.take()
    lab.run(130)
    peer.take()
    for salt in range(100):
        peer.send("headers", Headers(header_chain(lab.params, bytes([salt + 1]) * 32, 1, 2, salt)).encode())
    assert len(peer.take("getheaders")) == 1
    assert peer.closed is None


def test_an_outbound_peer_on_a_worse_chain_is_replaced_in_time(lab: Lab) -> None:
    peer = lab.peer(FULL)
    lab.node.mine(20)
    for _ in range(24):
        lab.run(60)
        for ping in peer.take("ping"):
            peer.send("pong", ping.payload)
    assert peer.closed is not None
    assert "old chain" in peer.closed
    assert not lab.discouraged


# -- blocks --


def test_a_mutated_block_does_not_spoil_the_real_one(lab: Lab) -> None:
    block = next_block(lab)
    mutated = make_block(block.header, [*block.txs, block.txs[-1]])
    liar, honest = lab.peer(FULL), lab.peer(FULL)
    for peer in (liar, honest):
        peer.send("headers", Headers([block.header]).encode())
    liar.send("block", mutated.raw)
    assert liar.closed is not None
    assert "bad-txn" in liar.closed
    assert any("bad-txnmrklroot" in line or "bad-txns-duplicate" in line for line in lab.node.log)
    honest.send("block", block.raw)
    assert lab.node.tip == block.hash
    assert honest.closed is None


def test_an_invalid_block_is_punished_but_not_through_a_compact_block(lab: Lab) -> None:
    template = build_template(lab.node.chain, lab.node.pool, P2SH_TRUE, now=lab.clock.now())
    rich = template.block.txs[0]
    greedy = make_tx(rich.version, rich.inputs, [TxOut(rich.outputs[0].amount * 2, P2SH_TRUE), *rich.outputs[1:]])
    header = template.block.header
    header = make_header(
        header.version, header.prev_hash, merkle_root([greedy.txid])[0], header.time, header.bits, 0
    )
    block = solved(make_block(header, [greedy]))
    helper, liar = lab.peer(), lab.peer()
    helper.send("cmpctblock", CompactBlock(block.header, 1, [], [(0, greedy)]).encode())
    assert helper.closed is None
    assert lab.node.tip != block.hash
    liar = lab.peer(FULL)
    liar.send("block", block.raw)
    assert liar.closed is not None
    assert not any("accepted" in reason for reason in lab.discouraged)


def test_unrequested_blocks_of_low_work_are_not_stored() -> None:
    lab = minimum_work_lab(1000)
    lab.node.mine(8)
    peer = lab.peer()
    block = next_block(lab)
    known = len(lab.node.chain.entries())
    peer.send("block", block.raw)
    assert len(lab.node.chain.entries()) == known
    orphan = make_block(make_header(4, BlockHash(b"\1" * 32), bytes(32), 1, 0x207FFFFF, 0), block.txs)
    peer.send("block", orphan.raw)
    assert peer.closed is None


def test_block_bytes_that_do_not_parse_are_punished(lab: Lab) -> None:
    peer = lab.peer()
    peer.send("block", b"\x01" * 500)
    assert peer.closed is not None


def test_a_peer_that_announces_and_never_delivers_does_not_hold_the_block_back(lab: Lab) -> None:
    block = next_block(lab)
    silent, honest = lab.peer(FULL), lab.peer(FULL)
    for peer in (silent, honest):
        peer.send("sendcmpct", b"\x00" + (2).to_bytes(8, "little"))
        peer.take()
        peer.send("headers", Headers([block.header]).encode())
    assert silent.take("getdata")
    assert not honest.take("getdata")
    lab.run(25)
    assert honest.take("getdata")
    honest.send("block", block.raw)
    assert lab.node.tip == block.hash
    assert not lab.node.processing.blocks.in_flight


def test_notfound_does_not_make_us_ask_for_ever(lab: Lab) -> None:
    block = next_block(lab)
    peer = lab.peer(FULL)
    peer.send("headers", Headers([block.header]).encode())
    asked = 0
    for _ in range(100):
        for message in peer.take("getdata"):
            asked += 1
            peer.send("notfound", message.payload)
        lab.run(0.5)
    assert asked <= 2


# -- compact blocks --


def test_compact_blocks_with_bad_short_ids_end_in_the_whole_block(lab: Lab) -> None:
    block = next_block(lab)
    tx = lab.node.pay()
    assert tx is not None
    block = next_block(lab)
    assert len(block.txs) == 2
    peer = lab.peer(FULL)
    same_ids = CompactBlock(block.header, 7, [b"abcdef", b"abcdef"], [(0, block.txs[0])])
    peer.take()
    peer.send("cmpctblock", same_ids.encode())
    (ask,) = peer.take("getdata")
    assert Inventory.decode(ask.payload).items == [InvItem(InvType.WITNESS_BLOCK, block.hash)]
    peer.send("block", block.raw)
    assert lab.node.tip == block.hash
    assert peer.closed is None


def test_a_wrong_transaction_for_a_short_id_ends_in_the_whole_block(lab: Lab) -> None:
    tx = lab.node.pay()
    assert tx is not None
    block = next_block(lab)
    peer = lab.peer(FULL)
    peer.take()
    peer.send("cmpctblock", CompactBlock(block.header, 7, [b"abcdef"], [(0, block.txs[0])]).encode())
    (ask,) = peer.take("getblocktxn")
    assert GetBlockTxn.decode(ask.payload).indexes == [1]
    wrong = make_tx(2, [TxIn(OutPoint(b"\7" * 36), b"", 0)], [TxOut(1, b"")])
    peer.send("blocktxn", block.hash + b"\x01" + wrong.raw)
    assert peer.take("getdata")
    peer.send("block", block.raw)
    assert lab.node.tip == block.hash


def test_a_wrong_number_of_transactions_is_punished_and_others_go_on(lab: Lab) -> None:
    assert lab.node.pay() is not None
    block = next_block(lab)
    liar, honest = lab.peer(FULL), lab.peer(FULL)
    compact = CompactBlock(block.header, 7, [b"abcdef"], [(0, block.txs[0])]).encode()
    for peer in (liar, honest):
        peer.send("cmpctblock", compact)
        peer.send("cmpctblock", compact)  # a second time changes nothing
        assert len(peer.take("getblocktxn")) == 1
    liar.send("blocktxn", block.hash + b"\x00")
    assert liar.closed is not None
    honest.send("blocktxn", block.hash + b"\x01" + block.txs[1].raw)
    assert lab.node.tip == block.hash


def test_block_transactions_out_of_range_are_punished(lab: Lab) -> None:
    peer = lab.peer()
    peer.send("getblocktxn", GetBlockTxn(BlockHash(lab.node.tip), [0, 1]).encode())
    assert peer.closed is not None
    assert "out-of-bounds" in peer.closed


# -- transactions --


def test_an_inv_flood_is_bounded_and_costs_nothing_while_nothing_is_due(lab: Lab) -> None:
    rng = random.Random(5)
    peers = [lab.peer() for _ in range(2)]
    for peer in peers:
        for _ in range(3):
            peer.inv(*((InvType.WTX, rng.randbytes(32)) for _ in range(2_500)))
    requests = lab.node.processing.txs.requests
    assert len(requests) == 2 * 5_000
    lab.run(200)
    assert len(requests) == 0
    assert all(peer.closed is None for peer in peers)
    assert all(len(peer.state.known_txs) <= 40_000 for peer in peers)


def test_who_does_not_deliver_a_transaction_is_passed_over(lab: Lab) -> None:
    tx = lab.node.pay()
    assert tx is not None
    other = Lab(blocks=8)
    silent, honest = other.peer(), other.peer()
    for peer in (silent, honest):
        peer.inv((InvType.WTX, tx.wtxid))
    other.run(5)
    asked_first, asked_next = (silent, honest) if silent.take("getdata") else (honest, silent)
    assert not asked_next.take("getdata")
    other.run(61)
    (ask,) = asked_next.take("getdata")
    assert tx.wtxid in ask.payload
    asked_next.send("tx", tx.raw)
    assert tx.txid in other.node.pool
    assert asked_first.closed is None


def test_orphans_are_bounded(lab: Lab) -> None:
    peer = lab.peer()
    for number in range(300):
        prevout = OutPoint(number.to_bytes(32, "big") + bytes(4))
        peer.send("tx", make_tx(2, [TxIn(prevout, b"\x01\x51", 0)], [TxOut(1000, P2SH_TRUE)]).raw)
    assert len(lab.node.processing.orphans) <= lab.node.pool.options.max_orphans
    assert peer.closed is None


def test_transactions_on_a_block_relay_connection_end_it(lab: Lab) -> None:
    tx = lab.node.pay()
    assert tx is not None
    peer = lab.peer(ConnectionType.BLOCK_RELAY_ONLY)
    peer.send("tx", tx.raw)
    assert peer.closed is not None
    assert "violation of protocol" in peer.closed
    peer = lab.peer(ConnectionType.BLOCK_RELAY_ONLY)
    peer.inv((InvType.WTX, bytes(32)))
    assert peer.closed is not None


def test_transactions_that_do_not_parse_are_dropped(lab: Lab) -> None:
    peer = lab.peer()
    peer.send("tx", b"\xff" * 60)
    assert peer.closed is None


# -- addresses --


def test_an_address_flood_is_limited_in_rate(lab: Lab) -> None:
    learned: list[TimedAddress] = []
    lab.node.processing.learned_addresses = lambda found, source: learned.extend(found)
    peer = lab.peer()
    rng = random.Random(3)
    for _ in range(12):
        found = [
            TimedAddress(lab.clock.now(), 9, NetAddress(Network.IPV4, rng.randbytes(4), 1)) for _ in range(1000)
        ]
        peer.send("addrv2", AddrV2(found).encode())
    assert len(learned) <= 10
    assert peer.state.addresses_rate_limited > 11_900
    assert len(peer.state.known_addresses) <= 5_000
    assert peer.closed is None


def test_getaddr_is_answered_once_and_only_to_inbound_peers(lab: Lab) -> None:
    lab.node.processing.known_addresses = lambda count, percent: [
        TimedAddress(lab.clock.now(), 9, NetAddress(Network.IPV4, bytes((8, 8, 8, 8)), 1))
    ]
    inbound, outbound = lab.peer(), lab.peer(FULL)
    for peer in (inbound, outbound):
        peer.send("getaddr")
        peer.send("getaddr")
    assert len(inbound.take("addr", "addrv2")) == 1
    assert not outbound.take("addr", "addrv2")


# -- verdicts --


def test_whom_the_operator_trusts_is_not_punished(lab: Lab) -> None:
    bad = Headers(header_chain(lab.params, lab.node.tip, lab.node.chain.tip.time, 3)[::2]).encode()
    for peer in (lab.peer(permissions=Permission.NOBAN), lab.peer(ConnectionType.MANUAL)):
        peer.send("headers", bad)
        assert peer.closed is None
    local = lab.peer(local=True)
    local.send("headers", bad)
    assert local.closed is not None
    assert not lab.discouraged  # everybody on this machine would be
