"""The unspent outputs: a bounded cache of changes over a `KV`, written in one batch for many blocks."""

from collections.abc import Iterator
from struct import Struct as Packer
from typing import Final

from gldnode.chain.layout import BEST_BLOCK_KEY, COIN_PREFIX
from gldnode.consensus.connect import CoinsChange
from gldnode.errors import NodeError
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import OutPoint
from storage.kv import KV, WriteBatch

__all__ = ["CoinRecordDamaged", "CoinsCache", "decode_coin", "encode_coin"]

_HEAD = Packer("<IQ")
_HEAD_SIZE: Final = _HEAD.size

BYTES_PER_CHANGE: Final = 1_000
"""What one changed coin costs at most: key, coin, two table slots, and its copies while the batch is written.
Measured with P2WPKH coins."""

_KEPT_AFTER_FLUSH: Final = 0.25
"""Share of the budget that just-written coins may go on using: recent outputs are what is spent next."""

_UNCHANGED: Final = Coin(-1, b"", -1, False)


class CoinRecordDamaged(NodeError):
    """A coin's record in the database does not parse."""


def encode_coin(coin: Coin) -> bytes:
    """height·2 + coinbase (u32), amount (u64), script: the record of the database and of undo data."""
    return _HEAD.pack(coin.height << 1 | coin.is_coinbase, coin.amount) + coin.script_pubkey


def decode_coin(record: bytes) -> Coin:
    """Raises CoinRecordDamaged."""
    if len(record) < _HEAD_SIZE:
        raise CoinRecordDamaged(f"a coin's record of {len(record)} bytes")
    code, amount = _HEAD.unpack_from(record)
    return Coin(amount, record[_HEAD_SIZE:], code >> 1, bool(code & 1))


class CoinsCache:
    """Coins as of `best_block`: what has changed since the last flush, over the database.

    Written by the validation thread; `get` from any thread.
    """

    def __init__(self, kv: KV, budget_bytes: int) -> None:
        self._kv = kv
        self._limit = max(1_000, budget_bytes // BYTES_PER_CHANGE)
        self._changed: dict[bytes, Coin | None] = {}
        """Since the last flush; None is spent and still in the database."""
        self._fresh: set[bytes] = set()
        """Of those, the ones that the database has not: spending them leaves no trace."""
        self._clean: dict[bytes, Coin] = {}
        """Just as in the database."""
        stored = kv.get(BEST_BLOCK_KEY)
        self.flushed_block: BlockHash | None = None if stored is None else BlockHash(stored)
        """The block that the database is as of."""

    def get(self, prevout: bytes) -> Coin | None:
        coin = self._changed.get(prevout, _UNCHANGED)
        if coin is not _UNCHANGED:
            return coin
        coin = self._clean.get(prevout)
        if coin is not None:
            return coin
        record = self._kv.get(COIN_PREFIX + prevout)
        return None if record is None else decode_coin(record)

    def apply(self, change: CoinsChange) -> None:
        """Take away what is spent, then add what is created."""
        changed, fresh, clean = self._changed, self._fresh, self._clean
        for prevout in change.spent:
            if prevout in fresh:
                fresh.remove(prevout)
                del changed[prevout]
            else:
                changed[prevout] = None
                clean.pop(prevout, None)
        for key, coin in change.created.items():
            if key not in changed:
                fresh.add(key)
            changed[key] = coin

    @property
    def is_full(self) -> bool:
        """Whether the changes should be flushed."""
        return len(self._changed) + len(self._clean) // 2 >= self._limit

    @property
    def changed_count(self) -> int:
        return len(self._changed)

    def flush(self, best_block: BlockHash) -> None:
        """Write all changes and the block they lead to in one durable batch."""
        if best_block == self.flushed_block and not self._changed:
            return
        batch = WriteBatch()
        ops = batch.ops
        for prevout, coin in self._changed.items():
            ops[COIN_PREFIX + prevout] = None if coin is None else encode_coin(coin)
        batch.put(BEST_BLOCK_KEY, best_block)
        self._kv.write(batch, sync=True)
        self.flushed_block = best_block
        keep = int(self._limit * _KEPT_AFTER_FLUSH)
        clean = {} if len(self._changed) > keep else self._clean
        if len(self._changed) <= keep:
            for prevout, coin in self._changed.items():
                if coin is not None:
                    clean[prevout] = coin
            if len(clean) > keep:
                clean = {}
        self._clean = clean
        self._changed = {}
        self._fresh = set()

    def stored_coins(self) -> Iterator[tuple[OutPoint, Coin]]:
        """All coins of the database, by txid and then in no set order; flush first for those of the tip."""
        cut = len(COIN_PREFIX)
        for key, record in self._kv.iterate(prefix=COIN_PREFIX):
            yield OutPoint(key[cut:]), decode_coin(record)

    def stored_size(self) -> int:
        """Bytes of the database, roughly."""
        return self._kv.approximate_size()

    def close(self) -> None:
        self._kv.close()
