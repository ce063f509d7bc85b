"""Mining: templates for miners, submitted blocks and headers."""

import asyncio
import logging
from typing import Any, Final

from gldnode.chain.entry import BlockEntry
from gldnode.chain.options import AcceptStatus
from gldnode.consensus.check_tx import MAX_BLOCK_WEIGHT
from gldnode.consensus.merkle import witness_commitment_index
from gldnode.consensus.pow import next_bits
from gldnode.consensus.sizes import MAX_BLOCK_SIGOPS_COST
from gldnode.errors import DecodeError, Reject
from gldnode.mining.template import BlockTemplate, build_template
from gldnode.primitives.block import Block, make_block, parse_block, parse_header
from gldnode.primitives.tx import with_witnesses
from gldnode.rpc.blocks import warnings_of
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount, number
from gldnode.rpc.params import arr, hex_data, num, obj, text
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import difficulty_number, display, target_hex
from gldnode.settings import block_limits

__all__ = ["methods"]

methods = MethodGroup("Mining")
log = logging.getLogger(__name__)
LONG_POLL_CHECK_S: Final = 60


@methods.method(
    "getmininginfo",
    "Returns a json object containing mining-related information.",
    returns="{...}    (json object) blocks, bits, difficulty, target, networkhashps, pooledtx, blockmintxfee, "
    "chain, next, "
    "warnings",
)
async def getmininginfo(ctx: RpcContext) -> dict[str, Any]:
    chainstate, params = ctx.node.chainstate, ctx.node.params
    tip = chainstate.tip_entry
    bits = next_bits(tip, max(tip.median_time_past + 1, ctx.node.clock.now()), params)
    return {
        "blocks": tip.height,
        "bits": f"{tip.bits:08x}",
        "difficulty": difficulty_number(tip.bits),
        "target": target_hex(tip.bits),
        "networkhashps": number(hashes_per_second(ctx, 120, -1)),
        "pooledtx": len(ctx.node.pool),
        "blockmintxfee": amount(block_limits(ctx.node.config, ctx.node.params)[1]),
        "chain": params.rpc_chain_name,
        "next": {
            "height": tip.height + 1,
            "bits": f"{bits:08x}",
            "difficulty": difficulty_number(bits),
            "target": target_hex(bits),
        },
        "warnings": list(warnings_of(ctx)),
    }


def hashes_per_second(ctx: RpcContext, lookup: int, height: int) -> float:
    """Core's GetNetworkHashPS: work over time of the last `lookup` blocks up to `height` (-1: the tip)."""
    chainstate = ctx.node.chainstate
    if lookup < -1 or lookup == 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid nblocks. Must be a positive number or -1.")
    if height < -1 or height > chainstate.tip.height:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Block does not exist at specified height")
    last = chainstate.tip_entry if height == -1 else chainstate.entry_at(height)
    if last is None or last.height == 0:
        return 0.0
    if lookup == -1:
        lookup = last.height % 2016 + 1
    first = last.ancestor(max(0, last.height - lookup))
    times = _times(last, first)
    span = max(times) - min(times)
    return float((last.chain_work - first.chain_work) / span) if span else 0.0


def _times(last: BlockEntry, first: BlockEntry) -> list[int]:
    times = []
    for entry in last.walk_back():
        times.append(entry.time)
        if entry is first:
            break
    return times


@methods.method(
    "getnetworkhashps",
    "Returns the estimated network hashes per second based on the last n blocks.",
    params=[
        num(
            "nblocks", "The number of previous blocks, or -1 for blocks since last difficulty change.", default=120
        ),
        num("height", "To estimate at the time of the given height.", default=-1),
    ],
    returns="n    (numeric) Hashes per second estimated",
)
async def getnetworkhashps(ctx: RpcContext, nblocks: int, height: int) -> Any:
    return number(await ctx.read(lambda: hashes_per_second(ctx, nblocks, height)))


# --- submitted blocks ---


