"""Paying from a wallet: sendtoaddress, sendmany, send, sendall, bumpfee, and signing."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gldnode.psbt import create_psbt
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import json_type
from gldnode.rpc.params import (
    amount_value,
    anything,
    arr,
    boolean,
    coin_amount,
    integer_value,
    num,
    obj,
    text,
)
from gldnode.rpc.rawtx import read_outputs
from gldnode.rpc.render import display
from gldnode.rpc.wallet_access import WalletGroup, outpoints_value, script_value, synced_wallet
from gldnode.wallet.builder import Built, Recipient
from gldnode.wallet.errors import WalletError
from gldnode.wallet.psbtfill import copy_psbt, fill, finalize_all, sign_own
from gldnode.wallet.spending import SpendOptions, fund, pay, pay_all
from gldnode.wallet.wallet import OUTPUT_TYPES, Wallet

__all__ = [
    "CONF_TARGET",
    "ESTIMATE_MODE",
    "FEE_RATE",
    "methods",
    "read_spend_options",
    "recipients_of",
    "require_signing",
    "set_fee_options",
    "subtract_indexes",
]

methods = WalletGroup("Wallet")

_ESTIMATE_MODES: Final = ("unset", "economical", "conservative")
FEE_RATE = anything("fee_rate", "Specify a fee rate in sat/vB.", word="numeric or string")
CONF_TARGET = num("conf_target", "Confirmation target in blocks")
ESTIMATE_MODE = text(
    "estimate_mode", 'The fee estimate mode: "unset", "economical" or "conservative"', default="unset"
)


def _feerate_per_vb(value: Any) -> int:
    """Grains per kvB of a fee rate in grains per vB, with up to three decimals. Raises RpcError."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise RpcError(RpcCode.TYPE_ERROR, "Amount is not a number or string")
    grains = amount_value(value)
    if grains % 100_000:
        raise RpcError(RpcCode.TYPE_ERROR, "Invalid amount")
    return grains // 100_000


def set_fee_options(
    options: SpendOptions, conf_target: int | None, estimate_mode: str | None, fee_rate: Any
) -> None:
    """Core's SetFeeEstimateMode. Raises RpcError."""
    mode = (estimate_mode or "unset").lower()
    if fee_rate is not None:
        if conf_target is not None:
            raise RpcError(
                RpcCode.INVALID_PARAMETER,
                "Cannot specify both conf_target and fee_rate. Please provide either a confirmation target in "
                "blocks for automatic fee estimation, or an explicit fee rate.",
            )
        if mode != "unset":
            raise RpcError(RpcCode.INVALID_PARAMETER, "Cannot specify both estimate_mode and fee_rate")
        options.feerate = _feerate_per_vb(fee_rate)
        if options.replaceable is None:
            options.replaceable = True
        return
    if mode not in _ESTIMATE_MODES:
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            'Invalid estimate_mode parameter, must be one of: "unset", "economical", "conservative"',
        )
    if conf_target is not None:
        if not 1 <= conf_target <= 1008:
            raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid conf_target, must be between 1 and 1008")
        options.conf_target = conf_target


def require_signing(wallet: Wallet) -> None:
    wallet.require_unlocked()
    if not wallet.meta.has_private_keys:
        raise RpcError(RpcCode.WALLET_ERROR, "Error: Private keys are disabled for this wallet")


@methods.method(
    "sendtoaddress",
    "Send an amount to a given address.",
    params=[
        text("address", "The address to send to.", required=True),
        coin_amount("amount", "The amount to send. eg 0.1", required=True),
        text("comment", "A comment used to store what the transaction is for."),
        text("comment_to", "A comment to store the name of the person or organization to which you're sending."),
        boolean("subtractfeefromamount", "The fee will be deducted from the amount being sent.", default=False),
        boolean("replaceable", "Signal that this transaction can be replaced by a transaction (BIP 125)"),
        CONF_TARGET,
        ESTIMATE_MODE,
        boolean("avoid_reuse", "Avoid spending from dirty addresses.", default=True),
        FEE_RATE,
        boolean("verbose", "If true, return extra information about the transaction.", default=False),
    ],
    returns='"hex"    (string) The transaction id.',
    examples=['"address" 0.1', '"address" 0.1 "donation" "sean\'s outpost"'],
)
async def sendtoaddress(
    ctx: RpcContext,
    address: str,
    amount: int,
    comment: str | None,
    comment_to: str | None,
    subtractfeefromamount: bool,
    replaceable: bool | None,
    conf_target: int | None,
    estimate_mode: str | None,
    avoid_reuse: bool,
    fee_rate: Any,
    verbose: bool,
) -> Any:
    wallet = await synced_wallet(ctx)
    require_signing(wallet)
    script = script_value(address, wallet.host.params, "Invalid Bitcoin address: {}")
    options = SpendOptions(replaceable=replaceable, comment=comment or "", to=comment_to or "")
    set_fee_options(options, conf_target, estimate_mode, fee_rate)
    if amount > wallet.host.params.max_money:
        raise RpcError(RpcCode.TYPE_ERROR, "Amount out of range")
    built = await pay(wallet, [Recipient(script, amount, subtractfeefromamount)], options)
    return _sent(built, wallet, options, verbose)


