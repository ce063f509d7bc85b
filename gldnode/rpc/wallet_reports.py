"""What a wallet tells of itself: its extended keys, and what transactions would change."""

from typing import Any

from gldnode.params import ChainParams
from gldnode.primitives.tx import OutPoint
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount
from gldnode.rpc.params import arr, boolean, obj, text
from gldnode.rpc.rawtx import decode_tx
from gldnode.rpc.wallet_access import WalletGroup, synced_wallet, wallet_of
from gldnode.wallet.keychain import Keychain

__all__ = ["methods"]

methods = WalletGroup("Wallet")


@methods.method(
    "simulaterawtransaction",
    "Calculate the balance change resulting in the signing and broadcasting of the given transaction(s).",
    params=[
        arr("rawtxs", "An array of hex strings of raw transactions.", [text("rawtx", "")]),
        obj(
            "options",
            "",
            [boolean("include_watchonly", "(DEPRECATED) No longer used.", default=False)],
            is_options=True,
        ),
    ],
    returns='{"balance_change":n}    The wallet balance change (negative means decrease).',
    examples=["'[\"myhex\"]'"],
)
async def simulaterawtransaction(
    ctx: RpcContext, rawtxs: list[Any] | None, options: dict[str, Any] | None
) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    ledger, pool = wallet.ledger, ctx.node.pool
    change = 0
    made: dict[OutPoint, int] = {}
    """Outputs of the transactions so far, with what they are worth to the wallet."""
    spent: set[OutPoint] = set()
    for item in rawtxs or []:
        tx = decode_tx(str(item), message="Transaction hex string decoding failure.")
        for txin in tx.inputs:
            prevout = txin.prevout
            if prevout in spent:
                raise RpcError(
                    RpcCode.INVALID_PARAMETER, "Transaction(s) are spending the same output more than once"
                )
            spent.add(prevout)
            if prevout in made:
                change -= made[prevout]
                continue
            coin = pool.coin(prevout)
            if coin is None or pool.spender(prevout) is not None:
                raise RpcError(
                    RpcCode.INVALID_PARAMETER,
                    "One or more transaction inputs are missing or have been spent already",
                )
            if ledger.is_mine(coin.script_pubkey):
                change -= coin.amount
        for vout, output in enumerate(tx.outputs):
            worth = output.amount if ledger.is_mine(output.script_pubkey) else 0
            made[tx.outpoint(vout)] = worth
            change += worth
    return {"balance_change": amount(change)}


@methods.method(
    "gethdkeys",
    "List all BIP 32 HD keys in the wallet and which descriptors use them.",
    params=[
        obj(
            "options",
            "",
            [
                boolean("active_only", "Show the keys for only active descriptors", default=False),
                boolean("private", "Show private keys", default=False),
            ],
            is_options=True,
        )
    ],
    returns='[{"xpub":"str","has_private":true|false,"xprv":"str","descriptors":[{"desc":"str","active":b},...]},...]',
    examples=["", '\'{"active_only":true, "private":true}\''],
)
async def gethdkeys(ctx: RpcContext, options: dict[str, Any] | None) -> list[dict[str, Any]]:
    wallet = wallet_of(ctx)
    choice = options or {}
    with_private = choice.get("private") is True
    if with_private:
        wallet.require_unlocked()
    found: dict[str, dict[str, Any]] = {}
    for keychain in wallet.ledger.keychains.values():
        if keychain.record.is_active or choice.get("active_only") is not True:
            for xpub, xprv in _extended_keys(keychain, wallet.host.params).items():
                row = found.setdefault(xpub, {"xpub": xpub, "has_private": False, "descriptors": []})
                row["has_private"] |= wallet.meta.has_private_keys
                if with_private and xprv is not None:
                    row["xprv"] = xprv
                row["descriptors"].append(
                    {"desc": keychain.record.descriptor, "active": keychain.record.is_active}
                )
    return [found[xpub] for xpub in sorted(found)]


def _extended_keys(keychain: Keychain, params: ChainParams) -> dict[str, str | None]:
    """A descriptor's extended keys, those of accounts while the private ones are locked away; private forms."""
    found: dict[str, str | None] = {}
    for key in (keychain.private or keychain.descriptor).key_expressions:
        extended = key.extended
        if extended is not None:
            found[extended.to_public().to_text(params)] = extended.to_text(params) if extended.is_private else None
    return found