@methods.method(
    "submitblock",
    "Attempts to submit new block to network.\nSee https://en.bitcoin.it/wiki/BIP_0022 for full specification.",
    params=[
        hex_data("hexdata", "the hex-encoded block data to submit", required=True),
        text("dummy", "dummy value, for compatibility with BIP22. This value is ignored."),
    ],
    returns="null, or the reason of the refusal",
    examples=['"mydata"'],
)
async def submitblock(ctx: RpcContext, hexdata: str, dummy: str | None) -> str | None:
    try:
        block = parse_block(bytes.fromhex(hexdata))
    except (DecodeError, ValueError):
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, "Block decode failed") from None
    chainstate = ctx.node.chainstate

    def accept() -> str | None:
        complete = _with_witness_reserve(ctx, block)
        try:
            result = chainstate.accept_block(complete, requested=True)
        except Reject as reject:
            log.error("ProcessNewBlock: AcceptBlock FAILED (%s)", reject)
            return reject.reason
        if result.status is AcceptStatus.CONNECTED:
            return None
        return "duplicate" if result.status is AcceptStatus.DUPLICATE else "inconclusive"

    return await ctx.validate(accept)


def _with_witness_reserve(ctx: RpcContext, block: Block) -> Block:
    """A miner's block without the coinbase's witness gets it (Core: UpdateUncommittedBlockStructures)."""
    prev = ctx.node.chainstate.entry(block.header.prev_hash)
    if (
        prev is None
        or prev.height + 1 < ctx.node.chainstate.params.deployments.segwit
        or witness_commitment_index(block) is None
        or not block.txs[0].inputs
        or block.txs[0].has_witness
    ):
        return block
    first = block.txs[0]
    stacks = [(bytes(32),), *(txin.witness for txin in first.inputs[1:])]
    return make_block(block.header, [with_witnesses(first, stacks), *block.txs[1:]])


@methods.method(
    "submitheader",
    "Decode the given hexdata as a header and submit it as a candidate chain tip if valid.\nThrows when the "
    "header is "
    "invalid.",
    params=[hex_data("hexdata", "the hex-encoded block header data", required=True)],
    returns='null    (json null) "None" if all went well',
    examples=['"aabbcc"'],
)
async def submitheader(ctx: RpcContext, hexdata: str) -> None:
    try:
        header = parse_header(bytes.fromhex(hexdata))
    except (DecodeError, ValueError):
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, "Block header decode failed") from None
    chainstate = ctx.node.chainstate
    if chainstate.entry(header.prev_hash) is None:
        raise RpcError(RpcCode.VERIFY_ERROR, f"Must submit previous header ({display(header.prev_hash)}) first")
    try:
        await ctx.validate(lambda: chainstate.accept_header(header))
    except Reject as reject:
        raise RpcError(RpcCode.VERIFY_ERROR, reject.reason) from None


# --- templates ---


@methods.method(
    "getblocktemplate",
    "If the request parameters include a 'mode' key, that is used to explicitly select between the default "
    "'template' "
    "request or a 'proposal'.\nIt returns data needed to construct a block to work on.\nSee BIPs 22, 23, 9 "
    "and 145.",
    params=[
        obj(
            "template_request",
            "Format of the template",
            [
                text("mode", 'This must be set to "template", "proposal" (see BIP 23), or omitted'),
                arr("capabilities", "A list of strings", [text("str", "")]),
                arr("rules", "A list of strings; must have 'segwit'", [text("str", "")], required=True),
                text("longpollid", "delay processing request until the result would vary significantly"),
                hex_data(
                    "data", "proposed block data to check, encoded in hexadecimal; valid only for mode=proposal"
                ),
            ],
            required=True,
        )
    ],
    returns="{...}",
    examples=['\'{"rules": ["segwit"]}\''],
)
async def getblocktemplate(ctx: RpcContext, template_request: dict[str, Any]) -> Any:
    mode = template_request.get("mode")
    if mode is not None and not isinstance(mode, str):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid mode")
    if mode == "proposal":
        return await _check_proposal(ctx, template_request.get("data"))
    if mode not in (None, "template"):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid mode")
    rules = template_request.get("rules")
    if not isinstance(rules, list) or "segwit" not in rules:
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            'getblocktemplate must be called with the segwit rule set (call with {"rules": ["segwit"]})',
        )
    chainstate = ctx.node.chainstate
    if not ctx.node.params.is_regtest and chainstate.is_initial_block_download:
        raise RpcError(
            RpcCode.CLIENT_IN_INITIAL_DOWNLOAD, "Gold-Coin is in initial sync and waiting for blocks..."
        )
    long_poll = template_request.get("longpollid")
    if long_poll is not None:
        await _wait_long_poll(ctx, long_poll)
    max_weight, min_feerate = block_limits(ctx.node.config, ctx.node.params)
    template = await ctx.validate(
        lambda: build_template(
            chainstate,
            ctx.node.pool,
            b"\x51",
            now=ctx.node.clock.now(),
            max_weight=max_weight,
            min_feerate=min_feerate,
        )
    )
    return _template_json(ctx, template)