def _sent(built: Built, wallet: Wallet, options: SpendOptions, verbose: bool) -> Any:
    if not verbose:
        return display(built.tx.txid)
    if options.feerate is not None:
        reason = "Fee Rate set"
    else:
        reason = wallet.fees.choose(wallet.host.mempool, options.conf_target)[1]
    return {"txid": display(built.tx.txid), "fee_reason": reason}


def subtract_indexes(named: Sequence[Any] | None, addresses: Sequence[str]) -> set[int]:
    """Outputs that pay the fee, by address or position (Core: InterpretSubtractFeeFromOutputInstructions)."""
    found: set[int] = set()
    for item in named or []:
        if isinstance(item, str):
            if item not in addresses:
                raise RpcError(
                    RpcCode.INVALID_PARAMETER,
                    f"Invalid parameter 'subtract fee from output', destination {item[:120]} not found in tx "
                    "outputs",
                )
            position = list(addresses).index(item)
        else:
            position = integer_value(item)
            if position < 0:
                raise RpcError(
                    RpcCode.INVALID_PARAMETER,
                    f"Invalid parameter 'subtract fee from output', negative position: {position}",
                )
            if position >= len(addresses):
                raise RpcError(
                    RpcCode.INVALID_PARAMETER,
                    f"Invalid parameter 'subtract fee from output', position too large: {position}",
                )
        if position in found:
            raise RpcError(
                RpcCode.INVALID_PARAMETER,
                f"Invalid parameter 'subtract fee from output', duplicated position: {position}",
            )
        found.add(position)
    return found


def _names(outputs: Any) -> list[str]:
    if isinstance(outputs, Mapping):
        return list(outputs)
    return [next(iter(item)) for item in outputs if isinstance(item, dict) and item]


def recipients_of(wallet: Wallet, outputs: Any, subtract: Sequence[Any] | None) -> list[Recipient]:
    """Recipients of an outputs argument. Raises RpcError."""
    parsed = read_outputs(outputs, wallet.host.params)
    payers = subtract_indexes(subtract, _names(outputs))
    return [Recipient(output.script_pubkey, output.amount, index in payers) for index, output in enumerate(parsed)]


@methods.method(
    "sendmany",
    "Send multiple times. Amounts are double-precision floating point numbers.",
    params=[
        text("dummy", 'Must be set to "" for backwards compatibility.', default=""),
        obj("amounts", "The addresses and amounts", required=True),
        num("minconf", "Ignored dummy value"),
        text("comment", "A comment"),
        arr("subtractfeefrom", "The addresses that pay the fee.", [text("address", "")]),
        boolean("replaceable", "Signal that this transaction can be replaced by a transaction (BIP 125)"),
        CONF_TARGET,
        ESTIMATE_MODE,
        FEE_RATE,
        boolean("verbose", "If true, return extra information about the transaction.", default=False),
    ],
    returns='"hex"    (string) The transaction id for the send.',
    examples=['"" "{\\"address1\\":0.01,\\"address2\\":0.02}"'],
)
async def sendmany(
    ctx: RpcContext,
    dummy: str,
    amounts: dict[str, Any],
    minconf: int | None,
    comment: str | None,
    subtractfeefrom: list[Any] | None,
    replaceable: bool | None,
    conf_target: int | None,
    estimate_mode: str | None,
    fee_rate: Any,
    verbose: bool,
) -> Any:
    wallet = await synced_wallet(ctx)
    require_signing(wallet)
    if dummy:
        raise RpcError(RpcCode.INVALID_PARAMETER, 'Dummy value must be set to ""')
    options = SpendOptions(replaceable=replaceable, comment=comment or "")
    set_fee_options(options, conf_target, estimate_mode, fee_rate)
    recipients = recipients_of(wallet, amounts, subtractfeefrom)
    return _sent(await pay(wallet, recipients, options), wallet, options, verbose)


