"""Transactions out of text: decoding hex in either form, building one from parts (Core: rawtransaction_util)."""

from collections.abc import Mapping
from typing import Any, Final

from gldnode.address import address_to_script
from gldnode.errors import DecodeError
from gldnode.params import ChainParams
from gldnode.primitives.tx import SEQUENCE_FINAL, Tx, TxIn, TxOut, make_tx, outpoint, parse_tx
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import json_type
from gldnode.rpc.params import amount_value, hash_value, hex_value, integer_value
from gldnode.script.script import push_data, read_op

__all__ = ["construct_tx", "decode_tx", "has_valid_ops", "read_outputs"]

MAX_SCRIPT_SIZE: Final = 10_000
MAX_BIP125_SEQUENCE: Final = SEQUENCE_FINAL - 2


def decode_tx(text: str, *, witness: bool | None = None, message: str = "TX decode failed") -> Tx:
    """The transaction in hex `text`. `witness` forces the form, None tries both. Raises RpcError -22."""
    try:
        data = bytes.fromhex(text) if text.isascii() else b""
    except ValueError:
        data = b""
    if not data or len(data) * 2 != len(text):
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, message)
    forms = (True, False) if witness is None else (witness,)
    found: list[Tx] = []
    for allow_witness in forms:
        try:
            tx = parse_tx(data, allow_witness=allow_witness)
        except DecodeError:
            continue
        if witness is not None or _is_sane(tx):
            return tx
        found.append(tx)
    if not found:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, message)
    return found[0]


def _is_sane(tx: Tx) -> bool:
    """Whether all scripts could be scripts (Core: CheckTxScriptsSanity)."""
    scripts = [output.script_pubkey for output in tx.outputs]
    if not tx.is_coinbase:
        scripts += [txin.script_sig for txin in tx.inputs]
    return all(len(script) <= MAX_SCRIPT_SIZE and has_valid_ops(script) for script in scripts)


def has_valid_ops(script: bytes) -> bool:
    """Whether the script parses into known opcodes and pushes of allowed size (Core: HasValidOps)."""
    pos = 0
    while pos < len(script):
        step = read_op(script, pos)
        if step is None or step[0] > 0xBA or len(step[1]) > 520:
            return False
        pos = step[2]
    return True


def construct_tx(
    inputs: list[Any] | None,
    outputs: Any,
    lock_time: int | None,
    replaceable: bool | None,
    version: int,
    params: ChainParams,
) -> Tx:
    """An unsigned transaction of RPC arguments (Core: ConstructTransaction). Raises RpcError."""
    if outputs is None:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, output argument must be non-null")
    lock_time = 0 if lock_time is None else lock_time
    if not 0 <= lock_time <= 0xFFFFFFFF:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, locktime out of range")
    if not 1 <= version <= 3:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, version out of range(1~3)")
    tx_inputs = [_input(item, lock_time, replaceable) for item in inputs or []]
    tx = make_tx(version, tx_inputs, read_outputs(outputs, params), lock_time)
    if replaceable and tx_inputs and all(txin.sequence > MAX_BIP125_SEQUENCE for txin in tx_inputs):
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            "Invalid parameter combination: Sequence number(s) contradict replaceable option",
        )
    return tx


def _input(item: Any, lock_time: int, replaceable: bool | None) -> TxIn:
    if not isinstance(item, dict):
        raise RpcError(RpcCode.TYPE_ERROR, f"JSON value of type {json_type(item)} is not of expected type object")
    txid = hash_value(item.get("txid"), "txid")
    vout = item.get("vout")
    if json_type(vout) != "number":
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, missing vout key")
    vout = integer_value(vout)
    if vout < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, vout cannot be negative")
    if vout > 0xFFFFFFFF:
        raise RpcError(RpcCode.MISC_ERROR, "JSON integer out of range")
    if replaceable is None or replaceable:
        sequence = MAX_BIP125_SEQUENCE
    else:
        sequence = SEQUENCE_FINAL - 1 if lock_time else SEQUENCE_FINAL
    given = item.get("sequence")
    if json_type(given) == "number":
        sequence = integer_value(given)
        if not 0 <= sequence <= SEQUENCE_FINAL:
            raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, sequence number is out of range")
    return TxIn(outpoint(txid, vout), b"", sequence)


def read_outputs(outputs: Any, params: ChainParams) -> list[TxOut]:
    """Outputs of an object, or an array of objects with one key each (Core: ParseOutputs)."""
    out: list[TxOut] = []
    seen: set[str] = set()
    for name, value in _output_pairs(outputs):
        if name in seen:
            what = "duplicate key: data" if name == "data" else f"duplicated address: {name}"
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid parameter, {what}")
        seen.add(name)
        if name == "data":
            out.append(TxOut(0, b"\x6a" + push_data(hex_value(value, "Data"))))
            continue
        try:
            script = address_to_script(name, params)
        except DecodeError:
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f"Invalid Bitcoin address: {name[:120]}") from None
        out.append(TxOut(amount_value(value, params.max_money), script))
    return out


def _output_pairs(outputs: Any) -> list[tuple[str, Any]]:
    if isinstance(outputs, Mapping):
        return list(outputs.items())
    if not isinstance(outputs, list):
        raise RpcError(
            RpcCode.TYPE_ERROR, f"JSON value of type {json_type(outputs)} is not of expected type array"
        )
    pairs: list[tuple[str, Any]] = []
    for item in outputs:
        if not isinstance(item, dict):
            raise RpcError(
                RpcCode.INVALID_PARAMETER, "Invalid parameter, key-value pair not an object as expected"
            )
        if len(item) != 1:
            raise RpcError(
                RpcCode.INVALID_PARAMETER, "Invalid parameter, key-value pair must contain exactly one key"
            )
        pairs += item.items()
    return pairs
