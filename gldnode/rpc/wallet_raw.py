"""Funding and signing raw transactions, replacing payments, signing messages: what sendtoaddress does in steps."""

from typing import Any

from gldnode.messages import sign_message
from gldnode.primitives.tx import TxOut
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount as amount_json
from gldnode.rpc.params import anything, arr, boolean, coin_amount, num, obj, text
from gldnode.rpc.rawtx import decode_tx
from gldnode.rpc.signing import read_prevouts, read_sighash_type, signing_result
from gldnode.rpc.wallet_access import WalletGroup, script_value, synced_wallet, wallet_of
from gldnode.rpc.wallet_send import (
    CONF_TARGET,
    ESTIMATE_MODE,
    FEE_RATE,
    read_spend_options,
    subtract_indexes,
)
from gldnode.script.templates import ScriptKind, solve
from gldnode.wallet.builder import Recipient
from gldnode.wallet.spending import coin_of, fund, signing_keys

__all__ = ["methods"]

methods = WalletGroup("Wallet")


@methods.method(
    "settxfee",
    "(DEPRECATED) Set the transaction fee rate per kvB for this wallet. Overrides the global -paytxfee "
    "command line parameter.\nCan be deactivated by passing 0 as the fee.",
    params=[coin_amount("amount", "The transaction fee rate per kvB", required=True)],
    returns="true|false",
    examples=["0.00001"],
)
async def settxfee(ctx: RpcContext, amount: int) -> bool:
    wallet = wallet_of(ctx)
    fees = wallet.fees
    if amount and amount < fees.relay_minimum:
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            f"txfee cannot be less than min relay tx fee ({_rate(fees.relay_minimum)})",
        )
    if amount and amount < fees.minimum:
        raise RpcError(
            RpcCode.INVALID_PARAMETER, f"txfee cannot be less than wallet min fee ({_rate(fees.minimum)})"
        )
    if amount > fees.max_tx_fee:
        raise RpcError(
            RpcCode.INVALID_PARAMETER, f"txfee cannot be more than wallet max tx fee ({_rate(fees.max_tx_fee)})"
        )
    fees.pay_feerate = amount
    return True


def _rate(feerate: int) -> str:
    return f"{feerate // 100_000_000}.{feerate % 100_000_000:08d} BTC/kvB"


@methods.method(
    "fundrawtransaction",
    "If the transaction has no inputs, they will be automatically selected to meet its out value.\nIt will add at "
    "most one change output to the outputs.",
    params=[
        text("hexstring", "The hex string of the raw transaction", required=True),
        obj(
            "options",
            "",
            [
                boolean("add_inputs", "Automatically include coins from the wallet.", default=True),
                boolean("include_unsafe", "Include inputs that are not safe to spend.", default=False),
                num("minconf", ""),
                num("maxconf", ""),
                text("changeAddress", "The address to receive the change"),
                num("changePosition", "The index of the change output"),
                text("change_type", "The output type to use."),
                boolean("lockUnspents", "Lock selected unspent outputs", default=False),
                FEE_RATE,
                anything("feeRate", "Specify a fee rate in coins/kvB.", word="numeric or string"),
                arr("subtractFeeFromOutputs", "Outputs to subtract the fee from", [num("vout_index", "")]),
                boolean("replaceable", "Marks this transaction as BIP125-replaceable."),
                CONF_TARGET,
                ESTIMATE_MODE,
            ],
            is_options=True,
        ),
        boolean("iswitness", "Whether the transaction hex is a serialized witness transaction."),
    ],
    returns='{"hex":"hex","fee":n,"changepos":n}',
    examples=['"rawtransactionhex"'],
)
async def fundrawtransaction(
    ctx: RpcContext, hexstring: str, options: dict[str, Any] | None, iswitness: bool | None
) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    tx = decode_tx(
        hexstring, witness=iswitness if iswitness is not None else False if _has_no_inputs(hexstring) else None
    )
    given = dict(options or {})
    chosen = read_spend_options(wallet, given)
    chosen.inputs = [txin.prevout for txin in tx.inputs]
    chosen.sequences = {txin.prevout: txin.sequence for txin in tx.inputs}
    chosen.add_inputs = given.get("add_inputs", True) is not False
    chosen.lock_time, chosen.version = tx.lock_time, tx.version
    payers = subtract_indexes(given.get("subtractFeeFromOutputs"), [str(i) for i in range(len(tx.outputs))])
    recipients = [Recipient(o.script_pubkey, o.amount, i in payers) for i, o in enumerate(tx.outputs)]
    built = await fund(wallet, recipients, chosen, lock=bool(given.get("lockUnspents", False)))
    position = built.change_position
    return {
        "hex": built.tx.raw.hex(),
        "fee": amount_json(built.fee),
        "changepos": -1 if position is None else position,
    }


def _has_no_inputs(hexstring: str) -> bool:
    return hexstring[8:10] == "00"


@methods.method(
    "signrawtransactionwithwallet",
    "Sign inputs for raw transaction (serialized, hex-encoded).",
    params=[
        text("hexstring", "The transaction hex string", required=True),
        arr("prevtxs", "The previous dependent transaction outputs", [obj("", "")]),
        text("sighashtype", "The signature hash type.", default="DEFAULT"),
    ],
    returns='{"hex":"hex","complete":true|false,"errors":[{...},...]}',
    examples=['"myhex"'],
)
async def signrawtransactionwithwallet(
    ctx: RpcContext, hexstring: str, prevtxs: list[Any] | None, sighashtype: str
) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    tx = decode_tx(hexstring, message="TX decode failed. Make sure the tx has at least one input.")
    hash_type = read_sighash_type(sighashtype)
    wallet.require_unlocked()
    found = {}
    for txin in tx.inputs:
        coin = coin_of(wallet, txin.prevout)
        if coin is not None:
            found[txin.prevout] = TxOut(coin.amount, coin.script_pubkey)
    extra = read_prevouts(prevtxs, found)
    keys = signing_keys(wallet, list(found.values()))
    for script in extra:
        keys.add_script(script)
    return signing_result(tx, found, keys, hash_type)


@methods.method(
    "signmessage",
    "Sign a message with the private key of an address.",
    params=[
        text("address", "The address to use for the private key.", required=True),
        text("message", "The message to create a signature of.", required=True),
    ],
    returns='"str"    (string) The signature of the message encoded in base 64',
    examples=['"address" "my message"'],
)
async def signmessage(ctx: RpcContext, address: str, message: str) -> str:
    wallet = wallet_of(ctx)
    wallet.require_unlocked()
    script = script_value(address, wallet.host.params, "Invalid address")
    kind, data = solve(script)
    if kind is not ScriptKind.PUBKEYHASH:
        raise RpcError(RpcCode.TYPE_ERROR, "Address does not refer to key")
    keys = signing_keys(wallet, [TxOut(0, script)])
    pubkey = keys.pubkeys.get(data[0])
    secret = keys.secrets.get(pubkey) if pubkey is not None else None
    if secret is None or pubkey is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Private key not available")
    return sign_message(secret, message, compressed=len(pubkey) == 33)
