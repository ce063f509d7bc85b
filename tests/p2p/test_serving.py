"""What others get from us: headers by any locator, blocks the old and the new way, news in the form they like."""

import pytest

from gldnode.events import BlockConnected
from gldnode.indexes import BlockFilterIndex
from gldnode.p2p.filterservice import FilterService
from gldnode.p2p.messages import (
    CompactBlock,
    FeeFilter,
    GetBlockTxn,
    Headers,
    Inventory,
    InvItem,
    InvType,
    Locator,
    Services,
)
from gldnode.p2p.peer import ConnectionType, Permission
from gldnode.primitives.codec import Reader
from gldnode.primitives.hashes import ZERO_HASH, BlockHash, sha256d
from storage.memory import MemoryKV
from tests.support.wire import Lab, WirePeer

HIGH_BANDWIDTH = b"\x01" + (2).to_bytes(8, "little")
NEW_BLOCKS = ("inv", "headers", "cmpctblock")


@pytest.fixture
def lab() -> Lab:
    return Lab(blocks=12)


def hash_at(lab: Lab, height: int) -> BlockHash:
    found = lab.node.chain.block_hash(height)
    assert found is not None
    return found


def ask_headers(lab: Lab, peer: WirePeer, *hashes: bytes, stop: bytes = bytes(32)) -> list[bytes]:
    peer.take()
    peer.send("getheaders", Locator([BlockHash(one) for one in hashes], stop).encode())
    (answer,) = peer.take("headers")
    return [header.hash for header in Headers.decode(answer.payload).headers]


def test_headers_follow_the_locator(lab: Lab) -> None:
    peer = lab.peer()
    all_of_them = [hash_at(lab, height) for height in range(1, 13)]
    assert ask_headers(lab, peer, hash_at(lab, 0)) == all_of_them
    assert ask_headers(lab, peer, hash_at(lab, 10)) == all_of_them[10:]
    assert ask_headers(lab, peer, hash_at(lab, 12)) == []
    assert ask_headers(lab, peer, hash_at(lab, 3), stop=hash_at(lab, 5)) == all_of_them[3:5]
    assert ask_headers(lab, peer, stop=hash_at(lab, 5)) == [hash_at(lab, 5)]
    assert ask_headers(lab, peer, stop=b"\1" * 32) == []
    assert ask_headers(lab, peer, b"\1" * 32) == all_of_them  # nothing in common but genesis


def test_a_stale_locator_falls_back_to_the_fork(lab: Lab) -> None:
    stale, before = lab.node.tip, hash_at(lab, 11)
    lab.node.chain.invalidate(stale)
    lab.node.mine(3)
    lab.node.chain.reconsider(stale)
    lab.node.after()
    peer = lab.peer()
    new = [hash_at(lab, height) for height in (12, 13, 14)]
    assert stale not in new
    assert ask_headers(lab, peer, stale, before) == new
    assert ask_headers(lab, peer, stale)[-3:] == new
    assert ask_headers(lab, peer, stop=stale) == [stale]  # recent and valid: shown to who asks for it by name


def test_a_node_that_is_unsure_of_its_chain_answers_with_nothing(lab: Lab) -> None:
    from gldnode.chain.options import ChainOptions

    unsure = Lab(options=ChainOptions(minimum_chain_work=1 << 60))
    peer = unsure.peer()
    assert ask_headers(unsure, peer, unsure.params.genesis.hash) == []


def test_the_old_way_leads_a_peer_through_the_whole_chain() -> None:
    lab = Lab(blocks=1_203)
    peer = lab.peer()
    seen: list[bytes] = []
    start: bytes = lab.params.genesis.hash
    for _ in range(10):
        peer.take()
        peer.send("getblocks", Locator([BlockHash(start)], bytes(32)).encode())
        invs = peer.take("inv")
        if not invs:
            break
        items = list(Inventory.decode(invs[0].payload).items)
        assert len(items) <= 500
        seen += [item.hash for item in items]
        start = seen[-1]
        peer.inv(*((InvType.BLOCK, item.hash) for item in items), command="getdata")
        lab.run(1)
        answers = peer.take()
        assert sum(message.command == "block" for message in answers) == len(items)
        tips = [message for message in answers if message.command == "inv"]
        assert len(tips) == (len(items) == 500)  # "hash continue": our tip, so that it asks on
        if tips:
            assert lab.node.tip in tips[0].payload
    assert seen == [hash_at(lab, height) for height in range(1, 1_204)]


