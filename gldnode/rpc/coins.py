"""The set of coins: one output, the whole set's figures, a scan for descriptors."""

from collections.abc import Iterable
from typing import Any

from gldnode.chain.utxostats import HashKind
from gldnode.events import Tip
from gldnode.indexes import CoinStatsIndex, IndexFollower
from gldnode.primitives.coin import MEMPOOL_HEIGHT, Coin
from gldnode.primitives.tx import OutPoint, outpoint
from gldnode.rpc.blocks import active_entry, known_entry
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount, json_type
from gldnode.rpc.params import anything, arr, boolean, hash_value, integer_value, num, text, txid
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display, script_json
from gldnode.rpc.scanning import Scan, begin, scanned_scripts, steer

__all__ = ["CoinScan", "methods"]

methods = MethodGroup("Blockchain")


@methods.method(
    "gettxout",
    "Returns details about an unspent transaction output.",
    params=[
        txid("txid", "The transaction id", required=True),
        num("n", "vout number", required=True),
        boolean("include_mempool", "Whether to include the mempool.", default=True),
    ],
    returns="{...}, or null if the UTXO was not found",
    examples=['"txid" 1'],
)
async def gettxout(ctx: RpcContext, txid: bytes, n: int, include_mempool: bool) -> dict[str, Any] | None:
    if not 0 <= n <= 0xFFFFFFFF:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, vout out of range")
    prevout = outpoint(txid, n)
    node = ctx.node
    tip = node.chainstate.tip
    if include_mempool:
        if node.pool.spender(prevout) is not None:
            return None
        coin = node.pool.coin(prevout)
    else:
        coin = node.chainstate.coin(prevout)
    if coin is None:
        return None
    return {
        "bestblock": display(tip.hash),
        "confirmations": 0 if coin.height == MEMPOOL_HEIGHT else tip.height - coin.height + 1,
        "value": amount(coin.amount),
        "scriptPubKey": script_json(coin.script_pubkey, node.params),
        "coinbase": coin.is_coinbase,
    }


# --- figures ---


@methods.method(
    "gettxoutsetinfo",
    "Returns statistics about the unspent transaction output set.\nNote this call may take some time if you "
    "are not "
    "using coinstatsindex.",
    params=[
        text("hash_type", "'hash_serialized_3', 'muhash' or 'none'", default="hash_serialized_3"),
        anything(
            "hash_or_height",
            "The block hash or height of the target height (only available with coinstatsindex).",
            word="string or numeric",
        ),
        boolean("use_index", "Use coinstatsindex, if available.", default=True),
    ],
    returns="{...}",
    examples=["", '"none"', '"none" 1000'],
)
async def gettxoutsetinfo(ctx: RpcContext, hash_type: str, hash_or_height: Any, use_index: bool) -> dict[str, Any]:
    try:
        kind = HashKind(hash_type)
    except ValueError:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"'{hash_type[:80]}' is not a valid hash_type") from None
    index = ctx.services.get(CoinStatsIndex) if use_index else None
    if hash_or_height is not None:
        if index is None:
            raise RpcError(RpcCode.INVALID_PARAMETER, "Querying specific block heights requires coinstatsindex")
        if kind is HashKind.HASH_SERIALIZED_3:
            raise RpcError(
                RpcCode.INVALID_PARAMETER,
                "hash_serialized_3 hash type cannot be queried for a specific block",
            )
    if index is not None and kind is not HashKind.HASH_SERIALIZED_3:
        return await _from_index(ctx, index, kind, hash_or_height)
    stats = await ctx.validate(lambda: ctx.node.chainstate.coin_stats(kind))
    out: dict[str, Any] = {
        "height": stats.height,
        "bestblock": display(stats.best_block),
        "txouts": stats.txouts,
        "bogosize": stats.bogosize,
    }
    if stats.hash is not None:
        out[str(kind)] = display(stats.hash)
    out["total_amount"] = amount(stats.total_amount)
    out["transactions"] = stats.transactions
    out["disk_size"] = stats.disk_size
    return out


