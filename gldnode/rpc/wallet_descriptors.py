"""Descriptors of a wallet: import, list, and reading the chain again for them."""

from typing import Any

from gldnode.rpc.addresses import range_value
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import json_type
from gldnode.rpc.params import anything, arr, boolean, integer_value, num, obj, text
from gldnode.rpc.wallet_access import WalletGroup, label_value, synced_wallet, wallet_of
from gldnode.wallet.errors import WalletError
from gldnode.wallet.imports import ImportRequest, first_height_since, import_descriptor
from gldnode.wallet.wallet import Wallet

__all__ = ["methods"]

methods = WalletGroup("Wallet")


@methods.method(
    "importdescriptors",
    "Import descriptors. This will trigger a rescan of the blockchain based on the earliest timestamp of all "
    "descriptors being imported.",
    params=[
        arr(
            "requests",
            "Data to be imported",
            [
                obj(
                    "",
                    "",
                    [
                        text("desc", "Descriptor to import.", required=True),
                        boolean("active", "Set this descriptor to be the active descriptor.", default=False),
                        anything("range", "The end or the range (in the form [begin,end]) to import"),
                        num("next_index", "The next index to generate addresses from"),
                        anything("timestamp", 'Unix seconds from which to rescan, or "now".', required=True),
                        boolean("internal", "Whether matching outputs are change", default=False),
                        text("label", "Label to assign to the address"),
                    ],
                )
            ],
            required=True,
        )
    ],
    returns='[{"success":true|false,"warnings":["str",...],"error":{...}},...]',
    examples=['\'[{ "desc": "<my descriptor>", "timestamp":1455191478, "internal": true }]\''],
)
async def importdescriptors(ctx: RpcContext, requests: list[Any]) -> list[dict[str, Any]]:
    wallet = await synced_wallet(ctx)
    wallet.require_unlocked()
    if wallet.scanning is not None:
        raise RpcError(RpcCode.WALLET_ERROR, "Wallet is currently rescanning. Abort existing rescan or wait.")
    out: list[dict[str, Any]] = []
    earliest: int | None = None
    async with wallet.lock:
        for item in requests:
            result: dict[str, Any]
            try:
                request = _read_request(wallet, item)
                import_descriptor(wallet, request)
            except (RpcError, WalletError) as error:
                code = error.code if isinstance(error, RpcError) else int(error.fault)
                out.append({"success": False, "error": {"code": code, "message": error.message}})
                continue
            earliest = request.timestamp if earliest is None else min(earliest, request.timestamp)
            result = {"success": True}
            if request.warnings:
                result["warnings"] = request.warnings
            out.append(result)
        await wallet.save()
        if earliest is not None:
            await wallet.rescan(first_height_since(wallet, earliest))
    if earliest is not None:
        await wallet.read_mempool()
    return out


def _read_request(wallet: Wallet, item: Any) -> ImportRequest:
    """One request, checked (Core: ProcessDescriptorImport). Raises RpcError."""
    if not isinstance(item, dict):
        raise RpcError(RpcCode.TYPE_ERROR, f"JSON value of type {json_type(item)} is not of expected type object")
    if item.get("desc") is None:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Descriptor not found.")

    def read(name: str, kind: str) -> Any:
        value = item.get(name)
        if value is not None and json_type(value) != kind:
            raise RpcError(
                RpcCode.TYPE_ERROR, f"JSON value of type {json_type(value)} is not of expected type {kind}"
            )
        return value

    timestamp = item.get("timestamp")
    if timestamp == "now":
        since = wallet.host.chain.tip.median_time
    elif timestamp is None:
        raise RpcError(RpcCode.TYPE_ERROR, "Missing required timestamp field for key")
    elif json_type(timestamp) == "number":
        since = integer_value(timestamp)
    else:
        raise RpcError(
            RpcCode.TYPE_ERROR,
            f'Expected number or "now" timestamp value for key. got type {json_type(timestamp)}',
        )
    next_index = read("next_index", "number")
    label = read("label", "string")
    return ImportRequest(
        text=read("desc", "string"),
        timestamp=max(since, 1),
        is_active=bool(read("active", "bool")),
        is_internal=bool(read("internal", "bool")),
        label=None if label is None else label_value(label),
        range_=None if item.get("range") is None else range_value(item["range"]),
        next_index=None if next_index is None else integer_value(next_index),
    )


@methods.method(
    "listdescriptors",
    "List all descriptors present in a wallet.",
    params=[boolean("private", "Show private descriptors.", default=False)],
    returns='{"wallet_name":"str","descriptors":[{"desc":"str","timestamp":n,"active":true|false,...},...]}',
    examples=["", "true"],
)
async def listdescriptors(ctx: RpcContext, private: bool) -> dict[str, Any]:
    wallet = wallet_of(ctx)
    if private:
        if not wallet.meta.has_private_keys:
            raise RpcError(RpcCode.WALLET_ERROR, "Can't get private descriptor string for watch-only wallets")
        wallet.require_unlocked()
    out = []
    for keychain in wallet.ledger.keychains.values():
        record = keychain.record
        shown = record.descriptor
        if private:
            if keychain.private is None:
                raise RpcError(RpcCode.WALLET_ERROR, "Can't get descriptor string.")
            shown = keychain.private.to_text(private=True)
        item: dict[str, Any] = {"desc": shown, "timestamp": record.created_at, "active": record.is_active}
        if record.is_active:
            item["internal"] = record.is_internal
        if record.account:
            item["account"] = record.account
        if keychain.is_range:
            item["range"] = [record.first_index, max(record.first_index, record.end_index - 1)]
            item["next"] = record.next_index
            item["next_index"] = record.next_index
        out.append(item)
    out.sort(key=lambda one: str(one["desc"]))
    return {"wallet_name": wallet.name, "descriptors": out}


@methods.method(
    "rescanblockchain",
    "Rescan the local blockchain for wallet related transactions.",
    params=[
        num("start_height", "block height where the rescan should start", default=0),
        num("stop_height", "the last block height that should be scanned"),
    ],
    returns='{"start_height":n,"stop_height":n}',
    examples=["100000 120000"],
)
async def rescanblockchain(ctx: RpcContext, start_height: int, stop_height: int | None) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    if wallet.scanning is not None:
        raise RpcError(RpcCode.WALLET_ERROR, "Wallet is currently rescanning. Abort existing rescan or wait.")
    assert wallet.ledger.cursor is not None
    tip = wallet.ledger.cursor.height
    if not 0 <= start_height <= tip:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid start_height")
    if stop_height is not None:
        if not 0 <= stop_height <= tip:
            raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid stop_height")
        if stop_height < start_height:
            raise RpcError(RpcCode.INVALID_PARAMETER, "stop_height must be greater than start_height")
    async with wallet.lock:
        last = await wallet.rescan(start_height, stop_height)
        aborted = wallet.abort_scan
    if aborted:
        raise RpcError(RpcCode.MISC_ERROR, "Rescan aborted.")
    return {"start_height": start_height, "stop_height": last}


@methods.method(
    "abortrescan",
    "Stops current wallet rescan triggered by an RPC call, e.g. by an importdescriptors call.",
    returns="true|false    (boolean) Whether the abort was successful",
)
async def abortrescan(ctx: RpcContext) -> bool:
    wallet = wallet_of(ctx)
    if wallet.scanning is None or wallet.abort_scan:
        return False
    wallet.abort_scan = True
    return True