def test_blocks_come_with_and_without_witnesses_or_not_at_all(lab: Lab) -> None:
    peer = lab.peer()
    peer.take()
    block = lab.node.chain.read_block(lab.node.tip)
    assert block is not None
    for kind in (InvType.WITNESS_BLOCK, InvType.BLOCK, InvType.COMPACT_BLOCK):
        peer.inv((kind, block.hash), command="getdata")
    whole, stripped, compact = peer.take()
    assert whole.payload == block.raw
    assert len(stripped.payload) < len(whole.payload)
    assert compact.command == "cmpctblock"
    assert CompactBlock.decode(compact.payload).header.hash == block.hash
    peer.inv((InvType.COMPACT_BLOCK, hash_at(lab, 2)), command="getdata")
    assert peer.take()[0].command == "block"  # too old for a compact one
    peer.inv((InvType.WITNESS_BLOCK, b"\1" * 32), (InvType.WTX, b"\2" * 32), (99, bytes(32)), command="getdata")
    (missing,) = peer.take()
    assert missing.command == "notfound"
    assert [item.hash for item in Inventory.decode(missing.payload).items] == [b"\1" * 32, b"\2" * 32]


def test_block_transactions_of_recent_blocks_and_whole_old_ones(lab: Lab) -> None:
    peer = lab.peer()
    peer.take()
    peer.send("getblocktxn", GetBlockTxn(hash_at(lab, 12), [0]).encode())
    peer.send("getblocktxn", GetBlockTxn(hash_at(lab, 1), [0]).encode())
    peer.send("getblocktxn", GetBlockTxn(BlockHash(b"\1" * 32), [0]).encode())
    assert [message.command for message in peer.take()] == ["blocktxn", "block"]


def test_a_new_block_is_told_in_the_form_each_peer_likes(lab: Lab) -> None:
    by_inv, by_headers, by_compact = lab.peer(), lab.peer(), lab.peer()
    by_headers.send("sendheaders")
    by_compact.send("sendcmpct", HIGH_BANDWIDTH)
    for peer in (by_inv, by_headers, by_compact):
        ask_headers(lab, peer, lab.node.tip)  # it has our tip
    lab.node.mine()
    (news,) = by_inv.take(*NEW_BLOCKS)
    assert Inventory.decode(news.payload).items == [InvItem(InvType.BLOCK, lab.node.tip)]
    (news,) = by_headers.take(*NEW_BLOCKS)
    assert [header.hash for header in Headers.decode(news.payload).headers] == [lab.node.tip]
    (news,) = by_compact.take(*NEW_BLOCKS)
    assert CompactBlock.decode(news.payload).header.hash == lab.node.tip


def test_a_reorganisation_is_told_as_connecting_headers_or_the_tip(lab: Lab) -> None:
    by_inv, by_headers = lab.peer(), lab.peer()
    by_headers.send("sendheaders")
    for peer in (by_inv, by_headers):
        ask_headers(lab, peer, lab.node.tip)
    lab.node.chain.invalidate(hash_at(lab, 12))
    lab.node.mine(2)
    lab.run(1)
    headers = [h.hash for m in by_headers.take("headers") for h in Headers.decode(m.payload).headers]
    assert headers == [hash_at(lab, 12), hash_at(lab, 13)]
    assert lab.node.tip in by_inv.take("inv")[-1].payload


