"""A file with the whole set of coins as of one block: Core's snapshot, version 2 (node/utxo_snapshot.h).

magic `utxo\\xff` | version u16 | network magic | base block hash | number of coins u64 | for each transaction:
txid, number of its coins, for each coin: output number, height·2 + coinbase, compressed amount and script
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from heapq import merge
from itertools import groupby
from typing import BinaryIO, Final

from gldnode.chain.compression import (
    compress_amount,
    compress_script,
    decompress_amount,
    read_script,
    read_varint,
    varint,
)
from gldnode.chain.utxostats import coin_hash_bytes
from gldnode.errors import DecodeError
from gldnode.primitives.block import Block
from gldnode.primitives.codec import Reader, compact_size
from gldnode.primitives.coin import BlockUndo, Coin
from gldnode.primitives.tx import OutPoint, outpoint

__all__ = ["Metadata", "SnapshotWritten", "Unwinding", "read_coins", "read_metadata", "write_snapshot"]

MAGIC: Final = b"utxo\xff"
VERSION: Final = 2
HEADER_SIZE: Final = 51
_COUNT_AT: Final = 43
_PIECE: Final = 1 << 20
_LONGEST_COIN: Final = 1 << 16
"""More than any coin takes: its script is at most 10,000 bytes, or it could not be spent."""

CoinItem = tuple[OutPoint, Coin]


@dataclass(frozen=True, slots=True)
class Metadata:
    """The head of a file."""

    base_hash: bytes
    coins_count: int


@dataclass(frozen=True, slots=True)
class SnapshotWritten:
    """What was written."""

    coins_count: int
    hash_serialized: bytes
    """As `gettxoutsetinfo` has it (hash_serialized_3), in wire order."""


class Unwinding:
    """The coins as of an earlier block: a set of coins and the blocks since, taken back in memory."""

    def __init__(self) -> None:
        self._changed: dict[bytes, Coin | None] = {}

    def take_back(self, block: Block, undo: BlockUndo) -> None:
        """The last block that has not been taken back yet."""
        for tx, spent in zip(reversed(block.txs), (*reversed(undo), ()), strict=True):
            for vout in range(len(tx.outputs)):
                self._changed[tx.outpoint(vout)] = None
            for txin, coin in zip(tx.inputs, spent, strict=False):
                self._changed[txin.prevout] = coin

    def apply(self, coins: Iterable[CoinItem]) -> Iterator[CoinItem]:
        """`coins` as they were, in order of their transactions' ids."""
        changed = self._changed
        kept = (item for item in coins if item[0] not in changed)
        back = sorted((OutPoint(name), coin) for name, coin in changed.items() if coin is not None)
        return merge(kept, back, key=lambda item: item[0][:32])


def write_snapshot(
    file: BinaryIO, message_start: bytes, base_hash: bytes, coins: Iterable[CoinItem]
) -> SnapshotWritten:
    """Write all `coins`, which come in order of their transactions' ids. Raises OSError."""
    head = MAGIC + VERSION.to_bytes(2, "little") + message_start + base_hash
    file.write(head + bytes(8))
    digest = sha256()
    count = 0
    for txid, group in groupby(coins, key=lambda item: item[0][:32]):
        mine = sorted(group, key=lambda item: item[0].vout)
        count += len(mine)
        out = [txid, compact_size(len(mine))]
        for prevout, coin in mine:
            out += [
                compact_size(prevout.vout),
                varint(coin.height << 1 | coin.is_coinbase),
                varint(compress_amount(coin.amount)),
                compress_script(coin.script_pubkey),
            ]
            digest.update(coin_hash_bytes(prevout, coin))
        file.write(b"".join(out))
    file.seek(_COUNT_AT)
    file.write(count.to_bytes(8, "little"))
    return SnapshotWritten(count, sha256(digest.digest()).digest())


def read_metadata(file: BinaryIO, message_start: bytes) -> Metadata:
    """The head of the file, which must be one of this network. Raises DecodeError with Core's sentence."""
    head = file.read(HEADER_SIZE)
    if len(head) != HEADER_SIZE:
        raise DecodeError("AutoFile::read: end of file")
    if head[:5] != MAGIC:
        raise DecodeError(
            "Invalid UTXO set snapshot magic bytes. Please check if this is indeed a snapshot file or if you are "
            "using an outdated snapshot format."
        )
    version = int.from_bytes(head[5:7], "little")
    if version != VERSION:
        raise DecodeError(f"Version of snapshot {version} does not match any of the supported versions.")
    if head[7:11] != message_start:
        raise DecodeError("The network of the snapshot does not match the network of this node.")
    return Metadata(head[11:43], int.from_bytes(head[_COUNT_AT:], "little"))


class _Window:
    """A file read in pieces, with always enough ahead for one coin."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.reader = Reader(file.read(_PIECE))

    def ahead(self) -> Reader:
        reader = self.reader
        if reader.remaining < _LONGEST_COIN:
            more = self._file.read(_PIECE)
            if more:
                reader = self.reader = Reader(reader.take(reader.remaining) + more)
        return reader


def read_coins(file: BinaryIO, metadata: Metadata, base_height: int, max_money: int) -> Iterator[CoinItem]:
    """The coins behind the head, each checked by itself. Raises DecodeError with Core's sentence."""
    window = _Window(file)
    total = metadata.coins_count
    done = 0
    try:
        while done < total:
            reader = window.ahead()
            txid, mine = reader.take(32), reader.compact_size()
            if mine > total - done:
                raise _Damaged("Mismatch in coins count in snapshot metadata and actual snapshot data")
            for _ in range(mine):
                reader = window.ahead()
                vout = reader.compact_size()
                code = read_varint(reader, 32)
                amount = decompress_amount(read_varint(reader, 64))
                coin = Coin(amount, read_script(reader), code >> 1, bool(code & 1))
                if coin.height > base_height or vout >= 0xFFFFFFFF:
                    raise _Damaged(f"Bad snapshot data after deserializing {done} coins")
                if not 0 <= amount <= max_money:
                    raise _Damaged(f"Bad snapshot data after deserializing {done} coins - bad tx out value")
                yield outpoint(txid, vout), coin
                done += 1
    except _Damaged:
        raise
    except DecodeError:
        raise _Damaged(f"Bad snapshot format or truncated snapshot after deserializing {done} coins") from None
    if window.ahead().remaining:
        raise _Damaged(f"Bad snapshot - coins left over after deserializing {done} coins")


class _Damaged(DecodeError):
    """What is wrong, in words that are final."""
