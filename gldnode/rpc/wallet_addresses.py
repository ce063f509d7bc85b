"""Addresses of a wallet: handing out, labels, what is known about one."""

from typing import Any

from gldnode.address import AddressError, address_to_script
from gldnode.bip32 import format_path
from gldnode.descriptors import DescriptorError, infer_descriptor
from gldnode.rpc.addresses import destination_json
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import text
from gldnode.rpc.wallet_access import (
    WalletGroup,
    label_value,
    output_type_value,
    script_value,
    wallet_of,
)
from gldnode.script.templates import solve
from gldnode.wallet.layout import Label
from gldnode.wallet.wallet import Wallet

__all__ = ["describe_script", "methods"]

methods = WalletGroup("Wallet")


@methods.method(
    "getnewaddress",
    "Returns a new address for receiving payments.\nIf 'label' is specified, it is added to the address book so "
    "payments received with the address will be associated with 'label'.",
    params=[
        text("label", "The label name for the address to be linked to.", default=""),
        text("address_type", 'The address type to use: "legacy", "p2sh-segwit", "bech32", or "bech32m".'),
    ],
    returns='"str"    (string) The new address',
    examples=[""],
)
async def getnewaddress(ctx: RpcContext, label: str, address_type: str | None) -> str:
    wallet = wallet_of(ctx)
    label = label_value(label)
    kind = output_type_value(address_type) if address_type is not None else _default_type(ctx)
    script = await wallet.new_script(kind, label=label)
    return _address(wallet, script)


def _default_type(ctx: RpcContext) -> str:
    return output_type_value(ctx.node.option("addresstype") or "bech32")


def _address(wallet: Wallet, script: bytes) -> str:
    address = wallet.address(script)
    assert address is not None
    return address


@methods.method(
    "getrawchangeaddress",
    "Returns a new address, for receiving change.\nThis is for use with raw transactions, NOT normal use.",
    params=[text("address_type", 'The address type to use: "legacy", "p2sh-segwit", "bech32", or "bech32m".')],
    returns='"str"    (string) The address',
)
async def getrawchangeaddress(ctx: RpcContext, address_type: str | None) -> str:
    wallet = wallet_of(ctx)
    kind = address_type if address_type is not None else ctx.node.option("changetype") or _default_type(ctx)
    return _address(wallet, await wallet.new_script(output_type_value(kind), is_internal=True))


@methods.method(
    "setlabel",
    "Sets the label associated with the given address.",
    params=[
        text("address", "The address to be associated with a label.", required=True),
        text("label", "The label to assign to the address.", required=True),
    ],
    returns="null",
    examples=['"address" "tabby"'],
)
async def setlabel(ctx: RpcContext, address: str, label: str) -> None:
    wallet = wallet_of(ctx)
    script = script_value(address, wallet.host.params, "Invalid Bitcoin address")
    purpose = "receive" if wallet.ledger.is_mine(script) else "send"
    async with wallet.lock:
        wallet.ledger.set_label(script, Label(label_value(label), purpose))
        await wallet.save()


@methods.method(
    "listlabels",
    "Returns the list of all labels, or labels that are assigned to addresses with a specific purpose.",
    params=[text("purpose", "Address purpose to list labels for ('send','receive').")],
    returns='["str",...]',
)
async def listlabels(ctx: RpcContext, purpose: str | None) -> list[str]:
    if purpose is not None and purpose not in ("send", "receive", "refund"):
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            "Invalid 'purpose' argument, must be a known purpose string, typically 'send', or 'receive'.",
        )
    labels = wallet_of(ctx).ledger.labels.values()
    return sorted({label.label for label in labels if purpose is None or label.purpose == purpose})


@methods.method(
    "getaddressesbylabel",
    "Returns the list of addresses assigned the specified label.",
    params=[text("label", "The label.", required=True)],
    returns='{"address":{"purpose":"str"},...}',
    examples=['"tabby"'],
)
async def getaddressesbylabel(ctx: RpcContext, label: str) -> dict[str, Any]:
    wallet = wallet_of(ctx)
    label = label_value(label)
    found = {
        _address(wallet, script): {"purpose": entry.purpose}
        for script, entry in wallet.ledger.labels.items()
        if entry.label == label
    }
    if not found:
        raise RpcError(RpcCode.WALLET_INVALID_LABEL_NAME, f"No addresses with label {label}")
    return found


@methods.method(
    "getaddressinfo",
    "Return information about the given address.\nSome of the information will only be present if the address is "
    "in the active wallet.",
    params=[text("address", "The address for which to get information.", required=True)],
    returns="{...}",
    examples=['"address"'],
)
async def getaddressinfo(ctx: RpcContext, address: str) -> dict[str, Any]:
    wallet = wallet_of(ctx)
    try:
        script = address_to_script(address, wallet.host.params)
    except AddressError as error:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, str(error) or "Invalid address") from None
    ledger = wallet.ledger
    mine = ledger.is_mine(script)
    out: dict[str, Any] = {
        "address": _address(wallet, script),
        "scriptPubKey": script.hex(),
        "ismine": mine,
    }
    found = ledger.keychain_of(script)
    solvable = found is not None and found[0].descriptor.is_solvable
    out["solvable"] = solvable
    if found is not None and solvable:
        out["desc"] = describe_script(wallet, script)
        out["parent_desc"] = found[0].record.descriptor
    out["iswatchonly"] = False
    out |= destination_json(script)
    if found is not None:
        out |= _origin_json(wallet, script)
    out["ischange"] = ledger.is_change(script)
    if found is not None:
        out["timestamp"] = found[0].record.created_at
    label = ledger.labels.get(script)
    out["labels"] = [label.label] if label is not None else []
    return out


def _origin_json(wallet: Wallet, script: bytes) -> dict[str, Any]:
    """Key and path of an address with one key; what is inside a P2SH or P2WSH one."""
    found = wallet.ledger.keychain_of(script)
    assert found is not None
    keychain, index = found
    try:
        expansion = keychain.expand(index)
    except DescriptorError:
        return {}
    out: dict[str, Any] = {}
    single = expansion.keys[0] if len(expansion.keys) == 1 else None
    if expansion.inner_scripts:
        inner = expansion.inner_scripts[-1]
        out["script"] = str(solve(inner).kind)
        out["hex"] = inner.hex()
        address = wallet.address(inner)
        if address is not None:
            out["embedded"] = destination_json(inner)
            if single is not None:
                out["embedded"]["pubkey"] = single.pubkey.hex()
            out["embedded"] |= {"address": address, "scriptPubKey": inner.hex()}
    if single is not None:
        if expansion.taproot is None:
            out["pubkey"] = single.pubkey.hex()
            if not expansion.inner_scripts:
                out["iscompressed"] = len(single.pubkey) == 33
        if keychain.is_range:
            out["hdkeypath"] = "m" + format_path(single.path)
            out["hdseedid"] = "00" * 20
            out["hdmasterfingerprint"] = single.fingerprint.hex()
    elif expansion.keys:
        out["pubkeys"] = [one.pubkey.hex() for one in expansion.keys]
    return out


def describe_script(wallet: Wallet, script: bytes) -> str:
    """The descriptor of exactly this script, with the key's origin where the wallet knows it."""
    found = wallet.ledger.keychain_of(script)
    if found is None:
        return infer_descriptor(script, wallet.host.params)
    keychain, index = found
    try:
        return keychain.descriptor.at(index).to_text()
    except DescriptorError:
        return infer_descriptor(script, wallet.host.params)
