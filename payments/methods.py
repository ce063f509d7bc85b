"""How a store is paid on chain: what merchants give (address, extended key, descriptor), and the scripts of it.

Also Greenfield's payment method ids. Pure, apart from a cache of parsed descriptors and their next addresses.
"""

import re
from collections.abc import Iterator
from typing import Final

from gldnode.address import address_to_script, script_to_address
from gldnode.bip32 import ExtendedKey
from gldnode.descriptors import Descriptor, parse_descriptors
from gldnode.errors import DecodeError
from gldnode.params import ChainParams
from gldnode.primitives.hashes import sha256
from payments.errors import FieldProblem, ValidationError
from payments.stores import ChainMethod

__all__ = [
    "AddressSource",
    "address_source",
    "chain_method_id",
    "derived_addresses",
    "normalise_method_id",
    "parse_chain_method",
]

_ORIGIN: Final = re.compile(r"\[[0-9a-fA-F]{8}[0-9hH'/]*\]")
_SUFFIX: Final = re.compile(r"(?P<key>[1-9A-HJ-NP-Za-km-z]+)(?:-\[(?P<kind>legacy|p2sh|taproot)\])?")
_SEPARATOR: Final = re.compile(r"[-_]")
_WRAP: Final = {None: "wpkh({})", "legacy": "pkh({})", "p2sh": "sh(wpkh({}))", "taproot": "tr({})"}
MAX_CONFIG: Final = 4096
MAX_SOURCES: Final = 256
LEAST_AHEAD: Final = 8
MOST_AHEAD: Final = 64
"""How many addresses of a descriptor are derived ahead: between these, as many as were last taken at a time."""


def chain_method_id(params: ChainParams) -> str:
    """GLD-CHAIN, or BTC-CHAIN on Bitcoin's own regtest."""
    return f"{params.unit}-CHAIN"


def normalise_method_id(text: str, params: ChainParams, aliases: tuple[str, ...] = ()) -> str:
    """A payment method id in Greenfield's canonical form; `aliases` are coins that mean the chain's own."""
    parts = _SEPARATOR.split(text.strip())
    coin = parts[0].upper()
    if coin in aliases:
        coin = params.unit
    if coin != params.unit or len(parts) > 2:
        return text.strip()
    if len(parts) == 1:
        return f"{coin}-CHAIN"
    kind = parts[1].lower()
    if kind in ("lightninglike", "lightningnetwork", "offchain", "ln"):
        return f"{coin}-LN"
    if kind in ("onchain", "bitcoinlike", "btclike", "chain"):
        return f"{coin}-CHAIN"
    return f"{coin}-LNURL" if kind in ("lnurlpay", "lnurl") else f"{coin}-{parts[1]}"


def parse_chain_method(
    config: str, params: ChainParams, *, enabled: bool = True, label: str = "", account_key_path: str = ""
) -> ChainMethod:
    """What `config` means: a fixed address, an extended public key with Greenfield's suffixes, or a descriptor.

    Raises ValidationError with path `config`.
    """
    text = config.strip()
    if not text or len(text) > MAX_CONFIG:
        raise _invalid("an address, extended public key or descriptor is needed")
    try:
        script = address_to_script(text, params)
    except DecodeError as error:
        address_problem = str(error)
    else:
        return ChainMethod("address", text, config.strip(), label, account_key_path, enabled, script=script)
    descriptor = _receiving(_as_descriptor(text, params, address_problem), params)
    canonical = descriptor.to_text()
    identity = sha256(_ORIGIN.sub("", canonical.partition("#")[0]).encode())
    return ChainMethod(
        "descriptor", canonical, _without_secrets(text, canonical), label, account_key_path, enabled, identity
    )


def _as_descriptor(text: str, params: ChainParams, address_problem: str) -> str:
    match = _SUFFIX.fullmatch(text)
    if match is None:
        return text
    try:
        key = ExtendedKey.parse(match["key"], params)
    except DecodeError as error:
        looks_like_key = match["key"][1:4] in ("pub", "prv")
        raise _invalid(str(error) if looks_like_key else address_problem) from None
    if key.is_private:
        raise _invalid("a private key was given: only the public one belongs here")
    return _WRAP[match["kind"]].format(f"{match['key']}/0/*")


def _receiving(text: str, params: ChainParams) -> Descriptor:
    """The descriptor of receive addresses, public and of one script per index."""
    try:
        branches = parse_descriptors(text, params)
        if any(branch.has_private_keys for branch in branches):
            raise _invalid("the descriptor has private keys: only public ones belong here")
        descriptor = branches[0]
        if not descriptor.is_range:
            raise _invalid("the descriptor has no range (/*): every invoice needs an address of its own")
        if not descriptor.is_single_type or len(descriptor.addresses(0)) != 1:
            raise _invalid("the descriptor does not give one address per index")
    except DecodeError as error:
        raise _invalid(str(error)) from None
    return descriptor


def _without_secrets(text: str, canonical: str) -> str:
    return text if "prv" not in text else canonical


def _invalid(reason: str) -> ValidationError:
    return ValidationError(FieldProblem("config", f"Invalid configuration ({reason})"))


class AddressSource:
    """Derives a descriptor's addresses, some of them ahead of their use.

    Those are for moments in which nothing else is to do. What is prepared may be lost or never used: only what was
    handed out is on record.
    """

    def __init__(self, text: str, params: ChainParams) -> None:
        self._descriptor: Descriptor = parse_descriptors(text, params)[0]
        self._params = params
        self._ahead: dict[int, tuple[bytes, str]] = {}
        self._next = 0
        """The index behind the last one taken."""
        self._taken = 0
        """How many were taken since the last preparation."""
        self._is_undertaken = False

    def derive(self, index: int) -> tuple[bytes, str]:
        """Script and address at `index`."""
        script = self._descriptor.script(index)
        address = script_to_address(script, self._params)
        assert address is not None, "checked when the descriptor was set"
        return script, address

    def take(self, index: int) -> tuple[bytes, str]:
        """The same, for one who is about to hand it out."""
        self._next = index + 1
        self._taken += 1
        return self._ahead.pop(index, None) or self.derive(index)

    def undertake(self) -> bool:
        """True for the first who asks since the last preparation: he sees to the next."""
        first, self._is_undertaken = not self._is_undertaken, True
        return first

    def prepare(self) -> None:
        """Derive the addresses that follow the last one taken."""
        count = max(LEAST_AHEAD, min(self._taken, MOST_AHEAD))
        self._taken, self._is_undertaken = 0, False
        wanted = range(self._next, self._next + count)
        # Others are left over from indexes that went elsewhere.
        self._ahead = {index: self._ahead.get(index) or self.derive(index) for index in wanted}


_sources: dict[str, AddressSource] = {}


def address_source(text: str, params: ChainParams) -> AddressSource:
    """Of a canonical descriptor; kept for the next call."""
    name = f"{params.name} {text}"
    source = _sources.get(name)
    if source is None:
        if len(_sources) >= MAX_SOURCES:
            _sources.clear()
        source = _sources[name] = AddressSource(text, params)
    return source


def derived_addresses(
    method: ChainMethod, offset: int, count: int, params: ChainParams
) -> Iterator[tuple[int, str]]:
    """(index, address) of a descriptor."""
    source = address_source(method.text, params)
    for index in range(offset, offset + count):
        yield index, source.derive(index)[1]
