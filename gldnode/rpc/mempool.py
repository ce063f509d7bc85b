"""The mempool: what is in it, and the operator's hand on it."""

from pathlib import Path
from typing import Any

from gldnode.errors import DecodeError
from gldnode.indexes import IndexFollower, TxoSpenderIndex
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import OutPoint, outpoint
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount, json_type
from gldnode.rpc.params import anything, arr, boolean, hash_value, integer_value, num, obj, text, txid
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display

__all__ = ["methods", "mining_methods"]

methods = MethodGroup("Blockchain")
mining_methods = MethodGroup("Mining")


@methods.method(
    "getmempoolinfo",
    "Returns details on the active state of the TX memory pool.",
    returns="{...}    (json object) loaded, size, bytes, usage, total_fee, maxmempool, mempoolminfee, "
    "minrelaytxfee, "
    "incrementalrelayfee, unbroadcastcount, fullrbf",
)
async def getmempoolinfo(ctx: RpcContext) -> dict[str, Any]:
    info = ctx.node.pool.info()
    options = ctx.node.pool.options
    return {
        "loaded": info.loaded,
        "size": info.size,
        "bytes": info.bytes,
        "usage": info.usage,
        "total_fee": amount(info.total_fee),
        "maxmempool": info.max_mempool,
        "mempoolminfee": amount(info.min_feerate),
        "minrelaytxfee": amount(info.min_relay_feerate),
        "incrementalrelayfee": amount(info.incremental_relay_feerate),
        "unbroadcastcount": info.unbroadcast_count,
        "fullrbf": info.full_rbf,
        "permitbaremultisig": options.permit_bare_multisig,
        "maxdatacarriersize": options.max_datacarrier_bytes or 0,
    }


@methods.method(
    "gettxspendingprevout",
    "Scans the mempool (and the txospenderindex, if available) to find transactions spending any of the given "
    "outputs.",
    params=[
        arr(
            "outputs",
            "The transaction outputs that we want to check",
            [
                text("txid", "The transaction id", required=True),
                num("vout", "The output number", required=True),
            ],
            required=True,
        ),
        obj(
            "options",
            "",
            [
                boolean("mempool_only", "Look in the mempool only (default: true without -txospenderindex)"),
                boolean("return_spending_tx", "If true, return the full spending tx", default=False),
            ],
            is_options=True,
        ),
    ],
    returns='[{"txid":"hex","vout":n,"spendingtxid":"hex","spendingtx":"hex","blockhash":"hex"},...]',
    examples=['"[{\\"txid\\":\\"mytxid\\",\\"vout\\":3}]"'],
)
async def gettxspendingprevout(
    ctx: RpcContext, outputs: list[Any], options: dict[str, Any] | None
) -> list[dict[str, Any]]:
    if not outputs:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, outputs are missing")
    index = ctx.services.get(TxoSpenderIndex)
    choice = options or {}
    for name, value in choice.items():
        if name not in ("mempool_only", "return_spending_tx"):
            raise RpcError(RpcCode.TYPE_ERROR, f"Unexpected key {name}")
        if not isinstance(value, bool):
            raise RpcError(
                RpcCode.TYPE_ERROR,
                f"JSON value of type {json_type(value)} for field {name} is not of expected type bool",
            )
    mempool_only = choice.get("mempool_only", index is None)
    prevouts = [_prevout(item) for item in outputs]

    if index is not None and not mempool_only:
        await ctx.services.require(IndexFollower).catch_up(index)

    def look() -> list[dict[str, Any]]:
        return [
            _spender_json(ctx, one, index, mempool_only, choice.get("return_spending_tx", False))
            for one in prevouts
        ]

    return await ctx.read(look)


def _prevout(item: Any) -> OutPoint:
    if not isinstance(item, dict):
        raise RpcError(RpcCode.TYPE_ERROR, f"JSON value of type {json_type(item)} is not of expected type object")
    for name in item:
        if name not in ("txid", "vout"):
            raise RpcError(RpcCode.TYPE_ERROR, f"Unexpected key {name}")
    if "txid" not in item or "vout" not in item:
        raise RpcError(RpcCode.TYPE_ERROR, f"Missing {'txid' if 'txid' not in item else 'vout'}")
    wanted = hash_value(item["txid"], "txid")
    if json_type(item["vout"]) != "number":
        raise RpcError(
            RpcCode.TYPE_ERROR,
            f"JSON value of type {json_type(item['vout'])} for field vout is not of expected type number",
        )
    vout = integer_value(item["vout"])
    if vout < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, vout cannot be negative")
    if vout > 0xFFFFFFFF:
        raise RpcError(RpcCode.MISC_ERROR, "JSON integer out of range")
    return outpoint(wanted, vout)


