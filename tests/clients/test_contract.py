"""The requests that real clients send, word for word, and the exact types that they parse."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import PROJECT, DaemonProcess, RpcFailure
from tests.support.shapes import AMOUNT, HASH, HEX, NUMBER, anything_of, mismatch

GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
ZERO = "00" * 32

SCRIPT = {"asm": str, "desc": str, "hex": HEX, "type": str, "address?": str}
HEADER = {
    "hash": HASH,
    "confirmations": int,
    "height": int,
    "version": int,
    "versionHex": lambda text: len(text) == 8 and HEX(text),
    "merkleroot": HASH,
    "time": int,
    "mediantime": int,
    "nonce": int,
    "bits": "207fffff",
    "target": HASH,
    "difficulty": NUMBER,
    "chainwork": HASH,
    "nTx": int,
    "previousblockhash?": HASH,
    "nextblockhash?": HASH,
}
BLOCK = HEADER | {"size": int, "strippedsize": int, "weight": int, "coinbase_tx": dict}
VIN = {
    "coinbase?": HEX,
    "txid?": HASH,
    "vout?": int,
    "scriptSig?": {"asm": str, "hex": HEX},
    "txinwitness?": [HEX],
    "sequence": int,
}
TX = {
    "txid": HASH,
    "hash": HASH,
    "version": int,
    "size": int,
    "vsize": int,
    "weight": int,
    "locktime": int,
    "vin": [VIN],
    "vout": [{"value": AMOUNT, "n": int, "scriptPubKey": SCRIPT}],
    "hex": HEX,
}
MINED_TX = TX | {
    "in_active_chain?": bool,
    "blockhash": HASH,
    "confirmations": int,
    "time": int,
    "blocktime": int,
    "fee?": AMOUNT,
}
CHAIN_INFO = {
    "chain": "regtest",
    "blocks": int,
    "headers": int,
    "bestblockhash": HASH,
    "bits": "207fffff",
    "target": HASH,
    "difficulty": NUMBER,
    "time": int,
    "mediantime": int,
    "verificationprogress": NUMBER,
    "initialblockdownload": False,
    "chainwork": HASH,
    "size_on_disk": int,
    "pruned": False,
    "warnings": [str],
}
NETWORK_INFO = {
    "version": lambda number: number >= 310000,
    "subversion": lambda text: text.startswith("/Satoshi:31.0.0") and text.endswith("/"),
    "protocolversion": int,
    "localservices": lambda text: len(text) == 16 and HEX(text),
    "localservicesnames": [str],
    "localrelay": True,
    "timeoffset": int,
    "networkactive": bool,
    "connections": int,
    "connections_in": int,
    "connections_out": int,
    "networks": [
        {"name": str, "limited": bool, "reachable": bool, "proxy": str, "proxy_randomize_credentials": bool}
    ],
    "relayfee": AMOUNT,
    "incrementalfee": AMOUNT,
    "localaddresses": [{"address": str, "port": int, "score": int}],
    "warnings": [str],
}
MEMPOOL_INFO = {
    "loaded": True,
    "size": int,
    "bytes": int,
    "usage": int,
    "total_fee": AMOUNT,
    "maxmempool": int,
    "mempoolminfee": AMOUNT,
    "minrelaytxfee": AMOUNT,
    "incrementalrelayfee": AMOUNT,
    "unbroadcastcount": int,
    "fullrbf": True,
    "permitbaremultisig?": bool,
    "maxdatacarriersize?": int,
    "limitclustercount?": int,
    "limitclustersize?": int,
    "optimal?": bool,
}
MEMPOOL_ENTRY = {
    "vsize": int,
    "weight": int,
    "time": int,
    "height": int,
    "descendantcount": int,
    "descendantsize": int,
    "ancestorcount": int,
    "ancestorsize": int,
    "wtxid": HASH,
    "chunkweight?": int,
    "fees": {"base": AMOUNT, "modified": AMOUNT, "ancestor": AMOUNT, "descendant": AMOUNT, "chunk?": AMOUNT},
    "depends": [HASH],
    "spentby": [HASH],
    "bip125-replaceable": bool,
    "unbroadcast": bool,
}
ACCEPTED = {
    "txid": HASH,
    "wtxid": HASH,
    "allowed": True,
    "vsize": int,
    "fees": {"base": AMOUNT, "effective-feerate": AMOUNT, "effective-includes": [HASH]},
}
REFUSED = {"txid": HASH, "wtxid": HASH, "allowed": False, "reject-reason": str, "reject-details?": str}
TXOUT = {"bestblock": HASH, "confirmations": int, "value": AMOUNT, "scriptPubKey": SCRIPT, "coinbase": bool}


class Chain:
    """A daemon with what the requests need: a wallet, a stale block, confirmed and unconfirmed transactions."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        daemon.call("createwallet", "w")
        self.address = daemon.call("getnewaddress")
        daemon.call("generatetoaddress", 109, self.address)
        self.stale = daemon.call("generatetoaddress", 1, daemon.call("getnewaddress"))[0]
        daemon.call("invalidateblock", self.stale)
        daemon.call("generatetoaddress", 2, self.address)
        daemon.call("reconsiderblock", self.stale)
        self.mined = daemon.call("sendtoaddress", self.address, "1.5")
        daemon.call("generatetoaddress", 1, self.address)
        self.pooled = daemon.call("sendtoaddress", self.address, "0.25")
        self.best = daemon.call("getbestblockhash")

    def unsent(self, fee: str = "0.0001") -> str:
        """A signed transaction that nobody has seen."""
        coin = max(self.daemon.call("listunspent", 1), key=lambda one: one["amount"])
        raw = self.daemon.call(
            "createrawtransaction",
            [{"txid": coin["txid"], "vout": coin["vout"]}],
            {self.address: str(coin["amount"] - Decimal(fee))},
        )
        return str(self.daemon.call("signrawtransactionwithwallet", raw)["hex"])


