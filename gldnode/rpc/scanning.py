"""What scantxoutset and scanblocks share: scan objects, and the one scan of a kind that may be under way."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from gldnode.descriptors import Descriptor, Expansion, infer_descriptor, parse_descriptors
from gldnode.errors import DecodeError
from gldnode.rpc.addresses import range_value
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import json_type

__all__ = ["Scan", "begin", "expansions_of_scan_object", "scanned_scripts", "scripts_of_scan_object", "steer"]

DEFAULT_RANGE_END: Final = 1000


class Scan:
    """A scan under way."""

    def __init__(self) -> None:
        self.progress = 0
        """Per cent."""
        self.is_aborted = False

    def status(self) -> dict[str, Any]:
        return {"progress": self.progress}


S = TypeVar("S", bound=Scan)


def steer(ctx: RpcContext, kind: type[Scan], action: str) -> bool | dict[str, Any] | None:
    """Answer the actions "status" and "abort". Raises RpcError for any other."""
    running = ctx.services.get(kind)
    if action == "status":
        return None if running is None else running.status()
    if action == "abort":
        if running is not None:
            running.is_aborted = True
        return running is not None
    raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid action '{action[:80]}'")


@contextmanager
def begin(ctx: RpcContext, scan: S) -> Iterator[S]:
    """The scan is the one of its kind until the block ends. Raises RpcError when there is one already."""
    if ctx.services.get(type(scan)) is not None:
        raise RpcError(RpcCode.INVALID_PARAMETER, 'Scan already in progress, use action "abort" or "status"')
    ctx.services.add(scan)
    try:
        yield scan
    finally:
        ctx.services.remove(type(scan))


async def scanned_scripts(ctx: RpcContext, objects: list[Any] | None) -> dict[bytes, str]:
    """The scripts of all scan objects, each with a descriptor of its own. Raises RpcError."""
    if objects is None:
        raise RpcError(RpcCode.MISC_ERROR, "scanobjects argument is required for the start action")
    found: dict[bytes, str] = {}
    for item in objects:
        found.update(await ctx.read(lambda item=item: scripts_of_scan_object(ctx, item)))  # type: ignore[misc]  # default's type
    return found


def expansions_of_scan_object(ctx: RpcContext, item: Any) -> Iterator[tuple[Descriptor, int, Expansion]]:
    """A scan object's descriptors at each index (Core: EvalDescriptorStringOrObject). Raises RpcError."""
    bounds = (0, DEFAULT_RANGE_END)
    if json_type(item) == "string":
        desc = item
    elif isinstance(item, dict):
        desc = item.get("desc")
        if json_type(desc) != "string":
            raise RpcError(RpcCode.INVALID_PARAMETER, "Descriptor needs to be provided in scan object")
        if "range" in item:
            bounds = range_value(item["range"])
    else:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Scan object needs to be either a string or an object")
    try:
        for descriptor in parse_descriptors(desc, ctx.node.params):
            low, high = bounds if descriptor.is_range else (0, 0)
            for index in range(low, high + 1):
                yield descriptor, index, descriptor.expand(index)
    except DecodeError as error:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, str(error)) from None


def scripts_of_scan_object(ctx: RpcContext, item: Any) -> dict[bytes, str]:
    """The scripts of a scan object, each with a descriptor of its own."""
    params = ctx.node.params
    found: dict[bytes, str] = {}
    for descriptor, index, expansion in expansions_of_scan_object(ctx, item):
        several = len(expansion.scripts) > 1
        for script in expansion.scripts:
            found[script] = infer_descriptor(script, params) if several else descriptor.at(index).to_text()
    return found