def test_more_than_eight_blocks_at_once_are_told_by_inv() -> None:
    lab = Lab(blocks=1)
    peer = lab.peer()
    peer.send("sendheaders")
    ask_headers(lab, peer, lab.node.tip)
    lab.node.processing.announcer.flush = lambda: None  # type: ignore[method-assign]
    lab.node.mine(9)
    del lab.node.processing.announcer.flush
    lab.run(1)
    assert [message.command for message in peer.take("inv", "headers")] == ["inv"]


def test_a_peer_may_send_blocks_unasked_when_it_was_useful(lab: Lab) -> None:
    other = Lab(seed=2, blocks=0)
    peers = [other.peer(ConnectionType.OUTBOUND_FULL_RELAY) for _ in range(4)]
    for peer in peers:
        peer.send("sendcmpct", b"\x00" + (2).to_bytes(8, "little"))
        peer.take()
    for height, peer in enumerate(peers, 1):
        block = lab.node.chain.read_block(hash_at(lab, height))
        assert block is not None
        peer.send("block", block.raw)
    flags = [[message.payload[0] for message in peer.take("sendcmpct")] for peer in peers]
    assert flags == [[1, 0], [1], [1], [1]]  # three at most: the first one gave way


# -- transactions --


def test_transactions_are_told_after_a_delay_and_at_once_to_trusted_peers(lab: Lab) -> None:
    far, trusted = lab.peer(), lab.peer(permissions=Permission.NOBAN)
    deaf = lab.peer(relay=False)
    lab.run(30)
    for peer in (far, trusted, deaf):
        peer.take()
    tx = lab.node.pay()
    assert tx is not None
    lab.run(0.5)
    (news,) = trusted.take("inv")
    assert Inventory.decode(news.payload).items == [InvItem(InvType.WTX, tx.wtxid)]
    lab.run(60)
    assert len(far.take("inv")) == 1
    assert not deaf.take("inv")


def test_a_transaction_is_shown_only_to_who_was_told_of_it(lab: Lab) -> None:
    peer, trusted = lab.peer(), lab.peer(permissions=Permission.NOBAN)
    lab.run(30)
    tx = lab.node.pay()
    assert tx is not None
    for one in (peer, trusted):
        one.take()
        one.inv((InvType.WTX, tx.wtxid), command="getdata")
    assert [message.command for message in peer.take("tx", "notfound")] == ["notfound"]
    assert [message.command for message in trusted.take("tx", "notfound")] == ["tx"]
    lab.run(60)
    peer.take()
    peer.inv((InvType.WTX, tx.wtxid), (InvType.TX, tx.txid), command="getdata")
    with_witness, without = peer.take("tx")
    assert (with_witness.payload, without.payload) == (tx.raw, tx.stripped())
    lab.node.mine()
    peer.take()
    peer.inv((InvType.WITNESS_TX, tx.txid), command="getdata")
    assert peer.take("tx")[0].payload == tx.raw  # in the last block: still given


def test_a_fee_filter_is_respected_and_ours_is_told(lab: Lab) -> None:
    peer = lab.peer()
    assert peer.take("feefilter")
    peer.send("feefilter", FeeFilter(10_000_000).encode())
    assert lab.node.pay() is not None
    lab.run(60)
    assert not peer.take("inv")


def test_an_old_peer_is_spoken_to_in_its_own_words(lab: Lab) -> None:
    peer = lab.peer(protocol=70001, wtxid=False)
    commands = {message.command for message in peer.take()}
    assert not commands & {"wtxidrelay", "sendaddrv2", "sendcmpct", "feefilter", "sendheaders"}
    tx = lab.node.pay()
    assert tx is not None
    lab.run(60)
    (news,) = peer.take("inv")
    assert Inventory.decode(news.payload).items == [InvItem(InvType.TX, tx.txid)]


def test_our_own_transaction_is_told_again_until_somebody_asks_for_it(lab: Lab) -> None:
    lab.run(1)
    tx = lab.node.pay()
    assert tx is not None
    lab.node.pool.set_unbroadcast(tx.txid)
    lab.run(60)  # nobody was there
    peer = lab.peer()
    lab.run(20 * 60)
    (news,) = peer.take("inv")
    assert tx.wtxid in news.payload
    assert lab.node.pool.unbroadcast() == {tx.txid}
    peer.inv((InvType.WTX, tx.wtxid), command="getdata")
    assert not lab.node.pool.unbroadcast()


