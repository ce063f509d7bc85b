"""Getting to the best chain: connecting, disconnecting, reorganising (Core: ActivateBestChain).

A reorganisation becomes visible only when the new branch has proved better, block by block and durably: if a block
of it fails on the way the coins are put back, and no one has been told of a disconnect that did not happen.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Final

from gldnode.chain import entry as flags
from gldnode.chain.active import ActiveChain
from gldnode.chain.blockfiles import BlockFileDamaged, BlockFiles
from gldnode.chain.coins import CoinsCache
from gldnode.chain.entry import BlockEntry, last_common_ancestor
from gldnode.chain.index import BlockIndex
from gldnode.chain.options import DiskSpaceLow
from gldnode.chain.progress import Interrupted, Progress
from gldnode.chain.scriptcache import ScriptCache
from gldnode.chain.space import DiskSpace
from gldnode.chain.undo import encode_undo, parse_undo
from gldnode.consensus.check_block import check_block
from gldnode.consensus.connect import BlockDelta, BlockRules, connect_block, disconnect_block
from gldnode.consensus.deployments import script_flags
from gldnode.errors import DecodeError, Reject
from gldnode.events import BlockConnected, BlockDisconnected, ChainStep
from gldnode.params import ChainParams
from gldnode.primitives.block import Block
from gldnode.primitives.coin import BlockUndo

__all__ = ["Activator"]

_RECENT_BYTES: Final = 24_000_000
_RECENT_BLOCKS: Final = 64
_PATH_CHUNK: Final = 32


class Activator:
    """The only one that changes coins and active chain. Validation thread."""

    def __init__(
        self,
        params: ChainParams,
        index: BlockIndex,
        store: BlockFiles,
        coins: CoinsCache,
        active: ActiveChain,
        *,
        needs_scripts: Callable[[BlockEntry], bool],
        commit: Callable[[BlockEntry], None],
        connected: Callable[[], None],
        is_stopping: Callable[[], bool],
        space: DiskSpace,
        pool: Executor | None = None,
    ) -> None:
        """`needs_scripts` knows -assumevalid; `commit` makes all durable with that tip; `connected` runs after
        each new tip and may raise Interrupted; when `is_stopping` no further block is connected."""
        self.params = params
        self.index = index
        self.store = store
        self.coins = coins
        self.active = active
        self.script_cache = ScriptCache()
        self.listeners: list[Callable[[ChainStep], None]] = []
        self.verdicts: dict[bytes, Reject] = {}
        """Why blocks failed to connect since the caller last emptied it."""
        self.between = False
        """Whether the coins are between two tips: then, after a failure, they must not be written."""
        self._needs_scripts = needs_scripts
        self._commit = commit
        self._connected = connected
        self._is_stopping = is_stopping
        self._space = space
        self._pool = pool
        self._recent: OrderedDict[bytes, Block] = OrderedDict()
        self._recent_bytes = 0
        self._sigops: dict[bytes, tuple[int, ...]] = {}

    # -- bodies --

    def remember(self, block: Block, sigops: tuple[int, ...] | None) -> None:
        """Keep a block that was just seen, and what `check_block` found when it has been run."""
        if block.hash not in self._recent:
            self._recent[block.hash] = block
            self._recent_bytes += len(block.raw)
            while len(self._recent) > _RECENT_BLOCKS or self._recent_bytes > _RECENT_BYTES:
                _, dropped = self._recent.popitem(last=False)
                self._recent_bytes -= len(dropped.raw)
                self._sigops.pop(dropped.hash, None)
        if sigops is not None and block.hash in self._recent:
            self._sigops[block.hash] = sigops

    def body(self, entry: BlockEntry) -> Block:
        """Raises BlockFileDamaged, StorageError."""
        recent = self._recent.get(entry.hash)
        return recent if recent is not None else read_body(self.store, entry)

    # -- the way to the best chain --

    def activate_best(self) -> None:
        """Go to the best valid chain, marking what fails on the way.

        Raises BlockFileDamaged, StorageError, DiskSpaceLow.
        """
        while not self._is_stopping():
            target = self._best_target()
            tip = self.active.tip_entry
            if target is None or target is tip:
                return
            fork = last_common_ancestor(tip, target)
            if fork is tip:
                self._extend(target)
            elif tip.is_failed:
                self._leave(fork)
            else:
                self._reorganise(fork, target)

    def _best_target(self) -> BlockEntry | None:
        """The best candidate whose way from the active chain is stored and has not failed (FindMostWorkChain)."""
        index, active = self.index, self.active
        while (best := index.best_candidate()) is not None:
            path = []
            walk = best
            while not active.contains(walk) and walk.has_data and not walk.is_failed:
                path.append(walk)
                assert walk.prev is not None
                walk = walk.prev
            if active.contains(walk):
                return best
            index.candidates.discard(walk)
            for behind in reversed(path):
                index.candidates.discard(behind)
                if walk.is_failed:
                    behind.status |= flags.FAILED_CHILD
                    index.touch(behind)
                else:
                    # Pruned: it comes back when the missing body does.
                    assert behind.prev is not None
                    behind.chain_tx = 0
                    index.unlinked.setdefault(behind.prev, []).append(behind)
        return None

    def _extend(self, target: BlockEntry) -> None:
        while self.active.tip_entry is not target:
            height = self.active.height
            for entry in _path(self.active.tip_entry, target.ancestor(min(height + _PATH_CHUNK, target.height))):
                if self._is_stopping():
                    return
                block = self.body(entry)
                try:
                    delta = self._connect(entry, block)
                except Reject as error:
                    self._failed(entry, error)
                    return
                self._publish_connected(entry, block, delta.undo)

    def _reorganise(self, fork: BlockEntry, target: BlockEntry) -> None:
        """To the first block towards `target` that beats the tip, or not at all."""
        old_tip = self.active.tip_entry
        self.between = True
        for entry in _path(fork, old_tip, backwards=True):
            self._disconnect(entry)
        reached = fork
        for entry in _path(fork, target):
            try:
                self._connect(entry, self.body(entry))
            except (Reject, DiskSpaceLow) as error:
                self._put_back(fork, reached, old_tip)
                if isinstance(error, DiskSpaceLow):
                    raise
                self._failed(entry, error)
                return
            reached = entry
            if reached.chain_work > old_tip.chain_work:
                break
        self._commit(reached)
        left, joined = list(_path(fork, old_tip, backwards=True)), list(_path(fork, reached))
        self.active.set_tip(reached)
        self.between = False
        self.index.prune_candidates(reached)
        for entry in left:
            self._tell_disconnected(entry)
        for entry in joined:
            self._tell(self._connected_step(entry, self.body(entry), self.undo(entry)))
        self._connected()

    def _put_back(self, fork: BlockEntry, reached: BlockEntry, old_tip: BlockEntry) -> None:
        """The coins as they were before a reorganisation that came to `reached` and no further."""
        for undone in _path(fork, reached, backwards=True):
            self._disconnect(undone)
        for again in _path(fork, old_tip):
            self._connect(again, self.body(again), verify_scripts=False)
        self.between = False

    def _leave(self, fork: BlockEntry) -> None:
        """Off a tip that has failed, without knowing yet where to."""
        left = list(_path(fork, self.active.tip_entry, backwards=True))
        self.between = True
        for entry in left:
            self._disconnect(entry)
        self._commit(fork)
        self.active.set_tip(fork)
        self.between = False
        for entry in left:
            self._tell_disconnected(entry)

    def roll_to(self, target: BlockEntry, progress: Progress, *, trust_scripts: bool) -> None:
        """At start: bring the coins to the tip that followers have seen. Tells no one.

        With `trust_scripts` blocks that were connected before are not verified again. Stops before one that fails
        now. Raises Interrupted.
        """
        fork = last_common_ancestor(self.active.tip_entry, target)
        self.between = True
        for entry in _path(fork, self.active.tip_entry, backwards=True):
            self._disconnect(entry)
        self.active.set_tip(fork)
        self.between = False
        while self.active.tip_entry is not target:
            height = self.active.height
            for entry in _path(self.active.tip_entry, target.ancestor(min(height + _PATH_CHUNK, target.height))):
                known = trust_scripts and entry.is_valid_to(flags.VALID_SCRIPTS)
                try:
                    self._connect(entry, self.body(entry), verify_scripts=not known)
                except Reject as error:
                    self._failed(entry, error)
                    return
                self.active.set_tip(entry)
                if self.coins.is_full:
                    self._flush_on_the_way(entry, target)
                try:
                    progress("Rolling the coins forward", entry.height, target.height)
                except Interrupted:
                    self._flush_on_the_way(entry, target)
                    raise

    def _flush_on_the_way(self, reached: BlockEntry, target: BlockEntry) -> None:
        self.store.sync()
        self.index.commit(target.hash)  # still the tip that followers have seen
        self.coins.flush(reached.hash)

    # -- one block --

    def rules(self, entry: BlockEntry, *, verify_scripts: bool = True) -> BlockRules:
        """What binds the block of `entry`, which is not genesis."""
        prev = entry.prev
        assert prev is not None
        block_flags = script_flags(self.params, entry.height, entry.hash)
        return BlockRules(
            params=self.params,
            height=entry.height,
            flags=block_flags,
            median_time=prev.median_time_past,
            median_time_before=lambda height: prev.ancestor(max(height - 1, 0)).median_time_past,
            verify_scripts=verify_scripts and self._needs_scripts(entry),
            may_overwrite=(entry.height, entry.hash) in self.params.bip30_exceptions,
            is_verified=self.script_cache.checker(block_flags),
            pool=self._pool,
        )

    def _connect(self, entry: BlockEntry, block: Block, *, verify_scripts: bool = True) -> BlockDelta:
        sigops = self._sigops.get(entry.hash)
        if sigops is None:
            try:
                sigops = check_block(block, self.params)
            except Reject as error:
                # It passed when it was stored.
                raise BlockFileDamaged(f"stored block {entry!r} is not what was accepted: {error}") from None
        delta = connect_block(block, self.coins, self.rules(entry, verify_scripts=verify_scripts), sigops)
        if not entry.has_undo:
            try:
                entry.undo_pos = self.store.write_undo(entry.file, encode_undo(delta.undo), entry.prev_hash)
            except OSError as error:
                raise self._space.refused("Undo data", error) from error
            self._space.taken()
            entry.status |= flags.HAVE_UNDO
            self.index.touch(entry)
        if not entry.is_valid_to(flags.VALID_SCRIPTS):
            entry.raise_validity(flags.VALID_SCRIPTS)
            self.index.touch(entry)
        self.coins.apply(delta)
        return delta

    def _disconnect(self, entry: BlockEntry) -> None:
        self.coins.apply(disconnect_block(self.body(entry), self.undo(entry)))

    def undo(self, entry: BlockEntry) -> BlockUndo:
        return read_undo(self.store, entry)

    def _failed(self, entry: BlockEntry, error: Reject) -> None:
        self.index.mark_failed(entry)
        self.verdicts[entry.hash] = error

    # -- telling --

    def _publish_connected(self, entry: BlockEntry, block: Block, undo: BlockUndo) -> None:
        self.active.set_tip(entry)
        self.index.prune_candidates(entry)
        if self.listeners:
            self._tell(self._connected_step(entry, block, undo))
        self._connected()

    def _connected_step(self, entry: BlockEntry, block: Block, undo: BlockUndo | None) -> BlockConnected:
        assert entry.prev is not None
        return BlockConnected(entry.hash, entry.height, block, entry.prev.median_time_past, undo)

    def _tell_disconnected(self, entry: BlockEntry) -> None:
        if self.listeners:
            self._tell(
                BlockDisconnected(entry.hash, entry.height, self.body(entry), entry.prev_hash, self.undo(entry))
            )

    def _tell(self, step: ChainStep) -> None:
        for listener in self.listeners:
            listener(step)


def read_body(store: BlockFiles, entry: BlockEntry) -> Block:
    """The stored block. Raises BlockFileDamaged, StorageError."""
    block = store.read_parsed(entry.file, entry.data_pos)
    if block.hash != entry.hash:
        raise BlockFileDamaged(f"{entry!r}: another block is stored in its place")
    return block


def read_undo(store: BlockFiles, entry: BlockEntry) -> BlockUndo:
    """The coins that the block spent. Raises BlockFileDamaged, StorageError."""
    try:
        return parse_undo(store.read_undo(entry.file, entry.undo_pos, entry.prev_hash))
    except DecodeError as error:
        raise BlockFileDamaged(f"{entry!r}: undo data: {error}") from None


def _path(fork: BlockEntry, end: BlockEntry, *, backwards: bool = False) -> Iterator[BlockEntry]:
    """The blocks behind `fork` up to `end`, or from `end` back to there."""
    entries = []
    walk = end
    while walk is not fork:
        entries.append(walk)
        assert walk.prev is not None
        walk = walk.prev
    return iter(entries) if backwards else reversed(entries)
