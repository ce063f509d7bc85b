"""The node itself: help, stop, uptime, logging, memory."""

import asyncio
import resource
import time
from typing import Any

from gldnode.clock import MockableClock
from gldnode.log import LogSetup
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import anything, arr, num, text
from gldnode.rpc.registry import MethodGroup
from gldnode.zmqpub import ZmqPublishers

__all__ = ["methods", "test_methods"]

methods = MethodGroup("Control")
test_methods = MethodGroup("Control")
"""For the regtest networks."""


@methods.method(
    "help",
    "List all commands, or get help for a specified command.",
    params=[text("command", "The command to get help on")],
    returns='"str"    (string) The help text',
    needs_warm=False,
)
async def help_method(ctx: RpcContext, command: str | None) -> str:
    if not command:
        groups: dict[str, list[str]] = {}
        for method in ctx.registry.methods():
            if not method.hidden:
                groups.setdefault(method.category, []).append(method.usage)
        return "\n\n".join("\n".join([f"== {name} ==", *groups[name]]) for name in sorted(groups))
    found = ctx.registry.get(command)
    if found is None:
        return f"help: unknown command: {command}"
    return found.help_text()


@methods.method(
    "stop",
    "Request a graceful shutdown of the node.",
    params=[num("wait", "how long to wait in ms", hidden=True)],
    returns='"str"    (string) A string with the content "Gold-Coin node stopping"',
    needs_warm=False,
)
async def stop(ctx: RpcContext, wait: int | None) -> str:
    if wait is not None:
        await asyncio.sleep(min(max(wait, 0), 60_000) / 1000)
    # The answer goes out before the sites close: they let requests under way end.
    asyncio.get_running_loop().call_soon(ctx.node.request_stop)
    return "Gold-Coin node stopping"


@methods.method(
    "uptime",
    "Returns the total uptime of the server.",
    returns="n    (numeric) The number of seconds that the server has been running",
    needs_warm=False,
)
async def uptime(ctx: RpcContext) -> int:
    return int(ctx.node.clock.monotonic() - ctx.server.started_at)


@methods.method(
    "getrpcinfo",
    "Returns details of the RPC server.",
    returns='{"active_commands":[{"method":"str","duration":n},...],"logpath":"str"}',
    needs_warm=False,
)
async def getrpcinfo(ctx: RpcContext) -> dict[str, Any]:
    now = time.monotonic()
    return {
        "active_commands": [
            {"method": method, "duration": int((now - started) * 1_000_000)}
            for method, started in ctx.server.active.values()
        ],
        "logpath": ctx.server.log_path,
    }


@methods.method(
    "getmemoryinfo",
    "Returns an object containing information about memory usage.",
    params=[
        text("mode", 'determines what kind of information is returned: "stats" or "mallocinfo"', default="stats")
    ],
    returns="{...}    (json object) Information about memory: locked.{used,free,total,locked}, resident bytes",
)
async def getmemoryinfo(ctx: RpcContext, mode: str) -> Any:
    if mode == "mallocinfo":
        raise RpcError(RpcCode.INVALID_PARAMETER, "mallocinfo mode not available")
    if mode != "stats":
        raise RpcError(RpcCode.INVALID_PARAMETER, f"unknown mode {mode[:80]}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    locked = {"used": 0, "free": 0, "total": 0, "locked": 0, "chunks_used": 0, "chunks_free": 0}
    return {"locked": locked, "process": {"resident": _resident_bytes() or peak, "peak": peak}}


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


@methods.method(
    "logging",
    "Gets and sets the logging configuration.\nWhen called without an argument, returns the list of categories "
    "with status that are currently being debug logged or not. Categories in include are added, then those in "
    'exclude removed; "all" and "1" mean all of them.',
    params=[
        arr(
            "include", "The categories to add to debug logging", [text("include_category", "the logging category")]
        ),
        arr("exclude", "The categories to remove", [text("exclude_category", "the logging category")]),
    ],
    returns='{"category": true|false, ...}',
    examples=['"[\\"all\\"]" "[\\"http\\"]"'],
)
async def logging_method(ctx: RpcContext, include: list[Any] | None, exclude: list[Any] | None) -> dict[str, bool]:
    setup = ctx.services.require(LogSetup)
    for names in (include or [], exclude or []):
        for name in names:
            if not isinstance(name, str):
                raise RpcError(RpcCode.TYPE_ERROR, "a logging category is a string")
    try:
        setup.switch(include or [], exclude or [])
    except KeyError as error:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"unknown logging category {error.args[0][:80]}") from None
    return setup.active


@methods.method(
    "getzmqnotifications",
    "Returns information about the active ZeroMQ notifications.",
    returns='[{"type":"str","address":"str","hwm":n},...]',
)
async def getzmqnotifications(ctx: RpcContext) -> list[dict[str, Any]]:
    publishers = ctx.services.get(ZmqPublishers)
    if publishers is None:
        return []
    return [{"type": f"pub{one.topic}", "address": one.address, "hwm": one.hwm} for one in publishers.publications]


def _echo_params() -> list[Any]:
    return [anything(f"arg{index}", "") for index in range(10)]


async def _echo(ctx: RpcContext, **arguments: Any) -> list[Any]:
    values = [arguments[f"arg{index}"] for index in range(10)]
    while values and values[-1] is None:
        values.pop()
    return values


for _name in ("echo", "echojson"):
    methods.method(
        _name,
        "Simply echo back the input arguments. This command is for testing.",
        params=_echo_params(),
        hidden=True,
    )(_echo)


@test_methods.method(
    "setmocktime",
    "Set the local time to given timestamp (regtest networks only).",
    params=[num("timestamp", "UNIX epoch time; 0 to go back to the system's time", required=True)],
    returns="null",
    hidden=True,
)
async def setmocktime(ctx: RpcContext, timestamp: int) -> None:
    if timestamp < 0:
        raise RpcError(
            RpcCode.INVALID_PARAMETER, f"Mocktime must be in the range [0, 9223372036], not {timestamp}."
        )
    clock = ctx.services.require(MockableClock)
    await ctx.validate(lambda: clock.set_mock_time(timestamp))


@test_methods.method(
    "mockscheduler",
    "Bump the scheduler into the future (regtest networks only).",
    params=[num("delta_time", "Number of seconds to forward the scheduler into the future", required=True)],
    returns="null",
    hidden=True,
)
async def mockscheduler(ctx: RpcContext, delta_time: int) -> None:
    if not 0 < delta_time <= 3600:
        raise RpcError(RpcCode.MISC_ERROR, "delta_time must be between 1 and 3600 seconds (1 hr)")


@methods.method(
    "syncwithvalidationinterfacequeue",
    "Waits for the validation thread to catch up on everything that was there when we entered this function.",
    returns="null",
    hidden=True,
)
async def syncwithvalidationinterfacequeue(ctx: RpcContext) -> None:
    await ctx.validate(lambda: None)
    await asyncio.sleep(0)
