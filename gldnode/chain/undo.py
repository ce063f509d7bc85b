"""Undo data: the coins that a block spent, as they stand in rev files."""

from gldnode.chain.coins import CoinRecordDamaged, decode_coin, encode_coin
from gldnode.errors import DecodeError
from gldnode.primitives.codec import Reader, compact_size
from gldnode.primitives.coin import BlockUndo

__all__ = ["encode_undo", "parse_undo"]


def encode_undo(undo: BlockUndo) -> bytes:
    """For each transaction behind the coinbase a count, and behind it each coin's record with its length."""
    parts = [compact_size(len(undo))]
    add = parts.append
    for coins in undo:
        add(compact_size(len(coins)))
        for coin in coins:
            record = encode_coin(coin)
            length = len(record)
            add(bytes((length,)) if length < 0xFD else compact_size(length))
            add(record)
    return b"".join(parts)


def parse_undo(data: bytes) -> BlockUndo:
    """Raises DecodeError."""
    reader = Reader(data)
    undo = []
    for _ in range(reader.compact_size()):
        count = reader.compact_size()
        if count > reader.remaining:
            raise DecodeError("undo data ends early")
        try:
            undo.append(tuple(decode_coin(reader.var_bytes()) for _ in range(count)))
        except CoinRecordDamaged as error:
            raise DecodeError(str(error)) from None
    reader.expect_end()
    return tuple(undo)
