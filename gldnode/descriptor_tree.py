"""The tree of a descriptor's functions: to text, and at an index to scripts with what spends them."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from embit.base import EmbitError
from embit.descriptor.miniscript import Miniscript

from gldnode.address import script_to_address
from gldnode.crypto.secp256k1 import tweak_pubkey
from gldnode.keyexpr import DerivedKey, DescriptorError, KeyExpr, KeyUse
from gldnode.params import ChainParams
from gldnode.primitives.codec import var_bytes
from gldnode.primitives.hashes import hash160, tagged_hash
from gldnode.script.script import push_data, push_int
from gldnode.script.templates import (
    multisig_script,
    p2pk_script,
    p2pkh_script,
    p2sh_script,
    p2tr_script,
    p2wpkh_script,
    p2wsh_script,
)

__all__ = [
    "MAX_DEPTH",
    "MULTI",
    "Expansion",
    "Node",
    "TaprootTree",
    "compile_miniscript",
    "expand",
    "map_keys",
    "render",
    "split_arguments",
    "tapleaf_hash",
]

MULTI: Final = ("multi", "sortedmulti", "multi_a", "sortedmulti_a")
MAX_DEPTH: Final = 128


@dataclass(frozen=True, slots=True)
class TaprootTree:
    """How a taproot output may be spent."""

    internal_key: bytes
    """32 bytes."""
    merkle_root: bytes
    """Empty where there are no scripts."""
    leaves: tuple[tuple[bytes, tuple[bytes, ...]], ...] = ()
    """Each leaf script (version 0xc0) with its merkle path, lowest first."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """A descriptor at one index."""

    scripts: tuple[bytes, ...]
    """Output scripts: one, for combo() up to four."""
    keys: tuple[DerivedKey, ...] = ()
    inner_scripts: tuple[bytes, ...] = ()
    """Redeem and witness scripts."""
    taproot: TaprootTree | None = None


def tapleaf_hash(script: bytes, version: int = 0xC0) -> bytes:
    return tagged_hash("TapLeaf", bytes((version,)) + var_bytes(script))


@dataclass(frozen=True, slots=True)
class Node:
    """One function of a descriptor; which fields a name uses shows in `expand`."""

    name: str
    keys: tuple[KeyExpr, ...] = ()
    inner: tuple["Node", ...] = ()
    threshold: int = 0
    script: bytes = b""
    template: str = ""
    """Miniscript with `{0}`, `{1}` … in the places of the keys; for tr(), the tree with the leaves' numbers."""

    def all_keys(self) -> Iterator[KeyExpr]:
        yield from self.keys
        for node in self.inner:
            yield from node.all_keys()


def split_arguments(text: str) -> list[str]:
    """`text` cut at the commas that are in no bracket. Raises DescriptorError."""
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        if char in "({":
            depth += 1
        elif char in ")}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
        if depth < 0 or depth > MAX_DEPTH:
            raise DescriptorError("Unbalanced brackets in descriptor")
    if depth:
        raise DescriptorError("Unbalanced brackets in descriptor")
    return [*parts, text[start:]]


def map_keys(node: Node, change: Callable[[KeyExpr], KeyExpr]) -> Node:
    return Node(
        node.name,
        tuple(change(key) for key in node.keys),
        tuple(map_keys(inner, change) for inner in node.inner),
        node.threshold,
        node.script,
        node.template,
    )


# --- text ---


def render(node: Node, key_text: Callable[[KeyExpr], str], params: ChainParams) -> str:
    keys = [key_text(key) for key in node.keys]
    inner = [render(child, key_text, params) for child in node.inner]
    if node.name == "miniscript":
        return node.template.format(*keys)
    if node.name in MULTI:
        return f"{node.name}({node.threshold},{','.join(keys)})"
    if node.name == "addr":
        return f"addr({script_to_address(node.script, params)})"
    if node.name == "raw":
        return f"raw({node.script.hex()})"
    if node.name == "tr" and inner:
        return f"tr({keys[0]},{_render_tree(node.template, inner)})"
    return f"{node.name}({','.join(keys + inner)})"


def _render_tree(template: str, leaves: Sequence[str]) -> str:
    return re.sub(r"[0-9]+", lambda match: leaves[int(match[0])], template)


# --- scripts ---


