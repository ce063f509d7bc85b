"""What a block must be by itself and in its place, before its coins are looked at.

Core: CheckBlockHeader, CheckBlock, ContextualCheckBlockHeader, ContextualCheckBlock, IsBlockMutated.
"""

from typing import Final

from gldnode.consensus.check_tx import MAX_BLOCK_WEIGHT, check_transaction
from gldnode.consensus.context import HeaderContext
from gldnode.consensus.locks import is_final
from gldnode.consensus.merkle import (
    block_merkle_root,
    witness_commitment,
    witness_commitment_index,
)
from gldnode.consensus.pow import has_valid_proof_of_work, next_bits
from gldnode.consensus.sizes import MAX_BLOCK_SIGOPS_COST, legacy_sigops
from gldnode.errors import Reject, RejectKind
from gldnode.params import ChainParams
from gldnode.primitives.block import Block, BlockHeader
from gldnode.primitives.tx import WITNESS_SCALE_FACTOR

__all__ = [
    "MAX_FUTURE_BLOCK_TIME_S",
    "check_block",
    "check_header",
    "check_merkle_root",
    "coinbase_height_script",
    "contextual_check_block",
    "contextual_check_header",
    "is_block_mutated",
]

MAX_FUTURE_BLOCK_TIME_S: Final = 2 * 60 * 60


def check_header(header: BlockHeader, params: ChainParams) -> None:
    """Proof of work (CheckBlockHeader). Raises Reject."""
    if not has_valid_proof_of_work(header.hash, header.bits, params):
        raise Reject("high-hash", "proof of work failed", RejectKind.HEADER)


def contextual_check_header(
    header: BlockHeader, prev: HeaderContext, params: ChainParams, now: int, *, last_checkpoint: int = -1
) -> None:
    """A new header's place behind `prev` (ContextualCheckBlockHeader). `now`: Unix seconds.

    `last_checkpoint` is the height of the highest checkpoint whose header is known. Raises Reject.
    """
    height = prev.height + 1
    # 1. The target that the difficulty rule demands.
    if header.bits != next_bits(prev, header.time, params):
        raise Reject("bad-diffbits", "incorrect proof of work", RejectKind.HEADER)
    # 2. No fork at or below the last checkpoint: what belongs there is known already.
    if height <= last_checkpoint:
        raise Reject("bad-fork-prior-to-checkpoint", "", RejectKind.HEADER)
    # 3. Time: behind the median of the last eleven, not more than two hours ahead.
    if header.time <= prev.median_time_past:
        raise Reject("time-too-old", "block's timestamp is too early", RejectKind.HEADER)
    if header.time > now + MAX_FUTURE_BLOCK_TIME_S:
        raise Reject("time-too-new", "block timestamp too far in the future", RejectKind.CONTEXT)
    # 4. Versions that BIP 34, 66 and 65 retired.
    deployments = params.deployments
    version = header.version
    if (
        (version < 2 and height >= deployments.bip34)
        or (version < 3 and height >= deployments.bip66)
        or (version < 4 and height >= deployments.bip65)
    ):
        raise Reject(
            f"bad-version(0x{version & 0xFFFFFFFF:08x})",
            f"rejected nVersion=0x{version & 0xFFFFFFFF:08x} block",
            RejectKind.HEADER,
        )


def check_merkle_root(block: Block) -> None:
    """The transactions are those that the header commits to, and none stands twice. Raises Reject(MUTATED)."""
    root, mutated = block_merkle_root(block)
    if root != block.header.merkle_root:
        raise Reject("bad-txnmrklroot", "hashMerkleRoot mismatch", RejectKind.MUTATED)
    if mutated:
        raise Reject("bad-txns-duplicate", "duplicate transaction", RejectKind.MUTATED)


