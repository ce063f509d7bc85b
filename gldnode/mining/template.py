"""Block templates: the most valuable valid block of the mempool's transactions, BIP 22/23/145."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gldnode.chain.entry import BlockEntry
from gldnode.consensus.check_block import coinbase_height_script
from gldnode.consensus.check_tx import MAX_BLOCK_WEIGHT
from gldnode.consensus.merkle import (
    WITNESS_COMMITMENT_HEADER,
    block_merkle_root,
    witness_commitment,
    witness_commitment_index,
)
from gldnode.consensus.pow import next_bits, target_from_bits
from gldnode.consensus.sizes import MAX_BLOCK_SIGOPS_COST, legacy_sigops
from gldnode.consensus.subsidy import block_subsidy
from gldnode.mempool.entry import MempoolEntry
from gldnode.mempool.pool import Mempool
from gldnode.mining.select import SelectionLimits, select_transactions
from gldnode.params import ChainParams
from gldnode.primitives.block import Block, make_block, make_header
from gldnode.primitives.hashes import ZERO_HASH, BlockHash
from gldnode.primitives.tx import NULL_OUTPOINT, WITNESS_SCALE_FACTOR, Tx, TxIn, TxOut, make_tx

__all__ = ["BlockTemplate", "MiningChain", "TemplateTx", "build_template", "regenerate_commitments"]

VERSIONBITS_TOP: Final = 0x20000000
RESERVED_WEIGHT: Final = 8_000
RESERVED_SIGOP_COST: Final = 400
SEQUENCE_NONFINAL: Final = 0xFFFFFFFE
OP_0: Final = b"\x00"


class MiningChain(Protocol):
    """What building a block needs of the chain."""

    @property
    def params(self) -> ChainParams: ...
    @property
    def tip_entry(self) -> BlockEntry: ...
    def entry(self, block_hash: bytes) -> BlockEntry | None: ...
    def test_block_validity(
        self, block: Block, *, check_pow: bool = False, check_merkle_root: bool = True
    ) -> object: ...


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
    """The coinbase included."""
    total_weight: int
    target: int
    min_time: int
    """The least timestamp: median time past plus one, Unix seconds."""
    default_witness_commitment: bytes | None
    """scriptPubKey of the commitment output; None before segwit."""
    mempool_sequence: int
    """The mempool's event number when it was built: for long polling."""

    @property
    def prev_hash(self) -> BlockHash:
        return self.block.header.prev_hash


def build_template(
    chain: MiningChain,
    mempool: Mempool | None,
    script_pubkey: bytes,
    *,
    now: int,
    max_weight: int = MAX_BLOCK_WEIGHT,
    reserved_weight: int = RESERVED_WEIGHT,
    min_feerate: int = 1,
    test: bool = True,
) -> BlockTemplate:
    """The best next block, its reward paid to `script_pubkey` (validation thread).

    `mempool` None: an empty block. `max_weight`: `-blockmaxweight`; `min_feerate`: `-blockmintxfee`, grains per
    kvB. Raises Reject if the block does not pass the chain's own test.
    """
    params = chain.params
    prev = chain.tip_entry
    height = prev.height + 1
    sequence = mempool.sequence if mempool is not None else 0
    reserved = max(reserved_weight, 4 * (2 * len(script_pubkey) + 400))
    chosen: list[MempoolEntry] = []
    if mempool is not None:
        mempool.finish_reorg()
        sequence = mempool.sequence
        limits = SelectionLimits(
            min(max_weight, MAX_BLOCK_WEIGHT) - reserved,
            MAX_BLOCK_SIGOPS_COST - RESERVED_SIGOP_COST - 4 * _sigops_of(script_pubkey),
            min_feerate,
        )
        chosen = select_transactions(mempool.entries(), limits)
    fees = sum(entry.fee for entry in chosen)
    value = block_subsidy(height, params) + fees
    time = max(prev.median_time_past + 1, now)
    coinbase = _coinbase(height, value, script_pubkey)
    bits = next_bits(prev, time, params)
    header = make_header(VERSIONBITS_TOP, prev.hash, ZERO_HASH, time, bits, 0)
    block = _commit(make_block(header, [coinbase, *(entry.tx for entry in chosen)]), height, params)
    if test:
        chain.test_block_validity(block, check_pow=False)
    index = witness_commitment_index(block)
    return BlockTemplate(
        block=block,
        height=height,
        txs=_describe(chosen),
        coinbase_value=value,
        total_fees=fees,
        total_sigop_cost=sum(entry.sigop_cost for entry in chosen)
        + legacy_sigops(block.txs[0]) * WITNESS_SCALE_FACTOR,
        total_weight=block.weight,
        target=target_from_bits(bits)[0],
        min_time=prev.median_time_past + 1,
        default_witness_commitment=None if index is None else block.txs[0].outputs[index].script_pubkey,
        mempool_sequence=sequence,
    )


def _sigops_of(script_pubkey: bytes) -> int:
    return legacy_sigops(make_tx(1, [], [TxOut(0, script_pubkey)]))


def _describe(chosen: Sequence[MempoolEntry]) -> tuple[TemplateTx, ...]:
    position = {entry.tx.txid: number for number, entry in enumerate(chosen, 1)}
    return tuple(
        TemplateTx(
            entry.tx,
            entry.fee,
            entry.sigop_cost,
            tuple(sorted(position[parent] for parent in entry.parents if parent in position)),
        )
        for entry in chosen
    )


def _coinbase(height: int, value: int, script_pubkey: bytes) -> Tx:
    """The height in its script (BIP 34) and in its lock time, so that no two coinbases are alike (BIP 54)."""
    script = coinbase_height_script(height) + OP_0
    return make_tx(2, [TxIn(NULL_OUTPOINT, script, SEQUENCE_NONFINAL)], [TxOut(value, script_pubkey)], height - 1)


def _commit(block: Block, height: int, params: ChainParams) -> Block:
    """With the witness commitment (where segwit binds) and the merkle root of its transactions."""
    coinbase = block.txs[0]
    if height >= params.deployments.segwit:
        old = witness_commitment_index(block)
        outputs = [output for index, output in enumerate(coinbase.outputs) if index != old]
        txin = coinbase.inputs[0]
        commitment = WITNESS_COMMITMENT_HEADER + witness_commitment(block, ZERO_HASH)
        coinbase = make_tx(
            coinbase.version,
            [TxIn(txin.prevout, txin.script_sig, txin.sequence, (ZERO_HASH,))],
            [*outputs, TxOut(0, commitment)],
            coinbase.lock_time,
        )
    block = make_block(block.header, [coinbase, *block.txs[1:]])
    header = block.header
    root, _ = block_merkle_root(block)
    return make_block(
        make_header(header.version, header.prev_hash, root, header.time, header.bits, header.nonce), block.txs
    )


def regenerate_commitments(block: Block, chain: MiningChain) -> Block:
    """`block` with witness commitment and merkle root computed anew (Core: RegenerateCommitments).

    Its parent must be known.
    """
    prev = chain.entry(block.header.prev_hash)
    assert prev is not None
    return _commit(block, prev.height + 1, chain.params)