def _inner_script(node: Node, keys: Sequence[DerivedKey]) -> bytes:
    """The script that a node without wrapper stands for."""
    use = node.keys[0].use if node.keys else KeyUse.SEGWIT
    pubs = [key.xonly if use is KeyUse.TAPROOT else key.pubkey for key in keys]
    match node.name:
        case "pk":
            return p2pk_script(pubs[0])
        case "pkh":
            return p2pkh_script(hash160(pubs[0]))
        case "wpkh":
            return p2wpkh_script(hash160(pubs[0]))
        case "multi" | "sortedmulti":
            ordered = sorted(pubs) if node.name == "sortedmulti" else pubs
            return multisig_script(node.threshold, ordered)
        case "multi_a" | "sortedmulti_a":
            ordered = sorted(pubs) if node.name == "sortedmulti_a" else pubs
            checks = (push_data(pub) + (b"\xba" if at else b"\xac") for at, pub in enumerate(ordered))
            return b"".join(checks) + push_int(node.threshold) + b"\x9c"
        case _:
            return compile_miniscript(node.template.format(*(pub.hex() for pub in pubs)), use)


def compile_miniscript(text: str, use: KeyUse) -> bytes:
    try:
        stream = BytesIO(text.encode())
        script = bytes(Miniscript.read_from(stream, taproot=use is KeyUse.TAPROOT).compile())
        left = stream.read()
    except (EmbitError, ValueError, AssertionError, IndexError, TypeError, AttributeError, RecursionError):
        raise DescriptorError(f"'{text[:80]}' is not a valid descriptor function") from None
    if left:
        raise DescriptorError(f"'{text[:80]}' is not a valid descriptor function")
    return script


def expand(node: Node, index: int) -> Expansion:
    keys = tuple(key.derive(index) for key in node.keys)
    match node.name:
        case "addr" | "raw":
            return Expansion((node.script,))
        case "sh" | "wsh":
            inner = expand(node.inner[0], index)
            (script,) = inner.scripts
            wrapped = p2sh_script(script) if node.name == "sh" else p2wsh_script(script)
            return Expansion((wrapped,), inner.keys, (*inner.inner_scripts, script))
        case "combo":
            pub = keys[0].pubkey
            scripts = [p2pk_script(pub), p2pkh_script(hash160(pub))]
            redeem: tuple[bytes, ...] = ()
            if len(pub) == 33:
                redeem = (p2wpkh_script(hash160(pub)),)
                scripts += [redeem[0], p2sh_script(redeem[0])]
            return Expansion(tuple(scripts), keys, redeem)
        case "rawtr":
            return Expansion((p2tr_script(keys[0].xonly),), keys)
        case "tr":
            return _expand_taproot(node, keys, index)
        case _:
            return Expansion((_inner_script(node, keys),), keys)


def script_at(node: Node, index: int) -> bytes:
    """The first script of `expand`, by a shorter way where a shop makes thousands of them."""
    match node.name:
        case "wpkh":
            return p2wpkh_script(hash160(node.keys[0].pubkey_at(index)))
        case "pkh":
            return p2pkh_script(hash160(node.keys[0].pubkey_at(index)))
        case "sh":
            return p2sh_script(script_at(node.inner[0], index))
        case _:
            return expand(node, index).scripts[0]


def _expand_taproot(node: Node, keys: tuple[DerivedKey, ...], index: int) -> Expansion:
    internal = keys[0].xonly
    leaves: list[bytes] = []
    for leaf in node.inner:
        leaf_keys = tuple(key.derive(index) for key in leaf.keys)
        leaves.append(_inner_script(leaf, leaf_keys))
        keys += leaf_keys
    root = b""
    paths: list[tuple[int, list[bytes]]] = []
    if leaves:
        root, paths = _merkle(node.template, leaves)
    output, _parity = tweak_pubkey(internal, root)
    tree = TaprootTree(internal, root, tuple((leaves[number], tuple(path)) for number, path in paths))
    return Expansion((p2tr_script(output),), keys, (), tree)


def _merkle(template: str, leaves: Sequence[bytes]) -> tuple[bytes, list[tuple[int, list[bytes]]]]:
    """Root of the tree that `template` draws, and each leaf's number with its path."""
    if not template.startswith("{"):
        return tapleaf_hash(leaves[int(template)]), [(int(template), [])]
    left, right = split_arguments(template[1:-1])
    left_hash, left_paths = _merkle(left, leaves)
    right_hash, right_paths = _merkle(right, leaves)
    for _, path in left_paths:
        path.append(right_hash)
    for _, path in right_paths:
        path.append(left_hash)
    low, high = sorted((left_hash, right_hash))
    return tagged_hash("TapBranch", low + high), left_paths + right_paths
