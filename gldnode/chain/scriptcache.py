"""Which transactions' scripts have been verified on their way into the mempool."""

from collections import deque
from collections.abc import Callable
from typing import Final

from gldnode.primitives.tx import Tx
from gldnode.script.flags import ScriptFlags

__all__ = ["ScriptCache"]

_CAPACITY: Final = 200_000


class ScriptCache:
    """The last transactions found valid, by wtxid: it names the scripts, the witnesses and what is spent.

    Each flag only makes more scripts invalid, so a verdict holds for any subset of the flags it was found with.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._flags: dict[bytes, int] = {}
        self._order: deque[bytes] = deque()
        self._capacity = capacity

    def add(self, tx: Tx, flags: ScriptFlags) -> None:
        """All inputs of `tx` have been verified with `flags`."""
        if tx.wtxid not in self._flags:
            self._order.append(tx.wtxid)
            if len(self._order) > self._capacity:
                del self._flags[self._order.popleft()]
        self._flags[tx.wtxid] = int(flags)

    def checker(self, flags: ScriptFlags) -> Callable[[Tx], bool] | None:
        """Whether a transaction is known to be valid with `flags`; None while nothing is known."""
        if not self._flags:
            return None
        known, wanted = self._flags, int(flags)

        def is_verified(tx: Tx) -> bool:
            found = known.get(tx.wtxid)
            return found is not None and not wanted & ~found

        return is_verified
