"""What the rules ask of a block's place in the header tree; `chain.entry.BlockEntry` is one."""

from typing import Protocol, Self

from gldnode.primitives.hashes import BlockHash

__all__ = ["HeaderContext"]


class HeaderContext(Protocol):
    """A known header with its ancestors."""

    @property
    def hash(self) -> BlockHash: ...
    @property
    def height(self) -> int: ...
    @property
    def time(self) -> int: ...
    @property
    def bits(self) -> int: ...
    @property
    def prev(self) -> Self | None: ...

    @property
    def median_time_past(self) -> int:
        """Median time of this block and the ten before it, Unix seconds (BIP 113)."""
        ...

    def ancestor(self, height: int) -> Self:
        """The ancestor, or itself, at `height`."""
        ...
