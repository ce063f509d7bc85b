"""A webhook receiver for tests: keeps what comes, answers as told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from payments.signing import SIGNATURE_HEADER, verify_body

__all__ = ["Received", "Receiver", "open_receiver"]


@dataclass
class Received:
    """One delivery."""

    body: bytes
    signature: str | None
    content_type: str

    @property
    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.body)
        return fields

    def is_signed(self, secret: str) -> bool:
        return verify_body(secret, self.body, self.signature)


@dataclass
class Receiver:
    """Listens on a free port of 127.0.0.1; `answer` gives the status of a delivery, None for never."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answer: Callable[[Received], int | None] = lambda _: 200
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        got = Received(await request.read(), request.headers.get(SIGNATURE_HEADER), request.content_type)
        status = self.answer(got)
        if status is None:
            await asyncio.sleep(3600)
            status = 200
        self.received.append(got)
        self._changed.set()
        headers = {"Location": "http://127.0.0.1:1/"} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=headers)

    async def wait(self, count: int, timeout_s: float = 5) -> list[Received]:
        """The deliveries once there are `count`."""
        async with asyncio.timeout(timeout_s):
            while len(self.received) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.received

    def types(self, invoice_id: str | None = None) -> list[str]:
        """Event types in order of arrival."""
        return [
            got.fields["type"]
            for got in self.received
            if invoice_id is None or got.fields.get("invoiceId") == invoice_id
        ]


@asynccontextmanager
async def open_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()