FLAGS = ("-txindex", "-txospenderindex", "-rest")


@pytest.fixture(scope="module")
def chain(bitcoind: DaemonProcess) -> Chain:
    return Chain(bitcoind)


def check(daemon: DaemonProcess, replay: Sequence[tuple[str, list[Any], Any]]) -> None:
    """Send every request; its answer has the shape, or is the error (code, text)."""
    for method, params, shape in replay:
        if isinstance(shape, tuple):
            with pytest.raises(RpcFailure) as failed:
                daemon.call(method, *params)
            assert (failed.value.code, failed.value.message) == shape, (method, params)
            continue
        difference = mismatch(daemon.call(method, *params), shape)
        assert difference is None, f"{method} {params}: {difference}"


def batch(chain: Chain, calls: Sequence[tuple[str, list[Any]]], **version: str) -> list[Any]:
    """One HTTP request of many calls, as ElectrumX and btcd send it; replies in request order."""
    body = [{"method": method, "params": params, "id": n, **version} for n, (method, params) in enumerate(calls)]
    status, headers, data = chain.daemon.request(
        json.dumps(body), headers={"Content-Type": "application/octet-stream"}
    )
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    replies = json.loads(data, parse_float=Decimal)
    assert [reply["id"] for reply in replies] == list(range(len(calls)))
    return list(replies)