def check_block(
    block: Block, params: ChainParams, *, check_pow: bool = True, check_merkle: bool = True
) -> tuple[int, ...]:
    """The rules that need nothing but the block, in Core's order (CheckBlock). Raises Reject.

    Returns the legacy signature operations of each transaction, which `connect_block` needs again.
    """
    txs = block.txs
    # 1. Proof of work, and the transactions that it covers.
    if check_pow:
        check_header(block.header, params)
    if check_merkle:
        check_merkle_root(block)
    # 2. Size, before anything is walked.
    base_size = block.base_size
    if (
        not txs
        or len(txs) * WITNESS_SCALE_FACTOR > MAX_BLOCK_WEIGHT
        or base_size * WITNESS_SCALE_FACTOR > MAX_BLOCK_WEIGHT
    ):
        raise Reject("bad-blk-length", "size limits failed")
    # 3. The first transaction and no other is a coinbase.
    if not txs[0].is_coinbase:
        raise Reject("bad-cb-missing", "first tx is not coinbase")
    for tx in txs[1:]:
        if tx.is_coinbase:
            raise Reject("bad-cb-multiple", "more than one coinbase")
    # 4. Each transaction by itself.
    for tx in txs:
        try:
            check_transaction(tx, params)
        except Reject as error:
            raise Reject(error.reason, f"Transaction check failed (tx hash {tx.txid[::-1].hex()})") from None
    # 5. Signature operations, as counted before BIP 16.
    sigops = tuple(map(legacy_sigops, txs))
    if sum(sigops) * WITNESS_SCALE_FACTOR > MAX_BLOCK_SIGOPS_COST:
        raise Reject("bad-blk-sigops", "out-of-bounds SigOpCount")
    return sigops


def contextual_check_block(block: Block, prev: HeaderContext, params: ChainParams) -> None:
    """A block's place behind `prev` (ContextualCheckBlock). Raises Reject."""
    height = prev.height + 1
    deployments = params.deployments
    # 1. Lock times; from BIP 113 on they are measured by the median time past.
    lock_time_cutoff = prev.median_time_past if height >= deployments.csv else block.header.time
    for tx in block.txs:
        if not is_final(tx, height, lock_time_cutoff):
            raise Reject("bad-txns-nonfinal", "non-final transaction")
    # 2. The coinbase begins with the height, BIP 34.
    if height >= deployments.bip34 and not block.txs[0].inputs[0].script_sig.startswith(
        coinbase_height_script(height)
    ):
        raise Reject("bad-cb-height", "block height mismatch in coinbase")
    # 3. The witness commitment, BIP 141.
    check_witness_commitment(block, required=height >= deployments.segwit)
    # 4. Weight, last, for witnesses that are not committed to could be bloated by anyone.
    if block.weight > MAX_BLOCK_WEIGHT:
        raise Reject("bad-blk-weight", "weight limit failed")


def check_witness_commitment(block: Block, *, required: bool) -> None:
    """The coinbase commits to the witnesses; without a commitment there is none (CheckWitnessMalleation).

    Raises Reject(MUTATED).
    """
    if required:
        index = witness_commitment_index(block)
        if index is not None:
            stack = block.txs[0].inputs[0].witness
            if len(stack) != 1 or len(stack[0]) != 32:
                raise Reject("bad-witness-nonce-size", "invalid witness reserved value size", RejectKind.MUTATED)
            committed = block.txs[0].outputs[index].script_pubkey[6:38]
            if witness_commitment(block, stack[0]) != committed:
                raise Reject("bad-witness-merkle-match", "witness merkle commitment mismatch", RejectKind.MUTATED)
            return
    for tx in block.txs:
        if tx.has_witness:
            raise Reject("unexpected-witness", "unexpected witness data found", RejectKind.MUTATED)


def is_block_mutated(block: Block, *, check_witness_root: bool) -> bool:
    """Whether the bytes cannot be what the header's miner made (IsBlockMutated); says nothing about the hash.

    A block whose first transaction is not a coinbase and that holds a 64-byte transaction may be an inner node
    of the merkle tree dressed up as transactions (CVE-2017-12842).
    """
    try:
        check_merkle_root(block)
        if not block.txs or not block.txs[0].is_coinbase:
            return any(tx.base_size == 64 for tx in block.txs)
        check_witness_commitment(block, required=check_witness_root)
    except Reject:
        return True
    return False


def coinbase_height_script(height: int) -> bytes:
    """What a coinbase's script begins with, BIP 34: the height as the shortest push of a script number."""
    if height == 0:
        return b"\x00"
    if height <= 16:
        return bytes((0x50 + height,))
    number = height.to_bytes(height.bit_length() // 8 + 1, "little")
    return bytes((len(number),)) + number
