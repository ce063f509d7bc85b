"""Whatever a caller sends to a wallet method, the answer is a result or an RpcError."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gldnode.errors import DecodeError, Reject
from gldnode.rpc import (
    addresses,
    psbt,
    signing,
    wallet_addresses,
    wallet_admin,
    wallet_coins,
    wallet_descriptors,
    wallet_history,
    wallet_psbt,
    wallet_raw,
    wallet_send,
)
from gldnode.rpc.context import RpcContext, Services
from gldnode.rpc.errors import RpcError
from gldnode.rpc.json import decode, encode
from gldnode.rpc.methods import build_registry
from gldnode.wallet.manager import WalletManager
from tests.support.campaign import campaign, campaign_seed
from tests.support.host import HostNode, host_node
from tests.support.vectors import load_json

GROUPS = (
    addresses,
    psbt,
    signing,
    wallet_addresses,
    wallet_admin,
    wallet_coins,
    wallet_descriptors,
    wallet_history,
    wallet_psbt,
    wallet_raw,
    wallet_send,
)
WRITES_FILES = {"backupwallet", "restorewallet"}
CHANGES_WALLETS = {"encryptwallet", "unloadwallet", "loadwallet", "createwallet", "keypoolrefill"}
METHODS = [
    method
    for group in GROUPS
    for method in group.methods.methods
    if method.name not in WRITES_FILES | CHANGES_WALLETS
]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[HostNode]:
    async with host_node(tmp_path, options=[("keypool", "3")]) as host:
        yield host


async def test_odd_arguments_get_an_rpc_error(node: HostNode, tmp_path: Path) -> None:
    wallets = WalletManager(node, tmp_path / "wallets")
    services = Services()
    services.add(wallets)
    registry = build_registry(node.params, with_wallet=True)
    ctx = RpcContext(node, services, registry, None)  # type: ignore[arg-type]
    wallet = await wallets.create("w")
    script = await wallet.new_script("bech32")
    await node.mine(1, script)
    (txid,) = (tx[::-1].hex() for tx in await _coinbases(node, wallets))
    texts = [
        "", "*", "\0", "\ud800x", "ä" * 50, "0" * 64, "f" * 64, "0x", "00", "w", txid, wallet.address(script),
        load_json("bitcoin-core/functional-data/rpc_psbt.json")["valid"][3], "now", "wpkh(" * 40,
        "combo(x)#12345678",
        "DEFAULT", "bech32m", "economical", "1e5", "-1", "NaN", "1_000", " 12 ", "0200000000000000000000",
    ]  # fmt: skip
    odd: list[Any] = [
        None, True, False, 0, 1, -1, 6, 2**31, 2**63, -(2**63), *texts, [], [[]], [None], [1], {}, {"a": 1},
        [{"txid": txid, "vout": 0}],
        [{"txid": "x"}], [{"desc": 1, "timestamp": []}], {"fee_rate": [], "inputs": {}},
        [{wallet.address(script): "0.1"}], {wallet.address(script): 1, "data": "zz"}, {"data": "00"},
        [texts[0]] * 30,
        [{"desc": "raw(00)#x", "timestamp": "now", "range": [2, 1]}], {"inputs": [{"txid": txid, "vout": 0}]},
        {"change_position": -5, "replaceable": 1}, {"minconf": "x"}, [0, 2**40], [1, 0], {"conf_target": True},
        [{"txid": txid, "vout": 0, "scriptPubKey": "00", "amount": {}}],
    ]  # fmt: skip
    dice = random.Random(campaign_seed("wallet junk"))
    for _ in range(campaign(12, 500)):
        for method in METHODS:
            args = [
                dice.choice([value for value in odd if param.check(value) is None] if dice.random() < 0.9 else odd)
                for param in method.params[: dice.randrange(len(method.params) + 1)]
            ]
            try:
                await registry.call(ctx, method.name, decode(encode_odd(args)))
            except (RpcError, Reject, DecodeError):
                continue
            except Exception as error:
                raise AssertionError(f"{method.name} {args!r:.500}: {error!r}") from error
    await wallets.stop()


def encode_odd(args: list[Any]) -> bytes:
    """As a client would send it; what UTF-8 cannot carry is left out, as the server refuses it before."""
    return encode([arg.encode("utf-8", "ignore").decode() if isinstance(arg, str) else arg for arg in args])


async def _coinbases(node: HostNode, wallets: WalletManager) -> list[bytes]:
    wallet = wallets.select("w")
    await wallet.synced()
    return list(wallet.ledger.txs)
