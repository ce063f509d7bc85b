"""Server-sent events at `/events`: what the ZeroMQ publishers tell, for those who have HTTP only.

`GET /events?topics=hashblock,hashtx,sequence` with the RPC's password (a user with an -rpcwhitelist needs the
name `events` in it). Each event has JSON data:

hashblock  {"hash", "height"}                    a block became part of the active chain
hashtx     {"txid"}, {"txid", "blockhash"}       a transaction entered the mempool, or is in a connected block
sequence   {"hash", "type": "C"|"D", "height"}   a block was connected or disconnected
           {"txid", "type": "A"|"R", "mempool_sequence" [, "reason"]}
lost       {"what"}                              events are missing: read the mempool or the chain again

Blocks are read at a position, which the `id` of their last event names: with `Last-Event-ID` (or
`?after=<block hash>`) a client goes on where it was, through a reorganisation too, and misses nothing. Mempool
events are told as they happen, once.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from aiohttp import web

from gldnode.errors import DecodeError
from gldnode.events import (
    BlockConnected,
    ChainStep,
    Cursor,
    Hint,
    HintsLost,
    MempoolTxAdded,
    MempoolTxRemoved,
    RemovalReason,
    UnknownCursor,
)
from gldnode.hints import BoundedHints
from gldnode.node import Node
from gldnode.primitives.hashes import BlockHash, from_display_hex
from gldnode.rpc.auth import RpcAuth
from gldnode.rpc.json import encode
from gldnode.rpc.render import display

__all__ = ["event_routes"]

TOPICS: Final = frozenset({"hashblock", "hashtx", "sequence"})
MAX_STREAMS: Final = 32
HEARTBEAT_S: Final = 15
BAD_PASSWORD_PAUSE_S: Final = 0.25
_STEPS: Final = 50


def event_routes(node: Node, auth: RpcAuth, warmup: Callable[[], str | None]) -> Sequence[web.RouteDef]:
    """The route of the stream; `warmup` tells what the node is doing while it loads."""
    streams: set[_Stream] = set()

    async def handle(request: web.Request) -> web.StreamResponse:
        user = auth.user_of(request.headers.get("Authorization"))
        if user is None:
            if "Authorization" in request.headers:
                await asyncio.sleep(BAD_PASSWORD_PAUSE_S)
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="jsonrpc"'})
        if not auth.allows(user, "events"):
            return web.Response(status=403)
        topics = frozenset(request.query.get("topics", ",".join(TOPICS)).split(","))
        if not topics <= TOPICS:
            return web.Response(status=400, text=f"Unknown topic; there are {', '.join(sorted(TOPICS))}\n")
        after = request.headers.get("Last-Event-ID") or request.query.get("after")
        try:
            cursor = None if after is None else BlockHash(from_display_hex(after))
        except DecodeError:
            return web.Response(status=400, text="The position is not a block hash\n")
        loading = warmup()
        if loading is not None:
            return web.Response(status=503, text=f"{loading}\n")
        if len(streams) >= MAX_STREAMS:
            return web.Response(status=503, text="Too many event streams\n")
        stream = _Stream(node, topics)
        streams.add(stream)
        try:
            return await stream.run(request, cursor)
        finally:
            streams.discard(stream)

    return [web.get("/events", handle)]


class _Stream:
    """One client."""

    def __init__(self, node: Node, topics: frozenset[str]) -> None:
        self._node = node
        self._topics = topics
        self._told = topics | {"lost"}
        self._response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )

    async def run(self, request: web.Request, after: BlockHash | None) -> web.StreamResponse:
        """Write events until the client goes or the node stops."""
        hints = self._node.hints("events")
        try:
            cursor, missed = self._start(after)
            await self._response.prepare(request)
            await self._response.write(b": events\n\n" + (_event("lost", {"what": "blocks"}) if missed else b""))
            async with asyncio.TaskGroup() as tasks:
                parts = [
                    tasks.create_task(self._blocks(cursor), name="events: blocks"),
                    tasks.create_task(self._mempool(hints), name="events: mempool"),
                    tasks.create_task(self._heartbeat(), name="events: heartbeat"),
                ]
                await self._node.stop_requested.wait()
                for part in parts:
                    part.cancel()
        except* ConnectionError:
            pass  # the client went away
        finally:
            hints.close()
        return self._response

    def _start(self, after: BlockHash | None) -> tuple[Cursor, bool]:
        """Where to begin, and whether blocks are missing before it."""
        chainstate = self._node.chainstate
        entry = None if after is None else chainstate.entry(after)
        if entry is not None:
            return Cursor(entry.hash, entry.height), False
        tip = chainstate.tip
        return Cursor(tip.hash, tip.height), after is not None

    async def _blocks(self, cursor: Cursor) -> None:
        while True:
            try:
                steps = await self._node.next_steps(cursor, _STEPS)
            except UnknownCursor:
                cursor, _ = self._start(None)
                await self._response.write(_event("lost", {"what": "blocks"}))
                continue
            for step in steps:
                await self._write(self._of_step(step))
                if isinstance(step, BlockConnected):
                    cursor = Cursor(step.hash, step.height)
                else:
                    cursor = Cursor(step.prev_hash, step.height - 1)

    async def _mempool(self, hints: BoundedHints) -> None:
        async for hint in hints:
            await self._write(self._of_hint(hint))

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self._response.write(b":\n\n")

    async def _write(self, events: Iterator[tuple[str, dict[str, Any], str]]) -> None:
        data = b"".join(_event(name, body, mark) for name, body, mark in events if name in self._told)
        if data:
            await self._response.write(data)

    def _of_step(self, step: ChainStep) -> Iterator[tuple[str, dict[str, Any], str]]:
        connected, shown = isinstance(step, BlockConnected), display(step.hash)
        for tx in step.block.txs if connected and "hashtx" in self._topics else ():
            yield "hashtx", {"txid": display(tx.txid), "blockhash": shown}, ""
        # The id stands on the step's last event: a client that has it has all of the step.
        position = shown if isinstance(step, BlockConnected) else display(step.prev_hash)
        last = "sequence" if "sequence" in self._topics else "hashblock"
        if connected:
            yield "hashblock", {"hash": shown, "height": step.height}, position if last == "hashblock" else ""
        body = {"hash": shown, "type": "C" if connected else "D", "height": step.height}
        yield "sequence", body, position

    def _of_hint(self, hint: Hint) -> Iterator[tuple[str, dict[str, Any], str]]:
        if isinstance(hint, MempoolTxAdded):
            shown = display(hint.tx.txid)
            yield "hashtx", {"txid": shown}, ""
            yield "sequence", {"txid": shown, "type": "A", "mempool_sequence": hint.sequence}, ""
        elif isinstance(hint, MempoolTxRemoved) and hint.reason is not RemovalReason.BLOCK:
            body = {
                "txid": display(hint.tx.txid),
                "type": "R",
                "mempool_sequence": hint.sequence,
                "reason": str(hint.reason),
            }
            yield "sequence", body, ""
        elif isinstance(hint, HintsLost):
            yield "lost", {"what": "mempool"}, ""


def _event(name: str, body: dict[str, Any], mark: str = "") -> bytes:
    head = f"id: {mark}\n" if mark else ""
    return f"{head}event: {name}\ndata: ".encode() + encode(body) + b"\n\n"
