"""Taproot's trees and scripts: leaf hashes, branches, control blocks, OP_SUCCESS (BIP 341, BIP 342)."""

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from gldnode.crypto.secp256k1 import check_taproot_tweak, tweak_pubkey
from gldnode.primitives.codec import compact_size, var_bytes
from gldnode.primitives.hashes import sha256

__all__ = [
    "ANNEX_TAG",
    "LEAF_MASK",
    "LEAF_VERSION_TAPSCRIPT",
    "OP_SUCCESSES",
    "TapLeaf",
    "TapTree",
    "TaprootOutput",
    "annex_hash",
    "branch_hash",
    "is_control_block_size",
    "leaf_hash",
    "merkle_root_of_path",
    "taproot_output",
    "verify_commitment",
]

LEAF_VERSION_TAPSCRIPT: Final = 0xC0
LEAF_MASK: Final = 0xFE
ANNEX_TAG: Final = 0x50
CONTROL_BASE_SIZE: Final = 33
CONTROL_NODE_SIZE: Final = 32
CONTROL_MAX_NODES: Final = 128
"""Depth of a tree at most."""

_TAPLEAF: Final = hashlib.sha256(sha256(b"TapLeaf") * 2)
_TAPBRANCH: Final = hashlib.sha256(sha256(b"TapBranch") * 2)


OP_SUCCESSES: Final = frozenset(
    (80, 98, *range(126, 130), *range(131, 135), 137, 138, 141, 142, *range(149, 154), *range(187, 255))
)
"""Opcodes that make a tapscript succeed at once: room for later rules."""


def leaf_hash(script: bytes, leaf_version: int = LEAF_VERSION_TAPSCRIPT) -> bytes:
    state = _TAPLEAF.copy()
    state.update(bytes((leaf_version,)) + compact_size(len(script)))
    state.update(script)
    return state.digest()


def branch_hash(a: bytes, b: bytes) -> bytes:
    """The node above two; the order of the two does not matter."""
    state = _TAPBRANCH.copy()
    state.update(a + b if a < b else b + a)
    return state.digest()


def annex_hash(annex: bytes) -> bytes:
    """What signatures commit to: SHA-256 of the annex behind its length."""
    return sha256(var_bytes(annex))


def is_control_block_size(size: int) -> bool:
    nodes, rest = divmod(size - CONTROL_BASE_SIZE, CONTROL_NODE_SIZE)
    return rest == 0 and 0 <= nodes <= CONTROL_MAX_NODES


def merkle_root_of_path(leaf: bytes, control_block: bytes) -> bytes:
    """The root that a leaf hash and the control block's path lead to."""
    node = leaf
    for pos in range(CONTROL_BASE_SIZE, len(control_block), CONTROL_NODE_SIZE):
        node = branch_hash(node, control_block[pos : pos + CONTROL_NODE_SIZE])
    return node


def verify_commitment(control_block: bytes, output_xonly: bytes, leaf: bytes) -> bool:
    """Whether the output key commits to the leaf (Core: VerifyTaprootCommitment)."""
    internal = control_block[1:CONTROL_BASE_SIZE]
    root = merkle_root_of_path(leaf, control_block)
    return check_taproot_tweak(output_xonly, control_block[0] & 1, internal, root)


class TapLeaf(NamedTuple):
    """One script of a tree."""

    script: bytes
    version: int = LEAF_VERSION_TAPSCRIPT


TapTree = TapLeaf | Sequence["TapTree"]
"""A leaf, or two trees."""


class TaprootOutput(NamedTuple):
    """An output key and what it takes to spend it."""

    output_xonly: bytes
    parity: int
    merkle_root: bytes
    """Empty without scripts."""
    leaves: tuple[tuple[TapLeaf, bytes], ...]
    """Each leaf with its control block, from left to right."""


def _collect(tree: TapTree) -> tuple[bytes, list[tuple[TapLeaf, bytes]]]:
    """Hash of the tree, and each leaf with its path."""
    if isinstance(tree, TapLeaf):
        return leaf_hash(tree.script, tree.version), [(tree, b"")]
    left, right = tree
    left_hash, left_leaves = _collect(left)
    right_hash, right_leaves = _collect(right)
    leaves = [(leaf, path + right_hash) for leaf, path in left_leaves]
    leaves += [(leaf, path + left_hash) for leaf, path in right_leaves]
    return branch_hash(left_hash, right_hash), leaves


def taproot_output(internal_xonly: bytes, tree: TapTree | None = None) -> TaprootOutput:
    """The output that this internal key, or a script of `tree`, can spend. Raises InvalidKey."""
    root, paths = _collect(tree) if tree is not None else (b"", [])
    output, parity = tweak_pubkey(internal_xonly, root)
    leaves = tuple((leaf, bytes((leaf.version | parity,)) + internal_xonly + path) for leaf, path in paths)
    return TaprootOutput(output, parity, root, leaves)
