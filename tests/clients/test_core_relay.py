"""What Core's test framework relies on between peers: headers first, blocks, transactions, steered delays."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gldnode.mining.generate import solve
from gldnode.primitives.block import Block, make_header, parse_block
from tests.support.core_framework import KEYS, SECRETS, CoreNode, copy_chain
from tests.support.core_peer import Peer, inventory, read_inventory, wait_for

TX, BLOCK, WTX, WITNESS_TX, WITNESS_BLOCK = 1, 2, 5, 0x40000001, 0x40000002


@pytest.fixture(scope="module")
def node(wrapper: Path, cached: CoreNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreNode]:
    """One for all tests: each spends coins of its own."""
    with running(wrapper, cached, tmp_path_factory.mktemp("relay") / "node0") as one:
        yield one


@pytest.fixture(scope="module")
def trusting(wrapper: Path, cached: CoreNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreNode]:
    """A node that trusts its peers on this machine."""
    folder = tmp_path_factory.mktemp("trusting") / "node0"
    with running(wrapper, cached, folder, "-whitelist=noban,mempool@127.0.0.1") as one:
        yield one


@contextmanager
def running(wrapper: Path, cached: CoreNode, folder: Path, *flags: str) -> Iterator[CoreNode]:
    one = CoreNode(wrapper, folder, head=True)
    copy_chain(cached, one)
    try:
        one.run(*flags)
        one.rpc("generatetoaddress", 1, KEYS[0])
        yield one
        one.stop()
    finally:
        one.kill()


def next_block(node: CoreNode) -> Block:
    """A block that the node has made but not taken."""
    return parse_block(bytes.fromhex(node.rpc("generateblock", KEYS[0], [], False)["hex"]))


def tip(node: CoreNode) -> bytes:
    return bytes.fromhex(node.rpc("getbestblockhash"))[::-1]


def headers(*blocks: Block) -> bytes:
    return bytes([len(blocks)]) + b"".join(block.header.serialize() + b"\0" for block in blocks)


def spend(node: CoreNode, height: int) -> tuple[bytes, bytes]:
    """Txid and bytes of a spend of the coinbase at `height`, signed and not sent."""
    block = node.rpc("getblock", node.rpc("getblockhash", height), 2)
    output = block["tx"][0]["vout"][0]
    pays = str(output["value"] / 2 * 2 - output["value"] / 1000)
    raw = node.rpc("createrawtransaction", [{"txid": block["tx"][0]["txid"], "vout": 0}], [{KEYS[1]: pays}])
    signed = node.rpc("signrawtransactionwithkey", raw, SECRETS)
    assert signed["complete"] is True
    txid = node.rpc("decoderawtransaction", signed["hex"])["txid"]
    return bytes.fromhex(txid)[::-1], bytes.fromhex(signed["hex"])


def test_a_header_is_followed_by_a_request_for_its_block(node: CoreNode) -> None:
    block, block_height = next_block(node), node.rpc("getblockcount") + 1
    with Peer(node.p2p_port) as peer:
        peer.send("headers", headers(block))
        ((kind, wanted),) = read_inventory(peer.wait_for("getdata"))
        assert (kind, wanted) == (WITNESS_BLOCK, block.hash)
        assert node.rpc("getpeerinfo")[0]["inflight"] == [block_height]
        peer.send("block", block.raw)
        wait_for(lambda: tip(node) == block.hash)
        assert node.rpc("getpeerinfo")[0]["synced_headers"] == block_height


def test_headers_that_do_not_connect_and_announced_blocks_are_asked_about(node: CoreNode) -> None:
    first, best = next_block(node), tip(node)
    parent = bytes.fromhex(node.rpc("getblockheader", best[::-1].hex())["previousblockhash"])[::-1]
    with Peer(node.p2p_port) as peer:
        peer.wait_for("getheaders")
        peer.send("headers", headers())  # its first question is answered
        peer.sync()
        peer.send("inv", inventory((BLOCK, first.hash)))
        assert parent in peer.wait_for("getheaders")  # one back, so that there is an answer
        peer.send("headers", headers())
        orphan = make_header(4, b"\x01" * 32, bytes(32), first.header.time, first.header.bits, 0)
        solved = solve(orphan)
        assert solved is not None
        peer.send("headers", b"\x01" + solved.serialize() + b"\0")
        assert parent in peer.wait_for("getheaders")
        assert tip(node) == best


def test_new_blocks_are_told_by_inv_or_by_headers_as_a_peer_likes(node: CoreNode) -> None:
    with Peer(node.p2p_port) as by_inv, Peer(node.p2p_port) as by_headers:
        for peer in (by_inv, by_headers):
            peer.send("getheaders", (70016).to_bytes(4, "little") + b"\x01" + tip(node) + bytes(32))
            peer.sync()
        by_headers.send("sendheaders")
        by_headers.send(
            "headers", headers(parse_block(bytes.fromhex(node.rpc("getblock", tip(node)[::-1].hex(), 0))))
        )
        by_headers.sync()
        mined = bytes.fromhex(node.rpc("generatetoaddress", 1, KEYS[0])[0])[::-1]
        assert read_inventory(by_inv.wait_for("inv")) == [(BLOCK, mined)]
        payload = by_headers.wait_for("headers")
        assert payload[0] == 1
        assert len(payload) == 82
        assert "inv" not in by_headers.sync()


def test_what_is_not_there_is_answered_with_notfound(node: CoreNode) -> None:
    with Peer(node.p2p_port) as peer:
        unknown = [(WITNESS_TX, b"\x11" * 32), (WTX, b"\x22" * 32)]
        peer.send("getdata", inventory(*unknown))
        assert read_inventory(peer.wait_for("notfound")) == unknown
        peer.send("getdata", inventory((WITNESS_BLOCK, b"\x33" * 32)))
        assert "block" not in peer.sync()  # an unknown block is passed over in silence


def test_the_handshake_tells_what_the_framework_expects(node: CoreNode) -> None:
    with Peer(node.p2p_port) as peer:
        peer.sync()
        assert peer.seen[0] == "version"
        assert {"wtxidrelay", "sendaddrv2"} <= set(peer.seen[: peer.seen.index("verack")])
        assert {"sendcmpct", "feefilter"} <= set(peer.seen)
        (info,) = node.rpc("getpeerinfo")
        assert info["relaytxes"] is True
    with Peer(node.p2p_port, relay=False) as silent:
        silent.sync()
        assert "feefilter" in silent.seen
        wait_for(lambda: [one["relaytxes"] for one in node.rpc("getpeerinfo")] == [False])


def test_announcements_of_transactions_wait_for_the_clock_that_the_framework_sets(node: CoreNode) -> None:
    now = int(time.time())
    node.rpc("setmocktime", now)
    with Peer(node.p2p_port) as peer:
        peer.sync()
        node.rpc("setmocktime", now + 60)  # the first announcement may be due at once
        peer.sync()
        time.sleep(0.5)
        txid, raw = spend(node, 1)
        node.rpc("sendrawtransaction", raw.hex(), 0)
        assert peer.get("inv", 2) is None, "the clock stands still"
        node.rpc("setmocktime", now + 120)
        (item,) = read_inventory(peer.wait_for("inv"))
        assert item == (WTX, txid)  # without a witness both ids are the same
        peer.send("getdata", inventory((WTX, txid)))
        assert peer.wait_for("tx") == raw
        node.rpc("setmocktime", 0)


def test_a_noban_peer_is_told_at_once(trusting: CoreNode) -> None:
    node = trusting
    node.rpc("setmocktime", int(time.time()))
    with Peer(node.p2p_port) as peer:
        peer.sync()
        assert node.rpc("getpeerinfo")[0]["permissions"] == ["noban", "mempool", "download"]
        txid, raw = spend(node, 2)
        node.rpc("sendrawtransaction", raw.hex(), 0)
        assert read_inventory(peer.wait_for("inv", 5)) == [(WTX, txid)]
        other_txid, other_raw = spend(node, 3)
        peer.send("tx", other_raw)
        wait_for(lambda: other_txid[::-1].hex() in node.rpc("getrawmempool"), 5)


def test_a_filter_by_fee_keeps_what_pays_less_from_being_announced(trusting: CoreNode) -> None:
    node = trusting
    with Peer(node.p2p_port) as peer:
        peer.send("feefilter", (10_000_000_000).to_bytes(8, "little"))
        peer.sync()
        _, raw = spend(node, 4)
        node.rpc("sendrawtransaction", raw.hex(), 0)
        assert peer.get("inv", 2) is None
        wait_for(lambda: node.rpc("getpeerinfo")[0]["minfeefilter"] > 99)


def test_the_pool_is_listed_to_who_may_ask(node: CoreNode, trusting: CoreNode) -> None:
    with Peer(node.p2p_port) as stranger:
        stranger.send("mempool")
        assert stranger.is_hung_up()
    txid, raw = spend(trusting, 5)
    trusting.rpc("sendrawtransaction", raw.hex(), 0)
    with Peer(trusting.p2p_port) as friend:
        friend.send("mempool")
        assert (WTX, txid) in read_inventory(friend.wait_for("inv"))


def test_orphans_are_shown_with_who_sent_them(node: CoreNode) -> None:
    txid, raw = spend(node, 6)
    coin = node.rpc("decoderawtransaction", raw.hex())["vout"][0]
    child = node.rpc("createrawtransaction", [{"txid": txid[::-1].hex(), "vout": 0}], [{KEYS[0]: "24.9"}])
    previous = {"txid": txid[::-1].hex(), "vout": 0, "scriptPubKey": coin["scriptPubKey"]["hex"]}
    signed = node.rpc("signrawtransactionwithkey", child, SECRETS, [previous])["hex"]
    child_id = node.rpc("decoderawtransaction", signed)["txid"]
    with Peer(node.p2p_port) as peer:
        peer.send("tx", bytes.fromhex(signed))
        wait_for(lambda: node.rpc("getorphantxs"))
        (orphan,) = node.rpc("getorphantxs", 2)
        assert orphan["hex"] == signed
        assert orphan["from"] == [node.rpc("getpeerinfo")[0]["id"]]
        assert read_inventory(peer.wait_for("getdata")) == [(WITNESS_TX, txid)]
        peer.send("tx", raw)
        wait_for(lambda: {txid[::-1].hex(), child_id} <= set(node.rpc("getrawmempool")))
        assert node.rpc("getorphantxs") == []


def test_messages_may_be_sent_by_rpc(node: CoreNode) -> None:
    with Peer(node.p2p_port) as peer:
        peer.sync()
        node.rpc("sendmsgtopeer", node.rpc("getpeerinfo")[0]["id"], "addr", "00")
        assert peer.wait_for("addr") == b"\0"
