"""Lock times: absolute (with BIP 113's clock) and relative (BIP 68)."""

from collections.abc import Callable, Sequence
from typing import Final

from gldnode.errors import Reject, RejectKind
from gldnode.primitives.tx import SEQUENCE_FINAL, Tx

__all__ = [
    "LOCKTIME_THRESHOLD",
    "SEQUENCE_LOCKTIME_DISABLE",
    "SEQUENCE_LOCKTIME_GRANULARITY",
    "SEQUENCE_LOCKTIME_IS_TIME",
    "SEQUENCE_LOCKTIME_MASK",
    "are_sequence_locks_met",
    "check_sequence_locks",
    "is_final",
    "sequence_locks",
]

LOCKTIME_THRESHOLD: Final = 500_000_000
"""Lock times below are heights, the others Unix seconds."""

SEQUENCE_LOCKTIME_DISABLE: Final = 1 << 31
SEQUENCE_LOCKTIME_IS_TIME: Final = 1 << 22
SEQUENCE_LOCKTIME_MASK: Final = 0xFFFF
SEQUENCE_LOCKTIME_GRANULARITY: Final = 9
"""Relative time locks count in steps of 2^9 = 512 s."""


def is_final(tx: Tx, height: int, time: int) -> bool:
    """Whether the absolute lock time allows `tx` in a block at `height` (IsFinalTx).

    `time`: the parent's median time past where BIP 113 is in force, else the block's own. Unix seconds.
    """
    lock_time = tx.lock_time
    if lock_time == 0 or lock_time < (height if lock_time < LOCKTIME_THRESHOLD else time):
        return True
    return all(txin.sequence == SEQUENCE_FINAL for txin in tx.inputs)


def sequence_locks(
    tx: Tx, coin_heights: Sequence[int], median_time_before: Callable[[int], int]
) -> tuple[int, int]:
    """The last height and the last median time at which the relative locks still forbid `tx`; -1 for none.

    coin_heights[i] is the height of the coin that tx.inputs[i] spends; median_time_before(h) is the median
    time past of the block before height h (of genesis for h = 0). CalculateSequenceLocks of BIP 68.
    """
    min_height = min_time = -1
    if tx.version & 0xFFFFFFFF < 2:
        return min_height, min_time
    for txin, coin_height in zip(tx.inputs, coin_heights, strict=True):
        sequence = txin.sequence
        if sequence & SEQUENCE_LOCKTIME_DISABLE:
            continue
        value = sequence & SEQUENCE_LOCKTIME_MASK
        if sequence & SEQUENCE_LOCKTIME_IS_TIME:
            unlock = median_time_before(coin_height) + (value << SEQUENCE_LOCKTIME_GRANULARITY) - 1
            min_time = max(min_time, unlock)
        else:
            min_height = max(min_height, coin_height + value - 1)
    return min_height, min_time


def are_sequence_locks_met(locks: tuple[int, int], height: int, median_time: int) -> bool:
    """Whether a block at `height` whose parent has `median_time` may hold it (EvaluateSequenceLocks)."""
    return locks[0] < height and locks[1] < median_time


def check_sequence_locks(
    tx: Tx,
    coin_heights: Sequence[int],
    median_time_before: Callable[[int], int],
    height: int,
    median_time: int,
) -> None:
    """Relative lock times of `tx` in a block at `height`, as in Core's ConnectBlock. Raises Reject."""
    if not are_sequence_locks_met(sequence_locks(tx, coin_heights, median_time_before), height, median_time):
        raise Reject("bad-txns-nonfinal", "contains a non-BIP68-final transaction", RejectKind.CONTEXT)
