"""The chain as an operator sees and steers it: branches, rules, waiting, verification, pruning, indexes."""

import asyncio
from typing import Any

from gldnode.chain.entry import BlockEntry
from gldnode.chain.options import BlockUnavailable
from gldnode.chain.verify import ChainDamaged
from gldnode.consensus.deployments import script_flags
from gldnode.indexes import BlockFilterIndex, IndexFollower
from gldnode.primitives.hashes import BlockHash
from gldnode.rpc.blocks import known_entry, verification_progress
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import number
from gldnode.rpc.params import block_hash, num, text
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import difficulty_number, display, target_hex

__all__ = ["methods"]

methods = MethodGroup("Blockchain")

MIN_BLOCKS_TO_KEEP = 288
TIMESTAMP_WINDOW_S = 2 * 60 * 60


@methods.method(
    "getchaintips",
    "Return information about all known tips in the block tree, including the main chain as well as orphaned "
    "branches.",
    returns='[{"height":n,"hash":"hex","branchlen":n,"status":"str"},...]',
)
async def getchaintips(ctx: RpcContext) -> list[dict[str, Any]]:
    tips = await ctx.read(ctx.node.chainstate.chain_tips)
    return [
        {
            "height": tip.entry.height,
            "hash": display(tip.entry.hash),
            "branchlen": tip.branch_length,
            "status": str(tip.status),
        }
        for tip in tips
    ]


@methods.method(
    "getdeploymentinfo",
    "Returns an object containing various state info regarding deployments of consensus changes.",
    params=[block_hash("blockhash", "The block hash at which to query deployment state (default: the tip)")],
    returns='{"hash":"hex","height":n,"script_flags":["str",...],"deployments":{"name":{"type":"buried","active":b,'
    '"height":n},...}}',
)
async def getdeploymentinfo(ctx: RpcContext, blockhash: bytes | None) -> dict[str, Any]:
    chainstate = ctx.node.chainstate
    entry = chainstate.tip_entry if blockhash is None else known_entry(ctx, blockhash)
    rules = chainstate.params.deployments
    heights = {
        "bip34": rules.bip34,
        "bip66": rules.bip66,
        "bip65": rules.bip65,
        "csv": rules.csv,
        "segwit": rules.segwit,
        "taproot": rules.taproot,
    }
    flags = script_flags(chainstate.params, entry.height, entry.hash)
    return {
        "hash": display(entry.hash),
        "height": entry.height,
        "script_flags": sorted(flag.name for flag in flags if flag.name is not None),
        "deployments": {
            name: {"type": "buried", "active": entry.height + 1 >= height, "height": height}
            for name, height in heights.items()
        },
    }


@methods.method(
    "getchainstates",
    "Return information about chainstates.",
    returns='{"headers":n,"chainstates":[{...}]}',
)
async def getchainstates(ctx: RpcContext) -> dict[str, Any]:
    chainstate = ctx.node.chainstate
    tip = chainstate.tip_entry
    return {
        "headers": chainstate.best_header.height,
        "chainstates": [
            {
                "blocks": tip.height,
                "bestblockhash": display(tip.hash),
                "bits": f"{tip.bits:08x}",
                "target": target_hex(tip.bits),
                "difficulty": difficulty_number(tip.bits),
                "verificationprogress": number(verification_progress(ctx)),
                "coins_db_cache_bytes": 8 << 20,
                "coins_tip_cache_bytes": chainstate.options.dbcache_mib << 20,
                "validated": True,
            }
        ],
    }


# --- waiting ---


async def _wait_for(ctx: RpcContext, timeout_ms: int, is_met: Any) -> dict[str, Any]:
    """Wait until `is_met(tip)`, the time is over (0: no limit) or the node stops; the tip then."""
    if timeout_ms < 0:
        raise RpcError(RpcCode.MISC_ERROR, "Negative timeout")
    node = ctx.node

    async def met() -> None:
        while not node.stop_requested.is_set():
            changed = node.change
            if is_met(node.chainstate.tip):
                return
            await changed.wait()

    try:
        async with asyncio.timeout(timeout_ms / 1000 if timeout_ms else None):
            await met()
    except TimeoutError:
        pass  # the answer is the tip as it is
    tip = node.chainstate.tip
    return {"hash": display(tip.hash), "height": tip.height}