def test_nothing_but_the_handshake_goes_out_before_its_end(lab: Lab) -> None:
    peer = lab.peer(ConnectionType.OUTBOUND_FULL_RELAY, handshake=False)
    lab.node.mine()
    lab.run(5)
    assert [message.command for message in peer.take()] == ["version"]
    peer.shake_hands()
    assert [message.command for message in peer.take()][:4] == ["wtxidrelay", "sendaddrv2", "verack", "sendcmpct"]


# -- compact filters --


def test_filters_are_served_from_the_index(lab: Lab) -> None:
    chain = lab.node.chain
    index = BlockFilterIndex(MemoryKV(), lab.params)
    steps = chain.steps_after(index.best, 100, with_undo=True)
    assert all(isinstance(step, BlockConnected) for step in steps)
    index.advance(steps)
    lab.node.processing.serving._filters = FilterService(chain, index)
    peer = lab.peer()
    peer.take()

    def ask(command: str, start: int | None, stop: bytes) -> None:
        peer.send(command, b"\0" + (b"" if start is None else start.to_bytes(4, "little")) + stop)

    ask("getcfheaders", 0, hash_at(lab, 12))
    (answer,) = peer.take("cfheaders")
    reader = Reader(answer.payload)
    assert (reader.u8(), reader.take(32), reader.take(32)) == (0, hash_at(lab, 12), ZERO_HASH)
    header = ZERO_HASH
    hashes = [reader.take(32) for _ in range(reader.compact_size())]
    for one in hashes:
        header = sha256d(one + header)
    assert header == index.header(hash_at(lab, 12))
    ask("getcfilters", 3, hash_at(lab, 6))
    filters = peer.take("cfilter")
    assert len(filters) == 4
    for height, message in enumerate(filters, 3):
        assert message.payload[1:33] == hash_at(lab, height)
        assert sha256d(message.payload[34:]) == hashes[height]
    ask("getcfcheckpt", None, hash_at(lab, 12))
    assert peer.take("cfcheckpt")[0].payload == b"\0" + hash_at(lab, 12) + b"\0"
    lab.node.mine()
    ask("getcfilters", 13, lab.node.tip)
    assert not peer.take("cfilter")  # the index is not there yet
    assert peer.closed is None
    ask("getcfilters", 7, hash_at(lab, 6))
    assert peer.closed is not None


def test_a_pruned_node_does_not_give_what_it_did_not_promise() -> None:
    lab = Lab(blocks=295)
    lab.node.processing.services = Services.NETWORK_LIMITED | Services.WITNESS
    peer = lab.peer()
    peer.take()
    peer.send("getblocks", Locator([lab.params.genesis.hash], bytes(32)).encode())
    assert len(Inventory.decode(peer.take("inv")[0].payload).items) == 288
    peer.inv((InvType.WITNESS_BLOCK, hash_at(lab, 6)), command="getdata")
    assert peer.take("block")
    peer.inv((InvType.WITNESS_BLOCK, hash_at(lab, 4)), command="getdata")
    assert peer.closed is not None
    assert "NODE_NETWORK_LIMITED" in peer.closed


def test_history_is_not_served_once_the_upload_target_is_used_up(lab: Lab) -> None:
    lab.node.processing.may_serve_history = lambda: False
    peer = lab.peer()
    peer.inv((InvType.WITNESS_BLOCK, lab.node.tip), command="getdata")
    assert peer.closed is None
    lab.clock.ms += 10 * 86_400_000
    lab.node.mine()
    peer = lab.peer()
    peer.inv((InvType.WITNESS_BLOCK, hash_at(lab, 3)), command="getdata")
    assert peer.closed == "historical block serving limit reached"
