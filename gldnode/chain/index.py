"""The header tree: every known header, which bodies are stored, which failed, and which tips could be best."""

import functools
import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from gldnode.chain import entry as flags
from gldnode.chain.entry import BlockEntry, skip_height
from gldnode.chain.layout import ENTRY_PREFIX, ENTRY_RECORD, PRUNED_KEY, TIP_KEY
from gldnode.chain.progress import Progress, no_progress
from gldnode.consensus.pow import block_work
from gldnode.errors import NodeError
from gldnode.params import ChainParams
from gldnode.primitives.block import BlockHeader
from gldnode.primitives.hashes import BlockHash
from storage.kv import KV, WriteBatch

__all__ = ["BlockIndex", "IndexDamaged"]


class IndexDamaged(NodeError):
    """The block index does not fit together: rebuild it with -reindex."""


class BlockIndex:
    """All entries by hash. Changed by the validation thread; looked up from any thread."""

    def __init__(self, params: ChainParams, kv: KV, progress: Progress = no_progress) -> None:
        self._kv = kv
        self.entries: dict[bytes, BlockEntry] = {}
        self.candidates: set[BlockEntry] = set()
        """Tips that may be better than the active one: bodies complete, not failed."""
        self.unlinked: dict[BlockEntry, list[BlockEntry]] = {}
        """Stored bodies that wait for an ancestor's, by parent."""
        self._dirty: set[BlockEntry] = set()
        self._sequence = 0
        self._precious = 0
        self.recorded_tip: BlockHash | None = None
        """The active tip of the last commit."""
        with _collector_at_rest():
            self._load(progress)
        if params.genesis.hash not in self.entries:
            if self.entries:
                raise IndexDamaged("Incorrect or no genesis block found. Wrong datadir for network?")
            self.add(params.genesis.header, None)
        self.genesis = self.entries[params.genesis.hash]
        self.best_header = max(
            (entry for entry in self.entries.values() if not entry.is_failed),
            key=lambda entry: (entry.chain_work, -entry.sequence),
            default=self.genesis,
        )

    def _load(self, progress: Progress) -> None:
        records = []
        cut = len(ENTRY_PREFIX)
        for key, value in self._kv.iterate(prefix=ENTRY_PREFIX):
            if len(value) != ENTRY_RECORD.size or len(key) != cut + 32:
                raise IndexDamaged("a block index record does not parse")
            record = ENTRY_RECORD.unpack(value)
            records.append((record[1], key[cut:], record))
        records.sort(key=lambda item: item[0])
        entries = self.entries
        line = _Line()
        work_of = functools.cache(block_work)
        for number, (height, block_hash, record) in enumerate(records):
            if number % 10_000 == 0:
                progress("Loading block index", number, len(records))
            header_bytes, _, status, n_tx, file, data_pos, undo_pos, sequence = record
            prev = entries.get(header_bytes[4:36])
            if (prev is None) != (height == 0):
                raise IndexDamaged("a block index record has no parent")
            bits = int.from_bytes(header_bytes[72:76], "little")
            skip = None if prev is None else line.ancestor(prev, skip_height(height))
            entry = BlockEntry.restore(header_bytes, prev, work_of(bits), skip)
            if entry.hash != block_hash or entry.height != height:
                raise IndexDamaged("a block index record does not fit its key or its parent")
            line.extend(entry)
            entry.status, entry.n_tx, entry.file = status, n_tx, file
            entry.data_pos, entry.undo_pos, entry.sequence = data_pos, undo_pos, sequence
            self._sequence = max(self._sequence, sequence)
            self._precious = min(self._precious, sequence)
            entries[entry.hash] = entry
            if n_tx:
                self._link(entry)
        tip = self._kv.get(TIP_KEY)
        self.recorded_tip = None if tip is None else BlockHash(tip)

    def get(self, block_hash: bytes) -> BlockEntry | None:
        return self.entries.get(block_hash)

    def add(self, header: BlockHeader, prev: BlockEntry | None) -> BlockEntry:
        """A new entry for a checked header."""
        entry = BlockEntry(header, prev, block_work(header.bits))
        self.entries[entry.hash] = entry
        self._dirty.add(entry)
        if prev is not None and entry.chain_work > self.best_header.chain_work:
            self.best_header = entry
        return entry

    def touch(self, entry: BlockEntry) -> None:
        """The entry has changed: the next commit writes it."""
        self._dirty.add(entry)

    def body_stored(self, entry: BlockEntry, n_tx: int, file: int, data_pos: int) -> None:
        """The block's bytes are in a file (ReceivedBlockTransactions)."""
        entry.n_tx, entry.file, entry.data_pos, entry.undo_pos = n_tx, file, data_pos, 0
        entry.status = entry.status & ~flags.HAVE_UNDO | flags.HAVE_DATA | flags.OPT_WITNESS
        entry.raise_validity(flags.VALID_TRANSACTIONS)
        self._sequence += 1
        entry.sequence = self._sequence
        self._dirty.add(entry)
        self._link(entry)

    def _link(self, entry: BlockEntry) -> None:
        """Give it, and what waited for it, their place among the complete chains."""
        if entry.prev is not None and not entry.prev.chain_tx:
            self.unlinked.setdefault(entry.prev, []).append(entry)
            return
        ready = [entry]
        while ready:
            linked = ready.pop()
            linked.chain_tx = linked.n_tx + (linked.prev.chain_tx if linked.prev is not None else 0)
            if not linked.is_failed:
                self.candidates.add(linked)
            ready.extend(self.unlinked.pop(linked, ()))

    def prune_candidates(self, tip: BlockEntry) -> None:
        """Forget the candidates that are worse than the tip."""
        key = _preference(tip)
        self.candidates = {entry for entry in self.candidates if _preference(entry) >= key}
        self.candidates.add(tip)

    def best_candidate(self) -> BlockEntry | None:
        """Most work; of equals the first received (or made precious)."""
        return max(self.candidates, key=_preference, default=None)

    def rebuild_candidates(self) -> None:
        """After marks were set or removed by hand."""
        self.candidates = {entry for entry in self.entries.values() if entry.chain_tx and not entry.is_failed}
        self.best_header = max(
            (entry for entry in self.entries.values() if not entry.is_failed),
            key=lambda entry: (entry.chain_work, entry is self.best_header),
        )

    def mark_failed(self, failed: BlockEntry) -> None:
        """It broke a rule, and with it everything behind it."""
        failed.status |= flags.FAILED_VALID
        self._dirty.add(failed)
        self.candidates.discard(failed)
        for entry in self.descendants(failed):
            entry.status |= flags.FAILED_CHILD
            self._dirty.add(entry)
            self.candidates.discard(entry)
        if failed.is_ancestor_of(self.best_header):
            self.best_header = max(
                (entry for entry in self.entries.values() if not entry.is_failed),
                key=lambda entry: entry.chain_work,
            )

    def clear_failed(self, target: BlockEntry) -> None:
        """Take the marks off it, its ancestors and descendants."""
        for entry in [*target.walk_back(), *self.descendants(target)]:
            if entry.is_failed:
                entry.status &= ~flags.FAILED_MASK
                self._dirty.add(entry)

    def descendants(self, ancestor: BlockEntry) -> Iterator[BlockEntry]:
        """Everything that builds on it."""
        for entry in list(self.entries.values()):
            if entry is not ancestor and ancestor.is_ancestor_of(entry):
                yield entry

    def make_precious(self, entry: BlockEntry) -> None:
        """Prefer it to all others of equal work."""
        self._precious -= 1
        entry.sequence = self._precious
        self._dirty.add(entry)

    def tips(self) -> set[BlockEntry]:
        """Entries that nothing builds on."""
        tips = set(self.entries.values())
        return tips - {entry.prev for entry in tips if entry.prev is not None}

    @property
    def has_changes(self) -> bool:
        return bool(self._dirty)

    def commit(self, tip: BlockHash, *, pruned_below: int | None = None) -> None:
        """Write what has changed, durably, with the tip. The files that it names must be durable."""
        if not self._dirty and tip == self.recorded_tip:
            return
        batch = WriteBatch()
        for entry in self._dirty:
            batch.put(ENTRY_PREFIX + entry.hash, _record(entry))
        batch.put(TIP_KEY, tip)
        if pruned_below is not None:
            batch.put(PRUNED_KEY, pruned_below.to_bytes(4, "little"))
        self._kv.write(batch, sync=True)
        self._dirty = set()
        self.recorded_tip = tip

    def read_flag(self, key: bytes) -> bytes | None:
        return self._kv.get(key)

    def close(self) -> None:
        self._kv.close()


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """No garbage collection meanwhile: what is loaded stays, and looking through it again and again takes time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Line:
    """The chain of the entry that was loaded last, by height: finds ancestors without walking."""

    def __init__(self) -> None:
        self._entries: list[BlockEntry] = []

    def ancestor(self, entry: BlockEntry, height: int) -> BlockEntry:
        line = self._entries
        if entry.height < len(line) and line[entry.height] is entry:
            return line[height]
        return entry.ancestor(height)

    def extend(self, entry: BlockEntry) -> None:
        line = self._entries
        if len(line) == entry.height and (not line or line[-1] is entry.prev):
            line.append(entry)
            return
        del line[entry.height :]
        missing = [entry]
        below = entry.prev
        while below is not None and (below.height >= len(line) or line[below.height] is not below):
            missing.append(below)
            below = below.prev
        if below is not None:
            del line[below.height + 1 :]
        line.extend(reversed(missing))


def wipe(kv: KV, prefixes: Iterable[bytes], progress: Callable[[int], None] | None = None) -> None:
    """Delete all keys that begin with one of `prefixes`, durably. `progress` is told how many, now and then."""
    done = 0
    for prefix in prefixes:
        batch = WriteBatch()
        for key, _ in kv.iterate(prefix=prefix, keys_only=True):
            batch.delete(key)
            if len(batch) >= 50_000:
                kv.write(batch, sync=False)
                done += len(batch)
                batch = WriteBatch()
                if progress is not None:
                    progress(done)
        kv.write(batch, sync=True)


def _preference(entry: BlockEntry) -> tuple[int, int]:
    return entry.chain_work, -entry.sequence


def _record(entry: BlockEntry) -> bytes:
    return ENTRY_RECORD.pack(
        entry.header_bytes,
        entry.height,
        entry.status,
        entry.n_tx,
        entry.file,
        entry.data_pos,
        entry.undo_pos,
        entry.sequence,
    )
