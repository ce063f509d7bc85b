"""JSON-RPC over HTTP: authentication, limits, single calls and batches."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gldnode.errors import DecodeError, NodeError, Reject
from gldnode.log import mask_arguments
from gldnode.node import Node, NodeStopped
from gldnode.rpc import protocol
from gldnode.rpc.answer import JsonAnswer
from gldnode.rpc.auth import RpcAuth
from gldnode.rpc.context import RpcContext, Services
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.protocol import Call
from gldnode.rpc.registry import Registry
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_BODY_BYTES", "RpcHttp", "ServerState"]

log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 0x02000000
"""Core's MAX_SIZE, 32 MiB."""
BODY_TIMEOUT_S: Final = 30
BAD_PASSWORD_PAUSE_S: Final = 0.25
_WORKERS: Final = 16  # calls that Core would be working on while its queue fills


@dataclass(slots=True)
class ServerState:
    """What the RPC server knows about itself."""

    started_at: float
    """Monotonic seconds."""
    warmup: str | None = "RPC server started"
    """What the node is doing while it loads; None when it is ready."""
    log_path: str = ""
    active: dict[int, tuple[str, float]] = field(default_factory=dict)
    """Running calls: method and monotonic start."""
    _numbers: "Iterator[int]" = field(default_factory=count)

    def begin(self, method: str) -> int:
        """Note a running call; its number, for `end`."""
        number = next(self._numbers)
        self.active[number] = (method, time.monotonic())
        return number

    def end(self, number: int) -> None:
        del self.active[number]


