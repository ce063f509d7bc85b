"""What Core's test framework does with a node's wallets."""

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from gldnode.descriptors import add_checksum
from tests.support.core_framework import KEYS, SECRETS, CoreNode, copy_chain
from tests.support.core_peer import wait_for
from tests.support.daemon import RpcFailure

KINDS = {"legacy": "pkh", "p2sh-segwit": "sh", "bech32": "wpkh", "bech32m": "tr"}


@pytest.fixture(scope="module")
def node(wrapper: Path, cached: CoreNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreNode]:
    """With the default wallet that the framework makes, which has the key of the cached chain's coinbases."""
    one = CoreNode(wrapper, tmp_path_factory.mktemp("wallet") / "node0", head=True)
    copy_chain(cached, one)
    try:
        one.run()
        one.rpc("createwallet", wallet_name="", load_on_startup=True)
        requests = [{"desc": add_checksum(f"combo({SECRETS[0]})"), "timestamp": 0, "label": "coinbase"}]
        assert one.rpc("importdescriptors", requests)[0]["success"] is True
        one.rpc("generatetoaddress", 1, KEYS[1])
        yield one
        one.stop()
    finally:
        one.kill()


def failure(node: CoreNode, method: str, *args: object, wallet: str | None = None) -> tuple[int, str]:
    with pytest.raises(RpcFailure) as caught:
        node.rpc(method, *args, wallet=wallet)
    return caught.value.code, caught.value.message


