"""PSBTs and descriptors without a wallet: fill in what is known of coins and scripts, sign with the keys given."""

from typing import Any

from gldnode.descriptors import Expansion
from gldnode.primitives.tx import Tx, TxOut
from gldnode.psbt import Psbt, PsbtError
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import anything, arr, boolean, obj, text
from gldnode.rpc.psbt import read_psbt
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.scanning import expansions_of_scan_object
from gldnode.rpc.signing import read_sighash_type
from gldnode.rpc.transactions import find_tx
from gldnode.wallet.psbtfill import copy_psbt, finalize_all
from gldnode.wallet.psbts import extract, input_utxo, sign_psbt_input, update_input, update_output
from gldnode.wallet.signing import SigningKeys
from storage.errors import StorageError

__all__ = ["methods"]

methods = MethodGroup("Rawtransactions")

_DESCRIPTORS = [
    text("", "An output descriptor"),
    obj(
        "",
        "An object with an output descriptor and extra information",
        [
            text("desc", "An output descriptor", required=True),
            anything("range", "Up to what index HD chains should be explored", word="n or [n,n]"),
        ],
    ),
]


def _expansions(ctx: RpcContext, descriptors: list[Any] | None) -> dict[bytes, Expansion]:
    """What the descriptors know of each of their output scripts."""
    return {
        script: expansion
        for item in descriptors or ()
        for _, _, expansion in expansions_of_scan_object(ctx, item)
        for script in expansion.scripts
    }


def _previous(ctx: RpcContext, txid: bytes) -> Tx | None:
    """The transaction from the mempool or by the index, where there is one."""
    try:
        return find_tx(ctx, txid).tx
    except (RpcError, StorageError):
        return None


def _update(ctx: RpcContext, psbt: Psbt, known: dict[bytes, Expansion], *, with_paths: bool) -> None:
    """Put in coins, previous transactions, scripts and paths (Core: ProcessPSBT)."""
    tx = psbt.unsigned_tx()
    for index, pairs in enumerate(psbt.inputs):
        prevout = psbt.prevout(index)
        utxo, previous = input_utxo(psbt, index), None
        if utxo is None:
            previous = _previous(ctx, prevout.txid)
            coin = ctx.node.pool.coin(prevout)
            if previous is not None and prevout.vout < len(previous.outputs):
                utxo = previous.outputs[prevout.vout]
            elif coin is not None:
                utxo = TxOut(coin.amount, coin.script_pubkey)
            else:
                continue
        update_input(pairs, utxo, previous, known.get(utxo.script_pubkey), with_paths=with_paths)
    for output, pairs in zip(tx.outputs, psbt.outputs, strict=True):
        expansion = known.get(output.script_pubkey)
        if expansion is not None:
            update_output(pairs, output.script_pubkey, expansion, with_paths=with_paths)


@methods.method(
    "utxoupdatepsbt",
    "Updates all segwit inputs and outputs in a PSBT with data from output descriptors, the UTXO set, txindex, or "
    "the mempool.",
    params=[
        text("psbt", "A base64 string of a PSBT", required=True),
        arr("descriptors", "An array of either strings or objects", _DESCRIPTORS),
    ],
    returns='"str"    (string) The base64-encoded partially signed transaction with inputs updated',
    examples=['"psbt"'],
)
async def utxoupdatepsbt(ctx: RpcContext, psbt: str, descriptors: list[Any] | None) -> str:
    parsed = read_psbt(psbt)
    await ctx.read(lambda: _update(ctx, parsed, _expansions(ctx, descriptors), with_paths=True))
    return parsed.to_base64()


@methods.method(
    "descriptorprocesspsbt",
    "Update all segwit inputs in a PSBT with information from output descriptors, the UTXO set or the mempool. "
    "Then, sign the inputs we are able to with information from the output descriptors.",
    params=[
        text("psbt", "The transaction base64 string", required=True),
        arr("descriptors", "An array of either strings or objects", _DESCRIPTORS, required=True),
        text(
            "sighashtype",
            "The signature hash type to sign with if not specified by the PSBT: DEFAULT, ALL, NONE, SINGLE, "
            "ALL|ANYONECANPAY, NONE|ANYONECANPAY, SINGLE|ANYONECANPAY",
            default="DEFAULT",
        ),
        boolean("bip32derivs", "Include BIP 32 derivation paths for public keys if we know them", default=True),
        boolean("finalize", "Also finalize inputs if possible", default=True),
    ],
    returns='{"psbt":"str","complete":true|false,"hex":"hex"}',
    examples=['"psbt" "[\\"descriptor1\\", \\"descriptor2\\"]"'],
)
async def descriptorprocesspsbt(
    ctx: RpcContext, psbt: str, descriptors: list[Any], sighashtype: str, bip32derivs: bool, finalize: bool
) -> dict[str, Any]:
    parsed = read_psbt(psbt)
    hash_type = None if sighashtype == "DEFAULT" else read_sighash_type(sighashtype)

    def process() -> None:
        known = _expansions(ctx, descriptors)
        _update(ctx, parsed, known, with_paths=bip32derivs)
        keys = SigningKeys()
        for expansion in known.values():
            keys.add_expansion(expansion)
        try:
            for index in range(len(parsed.inputs)):
                utxo = input_utxo(parsed, index)
                if utxo is not None and utxo.script_pubkey in known:
                    sign_psbt_input(parsed, index, keys, hash_type)
        except PsbtError as error:
            raise RpcError(RpcCode.DESERIALIZATION_ERROR, str(error)) from None

    await ctx.read(process)
    final = copy_psbt(parsed)
    complete = finalize_all(final)
    out: dict[str, Any] = {"psbt": (final if finalize else parsed).to_base64(), "complete": complete}
    tx = extract(final) if complete else None
    if tx is not None:
        out["hex"] = tx.raw.hex()
    return out