_TIMEOUT = num("timeout", "Time in milliseconds to wait for a response. 0 indicates no timeout.", default=0)


@methods.method(
    "waitfornewblock",
    "Waits for any new block and returns useful info about it.\nReturns the current block on timeout or exit.",
    params=[_TIMEOUT, block_hash("current_tip", "Method waits for the chain tip to differ from this.")],
    returns='{"hash":"hex","height":n}',
    examples=["1000"],
)
async def waitfornewblock(ctx: RpcContext, timeout: int, current_tip: bytes | None) -> dict[str, Any]:  # noqa: ASYNC109  # the RPC's name
    before = ctx.node.chainstate.tip.hash if current_tip is None else current_tip
    return await _wait_for(ctx, timeout, lambda tip: tip.hash != before)


@methods.method(
    "waitforblock",
    "Waits for a specific new block and returns useful info about it.\nReturns the current block on timeout "
    "or exit.",
    params=[block_hash("blockhash", "Block hash to wait for.", required=True), _TIMEOUT],
    returns='{"hash":"hex","height":n}',
    examples=['"0000000000079f8ef3d2c688c244eb7a4570b24c9ed7b4a8c619eb02596f8862" 1000'],
)
async def waitforblock(ctx: RpcContext, blockhash: bytes, timeout: int) -> dict[str, Any]:  # noqa: ASYNC109  # the RPC's name
    return await _wait_for(ctx, timeout, lambda tip: tip.hash == blockhash)


@methods.method(
    "waitforblockheight",
    "Waits for (at least) block height and returns the height and hash of the current tip.\nReturns the "
    "current block "
    "on timeout or exit.",
    params=[num("height", "Block height to wait for.", required=True), _TIMEOUT],
    returns='{"hash":"hex","height":n}',
    examples=["100 1000"],
)
async def waitforblockheight(ctx: RpcContext, height: int, timeout: int) -> dict[str, Any]:  # noqa: ASYNC109  # the RPC's name
    return await _wait_for(ctx, timeout, lambda tip: tip.height >= height)


# --- steering ---


def _steer(ctx: RpcContext, blockhash: bytes, action: Any) -> Any:
    def work() -> None:
        known_entry(ctx, blockhash)
        try:
            action(blockhash)
        except BlockUnavailable as error:
            raise RpcError(RpcCode.DATABASE_ERROR, str(error)) from None

    return ctx.validate(work)


@methods.method(
    "invalidateblock",
    "Permanently marks a block as invalid, as if it violated a consensus rule.",
    params=[block_hash("blockhash", "the hash of the block to mark as invalid", required=True)],
    returns="null",
    examples=['"blockhash"'],
)
async def invalidateblock(ctx: RpcContext, blockhash: bytes) -> None:
    await _steer(ctx, blockhash, ctx.node.chainstate.invalidate)


@methods.method(
    "reconsiderblock",
    "Removes invalidity status of a block, its ancestors and its descendants, reconsider them for "
    "activation.\nThis "
    "can be used to undo the effects of invalidateblock.",
    params=[block_hash("blockhash", "the hash of the block to reconsider", required=True)],
    returns="null",
    examples=['"blockhash"'],
)
async def reconsiderblock(ctx: RpcContext, blockhash: bytes) -> None:
    await _steer(ctx, blockhash, ctx.node.chainstate.reconsider)


@methods.method(
    "preciousblock",
    "Treats a block as if it were received before others with the same work.\nA later preciousblock call can "
    "override "
    "the effect of an earlier one.\nThe effects of preciousblock are not retained across restarts.",
    params=[block_hash("blockhash", "the hash of the block to mark as precious", required=True)],
    returns="null",
    examples=['"blockhash"'],
)
async def preciousblock(ctx: RpcContext, blockhash: bytes) -> None:
    await _steer(ctx, blockhash, ctx.node.chainstate.precious)


@methods.method(
    "verifychain",
    "Verifies blockchain database.",
    params=[
        num("checklevel", "How thorough the block verification is, 0 to 4", default=3),
        num("nblocks", "The number of blocks to check (0=all)", default=6),
    ],
    returns="true|false    (boolean) Verification finished successfully. If false, check debug.log for reason.",
)
async def verifychain(ctx: RpcContext, checklevel: int, nblocks: int) -> bool:
    def verify() -> bool:
        try:
            return ctx.node.chainstate.verify(min(max(checklevel, 0), 4), max(nblocks, 0))
        except ChainDamaged:
            return False

    return await ctx.validate(verify)


