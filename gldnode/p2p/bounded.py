"""Sets that forget: bounded memory of what a peer knows or what was refused."""

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["RecentSet"]

T = TypeVar("T", bound=Hashable)


class RecentSet(Generic[T]):
    """At least the last `size` members and at most twice as many, in two generations."""

    __slots__ = ("_new", "_old", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: set[T] = set()
        self._old: set[T] = set()

    def add(self, member: T) -> None:
        self._new.add(member)
        if len(self._new) >= self._size:
            self._old, self._new = self._new, set()

    def __contains__(self, member: object) -> bool:
        return member in self._new or member in self._old

    def __len__(self) -> int:
        return len(self._new | self._old)

    def clear(self) -> None:
        self._new, self._old = set(), set()