class RpcHttp:
    """The handler of POST `/` and `/wallet/<name>`."""

    def __init__(
        self,
        node: Node,
        registry: Registry,
        services: Services,
        auth: RpcAuth,
        state: ServerState,
        *,
        work_queue: int = 64,
    ) -> None:
        self._node = node
        self._registry = registry
        self._services = services
        self._auth = auth
        self._state = state
        self._limit = _WORKERS + max(work_queue, 1)
        self._busy = 0
        self._contexts: dict[str, RpcContext] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one HTTP request."""
        if request.method != "POST":
            return web.Response(
                status=405, text="JSONRPC server handles only POST requests", headers={"Allow": "POST"}
            )
        user = self._auth.user_of(request.headers.get("Authorization"))
        if user is None:
            if "Authorization" in request.headers:
                log.warning("RPC: incorrect password attempt from %s", request.remote)
                await asyncio.sleep(BAD_PASSWORD_PAUSE_S)
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="jsonrpc"'})
        if self._busy >= self._limit:
            log.warning("Request rejected because http work queue depth exceeded, see -rpcworkqueue=")
            return web.Response(status=503, text="Work queue depth exceeded")
        self._busy += 1
        try:
            body = await _read_body(request)
            if isinstance(body, web.Response):
                return body
            return await self._answer(user, _wallet_name(request), body)
        finally:
            self._busy -= 1

    async def _answer(self, user: str, wallet_name: str | None, body: bytes) -> web.StreamResponse:
        ctx = self._context(user, wallet_name)
        call = Call()
        try:
            value = protocol.parse_body(body)
            if isinstance(value, list):
                return await self._answer_batch(ctx, value)
            call = protocol.parse_call(value)
        except protocol.Failure as failure:
            return _json(protocol.reply_error(failure.call, failure), protocol.http_status(failure))
        except RpcError as bad:
            return _json(protocol.reply_error(call, bad), protocol.http_status(bad))
        if not self._auth.allows(user, call.method):
            log.warning("RPC User %s not allowed to call method %s", user, call.method[:64])
            return web.Response(status=403)
        reply, error = await self._run(ctx, call)
        if call.is_notification:
            return web.Response(status=204)
        return _json(reply, 200 if error is None or call.v2 else protocol.http_status(error))

    def _context(self, user: str, wallet_name: str | None) -> RpcContext:
        """The call's surroundings; at `/` the same for all calls of a user."""
        known = self._contexts.get(user) if wallet_name is None else None
        if known is None:
            known = RpcContext(self._node, self._services, self._registry, self._state, user, wallet_name)
            if wallet_name is None:
                self._contexts[user] = known
        return known

    async def _answer_batch(self, ctx: RpcContext, values: Sequence[Any]) -> web.StreamResponse:
        for value in values:
            method = value.get("method") if isinstance(value, dict) else None
            if isinstance(method, str) and not self._auth.allows(ctx.user, method):
                log.warning("RPC User %s not allowed to call method %s", ctx.user, method[:64])
                return web.Response(status=403)
        replies: list[bytes] = []
        for value in values:
            try:
                call = protocol.parse_call(value)
            except protocol.Failure as failure:
                replies.append(protocol.reply_error(failure.call, failure))
                continue
            reply, _ = await self._run(ctx, call)
            if not call.is_notification:
                replies.append(reply)
            await asyncio.sleep(0)  # a long batch lets others in between its calls
        if not replies and values:
            return web.Response(status=204)
        return _json(b"[" + b",".join(replies) + b"]", 200)

    async def _run(self, ctx: RpcContext, call: Call) -> tuple[bytes, RpcError | None]:
        """Run one call; its encoded answer, and the error when it is one."""
        try:
            return protocol.reply_result(call, await self._execute(ctx, call)), None
        except RpcError as caught:
            error = caught
        except Reject as reject:
            error = RpcError(RpcCode.VERIFY_REJECTED, str(reject))
        except DecodeError as bad:
            error = RpcError(RpcCode.INVALID_PARAMETER, str(bad))
        except (NodeError, StorageError, NodeStopped) as fault:  # disk full, stopping: the sentence is for people
            error = RpcError(RpcCode.MISC_ERROR, str(fault) or type(fault).__name__)
        except Exception as unexpected:  # supervisor: one call's failure is that call's answer
            log.exception("RPC %s failed", call.method[:64])
            error = RpcError(RpcCode.MISC_ERROR, f"Internal error: {type(unexpected).__name__}; see debug.log")
        return protocol.reply_error(call, error), error

    async def _execute(self, ctx: RpcContext, call: Call) -> Any:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("ThreadRPCServer method=%s user=%s", call.method[:64], ctx.user)
            known = self._registry.get(call.method)
            names = None if known is None else [name for param in known.params for name in param.names[:1]]
            log.debug("RPC arguments: %s", str(mask_arguments(call.params, names))[:1000])
        if self._state.warmup is not None:
            method = self._registry.get(call.method)
            if method is None or method.needs_warm:
                raise RpcError(RpcCode.IN_WARMUP, self._state.warmup)
        number = self._state.begin(call.method)
        try:
            return await self._registry.call(ctx, call.method, call.params)
        finally:
            self._state.end(number)


def _json(body: bytes, status: int) -> JsonAnswer:
    return JsonAnswer(body + b"\n", status)


def _wallet_name(request: web.Request) -> str | None:
    """The wallet in the path `/wallet/<name>`, None at `/`."""
    path = request.rel_url.raw_path
    if not path.startswith("/wallet/"):
        return None
    return unquote(path.removeprefix("/wallet/"))


async def _read_body(request: web.Request) -> bytes | web.Response:
    """The whole body, or the answer for one that is too large, too slow, or broken on its way."""
    status, text = 413, "Request body too large"
    if request.content_length is None or request.content_length <= MAX_BODY_BYTES:
        try:
            if request.content.is_eof():  # it came with the headers: no need for a timer
                body = request.content.read_nowait()
            else:
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    body = await request.read()
            if len(body) <= MAX_BODY_BYTES:
                return body
        except TimeoutError:
            status, text = 408, "The request's body did not arrive in time"
        except (web.RequestPayloadError, HttpProcessingError):
            status, text = 400, "The request's body is not well-formed HTTP"
    refusal = web.Response(status=status, text=text)
    refusal.force_close()
    return refusal
