"""Coins: unspent outputs as the chainstate keeps them."""

import msgspec

__all__ = ["MEMPOOL_HEIGHT", "BlockUndo", "Coin"]


class Coin(msgspec.Struct, frozen=True, gc=False):
    """An unspent output."""

    amount: int
    """Base units."""
    script_pubkey: bytes
    height: int
    """Of the block that made it; `MEMPOOL_HEIGHT` for one that is still unconfirmed."""
    is_coinbase: bool


MEMPOOL_HEIGHT = 0x7FFFFFFF

BlockUndo = tuple[tuple[Coin, ...], ...]
"""What a block spent: for each transaction behind the coinbase, its inputs' coins in order."""
