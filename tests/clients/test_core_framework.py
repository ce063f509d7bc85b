"""What Bitcoin Core's own functional test framework does to a node, step by step."""

from pathlib import Path

import pytest

from gldnode.consensus.check_block import coinbase_height_script
from gldnode.mining.generate import solve
from gldnode.primitives.block import make_block, make_header, parse_block
from gldnode.primitives.tx import NULL_OUTPOINT, TxIn, TxOut, make_tx
from tests.support.core_framework import KEYS, CoreNode, copy_chain
from tests.support.core_peer import Peer, wait_for
from tests.support.daemon import RpcFailure, run_cli

GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"


def test_the_chain_is_bitcoins_regtest(node: CoreNode) -> None:
    assert node.rpc("getblockhash", 0) == GENESIS
    header = node.rpc("getblockheader", GENESIS)
    assert (header["bits"], header["nTx"]) == ("207fffff", 1)
    info = node.rpc("getblockchaininfo")
    assert {"blocks", "headers", "bestblockhash", "initialblockdownload"} <= set(info)
    assert info["blocks"] == info["headers"] == 200
    assert info["initialblockdownload"] is False
    deployments = node.rpc("getdeploymentinfo")["deployments"]
    assert {name: deployments[name]["active"] for name in ("bip34", "csv", "segwit", "taproot")} == dict.fromkeys(
        ("bip34", "csv", "segwit", "taproot"), True
    )
    assert node.rpc("getblock", node.rpc("getblockhash", 150), 2)["tx"][0]["vout"][0]["value"] == 25  # halving


def test_only_known_folders_and_files_are_in_the_chains_folder(node: CoreNode) -> None:
    folders = {entry.name for entry in node.chain_path.iterdir() if entry.is_dir()}
    assert folders <= {"blocks", "chainstate", "indexes", "wallets", "fees"}
    assert list((node.chain_path / "wallets").iterdir()) == []
    assert b"Setting" in node.debug_log


def test_calls_of_both_generations_of_the_framework(node: CoreNode) -> None:
    for head in (True, False):
        node.head = head
        height = node.rpc("getblockcount")
        assert node.rpc("getblockhash", height=height) == node.rpc("getbestblockhash")
        assert node.rpc("getblock", node.rpc("getbestblockhash"), verbosity=0)  # mixed: args and names
        with pytest.raises(RpcFailure) as failed:
            node.rpc("getblockhash", 5000)
        assert (failed.value.code, failed.value.message) == (-8, "Block height out of range")
        with pytest.raises(RpcFailure) as failed:
            node.rpc("nosuchmethod")
        assert failed.value.code == -32601
    assert node.post("/", '{"jsonrpc": "2.0", "method": "getblockcount", "params": []}')[0] == 204
    assert node.post("/", '{"version": "1.1", "method": 5, "id": 1}')[0] == 400
    assert node.post("/", '{"version": "1.1", "method": "nosuchmethod", "id": 1}')[0] == 404
    status, data = node.post(
        "/", '[{"method": "getblockcount", "id": 2}, {"jsonrpc": "2.0", "method": "uptime", "id": 1}]'
    )
    assert status == 200
    assert data.index(b'"id":2') < data.index(b'"id":1')
    node.head = True


def test_reject_reasons_stand_in_the_log(node: CoreNode) -> None:
    before = len(node.debug_log)
    best = parse_block(bytes.fromhex(node.rpc("getblock", node.rpc("getbestblockhash"), 0)))
    coinbase = make_tx(
        2,
        [TxIn(NULL_OUTPOINT, coinbase_height_script(node.rpc("getblockcount") + 1) + b"\x00", 0xFFFFFFFF)],
        [TxOut(25 * 10**8, b"\x51")],
        0,
    )
    wrong_root = solve(make_header(4, best.hash, bytes(32), best.header.time + 1, best.header.bits, 0))
    assert wrong_root is not None
    assert node.rpc("submitblock", make_block(wrong_root, [coinbase]).raw.hex()) == "bad-txnmrklroot"
    nonstandard = "0200000001" + "77" * 32 + "0000000000ffffffff0100f2052a010000000151" + "00000000"
    with Peer(node.p2p_port) as peer:
        high = make_header(4, best.hash, coinbase.txid, best.header.time + 1, best.header.bits, 0)
        while int.from_bytes(high.hash, "little") >> 255 == 0:
            high = make_header(4, best.hash, coinbase.txid, best.header.time + 1, best.header.bits, high.nonce + 1)
        peer.send("block", make_block(high, [coinbase]).raw)
        wait_for(lambda: b"high-hash" in node.debug_log[before:])
    with Peer(node.p2p_port) as peer:  # the last one was sent away
        peer.send("tx", bytes.fromhex(nonstandard))
        wait_for(lambda: b"scriptpubkey" in node.debug_log[before:])
    assert b"bad-txnmrklroot" in node.debug_log[before:]


