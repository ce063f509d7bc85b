"""What signrawtransactionwithkey and signrawtransactionwithwallet share, and the former."""

from typing import Any

from gldnode.address import parse_wif
from gldnode.crypto.secp256k1 import pubkey_of
from gldnode.errors import DecodeError
from gldnode.primitives.tx import OutPoint, Tx, TxOut, outpoint
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import json_type
from gldnode.rpc.params import amount_value, arr, hash_value, hex_value, integer_value, obj, text
from gldnode.rpc.rawtx import decode_tx
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display
from gldnode.script.templates import p2sh_script, p2wsh_script
from gldnode.wallet.signing import SIGHASH_TYPES, SigningKeys, sign_transaction

__all__ = ["methods", "read_prevouts", "read_sighash_type", "signing_result"]

methods = MethodGroup("Rawtransactions")


def read_sighash_type(name: str) -> int:
    """Raises RpcError -8."""
    found = SIGHASH_TYPES.get(name)
    if found is None:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"'{name[:80]}' is not a valid sighash parameter.")
    return found


def read_prevouts(items: list[Any] | None, found: dict[OutPoint, TxOut]) -> list[bytes]:
    """Put the outputs that the caller describes into `found`; gives the scripts beside them (ParsePrevouts)."""
    scripts: list[bytes] = []
    for item in items or []:
        if not isinstance(item, dict):
            raise RpcError(RpcCode.DESERIALIZATION_ERROR, 'expected object with {"txid\',\'vout","scriptPubKey"}')
        txid = hash_value(item.get("txid"), "txid")
        vout = item.get("vout")
        if json_type(vout) != "number":
            raise RpcError(RpcCode.TYPE_ERROR, "Missing vout")
        number = integer_value(vout)
        if not 0 <= number <= 0xFFFFFFFF:
            raise RpcError(RpcCode.DESERIALIZATION_ERROR, "vout cannot be negative")
        if item.get("scriptPubKey") is None:
            raise RpcError(RpcCode.TYPE_ERROR, "Missing scriptPubKey")
        script = hex_value(item["scriptPubKey"], "scriptPubKey")
        prevout = outpoint(txid, number)
        known = found.get(prevout)
        if known is not None and known.script_pubkey != script:
            raise RpcError(
                RpcCode.DESERIALIZATION_ERROR,
                f"Previous output scriptPubKey mismatch:\n{known.script_pubkey.hex()}\nvs:\n{script.hex()}",
            )
        value = known.amount if known is not None else 0
        if item.get("amount") is not None:
            value = amount_value(item["amount"])
        found[prevout] = TxOut(value, script)
        scripts += _given_scripts(item, script)
    return scripts


def _given_scripts(item: dict[str, Any], script: bytes) -> list[bytes]:
    """Redeem and witness scripts, checked against what they must hash to."""
    is_p2sh = script[:2] == b"\xa9\x14" and len(script) == 23
    is_p2wsh = script[:2] == b"\x00\x20" and len(script) == 34
    if not (is_p2sh or is_p2wsh):
        return []
    redeem = hex_value(item["redeemScript"], "redeemScript") if item.get("redeemScript") is not None else None
    witness = hex_value(item["witnessScript"], "witnessScript") if item.get("witnessScript") is not None else None
    if redeem is None and witness is None:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Missing redeemScript/witnessScript")
    given = [one for one in (redeem, witness) if one is not None]
    wrapped = [*given, *(p2wsh_script(one) for one in given)]
    if not any(p2sh_script(one) == script or p2wsh_script(one) == script for one in wrapped):
        raise RpcError(RpcCode.INVALID_PARAMETER, "redeemScript/witnessScript does not match scriptPubKey")
    return wrapped


def signing_result(tx: Tx, found: dict[OutPoint, TxOut], keys: SigningKeys, hash_type: int) -> dict[str, Any]:
    """Sign, and tell what is missing (Core: SignTransactionResultToJSON)."""
    missing = {i for i, txin in enumerate(tx.inputs) if txin.prevout not in found}
    spent = [found.get(txin.prevout, TxOut(0, b"")) for txin in tx.inputs]
    present = [i for i in range(len(tx.inputs)) if i not in missing]
    signed, errors = sign_transaction(tx, spent, keys, hash_type, only=present)
    for index in missing:
        errors[index] = "Input not found or already spent"
    out: dict[str, Any] = {"hex": signed.raw.hex(), "complete": not errors}
    if errors:
        out["errors"] = [_error_json(signed, index, errors[index]) for index in sorted(errors)]
    return out


def _error_json(tx: Tx, index: int, message: str) -> dict[str, Any]:
    txin = tx.inputs[index]
    return {
        "txid": display(txin.prevout.txid),
        "vout": txin.prevout.vout,
        "witness": [item.hex() for item in txin.witness],
        "scriptSig": txin.script_sig.hex(),
        "sequence": txin.sequence,
        "error": message,
    }


@methods.method(
    "signrawtransactionwithkey",
    "Sign inputs for raw transaction (serialized, hex-encoded).\nThe second argument is an array of "
    "base58-encoded private keys that will be the only keys used to sign the transaction.",
    params=[
        text("hexstring", "The transaction hex string", required=True),
        arr("privkeys", "The base58-encoded private keys for signing", [text("privatekey", "")], required=True),
        arr("prevtxs", "The previous dependent transaction outputs", [obj("", "")]),
        text("sighashtype", "The signature hash type.", default="DEFAULT"),
    ],
    returns='{"hex":"hex","complete":true|false,"errors":[{...},...]}',
    examples=['"myhex" "[\\"key1\\",\\"key2\\"]"'],
)
async def signrawtransactionwithkey(
    ctx: RpcContext, hexstring: str, privkeys: list[Any], prevtxs: list[Any] | None, sighashtype: str
) -> dict[str, Any]:
    tx = decode_tx(hexstring, message="TX decode failed. Make sure the tx has at least one input.")
    keys = SigningKeys()
    for item in privkeys:
        try:
            secret, compressed = parse_wif(str(item), ctx.node.params)
        except DecodeError:
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Invalid private key") from None
        keys.add_secret(secret, compressed=compressed)
        keys.add_pubkey(pubkey_of(secret, compressed=compressed))
    found: dict[OutPoint, TxOut] = {}
    for txin in tx.inputs:
        coin = ctx.node.pool.coin(txin.prevout)
        if coin is not None:
            found[txin.prevout] = TxOut(coin.amount, coin.script_pubkey)
    for script in read_prevouts(prevtxs, found):
        keys.add_script(script)
    return signing_result(tx, found, keys, read_sighash_type(sighashtype))
