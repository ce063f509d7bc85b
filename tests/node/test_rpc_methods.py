"""Methods that change the chain or the mempool, on a daemon of their own."""

import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from gldnode.consensus.check_block import coinbase_height_script
from gldnode.consensus.merkle import block_merkle_root
from gldnode.mining.generate import solve
from gldnode.primitives.block import make_block, make_header
from gldnode.primitives.tx import NULL_OUTPOINT, TxIn, TxOut, make_tx, parse_tx
from tests.support.daemon import DaemonProcess
from tests.support.rpc_calls import coinbase_of, failure

ADDRESS = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
ANYONE = "raw(51)"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    base = tmp_path_factory.mktemp("methods")
    process = DaemonProcess(base, "-txindex", "-acceptnonstdtxn=1", network="btc-regtest").start()
    try:
        process.call("generatetodescriptor", 105, ANYONE)
        yield process
    finally:
        process.stop()


def test_a_raw_transaction_from_creation_to_proof(node: DaemonProcess) -> None:
    spent = coinbase_of(node, 1)
    raw = node.call("createrawtransaction", [{"txid": spent, "vout": 0}], [{ADDRESS: 49.999}])
    txid = node.call("decoderawtransaction", raw)["txid"]
    tested = node.call("testmempoolaccept", [raw])[0]
    assert (tested["txid"], tested["allowed"], tested["fees"]["base"]) == (txid, True, Decimal("0.00100000"))
    assert node.call("sendrawtransaction", raw, 0) == txid
    assert node.call("sendrawtransaction", raw, 0) == txid  # once more is a success
    assert node.call("getrawmempool") == [txid]
    assert node.call("gettxout", spent, 0) is None
    assert node.call("gettxout", spent, 0, False)["confirmations"] == 105
    assert node.call("gettxout", txid, 0)["confirmations"] == 0
    assert node.call("gettxspendingprevout", [{"txid": spent, "vout": 0}])[0]["spendingtxid"] == txid
    assert node.call("getmempoolentry", txid)["fees"]["base"] == Decimal("0.00100000")
    other = node.call("createrawtransaction", [{"txid": spent, "vout": 0}], [{ADDRESS: 49.9995}])
    code, message = failure(node, "sendrawtransaction", other)
    assert (code, message.split(",")[0]) == (-26, "insufficient fee")
    block = node.call("generatetodescriptor", 1, ANYONE)[0]
    assert failure(node, "sendrawtransaction", raw) == (-27, "Transaction outputs already in utxo set")
    found = node.call("getrawtransaction", txid, 2)
    assert (found["blockhash"], found["confirmations"], found["fee"]) == (block, 1, Decimal("0.00100000"))
    assert found["vin"][0]["prevout"]["height"] == 1
    proof = node.call("gettxoutproof", [txid])
    assert node.call("verifytxoutproof", proof) == [txid]
    assert node.call("getblockstats", block, ["totalfee", "txs"]) == {"totalfee": 100_000, "txs": 2}


@pytest.mark.parametrize(
    ("method", "params", "code", "message"),
    [
        ("sendrawtransaction", ["zz"], -22, "TX decode failed. Make sure the tx has at least one input."),
        ("sendrawtransaction", ["00", 1], -22, "TX decode failed"),
        ("testmempoolaccept", [[]], -8, "Array must contain between 1 and 25 transactions."),
        ("createrawtransaction", [[], {ADDRESS: -1}], -3, "Amount out of range"),
        ("createrawtransaction", [[], {"bad": 1}], -5, "Invalid Bitcoin address: bad"),
        ("createrawtransaction", [[{"txid": "00"}], {}], -8, "txid must be of length 64 (not 2, for '00')"),
        ("createrawtransaction", [[{"txid": "00" * 32}], {}], -8, "Invalid parameter, missing vout key"),
        ("createrawtransaction", [[], [{"data": "zz"}]], -8, "Data must be hexadecimal string (not 'zz')"),
        ("getblockheader", ["00" * 32], -5, "Block not found"),
        ("getmempoolentry", ["00" * 32], -5, "Transaction not in mempool"),
        ("getblock", ["00" * 32, "x"], -3, "JSON value of type string is not of expected type number"),
        ("generatetoaddress", [1, "bad"], -5, "Error: Invalid address"),
        ("gettxoutsetinfo", ["odd"], -8, "'odd' is not a valid hash_type"),
        ("getblockstats", [-1], -8, "Target block height -1 is negative"),
        ("getblockstats", [5, ["odd"]], -8, "Invalid selected statistic 'odd'"),
        ("scantxoutset", ["odd"], -8, "Invalid action 'odd'"),
        ("submitblock", ["00"], -22, "Block decode failed"),
        ("pruneblockchain", [5], -1, "Cannot prune blocks because node is not in prune mode."),
        ("getblockfilter", ["00" * 32], -1, "Index is not enabled for filtertype basic"),
        ("logging", [["odd"]], -8, "unknown logging category odd"),
        ("waitforblockheight", [1, -1], -1, "Negative timeout"),
        ("estimatesmartfee", [5, "odd"], -8, "Invalid estimate_mode parameter"),
        ("getinfo", [], -32601, "Method not found"),
        ("generate", [1], -1, "generate"),
    ],
)
def test_bad_arguments_get_cores_code_and_sentence(
    node: DaemonProcess, method: str, params: list[Any], code: int, message: str
) -> None:
    found = failure(node, method, *params)
    assert found[0] == code
    assert message in found[1]


