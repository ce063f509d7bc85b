"""What all wallet methods share: which wallet a call means, and its errors as the RPC's."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from gldnode.address import AddressError, address_to_script
from gldnode.params import ChainParams
from gldnode.primitives.tx import OutPoint, outpoint
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import json_type
from gldnode.rpc.params import hash_value, integer_value
from gldnode.rpc.registry import Handler, MethodGroup
from gldnode.wallet.errors import WalletError
from gldnode.wallet.manager import WalletManager
from gldnode.wallet.wallet import OUTPUT_TYPES, Wallet

__all__ = [
    "MAX_LABEL",
    "WalletGroup",
    "label_value",
    "manager_of",
    "outpoints_value",
    "output_type_value",
    "script_value",
    "synced_wallet",
    "wallet_of",
]

MAX_LABEL = 4_000


class WalletGroup(MethodGroup):
    """Methods whose WalletErrors come out with their code."""

    def method(self, name: str, summary: str, **declared: Any) -> Callable[[Handler], Handler]:
        declare = super().method(name, summary, **declared)

        def wrap(handler: Handler) -> Handler:
            @wraps(handler)
            async def call(ctx: RpcContext, **arguments: Any) -> Any:
                try:
                    return await handler(ctx, **arguments)
                except WalletError as error:
                    raise RpcError(error.fault, error.message) from None

            return declare(call)

        return wrap


def manager_of(ctx: RpcContext) -> WalletManager:
    """The node's wallets; -32601 on a node without."""
    return ctx.services.require(
        WalletManager, RpcCode.METHOD_NOT_FOUND, "Method not found (wallet method is disabled)"
    )


def wallet_of(ctx: RpcContext) -> Wallet:
    """The wallet that the call's path names, or the only one. Raises RpcError -18, -19."""
    manager = ctx.services.get(WalletManager)
    if manager is None:
        raise RpcError(RpcCode.METHOD_NOT_FOUND, "Method not found (wallet method is disabled)")
    try:
        return manager.select(ctx.wallet_name)
    except WalletError as error:
        raise RpcError(error.fault, error.message) from None


async def synced_wallet(ctx: RpcContext) -> Wallet:
    """`wallet_of`, once it has seen what the node has."""
    wallet = wallet_of(ctx)
    await wallet.synced()
    return wallet


def script_value(text: str, params: ChainParams, message: str = "Invalid address: {}") -> bytes:
    """The script of an address argument. Raises RpcError -5."""
    try:
        return address_to_script(text, params)
    except AddressError:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, message.format(text[:120])) from None


def output_type_value(text: str, what: str = "address type") -> str:
    if text not in OUTPUT_TYPES:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f"Unknown {what} '{text[:80]}'")
    return text


def label_value(text: str) -> str:
    if text == "*":
        raise RpcError(RpcCode.WALLET_INVALID_LABEL_NAME, "Invalid label name")
    if len(text) > MAX_LABEL or any("\ud800" <= char <= "\udfff" for char in text):
        raise RpcError(RpcCode.WALLET_INVALID_LABEL_NAME, "Invalid label name")
    return text


def outpoints_value(items: list[Any]) -> list[OutPoint]:
    """Outpoints of `[{"txid","vout"},...]`. Raises RpcError."""
    found = []
    for item in items:
        if not isinstance(item, dict):
            raise RpcError(
                RpcCode.TYPE_ERROR, f"JSON value of type {json_type(item)} is not of expected type object"
            )
        txid = hash_value(item.get("txid"), "txid")
        vout = item.get("vout")
        if json_type(vout) != "number":
            raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, missing vout key")
        number = integer_value(vout)
        if number < 0:
            raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, vout cannot be negative")
        if number > 0xFFFFFFFF:
            raise RpcError(RpcCode.MISC_ERROR, "JSON integer out of range")
        found.append(outpoint(txid, number))
    return found