def test_electrumx(chain: Chain) -> None:
    heights = [("getblockhash", [height]) for height in range(111)]
    replies = batch(chain, heights)
    assert all(set(reply) == {"result", "error", "id"} for reply in replies)
    hashes = [reply["result"] for reply in replies]
    assert hashes[0] == GENESIS
    blocks = batch(chain, [("getblock", [block, False]) for block in hashes])
    assert all(HEX(reply["result"]) for reply in blocks)
    mixed = batch(chain, [("getrawtransaction", [chain.mined, 0]), ("getrawtransaction", [ZERO, 0])])
    assert HEX(mixed[0]["result"])
    assert mixed[1]["error"]["code"] == -5
    check(
        chain.daemon,
        [
            ("getnetworkinfo", [], NETWORK_INFO),
            ("getblockcount", [], int),
            ("getmempoolinfo", [], MEMPOOL_INFO),
            ("getrawmempool", [], [HASH]),
            ("estimatesmartfee", [2], {"errors": [str], "blocks": int, "feerate?": AMOUNT}),
            ("estimatesmartfee", [2, "CONSERVATIVE"], {"errors": [str], "blocks": int, "feerate?": AMOUNT}),
            ("getrawtransaction", [chain.mined, 1], MINED_TX),
            (
                "getindexinfo",
                [],
                {key: {"synced": True, "best_block_height": int} for key in ("txindex", "txospenderindex")},
            ),
        ],
    )
    spent = chain.daemon.call("getrawtransaction", chain.mined, 1)["vin"][0]
    (spender,) = chain.daemon.call(
        "gettxspendingprevout",
        [{"txid": spent["txid"], "vout": spent["vout"]}],
        {"mempool_only": False, "return_spending_tx": False},
    )
    shape = {"txid": HASH, "vout": int, "spendingtxid": chain.mined, "blockhash": HASH}
    assert mismatch(spender, shape) is None, spender


def test_a_thousand_calls_in_one_batch_come_back_in_order(chain: Chain) -> None:
    replies = batch(chain, [("getblockhash", [number % 111]) for number in range(1000)], jsonrpc="2.0")
    assert all(set(reply) == {"jsonrpc", "result", "id"} for reply in replies)
    assert replies[999]["result"] == chain.daemon.call("getblockhash", 999 % 111)
    assert chain.daemon.request("[]")[2].strip() == b"[]"


def test_lnd(chain: Chain) -> None:
    """In the order of its start, then what it does while it runs."""
    tested = chain.unsent()
    check(
        chain.daemon,
        [
            ("getblockhash", [0], GENESIS),
            ("getblockchaininfo", [], CHAIN_INFO),
            ("getinfo", [], (-32601, "Method not found")),
            ("getnetworkinfo", [], NETWORK_INFO),
            (
                "getdeploymentinfo",
                [],
                {
                    "hash": chain.best,
                    "height": int,
                    "script_flags?": lambda flags: "TAPROOT" in flags,
                    "deployments": lambda found: (
                        found["taproot"]["active"] is True
                        and type(found["taproot"]["height"]) is int
                        and type(found["taproot"]["type"]) is str
                    ),
                },
            ),
            ("getzmqnotifications", [], []),
            ("getmempoolinfo", [], MEMPOOL_INFO),
            ("getpeerinfo", [], []),
            ("getrawmempool", [False], [HASH]),
            ("getblockheader", [chain.best, True], HEADER),
            ("getblockheader", [chain.best, False], lambda text: len(text) == 160 and HEX(text)),
            ("getblockheader", [chain.stale, True], HEADER | {"confirmations": -1}),
            ("getblockheader", [ZERO, True], (-5, "Block not found")),
            ("getblock", [chain.best, 0], HEX),
            ("getblock", [chain.stale, 0], HEX),
            ("getblock", [chain.best, 1], BLOCK | {"tx": [HASH]}),
            ("getblock", [chain.stale, 1], BLOCK | {"tx": [HASH], "confirmations": -1}),
            ("getblock", [ZERO, 0], (-5, "Block not found")),
            ("getblockhash", [10_000], (-8, "Block height out of range")),
            ("getrawtransaction", [chain.mined, 0], HEX),
            ("getrawtransaction", [chain.mined, 1], MINED_TX),
            ("getrawtransaction", [chain.pooled, 1], TX | {"fee?": AMOUNT}),
            ("gettxout", [chain.mined, 0, False], TXOUT),
            ("gettxout", [chain.daemon.call("getblock", GENESIS)["tx"][0], 0, False], None),
            ("testmempoolaccept", [[tested], 0], [ACCEPTED]),
            ("gettxspendingprevout", [[{"txid": chain.pooled, "vout": 0}]], [{"txid": HASH, "vout": 0}]),
            ("estimatesmartfee", [6, "ECONOMICAL"], {"errors": [str], "blocks": int, "feerate?": AMOUNT}),
            ("estimatesmartfee", [5000, "CONSERVATIVE"], {"errors": [str], "blocks": int, "feerate?": AMOUNT}),
            ("uptime", [], int),
        ],
    )
    with pytest.raises(RpcFailure) as failed:
        chain.daemon.call("getrawtransaction", ZERO, 1)
    assert failed.value.code == -5
    assert failed.value.message.startswith("No such mempool or blockchain transaction")


