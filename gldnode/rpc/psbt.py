"""PSBTs without a wallet: create, convert, decode, combine, finalize, analyze."""

from typing import Any

from gldnode.bip32 import format_path
from gldnode.primitives.base58 import encode_base58check
from gldnode.primitives.codec import Reader
from gldnode.primitives.tx import TxIn, TxOut, make_tx
from gldnode.psbt import Psbt, PsbtError, PsbtMap, create_psbt, key, parse_psbt
from gldnode.psbt_fields import Global, In, Out
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount
from gldnode.rpc.params import anything, arr, boolean, num, obj, text
from gldnode.rpc.rawtx import construct_tx, decode_tx
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import script_json, tx_json
from gldnode.script.script import script_to_asm
from gldnode.script.templates import solve
from gldnode.wallet.psbts import combine, extract, finalize_input, input_utxo, is_finalized
from gldnode.wallet.signing import SIGHASH_TYPES

__all__ = ["methods", "read_psbt"]

methods = MethodGroup("Rawtransactions")

_SIGHASH_NAMES = {value: name for name, value in SIGHASH_TYPES.items()}


def read_psbt(value: str) -> Psbt:
    """A PSBT argument. Raises RpcError -22."""
    try:
        psbt = parse_psbt(value)
        psbt.unsigned_tx()
    except PsbtError as error:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, f"TX decode failed {error}") from None
    return psbt


_PSBT = text("psbt", "A base64 string of a PSBT", required=True)


@methods.method(
    "createpsbt",
    "Creates a transaction in the Partially Signed Transaction format.\nImplements the Creator role.",
    params=[
        arr("inputs", "The inputs", [obj("", "")], required=True),
        anything("outputs", "The outputs", required=True, word="json array or object"),
        num("locktime", "Raw locktime.", default=0),
        boolean("replaceable", "Marks this transaction as BIP125-replaceable.", default=True),
        num("version", "Transaction version", default=2),
        num("psbt_version", "The PSBT version number to use.", default=0),
    ],
    returns='"str"    (string) The resulting raw transaction (base64-encoded string)',
    examples=['"[{\\"txid\\":\\"myid\\",\\"vout\\":0}]" "[{\\"data\\":\\"00010203\\"}]"'],
)
async def createpsbt(
    ctx: RpcContext,
    inputs: list[Any],
    outputs: Any,
    locktime: int,
    replaceable: bool,
    version: int,
    psbt_version: int,
) -> str:
    if psbt_version not in (0, 2):
        raise RpcError(RpcCode.INVALID_PARAMETER, "The PSBT version can only be 2 or 0")
    tx = construct_tx(inputs, outputs, locktime, replaceable, version, ctx.node.params)
    return create_psbt(tx, psbt_version).to_base64()


@methods.method(
    "converttopsbt",
    "Converts a network serialized transaction to a PSBT.",
    params=[
        text("hexstring", "The hex string of a raw transaction", required=True),
        boolean("permitsigdata", "If true, any signatures in the input will be discarded.", default=False),
        boolean("iswitness", "Whether the transaction hex is a serialized witness transaction."),
    ],
    returns='"str"    (string) The resulting raw transaction (base64-encoded string)',
    examples=['"rawtransaction"'],
)
async def converttopsbt(ctx: RpcContext, hexstring: str, permitsigdata: bool, iswitness: bool | None) -> str:
    tx = decode_tx(hexstring, witness=iswitness)
    if not permitsigdata and any(txin.script_sig or txin.witness for txin in tx.inputs):
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, "Inputs must not have scriptSigs and scriptWitnesses")
    return create_psbt(tx).to_base64()


@methods.method(
    "combinepsbt",
    "Combine multiple partially signed transactions into one transaction.\nImplements the Combiner role.",
    params=[arr("txs", "The base64 strings of partially signed transactions", [text("psbt", "")], required=True)],
    returns='"str"    (string) The base64-encoded partially signed transaction',
    examples=['"[\\"mybase64_1\\", \\"mybase64_2\\"]"'],
)
async def combinepsbt(ctx: RpcContext, txs: list[Any]) -> str:
    if not txs:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Parameter 'txs' cannot be empty")
    try:
        return combine([read_psbt(str(one)) for one in txs]).to_base64()
    except PsbtError as error:
        raise RpcError(RpcCode.INVALID_PARAMETER, str(error)) from None


