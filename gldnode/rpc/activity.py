"""`getdescriptoractivity`: what some blocks and the mempool did with the coins of some scripts."""

from collections.abc import Container, Sequence
from typing import Any

from gldnode.chain.entry import BlockEntry
from gldnode.primitives.coin import Coin
from gldnode.primitives.tx import Tx
from gldnode.rpc.blocks import known_entry, read_block, read_undo
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount
from gldnode.rpc.params import arr, boolean, hash_value, text
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display, script_json
from gldnode.rpc.scanning import scanned_scripts

__all__ = ["methods"]

methods = MethodGroup("Blockchain")


@methods.method(
    "getdescriptoractivity",
    "Get spend and receive activity associated with a set of descriptors for a set of blocks. This command pairs "
    "well with the `relevant_blocks` output of `scanblocks()`.\nThis call may take several minutes. If you "
    "encounter timeouts, try specifying no RPC timeout (gld-cli -rpcclienttimeout=0)",
    params=[
        arr(
            "blockhashes",
            "The list of blockhashes to examine for activity. Order doesn't matter. Must be along main chain or "
            "an error is thrown.",
            [text("blockhash", "A valid blockhash")],
            required=True,
        ),
        arr(
            "scanobjects",
            "Descriptors, or objects with desc and range",
            [text("descriptor", "")],
            required=True,
        ),
        boolean("include_mempool", "Whether to include unconfirmed activity", default=True),
    ],
    returns='{"activity":[{"type":"spend","amount":n,"blockhash":"hex","height":n,"spend_txid":"hex","spend_vin":n,'
    '"prevout_txid":"hex","prevout_vout":n,"prevout_spk":{...}} or {"type":"receive","amount":n,"blockhash":"hex",'
    '"height":n,"txid":"hex","vout":n,"output_spk":{...}},...]}',
    examples=[
        "'[\"000000000000000000001347062c12fded7c528943c8ce133987e2e2f5a840ee\"]' "
        "'[\"addr(bcrt1q4u4nsgk6ug0sqz7r3rj9tykjxrsl0yy4d0wwte)\"]'"
    ],
)
async def getdescriptoractivity(
    ctx: RpcContext, blockhashes: list[Any], scanobjects: list[Any], include_mempool: bool
) -> dict[str, Any]:
    entries = {known_entry(ctx, hash_value(one, "blockhash")) for one in blockhashes}
    if not all(map(ctx.node.chainstate.is_active, entries)):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Block is not in main chain")
    scripts = (await scanned_scripts(ctx, scanobjects)).keys()

    def look() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for entry in sorted(entries, key=lambda one: one.height):
            found += _in_block(ctx, entry, scripts)
        return found + (_in_mempool(ctx, scripts) if include_mempool else [])

    return {"activity": await ctx.read(look)}


def _in_block(ctx: RpcContext, entry: BlockEntry, scripts: Container[bytes]) -> list[dict[str, Any]]:
    chainstate = ctx.node.chainstate
    block, undo = read_block(chainstate, entry), read_undo(chainstate, entry)
    found: list[dict[str, Any]] = []
    for tx, coins in zip(block.txs, ((), *undo), strict=True):
        found += _events(ctx, tx, coins, scripts, {"blockhash": display(entry.hash), "height": entry.height})
    return found


def _in_mempool(ctx: RpcContext, scripts: Container[bytes]) -> list[dict[str, Any]]:
    pool = ctx.node.pool
    found: list[dict[str, Any]] = []
    for entry in pool.entries():
        coins = [pool.coin(txin.prevout) for txin in entry.tx.inputs]  # None: mined this moment
        found += _events(ctx, entry.tx, coins, scripts, {})
    return found


def _events(
    ctx: RpcContext, tx: Tx, coins: Sequence[Coin | None], scripts: Container[bytes], place: dict[str, Any]
) -> list[dict[str, Any]]:
    """What `tx` spends and pays of these scripts; coins[i] is what input i spends, empty for a coinbase."""
    params = ctx.node.params
    found: list[dict[str, Any]] = []
    for index, (txin, coin) in enumerate(zip(tx.inputs, coins, strict=False)):
        if coin is not None and coin.script_pubkey in scripts:
            found.append(
                {
                    "type": "spend",
                    "amount": amount(coin.amount),
                    **place,
                    "spend_txid": display(tx.txid),
                    "spend_vin": index,
                    "prevout_txid": display(txin.prevout.txid),
                    "prevout_vout": txin.prevout.vout,
                    "prevout_spk": script_json(coin.script_pubkey, params),
                }
            )
    for index, output in enumerate(tx.outputs):
        if output.script_pubkey in scripts:
            found.append(
                {
                    "type": "receive",
                    "amount": amount(output.amount),
                    **place,
                    "txid": display(tx.txid),
                    "vout": index,
                    "output_spk": script_json(output.script_pubkey, params),
                }
            )
    return found
