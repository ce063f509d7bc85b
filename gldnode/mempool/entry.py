"""One transaction of the mempool, with what is known about its unconfirmed relatives."""

from typing import Final

import msgspec

from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import Tx

__all__ = ["MAX_BIP125_SEQUENCE", "LockPoints", "MempoolEntry", "feerate_fee", "make_entry", "signals_bip125"]

MAX_BIP125_SEQUENCE: Final = 0xFFFFFFFD
_NONE: Final[frozenset[Txid]] = frozenset()


class LockPoints(msgspec.Struct, frozen=True, gc=False):
    """Until when BIP 68 holds a transaction back."""

    height: int = -1
    """The last height at which it is still forbidden; -1: none."""
    time: int = -1
    """The last median time at which it is still forbidden, Unix seconds; -1: none."""


class MempoolEntry(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Immutable: when a relative comes or goes the entry is replaced whole, so any thread may read it.

    Sizes are virtual bytes adjusted for signature operations; sums include the transaction itself;
    `modified` fees include what `prioritisetransaction` added.
    """

    tx: Tx
    fee: int
    modified_fee: int
    vsize: int
    sigop_cost: int
    time: int
    """When it was accepted, Unix seconds."""
    height: int
    """Of the tip when it was accepted."""
    sequence: int
    """The mempool's event number of its arrival."""
    spends_coinbase: bool
    signals_itself: bool
    """BIP 125, without regard to ancestors."""
    signals_replacement: bool
    """BIP 125: it or an unconfirmed ancestor has a sequence below 0xfffffffe."""
    memory: int
    """Bytes that it is counted with against `-maxmempool`."""
    locks: LockPoints
    parents: frozenset[Txid] = _NONE
    children: frozenset[Txid] = _NONE
    ancestors: frozenset[Txid] = _NONE
    """Unconfirmed, without itself."""
    ancestor_size: int = 0
    ancestor_fees: int = 0
    """Modified."""
    ancestor_sigops: int = 0
    descendant_count: int = 1
    descendant_size: int = 0
    descendant_fees: int = 0
    """Modified."""

    @property
    def txid(self) -> Txid:
        return self.tx.txid

    @property
    def ancestor_count(self) -> int:
        return len(self.ancestors) + 1

    @property
    def weight(self) -> int:
        return self.tx.weight

    def __repr__(self) -> str:
        return f"MempoolEntry({self.tx.txid[::-1].hex()})"


def make_entry(
    tx: Tx,
    *,
    fee: int,
    modified_fee: int,
    vsize: int,
    sigop_cost: int,
    time: int,
    height: int,
    sequence: int,
    spends_coinbase: bool,
    locks: LockPoints,
) -> MempoolEntry:
    """An entry without relatives; the graph fills them in."""
    signals = signals_bip125(tx)
    return MempoolEntry(
        tx,
        fee,
        modified_fee,
        vsize,
        sigop_cost,
        time,
        height,
        sequence,
        spends_coinbase,
        signals,
        signals,
        _tx_memory(tx),
        locks,
        ancestor_size=vsize,
        ancestor_fees=modified_fee,
        ancestor_sigops=sigop_cost,
        descendant_size=vsize,
        descendant_fees=modified_fee,
    )


def feerate_fee(feerate_per_kvb: int, size_vb: int) -> int:
    """The least fee of `size_vb` at a feerate, rounded up (Core: CFeeRate::GetFee)."""
    return -(-feerate_per_kvb * size_vb // 1000)


def signals_bip125(tx: Tx) -> bool:
    """Whether the transaction itself asks to be replaceable."""
    for txin in tx.inputs:  # noqa: SIM110  # any() costs a generator, for each transaction
        if txin.sequence <= MAX_BIP125_SEQUENCE:
            return True
    return False


def _tx_memory(tx: Tx) -> int:
    """About how many bytes of memory an entry with this transaction takes (measured with CPython 3.11)."""
    return 900 + 2 * len(tx.raw) + 330 * len(tx.inputs) + 130 * len(tx.outputs)