@methods.method(
    "finalizepsbt",
    "Finalize the inputs of a PSBT. If the transaction is fully signed, it will produce a network serialized "
    "transaction which can be broadcast with sendrawtransaction.\nImplements the Finalizer and Extractor roles.",
    params=[
        _PSBT,
        boolean(
            "extract",
            "If true and the transaction is complete, extract and return the complete transaction.",
            default=True,
        ),
    ],
    returns='{"psbt":"str","hex":"hex","complete":true|false}',
    examples=['"psbt"'],
)
async def finalizepsbt(ctx: RpcContext, psbt: str, extract: bool) -> dict[str, Any]:
    parsed = read_psbt(psbt)
    return finalized_json(parsed, with_tx=extract)


def finalized_json(psbt: Psbt, *, with_tx: bool) -> dict[str, Any]:
    """Finalize what can be; the transaction when all is final."""
    done = [finalize_input(psbt, index) for index in range(len(psbt.inputs))]
    complete = all(done)
    tx = extract(psbt) if complete and with_tx else None
    if tx is not None:
        return {"hex": tx.raw.hex(), "complete": True}
    return {"psbt": psbt.to_base64(), "complete": complete}


# --- decodepsbt ---


def _origin_json(value: bytes) -> dict[str, Any]:
    steps = [int.from_bytes(value[at : at + 4], "little") for at in range(4, len(value), 4)]
    return {"master_fingerprint": value[:4].hex(), "path": "m" + format_path(steps)}


def _script_json(script: bytes) -> dict[str, Any]:
    return {"asm": script_to_asm(script), "hex": script.hex(), "type": str(solve(script).kind)}


def _derivations(pairs: PsbtMap, kind: int) -> list[dict[str, Any]]:
    return [
        {"pubkey": name[1:].hex(), **_origin_json(value)}
        for name, value in sorted(pairs.items())
        if name[0] == kind
    ]


def _tap_derivations(pairs: PsbtMap, kind: int) -> list[dict[str, Any]]:
    out = []
    for name, value in sorted(pairs.items()):
        if name[0] != kind:
            continue
        reader = Reader(value)
        hashes = [reader.take(32).hex() for _ in range(reader.compact_size())]
        out.append({"pubkey": name[1:].hex(), **_origin_json(value[reader.pos :]), "leaf_hashes": hashes})
    return out


def _unknown(pairs: PsbtMap, known: set[int]) -> dict[str, str]:
    return {name.hex(): value.hex() for name, value in sorted(pairs.items()) if name[0] not in known}


