"""Transactions of blocks that the active chain has left, until it is known which of them belong in the mempool."""

from collections.abc import Iterable
from typing import Final

from gldnode.primitives.block import Block
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import Tx

__all__ = ["DisconnectedTxs"]

MAX_DISCONNECTED_BYTES: Final = 20_000_000


class DisconnectedTxs:
    """In the order of the chain they were in; bounded, the ones nearest the old tip are dropped first."""

    def __init__(self) -> None:
        self._txs: dict[Txid, Tx] = {}  # newest block first, each block backwards
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._txs)

    def add_block(self, block: Block) -> list[Tx]:
        """Take in a disconnected block; the transactions that had to be dropped for it."""
        for tx in reversed(block.txs):
            if tx.txid not in self._txs:
                self._txs[tx.txid] = tx
                self._bytes += len(tx.raw)
        dropped = []
        while self._bytes > MAX_DISCONNECTED_BYTES:
            first = next(iter(self._txs))
            tx = self._txs.pop(first)
            self._bytes -= len(tx.raw)
            dropped.append(tx)
        return dropped

    def forget(self, txs: Iterable[Tx]) -> None:
        """These are in a block of the active chain again."""
        if not self._txs:
            return
        for tx in txs:
            known = self._txs.pop(tx.txid, None)
            if known is not None:
                self._bytes -= len(known.raw)

    def take(self) -> list[Tx]:
        """All of them, parents before children; empty afterwards."""
        txs = list(reversed(self._txs.values()))
        self._txs.clear()
        self._bytes = 0
        return txs