def test_lnd_reads_the_mempool_in_batches_over_connections_that_close(chain: Chain) -> None:
    (listed,) = batch(chain, [("getrawmempool", [])], jsonrpc="2.0")
    replies = batch(chain, [("getrawtransaction", [txid, 0]) for txid in listed["result"]], jsonrpc="2.0")
    assert all(HEX(reply["result"]) for reply in replies)
    body = '{"jsonrpc":"1.0","method":"getblockcount","params":[],"id":7}'
    status, headers, data = chain.daemon.request(body, headers={"Connection": "close"})
    assert (status, headers.get("Connection", "").lower()) == (200, "close")
    assert set(json.loads(data)) == {"result", "error", "id"}


def test_broadcast_codes_and_texts(chain: Chain) -> None:
    """What LND, CLN and NBitcoin look for in refusals."""
    daemon, raw = chain.daemon, chain.unsent()
    missing = "0200000001" + "77" * 32 + "0000000000ffffffff01e803000000000000" + "160014" + "11" * 20 + "00000000"
    check(
        daemon,
        [
            ("sendrawtransaction", ["zz"], (-22, "TX decode failed. Make sure the tx has at least one input.")),
            ("sendrawtransaction", [missing, 0], (-25, "bad-txns-inputs-missingorspent")),
            ("testmempoolaccept", [[missing]], [REFUSED | {"reject-reason": "missing-inputs"}]),
            ("sendrawtransaction", [raw, 0.1], HASH),
            ("sendrawtransaction", [raw, "0"], HASH),
            ("testmempoolaccept", [[raw], 0], [REFUSED | {"reject-reason": "txn-already-in-mempool"}]),
        ],
    )
    daemon.call("generatetoaddress", 1, chain.address)
    check(daemon, [("sendrawtransaction", [raw], (-27, "Transaction outputs already in utxo set"))])
    (verdict,) = daemon.call("testmempoolaccept", [raw])
    assert verdict["reject-reason"] == "txn-already-known"
    dear = chain.unsent("1")
    for method, params in (("sendrawtransaction", [dear]), ("sendrawtransaction", [dear, 0.1])):
        with pytest.raises(RpcFailure, match="Fee exceeds maximum configured by user") as failed:
            daemon.call(method, *params)
        assert failed.value.code == -25
    (verdict,) = daemon.call("testmempoolaccept", [dear])
    assert verdict["reject-reason"] == "max-fee-exceeded"
    chain.best = daemon.call("getbestblockhash")