def read_spend_options(wallet: Wallet, given: Mapping[str, Any]) -> SpendOptions:
    """The options object of send, fundrawtransaction and walletcreatefundedpsbt. Raises RpcError."""
    options = SpendOptions()

    def read(name: str, kind: str) -> Any:
        value = given.get(name)
        if value is not None and json_type(value) != kind:
            raise RpcError(
                RpcCode.TYPE_ERROR,
                f"JSON value of type {json_type(value)} for field {name} is not of expected type {kind}",
            )
        return value

    options.replaceable = read("replaceable", "bool")
    change = read("changeAddress", "string") or read("change_address", "string")
    if change is not None:
        options.change_script = script_value(
            change, wallet.host.params, "Change address must be a valid bitcoin address"
        )
    change_type = read("change_type", "string")
    if change_type is not None:
        if change is not None:
            raise RpcError(
                RpcCode.INVALID_PARAMETER, "Cannot specify both change address and address type options"
            )
        if change_type not in OUTPUT_TYPES:
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f"Unknown change type '{change_type[:80]}'")
        options.change_type = change_type
    for name in ("changePosition", "change_position"):
        position = read(name, "number")
        if position is not None and integer_value(position) >= 0:
            options.change_position = integer_value(position)
    unsafe = read("include_unsafe", "bool")
    options.include_unsafe = bool(unsafe)
    for name, field in (("minconf", "min_depth"), ("maxconf", "max_depth")):
        depth = read(name, "number")
        if depth is not None:
            if integer_value(depth) < 0:
                raise RpcError(RpcCode.INVALID_PARAMETER, f"Negative {name}")
            setattr(options, field, integer_value(depth))
    if options.max_depth < options.min_depth:
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            f"maxconf can't be lower than minconf: {options.max_depth} < {options.min_depth}",
        )
    feerate = given.get("feeRate")
    if feerate is not None:
        if given.get("fee_rate") is not None:
            raise RpcError(
                RpcCode.INVALID_PARAMETER, "Cannot specify both fee_rate (sat/vB) and feeRate (BTC/kvB)"
            )
        options.feerate = amount_value(feerate)
    conf_target = read("conf_target", "number")
    set_fee_options(
        options,
        None if conf_target is None else integer_value(conf_target),
        read("estimate_mode", "string"),
        given.get("fee_rate"),
    )
    return options


_SEND_OPTIONS = obj(
    "options",
    "",
    [
        boolean("add_inputs", "Automatically include coins from the wallet to cover the target amount."),
        boolean("include_unsafe", "Include inputs that are not safe to spend.", default=False),
        boolean(
            "add_to_wallet", "When false, returns the serialized transaction without broadcasting.", default=True
        ),
        text("change_address", "The address to receive the change"),
        num("change_position", "The index of the change output"),
        text("change_type", "The output type to use."),
        arr("inputs", "The inputs", [obj("", "")]),
        num("locktime", "Raw locktime."),
        boolean("lock_unspents", "Lock selected unspent outputs", default=False),
        boolean("psbt", "Always return a PSBT, implies add_to_wallet=false."),
        arr("subtract_fee_from_outputs", "Outputs to subtract the fee from", [num("vout_index", "")]),
        boolean("replaceable", "Marks this transaction as BIP125-replaceable."),
        num("minconf", ""),
        num("maxconf", ""),
    ],
    is_options=True,
)


