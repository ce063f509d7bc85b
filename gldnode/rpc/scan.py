"""`scanblocks`: which blocks may touch some scripts, by the compact filters."""

from typing import Any

from gldnode.indexes import BlockFilterIndex
from gldnode.indexes.blockfilterindex import basic_filter_matches
from gldnode.primitives.hashes import BlockHash
from gldnode.rpc.blocks import read_block, read_undo
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import arr, boolean, num, obj, text
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display
from gldnode.rpc.scanning import Scan, begin, scanned_scripts, steer

__all__ = ["BlockScan", "methods"]

methods = MethodGroup("Blockchain")


class BlockScan(Scan):
    """The one scan of the blocks that may be under way."""

    def __init__(self) -> None:
        super().__init__()
        self.height = 0

    def status(self) -> dict[str, Any]:
        return {"progress": self.progress, "current_height": self.height}


@methods.method(
    "scanblocks",
    "Return relevant blockhashes for given descriptors (requires blockfilterindex).\nThis call may take several "
    "minutes. Make sure to use no RPC timeout (gld-cli -rpcclienttimeout=0)",
    params=[
        text("action", '"start", "abort" or "status"', required=True),
        arr("scanobjects", "Descriptors, or objects with desc and range", [text("descriptor", "")]),
        num("start_height", "Height to start to scan from", default=0),
        num("stop_height", "Height to stop to scan (default: the tip)"),
        text("filtertype", "The type name of the filter", default="basic"),
        obj(
            "options",
            "",
            [boolean("filter_false_positives", "Filter false positives (slower)", default=False)],
            is_options=True,
        ),
    ],
    returns='{"from_height":n,"to_height":n,"relevant_blocks":["hex",...],"completed":true|false}',
    examples=["start '[\"addr(bcrt1q4u4nsgk6ug0sqz7r3rj9tykjxrsl0yy4d0wwte)\"]' 300000"],
)
async def scanblocks(
    ctx: RpcContext,
    action: str,
    scanobjects: list[Any] | None,
    start_height: int,
    stop_height: int | None,
    filtertype: str,
    options: dict[str, Any] | None,
) -> Any:
    if action != "start":
        return steer(ctx, BlockScan, action)
    if filtertype != "basic":
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Unknown filtertype")
    index = ctx.services.require(
        BlockFilterIndex, RpcCode.MISC_ERROR, f"Index is not enabled for filtertype {filtertype}"
    )
    tip = ctx.node.chainstate.tip.height
    if not 0 <= start_height <= tip:
        raise RpcError(RpcCode.MISC_ERROR, "Invalid start_height")
    last = tip if stop_height is None else stop_height
    if not start_height <= last <= tip:
        raise RpcError(RpcCode.MISC_ERROR, "Invalid stop_height")
    exact = bool((options or {}).get("filter_false_positives", False))
    with begin(ctx, BlockScan()) as scan:
        needles = set(await scanned_scripts(ctx, scanobjects))
        return await ctx.read(lambda: _scan(ctx, scan, index, (start_height, last), needles, exact))


def _scan(
    ctx: RpcContext,
    scan: BlockScan,
    index: BlockFilterIndex,
    heights: tuple[int, int],
    needles: set[bytes],
    exact: bool,
) -> dict[str, Any]:
    low, high = heights
    relevant: list[str] = []
    scan.height = low
    for height in range(low, high + 1):
        if scan.is_aborted or ctx.node.stop_requested.is_set():
            break
        scan.height = height
        scan.progress = 100 * (height - low) // (high - low + 1)
        entry = ctx.node.chainstate.entry_at(height)
        found = None if entry is None else index.find(BlockHash(entry.hash))
        if entry is None or found is None:
            continue
        if basic_filter_matches(found.data, entry.hash, needles) and (not exact or _touches(ctx, height, needles)):
            relevant.append(display(entry.hash))
    return {
        "from_height": low,
        "to_height": scan.height,
        "relevant_blocks": relevant,
        "completed": not scan.is_aborted,
    }


def _touches(ctx: RpcContext, height: int, needles: set[bytes]) -> bool:
    """Whether the block itself makes or spends a coin of one of the scripts."""
    chainstate = ctx.node.chainstate
    entry = chainstate.entry_at(height)
    assert entry is not None
    made = (output.script_pubkey for tx in read_block(chainstate, entry).txs for output in tx.outputs)
    spent = (coin.script_pubkey for coins in read_undo(chainstate, entry) for coin in coins)
    return not needles.isdisjoint(made) or not needles.isdisjoint(spent)
