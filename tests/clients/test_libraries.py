"""Libraries that programmers use, unmodified: two RPC clients from PyPI, bitcoinjs-lib from npm."""

import json
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.environments import npm_folder, python_with

FLAGS = ("-blockmintxfee=0.00002", "-blockmaxweight=16000")
PROGRAMS = Path(__file__).parent / "programs"
KINDS = ("p2pkh", "p2wpkh", "p2sh-p2wpkh", "p2sh-multisig", "p2wsh-multisig", "p2tr-key", "p2tr-script")
TOO_HIGH = {"code": -8, "message": "Block height out of range"}


@pytest.fixture(scope="module")
def node(bitcoind: DaemonProcess) -> DaemonProcess:
    bitcoind.call("createwallet", "w")
    bitcoind.call("generatetoaddress", 102, bitcoind.call("getnewaddress"))
    return bitcoind


def run(*command: str, **environment: str) -> Any:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment or None
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_python_bitcoinrpc(node: DaemonProcess) -> None:
    python = python_with("python-bitcoinrpc-1.0", "python-bitcoinrpc==1.0")
    url = f"http://{node.cookie()}@127.0.0.1:{node.port}"
    answer = run(str(python), str(PROGRAMS / "authproxy.py"), url)
    assert answer["height"] == 102
    assert answer["hash"] == node.call("getbestblockhash")
    assert (answer["reward"], answer["is_decimal"]) == ("50.00000000", True)
    assert answer["sent"] in node.call("getrawmempool")
    assert answer["received"] == "0.10000001"
    assert answer["too_high"] == TOO_HIGH
    assert answer["unknown"] == {"code": -32601, "message": "Method not found"}


def test_bitcoinrpc(node: DaemonProcess) -> None:
    python = python_with("bitcoinrpc-0.7.0", "bitcoinrpc==0.7.0")
    user, _, password = node.cookie().partition(":")
    answer = run(str(python), str(PROGRAMS / "asyncrpc.py"), f"http://127.0.0.1:{node.port}", user, password)
    assert answer["height"] == 102
    assert (answer["chain"], answer["connections"]) == ("regtest", 0)
    assert answer["header"] == node.call("getbestblockhash")
    assert answer["tips"][0]["status"] == "active"
    assert answer["too_high"] == TOO_HIGH


def test_bitcoinjs_spends_of_every_kind_are_mined(node: DaemonProcess) -> None:
    folder = npm_folder("bitcoinjs", "bitcoinjs-lib@7", "ecpair@3", "tiny-secp256k1@2")
    program = ["node", str(PROGRAMS / "spends.js")]
    where = {"NODE_PATH": str(folder / "node_modules"), "PATH": "/usr/bin:/bin:/usr/local/bin"}
    addresses = run(*program, "scripts", **where)
    assert set(addresses) == set(KINDS)
    funding = node.call("sendmany", "", dict.fromkeys(addresses.values(), "0.5"))
    raw = node.call("getrawtransaction", funding)
    outputs = node.call("decoderawtransaction", raw)["vout"]
    places = {output["scriptPubKey"]["address"]: output["n"] for output in outputs}
    back = node.call("getnewaddress")
    coins = {
        kind: {"txid": funding, "vout": places[address], "grains": 50_000_000, "raw": raw, "to": back}
        for kind, address in addresses.items()
    }
    node.call("generatetoaddress", 1, node.call("getnewaddress"))

    signed = run(*program, "spend", json.dumps(coins), **where)
    verdicts = {kind: node.call("testmempoolaccept", [spend])[0] for kind, spend in signed.items()}
    assert {kind: verdict.get("reject-reason") for kind, verdict in verdicts.items()} == dict.fromkeys(KINDS)
    sent = {node.call("sendrawtransaction", spend) for spend in signed.values()}
    block = node.call("generatetoaddress", 1, node.call("getnewaddress"))[0]
    assert sent <= set(node.call("getblock", block)["tx"])
    assert node.call("getreceivedbyaddress", back) == Decimal("0.49999") * len(KINDS)


def test_templates_and_generated_blocks_keep_the_operators_limits(node: DaemonProcess) -> None:
    """-blockmintxfee leaves out what pays less than 2 per vB, -blockmaxweight what does not fit."""

    def chosen() -> set[str]:
        template = node.call("getblocktemplate", {"rules": ["segwit"]})
        assert sum(one["weight"] for one in template["transactions"]) <= 16_000 - 8_000
        return {one["txid"] for one in template["transactions"]}

    assert node.call("getmininginfo")["blockmintxfee"] == Decimal("0.00002000")
    for _ in range(18):
        node.call("send", [{node.call("getnewaddress"): "0.01"}], None, "unset", 5)
    in_template = chosen()
    assert 3 < len(in_template) < 18
    block = node.call("generatetoaddress", 1, node.call("getnewaddress"))[0]
    assert set(node.call("getblock", block)["tx"][1:]) == in_template
    while node.call("getrawmempool"):
        node.call("generatetoaddress", 1, node.call("getnewaddress"))
    cheap = node.call("send", [{node.call("getnewaddress"): "0.1"}], None, "unset", 1)["txid"]
    assert chosen() == set()
    node.call("generatetoaddress", 1, node.call("getnewaddress"))
    assert node.call("getrawmempool") == [cheap]