@methods.method(
    "send",
    "Send a transaction.",
    params=[
        anything(
            "outputs",
            'The outputs: addresses with amounts, and at most one "data".',
            required=True,
            word="json array or object",
        ),
        CONF_TARGET,
        ESTIMATE_MODE,
        FEE_RATE,
        _SEND_OPTIONS,
    ],
    returns='{"complete":true|false,"txid":"hex","hex":"hex","psbt":"str"}',
    examples=["'{\"address\": 0.1}'"],
)
async def send(
    ctx: RpcContext,
    outputs: Any,
    conf_target: int | None,
    estimate_mode: str | None,
    fee_rate: Any,
    options: dict[str, Any] | None,
) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    given = dict(options or {})
    for name, value in (("conf_target", conf_target), ("estimate_mode", estimate_mode), ("fee_rate", fee_rate)):
        if value is not None and value != "unset":
            if given.get(name) is not None:
                raise RpcError(
                    RpcCode.INVALID_PARAMETER,
                    f"Pass {name} either as an argument or in the options object, but not both",
                )
            given[name] = value
    chosen = read_spend_options(wallet, given)
    if given.get("inputs"):
        chosen.inputs = outpoints_value(given["inputs"])
        chosen.add_inputs = bool(given.get("add_inputs", False))
    if given.get("locktime") is not None:
        chosen.lock_time = integer_value(given["locktime"])
    recipients = recipients_of(wallet, outputs, given.get("subtract_fee_from_outputs"))
    broadcast = given.get("add_to_wallet", True) is not False
    if given.get("psbt") or not wallet.meta.has_private_keys:
        return await _send_psbt(wallet, recipients, chosen, lock=bool(given.get("lock_unspents", False)))
    require_signing(wallet)
    try:
        built = await pay(wallet, recipients, chosen, broadcast=broadcast)
    except WalletError as error:  # Core's FundTransaction has one code for all of them
        raise RpcError(RpcCode.WALLET_ERROR, error.message) from None
    out: dict[str, Any] = {"complete": True, "txid": display(built.tx.txid)}
    if not broadcast:
        out["hex"] = built.tx.raw.hex()
    return out


async def _send_psbt(
    wallet: Wallet, recipients: list[Recipient], options: SpendOptions, *, lock: bool
) -> dict[str, Any]:
    """Fund, and sign what can be signed, without sending."""
    if wallet.meta.has_private_keys:
        wallet.require_unlocked()
    psbt = create_psbt((await fund(wallet, recipients, options, lock=lock)).tx)
    fill(wallet, psbt, with_paths=True)
    if wallet.meta.has_private_keys:
        sign_own(wallet, psbt)
    return {"complete": finalize_all(copy_psbt(psbt)), "psbt": psbt.to_base64()}


@methods.method(
    "sendall",
    "Spend the value of all (or specific) confirmed UTXOs and unconfirmed change in the wallet to one or more "
    "recipients.",
    params=[
        arr("recipients", "The sendall destinations: addresses, or objects with an amount.", required=True),
        CONF_TARGET,
        ESTIMATE_MODE,
        FEE_RATE,
        obj(
            "options",
            "",
            [
                boolean("add_to_wallet", "When false, returns the serialized transaction.", default=True),
                arr("inputs", "Use exactly the specified inputs to build the transaction.", [obj("", "")]),
                boolean("send_max", "Only use UTXOs with a positive effective value.", default=False),
            ],
            is_options=True,
        ),
    ],
    returns='{"complete":true|false,"txid":"hex","hex":"hex"}',
    examples=["'[\"address\"]'"],
)
async def sendall(
    ctx: RpcContext,
    recipients: list[Any],
    conf_target: int | None,
    estimate_mode: str | None,
    fee_rate: Any,
    options: dict[str, Any] | None,
) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    require_signing(wallet)
    given = dict(options or {})
    chosen = SpendOptions()
    set_fee_options(chosen, conf_target, estimate_mode, fee_rate)
    fixed: list[Recipient] = []
    open_ended: list[bytes] = []
    for item in recipients:
        if isinstance(item, str):
            open_ended.append(script_value(item, wallet.host.params, "Invalid Bitcoin address: {}"))
        else:
            fixed += recipients_of(wallet, [item], None)
    if not open_ended:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Must provide at least one address without a specified amount")
    inputs = outpoints_value(given["inputs"]) if given.get("inputs") else None
    broadcast = given.get("add_to_wallet", True) is not False
    built = await pay_all(wallet, fixed, open_ended, inputs, chosen, broadcast=broadcast)
    out: dict[str, Any] = {"complete": True, "txid": display(built.tx.txid)}
    if not broadcast:
        out["hex"] = built.tx.raw.hex()
    return out
