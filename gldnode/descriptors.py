"""Output descriptors, BIP 380 to 386 and 389: text to scripts, with the keys and scripts needed to spend them.

Parsing is strict and ours, with Bitcoin Core's sentences; keys derive through `bip32`, and what is a miniscript
inside wsh() or a tapleaf is compiled by embit with every key already in its place.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from embit.base import EmbitError
from embit.descriptor.miniscript import Miniscript

from gldnode.address import (
    AddressError,
    address_to_script,
    p2pkh_script,
    p2sh_script,
    p2tr_script,
    p2wpkh_script,
    p2wsh_script,
    script_to_address,
)
from gldnode.crypto.secp256k1 import tweak_pubkey
from gldnode.errors import DecodeError
from gldnode.keyexpr import DerivedKey, DescriptorError, KeyExpr, KeyUse, parse_key
from gldnode.params import ChainParams
from gldnode.primitives.codec import var_bytes
from gldnode.primitives.hashes import hash160, tagged_hash

__all__ = [
    "DerivedKey",
    "Descriptor",
    "DescriptorError",
    "Expansion",
    "TaprootTree",
    "add_checksum",
    "descriptor_checksum",
    "infer_descriptor",
    "parse_descriptor",
    "parse_descriptors",
    "tapleaf_hash",
]

_INPUT: Final = "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
_INPUT_AT: Final = {char: position for position, char in enumerate(_INPUT)}
_OUTPUT: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)
_KEY_IN_MINISCRIPT: Final = re.compile(r"[\[\]0-9a-zA-Z/*'<>;]{33,}")
_MAX_DEPTH: Final = 128
_GENERATOR_X: Final = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


def descriptor_checksum(payload: str) -> str:
    """The eight characters behind `#`, BIP 380. Raises DescriptorError."""
    check, group, count = 1, 0, 0
    symbols: list[int] = []
    for char in payload:
        position = _INPUT_AT.get(char)
        if position is None:
            raise DescriptorError("Invalid characters in payload")
        symbols.append(position & 31)
        group = group * 3 + (position >> 5)
        count += 1
        if count == 3:
            symbols.append(group)
            group = count = 0
    if count:
        symbols.append(group)
    for symbol in (*symbols, *bytes(8)):
        top = check >> 35
        check = (check & 0x7FFFFFFFF) << 5 ^ symbol
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    check ^= 1
    return "".join(_OUTPUT[check >> 5 * (7 - i) & 31] for i in range(8))


def add_checksum(payload: str) -> str:
    return f"{payload}#{descriptor_checksum(payload)}"


def _check_checksum(text: str, required: bool) -> str:
    """The payload of `text`, with its checksum verified where there is one."""
    payload, *rest = text.split("#")
    if len(rest) > 1:
        raise DescriptorError("Multiple '#' symbols")
    if not rest and required:
        raise DescriptorError("Missing checksum")
    if rest and len(rest[0]) != 8:
        raise DescriptorError(f"Expected 8 character checksum, not {len(rest[0])} characters")
    checksum = descriptor_checksum(payload)
    if rest and rest[0] != checksum:
        raise DescriptorError(f"Provided checksum '{rest[0]}' does not match computed checksum '{checksum}'")
    return payload


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
class _Node:
    """One function of a descriptor; what a name uses of the fields is in `_PARSERS`."""

    name: str
    keys: tuple[KeyExpr, ...] = ()
    inner: tuple["_Node", ...] = ()
    threshold: int = 0
    script: bytes = b""
    template: str = ""
    """Miniscript with `{0}`, `{1}` … in the places of the keys; for tr(), the tree with the leaves' numbers."""

    def all_keys(self) -> Iterator[KeyExpr]:
        yield from self.keys
        for node in self.inner:
            yield from node.all_keys()


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A parsed descriptor of one network."""

    root: _Node
    params: ChainParams

    @property
    def is_range(self) -> bool:
        return any(key.is_range for key in self.root.all_keys())

    @property
    def has_private_keys(self) -> bool:
        return any(key.is_private for key in self.root.all_keys())

    @property
    def has_all_private_keys(self) -> bool:
        keys = list(self.root.all_keys())
        return bool(keys) and all(key.is_private for key in keys)

    @property
    def is_solvable(self) -> bool:
        """Whether it tells more than the script itself (Core: IsSolvable)."""
        return self.root.name not in ("addr", "raw")

    @property
    def is_single_type(self) -> bool:
        return self.root.name not in ("combo", "addr", "raw")

    @property
    def output_type(self) -> str | None:
        """legacy, p2sh-segwit, bech32 or bech32m; None where addresses have none of these types."""
        name = self.root.name
        if name == "sh":
            return "p2sh-segwit" if self.root.inner[0].name in ("wpkh", "wsh") else "legacy"
        return {"pkh": "legacy", "wpkh": "bech32", "wsh": "bech32", "tr": "bech32m", "rawtr": "bech32m"}.get(name)

    @property
    def key_expressions(self) -> list[KeyExpr]:
        return list(self.root.all_keys())

    def to_text(self, *, private: bool = False) -> str:
        """With checksum; private keys only when asked for."""
        return add_checksum(_render(self.root, lambda key: key.to_text(self.params, private=private), self.params))

    def normalized(self) -> "Descriptor":
        """Public, with hardened steps moved into the origins: what can be kept without the secrets."""
        return Descriptor(_map_keys(self.root, KeyExpr.normalized), self.params)

    def to_public(self) -> "Descriptor":
        return Descriptor(_map_keys(self.root, KeyExpr.to_public), self.params)

    def expand(self, index: int = 0) -> Expansion:
        """Scripts and keys at `index`. Raises DescriptorError where a private key is missing."""
        return _expand(self.root, index)

    def addresses(self, index: int = 0) -> list[str]:
        found = (script_to_address(script, self.params) for script in self.expand(index).scripts)
        return [address for address in found if address is not None]


def _map_keys(node: _Node, change: Callable[[KeyExpr], KeyExpr]) -> _Node:
    return _Node(
        node.name,
        tuple(change(key) for key in node.keys),
        tuple(_map_keys(inner, change) for inner in node.inner),
        node.threshold,
        node.script,
        node.template,
    )


# --- text ---


def _render(node: _Node, key_text: Callable[[KeyExpr], str], params: ChainParams) -> str:
    keys = [key_text(key) for key in node.keys]
    inner = [_render(child, key_text, params) for child in node.inner]
    if node.name == "miniscript":
        return node.template.format(*keys)
    if node.name in _MULTI:
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


def _push_number(number: int) -> bytes:
    if number == 0:
        return b"\x00"
    if number <= 16:
        return bytes((0x50 + number,))
    data = number.to_bytes((number.bit_length() + 8) // 8, "little")
    return bytes((len(data),)) + data


def _push(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _inner_script(node: _Node, keys: Sequence[DerivedKey]) -> bytes:
    """The script that a node without wrapper stands for."""
    use = node.keys[0].use if node.keys else KeyUse.SEGWIT
    pubs = [key.xonly if use is KeyUse.TAPROOT else key.pubkey for key in keys]
    match node.name:
        case "pk":
            return _push(pubs[0]) + b"\xac"
        case "pkh":
            return p2pkh_script(hash160(pubs[0]))
        case "wpkh":
            return p2wpkh_script(pubs[0])
        case "multi" | "sortedmulti":
            ordered = sorted(pubs) if node.name == "sortedmulti" else pubs
            body = b"".join(map(_push, ordered))
            return _push_number(node.threshold) + body + _push_number(len(pubs)) + b"\xae"
        case "multi_a" | "sortedmulti_a":
            ordered = sorted(pubs) if node.name == "sortedmulti_a" else pubs
            body = b"".join(
                _push(pub) + (b"\xba" if position else b"\xac") for position, pub in enumerate(ordered)
            )
            return body + _push_number(node.threshold) + b"\x9c"
        case _:
            return _compile_miniscript(node.template.format(*(pub.hex() for pub in pubs)), use)


def _compile_miniscript(text: str, use: KeyUse) -> bytes:
    try:
        stream = BytesIO(text.encode())
        script = bytes(Miniscript.read_from(stream, taproot=use is KeyUse.TAPROOT).compile())
        left = stream.read()
    except (EmbitError, ValueError, AssertionError, IndexError, TypeError, AttributeError, RecursionError):
        raise DescriptorError(f"'{text[:80]}' is not a valid descriptor function") from None
    if left:
        raise DescriptorError(f"'{text[:80]}' is not a valid descriptor function")
    return script


def _expand(node: _Node, index: int) -> Expansion:
    keys = tuple(key.derive(index) for key in node.keys)
    match node.name:
        case "addr" | "raw":
            return Expansion((node.script,))
        case "sh" | "wsh":
            inner = _expand(node.inner[0], index)
            (script,) = inner.scripts
            wrapped = p2sh_script(hash160(script)) if node.name == "sh" else p2wsh_script(script)
            return Expansion((wrapped,), inner.keys, (*inner.inner_scripts, script))
        case "combo":
            pub = keys[0].pubkey
            scripts = [_push(pub) + b"\xac", p2pkh_script(hash160(pub))]
            redeem: tuple[bytes, ...] = ()
            if len(pub) == 33:
                redeem = (p2wpkh_script(pub),)
                scripts += [redeem[0], p2sh_script(hash160(redeem[0]))]
            return Expansion(tuple(scripts), keys, redeem)
        case "rawtr":
            return Expansion((p2tr_script(keys[0].xonly),), keys)
        case "tr":
            return _expand_taproot(node, keys, index)
        case _:
            return Expansion((_inner_script(node, keys),), keys)


def _expand_taproot(node: _Node, keys: tuple[DerivedKey, ...], index: int) -> Expansion:
    internal = keys[0].xonly
    leaves: list[bytes] = []
    for leaf in node.inner:
        leaf_keys = tuple(key.derive(index) for key in leaf.keys)
        leaves.append(_inner_script(leaf, leaf_keys))
        keys += leaf_keys
    root, paths = b"", []
    if leaves:
        root, paths = _merkle(node.template, leaves)
    output, _parity = tweak_pubkey(internal, root)
    tree = TaprootTree(internal, root, tuple((leaves[number], tuple(path)) for number, path in paths))
    return Expansion((p2tr_script(output),), keys, (), tree)


def _merkle(template: str, leaves: Sequence[bytes]) -> tuple[bytes, list[tuple[int, list[bytes]]]]:
    """Root of the tree that `template` draws, and each leaf's number with its path."""
    if not template.startswith("{"):
        return tapleaf_hash(leaves[int(template)]), [(int(template), [])]
    left, right = _split(template[1:-1])
    left_hash, left_paths = _merkle(left, leaves)
    right_hash, right_paths = _merkle(right, leaves)
    for _, path in left_paths:
        path.append(right_hash)
    for _, path in right_paths:
        path.append(left_hash)
    low, high = sorted((left_hash, right_hash))
    return tagged_hash("TapBranch", low + high), left_paths + right_paths


