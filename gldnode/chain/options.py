"""What an operator can set about the chain, and what accepting a block can answer."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gldnode.chain.entry import BlockEntry
from gldnode.errors import NodeError
from gldnode.primitives.hashes import BlockHash

__all__ = [
    "AcceptResult",
    "AcceptStatus",
    "BlockUnavailable",
    "ChainOptions",
    "ChainTip",
    "DiskSpaceLow",
    "TipStatus",
]


class BlockUnavailable(NodeError):
    """A known block whose bytes are not stored: never received, or pruned."""


class DiskSpaceLow(NodeError):
    """Less free space than `-mindiskfree`: no block is taken until there is more."""


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """Core's flags of the chain; the defaults are Core's but for -dbcache."""

    dbcache_mib: int = 300
    """`-dbcache`: most memory for coins that are not yet on disk. With 300 a whole node stays below 500 MB: 435
    while 1.7 million coins were made, 503 with Core's 450."""
    assume_valid: BlockHash | None = None
    """`-assumevalid`: this block's ancestors have valid scripts.

    None: the network's default; 32 zero bytes: none."""
    minimum_chain_work: int | None = None
    """`-minimumchainwork`. None: the network's default."""
    checkpoints: bool = True
    """`-checkpoints`: the network's own."""
    extra_checkpoints: tuple[tuple[int, BlockHash], ...] = ()
    """`-checkpoint=height:hash`: a chain with another block there is refused."""
    check_blocks: int = 6
    """`-checkblocks`: how many blocks to verify at start (0: all)."""
    check_level: int = 3
    """`-checklevel`, 0–4."""
    reindex: bool = False
    """`-reindex`: rebuild the index and the coins from the block files."""
    reindex_chainstate: bool = False
    """`-reindex-chainstate`: rebuild the coins from the indexed blocks."""
    prune_mib: int = 0
    """`-prune`: 0 off, 1 only by hand, else the target in MiB (at least 550)."""
    stop_at_height: int = 0
    """`-stopatheight`: `Chainstate.stop_requested` is set when the tip gets there."""
    min_disk_free_mib: int = 50
    """`-mindiskfree`."""
    max_tip_age_s: int = 24 * 60 * 60
    """`-maxtipage`: a tip older than this means initial block download."""
    script_threads: int = 1
    """`-par`: threads that verify one block's signatures."""
    blocks_dir: Path | None = None
    """`-blocksdir`: the folder of block and undo files; None: beside the index."""
    max_block_file_bytes: int = 128 * 1024 * 1024
    test_activation_heights: tuple[tuple[str, int], ...] = ()
    """`-testactivationheight=name@height`."""


class AcceptStatus(StrEnum):
    """What became of a block that broke no rule."""

    CONNECTED = "connected"
    """It is on the active chain now."""
    SIDE = "side"
    """Stored; another chain has as much work or more (submitblock: inconclusive)."""
    DUPLICATE = "duplicate"
    """Stored before."""
    IGNORED = "ignored"
    """Not asked for and not worth storing: too little work, or too far ahead."""


@dataclass(frozen=True, slots=True)
class AcceptResult:
    status: AcceptStatus
    entry: BlockEntry

    @property
    def is_new(self) -> bool:
        return self.status in (AcceptStatus.CONNECTED, AcceptStatus.SIDE)


class TipStatus(StrEnum):
    """`getchaintips` status."""

    ACTIVE = "active"
    VALID_FORK = "valid-fork"
    VALID_HEADERS = "valid-headers"
    HEADERS_ONLY = "headers-only"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class ChainTip:
    entry: BlockEntry
    branch_length: int
    """Blocks between the active chain and this tip; 0 for the active tip."""
    status: TipStatus
