"""Transactions: look them up, take them apart, build them."""

from dataclasses import dataclass
from typing import Any

from gldnode.address import script_to_address
from gldnode.descriptors import infer_descriptor
from gldnode.indexes import IndexFollower, TxIndex
from gldnode.params import ChainParams
from gldnode.primitives.hashes import Txid, hash160
from gldnode.primitives.tx import Tx, TxIn, make_tx, parse_tx
from gldnode.rpc.blocks import known_entry, read_block
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import anything, arr, block_hash, boolean, hex_data, hex_value, num, text, txid, verbosity
from gldnode.rpc.rawtx import construct_tx, decode_tx, has_valid_ops
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display, script_json, tx_json
from gldnode.script.script import is_unspendable, iter_ops
from gldnode.script.templates import (
    ScriptKind,
    is_pubkey_size_valid,
    p2sh_script,
    p2wpkh_script,
    p2wsh_script,
    solve,
)
from storage.errors import StorageError

__all__ = ["FoundTx", "decode_script", "find_tx", "methods"]

methods = MethodGroup("Rawtransactions")

OUTPUTS = anything(
    "outputs",
    'The outputs: an array of objects with one key each, {"address": amount} or {"data": "hex"}; or one object',
    required=True,
    word="json array",
)
INPUTS = arr(
    "inputs",
    "The inputs",
    [
        text("txid", "The transaction id", required=True),
        num("vout", "The output number", required=True),
        num("sequence", "The sequence number"),
    ],
    required=True,
)


@dataclass(frozen=True, slots=True)
class FoundTx:
    tx: Tx
    block_hash: bytes | None
    """None in the mempool."""


def find_tx(ctx: RpcContext, wanted: bytes, in_block: bytes | None = None) -> FoundTx:
    """The transaction in the mempool, the named block, or by the index. Raises RpcError -5."""
    if in_block is not None:
        entry = ctx.node.chainstate.entry(in_block)
        if entry is None:
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block hash not found")
        found = _in_block(ctx, wanted, in_block)
        if found is None:
            raise RpcError(
                RpcCode.INVALID_ADDRESS_OR_KEY,
                "No such transaction found in the provided block. Use gettransaction for wallet transactions.",
            )
        return FoundTx(found, in_block)
    pooled = ctx.node.pool.get(Txid(wanted))
    if pooled is not None:
        return FoundTx(pooled.tx, None)
    index = ctx.services.get(TxIndex)
    if index is None:
        problem = (
            "No such mempool transaction. Use -txindex or provide a block hash to enable blockchain transaction "
            "queries"
        )
    else:
        where = index.find(Txid(wanted))
        chainstate = ctx.node.chainstate
        if where is not None:
            part = chainstate.read_block_part(where.block_hash, where.offset, where.size)
            if part is not None:
                tx = parse_tx(part)
                if tx.txid != wanted:
                    raise StorageError("the transaction index and the block files do not agree: use -reindex")
                return FoundTx(tx, where.block_hash)
        problem = (
            "No such mempool or blockchain transaction"
            if index.synced
            else "No such mempool transaction. Blockchain transactions are still in the process of being indexed"
        )
    raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f"{problem}. Use gettransaction for wallet transactions.")


def _in_block(ctx: RpcContext, wanted: bytes, in_block: bytes) -> Tx | None:
    block = read_block(ctx.node.chainstate, known_entry(ctx, in_block))
    return next((tx for tx in block.txs if tx.txid == wanted), None)