def test_the_default_wallet_has_the_cached_coins(node: CoreNode) -> None:
    info = node.rpc("getwalletinfo")
    assert (info["walletname"], info["descriptors"], info["private_keys_enabled"]) == ("", True, True)
    assert (info["keypoolsize"], info["scanning"]) == (4, False)  # -keypool=1, for each kind of address
    assert info["lastprocessedblock"] == {"hash": node.rpc("getbestblockhash"), "height": 200}
    balances = node.rpc("getbalances")["mine"]
    assert balances["trusted"] == node.rpc("getbalance") == 2 * 25 * 50  # heights 1 to 25 and 51 to 75
    assert balances["immature"] > 0
    assert {one["label"] for one in node.rpc("listunspent")} == {"coinbase"}
    assert node.rpc("getaddressinfo", KEYS[0])["labels"] == ["coinbase"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_new_addresses_tell_what_they_are(node: CoreNode, kind: str) -> None:
    address = node.rpc("getnewaddress", "shop", kind)
    info = node.rpc("getaddressinfo", address)
    assert info["ismine"] is True
    assert info["solvable"] is True
    assert info["labels"] == ["shop"]
    assert info["desc"].startswith(KINDS[kind])
    assert info["parent_desc"].startswith(KINDS[kind])
    assert info["ischange"] is False
    assert info["scriptPubKey"] == node.rpc("validateaddress", address)["scriptPubKey"]
    assert (info["iswitness"], info["isscript"]) == {
        "legacy": (False, False),
        "p2sh-segwit": (False, True),
        "bech32": (True, False),
        "bech32m": (True, True),
    }[kind]


def test_send_signs_and_tells_the_wallet(node: CoreNode) -> None:
    to = node.rpc("getnewaddress")
    sent = node.rpc("send", [{to: 1}], fee_rate=2)
    assert sent["complete"] is True
    entry = node.rpc("getmempoolentry", sent["txid"])
    assert abs(entry["fees"]["base"] * 100_000_000 / entry["vsize"] - 2) < Decimal("0.1")
    not_sent = node.rpc("send", outputs={to: 1}, options={"add_to_wallet": False, "fee_rate": 3})
    assert not_sent["complete"] is True
    assert node.rpc("testmempoolaccept", [not_sent["hex"]])[0]["allowed"] is True
    psbt = node.rpc("send", outputs=[{to: "0.5"}], options={"psbt": True})
    assert node.rpc("finalizepsbt", psbt["psbt"])["complete"] is True
    mined = node.rpc("generatetoaddress", 1, KEYS[1])[0]
    assert sent["txid"] in node.rpc("getblock", mined)["tx"]
    assert node.rpc("gettransaction", sent["txid"])["confirmations"] == 1
    assert failure(node, "send", [{to: 10**6}])[1] == "Insufficient funds"
    assert failure(node, "send", [{"nobody": 1}]) == (-5, "Invalid Bitcoin address: nobody")


def test_raw_transactions_are_funded_and_signed(node: CoreNode) -> None:
    coin = next(one for one in node.rpc("listunspent") if one["address"] == KEYS[0])
    to = node.rpc("getnewaddress")
    raw = node.rpc("createrawtransaction", [{"txid": coin["txid"], "vout": coin["vout"]}], {to: "1"})
    assert node.rpc("testmempoolaccept", [raw])[0]["allowed"] is False
    funded = node.rpc("fundrawtransaction", raw, {"fee_rate": 5, "changePosition": 1})
    assert funded["changepos"] == 1
    signed = node.rpc("signrawtransactionwithwallet", funded["hex"])
    assert signed["complete"] is True
    txid = node.rpc("sendrawtransaction", signed["hex"])
    assert node.rpc("gettransaction", txid)["fee"] == -funded["fee"]
    unknown = node.rpc("createrawtransaction", [{"txid": "11" * 32, "vout": 0}], {to: "1"})
    failed = node.rpc("signrawtransactionwithwallet", unknown)
    assert failed["complete"] is False
    assert failed["errors"][0]["error"] == "Input not found or already spent"


def test_an_encrypted_wallet_is_locked_until_its_passphrase_is_given_and_again_after(node: CoreNode) -> None:
    created = node.rpc("createwallet", wallet_name="safe", passphrase="open sesame")
    assert created == {"name": "safe"} | {key: created[key] for key in created if key != "name"}
    address = node.rpc("getnewaddress", wallet="safe")
    node.rpc("sendtoaddress", address, 5, wallet="")
    node.rpc("generatetoaddress", 1, KEYS[1])
    assert node.rpc("getwalletinfo", wallet="safe")["unlocked_until"] == 0
    locked = (-13, "Error: Please enter the wallet passphrase with walletpassphrase first.")
    assert failure(node, "send", [{KEYS[1]: 1}], wallet="safe") == locked
    assert failure(node, "walletpassphrase", "wrong", 10, wallet="safe")[0] == -14
    node.rpc("walletpassphrase", "open sesame", 3600, wallet="safe")
    assert node.rpc("getwalletinfo", wallet="safe")["unlocked_until"] > time.time() + 3000
    assert node.rpc("send", [{KEYS[1]: 1}], fee_rate=2, wallet="safe")["complete"] is True
    node.rpc("walletlock", wallet="safe")
    assert failure(node, "sendall", [KEYS[1]], wallet="safe") == locked
    node.rpc("walletpassphrase", "open sesame", 1, wallet="safe")
    wait_for(lambda: node.rpc("getwalletinfo", wallet="safe")["unlocked_until"] == 0, 10)
    assert failure(node, "walletlock", wallet="")[0] == -15
    assert failure(node, "getwalletinfo")[0] == -19  # two wallets are loaded: which one?


def test_sendall_leaves_nothing(node: CoreNode) -> None:
    node.rpc("walletpassphrase", "open sesame", 60, wallet="safe")
    node.rpc("generatetoaddress", 1, KEYS[1])
    before = node.rpc("getbalance", wallet="safe")
    sent = node.rpc("sendall", [KEYS[1]], fee_rate=2, wallet="safe")
    assert sent["complete"] is True
    tx = node.rpc("gettransaction", sent["txid"], verbose=True, wallet="safe")
    (output,) = tx["decoded"]["vout"]
    assert output["value"] == before + tx["fee"]
    assert node.rpc("getbalance", wallet="safe") == 0
    node.rpc("unloadwallet", "safe")
    assert node.rpc("listwallets") == [""]


def test_the_default_wallet_is_there_again_after_a_restart(node: CoreNode) -> None:
    balance = node.rpc("getbalance")
    node.stop()
    node.run()
    assert node.rpc("listwallets") == [""]
    assert node.rpc("getbalance") == balance
    assert node.rpc("loadwallet", "safe")["name"] == "safe"
    node.rpc("unloadwallet", "safe")