def test_a_raw_peer_is_seen_and_served(node: CoreNode) -> None:
    with Peer(node.p2p_port) as peer:
        assert peer.version >= 60001
        wait_for(
            lambda: [set(one["bytesrecv_per_msg"]) >= {"verack"} for one in node.rpc("getpeerinfo")] == [True]
        )
        (seen,) = node.rpc("getpeerinfo")
        assert seen["subver"] == "/python-p2p-tester:0.0.3/"
        assert (seen["addr"], seen["inbound"]) == (peer.name, True)
        assert seen["addrbind"] == f"127.0.0.1:{node.p2p_port}"
        peer.send("ping", bytes(8))
        assert peer.wait_for("pong") == bytes(8)
        peer.send("getheaders", (70016).to_bytes(4, "little") + b"\x01" + bytes.fromhex(GENESIS)[::-1] + bytes(32))
        assert peer.wait_for("headers")[0] >= 200
        best = bytes.fromhex(node.rpc("getbestblockhash"))[::-1]
        peer.send("getdata", b"\x01" + (0x40000002).to_bytes(4, "little") + best)
        assert parse_block(peer.wait_for("block")).hash == best


def test_an_unsolicited_block_is_taken(node: CoreNode) -> None:
    template = node.rpc("generateblock", KEYS[0], [], False)
    with Peer(node.p2p_port) as peer:
        peer.send("block", bytes.fromhex(template["hex"]))
        wait_for(lambda: node.rpc("getbestblockhash") == template["hash"])


def test_nodes_connect_and_relay_with_their_names(
    wrapper: Path, node: CoreNode, cached: CoreNode, tmp_path: Path
) -> None:
    other = CoreNode(wrapper, tmp_path / "node1", 1, head=True)
    copy_chain(cached, other)
    try:
        other.run()
        other.rpc("addnode", f"127.0.0.1:{node.p2p_port}", "onetry")
        wait_for(lambda: any("testnode0" in peer["subver"] for peer in other.rpc("getpeerinfo")))
        wait_for(lambda: any("testnode1" in peer["subver"] for peer in node.rpc("getpeerinfo")))
        wait_for(lambda: all(peer["bytesrecv_per_msg"].get("pong") for peer in other.rpc("getpeerinfo")))
        assert all(peer["version"] for peer in other.rpc("getpeerinfo"))
        wait_for(lambda: other.rpc("getbestblockhash") == node.rpc("getbestblockhash"))
        mined = node.rpc("generatetoaddress", 3, KEYS[1])[-1]
        wait_for(lambda: other.rpc("getbestblockhash") == mined)
        shown = run_cli(
            f"-datadir={other.datadir}", "-chain=btc-regtest", f"-rpcport={other.rpc_port}", "-netinfo"
        )
        assert "testnode0" in shown.stdout
        assert "out 1, total 1" in shown.stdout
        peer = next(one for one in other.rpc("getpeerinfo"))
        other.rpc("disconnectnode", nodeid=peer["id"])
        wait_for(lambda: other.rpc("getpeerinfo") == [])
        other.stop()
    finally:
        other.kill()


def test_at_last_restarts_with_other_flags_kill_and_reindex(node: CoreNode) -> None:
    best = node.rpc("getbestblockhash")
    node.kill()
    node.run("-txindex", "-minrelaytxfee=0.0001", "-maxmempool=5")
    assert node.rpc("getbestblockhash") == best
    assert float(node.rpc("getmempoolinfo")["minrelaytxfee"]) == 0.0001
    wait_for(lambda: node.rpc("getindexinfo")["txindex"]["synced"])
    node.stop()
    node.run("-reindex")
    wait_for(lambda: node.rpc("getbestblockhash") == best)
    node.stop()
    node.start("-prune=-1")
    assert node.wait_until_ended() != 0
    assert node.stderr == "Error: Prune cannot be configured with a negative value.\n"
