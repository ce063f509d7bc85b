"""What a wallet tells over RPC: labels, groups of addresses, its keys, and transactions that are not sent yet."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.rpc_calls import failure

OUTSIDE = "mjTkW3DjgyZck4KbiRusZsqTgaYTxdSz6z"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("reports"), network="btc-regtest") as process:
        process.call("createwallet", "w")
        process.call("generatetoaddress", 102, process.call("getnewaddress", "mined"))
        yield process


def test_received_is_summed_by_label_and_by_address(node: DaemonProcess) -> None:
    first, second = (node.call("getnewaddress", "shop") for _ in range(2))
    node.call("getnewaddress", "unused")
    sent = [node.call("sendtoaddress", address, 1) for address in (first, second, second)]
    unconfirmed = node.call("listreceivedbylabel", 0)
    assert [
        (one["label"], one["amount"], one["confirmations"]) for one in unconfirmed if one["label"] == "shop"
    ] == [("shop", 3, 0)]
    node.call("generatetoaddress", 2, OUTSIDE)
    by_label = {one["label"]: one for one in node.call("listreceivedbylabel")}
    assert by_label["shop"] == {"amount": 3, "confirmations": 2, "label": "shop"}
    assert "unused" not in by_label
    assert "unused" in {one["label"] for one in node.call("listreceivedbylabel", 1, True)}
    assert node.call("getreceivedbylabel", "shop") == 3
    by_address = {one["address"]: one for one in node.call("listreceivedbyaddress")}
    assert (by_address[second]["amount"], by_address[second]["txids"]) == (2, sent[1:])
    with_immature = {
        one["label"]: one["amount"] for one in node.call("listreceivedbylabel", 1, False, False, True)
    }
    assert with_immature["mined"] > by_label["mined"]["amount"]


def test_addresses_that_were_spent_together_are_one_group(node: DaemonProcess) -> None:
    one, other, lonely = (node.call("getnewaddress", name) for name in ("one", "other", "lonely"))
    for address in (one, other, lonely):
        node.call("sendtoaddress", address, 2)
    node.call("generatetoaddress", 1, OUTSIDE)
    coins = {coin["address"]: coin for coin in node.call("listunspent")}
    inputs = [{"txid": coins[address]["txid"], "vout": coins[address]["vout"]} for address in (one, other)]
    node.call("send", {OUTSIDE: 3}, None, "unset", 2, {"inputs": inputs})
    groups = node.call("listaddressgroupings")
    (together,) = [group for group in groups if one in [row[0] for row in group]]
    assert {one, other} <= {row[0] for row in together}
    assert len(together) == 3  # and the change
    assert [row[1:] for row in together if row[0] == one] == [[0, "one"]]
    (apart,) = [group for group in groups if lonely in [row[0] for row in group]]
    assert apart == [[lonely, 2, "lonely"]]


def test_what_a_transaction_would_change_is_told_before_it_is_sent(node: DaemonProcess) -> None:
    raw = node.call("createrawtransaction", [], {OUTSIDE: 1})
    funded = node.call("fundrawtransaction", raw, {"fee_rate": 5})
    signed = node.call("signrawtransactionwithwallet", funded["hex"])["hex"]
    assert node.call("simulaterawtransaction", [signed])["balance_change"] == -1 - funded["fee"]
    assert node.call("simulaterawtransaction", [])["balance_change"] == 0
    assert failure(node, "simulaterawtransaction", [signed, signed])[1].startswith("Transaction(s) are spending")
    txid = node.call("decoderawtransaction", signed)["txid"]
    vout = 1 - funded["changepos"]
    back = node.call("createrawtransaction", [{"txid": txid, "vout": vout}], {node.call("getnewaddress"): "0.5"})
    both = node.call("simulaterawtransaction", [signed, back])
    assert both["balance_change"] == -1 - funded["fee"] + Decimal("0.5")
    assert failure(node, "simulaterawtransaction", [back])[0] == -8
    assert failure(node, "simulaterawtransaction", ["zz"]) == (-22, "Transaction hex string decoding failure.")


def test_a_higher_fee_as_a_psbt_for_others_to_sign(node: DaemonProcess) -> None:
    txid = node.call("send", {OUTSIDE: 1}, None, "unset", 2)["txid"]
    bumped = node.call("psbtbumpfee", txid, {"fee_rate": 20})
    assert bumped["fee"] > bumped["origfee"]
    assert bumped["errors"] == []
    assert txid in node.call("getrawmempool")
    signed = node.call("walletprocesspsbt", bumped["psbt"])
    assert signed["complete"] is True
    replacement = node.call("sendrawtransaction", signed["hex"])
    pool = node.call("getrawmempool")
    assert replacement in pool
    assert txid not in pool
    assert failure(node, "psbtbumpfee", "11" * 32)[0] == -5


def test_funds_are_taken_in_with_a_proof_and_removed_again(node: DaemonProcess) -> None:
    address = node.call("getnewaddress")
    txid = node.call("sendtoaddress", address, 1)
    block = node.call("generatetoaddress", 1, OUTSIDE)[0]
    raw, proof = node.call("getrawtransaction", txid, False, block), node.call("gettxoutproof", [txid], block)
    before = node.call("gettransaction", txid)
    node.call("removeprunedfunds", txid)
    assert failure(node, "gettransaction", txid)[0] == -5
    assert failure(node, "removeprunedfunds", txid) == (-4, f"Transaction {txid} does not belong to this wallet")
    node.call("importprunedfunds", raw, proof)
    after = node.call("gettransaction", txid)
    same = ("amount", "fee", "blockhash", "blockheight", "blockindex", "blocktime", "confirmations", "hex")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert address in {coin["address"] for coin in node.call("listunspent")}
    other = node.call("getblock", block)["tx"][0]
    wrong = node.call("gettxoutproof", [other], block)
    assert failure(node, "importprunedfunds", raw, wrong) == (-5, "Transaction given doesn't exist in proof")
    foreign = node.call("getrawtransaction", other, False, block)
    assert failure(node, "importprunedfunds", foreign, wrong)[1].startswith("No addresses in wallet")
    assert failure(node, "importprunedfunds", raw, proof[:160])[0] == -22
    node.call("invalidateblock", block)
    assert failure(node, "importprunedfunds", raw, proof) == (-5, "Block not found in chain")
    node.call("reconsiderblock", block)
    assert node.call("gettransaction", txid)["blockhash"] == block


def test_the_extended_keys_and_the_descriptors_that_use_them(node: DaemonProcess) -> None:
    (key,) = node.call("gethdkeys")
    assert key["xpub"].startswith("tpub")
    assert key["has_private"] is True
    assert "xprv" not in key
    assert {one["desc"] for one in key["descriptors"]} == {
        one["desc"] for one in node.call("listdescriptors")["descriptors"]
    }
    (private,) = node.call("gethdkeys", {"active_only": True, "private": True})
    assert private["xprv"].startswith("tprv")
    assert private["xpub"] == key["xpub"]
    node.call("encryptwallet", "open sesame")
    assert failure(node, "gethdkeys", {"private": True})[0] == -13
    assert all(one["has_private"] for one in node.call("gethdkeys"))
