"""aiohttp's server with the limits it lacks: header time, connections per address, our own refusals."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from api.guard import IPAddress, parse_peer

__all__ = ["LimitedRunner", "Limits"]

_log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of us one caller may hold."""

    header_timeout_s: float = 10.0
    """From the first byte of a request (or the connection's begin) to the end of its headers."""
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 75.0
    """Between requests of one connection."""
    per_address: int = 64
    per_local_address: int = 512
    total: int = 1024


class LimitedServer(web.Server):
    """Makes our protocol objects and counts them by address."""

    def __init__(self, inner: web.Server, supervise: Callable[[Handler], Handler], limits: Limits) -> None:
        super().__init__(
            supervise(inner.request_handler),
            request_factory=inner.request_factory,
            loop=asyncio.get_running_loop(),
            auto_decompress=False,
            keepalive_timeout=limits.idle_timeout_s,
            lingering_time=2.0,
            access_log=None,
        )
        self.limits = limits
        self.open: Counter[IPAddress | None] = Counter()

    def __call__(self) -> web.RequestHandler:
        return LimitedProtocol(self, asyncio.get_running_loop(), **self._kwargs)

    def admit(self, address: IPAddress | None) -> bool:
        """Count one more connection of `address`; False where it has too many."""
        limits = self.limits
        most = limits.per_local_address if address is None or address.is_loopback else limits.per_address
        admitted = self.open[address] < most and self.open.total() < limits.total
        self.open[address] += 1
        return admitted

    def leave(self, address: IPAddress | None) -> None:
        self.open[address] -= 1
        if self.open[address] <= 0:
            del self.open[address]


class LimitedProtocol(web.RequestHandler):
    """One connection."""

    __slots__ = ("_address", "_header_timer", "_limits", "_server")

    def __init__(self, server: LimitedServer, loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(server, loop=loop, **kwargs)
        self._server = server
        self._limits = server.limits
        self._address: IPAddress | None = None
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._address = parse_peer(transport.get_extra_info("peername"))
        admitted = self._server.admit(self._address)
        super().connection_made(transport)
        if admitted:
            self._start_header_timer()
        else:
            self._refuse(
                429, "Too Many Requests", "too-many-connections", "This address has too many connections."
            )

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_header_timer()
        if self._manager is not None:
            self._server.leave(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._stop_header_timer()
        elif self._header_timer is None and self._waiter is not None and data:
            self._start_header_timer()  # the first bytes of a further request on a kept connection

    def _start_header_timer(self) -> None:
        self._header_timer = self._loop.call_later(self._limits.header_timeout_s, self._header_timeout)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _header_timeout(self) -> None:
        self._header_timer = None
        self._refuse(408, "Request Timeout", "request-timeout", "The request's headers took too long.")

    def _refuse(self, status: int, reason: str, code: str, message: str) -> None:
        """Answer without a request and close."""
        transport = self.transport
        if transport is not None:
            body = msgspec.json.encode({"code": code, "message": message})
            head = (
                f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            transport.write(head.encode() + body)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Our JSON for what aiohttp's parser refuses; no traceback, since only the caller is at fault."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if isinstance(exc, HttpProcessingError):
            status, code, text = 400, "malformed-request", "The request is not well-formed HTTP."
            _log.debug("malformed HTTP from %s: %r", request.remote, exc)
        else:
            status, code, text = 500, "internal-error", "Something went wrong here; the log has more."
            _log.error("unhandled error answering %s", request.remote, exc_info=exc)
        body = msgspec.json.encode({"code": code, "message": text})
        response = web.Response(status=status, body=body, content_type="application/json")
        response.force_close()
        return response


class LimitedRunner(web.AppRunner):
    """Runs an application on a `LimitedServer`, with `supervise` round every request, routed or not."""

    __slots__ = ("_limits", "_supervise")

    def __init__(self, app: web.Application, supervise: Callable[[Handler], Handler], limits: Limits) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=3.0)
        self._limits = limits
        self._supervise = supervise

    async def _make_server(self) -> web.Server:
        return LimitedServer(await super()._make_server(), self._supervise, self._limits)
