"""Blocks and headers: what explorers and indexers read."""

from collections.abc import Sequence
from typing import Any

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.entry import BlockEntry
from gldnode.primitives.block import Block
from gldnode.primitives.coin import BlockUndo
from gldnode.primitives.tx import Tx
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import number
from gldnode.rpc.params import block_hash, boolean, num, verbosity
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import difficulty_number, display, header_json, target_hex, tx_json

__all__ = [
    "block_bytes",
    "block_json",
    "coinbase_json",
    "confirmations_of",
    "known_entry",
    "methods",
    "read_block",
    "read_undo",
]

methods = MethodGroup("Blockchain")


def known_entry(ctx: RpcContext, wanted: bytes) -> BlockEntry:
    """The header tree's entry, or Core's -5."""
    entry = ctx.node.chainstate.entry(wanted)
    if entry is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block not found")
    return entry


def active_entry(ctx: RpcContext, height: int) -> BlockEntry:
    """The active chain's block at `height`, or Core's -8."""
    entry = ctx.node.chainstate.entry_at(height) if height >= 0 else None
    if entry is None:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Block height out of range")
    return entry


def confirmations_of(chainstate: Chainstate, entry: BlockEntry) -> int:
    """1 for the tip; -1 off the active chain."""
    return chainstate.tip.height - entry.height + 1 if chainstate.is_active(entry) else -1


def _unavailable(entry: BlockEntry, what: str) -> RpcError:
    why = "pruned data" if entry.n_tx > 0 else "not fully downloaded"
    return RpcError(RpcCode.MISC_ERROR, f"{what} not available ({why})")


def block_bytes(chainstate: Chainstate, entry: BlockEntry) -> bytes:
    """The stored bytes. Raises RpcError."""
    data = chainstate.read_block_bytes(entry.hash) if entry.has_data else None
    if data is None:
        raise _unavailable(entry, "Block")
    return data


def read_block(chainstate: Chainstate, entry: BlockEntry) -> Block:
    block = chainstate.read_block(entry.hash) if entry.has_data else None
    if block is None:
        raise _unavailable(entry, "Block")
    return block


def read_undo(chainstate: Chainstate, entry: BlockEntry) -> BlockUndo:
    undo: BlockUndo | None = ()
    if entry.height > 0:
        undo = chainstate.read_undo(entry.hash) if entry.has_undo else None
    if undo is None:
        raise _unavailable(entry, "Undo data")
    return undo


def _next_hash(chainstate: Chainstate, entry: BlockEntry) -> bytes | None:
    following = chainstate.next_in_chain(entry) if chainstate.is_active(entry) else None
    return None if following is None else following.hash


def coinbase_json(tx: Tx) -> dict[str, Any]:
    """The parts of a coinbase that miners write (Core 31: coinbase_tx)."""
    txin = tx.inputs[0]
    out: dict[str, Any] = {
        "version": tx.version & 0xFFFFFFFF,
        "locktime": tx.lock_time,
        "sequence": txin.sequence,
        "coinbase": txin.script_sig.hex(),
    }
    if txin.witness:
        out["witness"] = txin.witness[0].hex()
    return out


def block_json(ctx: RpcContext, entry: BlockEntry, block: Block, detail: int) -> dict[str, Any]:
    """A block with its transactions as ids (1), in full (2), or in full with prevouts (3)."""
    chainstate, params = ctx.node.chainstate, ctx.node.params
    out = header_json(entry, confirmations_of(chainstate, entry), _next_hash(chainstate, entry))
    out["nTx"] = len(block.txs)
    out["strippedsize"] = block.base_size
    out["size"] = block.total_size
    out["weight"] = block.weight
    out["coinbase_tx"] = coinbase_json(block.txs[0])
    if detail <= 1:
        out["tx"] = [display(tx.txid) for tx in block.txs]
        return out
    undo: BlockUndo | None = None
    if entry.has_undo:
        undo = chainstate.read_undo(entry.hash)
    out["tx"] = [
        tx_json(
            tx,
            params,
            spent=undo[index - 1] if undo is not None and index else None,
            with_prevouts=detail >= 3,
        )
        for index, tx in enumerate(block.txs)
    ]
    return out


@methods.method(
    "getblockcount",
    "Returns the height of the most-work fully-validated chain.\nThe genesis block has height 0.",
    returns="n    (numeric) The current block count",
)
async def getblockcount(ctx: RpcContext) -> int:
    return ctx.node.chainstate.tip.height


@methods.method(
    "getbestblockhash",
    "Returns the hash of the best (tip) block in the most-work fully-validated chain.",
    returns='"hex"    (string) the block hash, hex-encoded',
)
async def getbestblockhash(ctx: RpcContext) -> str:
    return display(ctx.node.chainstate.tip.hash)


@methods.method(
    "getblockhash",
    "Returns hash of block in best-block-chain at height provided.",
    params=[num("height", "The height index", required=True)],
    returns='"hex"    (string) The block hash',
    examples=["1000"],
)
async def getblockhash(ctx: RpcContext, height: int) -> str:
    return display(active_entry(ctx, height).hash)