def test_nbxplorer(chain: Chain) -> None:
    daemon = chain.daemon
    for probe in (
        "scantxoutset",
        "signrawtransactionwithkey",
        "testmempoolaccept",
        "getblockfrompeer",
        "estimatesmartfee",
        "generatetoaddress",
    ):
        with pytest.raises(RpcFailure) as failed:
            daemon.call(probe, "random")
        assert failed.value.code != -32601, probe
    check(
        daemon,
        [
            ("getindexinfo", ["txindex"], {"txindex": {"synced": True, "best_block_height": int}}),
            ("getbestblockhash", [], HASH),
            ("getrawtransaction", [chain.mined, True], MINED_TX),
            ("getrawtransaction", [chain.mined, False], HEX),
            ("validateaddress", [chain.address], anything_of("isvalid address scriptPubKey isscript iswitness")),
            ("validateaddress", ["nonsense"], anything_of("isvalid")),
        ],
    )
    with pytest.raises(RpcFailure) as failed:
        daemon.call("createwallet", "w")
    assert failed.value.code == -4
    with pytest.raises(RpcFailure) as failed:
        daemon.call("loadwallet", "w")
    assert failed.value.code == -35
    txid = chain.pooled
    block = daemon.call("getrawtransaction", chain.mined, True)["blockhash"]
    assert daemon.call("getrawtransaction", chain.mined, True, block)["in_active_chain"] is True
    headers = batch(chain, [("getblockheader", [one]) for one in (chain.best, chain.stale, GENESIS)])
    assert [reply["result"]["confirmations"] for reply in headers][0:2] == [1, -1]
    (seen,) = batch(chain, [("gettxout", [txid, 0, True])])
    assert seen["result"] is None or mismatch(seen["result"], TXOUT) is None
    fresh = daemon.call("sendtoaddress", chain.address, "0.1")
    check(
        daemon,
        [
            ("getmempoolentry", [fresh], MEMPOOL_ENTRY),
            ("getmempoolentry", [ZERO], (-5, "Transaction not in mempool")),
            ("getrawmempool", [True], {fresh: MEMPOOL_ENTRY}),
            ("gettxout", [fresh, 0, True], TXOUT),
        ],
    )


def test_bdk_electrs_and_python_bitcoinlib(chain: Chain) -> None:
    daemon = chain.daemon
    check(
        daemon,
        [
            ("getblock", [chain.best, False], HEX),
            ("getblock", [chain.best, 2], anything_of("tx hash height nTx")),
            ("getblock", [chain.best, True], BLOCK | {"tx": [HASH]}),
            ("getblockheader", [chain.best], HEADER),
            ("estimatesmartfee", [3, None], {"errors": [str], "blocks": int, "feerate?": AMOUNT}),
            ("getmempoolinfo", [], MEMPOOL_INFO),
            ("getrawmempool", [False], [HASH]),
            (
                "scantxoutset",
                ["start", [f"addr({chain.address})"]],
                {
                    "success": True,
                    "txouts": int,
                    "height": int,
                    "bestblock": HASH,
                    "unspents": [
                        {
                            "txid": HASH,
                            "vout": int,
                            "scriptPubKey": HEX,
                            "desc": str,
                            "amount": AMOUNT,
                            "coinbase": bool,
                            "height": int,
                            "blockhash": HASH,
                            "confirmations": int,
                        }
                    ],
                    "total_amount": AMOUNT,
                },
            ),
            ("scantxoutset", ["status"], None),
        ],
    )
    for path, content in (
        ("/rest/chaininfo.json", "application/json"),
        (f"/rest/headers/{chain.best}.bin?count=5", "application/octet-stream"),
        (f"/rest/block/{chain.best}.bin", "application/octet-stream"),
        (f"/rest/spenttxouts/{chain.best}.bin", "application/octet-stream"),
        (f"/rest/blockpart/{chain.best}.bin?offset=0&size=80", "application/octet-stream"),
    ):
        status, headers, data = daemon.request("", path=path, method="GET", auth=None)
        assert (status, headers["Content-Type"]) == (200, content), (path, data[:200])


