"""The client for programs that wait: standard library only, one connection a request."""

import functools
import http.client
import time
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload
from urllib.parse import urlsplit

from api.client import calls
from api.client.protocol import Call, ServerUnreachable, read_answer, retry_after_s

__all__ = ["BTCPayClient"]

P = ParamSpec("P")
T = TypeVar("T")


class _Method(Generic[P, T]):
    """A function that makes a `Call`, as a method that sends it."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> "_Method[P, T]": ...

    @overload
    def __get__(self, client: "BTCPayClient", owner: type) -> Callable[P, T]: ...

    def __get__(self, client: "BTCPayClient | None", owner: type) -> "_Method[P, T] | Callable[P, T]":
        if client is None:
            return self
        make = self._make

        @functools.wraps(make)
        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return client.send(make(*args, **kwargs))

        return method


class BTCPayClient:
    """A shop's side of the API. Safe to use from several threads.

    >>> import api.client
    >>> client = api.client.BTCPayClient("http://127.0.0.1:8080", "the key", timeout_s=5)

    Calls raise GreenfieldError for what the server refuses. A lost connection and an overloaded server are tried
    again, where a repetition does no harm; then ServerUnreachable.
    """

    def __init__(self, base_url: str, key: str | None = None, *, timeout_s: float = 30) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an address such as https://pay.example.com: {base_url!r}")
        self._is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._root = parts.path.rstrip("/")
        self._key = key
        self._timeout_s = timeout_s

    def send(self, call: Call[T]) -> T:
        """What the methods below do with their call."""
        attempt = 0
        while True:
            attempt += 1
            status, header, problem = None, None, ""
            try:
                status, header, body = self._exchange(call)
            except (OSError, http.client.HTTPException) as error:
                body, problem = b"", f"{type(error).__name__}: {error}"
            wait = None if status is not None and status < 400 else retry_after_s(call, attempt, status, header)
            if wait is not None:
                time.sleep(wait)
            elif status is None:
                raise ServerUnreachable(problem)
            else:
                return read_answer(call, status, body)

    def _exchange(self, call: Call[Any]) -> tuple[int, str | None, bytes]:
        kind = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.request(call.method, self._root + call.target, call.payload, call.headers(self._key))
            response = connection.getresponse()
            return response.status, response.getheader("Retry-After"), response.read()
        finally:
            connection.close()

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
