"""The client for asyncio, on aiohttp."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

import aiohttp
from yarl import URL

from api.client import calls
from api.client.protocol import Call, ServerUnreachable, read_answer, retry_after_s

__all__ = ["AsyncBTCPayClient"]

P = ParamSpec("P")
T = TypeVar("T")


class _Method(Generic[P, T]):
    """A function that makes a `Call`, as a coroutine method that sends it."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> "_Method[P, T]": ...

    @overload
    def __get__(self, client: "AsyncBTCPayClient", owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(
        self, client: "AsyncBTCPayClient | None", owner: type
    ) -> "_Method[P, T] | Callable[P, Coroutine[Any, Any, T]]":
        if client is None:
            return self
        make = self._make

        @functools.wraps(make)
        async def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return await client.send(make(*args, **kwargs))

        return method


class AsyncBTCPayClient:
    """The same methods as BTCPayClient's, to be awaited.

    >>> async def order() -> str:
    ...     async with AsyncBTCPayClient(base_url, key) as client:
    ...         invoice = await client.create_invoice(store, "2.5", "GLD")
    ...         return (await client.get_invoice(store, invoice.id)).status
    >>> asyncio.run(order())
    'New'
    """

    def __init__(self, base_url: str, key: str | None = None, *, timeout_s: float = 30) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"not an address such as https://pay.example.com: {base_url!r}")
        self._base = base_url.rstrip("/")
        self._key = key
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, call: Call[T]) -> T:
        """What the methods below do with their call."""
        attempt = 0
        while True:
            attempt += 1
            status, header, problem = None, None, ""
            try:
                status, header, body = await self._exchange(call)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                body, problem = b"", f"{type(error).__name__}: {error}"
            wait = None if status is not None and status < 400 else retry_after_s(call, attempt, status, header)
            if wait is not None:
                await asyncio.sleep(wait)
            elif status is None:
                raise ServerUnreachable(problem)
            else:
                return read_answer(call, status, body)

    async def _exchange(self, call: Call[Any]) -> tuple[int, str | None, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        url = URL(self._base + call.target, encoded=True)
        async with self._session.request(
            call.method, url, data=call.payload, headers=call.headers(self._key), allow_redirects=False
        ) as response:
            return response.status, response.headers.get("Retry-After"), await response.read()

    create_invoice = _Method(calls.create_invoice)
    get_invoice = _Method(calls.get_invoice)
    get_invoices = _Method(calls.get_invoices)
    update_invoice = _Method(calls.update_invoice)
    mark_invoice = _Method(calls.mark_invoice)
    archive_invoice = _Method(calls.archive_invoice)
    unarchive_invoice = _Method(calls.unarchive_invoice)
    get_invoice_payment_methods = _Method(calls.get_invoice_payment_methods)
    get_invoice_events = _Method(calls.get_invoice_events)
    get_events = _Method(calls.get_events)
    get_stores = _Method(calls.get_stores)
    get_store = _Method(calls.get_store)
    create_store = _Method(calls.create_store)
    update_store = _Method(calls.update_store)
    delete_store = _Method(calls.delete_store)
    get_payment_methods = _Method(calls.get_payment_methods)
    set_payment_method = _Method(calls.set_payment_method)
    delete_payment_method = _Method(calls.delete_payment_method)
    get_rates = _Method(calls.get_rates)
    get_webhooks = _Method(calls.get_webhooks)
    get_webhook = _Method(calls.get_webhook)
    create_webhook = _Method(calls.create_webhook)
    update_webhook = _Method(calls.update_webhook)
    delete_webhook = _Method(calls.delete_webhook)
    get_webhook_deliveries = _Method(calls.get_webhook_deliveries)
    redeliver = _Method(calls.redeliver)
    create_payment_request = _Method(calls.create_payment_request)
    get_payment_request = _Method(calls.get_payment_request)
    get_payment_requests = _Method(calls.get_payment_requests)
    pay_payment_request = _Method(calls.pay_payment_request)
    archive_payment_request = _Method(calls.archive_payment_request)
    get_stats = _Method(calls.get_stats)
    get_revenue = _Method(calls.get_revenue)
    get_current_api_key = _Method(calls.get_current_api_key)
    get_server_info = _Method(calls.get_server_info)
    get_health = _Method(calls.get_health)