def test_invalidating_and_reconsidering(node: DaemonProcess) -> None:
    height, tip = node.call("getblockcount"), node.call("getbestblockhash")
    node.call("invalidateblock", tip)
    assert node.call("getblockcount") == height - 1
    assert node.call("getblockheader", tip)["confirmations"] == -1
    assert {one["status"] for one in node.call("getchaintips")} == {"active", "invalid"}
    node.call("reconsiderblock", tip)
    assert node.call("getbestblockhash") == tip
    node.call("preciousblock", tip)
    assert node.call("verifychain", 4, 0) is True


def test_waiting_for_a_block(node: DaemonProcess) -> None:
    height = node.call("getblockcount")
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.append(node.call("waitforblockheight", height + 1, 20_000)))
    waiter.start()
    mined = node.call("generatetodescriptor", 1, ANYONE)
    waiter.join(20)
    assert found == [{"hash": mined[0], "height": height + 1}]
    assert node.call("waitfornewblock", 10)["height"] == height + 1


def test_a_miner_builds_on_the_template(node: DaemonProcess) -> None:
    assert failure(node, "getblocktemplate", {})[0] == -8
    template = node.call("getblocktemplate", {"rules": ["segwit"]})
    script = coinbase_height_script(template["height"]) + b"\x00"
    commitment = bytes.fromhex(template["default_witness_commitment"])
    outputs = [TxOut(template["coinbasevalue"], b"\x51"), TxOut(0, commitment)]
    coinbase = make_tx(2, [TxIn(NULL_OUTPOINT, script, 0xFFFFFFFF)], outputs)
    txs = [coinbase, *(parse_tx(bytes.fromhex(one["data"])) for one in template["transactions"])]
    prev = bytes.fromhex(template["previousblockhash"])[::-1]
    bits = int(template["bits"], 16)
    empty = make_block(make_header(template["version"], prev, bytes(32), template["curtime"], bits, 0), txs)
    root, _ = block_merkle_root(empty)
    header = solve(make_header(template["version"], prev, root, template["curtime"], bits, 0))
    assert header is not None
    block = make_block(header, txs).raw.hex()
    assert node.call("submitblock", block) is None  # the coinbase's witness is added for the miner
    assert node.call("getbestblockhash") == header.hash[::-1].hex()
    assert node.call("submitblock", block) == "duplicate"


def test_blocks_of_chosen_transactions(node: DaemonProcess) -> None:
    raw = node.call("createrawtransaction", [{"txid": coinbase_of(node, 2), "vout": 0}], [{ADDRESS: 50}])
    made = node.call("generateblock", ANYONE, [raw])
    assert node.call("getblock", made["hash"])["nTx"] == 2
    code, message = failure(node, "generateblock", ANYONE, [raw])
    assert code == -25
    assert message.startswith("TestBlockValidity failed: bad-txns-BIP30")


def test_the_set_of_coins(node: DaemonProcess) -> None:
    info = node.call("gettxoutsetinfo", "none")
    scan = node.call("scantxoutset", "start", [ANYONE, f"addr({ADDRESS})"])
    assert scan["success"] is True
    assert scan["total_amount"] == info["total_amount"]
    assert {coin["desc"].partition("#")[0] for coin in scan["unspents"]} == {ANYONE, f"addr({ADDRESS})"}
    assert node.call("scantxoutset", "status") is None
    assert node.call("scantxoutset", "abort") is False


def test_packages(node: DaemonProcess) -> None:
    parent = node.call("createrawtransaction", [{"txid": coinbase_of(node, 3), "vout": 0}], [{ADDRESS: 49.999}])
    result = node.call("submitpackage", [parent])
    assert result["package_msg"] == "success"
    assert node.call("prioritisetransaction", node.call("decoderawtransaction", parent)["txid"], None, 5) is True
    assert [one["fee_delta"] for one in node.call("getprioritisedtransactions").values()] == [5]
    assert node.call("savemempool")["filename"].endswith("mempool.dat")
