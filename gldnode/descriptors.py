"""Output descriptors, BIP 380 to 386 and 389: text to scripts, with the keys and scripts needed to spend them.

Parsing is strict and ours, with Bitcoin Core's sentences; keys derive through `bip32`, and what is a miniscript
inside wsh() or a tapleaf is compiled by embit with every key already in its place.
"""

from dataclasses import dataclass
from typing import Final

from gldnode.address import script_to_address
from gldnode.descriptor_parser import DescriptorParser
from gldnode.descriptor_tree import Expansion, Node, TaprootTree, expand, map_keys, render, script_at, tapleaf_hash
from gldnode.errors import DecodeError
from gldnode.keyexpr import DerivedKey, DescriptorError, KeyExpr
from gldnode.params import ChainParams
from gldnode.script.templates import ScriptKind, solve

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
class Descriptor:
    """A parsed descriptor of one network."""

    root: Node
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
        return add_checksum(render(self.root, lambda key: key.to_text(self.params, private=private), self.params))

    def normalized(self) -> "Descriptor":
        """Public, with hardened steps moved into the origins: what can be kept without the secrets."""
        return Descriptor(map_keys(self.root, KeyExpr.normalized), self.params)

    def to_public(self) -> "Descriptor":
        return Descriptor(map_keys(self.root, KeyExpr.to_public), self.params)

    def expand(self, index: int = 0) -> Expansion:
        """Scripts and keys at `index`. Raises DescriptorError where a private key is missing."""
        return expand(self.root, index)

    def script(self, index: int = 0) -> bytes:
        """The first script at `index`. Raises DescriptorError where a private key is missing."""
        return script_at(self.root, index)

    def at(self, index: int) -> "Descriptor":
        """The descriptor of this index alone, its keys derived and with their origins (Core: InferDescriptor)."""
        return Descriptor(map_keys(self.root, lambda key: key.at(index)), self.params)

    def addresses(self, index: int = 0) -> list[str]:
        found = (script_to_address(script, self.params) for script in self.expand(index).scripts)
        return [address for address in found if address is not None]


def parse_descriptors(text: str, params: ChainParams, *, require_checksum: bool = False) -> list[Descriptor]:
    """One descriptor, or one per branch of multipath steps (BIP 389). Raises DescriptorError with Core's text."""
    payload = _check_checksum(text, require_checksum)
    branches = DescriptorParser(params).parse_top(payload)
    return [Descriptor(node, params) for node in branches]


def parse_descriptor(text: str, params: ChainParams, *, require_checksum: bool = False) -> Descriptor:
    """As `parse_descriptors` where several make no sense."""
    found = parse_descriptors(text, params, require_checksum=require_checksum)
    if len(found) != 1:
        raise DescriptorError("Descriptor with multipath derivation path specifiers are not allowed")
    return found[0]


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
    kind, data = solve(script)
    if kind is ScriptKind.MULTISIG and all(key[0] in (2, 3, 4) for key in data[1:-1]):
        keys = ",".join(key.hex() for key in data[1:-1])
        return add_checksum(f"multi({data[0][0]},{keys})")
    address = script_to_address(script, params)
    return add_checksum(f"addr({address})" if address is not None else f"raw({script.hex()})")
