"""From the text of a descriptor to its tree, strictly and with Bitcoin Core's sentences (`ParseScript`)."""

import re
from typing import Final

from gldnode.address import AddressError, address_to_script
from gldnode.descriptor_tree import MAX_DEPTH, MULTI, Node, compile_miniscript, split_arguments
from gldnode.keyexpr import DescriptorError, KeyExpr, KeyUse, parse_key
from gldnode.params import ChainParams

__all__ = ["DescriptorParser"]

_KEY_IN_MINISCRIPT: Final = re.compile(r"[\[\]0-9a-zA-Z/*'<>;]{33,}")
_GENERATOR_X: Final = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
_TOP, _SH, _WSH, _TR = "top", "sh", "wsh", "tr"
_USE: Final = {_TOP: KeyUse.LEGACY, _SH: KeyUse.LEGACY, _WSH: KeyUse.SEGWIT, _TR: KeyUse.TAPROOT}


class DescriptorParser:
    """Descent over the text. Every method gives the branches of multipath steps as a list."""

    def __init__(self, params: ChainParams) -> None:
        self.params = params

    def parse_top(self, text: str) -> list[Node]:
        """The trees of a whole descriptor without checksum. Raises DescriptorError."""
        return self._parse(text, _TOP)

    def _parse(self, text: str, where: str) -> list[Node]:
        name, open_bracket, rest = text.partition("(")
        if open_bracket and rest.endswith(")"):
            arguments = rest[:-1]
            if name in ("pk", "pkh", "combo", "wpkh", "rawtr"):
                return self._key_function(name, arguments, where)
            if name in MULTI:
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

    def _key_function(self, name: str, arguments: str, where: str) -> list[Node]:
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
        return [Node(name, (key,)) for key in self._keys(arguments, use, f"{name}()")]

    def _multi(self, name: str, arguments: str, where: str) -> list[Node]:
        tapscript = name.endswith("_a")
        if tapscript and where != _TR:
            raise DescriptorError("Can only have multi_a/sortedmulti_a inside tr()")
        if not tapscript and where == _TR:
            raise DescriptorError("Can only have multi/sortedmulti at top level, in sh(), or in wsh()")
        first, *texts = split_arguments(arguments)
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
        return [Node(name, keys, threshold=threshold) for keys in branches]

    def _wrapper(self, name: str, arguments: str, where: str) -> list[Node]:
        if name == "sh" and where != _TOP:
            raise DescriptorError("Can only have sh() at top level")
        if name == "wsh" and where not in (_TOP, _SH):
            raise DescriptorError("Can only have wsh() at top level or inside sh()")
        return [Node(name, inner=(inner,)) for inner in self._parse(arguments, name)]

    def _literal(self, name: str, arguments: str, where: str) -> list[Node]:
        if where != _TOP:
            raise DescriptorError(f"Can only have {name}() at top level")
        if name == "addr":
            try:
                return [Node("addr", script=address_to_script(arguments, self.params))]
            except AddressError:
                raise DescriptorError("Address is not valid") from None
        if not re.fullmatch(r"(?:[0-9a-fA-F]{2})+", arguments):
            raise DescriptorError("Raw script is not hex")
        return [Node("raw", script=bytes.fromhex(arguments))]

    def _taproot(self, arguments: str, where: str) -> list[Node]:
        if where != _TOP:
            raise DescriptorError("Can only have tr at top level")
        key_text, *rest = split_arguments(arguments)
        internal = self._keys(key_text, _TR, "tr()")
        if not rest:
            return [Node("tr", (key,)) for key in internal]
        if len(rest) > 1:
            raise DescriptorError(f"tr(): expected ')', got '{rest[1][:1] or ','}'")
        leaves: list[list[Node]] = []
        template = self._tree(rest[0], leaves, 0)
        together: list[list[KeyExpr] | list[Node]] = [internal, *leaves]
        count = max(len(branch) for branch in together)
        if any(len(branch) not in (1, count) for branch in together):
            raise DescriptorError("tr(): Multipath derivation paths have mismatched lengths")
        return [
            Node(
                "tr",
                (internal[branch % len(internal)],),
                tuple(leaf[branch % len(leaf)] for leaf in leaves),
                template=template,
            )
            for branch in range(count)
        ]

    def _tree(self, text: str, leaves: list[list[Node]], depth: int) -> str:
        if depth > MAX_DEPTH:
            raise DescriptorError(f"tr() supports at most {MAX_DEPTH} nesting levels")
        if not text.startswith("{"):
            leaves.append(self._parse(text, _TR))
            return str(len(leaves) - 1)
        halves = split_arguments(text[1:-1]) if text.endswith("}") else []
        if len(halves) != 2:
            raise DescriptorError("tr(): expected '}' after script expression")
        left = self._tree(halves[0], leaves, depth + 1)
        return f"{{{left},{self._tree(halves[1], leaves, depth + 1)}}}"

    def _miniscript(self, text: str, where: str) -> list[Node]:
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
        compile_miniscript(template.format(*[sample] * len(found)), use)  # the structure is checked on any keys
        return [Node("miniscript", keys, template=template) for keys in (_align(groups) if groups else [()])]


def _align(groups: list[list[KeyExpr]]) -> list[tuple[KeyExpr, ...]]:
    """Multipath branches side by side; a key without one stands in each."""
    count = max((len(group) for group in groups), default=1)
    if any(len(group) not in (1, count) for group in groups):
        raise DescriptorError("multi(): Multipath derivation paths have mismatched lengths")
    return [tuple(group[branch % len(group)] for group in groups) for branch in range(count)]
