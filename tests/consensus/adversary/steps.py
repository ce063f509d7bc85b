"""What a case asks of a node, in order: blocks, headers, operator's decisions, each with the answer expected."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gldnode.primitives.block import Block, BlockHeader

__all__ = ["Clock", "Decide", "GiveBlock", "GiveBytes", "GiveHeader", "LooksLike", "Spot", "Step"]


@dataclass(frozen=True, eq=False)
class Spot:
    """A block in the generator's own tree: nothing of it is asked from the node under test."""

    block: Block
    height: int
    prev: "Spot | None"

    @property
    def hash(self) -> bytes:
        return self.block.hash

    @property
    def time(self) -> int:
        return self.block.header.time

    @property
    def median_time(self) -> int:
        """Of this block and the ten before it."""
        times: list[int] = []
        walk: Spot | None = self
        while walk is not None and len(times) < 11:
            times.append(walk.time)
            walk = walk.prev
        return sorted(times)[len(times) // 2]


@dataclass(frozen=True)
class GiveBlock:
    """submitblock; `answer` is BIP 22's word or the reject reason, None for a block that became the tip."""

    block: Block
    answer: str | None
    tip: Spot
    """The best block afterwards."""


@dataclass(frozen=True)
class GiveBytes:
    """submitblock of what is no block."""

    data: bytes
    tip: Spot


@dataclass(frozen=True)
class GiveHeader:
    """submitheader; `answer` is the reject reason, None when it is taken."""

    header: BlockHeader
    answer: str | None


@dataclass(frozen=True)
class Decide:
    """invalidateblock, reconsiderblock or preciousblock."""

    verb: str
    hash: bytes
    tip: Spot


@dataclass(frozen=True)
class Clock:
    """The node's clock stands at `now`, Unix seconds."""

    now: int


@dataclass(frozen=True)
class LooksLike:
    """What getchaintips says of some branch ends."""

    status: Mapping[bytes, str] = field(default_factory=dict)


Step = GiveBlock | GiveBytes | GiveHeader | Decide | Clock | LooksLike
