"""Addresses and WIF keys of a network: text on one side, output scripts and secrets on the other.

The errors are Bitcoin Core's own sentences (`DecodeDestination`), with the places of wrong bech32 characters.
"""

from collections.abc import Sequence
from typing import Final

from gldnode.errors import DecodeError
from gldnode.params import ChainParams
from gldnode.primitives.base58 import decode_base58, decode_base58check, encode_base58check
from gldnode.primitives.bech32 import Bech32Error, Encoding, convert_bits, decode_bech32, encode_program
from gldnode.script.script import witness_program
from gldnode.script.templates import p2pkh_script, witness_script

__all__ = [
    "AddressError",
    "address_to_script",
    "encode_wif",
    "is_address",
    "parse_wif",
    "script_to_address",
]

CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class AddressError(DecodeError):
    """Not an address of this network; `locations` are Core's `error_locations`."""

    def __init__(self, message: str, locations: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.locations = tuple(locations)


def script_to_address(script: bytes, params: ChainParams) -> str | None:
    """The address that pays to `script`; None where it has none (bare keys, multisig, OP_RETURN, anything odd)."""
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return encode_base58check(bytes((params.p2pkh_version,)) + script[3:23])
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        return encode_base58check(bytes((params.p2sh_version,)) + script[2:22])
    found = witness_program(script)
    if found is None or (found[0] == 0 and len(found[1]) not in (20, 32)):
        return None
    version, program = found
    encoding = Encoding.BECH32M if version else Encoding.BECH32
    return encode_program(params.bech32_hrp, version, program, encoding)


def address_to_script(text: str, params: ChainParams) -> bytes:
    """The output script that `text` pays to on this network. Raises AddressError."""
    if text[: len(params.bech32_hrp)].lower() == params.bech32_hrp:
        return _segwit_script(text, params)
    try:
        payload = decode_base58check(text, 21)
    except DecodeError:
        raise AddressError(_base58_fault(text)) from None
    if len(payload) == 21 and payload[0] == params.p2pkh_version:
        return p2pkh_script(payload[1:])
    if len(payload) == 21 and payload[0] == params.p2sh_version:
        return b"\xa9\x14" + payload[1:] + b"\x87"
    if payload[:1] and payload[0] in (params.p2pkh_version, params.p2sh_version):
        raise AddressError("Invalid length for Base58 address (P2PKH or P2SH)")
    raise AddressError("Invalid or unsupported Base58-encoded address.")


def _base58_fault(text: str) -> str:
    try:
        decode_base58(text, 100)
    except DecodeError:
        return "Invalid or unsupported Segwit (Bech32) or Base58 encoding."
    return "Invalid checksum or length for Base58 address (P2PKH or P2SH)"


def _segwit_script(text: str, params: ChainParams) -> bytes:
    try:
        hrp, values, encoding = decode_bech32(text)
    except Bech32Error as error:
        raise AddressError(str(error), error.locations) from None
    if not values:
        raise AddressError("Empty Bech32 data section")
    if hrp != params.bech32_hrp:
        raise AddressError(
            f"Invalid or unsupported prefix for Segwit (Bech32) address (expected {params.bech32_hrp}, got {hrp})."
        )
    version = values[0]
    if version == 0 and encoding is not Encoding.BECH32:
        raise AddressError("Version 0 witness address must use Bech32 checksum")
    if version != 0 and encoding is not Encoding.BECH32M:
        raise AddressError("Version 1+ witness address must use Bech32m checksum")
    try:
        program = bytes(convert_bits(values[1:], 5, 8, pad=False))
    except DecodeError as error:
        raise AddressError(str(error)) from None
    size = f"{len(program)} {'byte' if len(program) == 1 else 'bytes'}"
    if version == 0 and len(program) not in (20, 32):
        raise AddressError(f"Invalid Bech32 v0 address program size ({size}), per BIP141")
    if version > 16:
        raise AddressError("Invalid Bech32 address witness version")
    if not 2 <= len(program) <= 40:
        raise AddressError(f"Invalid Bech32 address program size ({size})")
    return witness_script(version, program)


def is_address(text: str, params: ChainParams) -> bool:
    """Whether `text` is an address of this network."""
    try:
        address_to_script(text, params)
    except AddressError:
        return False
    return True


def parse_wif(text: str, params: ChainParams) -> tuple[bytes, bool]:
    """The 32-byte secret of a WIF key and whether its public key is compressed. Raises DecodeError."""
    try:
        payload = decode_base58check(text, 34)
    except DecodeError:
        raise DecodeError("Invalid private key encoding") from None
    compressed = len(payload) == 34 and payload[33] == 1
    if not payload or payload[0] != params.wif_version or not (compressed or len(payload) == 33):
        raise DecodeError("Invalid private key encoding")
    secret = payload[1:33]
    if not 0 < int.from_bytes(secret, "big") < CURVE_ORDER:
        raise DecodeError("Private key outside allowed range")
    return secret, compressed


def encode_wif(secret: bytes, params: ChainParams, *, compressed: bool = True) -> str:
    """The text form of a 32-byte secret."""
    return encode_base58check(bytes((params.wif_version,)) + secret + (b"\x01" if compressed else b""))