async def _from_index(ctx: RpcContext, index: CoinStatsIndex, kind: HashKind, wanted: Any) -> dict[str, Any]:
    if wanted is None:
        entry = ctx.node.chainstate.tip_entry
    elif json_type(wanted) == "number":
        height = integer_value(wanted)
        if height < 0:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Target block height {height} is negative")
        if height > ctx.node.chainstate.tip.height:
            raise RpcError(
                RpcCode.INVALID_PARAMETER,
                f"Target block height {height} after current tip {ctx.node.chainstate.tip.height}",
            )
        entry = active_entry(ctx, height)
    else:
        entry = known_entry(ctx, hash_value(wanted, "hash_or_height"))
    await ctx.services.require(IndexFollower).catch_up(index)
    totals, block = index.find(entry.hash), index.block_info(entry.hash)
    if totals is None or block is None:
        raise RpcError(
            RpcCode.INTERNAL_ERROR,
            f"Unable to get data because coinstatsindex is still syncing. Current height: {index.best_height}",
        )
    out: dict[str, Any] = {
        "height": entry.height,
        "bestblock": display(entry.hash),
        "txouts": totals.txouts,
        "bogosize": totals.bogosize,
    }
    if kind is HashKind.MUHASH:
        out["muhash"] = display(totals.muhash)
    out["total_amount"] = amount(totals.total_amount)
    out["total_unspendable_amount"] = amount(totals.total_unspendable)
    out["block_info"] = {
        "prevout_spent": amount(block.prevout_spent),
        "coinbase": amount(block.coinbase),
        "new_outputs_ex_coinbase": amount(block.new_outputs_ex_coinbase),
        "unspendable": amount(block.total_unspendable),
        "unspendables": {
            "genesis_block": amount(block.unspendable_genesis),
            "bip30": amount(block.unspendable_bip30),
            "scripts": amount(block.unspendable_scripts),
            "unclaimed_rewards": amount(block.unspendable_unclaimed),
        },
    }
    return out


# --- scanning ---


class CoinScan(Scan):
    """The one scan of the coins that may be under way."""


@methods.method(
    "scantxoutset",
    "Scans the unspent transaction output set for entries that match certain output descriptors.",
    params=[
        text("action", '"start", "abort" or "status"', required=True),
        arr(
            "scanobjects",
            "Array of scan objects (for start): descriptors, or objects with desc and range",
            [text("descriptor", "An output descriptor")],
        ),
    ],
    returns="{...}; for abort whether there was a scan; for status the progress, or null",
    examples=["start '[\"raw(76a91411b366edfc0a8b66feebae5c2e25a7b6a5d1cf3188ac)\"]'", "status", "abort"],
)
async def scantxoutset(ctx: RpcContext, action: str, scanobjects: list[Any] | None) -> Any:
    if action != "start":
        return steer(ctx, CoinScan, action)
    with begin(ctx, CoinScan()) as scan:
        needles = await scanned_scripts(ctx, scanobjects)
        tip, coins = await ctx.validate(ctx.node.chainstate.scan_coins)
        return await ctx.read(lambda: _scan(ctx, scan, tip, coins, needles))


def _scan(
    ctx: RpcContext, scan: CoinScan, tip: Tip, coins: Iterable[tuple[OutPoint, Coin]], needles: dict[bytes, str]
) -> dict[str, Any]:
    chainstate = ctx.node.chainstate
    count = total = 0
    unspents = []
    for prevout, coin in coins:
        count += 1
        if count % 8192 == 0:
            scan.progress = prevout[0] * 100 // 256  # txids are evenly spread and come in order
            if scan.is_aborted or ctx.node.stop_requested.is_set():
                break
        desc = needles.get(coin.script_pubkey)
        if desc is None:
            continue
        total += coin.amount
        made_in = chainstate.entry_at(coin.height)
        unspents.append(
            {
                "txid": display(prevout.txid),
                "vout": prevout.vout,
                "scriptPubKey": coin.script_pubkey.hex(),
                "desc": desc,
                "amount": amount(coin.amount),
                "coinbase": coin.is_coinbase,
                "height": coin.height,
                "blockhash": None if made_in is None else display(made_in.hash),
                "confirmations": tip.height - coin.height + 1,
            }
        )
    return {
        "success": not scan.is_aborted,
        "txouts": count,
        "height": tip.height,
        "bestblock": display(tip.hash),
        "unspents": unspents,
        "total_amount": amount(total),
    }
