"""Blocks on demand, for the regtest networks."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

from gldnode.chain.options import AcceptResult
from gldnode.clock import Clock
from gldnode.consensus.check_tx import MAX_BLOCK_WEIGHT
from gldnode.consensus.pow import target_from_bits
from gldnode.errors import Reject
from gldnode.mempool.pool import Mempool
from gldnode.mining.template import MiningChain, build_template, regenerate_commitments
from gldnode.primitives.block import Block, BlockHeader, make_block, make_header
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import Tx

__all__ = ["GeneratingChain", "generate_block", "generate_blocks", "solve"]

DEFAULT_MAX_TRIES = 1_000_000


class GeneratingChain(MiningChain, Protocol):
    """What mining needs of the chain."""

    def accept_block(self, block: Block, *, requested: bool = True) -> AcceptResult: ...
    def commit(self) -> None: ...


def solve(header: BlockHeader, *, max_tries: int = DEFAULT_MAX_TRIES) -> BlockHeader | None:
    """The header with the first nonce from its own on that meets its target; None after `max_tries`."""
    target = target_from_bits(header.bits)[0]
    raw = header.serialize()
    start = sha256(raw[:64])
    tail = raw[64:76]
    for nonce in range(header.nonce, min(header.nonce + max_tries, 1 << 32)):
        inner = start.copy()
        inner.update(tail + nonce.to_bytes(4, "little"))
        if int.from_bytes(sha256(inner.digest()).digest(), "little") <= target:
            return make_header(
                header.version, header.prev_hash, header.merkle_root, header.time, header.bits, nonce
            )
    return None


def _solve_unknown(chain: GeneratingChain, header: BlockHeader, max_tries: int) -> BlockHeader | None:
    """A solution that the chain has not seen: the very same block may have been invalidated by hand before."""
    last = header.nonce + max_tries
    found = solve(header, max_tries=max_tries)
    while found is not None and chain.entry(found.hash) is not None:
        again = make_header(
            header.version, header.prev_hash, header.merkle_root, header.time, header.bits, found.nonce + 1
        )
        found = solve(again, max_tries=last - again.nonce)
    return found


def generate_blocks(
    chain: GeneratingChain,
    mempool: Mempool | None,
    clock: Clock,
    count: int,
    script_pubkey: bytes,
    *,
    max_tries: int = DEFAULT_MAX_TRIES,
    max_weight: int = MAX_BLOCK_WEIGHT,
    min_feerate: int = 1,
) -> list[BlockHash]:
    """Mine `count` blocks on the tip from the mempool (validation thread).

    `max_weight`, `min_feerate`: as `build_template` has them.
    Fewer when `max_tries` nonces, over all blocks, are used up. Raises Reject.
    """
    mined: list[BlockHash] = []
    while len(mined) < count:
        template = build_template(
            chain,
            mempool,
            script_pubkey,
            now=clock.now(),
            max_weight=max_weight,
            min_feerate=min_feerate,
            test=False,
        )
        header = _solve_unknown(chain, template.block.header, max_tries)
        if header is None:
            break
        max_tries -= header.nonce
        chain.accept_block(make_block(header, template.block.txs), requested=True)
        if chain.tip_entry.hash != header.hash:
            raise Reject("ProcessNewBlock, block not accepted")
        mined.append(header.hash)
    chain.commit()
    return mined


def generate_block(
    chain: GeneratingChain,
    clock: Clock,
    script_pubkey: bytes,
    txs: Sequence[Tx],
    *,
    submit: bool = True,
    max_tries: int = DEFAULT_MAX_TRIES,
) -> Block | None:
    """Mine exactly these transactions in this order (`generateblock`); the coinbase takes no fees.

    None when no nonce is found. Raises Reject with the reason of the block's own test.
    """
    template = build_template(chain, None, script_pubkey, now=clock.now(), test=False)
    block = regenerate_commitments(make_block(template.block.header, [*template.block.txs, *txs]), chain)
    chain.test_block_validity(block, check_pow=False)
    header = _solve_unknown(chain, block.header, max_tries)
    if header is None:
        return None
    block = make_block(header, block.txs)
    if submit:
        chain.accept_block(block, requested=True)
        chain.commit()
    return block
