"""PSBTs through a wallet: fund, update, sign, finalize, send; and Core's vectors through the RPC."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from gldnode.params import BTC_REGTEST
from gldnode.rpc.context import Services
from gldnode.rpc.methods import build_registry
from gldnode.wallet.manager import WalletManager
from tests.node.test_wallet_rpc import Rpc, funded
from tests.support.host import host_node
from tests.support.vectors import load_json

CORE = load_json("bitcoin-core/functional-data/rpc_psbt.json")


@pytest.fixture
async def rpc(tmp_path: Path) -> AsyncIterator[Rpc]:
    async with host_node(tmp_path, BTC_REGTEST, options=[("keypool", "5")]) as node:
        wallets = WalletManager(node, tmp_path / "wallets")
        services = Services()
        services.add(wallets)
        yield Rpc(node, build_registry(node.params, with_wallet=True), services)
        await wallets.stop()


@pytest.mark.parametrize("kind", ["legacy", "p2sh-segwit", "bech32", "bech32m"])
@pytest.mark.parametrize("version", [0, 2])
async def test_funded_signed_and_sent(rpc: Rpc, kind: str, version: int) -> None:
    shop = await funded(rpc)
    await shop("sendtoaddress", await shop("getnewaddress", "", kind), 40)
    await rpc.node.mine(1)
    made = await shop("walletcreatefundedpsbt", [], [{await shop("getnewaddress"): 39}], 0, {}, True, 2, version)
    decoded = await rpc("decodepsbt", made["psbt"])
    assert decoded["psbt_version"] == version
    assert decoded["fee"] == made["fee"]
    assert (await rpc("analyzepsbt", made["psbt"]))["next"] == "signer"
    unfinished = await shop(
        "walletprocesspsbt", made["psbt"], True, "ALL" if kind != "bech32m" else None, True, False
    )
    assert unfinished["complete"]
    assert "hex" not in unfinished
    final = await rpc("finalizepsbt", unfinished["psbt"])
    assert final["complete"]
    await rpc("sendrawtransaction", final["hex"])
    assert (await shop("walletprocesspsbt", made["psbt"]))["hex"] == final["hex"]


async def test_watching_wallet_funds_and_another_signs(rpc: Rpc) -> None:
    shop = await funded(rpc)
    await rpc("createwallet", "watch", True)
    watch = rpc.of("watch")
    listed = (await shop("listdescriptors"))["descriptors"]
    requests = [
        {"desc": one["desc"], "timestamp": 0, "active": True, "internal": one["internal"], "range": [0, 10]}
        for one in listed
    ]
    await watch("importdescriptors", requests)
    made = await watch("walletcreatefundedpsbt", [], {await shop("getnewaddress"): 1})
    assert not (await watch("walletprocesspsbt", made["psbt"]))["complete"]
    signed = await shop("walletprocesspsbt", made["psbt"])
    assert signed["complete"]
    await rpc("sendrawtransaction", signed["hex"])
    await rpc.node.mine(1)
    by_send = await watch("send", {await shop("getnewaddress"): 2})
    assert not by_send["complete"]
    assert (await shop("walletprocesspsbt", by_send["psbt"]))["complete"]
    assert (await shop("send", outputs={await shop("getnewaddress"): 2}, psbt=True))["complete"]


async def test_core_creator_and_combiner_by_rpc(rpc: Rpc) -> None:
    (case,) = CORE["creator"]
    outputs = [{address: str(value) for address, value in one.items()} for one in case["outputs"]]
    assert await rpc("createpsbt", case["inputs"], outputs, 0, False) == case["result"]
    (case,) = CORE["combiner"]
    assert await rpc("combinepsbt", case["combine"]) == case["result"]
    (case,) = CORE["extractor"]
    assert (await rpc("finalizepsbt", case["extract"]))["hex"] == case["result"]
    for text in CORE["valid"]:
        await rpc("decodepsbt", text)
        await rpc("analyzepsbt", text)


async def test_core_messages_by_rpc(rpc: Rpc) -> None:
    for text in CORE["invalid"][:10]:
        code, message = await rpc.refused("decodepsbt", text)
        assert code == -22
        assert message.startswith("TX decode failed")
    for text, wanted in CORE["invalid_with_msg"]:
        code, message = await rpc.refused("decodepsbt", text)
        assert (code, wanted in message) == (-22, True)


async def test_too_little_money_is_said(rpc: Rpc) -> None:
    shop = await funded(rpc)
    address = await shop("getnewaddress")
    assert await shop.refused("walletcreatefundedpsbt", [], {address: 60}) == (-4, "Insufficient funds")
    coin = (await shop("listunspent"))[0]
    prevout = [{"txid": coin["txid"], "vout": coin["vout"]}]
    code, message = await shop.refused("walletcreatefundedpsbt", prevout, {address: 60})
    assert (code, message[:42]) == (-4, "The preselected coins total amount does no")
    exact = await shop("walletcreatefundedpsbt", prevout, {address: 50}, 0, {"subtractFeeFromOutputs": [0]})
    assert exact["changepos"] == -1
    assert exact["fee"] < Decimal("0.001")
