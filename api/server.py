"""aiohttp's server with the limits it lacks: header time, connections per address, our own refusals."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from api.connection import LimitedProtocol
from api.guard import IPAddress

__all__ = ["LimitedRunner", "Limits"]

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of us one caller may hold."""

    header_timeout_s: float = 10.0
    """From the first byte of a request (or the connection's begin) to the end of its headers."""
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 75.0
    """Between requests of one connection."""
    read_timeout_s: float = 60.0
    """Without the caller's having taken in anything of an answer that waits."""
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


class LimitedRunner(web.AppRunner):
    """Runs an application on a `LimitedServer`, with `supervise` round every request, routed or not."""

    __slots__ = ("_limits", "_supervise")

    def __init__(self, app: web.Application, supervise: Callable[[Handler], Handler], limits: Limits) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=3.0)
        self._limits = limits
        self._supervise = supervise

    async def _make_server(self) -> web.Server:
        return LimitedServer(await super()._make_server(), self._supervise, self._limits)
