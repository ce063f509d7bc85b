"""ElectrumX, unmodified, follows the node and serves wallets; BDK's wallet works through it."""

import json
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.campaign import is_long
from tests.support.daemon import DaemonProcess
from tests.support.electrumx import ElectrumClient, ElectrumX, script_hash
from tests.support.environments import python_with

PROGRAMS = Path(__file__).parent / "programs"
FLAGS = ("-txindex", "-txospenderindex")
VERSIONS = ("1.20.0", "1.18.0", "2.0.0") if is_long() else ("1.20.0",)
BDK_PHRASE = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"


@pytest.fixture(scope="module", params=VERSIONS)
def server(
    request: pytest.FixtureRequest, bitcoind: DaemonProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ElectrumX]:
    if not bitcoind.call("listwallets"):
        bitcoind.call("createwallet", "w")
        bitcoind.call("generatetoaddress", 120, bitcoind.call("getnewaddress"))
    with ElectrumX(request.param, bitcoind, tmp_path_factory.mktemp("electrumx")) as running:
        yield running


@pytest.fixture
def electrum(server: ElectrumX) -> Iterator[ElectrumClient]:
    client = server.client()
    yield client
    client.close()


def script_of(bitcoind: DaemonProcess, address: str) -> str:
    return str(bitcoind.call("validateaddress", address)["scriptPubKey"])


def test_balance_and_history_of_an_address_follow_the_mempool_and_blocks(
    bitcoind: DaemonProcess, electrum: ElectrumClient
) -> None:
    address = bitcoind.call("getnewaddress", "", "bech32m")
    named = script_hash(script_of(bitcoind, address))
    assert electrum.call("blockchain.scripthash.get_history", named) == []
    txid = bitcoind.call("sendtoaddress", address, "1.25")

    unconfirmed = {"confirmed": 0, "unconfirmed": 125_000_000}
    electrum.until(lambda got: got == unconfirmed, "blockchain.scripthash.get_balance", named)
    (entry,) = electrum.call("blockchain.scripthash.get_mempool", named)
    assert (entry["tx_hash"], entry["height"]) == (txid, 0)
    assert entry["fee"] == -int(bitcoind.call("gettransaction", txid)["fee"] * 100_000_000)

    bitcoind.call("generatetoaddress", 1, bitcoind.call("getnewaddress"))
    height = bitcoind.call("getblockcount")
    confirmed = {"confirmed": 125_000_000, "unconfirmed": 0}
    electrum.until(lambda got: got == confirmed, "blockchain.scripthash.get_balance", named)
    assert electrum.call("blockchain.scripthash.get_history", named) == [{"tx_hash": txid, "height": height}]
    (coin,) = electrum.call("blockchain.scripthash.listunspent", named)
    assert (coin["tx_hash"], coin["height"], coin["value"]) == (txid, height, 125_000_000)
    merkle = electrum.call("blockchain.transaction.get_merkle", txid, height)
    assert merkle["block_height"] == height


def test_transactions_headers_and_fees_are_the_nodes(bitcoind: DaemonProcess, electrum: ElectrumClient) -> None:
    height = bitcoind.call("getblockcount")
    electrum.until(lambda got: got["height"] >= height, "blockchain.headers.subscribe")
    best = bitcoind.call("getbestblockhash")
    assert electrum.call("blockchain.block.header", height) == bitcoind.call("getblockheader", best, False)
    coinbase = bitcoind.call("getblock", best)["tx"][0]
    assert electrum.call("blockchain.transaction.get", coinbase) == bitcoind.call("getrawtransaction", coinbase)
    verbose = electrum.call("blockchain.transaction.get", coinbase, True)
    assert verbose["blockhash"] == best
    assert electrum.call("blockchain.estimatefee", 6) == -1
    relay_fee = bitcoind.call("getmempoolinfo")["minrelaytxfee"]
    assert Decimal(str(electrum.call("blockchain.relayfee"))) == relay_fee


def test_a_reorganisation_takes_history_back(bitcoind: DaemonProcess, electrum: ElectrumClient) -> None:
    address = bitcoind.call("getnewaddress")
    named = script_hash(script_of(bitcoind, address))
    mined = bitcoind.call("generatetoaddress", 2, address)
    electrum.until(lambda got: len(got) == 2, "blockchain.scripthash.get_history", named)
    bitcoind.call("invalidateblock", mined[1])
    bitcoind.call("generatetoaddress", 2, bitcoind.call("getnewaddress"))
    history = electrum.until(lambda got: len(got) == 1, "blockchain.scripthash.get_history", named)
    assert history[0]["tx_hash"] == bitcoind.call("getblock", mined[0])["tx"][0]


def test_a_broadcast_through_it_reaches_the_pool_and_a_bad_one_is_refused(
    bitcoind: DaemonProcess, electrum: ElectrumClient
) -> None:
    coin = max(bitcoind.call("listunspent", 101), key=lambda one: one["amount"])
    raw = bitcoind.call(
        "createrawtransaction",
        [{"txid": coin["txid"], "vout": coin["vout"]}],
        {bitcoind.call("getnewaddress"): str(coin["amount"] - Decimal("0.0001"))},
    )
    with pytest.raises(AssertionError, match="rejected by network rules"):
        electrum.call("blockchain.transaction.broadcast", raw)
    signed = bitcoind.call("signrawtransactionwithwallet", raw)["hex"]
    txid = electrum.call("blockchain.transaction.broadcast", signed)
    assert txid in bitcoind.call("getrawmempool")


def test_bdk_syncs_sends_and_sees_confirmations(bitcoind: DaemonProcess, server: ElectrumX) -> None:
    python = python_with("bdk-3.1.1", "bdkpython==3.1.1")
    server.client().close()
    program = subprocess.Popen(
        [str(python), str(PROGRAMS / "bdk_wallet.py"), f"tcp://127.0.0.1:{server.port}", BDK_PHRASE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def ask(**request: Any) -> Any:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(json.dumps(request) + "\n")
        program.stdin.flush()
        line = program.stdout.readline()
        assert line, program.communicate(timeout=10)
        return json.loads(line)

    try:
        received = bitcoind.call("sendtoaddress", ask(do="address")["address"], "2")
        bitcoind.call("generatetoaddress", 1, bitcoind.call("getnewaddress"))
        state = ask(do="sync", until=received, confirmed=True)
        assert state["balance"] >= 200_000_000
        assert state["confirmed"][received] is True

        shop = bitcoind.call("getnewaddress")
        sent = ask(do="send", address=shop, amount=50_000_000)["txid"]
        assert sent in bitcoind.call("getrawmempool")
        bitcoind.call("generatetoaddress", 1, bitcoind.call("getnewaddress"))
        assert bitcoind.call("getreceivedbyaddress", shop) == Decimal("0.5")
        assert ask(do="sync", until=sent, confirmed=True)["confirmed"][sent] is True
    finally:
        try:
            program.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            program.kill()
            program.communicate()