@methods.method(
    "pruneblockchain",
    "Attempts to delete block and undo data up to a specified height or timestamp, if eligible for "
    "pruning.\nRequires "
    "-prune to be enabled at startup.",
    params=[
        num("height", "The block height to prune up to, or a UNIX epoch time above 1000000000", required=True)
    ],
    returns="n    (numeric) Height of the last block pruned",
    examples=["1000"],
)
async def pruneblockchain(ctx: RpcContext, height: int) -> int:
    chainstate = ctx.node.chainstate
    if chainstate.options.prune_mib == 0:
        raise RpcError(RpcCode.MISC_ERROR, "Cannot prune blocks because node is not in prune mode.")
    if height < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Negative block height.")
    tip = chainstate.tip.height
    if height > 1_000_000_000:
        height = _height_at_time(ctx, height - TIMESTAMP_WINDOW_S)
    if tip < MIN_BLOCKS_TO_KEEP:
        raise RpcError(RpcCode.MISC_ERROR, "Blockchain is too short for pruning.")
    if height > tip:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Blockchain is shorter than the attempted prune height.")
    wanted = min(height, tip - MIN_BLOCKS_TO_KEEP)
    await ctx.validate(lambda: chainstate.prune_to(wanted))
    return (chainstate.prune_height or 0) - 1


def _height_at_time(ctx: RpcContext, time: int) -> int:
    """The first block whose chain's greatest time is at least `time`."""
    chainstate = ctx.node.chainstate
    highest = 0
    for height in range(chainstate.tip.height + 1):
        entry = chainstate.entry_at(height)
        if entry is None:
            break
        highest = max(highest, entry.time)
        if highest >= time:
            return height
    raise RpcError(RpcCode.INVALID_PARAMETER, "Could not find block with at least the specified timestamp.")


# --- indexes ---


@methods.method(
    "getindexinfo",
    "Returns the status of one or all available indices currently running in the node.",
    params=[text("index_name", "Filter results for an index with a specific name.")],
    returns='{"name":{"synced":true|false,"best_block_height":n},...}',
    examples=["txindex"],
)
async def getindexinfo(ctx: RpcContext, index_name: str | None) -> dict[str, Any]:
    follower = ctx.services.get(IndexFollower)
    return {
        index.name: {"synced": index.synced, "best_block_height": index.best_height}
        for index in (follower.indexes if follower is not None else ())
        if not index_name or index.name == index_name
    }


@methods.method(
    "getblockfilter",
    "Retrieve a BIP 157 content filter for a particular block.",
    params=[
        block_hash("blockhash", "The hash of the block", required=True),
        text("filtertype", "The type name of the filter", default="basic"),
    ],
    returns='{"filter":"hex","header":"hex"}',
    examples=['"00000000c937983704a73af28acdec37b049d214adbda81d7e2a3dd146f6ed09" "basic"'],
)
async def getblockfilter(ctx: RpcContext, blockhash: bytes, filtertype: str) -> dict[str, str]:
    if filtertype != "basic":
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Unknown filtertype")
    index = ctx.services.require(
        BlockFilterIndex, RpcCode.MISC_ERROR, f"Index is not enabled for filtertype {filtertype}"
    )
    entry: BlockEntry = known_entry(ctx, blockhash)
    follower = ctx.services.require(IndexFollower)
    ready = await follower.catch_up(index)
    found = await ctx.read(lambda: index.find(BlockHash(entry.hash)))
    if found is None:
        if not entry.is_valid_to(5):
            raise RpcError(
                RpcCode.INVALID_ADDRESS_OR_KEY, "Filter not found. Block was not connected to active chain."
            )
        if not ready:
            raise RpcError(
                RpcCode.MISC_ERROR, "Filter not found. Block filters are still in the process of being indexed."
            )
        raise RpcError(
            RpcCode.INTERNAL_ERROR, "Filter not found. This error is unexpected and indicates index corruption."
        )
    return {"filter": found.data.hex(), "header": display(found.header)}
