"""Transactions, scripts, headers and numbers as Core's RPC shows them. Pure."""

from collections.abc import Sequence
from typing import Any

from gldnode.address import script_to_address
from gldnode.chain.entry import BlockEntry
from gldnode.consensus.pow import target_from_bits
from gldnode.descriptors import infer_descriptor
from gldnode.params import ChainParams
from gldnode.primitives.coin import Coin
from gldnode.primitives.tx import Tx, TxIn, TxOut
from gldnode.rpc.json import amount, number
from gldnode.script.script import script_to_asm
from gldnode.script.templates import ScriptKind, solve

__all__ = [
    "difficulty",
    "difficulty_number",
    "display",
    "header_json",
    "script_json",
    "target_hex",
    "tx_json",
]


def display(value: bytes) -> str:
    """A hash as people write it: reversed hex."""
    return value[::-1].hex()


def difficulty(bits: int) -> float:
    """How many times harder than the easiest target of Bitcoin's main network (Core: GetDifficulty)."""
    mantissa = bits & 0x00FFFFFF
    if mantissa == 0:
        return 0.0
    value = 0xFFFF / mantissa
    shift = bits >> 24
    return float(value * 256.0 ** (29 - shift))


def difficulty_number(bits: int) -> Any:
    return number(difficulty(bits))


def target_hex(bits: int) -> str:
    target, negative, overflow = target_from_bits(bits)
    return f"{0 if negative or overflow else target:064x}"


def script_json(script: bytes, params: ChainParams, *, with_address: bool = True) -> dict[str, Any]:
    """An output script (Core: ScriptToUniv)."""
    kind = solve(script).kind
    out: dict[str, Any] = {"asm": script_to_asm(script)}
    if with_address:
        out["desc"] = infer_descriptor(script, params)
    out["hex"] = script.hex()
    if with_address and kind is not ScriptKind.PUBKEY:
        address = script_to_address(script, params)
        if address is not None:
            out["address"] = address
    out["type"] = str(kind)
    return out


def tx_json(
    tx: Tx,
    params: ChainParams,
    *,
    spent: Sequence[Coin] | None = None,
    with_prevouts: bool = False,
    with_hex: bool = True,
    block_hash: bytes | None = None,
) -> dict[str, Any]:
    """A transaction (Core: TxToUniv). `spent`: the coins of its inputs, for `fee` and, if asked, `prevout`."""
    out: dict[str, Any] = {
        "txid": display(tx.txid),
        "hash": display(tx.wtxid),
        "version": tx.version & 0xFFFFFFFF,
        "size": tx.total_size,
        "vsize": tx.vsize,
        "weight": tx.weight,
        "locktime": tx.lock_time,
        "vin": [
            _input_json(tx, txin, params, spent[index] if spent and with_prevouts else None)
            for index, txin in enumerate(tx.inputs)
        ],
        "vout": [output_json(index, output, params) for index, output in enumerate(tx.outputs)],
    }
    if spent is not None and not tx.is_coinbase:
        out["fee"] = amount(sum(coin.amount for coin in spent) - sum(output.amount for output in tx.outputs))
    if block_hash is not None:
        out["blockhash"] = display(block_hash)
    if with_hex:
        out["hex"] = tx.raw.hex()
    return out


def output_json(index: int, output: TxOut, params: ChainParams) -> dict[str, Any]:
    return {
        "value": amount(output.amount),
        "n": index,
        "scriptPubKey": script_json(output.script_pubkey, params),
    }


def _input_json(tx: Tx, txin: TxIn, params: ChainParams, coin: Coin | None) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if tx.is_coinbase:
        out["coinbase"] = txin.script_sig.hex()
    else:
        out["txid"] = display(txin.prevout.txid)
        out["vout"] = txin.prevout.vout
        out["scriptSig"] = {
            "asm": script_to_asm(txin.script_sig, decode_sighash=True),
            "hex": txin.script_sig.hex(),
        }
    if txin.witness:
        out["txinwitness"] = [item.hex() for item in txin.witness]
    if coin is not None:
        out["prevout"] = {
            "generated": coin.is_coinbase,
            "height": coin.height,
            "value": amount(coin.amount),
            "scriptPubKey": script_json(coin.script_pubkey, params),
        }
    out["sequence"] = txin.sequence
    return out


def header_json(entry: BlockEntry, confirmations: int, next_hash: bytes | None) -> dict[str, Any]:
    """A header in its place (Core: blockheaderToJSON). `confirmations` is -1 off the active chain."""
    out: dict[str, Any] = {
        "hash": display(entry.hash),
        "confirmations": confirmations,
        "height": entry.height,
        "version": entry.version,
        "versionHex": f"{entry.version & 0xFFFFFFFF:08x}",
        "merkleroot": display(entry.merkle_root),
        "time": entry.time,
        "mediantime": entry.median_time_past,
        "nonce": entry.nonce,
        "bits": f"{entry.bits:08x}",
        "target": target_hex(entry.bits),
        "difficulty": difficulty_number(entry.bits),
        "chainwork": f"{entry.chain_work:064x}",
        "nTx": entry.n_tx,
    }
    if entry.prev is not None:
        out["previousblockhash"] = display(entry.prev.hash)
    if next_hash is not None:
        out["nextblockhash"] = display(next_hash)
    return out
