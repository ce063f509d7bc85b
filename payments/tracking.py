"""Unconfirmed transactions with payments, and what they need: the outputs that they and their unconfirmed
ancestors spend. Who takes one of those takes the payment too."""

from collections.abc import Iterator
from itertools import islice

from gldnode.ports import MempoolView
from gldnode.primitives.tx import Tx, parse_tx
from payments import layout
from payments.layout import Tracked
from storage.database import Txn
from storage.turns import Pieces

__all__ = ["Tracker", "watched_inputs"]

MAX_ANCESTOR_INPUTS = 1000
MAX_NEEDED = 5000
"""So many outputs that unconfirmed payments need are read at once for a block, instead of one look per input."""
ROWS_AT_ONCE = 100


class Tracker:
    """The tracked transactions within one transaction of the database."""

    def __init__(self, txn: Txn, mempool: MempoolView) -> None:
        self._txn = txn
        self._mempool = mempool
        self._needed: set[bytes] | None = None
        self._has_read_needed = False

    def get(self, txid: bytes) -> Tracked | None:
        return self._txn.get_record(layout.tracked_key(txid), Tracked)

    def track(self, tx: Tx, vouts: tuple[int, ...], *, in_mempool: bool) -> None:
        tracked = Tracked(tx.raw, vouts, in_mempool, -1, self._ancestor_inputs(tx))
        before = self.get(tx.txid)
        if before == tracked:
            return
        if before is not None:
            self.untrack(tx.txid)
        self._txn.put_record(layout.tracked_key(tx.txid), tracked)
        for prevout, spender in watched_inputs(tx, tracked):
            row = layout.spends_key(prevout)
            self._txn.put(row, (self._txn.get(row) or b"") + tx.txid + spender)
            if self._needed is not None:
                self._needed.add(bytes(prevout))

    def _ancestor_inputs(self, tx: Tx) -> tuple[bytes, ...]:
        """What the unconfirmed ancestors spend: who takes that takes the payment too."""
        found: list[bytes] = []
        waiting, seen = [tx], {tx.txid}
        while waiting and len(found) < MAX_ANCESTOR_INPUTS:
            for parent_id in {txin.prevout.txid for txin in waiting.pop().inputs} - seen:
                info = self._mempool.get(parent_id)
                seen.add(parent_id)
                if info is not None:
                    found += [bytes(txin.prevout) + parent_id for txin in info.tx.inputs]
                    waiting.append(info.tx)
        return tuple(sorted(found))

    def untrack(self, txid: bytes) -> None:
        tracked = self.get(txid)
        if tracked is None:
            return
        self._txn.delete(layout.tracked_key(txid))
        for prevout, _ in watched_inputs(parse_tx(tracked.raw), tracked):
            row = layout.spends_key(prevout)
            others = b"".join(one + by for one, by in _pairs(self._txn.get(row) or b"") if one != txid)
            if others:
                self._txn.put(row, others)
            else:
                self._txn.delete(row)

    def needed_outputs(self) -> Pieces[set[bytes] | None]:
        """What tracked transactions need, read once for all blocks; None where it is too much to be held.

        Most inputs of a block take nothing of it: a look at a set instead of one into the database.
        """
        if not self._has_read_needed:
            self._has_read_needed = True
            rows = self._txn.iterate(prefix=layout.spends_key(b""), keys_only=True)
            found: set[bytes] = set()
            while more := [row[1:] for row, _ in islice(rows, ROWS_AT_ONCE)]:
                found.update(more)
                if len(found) > MAX_NEEDED:
                    return None
                yield
            self._needed = found
        return self._needed

    def needing(self, prevout: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The tracked transactions that need this output, each with who of its family spends it."""
        return _pairs(self._txn.get(layout.spends_key(prevout)) or b"")

    def put(self, txid: bytes, tracked: Tracked) -> None:
        """Take a changed row."""
        self._txn.put_record(layout.tracked_key(txid), tracked)


def watched_inputs(tx: Tx, tracked: Tracked) -> Iterator[tuple[bytes, bytes]]:
    """Outputs that the transaction needs, each with who of its family spends it."""
    for txin in tx.inputs:
        yield txin.prevout, tx.txid
    for row in tracked.ancestors:
        yield row[:36], row[36:]


def _pairs(rows: bytes) -> Iterator[tuple[bytes, bytes]]:
    return ((rows[at : at + 32], rows[at + 32 : at + 64]) for at in range(0, len(rows), 64))