# --- parsing ---

_MULTI: Final = ("multi", "sortedmulti", "multi_a", "sortedmulti_a")
_TOP, _SH, _WSH, _TR = "top", "sh", "wsh", "tr"
_USE: Final = {_TOP: KeyUse.LEGACY, _SH: KeyUse.LEGACY, _WSH: KeyUse.SEGWIT, _TR: KeyUse.TAPROOT}


def _split(text: str) -> list[str]:
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
        if depth < 0 or depth > _MAX_DEPTH:
            raise DescriptorError("Unbalanced brackets in descriptor")
    if depth:
        raise DescriptorError("Unbalanced brackets in descriptor")
    return [*parts, text[start:]]


def parse_descriptors(text: str, params: ChainParams, *, require_checksum: bool = False) -> list[Descriptor]:
    """One descriptor, or one per branch of multipath steps (BIP 389). Raises DescriptorError with Core's text."""
    payload = _check_checksum(text, require_checksum)
    branches = _Parser(params).parse(payload, _TOP)
    return [Descriptor(node, params) for node in branches]


def parse_descriptor(text: str, params: ChainParams, *, require_checksum: bool = False) -> Descriptor:
    """As `parse_descriptors` where several make no sense."""
    found = parse_descriptors(text, params, require_checksum=require_checksum)
    if len(found) != 1:
        raise DescriptorError("Descriptor with multipath derivation path specifiers are not allowed")
    return found[0]


