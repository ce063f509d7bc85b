"""Clusters: transactions that hang together, in the order and the chunks in which a block builder takes them.

A linearisation by the best remaining ancestor set, then neighbours are merged while the later one pays better
(Core: cluster mempool's chunks; its own order may be better where several parents share several children).
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from gldnode.mempool.entry import MempoolEntry
from gldnode.mempool.graph import feerate_key
from gldnode.primitives.hashes import Txid

__all__ = ["Chunk", "adjusted_weight", "chunks_of", "cluster_of", "clusters_of"]

Find = Callable[[Txid], MempoolEntry | None]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Transactions that are mined together, in their order."""

    entries: tuple[MempoolEntry, ...]
    fee: int
    """Modified."""
    weight: int
    """Adjusted for signature operations."""


def adjusted_weight(entry: MempoolEntry, bytes_per_sigop: int) -> int:
    """Weight, or what its signature operations count for if that is more (Core: GetSigOpsAdjustedWeight)."""
    return max(entry.weight, entry.sigop_cost * bytes_per_sigop)


def cluster_of(entry: MempoolEntry, find: Find) -> list[MempoolEntry]:
    """`entry` and all that is connected with it, through parents and children, at any distance."""
    found = {entry.txid: entry}
    waiting = [entry]
    while waiting:
        one = waiting.pop()
        for txid in (*one.parents, *one.children):
            relative = None if txid in found else find(txid)
            if relative is not None:  # else it has just left
                found[txid] = relative
                waiting.append(relative)
    return list(found.values())


def clusters_of(entries: Iterable[MempoolEntry], find: Find) -> list[list[MempoolEntry]]:
    """Every cluster that these belong to, once."""
    seen: set[Txid] = set()
    clusters = []
    for entry in entries:
        if entry.txid not in seen:
            cluster = cluster_of(entry, find)
            seen.update(one.txid for one in cluster)
            clusters.append(cluster)
    return clusters


def chunks_of(cluster: Sequence[MempoolEntry], bytes_per_sigop: int) -> Sequence[Chunk]:
    """A cluster's chunks in mining order, feerates never rising."""
    if len(cluster) == 1:
        (entry,) = cluster
        return (Chunk((entry,), entry.modified_fee, adjusted_weight(entry, bytes_per_sigop)),)
    return _chunks_of_many(frozenset(cluster), bytes_per_sigop)


@lru_cache(maxsize=64)
def _chunks_of_many(cluster: frozenset[MempoolEntry], bytes_per_sigop: int) -> Sequence[Chunk]:
    """Remembered, for indexers ask for every transaction of a cluster by itself.

    Entries are compared by identity, and are replaced whole when a relative or a fee changes.
    """
    chunks: list[Chunk] = []
    for entry in _linearise(cluster):
        chunk = Chunk((entry,), entry.modified_fee, adjusted_weight(entry, bytes_per_sigop))
        while chunks and chunk.fee * chunks[-1].weight > chunks[-1].fee * chunk.weight:
            last = chunks.pop()
            chunk = Chunk(last.entries + chunk.entries, last.fee + chunk.fee, last.weight + chunk.weight)
        chunks.append(chunk)
    return chunks


def _linearise(cluster: Collection[MempoolEntry]) -> list[MempoolEntry]:
    """Again and again the transaction that pays best together with its ancestors that are still out."""
    inside = {entry.txid: entry for entry in cluster}
    out = {txid: entry.ancestors & inside.keys() for txid, entry in inside.items()}
    below: dict[Txid, list[Txid]] = {txid: [] for txid in inside}
    for txid, ancestors in out.items():
        for ancestor in ancestors:
            below[ancestor].append(txid)

    def key(txid: Txid) -> tuple[int, int]:
        group = [inside[one] for one in (*out[txid], txid)]
        fee, size = sum(one.modified_fee for one in group), sum(one.vsize for one in group)
        return -feerate_key(fee, size), inside[txid].sequence

    current = {txid: key(txid) for txid in inside}
    heap = [(rank, txid) for txid, rank in current.items()]
    heapq.heapify(heap)
    order: list[MempoolEntry] = []
    while heap:
        rank, txid = heapq.heappop(heap)
        if current.get(txid) != rank:
            continue  # taken, or ranked anew since
        taken = sorted((*out[txid], txid), key=lambda one: (len(inside[one].ancestors), inside[one].sequence))
        touched: set[Txid] = set()
        for one in taken:
            del current[one]
            order.append(inside[one])
            touched.update(below[one])
        for one in touched & current.keys():
            out[one] = out[one] - set(taken)
            current[one] = key(one)
            heapq.heappush(heap, (current[one], one))
    return order
