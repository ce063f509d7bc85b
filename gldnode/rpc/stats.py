"""Figures of blocks and of the chain: getblockstats, getchaintxstats."""

from collections.abc import Sequence
from typing import Any, Final

from gldnode.chain.entry import BlockEntry
from gldnode.consensus.subsidy import block_subsidy
from gldnode.primitives.block import Block
from gldnode.primitives.codec import compact_size
from gldnode.primitives.coin import BlockUndo
from gldnode.rpc.blocks import known_entry, read_block, read_undo
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import json_type, number
from gldnode.rpc.params import anything, arr, block_hash, hash_value, integer_value, num, text
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display
from gldnode.script.script import is_unspendable

__all__ = ["block_stats", "methods", "named_entry"]

methods = MethodGroup("Blockchain")

PER_COIN_OVERHEAD: Final = 36 + 4
"""Outpoint, and height with coinbase flag, as Core counts them."""
PERCENTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
MONTH_S: Final = 30 * 24 * 60 * 60


def _coin_size(script: bytes) -> int:
    return 8 + len(compact_size(len(script))) + len(script) + PER_COIN_OVERHEAD


def _median(values: Sequence[int]) -> int:
    """Core's truncated median."""
    if not values:
        return 0
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2


def _percentiles(feerates: Sequence[tuple[int, int]], total_weight: int) -> list[int]:
    """Feerates at five shares of the block's weight; `feerates` are pairs of feerate and weight."""
    if not feerates:
        return [0] * len(PERCENTILES)
    ordered = sorted(feerates)
    limits = [total_weight / 10.0, total_weight / 4.0, total_weight / 2.0, total_weight * 3.0 / 4.0]
    limits.append(total_weight * 9.0 / 10.0)
    found: list[int] = []
    passed = 0
    for feerate, weight in ordered:
        passed += weight
        while len(found) < len(limits) and passed >= limits[len(found)]:
            found.append(feerate)
    return found + [ordered[-1][0]] * (len(limits) - len(found))


