"""Transactions of the mempool one by one: facts, relatives, and the clusters and chunks they are mined in."""

from collections.abc import Iterable, Sequence
from typing import Any

from gldnode.mempool.clusters import Chunk, chunks_of, cluster_of, clusters_of
from gldnode.mempool.entry import MempoolEntry
from gldnode.mempool.graph import feerate_key
from gldnode.primitives.hashes import Txid
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount
from gldnode.rpc.params import boolean, txid
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display

__all__ = ["methods"]

methods = MethodGroup("Blockchain")


def _entry_json(entry: MempoolEntry, chunk: Chunk, *, is_unbroadcast: bool) -> dict[str, Any]:
    """One transaction of the pool (Core: entryToJSON)."""
    return {
        "vsize": entry.vsize,
        "weight": entry.weight,
        "time": entry.time,
        "height": entry.height,
        "descendantcount": entry.descendant_count,
        "descendantsize": entry.descendant_size,
        "ancestorcount": entry.ancestor_count,
        "ancestorsize": entry.ancestor_size,
        "wtxid": display(entry.tx.wtxid),
        "chunkweight": chunk.weight,
        "fees": {
            "base": amount(entry.fee),
            "modified": amount(entry.modified_fee),
            "ancestor": amount(entry.ancestor_fees),
            "descendant": amount(entry.descendant_fees),
            "chunk": amount(chunk.fee),
        },
        "depends": sorted(display(parent) for parent in entry.parents),
        "spentby": sorted(display(child) for child in entry.children),
        "bip125-replaceable": entry.signals_replacement,
        "unbroadcast": is_unbroadcast,
    }


def _chunks(ctx: RpcContext, cluster: list[MempoolEntry]) -> Sequence[Chunk]:
    return chunks_of(cluster, ctx.node.pool.options.bytes_per_sigop)


def _described(ctx: RpcContext, entries: Sequence[MempoolEntry]) -> dict[str, Any]:
    """The facts of each, by its id."""
    pool = ctx.node.pool
    chunk_of = {
        one.txid: chunk
        for cluster in clusters_of(entries, pool.get)
        for chunk in _chunks(ctx, cluster)
        for one in chunk.entries
    }
    return {
        display(entry.txid): _entry_json(
            entry, chunk_of[entry.txid], is_unbroadcast=pool.is_unbroadcast(entry.txid)
        )
        for entry in entries
    }


def _listing(ctx: RpcContext, txids: Iterable[Txid], verbose: bool) -> Any:
    found = [entry for entry in map(ctx.node.pool.get, txids) if entry is not None]
    return _described(ctx, found) if verbose else [display(entry.txid) for entry in found]


def _entry(ctx: RpcContext, wanted: bytes) -> MempoolEntry:
    entry = ctx.node.pool.get(Txid(wanted))
    if entry is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Transaction not in mempool")
    return entry


@methods.method(
    "getrawmempool",
    "Returns all transaction ids in memory pool as a json array of string transaction ids.",
    params=[
        boolean("verbose", "True for a json object, false for array of transaction ids", default=False),
        boolean(
            "mempool_sequence",
            "If verbose=false, returns a json object with transaction list and mempool sequence number attached.",
            default=False,
        ),
    ],
    returns="[...] or {...}",
    examples=["true"],
)
async def getrawmempool(ctx: RpcContext, verbose: bool, mempool_sequence: bool) -> Any:
    pool = ctx.node.pool
    if verbose:
        if mempool_sequence:
            raise RpcError(RpcCode.INVALID_PARAMETER, "Verbose results cannot contain mempool sequence values.")
        return await ctx.read(lambda: _described(ctx, pool.entries()))
    sequence = pool.sequence + 1  # the number of the event to come: what a subscriber needs from there on
    ids = [display(one) for one in pool.txids()]
    return {"txids": ids, "mempool_sequence": sequence} if mempool_sequence else ids


@methods.method(
    "getmempoolentry",
    "Returns mempool data for given transaction",
    params=[txid("txid", "The transaction id (must be in mempool)", required=True)],
    returns="{...}",
    examples=['"mytxid"'],
)
async def getmempoolentry(ctx: RpcContext, txid: bytes) -> dict[str, Any]:
    (facts,) = _described(ctx, [_entry(ctx, txid)]).values()
    assert isinstance(facts, dict)
    return facts


_TXID_IN_CLUSTER = txid("txid", "The txid of a transaction in the cluster", required=True)
_VERBOSE = boolean("verbose", "True for a json object, false for array of transaction ids", default=False)


@methods.method(
    "getmempoolancestors",
    "If txid is in the mempool, returns all in-mempool ancestors.",
    params=[txid("txid", "The transaction id (must be in mempool)", required=True), _VERBOSE],
    returns="[...] or {...}",
    examples=['"mytxid"'],
)
async def getmempoolancestors(ctx: RpcContext, txid: bytes, verbose: bool) -> Any:
    return _listing(ctx, _entry(ctx, txid).ancestors, verbose)


@methods.method(
    "getmempooldescendants",
    "If txid is in the mempool, returns all in-mempool descendants.",
    params=[txid("txid", "The transaction id (must be in mempool)", required=True), _VERBOSE],
    returns="[...] or {...}",
    examples=['"mytxid"'],
)
async def getmempooldescendants(ctx: RpcContext, txid: bytes, verbose: bool) -> Any:
    _entry(ctx, txid)
    return _listing(ctx, ctx.node.pool.descendants(Txid(txid)), verbose)


@methods.method(
    "getmempoolcluster",
    "Returns mempool data for given cluster",
    params=[_TXID_IN_CLUSTER],
    returns='{"clusterweight":n,"txcount":n,"chunks":[{"chunkfee":n,"chunkweight":n,"txs":["txid",...]},...]}\n'
    "Weights are adjusted for signature operations (-bytespersigop); chunks and transactions are in mining order.",
    examples=['"mytxid"'],
)
async def getmempoolcluster(ctx: RpcContext, txid: bytes) -> dict[str, Any]:
    chunks = _chunks(ctx, cluster_of(_entry(ctx, txid), ctx.node.pool.get))
    return {
        "clusterweight": sum(chunk.weight for chunk in chunks),
        "txcount": sum(len(chunk.entries) for chunk in chunks),
        "chunks": [
            {
                "chunkfee": amount(chunk.fee),
                "chunkweight": chunk.weight,
                "txs": [display(entry.txid) for entry in chunk.entries],
            }
            for chunk in chunks
        ],
    }


@methods.method(
    "getmempoolfeeratediagram",
    "Returns the feerate diagram for the whole mempool.",
    returns='[{"weight":n,"fee":n},...]    Cumulative, chunk by chunk, the best feerate first',
    hidden=True,
)
async def getmempoolfeeratediagram(ctx: RpcContext) -> list[dict[str, Any]]:
    return await ctx.read(lambda: _diagram(ctx))


def _diagram(ctx: RpcContext) -> list[dict[str, Any]]:
    pool = ctx.node.pool
    chunks = [chunk for cluster in clusters_of(pool.entries(), pool.get) for chunk in _chunks(ctx, cluster)]
    chunks.sort(key=lambda chunk: feerate_key(chunk.fee, chunk.weight), reverse=True)
    weight = fee = 0
    points = [{"weight": 0, "fee": amount(0)}]
    for chunk in chunks:
        weight += chunk.weight
        fee += chunk.fee
        points.append({"weight": weight, "fee": amount(fee)})
    return points
