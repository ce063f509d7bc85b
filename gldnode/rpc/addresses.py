"""Addresses, keys and descriptors without a wallet: validating, deriving, signing messages."""

from typing import Any, Final

from gldnode.address import AddressError, address_to_script, parse_wif, script_to_address
from gldnode.crypto.secp256k1 import is_valid_pubkey
from gldnode.descriptors import (
    Descriptor,
    DescriptorError,
    add_checksum,
    descriptor_checksum,
    parse_descriptors,
)
from gldnode.errors import DecodeError
from gldnode.messages import MessageFault, sign_message, verify_message
from gldnode.params import ChainParams
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import json_type
from gldnode.rpc.params import Kind, Param, arr, integer_value, num, text
from gldnode.rpc.registry import MethodGroup
from gldnode.script.script import is_p2sh, witness_program
from gldnode.script.templates import multisig_script, p2sh_script, p2wsh_script

__all__ = ["destination_json", "methods", "range_value"]

methods = MethodGroup("Util")

_MAX_RANGE: Final = 1_000_000


def destination_json(script: bytes) -> dict[str, Any]:
    """What can be told of an address by its script (Core: DescribeAddress)."""
    program = witness_program(script)
    if program is None:
        return {"isscript": is_p2sh(script), "iswitness": False}
    version, data = program
    out: dict[str, Any] = {}
    if version == 0 or (version == 1 and len(data) in (2, 32)):
        out["isscript"] = len(data) != 20
    out["iswitness"] = True
    out["witness_version"] = version
    out["witness_program"] = data.hex()
    return out


@methods.method(
    "validateaddress",
    "Return information about the given address.",
    params=[text("address", "The address to validate", required=True)],
    returns='{"isvalid":true|false,"address":"str","scriptPubKey":"hex","isscript":true|false,...}',
    examples=['"address"'],
)
async def validateaddress(ctx: RpcContext, address: str) -> dict[str, Any]:
    params = ctx.node.params
    try:
        script = address_to_script(address, params)
    except AddressError as error:
        return {"isvalid": False, "error_locations": list(error.locations), "error": str(error)}
    return {
        "isvalid": True,
        "address": script_to_address(script, params),
        "scriptPubKey": script.hex(),
        **destination_json(script),
    }


def _parse(value: str, params: ChainParams, *, require_checksum: bool) -> list[Descriptor]:
    try:
        return parse_descriptors(value, params, require_checksum=require_checksum)
    except DescriptorError as error:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, str(error)) from None


@methods.method(
    "getdescriptorinfo",
    "Analyses a descriptor.",
    params=[text("descriptor", "The descriptor.", required=True)],
    returns='{"descriptor":"str","checksum":"str","isrange":true|false,"issolvable":true|false,...}',
    examples=['"wpkh([d34db33f/84h/0h/0h]0279be667ef9dcbbac55a06295Ce870b07029Bfcdb2dce28d959f2815b16f81798)"'],
)
async def getdescriptorinfo(ctx: RpcContext, descriptor: str) -> dict[str, Any]:
    branches = _parse(descriptor, ctx.node.params, require_checksum=False)
    first = branches[0]
    out: dict[str, Any] = {"descriptor": first.to_text()}
    if len(branches) > 1:
        out["multipath_expansion"] = [branch.to_text() for branch in branches]
    out["checksum"] = descriptor_checksum(descriptor.split("#")[0])
    out["isrange"] = first.is_range
    out["issolvable"] = first.is_solvable
    out["hasprivatekeys"] = first.has_private_keys
    return out


def range_value(value: Any) -> tuple[int, int]:
    """First and last index of a range argument (Core: ParseDescriptorRange). Raises RpcError."""
    if json_type(value) == "number":
        low, high = 0, integer_value(value)
    elif isinstance(value, list) and len(value) == 2 and all(json_type(item) == "number" for item in value):
        low, high = integer_value(value[0]), integer_value(value[1])
        if low > high:
            raise RpcError(
                RpcCode.INVALID_PARAMETER, "Range specified as [begin,end] must not have begin after end"
            )
    else:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Range must be specified as end or as [begin,end]")
    if low < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Range should be greater or equal than 0")
    if high >> 31:
        raise RpcError(RpcCode.INVALID_PARAMETER, "End of range is too high")
    if high >= low + _MAX_RANGE:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Range is too large")
    return low, high


@methods.method(
    "deriveaddresses",
    "Derives one or more addresses corresponding to an output descriptor.",
    params=[
        text("descriptor", "The descriptor.", required=True),
        Param(
            "range",
            Kind.RANGE,
            "If a ranged descriptor is used, the end or the range (in [begin,end] notation) to derive.",
        ),
    ],
    returns='["address",...]',
    examples=['"wpkh([d34db33f/84h/0h/0h]xpub6DJ2.../0/*)#cjjspncu" "[0,2]"'],
)
async def deriveaddresses(ctx: RpcContext, descriptor: str, range: Any) -> list[Any]:
    branches = _parse(descriptor, ctx.node.params, require_checksum=True)
    first = branches[0]
    if not first.is_range and range is not None:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Range should not be specified for an un-ranged descriptor")
    if first.is_range and range is None:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Range must be specified for a ranged descriptor")
    low, high = range_value(range) if range is not None else (0, 0)

    def derive() -> list[list[str]]:
        return [_addresses(branch, low, high) for branch in branches]

    found = await ctx.read(derive)
    return found[0] if len(found) == 1 else found