def block_stats(block: Block, undo: BlockUndo, entry: BlockEntry, subsidy: int) -> dict[str, Any]:
    """All statistics of a block, amounts in base units (Core: getblockstats)."""
    fees: list[int] = []
    feerates: list[tuple[int, int]] = []
    sizes: list[int] = []
    inputs = outputs = coins_made = total_out = total_weight = 0
    coins_size = coins_size_actual = 0
    witness_txs = witness_size = witness_weight = 0
    for index, tx in enumerate(block.txs):
        outputs += len(tx.outputs)
        for output in tx.outputs:
            size = _coin_size(output.script_pubkey)
            coins_size += size
            if entry.height == 0 or is_unspendable(output.script_pubkey):
                continue
            coins_made += 1
            coins_size_actual += size
        if index == 0:
            continue
        tx_out = sum(output.amount for output in tx.outputs)
        total_out += tx_out
        inputs += len(tx.inputs)
        sizes.append(tx.total_size)
        total_weight += tx.weight
        if tx.has_witness:
            witness_txs += 1
            witness_size += tx.total_size
            witness_weight += tx.weight
        spent = undo[index - 1]
        for coin in spent:
            size = _coin_size(coin.script_pubkey)
            coins_size -= size
            coins_size_actual -= size
        fee = sum(coin.amount for coin in spent) - tx_out
        fees.append(fee)
        feerates.append((fee * 4 // tx.weight, tx.weight))
    others = len(block.txs) - 1
    return {
        "avgfee": sum(fees) // others if others else 0,
        "avgfeerate": sum(fees) * 4 // total_weight if total_weight else 0,
        "avgtxsize": sum(sizes) // others if others else 0,
        "blockhash": display(entry.hash),
        "feerate_percentiles": _percentiles(feerates, total_weight),
        "height": entry.height,
        "ins": inputs,
        "maxfee": max(fees, default=0),
        "maxfeerate": max((feerate for feerate, _ in feerates), default=0),
        "maxtxsize": max(sizes, default=0),
        "medianfee": _median(fees),
        "mediantime": entry.median_time_past,
        "mediantxsize": _median(sizes),
        "minfee": min(fees, default=0),
        "minfeerate": min((feerate for feerate, _ in feerates), default=0),
        "mintxsize": min(sizes, default=0),
        "outs": outputs,
        "subsidy": subsidy,
        "swtotal_size": witness_size,
        "swtotal_weight": witness_weight,
        "swtxs": witness_txs,
        "time": entry.time,
        "total_out": total_out,
        "total_size": sum(sizes),
        "total_weight": total_weight,
        "totalfee": sum(fees),
        "txs": len(block.txs),
        "utxo_increase": outputs - inputs,
        "utxo_size_inc": coins_size,
        "utxo_increase_actual": coins_made - inputs,
        "utxo_size_inc_actual": coins_size_actual,
    }


def named_entry(ctx: RpcContext, wanted: Any) -> BlockEntry:
    """The block of a height or hash (Core: ParseHashOrHeight)."""
    chainstate = ctx.node.chainstate
    if json_type(wanted) == "number":
        height = integer_value(wanted)
        if height < 0:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Target block height {height} is negative")
        entry = chainstate.entry_at(height)
        if entry is None:
            raise RpcError(
                RpcCode.INVALID_PARAMETER,
                f"Target block height {height} after current tip {chainstate.tip.height}",
            )
        return entry
    return known_entry(ctx, hash_value(wanted, "hash_or_height"))


@methods.method(
    "getblockstats",
    "Compute per block statistics for a given window. All amounts are in base units.\nIt won't work for some "
    "heights "
    "with pruning.",
    params=[
        anything(
            "hash_or_height",
            "The block hash or height of the target block",
            required=True,
            word="string or numeric",
        ),
        arr("stats", "Values to plot (default: all values)", [text("stat", "Selected statistic")]),
    ],
    returns="{...}",
    examples=[
        '\'"00000000c937983704a73af28acdec37b049d214adbda81d7e2a3dd146f6ed09"\' \'["minfeerate","avgfeerate"]\'',
        '1000 \'["minfeerate","avgfeerate"]\'',
    ],
)
async def getblockstats(ctx: RpcContext, hash_or_height: Any, stats: list[Any] | None) -> dict[str, Any]:
    chainstate = ctx.node.chainstate
    entry = named_entry(ctx, hash_or_height)

    def compute() -> dict[str, Any]:
        block, undo = read_block(chainstate, entry), read_undo(chainstate, entry)
        return block_stats(block, undo, entry, block_subsidy(entry.height, chainstate.params))

    found = await ctx.read(compute)
    if not stats:
        return found
    chosen: dict[str, Any] = {}
    for name in stats:
        if json_type(name) != "string" or name not in found:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid selected statistic '{str(name)[:80]}'")
        chosen[name] = found[name]
    return chosen


@methods.method(
    "getchaintxstats",
    "Compute statistics about the total number and rate of transactions in the chain.",
    params=[
        num("nblocks", "Size of the window in number of blocks (default: one month)"),
        block_hash("blockhash", "The hash of the block that ends the window (default: chain tip)"),
    ],
    returns="{...}",
    examples=["2016"],
)
async def getchaintxstats(ctx: RpcContext, nblocks: int | None, blockhash: bytes | None) -> dict[str, Any]:
    chainstate = ctx.node.chainstate
    last = chainstate.tip_entry if blockhash is None else known_entry(ctx, blockhash)
    if not chainstate.is_active(last):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Block is not in main chain")
    if nblocks is None:
        count = max(0, min(MONTH_S // ctx.node.params.block_interval_s, last.height - 1))
    else:
        count = nblocks
        if count < 0 or (count > 0 and count >= last.height):
            raise RpcError(
                RpcCode.INVALID_PARAMETER,
                "Invalid block count: should be between 0 and the block's height - 1",
            )
    first = last.ancestor(last.height - count)
    interval = last.median_time_past - first.median_time_past
    out: dict[str, Any] = {"time": last.time}
    if last.chain_tx:
        out["txcount"] = last.chain_tx
    out["window_final_block_hash"] = display(last.hash)
    out["window_final_block_height"] = last.height
    out["window_block_count"] = count
    if count > 0:
        out["window_interval"] = interval
        if last.chain_tx and first.chain_tx:
            window = last.chain_tx - first.chain_tx
            out["window_tx_count"] = window
            if interval > 0:
                out["txrate"] = number(window / interval)
    return out