def _spender_json(
    ctx: RpcContext, prevout: OutPoint, index: TxoSpenderIndex | None, mempool_only: bool, with_tx: bool
) -> dict[str, Any]:
    out: dict[str, Any] = {"txid": display(prevout.txid), "vout": prevout.vout}
    pool = ctx.node.pool
    spender = pool.spender(prevout)
    if spender is not None:
        out["spendingtxid"] = display(spender)
        entry = pool.get(spender)
        if with_tx and entry is not None:
            out["spendingtx"] = entry.tx.raw.hex()
        return out
    if mempool_only:
        return out
    if index is None:
        raise RpcError(
            RpcCode.MISC_ERROR,
            f"No spending tx for the outpoint {display(prevout.txid)}:{prevout.vout} in mempool, and "
            f"txospenderindex "
            "is unavailable.",
        )
    found = index.find(prevout)
    if found is not None:
        out["spendingtxid"], out["blockhash"] = display(found.txid), display(found.block_hash)
        block = ctx.node.chainstate.read_block(found.block_hash) if with_tx else None
        if block is not None:
            out["spendingtx"] = next(tx.raw.hex() for tx in block.txs if tx.txid == found.txid)
    return out


@methods.method(
    "savemempool",
    "Dumps the mempool to disk. It will fail until the previous dump is fully loaded.",
    returns='{"filename":"str"}',
)
async def savemempool(ctx: RpcContext) -> dict[str, str]:
    pool = ctx.node.pool
    if not pool.loaded:
        raise RpcError(RpcCode.MISC_ERROR, "The mempool was not loaded yet")
    path = ctx.node.data_dir / "mempool.dat"
    try:
        await ctx.validate(lambda: pool.dump(path))
    except OSError as error:
        raise RpcError(RpcCode.MISC_ERROR, "Unable to dump mempool to disk") from error
    return {"filename": str(path)}


@methods.method(
    "importmempool",
    "Import a mempool.dat file and attempt to add its contents to the mempool.",
    params=[
        text("filepath", "The mempool file", required=True),
        obj(
            "options",
            "",
            [
                boolean("use_current_time", "Whether to use the current system time", default=True),
                boolean("apply_fee_delta_priority", "Whether to apply fee delta metadata", default=False),
                boolean("apply_unbroadcast_set", "Whether to apply the unbroadcast set metadata", default=False),
            ],
            is_options=True,
        ),
    ],
    returns="{}",
    examples=["/path/to/mempool.dat"],
)
async def importmempool(ctx: RpcContext, filepath: str, options: dict[str, Any] | None) -> dict[str, Any]:
    if ctx.node.chainstate.is_initial_block_download and not ctx.node.params.is_regtest:
        raise RpcError(
            RpcCode.CLIENT_IN_INITIAL_DOWNLOAD,
            "Can only import the mempool after the block download and sync is done.",
        )
    choice = options or {}
    path = Path(filepath)

    steps = ctx.node.pool.load_steps(
        path,
        use_current_time=bool(choice.get("use_current_time", True)),
        apply_unbroadcast=bool(choice.get("apply_unbroadcast_set", False)),
        apply_fee_deltas=bool(choice.get("apply_fee_delta_priority", False)),
    )
    try:
        if not await ctx.read(path.is_file):
            raise FileNotFoundError(filepath)
        while await ctx.validate(lambda: next(steps, None)) is not None:  # others get their turn in between
            pass
    except (OSError, DecodeError) as error:
        raise RpcError(RpcCode.MISC_ERROR, "Unable to import mempool file, see debug log for details.") from error
    return {}


@mining_methods.method(
    "prioritisetransaction",
    "Accepts the transaction into mined blocks at a higher (or lower) priority",
    params=[
        txid("txid", "The transaction id.", required=True),
        anything("dummy", "Must be zero or null. Deprecated", word="numeric"),
        num("fee_delta", "The fee value (in base units) to add (or subtract, if negative).", required=True),
    ],
    returns="true    (boolean) Returns true",
    examples=['"txid" 0.0 10000'],
)
async def prioritisetransaction(ctx: RpcContext, txid: bytes, dummy: Any, fee_delta: int) -> bool:
    if dummy is not None and str(dummy).strip("0.") != "":
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            "Priority is no longer supported, dummy argument to prioritisetransaction must be 0.",
        )
    await ctx.validate(lambda: ctx.node.pool.prioritise(Txid(txid), fee_delta))
    return True


@mining_methods.method(
    "getprioritisedtransactions",
    "Returns a map of all user-created (see prioritisetransaction) fee deltas by txid, and whether the tx is "
    "present "
    "in mempool.",
    returns='{"txid":{"fee_delta":n,"in_mempool":true|false,"modified_fee":n},...}',
)
async def getprioritisedtransactions(ctx: RpcContext) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for one, delta in ctx.node.pool.prioritised().items():
        entry = ctx.node.pool.get(one)
        row: dict[str, Any] = {"fee_delta": delta, "in_mempool": entry is not None}
        if entry is not None:
            row["modified_fee"] = entry.modified_fee
        out[display(one)] = row
    return out