class _Parser:
    """Descent over the text. Every method gives the branches of multipath steps as a list."""

    def __init__(self, params: ChainParams) -> None:
        self.params = params

    def parse(self, text: str, where: str) -> list[_Node]:
        name, open_bracket, rest = text.partition("(")
        if open_bracket and rest.endswith(")"):
            arguments = rest[:-1]
            if name in ("pk", "pkh", "combo", "wpkh", "rawtr"):
                return self._key_function(name, arguments, where)
            if name in _MULTI:
                return self._multi(name, arguments, where)
            if name in ("sh", "wsh"):
                return self._wrapper(name, arguments, where)
            if name == "tr":
                return self._taproot(arguments, where)
            if name in ("addr", "raw"):
                return self._literal(name, arguments, where)
        if where in (_WSH, _TR) and open_bracket:
            return self._miniscript(text, where)
        if where == _SH:
            raise DescriptorError("A function is needed within P2SH")
        if where == _WSH:
            raise DescriptorError("A function is needed within P2WSH")
        raise DescriptorError(f"'{text[:80]}' is not a valid descriptor function")

    def _keys(self, text: str, where: str, name: str) -> list[KeyExpr]:
        try:
            return parse_key(text, _USE[where], self.params)
        except DescriptorError as error:
            raise DescriptorError(f"{name}: {error}") from None

    def _key_function(self, name: str, arguments: str, where: str) -> list[_Node]:
        use = where
        if name == "combo" and where != _TOP:
            raise DescriptorError("Can only have combo() at top level")
        if name == "wpkh":
            if where not in (_TOP, _SH):
                raise DescriptorError("Can only have wpkh() at top level or inside sh()")
            use = _WSH
        if name == "rawtr":
            if where != _TOP:
                raise DescriptorError("Can only have rawtr at top level")
            use = _TR
        if name == "pkh" and where == _TR:
            return self._miniscript(f"pkh({arguments})", where)
        return [_Node(name, (key,)) for key in self._keys(arguments, use, f"{name}()")]

    def _multi(self, name: str, arguments: str, where: str) -> list[_Node]:
        tapscript = name.endswith("_a")
        if tapscript and where != _TR:
            raise DescriptorError("Can only have multi_a/sortedmulti_a inside tr()")
        if not tapscript and where == _TR:
            raise DescriptorError("Can only have multi/sortedmulti at top level, in sh(), or in wsh()")
        first, *texts = _split(arguments)
        if not re.fullmatch(r"[0-9]{1,9}", first):
            raise DescriptorError(f"Multi threshold '{first}' is not valid")
        threshold = int(first)
        branches = _align([self._keys(text, where, "Multi") for text in texts])
        limit = 999 if tapscript else 20
        count = len(texts)
        if not 1 <= count <= limit:
            raise DescriptorError(
                f"Cannot have {count} keys in multi{'_a' if tapscript else ''}; "
                f"must have between 1 and {limit} keys, inclusive"
            )
        if threshold < 1:
            raise DescriptorError(f"Multisig threshold cannot be {threshold}, must be at least 1")
        if threshold > count:
            raise DescriptorError(
                "Multisig threshold cannot be larger than the number of keys; "
                f"threshold is {threshold} but only {count} keys specified"
            )
        if where == _TOP and count > 3:
            raise DescriptorError(f"Cannot have {count} pubkeys in bare multisig; only at most 3 pubkeys")
        if where == _SH:
            size = 3 + sum(1 + (len(keys[0].pubkey) or 33) for keys in zip(*branches, strict=True))
            if size > 520:
                raise DescriptorError(f"P2SH script is too large, {size} bytes is larger than 520 bytes")
        return [_Node(name, keys, threshold=threshold) for keys in branches]

    def _wrapper(self, name: str, arguments: str, where: str) -> list[_Node]:
        if name == "sh" and where != _TOP:
            raise DescriptorError("Can only have sh() at top level")
        if name == "wsh" and where not in (_TOP, _SH):
            raise DescriptorError("Can only have wsh() at top level or inside sh()")
        return [_Node(name, inner=(inner,)) for inner in self.parse(arguments, name)]

    def _literal(self, name: str, arguments: str, where: str) -> list[_Node]:
        if where != _TOP:
            raise DescriptorError(f"Can only have {name}() at top level")
        if name == "addr":
            try:
                return [_Node("addr", script=address_to_script(arguments, self.params))]
            except AddressError:
                raise DescriptorError("Address is not valid") from None
        if not re.fullmatch(r"(?:[0-9a-fA-F]{2})+", arguments):
            raise DescriptorError("Raw script is not hex")
        return [_Node("raw", script=bytes.fromhex(arguments))]

    def _taproot(self, arguments: str, where: str) -> list[_Node]:
        if where != _TOP:
            raise DescriptorError("Can only have tr at top level")
        key_text, *rest = _split(arguments)
        internal = self._keys(key_text, _TR, "tr()")
        if not rest:
            return [_Node("tr", (key,)) for key in internal]
        if len(rest) > 1:
            raise DescriptorError(f"tr(): expected ')', got '{rest[1][:1] or ','}'")
        leaves: list[list[_Node]] = []
        template = self._tree(rest[0], leaves, 0)
        together: list[list[KeyExpr] | list[_Node]] = [internal, *leaves]
        count = max(len(branch) for branch in together)
        if any(len(branch) not in (1, count) for branch in together):
            raise DescriptorError("tr(): Multipath derivation paths have mismatched lengths")
        return [
            _Node(
                "tr",
                (internal[branch % len(internal)],),
                tuple(leaf[branch % len(leaf)] for leaf in leaves),
                template=template,
            )
            for branch in range(count)
        ]

    def _tree(self, text: str, leaves: list[list[_Node]], depth: int) -> str:
        if depth > _MAX_DEPTH:
            raise DescriptorError(f"tr() supports at most {_MAX_DEPTH} nesting levels")
        if not text.startswith("{"):
            leaves.append(self.parse(text, _TR))
            return str(len(leaves) - 1)
        halves = _split(text[1:-1]) if text.endswith("}") else []
        if len(halves) != 2:
            raise DescriptorError("tr(): expected '}' after script expression")
        left = self._tree(halves[0], leaves, depth + 1)
        return f"{{{left},{self._tree(halves[1], leaves, depth + 1)}}}"

    def _miniscript(self, text: str, where: str) -> list[_Node]:
        if "{" in text or "}" in text:
            raise DescriptorError(f"'{text[:80]}' is not a valid descriptor function")
        groups: list[list[KeyExpr]] = []
        found: list[str] = []

        def place(match: re.Match[str]) -> str:
            before = text[: match.start()]
            if before.endswith(("sha256(", "hash256(", "ripemd160(", "hash160(")):
                return match[0]
            found.append(match[0])
            return f"{{{len(found) - 1}}}"

        template = _KEY_IN_MINISCRIPT.sub(place, text)
        for key_text in found:
            groups.append(self._keys(key_text, where, "miniscript"))
        use = KeyUse.TAPROOT if where == _TR else KeyUse.SEGWIT
        sample = _GENERATOR_X if use is KeyUse.TAPROOT else "02" + _GENERATOR_X
        _compile_miniscript(template.format(*[sample] * len(found)), use)  # the structure is checked on any keys
        return [_Node("miniscript", keys, template=template) for keys in (_align(groups) if groups else [()])]


def _align(groups: list[list[KeyExpr]]) -> list[tuple[KeyExpr, ...]]:
    """Multipath branches side by side; a key without one stands in each."""
    count = max((len(group) for group in groups), default=1)
    if any(len(group) not in (1, count) for group in groups):
        raise DescriptorError("multi(): Multipath derivation paths have mismatched lengths")
    return [tuple(group[branch % len(group)] for group in groups) for branch in range(count)]


def infer_descriptor(script: bytes, params: ChainParams) -> str:
    """What can be said of an output script alone (Core: InferDescriptor without keys), with checksum."""
    if len(script) in (35, 67) and script[0] == len(script) - 2 and script[-1] == 0xAC:
        try:
            return parse_descriptor(f"pk({script[1:-1].hex()})", params).to_text()
        except DecodeError:
            return add_checksum(f"raw({script.hex()})")
    if len(script) == 34 and script[:2] == b"\x51\x20":
        try:
            return parse_descriptor(f"rawtr({script[2:].hex()})", params).to_text()
        except DecodeError:
            pass
    address = script_to_address(script, params)
    return add_checksum(f"addr({address})" if address is not None else f"raw({script.hex()})")
