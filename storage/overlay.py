"""Changes that are not in the database yet, laid over what is."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

__all__ = ["Overlay", "merged"]

Ops = dict[bytes, bytes | None]
_FEW = 16


class Overlay:
    """The batch being gathered, readable: what each key becomes, None for deleted.

    Its keys are kept in order only from the first iteration on: most batches are never iterated.
    """

    __slots__ = ("_keys", "ops")

    def __init__(self) -> None:
        self.ops: Ops = {}
        self._keys: list[bytes] | None = None

    def absorb(self, changes: Ops) -> None:
        keys = self._keys
        if keys is not None:
            fresh = [key for key in changes if key not in self.ops]
            if len(fresh) > _FEW:
                self._keys = None
            else:
                for key in fresh:
                    insort(keys, key)
        self.ops.update(changes)

    def changes(self, start: bytes | None, stop: bytes | None) -> Ops:
        """The changed keys of [start, stop)."""
        if self._keys is None:
            self._keys = sorted(self.ops)
        keys, ops = self._keys, self.ops
        low = 0 if start is None else bisect_left(keys, start)
        high = len(keys) if stop is None else bisect_left(keys, stop)
        return {key: ops[key] for key in keys[low:high]}


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