def _input_json(psbt: Psbt, index: int, ctx: RpcContext) -> dict[str, Any]:
    params = ctx.node.params
    pairs = psbt.inputs[index]
    out: dict[str, Any] = {}
    utxo = input_utxo(psbt, index)
    if key(In.WITNESS_UTXO) in pairs and utxo is not None:
        out["witness_utxo"] = {
            "amount": amount(utxo.amount),
            "scriptPubKey": script_json(utxo.script_pubkey, params),
        }
    if key(In.NON_WITNESS_UTXO) in pairs:
        out["non_witness_utxo"] = tx_json(decode_tx(pairs[key(In.NON_WITNESS_UTXO)].hex()), params, with_hex=False)
    partial = {name[1:].hex(): value.hex() for name, value in sorted(pairs.items()) if name[0] == In.PARTIAL_SIG}
    if partial:
        out["partial_signatures"] = partial
    if key(In.SIGHASH_TYPE) in pairs:
        kind = int.from_bytes(pairs[key(In.SIGHASH_TYPE)], "little")
        out["sighash"] = _SIGHASH_NAMES.get(kind, "")
    for kind, name in ((In.REDEEM_SCRIPT, "redeem_script"), (In.WITNESS_SCRIPT, "witness_script")):
        if key(kind) in pairs:
            out[name] = _script_json(pairs[key(kind)])
    if found := _derivations(pairs, In.BIP32_DERIVATION):
        out["bip32_derivs"] = found
    if key(In.FINAL_SCRIPTSIG) in pairs:
        script = pairs[key(In.FINAL_SCRIPTSIG)]
        out["final_scriptSig"] = {"asm": script_to_asm(script, decode_sighash=True), "hex": script.hex()}
    if key(In.FINAL_SCRIPTWITNESS) in pairs:
        reader = Reader(pairs[key(In.FINAL_SCRIPTWITNESS)])
        out["final_scriptwitness"] = [reader.var_bytes().hex() for _ in range(reader.compact_size())]
    for kind, name in (
        (In.RIPEMD160, "ripemd160_preimages"),
        (In.SHA256, "sha256_preimages"),
        (In.HASH160, "hash160_preimages"),
        (In.HASH256, "hash256_preimages"),
    ):
        images = {k[1:].hex(): value.hex() for k, value in sorted(pairs.items()) if k[0] == kind}
        if images:
            out[name] = images
    if key(In.TAP_KEY_SIG) in pairs:
        out["taproot_key_path_sig"] = pairs[key(In.TAP_KEY_SIG)].hex()
    script_sigs = [
        {"pubkey": name[1:33].hex(), "leaf_hash": name[33:].hex(), "sig": value.hex()}
        for name, value in sorted(pairs.items())
        if name[0] == In.TAP_SCRIPT_SIG
    ]
    if script_sigs:
        out["taproot_script_path_sigs"] = script_sigs
    leaves = [
        {"script": value[:-1].hex(), "leaf_ver": value[-1], "control_blocks": [name[1:].hex()]}
        for name, value in sorted(pairs.items())
        if name[0] == In.TAP_LEAF_SCRIPT
    ]
    if leaves:
        out["taproot_scripts"] = leaves
    if derivations := _tap_derivations(pairs, In.TAP_BIP32_DERIVATION):
        out["taproot_bip32_derivs"] = derivations
    for kind, name in ((In.TAP_INTERNAL_KEY, "taproot_internal_key"), (In.TAP_MERKLE_ROOT, "taproot_merkle_root")):
        if key(kind) in pairs:
            out[name] = pairs[key(kind)].hex()
    if unknown := _unknown(pairs, {int(kind) for kind in In}):
        out["unknown"] = unknown
    return out


def _output_json(pairs: PsbtMap) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for kind, name in ((Out.REDEEM_SCRIPT, "redeem_script"), (Out.WITNESS_SCRIPT, "witness_script")):
        if key(kind) in pairs:
            out[name] = _script_json(pairs[key(kind)])
    if found := _derivations(pairs, Out.BIP32_DERIVATION):
        out["bip32_derivs"] = found
    if key(Out.TAP_INTERNAL_KEY) in pairs:
        out["taproot_internal_key"] = pairs[key(Out.TAP_INTERNAL_KEY)].hex()
    if key(Out.TAP_TREE) in pairs:
        reader = Reader(pairs[key(Out.TAP_TREE)])
        tree = []
        while reader.remaining:
            depth, version = reader.u8(), reader.u8()
            tree.append({"depth": depth, "leaf_ver": version, "script": reader.var_bytes().hex()})
        out["taproot_tree"] = tree
    if derivations := _tap_derivations(pairs, Out.TAP_BIP32_DERIVATION):
        out["taproot_bip32_derivs"] = derivations
    if unknown := _unknown(pairs, {int(kind) for kind in Out}):
        out["unknown"] = unknown
    return out


@methods.method(
    "decodepsbt",
    "Return a JSON object representing the serialized, base64-encoded partially signed transaction.",
    params=[text("psbt", "The PSBT base64 string", required=True)],
    returns='{"tx":{...},"global_xpubs":[...],"psbt_version":n,"inputs":[{...},...],"outputs":[{...},...],"fee":n}',
    examples=['"psbt"'],
)
async def decodepsbt(ctx: RpcContext, psbt: str) -> dict[str, Any]:
    parsed = read_psbt(psbt)
    tx = parsed.unsigned_tx()
    out: dict[str, Any] = {"tx": tx_json(tx, ctx.node.params, with_hex=False)}
    out["global_xpubs"] = [
        {"xpub": encode_base58check(name[1:]), **_origin_json(value)}
        for name, value in sorted(parsed.globals.items())
        if name[0] == Global.XPUB
    ]
    out["psbt_version"] = parsed.version
    out["proprietary"] = []
    out["unknown"] = _unknown(parsed.globals, {int(kind) for kind in Global})
    out["inputs"] = [_input_json(parsed, index, ctx) for index in range(len(parsed.inputs))]
    out["outputs"] = [_output_json(pairs) for pairs in parsed.outputs]
    fee = _fee(parsed)
    if fee is not None:
        out["fee"] = amount(fee)
    return out


