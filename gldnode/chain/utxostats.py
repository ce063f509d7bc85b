"""Statistics and hashes of the whole set of coins (`gettxoutsetinfo`; Core: kernel/coinstats.cpp)."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import groupby
from struct import Struct as Packer

from gldnode.chain.coins import CoinsCache
from gldnode.chain.entry import BlockEntry
from gldnode.crypto.muhash import MuHash3072
from gldnode.primitives.codec import compact_size
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import OutPoint

__all__ = ["CoinStats", "HashKind", "bogo_size", "coin_hash_bytes", "coin_stats"]

_CODE_AND_AMOUNT = Packer("<Iq")


class HashKind(StrEnum):
    """`hash_type`."""

    HASH_SERIALIZED_3 = "hash_serialized_3"
    MUHASH = "muhash"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class CoinStats:
    """The set of coins as of one block."""

    height: int
    best_block: BlockHash
    transactions: int
    txouts: int
    bogosize: int
    total_amount: int
    disk_size: int
    hash: bytes | None
    """In wire order."""


def bogo_size(coin: Coin) -> int:
    """Core's database-independent size of a coin."""
    return 32 + 4 + 4 + 8 + 2 + len(coin.script_pubkey)


def coin_hash_bytes(prevout: OutPoint, coin: Coin) -> bytes:
    """What both hashes take of a coin: outpoint, height·2 + coinbase, the output (TxOutSer)."""
    script = coin.script_pubkey
    return b"".join(
        (
            prevout,
            _CODE_AND_AMOUNT.pack(coin.height << 1 | coin.is_coinbase, coin.amount),
            compact_size(len(script)),
            script,
        )
    )


def coin_stats(coins: CoinsCache, tip: BlockEntry, kind: HashKind) -> CoinStats:
    """Of what is flushed, which is as of `tip`."""
    transactions = txouts = bogosize = total = 0
    serialized = sha256()
    muhash = MuHash3072()
    for _, group in groupby(coins.stored_coins(), key=lambda item: item[0][:32]):
        transactions += 1
        for prevout, coin in _by_index(group):
            txouts += 1
            bogosize += bogo_size(coin)
            total += coin.amount
            if kind is HashKind.HASH_SERIALIZED_3:
                serialized.update(coin_hash_bytes(prevout, coin))
            elif kind is HashKind.MUHASH:
                muhash.insert(coin_hash_bytes(prevout, coin))
    found: bytes | None = None
    if kind is HashKind.HASH_SERIALIZED_3:
        found = sha256(serialized.digest()).digest()
    elif kind is HashKind.MUHASH:
        found = muhash.digest()
    return CoinStats(tip.height, tip.hash, transactions, txouts, bogosize, total, coins.stored_size(), found)


def _by_index(group: Iterator[tuple[OutPoint, Coin]]) -> list[tuple[OutPoint, Coin]]:
    return sorted(group, key=lambda item: item[0].vout)