@methods.method(
    "getrawtransaction",
    "By default, this call only returns a transaction if it is in the mempool. If -txindex is enabled and no "
    "blockhash argument is passed, it will return the transaction if it is in the mempool or any block. If a "
    "blockhash argument is passed, it will return the transaction if the specified block is available and the "
    "transaction is in that block.",
    params=[
        txid("txid", "The transaction id", required=True),
        verbosity(
            "verbosity|verbose",
            "0 for hex-encoded data, 1 for a JSON object, and 2 for JSON object with fee and prevout",
            0,
        ),
        block_hash("blockhash", "The block in which to look for the transaction"),
    ],
    returns="hex or {...}",
    examples=['"mytxid"', '"mytxid" 1', '"mytxid" 1 "myblockhash"'],
)
async def getrawtransaction(ctx: RpcContext, txid: bytes, verbosity: int, blockhash: bytes | None) -> Any:
    node = ctx.node
    if txid == node.params.genesis.txs[0].txid and blockhash in (None, node.params.genesis.hash):
        raise RpcError(
            RpcCode.INVALID_ADDRESS_OR_KEY,
            "The genesis block coinbase is not considered an ordinary transaction and cannot be retrieved",
        )
    if blockhash is None:
        pooled = node.pool.get(Txid(txid))
        if pooled is not None and verbosity <= 0:
            return pooled.tx.raw.hex()
    index = ctx.services.get(TxIndex)
    if index is not None and blockhash is None and verbosity <= 0:
        # Two short reads: less work than handing them to another thread, or parsing what goes out as it is.
        where = index.find(Txid(txid))
        part = where and node.chainstate.read_block_part(where.block_hash, where.offset, where.size)
        if isinstance(part, bytes):
            return part.hex()
    if index is not None and blockhash is None:
        await ctx.services.require(IndexFollower).catch_up(index)

    def read() -> str | dict[str, Any]:
        found = find_tx(ctx, txid, blockhash)
        return found.tx.raw.hex() if verbosity <= 0 else _verbose(ctx, found, verbosity, blockhash is not None)

    return await ctx.read(read)


def _verbose(ctx: RpcContext, found: FoundTx, detail: int, named_block: bool) -> dict[str, Any]:
    out: dict[str, Any] = {}
    chainstate = ctx.node.chainstate
    entry = None if found.block_hash is None else chainstate.entry(found.block_hash)
    if entry is not None and named_block:
        out["in_active_chain"] = chainstate.is_active(entry)
    spent = None
    if detail >= 2 and entry is not None and entry.has_undo and not found.tx.is_coinbase:
        undo = chainstate.read_undo(entry.hash)
        block = chainstate.read_block(entry.hash)
        if undo is not None and block is not None:
            position = next(index for index, tx in enumerate(block.txs) if tx.txid == found.tx.txid)
            spent = undo[position - 1]
    out |= tx_json(found.tx, ctx.node.params, spent=spent, with_prevouts=True)
    if entry is not None:
        out["blockhash"] = display(entry.hash)
        if chainstate.is_active(entry):
            out["confirmations"] = chainstate.tip.height - entry.height + 1
            out["time"] = entry.time
            out["blocktime"] = entry.time
        else:
            out["confirmations"] = 0
    return out


@methods.method(
    "decoderawtransaction",
    "Return a JSON object representing the serialized, hex-encoded transaction.",
    params=[
        hex_data("hexstring", "The transaction hex string", required=True),
        boolean("iswitness", "Whether it is serialized with witness; without this argument both are tried"),
    ],
    returns="{...}",
    examples=['"hexstring"'],
)
async def decoderawtransaction(ctx: RpcContext, hexstring: str, iswitness: bool | None) -> Any:
    return tx_json(decode_tx(hexstring, witness=iswitness), ctx.node.params, with_hex=False)


@methods.method(
    "createrawtransaction",
    "Create a transaction spending the given inputs and creating new outputs.\nOutputs can be addresses or data.\n"
    "Returns hex-encoded raw transaction.\nNote that the transaction's inputs are not signed, and it is not "
    "stored in the wallet or transmitted to the network.",
    params=[
        INPUTS,
        OUTPUTS,
        num("locktime", "Raw locktime. Non-0 value also locktime-activates inputs", default=0),
        boolean("replaceable", "Marks this transaction as BIP125-replaceable (default: true)"),
        num("version", "Transaction version", default=2),
    ],
    returns='"hex"    (string) hex string of the transaction',
    examples=['"[{\\"txid\\":\\"myid\\",\\"vout\\":0}]" "[{\\"address\\":0.01}]"'],
)
async def createrawtransaction(
    ctx: RpcContext,
    inputs: list[Any],
    outputs: Any,
    locktime: int,
    replaceable: bool | None,
    version: int,
) -> str:
    tx = construct_tx(inputs, outputs, locktime, replaceable, version, ctx.node.params)
    return tx.raw.hex()