@methods.method(
    "getblockheader",
    "If verbose is false, returns a string that is serialized, hex-encoded data for blockheader 'hash'.\n"
    "If verbose is true, returns an Object with information about blockheader <hash>.",
    params=[
        block_hash("blockhash", "The block hash", required=True),
        boolean("verbose", "true for a json object, false for the hex-encoded data", default=True),
    ],
    returns="{...} or hex",
    examples=['"00000000c937983704a73af28acdec37b049d214adbda81d7e2a3dd146f6ed09"'],
)
async def getblockheader(ctx: RpcContext, blockhash: bytes, verbose: bool) -> Any:
    entry = known_entry(ctx, blockhash)
    if not verbose:
        return entry.header_bytes.hex()
    chainstate = ctx.node.chainstate
    return header_json(entry, confirmations_of(chainstate, entry), _next_hash(chainstate, entry))


@methods.method(
    "getblock",
    "If verbosity is 0, returns a string that is serialized, hex-encoded data for block 'hash'.\n"
    "If verbosity is 1, returns an Object with information about block <hash>.\n"
    "If verbosity is 2, returns an Object with information about block <hash> and information about each "
    "transaction.\n"
    "If verbosity is 3, returns an Object with information about block <hash> and information about each "
    "transaction, including prevout information for inputs.",
    params=[
        block_hash("blockhash", "The block hash", required=True),
        verbosity(
            "verbosity|verbose",
            "0 for hex-encoded data, 1 for a JSON object, 2 for JSON object with transaction data, and 3 for JSON "
            "object with transaction data including prevout information for inputs",
            1,
        ),
    ],
    returns="{...} or hex",
    examples=['"00000000c937983704a73af28acdec37b049d214adbda81d7e2a3dd146f6ed09"'],
)
async def getblock(ctx: RpcContext, blockhash: bytes, verbosity: int) -> Any:
    entry = known_entry(ctx, blockhash)
    chainstate = ctx.node.chainstate
    if verbosity <= 0:
        return await ctx.read(lambda: block_bytes(chainstate, entry).hex())
    return await ctx.read(lambda: block_json(ctx, entry, read_block(chainstate, entry), verbosity))


@methods.method(
    "getdifficulty",
    "Returns the proof-of-work difficulty as a multiple of the minimum difficulty.",
    returns="n    (numeric) the proof-of-work difficulty",
)
async def getdifficulty(ctx: RpcContext) -> Any:
    return difficulty_number(ctx.node.chainstate.tip_entry.bits)


def verification_progress(ctx: RpcContext) -> float:
    """About how much of the chain is verified, 0 to 1."""
    chainstate = ctx.node.chainstate
    tip, header = chainstate.tip, chainstate.best_header
    expected = max(header.height, tip.height)
    if not ctx.node.params.is_regtest:
        age = max(0, ctx.node.clock.now() - header.time)
        if age > 2 * 3600:
            expected += age // ctx.node.params.block_interval_s
    return 1.0 if expected == tip.height else tip.height / expected


@methods.method(
    "getblockchaininfo",
    "Returns an object containing various state info regarding blockchain processing.",
    returns="{...}    (json object) chain, blocks, headers, bestblockhash, bits, target, difficulty, time, "
    "mediantime, verificationprogress, initialblockdownload, chainwork, size_on_disk, pruned, warnings",
)
async def getblockchaininfo(ctx: RpcContext) -> dict[str, Any]:
    chainstate = ctx.node.chainstate
    entry = chainstate.tip_entry
    out: dict[str, Any] = {
        "chain": ctx.node.params.rpc_chain_name,
        "blocks": entry.height,
        "headers": chainstate.best_header.height,
        "bestblockhash": display(entry.hash),
        "bits": f"{entry.bits:08x}",
        "target": target_hex(entry.bits),
        "difficulty": difficulty_number(entry.bits),
        "time": entry.time,
        "mediantime": entry.median_time_past,
        "verificationprogress": number(verification_progress(ctx)),
        "initialblockdownload": chainstate.is_initial_block_download,
        "chainwork": f"{entry.chain_work:064x}",
        "size_on_disk": chainstate.size_on_disk,
        "pruned": chainstate.options.prune_mib > 0,
    }
    if chainstate.options.prune_mib > 0:
        out["pruneheight"] = chainstate.prune_height or 0
        automatic = chainstate.options.prune_mib > 1
        out["automatic_pruning"] = automatic
        if automatic:
            out["prune_target_size"] = chainstate.options.prune_mib << 20
    out["warnings"] = warnings_of(ctx)
    return out


def warnings_of(ctx: RpcContext) -> Sequence[str]:
    """What the operator should know."""
    out = list(ctx.node.chainstate.warnings)
    if ctx.node.params.is_preview:
        out.append("This network's genesis block is a preview, not the launch one")
    return out