def test_core_lightning_through_the_command_line(chain: Chain) -> None:
    """bcli's words: password on the first line of standard input, output and exit status as bitcoin-cli's."""
    user, _, password = chain.daemon.cookie().partition(":")
    flags = (f"-rpcuser={user}", "-stdinrpcpass", "-rpcclienttimeout=60", "-rpcconnect=127.0.0.1")

    def bcli(*words: str) -> tuple[int, str, str]:
        done = chain.daemon.cli(*flags, *words, stdin=password + "\n")
        return done.returncode, done.stdout, done.stderr

    assert bcli("getblockhash", "0") == (0, GENESIS + "\n", "")
    status, out, _ = bcli("getblock", chain.best, "0")
    assert (status, HEX(out.strip())) == (0, True)
    status, out, _ = bcli("getblockchaininfo")
    info = json.loads(out)
    assert {"chain", "headers", "blocks", "initialblockdownload"} <= set(info)
    assert info["chain"] == "regtest"
    assert json.loads(bcli("getnetworkinfo")[1])["version"] >= 220000
    assert json.loads(bcli("estimatesmartfee", "2", "CONSERVATIVE")[1])["blocks"] >= 0
    assert "mempoolminfee" in json.loads(bcli("getmempoolinfo")[1])
    genesis_tx = chain.daemon.call("getblock", GENESIS)["tx"][0]
    assert bcli("gettxout", genesis_tx, "0") == (0, "", "")  # null is nothing
    mature = chain.unsent()
    status, out, _ = bcli("sendrawtransaction", mature, "0")
    assert (status, HASH(out.strip())) == (0, True)
    chain.daemon.call("generatetoaddress", 1, chain.address)
    assert bcli("sendrawtransaction", mature) == (
        27,
        "",
        "error code: -27\nerror message:\nTransaction outputs already in utxo set\n",
    )
    assert bcli("getblockhash", "99999")[0] == 8
    status, out, err = bcli("getpeerinfo")
    assert (status, json.loads(out), err) == (0, [], "")
    wrong = chain.daemon.cli("-rpcuser=x", "-rpcpassword=y", "-rpcport=1", "getblockcount")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    # -stdin: every further line is one argument
    height = chain.daemon.cli(*flags, "-stdin", "getblockhash", stdin=f"{password}\n0\n")
    assert height.stdout == GENESIS + "\n"


def test_core_lightning_through_the_wrapper_of_the_readme(chain: Chain, tmp_path: Path) -> None:
    """lightningd puts `-regtest` first, which to gld-cli is another network."""
    (line,) = (one for one in (PROJECT / "README.md").read_text().splitlines() if one.endswith("> ~/bitcoin-cli"))
    here = Path(sys.executable).parent
    if not (here / "gld-cli").exists():
        pytest.skip("gld-cli is not installed beside this Python")
    environment = {"HOME": str(tmp_path), "PATH": f"{here}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", f"{line}\nchmod +x ~/bitcoin-cli"], env=environment, check=True)
    node = (f"-datadir={chain.daemon.base}", f"-rpcport={chain.daemon.port}", "-rpcclienttimeout=60")

    def bcli(*words: str) -> str:
        command = [str(tmp_path / "bitcoin-cli"), "-regtest", *node, *words]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert json.loads(bcli("-rpcwait", "-rpcwaittimeout=30", "getnetworkinfo"))["localrelay"] is True
    assert bcli("getblockhash", "0") == GENESIS + "\n"


def test_the_answers_have_no_charset_and_no_exponent(chain: Chain) -> None:
    body = '{"method":"getmempoolinfo","params":[],"id":0}'
    status, headers, data = chain.daemon.request(body, headers={"Content-Type": "text/plain"})
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert b'"mempoolminfee":0.00000100' in data or b'"mempoolminfee":0.00001000' in data
    assert chain.daemon.request(body, path="/wallet/w")[0] == 200
    assert chain.daemon.request("", method="GET")[0] == 405
    assert chain.daemon.request(body, auth="__cookie__:wrong")[0] == 401
