"""Which mempool transactions go into a block: the best feerate first, ancestors included (Core: addPackageTxs).

A transaction is worth what it pays together with those of its unconfirmed ancestors that are not in the block yet:
a child pays for its parents. When something is taken, its descendants get dearer and are queued anew.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gldnode.consensus.check_tx import MAX_BLOCK_WEIGHT
from gldnode.consensus.sizes import MAX_BLOCK_SIGOPS_COST
from gldnode.mempool.entry import MempoolEntry, feerate_fee
from gldnode.mempool.graph import feerate_key
from gldnode.primitives.hashes import Txid

__all__ = ["SelectionLimits", "select_transactions"]

MAX_CONSECUTIVE_FAILURES: Final = 1_000
FULL_ENOUGH_WEIGHT: Final = 4_000


@dataclass(frozen=True, slots=True)
class SelectionLimits:
    """What the block may hold besides its coinbase."""

    max_weight: int = MAX_BLOCK_WEIGHT - 8_000
    max_sigop_cost: int = MAX_BLOCK_SIGOPS_COST - 400
    min_feerate: int = 1
    """Grains per 1,000 virtual bytes of a package (`-blockmintxfee`)."""


@dataclass(slots=True)
class _Remaining:
    """A transaction with those of its ancestors that are not taken yet."""

    size: int
    fees: int


def _rank(entry: MempoolEntry, size: int, fees: int) -> int:
    """The worse of its own feerate and the package's: a rich parent does not lift a poor child."""
    return min(feerate_key(entry.modified_fee, entry.vsize), feerate_key(fees, size))


def select_transactions(entries: Sequence[MempoolEntry], limits: SelectionLimits) -> list[MempoolEntry]:
    """The chosen ones, parents before children. `entries` is one snapshot of the mempool."""
    by_txid = {entry.tx.txid: entry for entry in entries}
    queue = [
        (-_rank(entry, entry.ancestor_size, entry.ancestor_fees), entry.sequence, entry.tx.txid)
        for entry in entries
    ]
    heapq.heapify(queue)
    remaining: dict[Txid, _Remaining] = {}
    taken: dict[Txid, MempoolEntry] = {}
    weight = sigop_cost = failures = 0
    while queue:
        rank, _, txid = heapq.heappop(queue)
        entry = by_txid[txid]
        if txid in taken:
            continue
        state = remaining.get(txid)
        size, fees = (state.size, state.fees) if state else (entry.ancestor_size, entry.ancestor_fees)
        if rank != -_rank(entry, size, fees):
            continue  # queued anew since with another rank
        if fees < feerate_fee(limits.min_feerate, size):
            break
        package = [by_txid[one] for one in entry.ancestors if one not in taken and one in by_txid]
        package.append(entry)
        package_weight = sum(one.tx.weight for one in package)
        package_sigops = sum(one.sigop_cost for one in package)
        if weight + package_weight > limits.max_weight or sigop_cost + package_sigops > limits.max_sigop_cost:
            failures += 1
            if failures > MAX_CONSECUTIVE_FAILURES and weight > limits.max_weight - FULL_ENOUGH_WEIGHT:
                break
            continue
        failures = 0
        package.sort(key=lambda one: len(one.ancestors))
        for one in package:
            taken[one.tx.txid] = one
        weight += package_weight
        sigop_cost += package_sigops
        for child, left in _lighten(package, taken, by_txid, remaining).items():
            rank = -_rank(by_txid[child], left.size, left.fees)
            heapq.heappush(queue, (rank, by_txid[child].sequence, child))
    return list(taken.values())


def _lighten(
    package: Sequence[MempoolEntry],
    taken: dict[Txid, MempoolEntry],
    by_txid: dict[Txid, MempoolEntry],
    remaining: dict[Txid, _Remaining],
) -> dict[Txid, _Remaining]:
    """Descendants of what was taken need it no more; those that changed."""
    changed: dict[Txid, _Remaining] = {}
    for one in package:
        stack = list(one.children)
        seen: set[Txid] = set()
        while stack:
            txid = stack.pop()
            if txid in seen or txid not in by_txid:
                continue
            seen.add(txid)
            child = by_txid[txid]
            stack.extend(child.children)
            if txid in taken:
                continue
            left = remaining.get(txid)
            if left is None:
                left = remaining[txid] = _Remaining(child.ancestor_size, child.ancestor_fees)
            left.size -= one.vsize
            left.fees -= one.modified_fee
            changed[txid] = left
    return changed