def _fee(psbt: Psbt) -> int | None:
    utxos = [input_utxo(psbt, index) for index in range(len(psbt.inputs))]
    if any(utxo is None for utxo in utxos):
        return None
    paid = sum(utxo.amount for utxo in utxos if utxo is not None)
    return paid - sum(output.amount for output in psbt.unsigned_tx().outputs)


@methods.method(
    "analyzepsbt",
    "Analyzes and provides information about the current status of a PSBT and its inputs",
    params=[_PSBT],
    returns='{"inputs":[{...},...],"estimated_vsize":n,"estimated_feerate":n,"fee":n,"next":"str","error":"str"}',
    examples=['"psbt"'],
)
async def analyzepsbt(ctx: RpcContext, psbt: str) -> dict[str, Any]:
    parsed = read_psbt(psbt)
    inputs: list[dict[str, Any]] = []
    stages: list[str] = []
    for index in range(len(parsed.inputs)):
        pairs = parsed.inputs[index]
        has_utxo = input_utxo(parsed, index) is not None
        final = is_finalized(pairs)
        one: dict[str, Any] = {"has_utxo": has_utxo, "is_final": final}
        if not has_utxo:
            stage = "updater"
        elif final:
            stage = "extractor"
        else:
            trial = Psbt(dict(parsed.globals), [dict(p) for p in parsed.inputs], [dict(p) for p in parsed.outputs])
            stage = "finalizer" if finalize_input(trial, index) else "signer"
        one["next"] = stage
        inputs.append(one)
        stages.append(stage)
    order = ["updater", "signer", "finalizer", "extractor"]
    out: dict[str, Any] = {}
    if inputs:
        out["inputs"] = inputs
    fee = _fee(parsed)
    trial = Psbt(dict(parsed.globals), [dict(p) for p in parsed.inputs], [dict(p) for p in parsed.outputs])
    done = [finalize_input(trial, index) for index in range(len(trial.inputs))]
    if fee is not None and all(done):
        tx = extract(trial)
        if tx is not None and tx.inputs:
            out["estimated_vsize"] = tx.vsize
            out["estimated_feerate"] = amount(fee * 1000 // tx.vsize)
    if fee is not None:
        out["fee"] = amount(fee)
    out["next"] = min(stages, key=order.index, default="extractor")
    if fee is not None and fee < 0:
        return {"next": "creator", "error": "PSBT is not valid. Output amount invalid"}
    return out


@methods.method(
    "joinpsbts",
    "Joins multiple distinct PSBTs with different inputs and outputs into one PSBT with inputs and outputs "
    "from all of the PSBTs",
    params=[arr("txs", "The base64 strings of partially signed transactions", [text("psbt", "")], required=True)],
    returns='"str"    (string) The base64-encoded partially signed transaction',
    examples=['"[\\"mybase64_1\\", \\"mybase64_2\\"]"'],
)
async def joinpsbts(ctx: RpcContext, txs: list[Any]) -> str:
    if len(txs) <= 1:
        raise RpcError(RpcCode.INVALID_PARAMETER, "At least two PSBTs are required to join PSBTs.")
    parsed = [read_psbt(str(one)) for one in txs]
    inputs: list[tuple[TxIn, PsbtMap]] = []
    outputs: list[tuple[TxOut, PsbtMap]] = []
    for one in parsed:
        tx = one.unsigned_tx()
        inputs += zip(tx.inputs, one.inputs, strict=True)
        outputs += zip(tx.outputs, one.outputs, strict=True)
    prevouts = [txin.prevout for txin, _ in inputs]
    for txin, _ in inputs:
        if prevouts.count(txin.prevout) > 1:
            raise RpcError(
                RpcCode.INVALID_PARAMETER,
                f"Input {txin.prevout!r} exists in multiple PSBTs",
            )
    version = max(one.unsigned_tx().version for one in parsed)
    lock_time = max(one.unsigned_tx().lock_time for one in parsed)
    joined = create_psbt(
        make_tx(version, [txin for txin, _ in inputs], [output for output, _ in outputs], lock_time)
    )
    joined.inputs = [dict(pairs) for _, pairs in inputs]
    joined.outputs = [dict(pairs) for _, pairs in outputs]
    return joined.to_base64()
