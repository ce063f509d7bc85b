"""Changes that are not in the database yet, laid over what is."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Overlay", "merged"]

Ops = dict[bytes, bytes | None]
_FEW = 16


class Overlay:
    """The batch being gathered, readable: what each key becomes, None for deleted.

    Its keys are put in order where they are iterated, for each first byte apart: most batches are never iterated,
    and of a large one only a kind of rows or two.
    """

    __slots__ = ("_tags", "ops")

    def __init__(self) -> None:
        self.ops: Ops = {}
        self._tags: defaultdict[bytes, _Tag] | None = None
        """By the keys' first byte."""

    def absorb(self, changes: Ops) -> None:
        """Take over `changes`, which belong to the overlay from now on."""
        ops = self.ops
        if self._tags is not None:
            _note(self._tags, (key for key in changes if key not in ops))
        if len(ops) < len(changes):
            # A large transaction joins a few small ones: what it changes need not be copied.
            for key, value in ops.items():
                changes.setdefault(key, value)
            self.ops = changes
        else:
            ops.update(changes)

    def changes(self, start: bytes | None, stop: bytes | None) -> Ops:
        """The changed keys of [start, stop)."""
        if self._tags is None:
            self._tags = defaultdict(_Tag)
            _note(self._tags, self.ops)
        ops = self.ops
        found: Ops = {}
        for first, tag in self._tags.items():
            if (start is None or first >= start[:1]) and (stop is None or first < stop):
                for key in tag.between(start, stop):
                    found[key] = ops[key]
        return found


class _Tag:
    """Keys with the same first byte."""

    __slots__ = ("_keys", "fresh")

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self.fresh: list[bytes] = []
        """Not in order yet."""

    def between(self, start: bytes | None, stop: bytes | None) -> Sequence[bytes]:
        keys, fresh = self._keys, self.fresh
        if len(fresh) > _FEW:
            keys += fresh
            keys.sort()
        else:
            for key in fresh:
                insort(keys, key)
        fresh.clear()
        low = 0 if start is None else bisect_left(keys, start)
        high = len(keys) if stop is None else bisect_left(keys, stop)
        return keys[low:high]


def _note(tags: defaultdict[bytes, _Tag], keys: Iterable[bytes]) -> None:
    for key in keys:
        tags[key[:1]].fresh.append(key)


def merged(
    below: Iterator[tuple[bytes, bytes]], changes: Ops, order: Sequence[bytes], reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    """`below` with `changes` applied; `order` is the changed keys in the direction of the iteration."""
    waiting = iter(order)
    changed = next(waiting, None)
    for key, value in below:
        while changed is not None and (changed > key if reverse else changed < key):
            new = changes[changed]
            if new is not None:
                yield changed, new
            changed = next(waiting, None)
        if changed == key:
            new = changes[key]
            if new is not None:
                yield key, new
            changed = next(waiting, None)
        else:
            yield key, value
    while changed is not None:
        new = changes[changed]
        if new is not None:
            yield changed, new
        changed = next(waiting, None)
