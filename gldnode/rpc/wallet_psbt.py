"""PSBTs of a wallet: fund and create, update, sign, finalize."""

from typing import Any

from gldnode.psbt import PsbtError, create_psbt
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount
from gldnode.rpc.params import anything, arr, boolean, num, obj, text
from gldnode.rpc.psbt import read_psbt
from gldnode.rpc.rawtx import construct_tx
from gldnode.rpc.signing import read_sighash_type
from gldnode.rpc.wallet_access import WalletGroup, synced_wallet
from gldnode.rpc.wallet_send import read_spend_options, recipients_of
from gldnode.wallet.psbtfill import copy_psbt, fill, finalize_all, sign_own
from gldnode.wallet.psbts import extract
from gldnode.wallet.spending import fund

__all__ = ["methods"]

methods = WalletGroup("Wallet")


@methods.method(
    "walletcreatefundedpsbt",
    "Creates and funds a transaction in the Partially Signed Transaction format.\nImplements the Creator and "
    "Updater roles.",
    params=[
        arr("inputs", "Leave empty to add inputs automatically.", [obj("", "")]),
        anything("outputs", "The outputs", required=True, word="json array or object"),
        num("locktime", "Raw locktime.", default=0),
        obj(
            "options",
            "",
            [
                boolean("add_inputs", "Automatically include coins from the wallet."),
                boolean("include_unsafe", "Include inputs that are not safe to spend.", default=False),
                num("minconf", ""),
                num("maxconf", ""),
                text("changeAddress", "The address to receive the change"),
                num("changePosition", "The index of the change output"),
                text("change_type", "The output type to use."),
                boolean("includeWatching", "(DEPRECATED) No longer used", default=False),
                boolean("lockUnspents", "Lock selected unspent outputs", default=False),
                anything("fee_rate", "Specify a fee rate in sat/vB.", word="numeric or string"),
                anything("feeRate", "Specify a fee rate in coins/kvB.", word="numeric or string"),
                arr("subtractFeeFromOutputs", "Outputs to subtract the fee from", [num("vout_index", "")]),
                num("conf_target", "Confirmation target in blocks"),
                text("estimate_mode", "The fee estimate mode"),
                boolean("replaceable", "Marks this transaction as BIP125-replaceable."),
            ],
            is_options=True,
        ),
        boolean("bip32derivs", "Include BIP 32 derivation paths for public keys if we know them", default=True),
        num("version", "Transaction version", default=2),
        num("psbt_version", "The PSBT version number to use.", default=0),
    ],
    returns='{"psbt":"str","fee":n,"changepos":n}',
    examples=['"[]" "[{\\"address\\":0.05}]"'],
)
async def walletcreatefundedpsbt(
    ctx: RpcContext,
    inputs: list[Any] | None,
    outputs: Any,
    locktime: int,
    options: dict[str, Any] | None,
    bip32derivs: bool,
    version: int,
    psbt_version: int,
) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    if psbt_version not in (0, 2):
        raise RpcError(RpcCode.INVALID_PARAMETER, "The PSBT version can only be 2 or 0")
    given = dict(options or {})
    chosen = read_spend_options(wallet, given)
    draft = construct_tx(inputs or [], outputs, locktime, chosen.replaceable, version, ctx.node.params)
    chosen.inputs = [txin.prevout for txin in draft.inputs]
    chosen.sequences = {txin.prevout: txin.sequence for txin in draft.inputs}
    chosen.lock_time, chosen.version = draft.lock_time, draft.version
    wanted = given.get("add_inputs")
    chosen.add_inputs = bool(wanted) if wanted is not None else not draft.inputs
    recipients = recipients_of(wallet, outputs, given.get("subtractFeeFromOutputs"))
    built = await fund(wallet, recipients, chosen, lock=bool(given.get("lockUnspents", False)))
    psbt = create_psbt(built.tx, psbt_version)
    fill(wallet, psbt, with_paths=bip32derivs)
    position = built.change_position
    return {
        "psbt": psbt.to_base64(),
        "fee": amount(built.fee),
        "changepos": -1 if position is None else position,
    }


@methods.method(
    "walletprocesspsbt",
    "Update a PSBT with input information from our wallet and then sign inputs that we can sign for.",
    params=[
        text("psbt", "The transaction base64 string", required=True),
        boolean("sign", "Also sign the transaction when updating", default=True),
        text("sighashtype", "The signature hash type to sign with if not specified by the PSBT."),
        boolean("bip32derivs", "Include BIP 32 derivation paths for public keys if we know them", default=True),
        boolean("finalize", "Also finalize inputs if possible", default=True),
    ],
    returns='{"psbt":"str","complete":true|false,"hex":"hex"}',
    examples=['"psbt"'],
)
async def walletprocesspsbt(
    ctx: RpcContext, psbt: str, sign: bool, sighashtype: str | None, bip32derivs: bool, finalize: bool
) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    parsed = read_psbt(psbt)
    hash_type = None if sighashtype is None or sighashtype == "DEFAULT" else read_sighash_type(sighashtype)
    if sign:
        wallet.require_unlocked()
    fill(wallet, parsed, with_paths=bip32derivs)
    if sign:
        try:
            sign_own(wallet, parsed, hash_type)
        except PsbtError as error:
            raise RpcError(RpcCode.DESERIALIZATION_ERROR, str(error)) from None
    trial = copy_psbt(parsed)
    complete = finalize_all(trial)
    shown = trial if finalize else parsed
    out: dict[str, Any] = {"psbt": shown.to_base64(), "complete": complete}
    if complete and finalize:
        tx = extract(trial)
        if tx is not None:
            out["hex"] = tx.raw.hex()
    return out
