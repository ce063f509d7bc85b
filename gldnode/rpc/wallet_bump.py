"""Replacing an unconfirmed payment of a wallet by one that pays more: bumpfee, psbtbumpfee."""

from typing import Any

from gldnode.psbt import create_psbt
from gldnode.rpc.context import RpcContext
from gldnode.rpc.json import amount
from gldnode.rpc.params import boolean, integer_value, num, obj, text, txid
from gldnode.rpc.render import display
from gldnode.rpc.wallet_access import WalletGroup, synced_wallet
from gldnode.rpc.wallet_send import FEE_RATE, require_signing, set_fee_options
from gldnode.wallet.bump import bump_fee, draft_bump
from gldnode.wallet.psbtfill import fill
from gldnode.wallet.spending import SpendOptions

__all__ = ["methods"]

methods = WalletGroup("Wallet")

_PARAMS = [
    txid("txid", "The txid to be bumped", required=True),
    obj(
        "options",
        "",
        [
            num("conf_target", "Confirmation target in blocks"),
            FEE_RATE,
            boolean(
                "replaceable", "Whether the new transaction should be marked BIP 125 replaceable", default=True
            ),
            text("estimate_mode", "The fee estimate mode", default="unset"),
        ],
        is_options=True,
    ),
]


def _chosen(options: dict[str, Any] | None) -> SpendOptions:
    given = options or {}
    chosen = SpendOptions(replaceable=bool(given.get("replaceable", True)))
    target = given.get("conf_target")
    set_fee_options(
        chosen,
        None if target is None else integer_value(target),
        given.get("estimate_mode"),
        given.get("fee_rate"),
    )
    return chosen


@methods.method(
    "bumpfee",
    "Bumps the fee of a transaction T, replacing it with a new transaction B.\nA transaction with the given txid "
    "must be in the wallet.",
    params=_PARAMS,
    returns='{"txid":"hex","origfee":n,"fee":n,"errors":["str",...]}',
    examples=['"txid"'],
)
async def bumpfee(ctx: RpcContext, txid: bytes, options: dict[str, Any] | None) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    require_signing(wallet)
    tx, old_fee, fee = await bump_fee(wallet, txid, _chosen(options))
    return {"txid": display(tx.txid), "origfee": amount(old_fee), "fee": amount(fee), "errors": []}


@methods.method(
    "psbtbumpfee",
    "Bumps the fee of a transaction T, replacing it with a new transaction B.\nReturns a PSBT instead of creating "
    "and signing a new transaction.\nA transaction with the given txid must be in the wallet.",
    params=_PARAMS,
    returns='{"psbt":"str","origfee":n,"fee":n,"errors":["str",...]}',
    examples=['"txid"'],
)
async def psbtbumpfee(ctx: RpcContext, txid: bytes, options: dict[str, Any] | None) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    async with wallet.lock:
        built, old_fee = draft_bump(wallet, txid, _chosen(options))
    psbt = create_psbt(built.tx)
    fill(wallet, psbt, with_paths=True)
    return {"psbt": psbt.to_base64(), "origfee": amount(old_fee), "fee": amount(built.fee), "errors": []}
