"""Whether a transaction may be in the *next* block, as far as BIP 68 goes, and when to ask again."""

from collections.abc import Sequence
from typing import Final

from gldnode.consensus.locks import SEQUENCE_LOCKTIME_DISABLE, are_sequence_locks_met, sequence_locks
from gldnode.mempool.entry import LockPoints
from gldnode.mempool.view import PoolChain
from gldnode.primitives.coin import MEMPOOL_HEIGHT, Coin
from gldnode.primitives.tx import Tx

__all__ = ["NO_LOCKS", "do_locks_allow_next", "lock_points"]

NO_LOCKS: Final = LockPoints()


def lock_points(tx: Tx, coins: Sequence[Coin], chain: PoolChain) -> LockPoints:
    """What BIP 68 demands of `tx`; unconfirmed inputs count as confirmed in the next block."""
    if 0 <= tx.version < 2:
        return NO_LOCKS
    for txin in tx.inputs:
        if not txin.sequence & SEQUENCE_LOCKTIME_DISABLE:
            break
    else:
        return NO_LOCKS
    next_height = chain.tip.height + 1
    heights = [next_height if coin.height == MEMPOOL_HEIGHT else coin.height for coin in coins]

    def median_time_before(height: int) -> int:
        entry = chain.entry_at(max(height - 1, 0))
        assert entry is not None
        return entry.median_time_past

    return LockPoints(*sequence_locks(tx, heights, median_time_before))


def do_locks_allow_next(locks: LockPoints, chain: PoolChain) -> bool:
    """Whether the block after the tip is late enough."""
    if locks is NO_LOCKS:  # nearly always
        return True
    tip = chain.tip
    return are_sequence_locks_met((locks.height, locks.time), tip.height + 1, tip.median_time)
