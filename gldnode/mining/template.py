"""Block templates: the most valuable valid block of the mempool's transactions, BIP 22/23/145."""

from dataclasses import dataclass
from typing import Any

from gldnode.primitives.block import Block
from gldnode.primitives.tx import Tx

__all__ = ["BlockTemplate", "TemplateTx", "build_template", "regenerate_commitments"]


@dataclass(frozen=True, slots=True)
class TemplateTx:
    """One transaction of a template."""

    tx: Tx
    fee: int
    sigop_cost: int
    depends: tuple[int, ...]
    """1-based positions in the template of the transactions it spends from (BIP 22)."""


@dataclass(frozen=True, slots=True)
class BlockTemplate:
    """A block that only misses proof of work, and what getblocktemplate tells about it."""

    block: Block
    """Unsolved: nonce 0; the coinbase pays the whole reward to the script it was built for."""
    height: int
    txs: tuple[TemplateTx, ...]
    """Without the coinbase."""
    coinbase_value: int
    total_fees: int
    total_sigop_cost: int
    """Coinbase's reserve excluded."""
    total_weight: int
    target: int
    min_time: int
    """Median time past plus one, Unix seconds."""
    default_witness_commitment: bytes | None
    """scriptPubKey of the commitment output; None before segwit."""


def build_template(chain: Any, mempool: Any, script_pubkey: bytes, *, now: int, max_weight: int = 4_000_000) -> BlockTemplate:
    """The best next block. Raises Reject if it does not pass the chain's own test (a bug, or clock trouble)."""
    ...


def regenerate_commitments(block: Block, chain: Any) -> Block:
    """`block` with witness commitment and merkle root recomputed for its transactions (Core: RegenerateCommitments)."""
    ...
