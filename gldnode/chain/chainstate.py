"""The chain: header tree, active chain, coins. Writes in the validation thread only; reads from any thread."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gldnode.chain.entry import BlockEntry
from gldnode.chain.options import AcceptResult, ChainOptions, ChainTip
from gldnode.clock import Clock
from gldnode.events import ChainStep, Cursor, Tip
from gldnode.params import ChainParams
from gldnode.primitives.block import Block, BlockHeader
from gldnode.primitives.coin import BlockUndo, Coin
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import OutPoint

__all__ = ["Chainstate"]

StepListener = Callable[[ChainStep], None]


class Chainstate:
    """One network's chain. Made by `open`; `close` flushes."""

    params: ChainParams
    options: ChainOptions

    @classmethod
    def open(
        cls, params: ChainParams, data_dir: Path | None, options: ChainOptions, clock: Clock
    ) -> "Chainstate":
        """The chain stored in `data_dir` (the network's folder), rolled forward to its best tip; None: in memory."""
        raise NotImplementedError

    def close(self) -> None: ...

    # -- reads, any thread --
    @property
    def tip(self) -> Tip: ...  # type: ignore[empty-body]
    @property
    def tip_entry(self) -> BlockEntry: ...  # type: ignore[empty-body]
    @property
    def best_header(self) -> BlockEntry: ...  # type: ignore[empty-body]
    @property
    def is_initial_block_download(self) -> bool: ...  # type: ignore[empty-body]

    def entry(self, block_hash: bytes) -> BlockEntry | None: ...
    def entry_at(self, height: int) -> BlockEntry | None:
        """The active chain's block at `height`; None above the tip or below 0."""

    def next_in_chain(self, entry: BlockEntry) -> BlockEntry | None:
        """What follows `entry` on the active chain; None for the tip and for a stale block."""

    def is_active(self, entry: BlockEntry) -> bool: ...  # type: ignore[empty-body]
    def entries(self) -> Iterable[BlockEntry]: ...  # type: ignore[empty-body]
    def chain_tips(self) -> list[ChainTip]: ...  # type: ignore[empty-body]
    def read_block(self, block_hash: bytes) -> Block | None: ...
    def read_block_bytes(self, block_hash: bytes) -> bytes | None: ...
    def read_undo(self, block_hash: bytes) -> BlockUndo | None: ...
    def coin(self, prevout: OutPoint) -> Coin | None: ...
    def locator(self, entry: BlockEntry | None = None) -> list[BlockHash]: ...  # type: ignore[empty-body]
    def find_fork(self, locator: Sequence[bytes]) -> BlockEntry:
        """The highest active block that the locator names; genesis when none."""
        raise NotImplementedError

    def steps_after(
        self, cursor: Cursor, limit: int, max_bytes: int = 32_000_000, with_undo: bool = False
    ) -> list[ChainStep]:
        """What follows the cursor: durable connects in order, or disconnects back to the active chain.

        Raises UnknownCursor, BlockUnavailable.
        """
        raise NotImplementedError

    # -- writes, validation thread --
    def add_listener(self, listener: StepListener) -> None: ...
    def accept_header(self, header: BlockHeader) -> BlockEntry:
        """Check a header and put it into the tree; a known one is returned. Raises Reject."""
        raise NotImplementedError

    def accept_headers(self, headers: Sequence[BlockHeader]) -> BlockEntry | None:
        """The last one's entry. Raises Reject at the first bad one; those before it stay."""

    def accept_block(self, block: Block, *, requested: bool = True) -> AcceptResult:
        """Check, store, and go to the best chain. Raises Reject for a fault of this block, DiskSpaceLow."""
        raise NotImplementedError

    def test_block_validity(
        self, block: Block, *, check_pow: bool = False, check_merkle_root: bool = True
    ) -> None:
        """Whether `block` could be the next one; nothing is stored. Raises Reject."""

    def invalidate(self, block_hash: bytes) -> None:
        """`invalidateblock`: mark it and its descendants failed and leave them."""

    def reconsider(self, block_hash: bytes) -> None:
        """`reconsiderblock`: forget the failure marks of it, its ancestors and descendants."""

    def precious(self, block_hash: bytes) -> None:
        """`preciousblock`: prefer it to others of the same work."""

    def commit(self) -> None:
        """Make what was accepted durable, so that followers see it.

        During initial block download blocks are grouped; call this when no block waits.
        """

    def flush(self) -> None:
        """`commit`, and write the coins to disk."""
