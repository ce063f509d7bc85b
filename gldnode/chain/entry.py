"""The header tree's nodes.

An entry keeps the 80 header bytes and decodes what is rarely asked for, so that a long chain's index stays small.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

from gldnode.primitives.block import BlockHeader, parse_header
from gldnode.primitives.hashes import BlockHash, sha256d

__all__ = [
    "FAILED_CHILD",
    "FAILED_MASK",
    "FAILED_VALID",
    "HAVE_DATA",
    "HAVE_UNDO",
    "MEDIAN_TIME_SPAN",
    "OPT_WITNESS",
    "VALID_MASK",
    "VALID_SCRIPTS",
    "VALID_TRANSACTIONS",
    "VALID_TREE",
    "BlockEntry",
    "last_common_ancestor",
    "skip_height",
]

# Core's BlockStatus: how far a block has been checked, what of it is stored, and whether it failed.
VALID_TREE: Final = 2
VALID_TRANSACTIONS: Final = 3
VALID_SCRIPTS: Final = 5
VALID_MASK: Final = 7
HAVE_DATA: Final = 8
HAVE_UNDO: Final = 16
FAILED_VALID: Final = 32
FAILED_CHILD: Final = 64
FAILED_MASK: Final = FAILED_VALID | FAILED_CHILD
OPT_WITNESS: Final = 128

MEDIAN_TIME_SPAN: Final = 11

_TIME_AND_BITS: Final = Struct("<II")


class BlockEntry:
    """A header in its place in the tree. Identity is equality: there is one entry for each known header."""

    __slots__ = (
        "_median_time_past",
        "bits",
        "chain_tx",
        "chain_work",
        "data_pos",
        "file",
        "hash",
        "header_bytes",
        "height",
        "n_tx",
        "prev",
        "sequence",
        "skip",
        "status",
        "time",
        "undo_pos",
    )

    def __init__(self, header: BlockHeader, prev: "BlockEntry | None", work: int) -> None:
        """`work` is the header's own proof of work, added to its ancestors'."""
        skip = None if prev is None else prev.ancestor(skip_height(prev.height + 1))
        self._place(header.hash, header.serialize(), header.time, header.bits, prev, work, skip)

    @classmethod
    def restore(
        cls, header_bytes: bytes, prev: "BlockEntry | None", work: int, skip: "BlockEntry | None"
    ) -> "BlockEntry":
        """The entry of a stored header; `skip` is its ancestor at `skip_height`, None for genesis."""
        entry = cls.__new__(cls)
        time, bits = _TIME_AND_BITS.unpack_from(header_bytes, 68)
        entry._place(BlockHash(sha256d(header_bytes)), header_bytes, time, bits, prev, work, skip)
        return entry

    def _place(
        self,
        block_hash: BlockHash,
        header_bytes: bytes,
        time: int,
        bits: int,
        prev: "BlockEntry | None",
        work: int,
        skip: "BlockEntry | None",
    ) -> None:
        self.hash = block_hash
        self.header_bytes = header_bytes
        self.time = time
        self.bits = bits
        self.prev = prev
        self.skip = skip
        self.status = VALID_TREE
        self.n_tx = 0
        """Transactions in the block, 0 while its body is unknown."""
        self.chain_tx = 0
        """Transactions up to here; 0 while a body among its ancestors is unknown."""
        self.file = -1
        self.data_pos = 0
        self.undo_pos = 0
        self.sequence = 0
        """Order of arrival of the body: of two chains with equal work the first received stays."""
        self._median_time_past = -1
        if prev is None:
            self.height = 0
            self.chain_work = work
        else:
            self.height = prev.height + 1
            self.chain_work = prev.chain_work + work

    @property
    def header(self) -> BlockHeader:
        return parse_header(self.header_bytes)

    @property
    def prev_hash(self) -> BlockHash:
        return BlockHash(self.header_bytes[4:36])

    @property
    def merkle_root(self) -> bytes:
        return self.header_bytes[36:68]

    @property
    def version(self) -> int:
        return int.from_bytes(self.header_bytes[:4], "little", signed=True)

    @property
    def nonce(self) -> int:
        return int.from_bytes(self.header_bytes[76:80], "little")

    @property
    def median_time_past(self) -> int:
        """Median time of this block and the ten before it, Unix seconds (BIP 113)."""
        if self._median_time_past < 0:
            times: list[int] = []
            entry: BlockEntry | None = self
            while entry is not None and len(times) < MEDIAN_TIME_SPAN:
                times.append(entry.time)
                entry = entry.prev
            times.sort()
            self._median_time_past = times[len(times) // 2]
        return self._median_time_past

    @property
    def has_data(self) -> bool:
        """Whether the block's bytes are stored."""
        return bool(self.status & HAVE_DATA)

    @property
    def has_undo(self) -> bool:
        return bool(self.status & HAVE_UNDO)

    @property
    def is_failed(self) -> bool:
        """Whether it or an ancestor broke a rule, or was invalidated by hand."""
        return bool(self.status & FAILED_MASK)

    def is_valid_to(self, level: int) -> bool:
        """Whether it has been checked at least to `level` (VALID_TREE …) and has not failed."""
        return not self.status & FAILED_MASK and self.status & VALID_MASK >= level

    def raise_validity(self, level: int) -> None:
        if self.status & VALID_MASK < level:
            self.status = (self.status & ~VALID_MASK) | level

    def ancestor(self, height: int) -> "BlockEntry":
        """The ancestor (or itself) at `height`, in logarithmic time over the skip list."""
        assert 0 <= height <= self.height
        walk = self
        at = self.height
        while at > height:
            skip_to = skip_height(at)
            skip_to_prev = skip_height(at - 1)
            if walk.skip is not None and (
                skip_to == height
                or (skip_to > height and not (skip_to_prev < skip_to - 2 and skip_to_prev >= height))
            ):
                walk = walk.skip
                at = skip_to
            else:
                assert walk.prev is not None
                walk = walk.prev
                at -= 1
        return walk

    def is_ancestor_of(self, other: "BlockEntry") -> bool:
        """Whether `other` builds on this block (or is it)."""
        return other.height >= self.height and other.ancestor(self.height) is self

    def walk_back(self) -> "Iterator[BlockEntry]":
        """Itself, its parent, and so on to genesis."""
        entry: BlockEntry | None = self
        while entry is not None:
            yield entry
            entry = entry.prev

    def __repr__(self) -> str:
        return f"BlockEntry({self.height} {self.hash[::-1].hex()})"


def last_common_ancestor(a: BlockEntry, b: BlockEntry) -> BlockEntry:
    """The highest block that both chains contain."""
    if a.height > b.height:
        a = a.ancestor(b.height)
    elif b.height > a.height:
        b = b.ancestor(a.height)
    while a is not b:
        if a.skip is not None and b.skip is not None and a.skip is not b.skip:
            a, b = a.skip, b.skip
        else:
            assert a.prev is not None
            assert b.prev is not None
            a, b = a.prev, b.prev
    return a


def _clear_lowest_bit(n: int) -> int:
    return n & (n - 1)


def skip_height(height: int) -> int:
    """The height that an entry's skip pointer goes to (Core: GetSkipHeight)."""
    if height < 2:
        return 0
    if height & 1:
        return _clear_lowest_bit(_clear_lowest_bit(height - 1)) + 1
    return _clear_lowest_bit(height)
