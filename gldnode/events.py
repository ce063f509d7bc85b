"""What the node tells others: the tip, steps along the active chain, and hints from the mempool."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gldnode.primitives.block import Block
from gldnode.primitives.coin import BlockUndo
from gldnode.primitives.hashes import BlockHash, Txid
from gldnode.primitives.tx import Tx

__all__ = [
    "BlockConnected",
    "BlockDisconnected",
    "ChainStep",
    "Cursor",
    "Hint",
    "HintsLost",
    "MempoolTxAdded",
    "MempoolTxRefused",
    "MempoolTxRemoved",
    "RemovalReason",
    "Rival",
    "Tip",
    "TipChanged",
    "UnknownCursor",
]


@dataclass(frozen=True, slots=True)
class Tip:
    """The best block of the active chain, as of one moment. Replaced whole, so any thread may read it."""

    hash: BlockHash
    height: int
    time: int
    """The header's, Unix seconds."""
    median_time: int
    """Median time past including this block, BIP 113."""
    chain_work: int


@dataclass(frozen=True, slots=True)
class Rival:
    """A branch beside the active chain that has nearly the tip's work, or as much, and breaks no known rule."""

    hash: BlockHash
    height: int
    fork_height: int
    """Of the last block that both have."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last block a follower has handled."""

    hash: BlockHash
    height: int


class UnknownCursor(Exception):
    """The follower's block is not known to the node (restored or reindexed chain): wait until it is."""


@dataclass(frozen=True, slots=True)
class BlockConnected:
    """A block of the active chain, behind the cursor it was asked for. Its bytes and index entry are durable."""

    hash: BlockHash
    height: int
    block: Block
    median_time_before: int
    """Median time past of the parent, Unix seconds."""
    undo: BlockUndo | None = None
    """The coins that the block spent; only when the follower asked for them."""


@dataclass(frozen=True, slots=True)
class BlockDisconnected:
    """The follower's block is no longer on the active chain: go back to its parent."""

    hash: BlockHash
    height: int
    block: Block
    """The block that was left, for followers that undo by its content."""
    prev_hash: BlockHash
    undo: BlockUndo | None = None


ChainStep = BlockConnected | BlockDisconnected


class RemovalReason(StrEnum):
    """Why a transaction left the mempool (Core: MemPoolRemovalReason)."""

    BLOCK = "block"
    CONFLICT = "conflict"
    """A block confirmed a transaction that spends the same output."""
    REPLACED = "replaced"
    EXPIRY = "expiry"
    SIZELIMIT = "sizelimit"
    REORG = "reorg"


@dataclass(frozen=True, slots=True)
class TipChanged:
    tip: Tip


@dataclass(frozen=True, slots=True)
class MempoolTxAdded:
    tx: Tx
    sequence: int


@dataclass(frozen=True, slots=True)
class MempoolTxRemoved:
    tx: Tx
    reason: RemovalReason
    replaced_by: Txid | None
    sequence: int


@dataclass(frozen=True, slots=True)
class MempoolTxRefused:
    """A valid-looking transaction that conflicts with one in the mempool was refused: a double-spend attempt."""

    tx: Tx
    conflicts_with: Sequence[Txid]


@dataclass(frozen=True, slots=True)
class HintsLost:
    """The follower's queue overflowed; it must read the mempool again."""


Hint = TipChanged | MempoolTxAdded | MempoolTxRemoved | MempoolTxRefused | HintsLost