@methods.method(
    "combinerawtransaction",
    "Combine multiple partially signed transactions into one transaction.\nThe combined transaction may be "
    "another partially signed transaction or a fully signed transaction.",
    params=[
        arr("txs", "The hex strings of partially signed transactions", [text("hexstring", "")], required=True)
    ],
    returns='"str"    (string) The hex-encoded raw transaction with signature(s)',
    examples=['"[\\"myhex1\\", \\"myhex2\\", \\"myhex3\\"]"'],
)
async def combinerawtransaction(ctx: RpcContext, txs: list[Any]) -> str:
    parsed = []
    for index, item in enumerate(txs):
        if not isinstance(item, str):
            raise RpcError(RpcCode.TYPE_ERROR, "the transactions must be strings")
        parsed.append(
            decode_tx(
                item,
                message=f"TX decode failed for tx {index}. Make sure the tx has at least one input.",
            )
        )
    if not parsed:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, "Missing transactions")
    first = parsed[0]
    for txin in first.inputs:
        if ctx.node.pool.coin(txin.prevout) is None:
            raise RpcError(RpcCode.VERIFY_ERROR, "Input not found or already spent")
    for other in parsed[1:]:
        if [txin.prevout for txin in other.inputs] != [txin.prevout for txin in first.inputs]:
            raise RpcError(RpcCode.INVALID_PARAMETER, "The transactions do not spend the same outputs")
    inputs = []
    for variants in zip(*(tx.inputs for tx in parsed), strict=True):
        # Of each input the fullest proof: a whole one is longer than one that still lacks signatures.
        best = max(variants, key=_proof_size)
        inputs.append(TxIn(best.prevout, best.script_sig, variants[0].sequence, best.witness))
    return make_tx(first.version, inputs, first.outputs, first.lock_time).raw.hex()


def _proof_size(txin: TxIn) -> int:
    return len(txin.script_sig) + sum(len(item) for item in txin.witness)


@methods.method(
    "decodescript",
    "Decode a hex-encoded script.",
    params=[hex_data("hexstring", "the hex-encoded script", required=True)],
    returns="{...}",
    examples=['"hexstring"'],
)
async def decodescript(ctx: RpcContext, hexstring: str) -> dict[str, Any]:
    return decode_script(hex_value(hexstring, "argument") if hexstring else b"", ctx.node.params)


def decode_script(script: bytes, params: ChainParams) -> dict[str, Any]:
    """What `script` is as an output script, and what addresses of the wrapping kinds it would have."""
    out = script_json(script, params)
    del out["hex"]
    kind, data = solve(script)
    if not _can_wrap(script, kind, data):
        return out
    out["p2sh"] = script_to_address(p2sh_script(script), params)
    if _can_wrap_witness(kind, data):
        if kind is ScriptKind.PUBKEY:
            inner = p2wpkh_script(hash160(data[0]))
        elif kind is ScriptKind.PUBKEYHASH:
            inner = p2wpkh_script(data[0])
        else:
            inner = p2wsh_script(script)
        segwit = script_json(inner, params)
        if kind is not ScriptKind.PUBKEYHASH:
            segwit["desc"] = infer_descriptor(inner, params)
        segwit["p2sh-segwit"] = script_to_address(p2sh_script(inner), params)
        out["segwit"] = segwit
    return out


def _can_wrap(script: bytes, kind: ScriptKind, data: tuple[bytes, ...]) -> bool:
    """Whether the script could be a P2SH's redeem script (Core: decodescript's can_wrap)."""
    if kind in (
        ScriptKind.MULTISIG,
        ScriptKind.NONSTANDARD,
        ScriptKind.PUBKEY,
        ScriptKind.PUBKEYHASH,
        ScriptKind.WITNESS_V0_KEYHASH,
        ScriptKind.WITNESS_V0_SCRIPTHASH,
    ):
        if not has_valid_ops(script) or is_unspendable(script):
            return False
        return not any(opcode == 0xBA or _is_op_success(opcode) for opcode, _ in iter_ops(script))
    return False


def _is_op_success(opcode: int) -> bool:
    """BIP 342's OP_SUCCESS numbers."""
    return (
        opcode in (80, 98)
        or 126 <= opcode <= 129
        or 131 <= opcode <= 134
        or 137 <= opcode <= 138
        or 141 <= opcode <= 142
        or 149 <= opcode <= 153
        or 187 <= opcode <= 254
    )


def _can_wrap_witness(kind: ScriptKind, data: tuple[bytes, ...]) -> bool:
    """Uncompressed keys may not be used in witness programs; programs are not wrapped again."""
    if kind is ScriptKind.PUBKEY:
        return len(data[0]) == 33
    if kind is ScriptKind.MULTISIG:
        return all(len(key) == 33 for key in data[1:-1] if is_pubkey_size_valid(key))
    return kind in (ScriptKind.NONSTANDARD, ScriptKind.PUBKEYHASH)