def _addresses(descriptor: Descriptor, low: int, high: int) -> list[str]:
    out: list[str] = []
    for index in range(low, high + 1):
        try:
            scripts = descriptor.expand(index).scripts
        except DescriptorError as error:
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, str(error)) from None
        found = [script_to_address(script, descriptor.params) for script in scripts]
        if len(found) == 1 and found[0] is None:
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Descriptor does not have a corresponding address")
        out += [address for address in found if address is not None]
    return out


@methods.method(
    "createmultisig",
    "Creates a multi-signature address with n signatures of m keys required.\nIt returns a json object with the "
    "address and redeemScript.",
    params=[
        num("nrequired", "The number of required signatures out of the n keys.", required=True),
        arr("keys", "The hex-encoded public keys.", [text("key", "The hex-encoded public key")], required=True),
        text("address_type", 'The address type to use: "legacy", "p2sh-segwit", or "bech32".', default="legacy"),
    ],
    returns='{"address":"str","redeemScript":"hex","descriptor":"str"}',
    examples=['2 "[\\"03789ed0bb717d88f7d321a368d905e7430207ebbd82bd342cf11ae157a7ace5fd\\"]"'],
)
async def createmultisig(ctx: RpcContext, nrequired: int, keys: list[Any], address_type: str) -> dict[str, Any]:
    params = ctx.node.params
    pubkeys = [_pubkey(key) for key in keys]
    if address_type not in ("legacy", "p2sh-segwit", "bech32", "bech32m"):
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f"Unknown address type '{address_type[:80]}'")
    if address_type == "bech32m":
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "createmultisig cannot create bech32m multisig addresses")
    _check_multisig(nrequired, pubkeys)
    script = multisig_script(nrequired, pubkeys)
    warnings = []
    if address_type != "legacy" and any(len(pubkey) == 65 for pubkey in pubkeys):
        address_type = "legacy"
        warnings.append(
            "Unable to make chosen address type, please ensure no uncompressed public keys are present."
        )
    inner = f"multi({nrequired},{','.join(pubkey.hex() for pubkey in pubkeys)})"
    if address_type == "legacy":
        if len(script) > 520:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"redeemScript exceeds size limit: {len(script)} > 520")
        output, wrapped = p2sh_script(script), f"sh({inner})"
    elif address_type == "bech32":
        output, wrapped = p2wsh_script(script), f"wsh({inner})"
    else:
        output, wrapped = p2sh_script(p2wsh_script(script)), f"sh(wsh({inner}))"
    out: dict[str, Any] = {
        "address": script_to_address(output, params),
        "redeemScript": script.hex(),
        "descriptor": add_checksum(wrapped),
    }
    if warnings:
        out["warnings"] = warnings
    return out


def _pubkey(value: Any) -> bytes:
    """A public key in hex (Core: HexToPubKey)."""
    if json_type(value) != "string":
        raise RpcError(RpcCode.TYPE_ERROR, f"JSON value of type {json_type(value)} is not of expected type string")
    shown = value[:140]
    try:
        data = bytes.fromhex(value)
    except ValueError:
        data = b""
    if len(data) * 2 != len(value) or not data:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f'Pubkey "{shown}" must be a hex string')
    if len(data) not in (33, 65):
        raise RpcError(
            RpcCode.INVALID_ADDRESS_OR_KEY, f'Pubkey "{shown}" must have a length of either 33 or 65 bytes'
        )
    if not is_valid_pubkey(data):
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f'Pubkey "{shown}" must be cryptographically valid.')
    return data


def _check_multisig(required: int, pubkeys: list[bytes]) -> None:
    if required < 1:
        raise RpcError(
            RpcCode.INVALID_PARAMETER, "a multisignature address must require at least one key to redeem"
        )
    if len(pubkeys) < required:
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            f"not enough keys supplied (got {len(pubkeys)} keys, but need at least {required} to redeem)",
        )
    if len(pubkeys) > 20:
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            "Number of keys involved in the multisignature address creation > 20\nReduce the number",
        )


@methods.method(
    "verifymessage",
    "Verify a signed message.",
    params=[
        text("address", "The address to use for the signature.", required=True),
        text(
            "signature",
            "The signature provided by the signer in base 64 encoding (see signmessage).",
            required=True,
        ),
        text("message", "The message that was signed.", required=True),
    ],
    returns="true|false    (boolean) If the signature is verified or not.",
    examples=['"1D1ZrZNe3JUo7ZycKEYQQiQAWd9y54F4XX" "signature" "my message"'],
)
async def verifymessage(ctx: RpcContext, address: str, signature: str, message: str) -> bool:
    try:
        script = address_to_script(address, ctx.node.params)
    except AddressError:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Invalid address") from None
    try:
        return verify_message(script, signature, message)
    except MessageFault as fault:
        raise RpcError(RpcCode.TYPE_ERROR, str(fault)) from None


@methods.method(
    "signmessagewithprivkey",
    "Sign a message with the private key of an address.",
    params=[
        text("privkey", "The private key to sign the message with.", required=True),
        text("message", "The message to create a signature of.", required=True),
    ],
    returns='"str"    (string) The signature of the message encoded in base 64',
    examples=['"privkey" "my message"'],
)
async def signmessagewithprivkey(ctx: RpcContext, privkey: str, message: str) -> str:
    try:
        secret, compressed = parse_wif(privkey, ctx.node.params)
    except DecodeError:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Invalid private key") from None
    return sign_message(secret, message, compressed=compressed)
