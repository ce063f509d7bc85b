"""The transactions of the mempool and how they hang together.

Every entry knows its unconfirmed ancestors and the sums over its ancestors and descendants: limits, replacement,
eviction and block building only read them. A change touches the relatives of what changed and nothing else.
Only the validation thread writes; `MempoolEntry` values are replaced whole, so reads from other threads are safe.
"""

import heapq
from collections.abc import Collection, Iterable
from typing import Final

from msgspec.structs import replace

from gldnode.mempool.entry import LockPoints, MempoolEntry
from gldnode.primitives.hashes import Txid, Wtxid
from gldnode.primitives.tx import OutPoint, Tx

__all__ = ["ChainLimitError", "ChainLimits", "TxGraph", "feerate_key"]

_SHIFT: Final = 40
_NONE: Final[frozenset[Txid]] = frozenset()


def feerate_key(fee: int, size: int) -> int:
    """An integer that orders feerates: 2^40 times grains per virtual byte, rounded down."""
    return (fee << _SHIFT) // size


def _eviction_key(entry: MempoolEntry) -> int:
    """The better of its own feerate and that of it with all descendants: the least goes first."""
    own = (entry.modified_fee << _SHIFT) // entry.vsize
    if entry.descendant_count == 1:
        return own
    return max(own, (entry.descendant_fees << _SHIFT) // entry.descendant_size)


class ChainLimitError(Exception):
    """A limit on ancestors or descendants would be exceeded; the text is Core's."""


class ChainLimits:
    """Limits on chains of unconfirmed transactions, the new one included."""

    __slots__ = ("ancestor_count", "ancestor_size", "descendant_count", "descendant_size")

    def __init__(
        self, ancestor_count: int, ancestor_size: int, descendant_count: int, descendant_size: int
    ) -> None:
        self.ancestor_count = ancestor_count
        self.ancestor_size = ancestor_size
        self.descendant_count = descendant_count
        self.descendant_size = descendant_size


class TxGraph:
    """Entries by txid, with their sums, who spends what, and the order of eviction."""

    def __init__(self) -> None:
        self._entries: dict[Txid, MempoolEntry] = {}
        self._txid_of: dict[Wtxid, Txid] = {}
        self._spenders: dict[OutPoint, Txid] = {}
        self._heap: list[tuple[int, int, Txid]] = []
        self.total_vsize = 0
        self.total_fee = 0
        self.memory = 0

    # --- reads, any thread

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, txid: object) -> bool:
        return txid in self._entries

    def get(self, txid: bytes) -> MempoolEntry | None:
        return self._entries.get(txid)  # type: ignore[call-overload, no-any-return]  # Txid is bytes

    def txid_of(self, wtxid: Wtxid) -> Txid | None:
        return self._txid_of.get(wtxid)

    def spender(self, prevout: OutPoint) -> Txid | None:
        return self._spenders.get(prevout)

    def txids(self) -> list[Txid]:
        return list(self._entries)  # one step of the interpreter: safe beside a writer

    def entries(self) -> list[MempoolEntry]:
        return list(self._entries.values())

    # --- relatives

    def conflicts_of(self, tx: Tx) -> list[Txid]:
        """Transactions here that spend what `tx` spends."""
        spenders = self._spenders
        return [spenders[txin.prevout] for txin in tx.inputs if txin.prevout in spenders]

    def parents_of(self, tx: Tx) -> frozenset[Txid]:
        """Unconfirmed transactions that `tx` spends from."""
        entries = self._entries
        found = [head for txin in tx.inputs if (head := txin.prevout[:32]) in entries]
        return frozenset(Txid(head) for head in found) if found else _NONE

    def ancestors_through(self, parents: Iterable[Txid]) -> frozenset[Txid]:
        """`parents` and all of their unconfirmed ancestors."""
        result: set[Txid] = set()
        for txid in parents:
            result.add(txid)
            result.update(self._entries[txid].ancestors)
        return frozenset(result)

    def with_descendants(self, txids: Iterable[Txid]) -> set[Txid]:
        """`txids` and all of their unconfirmed descendants. Safe beside a writer (it may miss a newcomer)."""
        result: set[Txid] = set()
        stack = list(txids)
        while stack:
            txid = stack.pop()
            if txid in result:
                continue
            entry = self._entries.get(txid)
            if entry is None:
                continue
            result.add(txid)
            stack.extend(entry.children)
        return result

    def check_limits(
        self, vsize: int, count: int, parents: Collection[Txid], ancestors: Collection[Txid], limits: ChainLimits
    ) -> None:
        """Whether `count` new ones of `vsize` together may hang below `parents`. Raises ChainLimitError."""
        if count + len(parents) > limits.ancestor_count:
            raise ChainLimitError(f"too many unconfirmed parents [limit: {limits.ancestor_count}]")
        if count + len(ancestors) > limits.ancestor_count:
            raise ChainLimitError(f"too many unconfirmed ancestors [limit: {limits.ancestor_count}]")
        total = vsize
        for txid in ancestors:
            entry = self._entries[txid]
            if entry.descendant_size + vsize > limits.descendant_size:
                raise ChainLimitError(
                    f"exceeds descendant size limit for tx {txid[::-1].hex()} [limit: {limits.descendant_size}]"
                )
            if entry.descendant_count + count > limits.descendant_count:
                raise ChainLimitError(
                    f"too many descendants for tx {txid[::-1].hex()} [limit: {limits.descendant_count}]"
                )
            total += entry.vsize
            if total > limits.ancestor_size:
                raise ChainLimitError(f"exceeds ancestor size limit [limit: {limits.ancestor_size}]")

    # --- changes (validation thread)

    def add(self, entry: MempoolEntry, *, adopt_children: bool = False) -> None:
        """Put in a new entry; its relations and sums are filled in here.

        `adopt_children`: transactions that spend from it may be here already (a block was disconnected).
        """
        entries = self._entries
        tx = entry.tx
        txid = tx.txid
        assert txid not in entries
        parents = self.parents_of(tx)
        if parents:
            ancestors = self.ancestors_through(parents)
            kin = [entries[one] for one in ancestors]
            entry = replace(
                entry,
                parents=parents,
                ancestors=ancestors,
                ancestor_size=entry.vsize + sum(one.vsize for one in kin),
                ancestor_fees=entry.modified_fee + sum(one.modified_fee for one in kin),
                ancestor_sigops=entry.sigop_cost + sum(one.sigop_cost for one in kin),
                signals_replacement=entry.signals_itself or any(one.signals_itself for one in kin),
            )
            for one in kin:
                self._put(
                    replace(
                        one,
                        children=one.children | {txid} if one.tx.txid in parents else one.children,
                        descendant_count=one.descendant_count + 1,
                        descendant_size=one.descendant_size + entry.vsize,
                        descendant_fees=one.descendant_fees + entry.modified_fee,
                    )
                )
        spenders = self._spenders
        for txin in tx.inputs:
            assert txin.prevout not in spenders
            spenders[txin.prevout] = txid
        self._txid_of[tx.wtxid] = txid
        self._put(entry)
        self.total_vsize += entry.vsize
        self.total_fee += entry.fee
        self.memory += entry.memory
        if adopt_children:
            self._adopt(txid)

    def _put(self, entry: MempoolEntry) -> None:
        self._entries[entry.tx.txid] = entry
        heapq.heappush(self._heap, (_eviction_key(entry), -entry.sequence, entry.tx.txid))
        if len(self._heap) > 3 * len(self._entries) + 1_000:
            self._heap = [(_eviction_key(one), -one.sequence, txid) for txid, one in self._entries.items()]
            heapq.heapify(self._heap)

    def _adopt(self, txid: Txid) -> None:
        entry = self._entries[txid]
        spenders = (self._spenders.get(entry.tx.outpoint(vout)) for vout in range(len(entry.tx.outputs)))
        children = frozenset(one for one in spenders if one is not None)
        if not children:
            return
        self._put(replace(entry, children=children))
        for child in children:
            one = self._entries[child]
            self._put(replace(one, parents=one.parents | {txid}))
        below = self.with_descendants(children)
        for one_id in below:
            one = self._entries[one_id]
            self._put(replace(one, ancestors=one.ancestors | entry.ancestors | {txid}))
        for one_id in below | entry.ancestors | {txid}:
            self._recompute(one_id)

    def _recompute(self, txid: Txid) -> None:
        """The sums of one entry anew, from its relations."""
        entries = self._entries
        entry = entries[txid]
        above = [entries[one] for one in entry.ancestors]
        below = [entries[one] for one in self.with_descendants([txid])]
        self._put(
            replace(
                entry,
                ancestor_size=entry.vsize + sum(one.vsize for one in above),
                ancestor_fees=entry.modified_fee + sum(one.modified_fee for one in above),
                ancestor_sigops=entry.sigop_cost + sum(one.sigop_cost for one in above),
                signals_replacement=entry.signals_itself or any(one.signals_itself for one in above),
                descendant_count=len(below),
                descendant_size=sum(one.vsize for one in below),
                descendant_fees=sum(one.modified_fee for one in below),
            )
        )

    def remove(self, txids: Collection[Txid]) -> list[MempoolEntry]:
        """Take these out, children last; their remaining relatives' sums are put right.

        Either a set closed under descendants (eviction, conflict) or whole confirmed transactions, whose
        children stay and lose an ancestor.
        """
        entries = self._entries
        gone = set(txids)
        above: dict[Txid, list[MempoolEntry]] = {}
        below: dict[Txid, list[MempoolEntry]] = {}
        for txid in gone:
            entry = entries[txid]
            for one in entry.ancestors:
                if one not in gone:
                    above.setdefault(one, []).append(entry)
            if entry.children:
                for one in self.with_descendants(entry.children):
                    if one not in gone:
                        below.setdefault(one, []).append(entry)
        removed = sorted((entries[txid] for txid in gone), key=lambda one: (len(one.ancestors), one.sequence))
        for entry in removed:
            tx = entry.tx
            del entries[tx.txid]
            del self._txid_of[tx.wtxid]
            for txin in tx.inputs:
                del self._spenders[txin.prevout]
            self.total_vsize -= entry.vsize
            self.total_fee -= entry.fee
            self.memory -= entry.memory
        for txid, lost in above.items():
            entry = entries[txid]
            self._put(
                replace(
                    entry,
                    children=entry.children - gone if not gone.isdisjoint(entry.children) else entry.children,
                    descendant_count=entry.descendant_count - len(lost),
                    descendant_size=entry.descendant_size - sum(one.vsize for one in lost),
                    descendant_fees=entry.descendant_fees - sum(one.modified_fee for one in lost),
                )
            )
        for txid, lost in below.items():
            entry = entries[txid]
            ancestors = entry.ancestors - gone
            self._put(
                replace(
                    entry,
                    parents=entry.parents - gone,
                    ancestors=ancestors,
                    ancestor_size=entry.ancestor_size - sum(one.vsize for one in lost),
                    ancestor_fees=entry.ancestor_fees - sum(one.modified_fee for one in lost),
                    ancestor_sigops=entry.ancestor_sigops - sum(one.sigop_cost for one in lost),
                    signals_replacement=entry.signals_itself
                    or any(entries[one].signals_itself for one in ancestors),
                )
            )
        return removed

    def change_fee(self, txid: Txid, delta: int) -> None:
        """Prioritisation: the modified fee of one entry moves by `delta`."""
        entries = self._entries
        entry = entries[txid]
        below = self.with_descendants(entry.children)
        self._put(
            replace(
                entry,
                modified_fee=entry.modified_fee + delta,
                ancestor_fees=entry.ancestor_fees + delta,
                descendant_fees=entry.descendant_fees + delta,
            )
        )
        for one in entry.ancestors:
            self._put(replace(entries[one], descendant_fees=entries[one].descendant_fees + delta))
        for one in below:
            self._put(replace(entries[one], ancestor_fees=entries[one].ancestor_fees + delta))

    def update_locks(self, entry: MempoolEntry, locks: LockPoints) -> None:
        """Store time locks that were computed anew."""
        self._put(replace(self._entries[entry.tx.txid], locks=locks))

    def worst(self) -> MempoolEntry | None:
        """The entry that goes first when memory is short."""
        heap = self._heap
        while heap:
            key, _, txid = heap[0]
            entry = self._entries.get(txid)
            if entry is not None and _eviction_key(entry) == key:
                return entry
            heapq.heappop(heap)
        return None

    def check(self) -> None:
        """Assert that every stored sum and relation is what the transactions themselves say."""
        entries = self._entries
        assert self.total_vsize == sum(one.vsize for one in entries.values())
        assert self.total_fee == sum(one.fee for one in entries.values())
        assert self.memory == sum(one.memory for one in entries.values())
        assert len(self._txid_of) == len(entries)
        assert len(self._spenders) == sum(len(one.tx.inputs) for one in entries.values())
        for txid, entry in entries.items():
            assert self._txid_of[entry.tx.wtxid] == txid
            assert all(self._spenders[txin.prevout] == txid for txin in entry.tx.inputs)
            assert entry.parents == self.parents_of(entry.tx)
            assert entry.ancestors == self.ancestors_through(entry.parents)
            above = [entries[one] for one in entry.ancestors]
            below = self.with_descendants([txid])
            assert entry.children == {one for one in below if txid in entries[one].parents}
            assert entry.ancestor_size == entry.vsize + sum(one.vsize for one in above)
            assert entry.ancestor_fees == entry.modified_fee + sum(one.modified_fee for one in above)
            assert entry.ancestor_sigops == entry.sigop_cost + sum(one.sigop_cost for one in above)
            assert entry.signals_replacement == any(one.signals_itself for one in [entry, *above])
            assert entry.descendant_count == len(below)
            assert entry.descendant_size == sum(entries[one].vsize for one in below)
            assert entry.descendant_fees == sum(entries[one].modified_fee for one in below)
