"""Merkle roots of transactions and witnesses, and the witness commitment (BIP 141)."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from gldnode.primitives.block import Block
from gldnode.primitives.hashes import ZERO_HASH, sha256d

__all__ = [
    "WITNESS_COMMITMENT_HEADER",
    "block_merkle_root",
    "merkle_branch",
    "merkle_root",
    "root_of_branch",
    "witness_commitment",
    "witness_commitment_index",
    "witness_merkle_root",
]

WITNESS_COMMITMENT_HEADER: Final = bytes.fromhex("6a24aa21a9ed")
MIN_WITNESS_COMMITMENT: Final = 38


def merkle_root(hashes: Sequence[bytes]) -> tuple[bytes, bool]:
    """The root, and whether two equal neighbours were hashed together at some level.

    An odd level repeats its last hash, so another list of transactions with the tail repeated has the same root
    (CVE-2012-2459): such a list is called mutated.
    """
    if not hashes:
        return ZERO_HASH, False
    level = list(hashes)
    mutated = False
    while len(level) > 1:
        for left in range(0, len(level) - 1, 2):
            if level[left] == level[left + 1]:
                mutated = True
        if len(level) & 1:
            level.append(level[-1])
        level = [sha256(sha256(level[i] + level[i + 1]).digest()).digest() for i in range(0, len(level), 2)]
    return level[0], mutated


def block_merkle_root(block: Block) -> tuple[bytes, bool]:
    """The root of the txids, and whether the list is mutated."""
    return merkle_root([tx.txid for tx in block.txs])


def witness_merkle_root(block: Block) -> bytes:
    """The root of the wtxids, with zeros for the coinbase's (BIP 141)."""
    return merkle_root([ZERO_HASH, *(tx.wtxid for tx in block.txs[1:])])[0]


def witness_commitment_index(block: Block) -> int | None:
    """Which coinbase output commits to the witnesses: the last one that looks like it."""
    if not block.txs:
        return None
    found = None
    for index, output in enumerate(block.txs[0].outputs):
        script = output.script_pubkey
        if len(script) >= MIN_WITNESS_COMMITMENT and script.startswith(WITNESS_COMMITMENT_HEADER):
            found = index
    return found


def witness_commitment(block: Block, reserved: bytes) -> bytes:
    """What the commitment output must hold, for the coinbase's witness reserved value."""
    return sha256d(witness_merkle_root(block) + reserved)


def merkle_branch(hashes: Sequence[bytes], position: int) -> list[bytes]:
    """The hashes that lead from the leaf at `position` to the root."""
    branch = []
    level = list(hashes)
    while len(level) > 1:
        if len(level) & 1:
            level.append(level[-1])
        branch.append(level[position ^ 1])
        level = [sha256d(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
        position >>= 1
    return branch


def root_of_branch(leaf: bytes, branch: Sequence[bytes], position: int) -> bytes:
    """The root that `branch` proves for `leaf` at `position`."""
    for other in branch:
        leaf = sha256d(other + leaf) if position & 1 else sha256d(leaf + other)
        position >>= 1
    return leaf