async def _check_proposal(ctx: RpcContext, data: Any) -> str | None:
    """BIP 23: whether a block would be valid but for its proof of work; None when it would."""
    if not isinstance(data, str):
        raise RpcError(RpcCode.TYPE_ERROR, "Missing data String key for proposal")
    try:
        block = parse_block(bytes.fromhex(data))
    except (DecodeError, ValueError):
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, "Block decode failed") from None
    chainstate = ctx.node.chainstate
    known = chainstate.entry(block.hash)
    if known is not None:
        if known.is_failed:
            return "duplicate-invalid"
        return "duplicate" if known.has_data else "duplicate-inconclusive"
    if block.header.prev_hash != chainstate.tip.hash:
        return "inconclusive-not-best-prevblk"

    def check() -> str | None:
        try:
            chainstate.test_block_validity(block, check_pow=False, check_merkle_root=True)
        except Reject as reject:
            return reject.reason
        return None

    return await ctx.validate(check)


async def _wait_long_poll(ctx: RpcContext, long_poll: Any) -> None:
    """Return when the tip is another one, or after a minute when the mempool has changed."""
    if not isinstance(long_poll, str) or len(long_poll) < 65:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid longpollid")
    node = ctx.node
    watched, known_sequence = long_poll[:64], long_poll[64:]
    while not node.stop_requested.is_set():
        changed = node.change
        if display(node.chainstate.tip.hash) != watched:
            return
        try:
            async with asyncio.timeout(LONG_POLL_CHECK_S):
                await changed.wait()
        except TimeoutError:
            if str(node.pool.sequence) != known_sequence:
                return
    raise RpcError(RpcCode.CLIENT_NOT_CONNECTED, "Shutting down")


def _template_json(ctx: RpcContext, template: BlockTemplate) -> dict[str, Any]:
    header = template.block.header
    out: dict[str, Any] = {
        "capabilities": ["proposal"],
        "version": header.version,
        "rules": ["csv", "!segwit", "taproot"],
        "vbavailable": {},
        "vbrequired": 0,
        "previousblockhash": display(template.prev_hash),
        "transactions": [
            {
                "data": one.tx.raw.hex(),
                "txid": display(one.tx.txid),
                "hash": display(one.tx.wtxid),
                "depends": list(one.depends),
                "fee": one.fee,
                "sigops": one.sigop_cost,
                "weight": one.tx.weight,
            }
            for one in template.txs
        ],
        "coinbaseaux": {},
        "coinbasevalue": template.coinbase_value,
        "longpollid": f"{display(template.prev_hash)}{template.mempool_sequence}",
        "target": f"{template.target:064x}",
        "mintime": template.min_time,
        "mutable": ["time", "transactions", "prevblock"],
        "noncerange": "00000000ffffffff",
        "sigoplimit": MAX_BLOCK_SIGOPS_COST,
        "sizelimit": MAX_BLOCK_WEIGHT,
        "weightlimit": MAX_BLOCK_WEIGHT,
        "curtime": header.time,
        "bits": f"{header.bits:08x}",
        "height": template.height,
    }
    if template.default_witness_commitment is not None:
        out["default_witness_commitment"] = template.default_witness_commitment.hex()
    return out
