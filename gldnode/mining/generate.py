"""Blocks on demand, for the regtest networks."""

from collections.abc import Sequence
from typing import Any

from gldnode.primitives.block import Block, BlockHeader
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import Tx

__all__ = ["generate_block", "generate_blocks", "solve"]


def solve(header: BlockHeader, *, max_tries: int = 1_000_000) -> BlockHeader | None:
    """The header with the first nonce that satisfies its bits; None after `max_tries`."""
    ...


def generate_blocks(
    chain: Any, mempool: Any, clock: Any, count: int, script_pubkey: bytes, *, max_tries: int = 1_000_000
) -> list[BlockHash]:
    """Mine `count` blocks on the tip from the mempool (validation thread)."""
    ...


def generate_block(
    chain: Any, mempool: Any, clock: Any, script_pubkey: bytes, txs: Sequence[Tx], *, submit: bool = True
) -> Block:
    """Mine exactly these transactions in this order (`generateblock`). Raises Reject."""
    ...
