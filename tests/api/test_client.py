"""Our own Python client: its examples against a live shop, repetitions, webhooks, and what importing it costs."""

import asyncio
import doctest
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web

from api.client import (
    AsyncBTCPayClient,
    BTCPayClient,
    GreenfieldError,
    InvalidWebhook,
    ServerUnreachable,
    calls,
    protocol,
    read_webhook,
    sign_webhook,
    waiting,
    webhooks,
)
from tests.support.receiver import open_receiver
from tests.support.shop import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")


def run_examples(module: ModuleType, names: dict[str, Any]) -> tuple[int, int]:
    """(failed, run) of the module's docstrings."""
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs=names):
        if "Client." not in example.name:  # methods have their function's docstring
            runner.run(example)
    return runner.failures, runner.tries


async def test_the_examples_do_what_they_say(shop: Shop) -> None:
    base = shop.anyone.base
    names = {"client": BTCPayClient(base, shop.key), "base_url": base, "key": shop.key, "store": shop.store.id}
    for module, least in ((calls, 40), (waiting, 2), (webhooks, 4)):
        failed, tried = await asyncio.to_thread(run_examples, module, names)
        assert (failed, tried >= least) == (0, True), f"{module.__name__}: {failed} of {tried}"


async def test_both_clients_have_every_call(shop: Shop) -> None:
    names = {
        name
        for name, value in vars(calls).items()
        if callable(value) and getattr(value, "__module__", "") == calls.__name__ and not name.startswith("_")
    }
    assert len(names) > 35
    for kind in (BTCPayClient, AsyncBTCPayClient):
        assert names == {name for name, value in vars(kind).items() if type(value).__name__ == "_Method"}
    async with AsyncBTCPayClient(shop.anyone.base, shop.key) as client:
        method: Any = client.create_invoice
        assert (method.__name__, bool(method.__doc__)) == ("create_invoice", True)


async def test_refusals_are_one_exception(shop: Shop) -> None:
    async with AsyncBTCPayClient(shop.anyone.base, shop.key) as client:
        with pytest.raises(GreenfieldError) as refused:
            await client.create_invoice(shop.store.id, "-1")
        assert (refused.value.status, refused.value.issues[0][0]) == (422, "Amount")
        with pytest.raises(GreenfieldError) as refused:
            await client.get_invoice(shop.store.id, "a/b ?")
        assert (refused.value.status, refused.value.code) == (404, "invoice-not-found")
    async with AsyncBTCPayClient(shop.anyone.base) as stranger:
        with pytest.raises(GreenfieldError) as refused:
            await stranger.get_stores()
        assert refused.value.status == 401
    with pytest.raises(ValueError, match="not an address"):
        BTCPayClient("pay.example.com")


class Flaky:
    """A server that answers what it is told, in order."""

    def __init__(self, answers: Sequence[tuple[int, dict[str, str]]]) -> None:
        self.answers = list(answers)
        self.keys: list[str | None] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("Idempotency-Key"))
        status, headers = self.answers.pop(0)
        return web.json_response({"code": "x", "message": "y"}, status=status, headers=headers)


async def serve(flaky: Flaky, work: Callable[[str], Any]) -> Any:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", flaky.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        return await work(f"http://127.0.0.1:{port}")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("blocking", [False, True])
async def test_what_may_be_repeated_is(blocking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_WAIT_S", 0.001)

    async def ask(base: str, name: str, *values: Any) -> Any:
        if blocking:
            return await asyncio.to_thread(getattr(BTCPayClient(base, "k"), name), *values)
        async with AsyncBTCPayClient(base, "k") as client:
            return await getattr(client, name)(*values)

    busy = [(503, {"Retry-After": "0"}), (502, {}), (429, {"Retry-After": "0"}), (400, {})]
    flaky = Flaky(busy)
    with pytest.raises(GreenfieldError, match="400 x"):
        await serve(flaky, lambda base: ask(base, "create_invoice", "s", "1"))
    assert len(flaky.keys) == 4
    assert len(set(flaky.keys)) == 1
    assert flaky.keys[0]
    flaky = Flaky([(502, {}), (200, {})])
    with pytest.raises(GreenfieldError, match="502"):
        await serve(flaky, lambda base: ask(base, "mark_invoice", "s", "i", "Settled"))
    assert len(flaky.answers) == 1
    flaky = Flaky([(504, {})] * 9)
    with pytest.raises(GreenfieldError, match="504"):
        await serve(flaky, lambda base: ask(base, "get_stores"))
    assert len(flaky.keys) == protocol.ATTEMPTS
    with pytest.raises(ServerUnreachable):
        await ask("http://127.0.0.1:9", "get_health")


async def test_a_shop_takes_our_webhooks(shop: Shop) -> None:
    async with AsyncBTCPayClient(shop.anyone.base, shop.key) as client, open_receiver() as receiver:
        hook = await client.create_webhook(shop.store.id, receiver.url, events=["InvoiceSettled"])
        invoice = await client.create_invoice(shop.store.id, "1", "GLD", order_id="77")
        await client.mark_invoice(shop.store.id, invoice.id, "Settled")
        (delivery,) = await receiver.wait(1)
        assert hook.secret is not None
        event = read_webhook(delivery.body, delivery.signature, hook.secret)
        assert (event.type, event.invoice_id, event.manually_marked) == ("InvoiceSettled", invoice.id, True)
        assert event.metadata == {"orderId": "77"}
        for body, signature in ((delivery.body + b" ", sign_webhook(delivery.body, hook.secret)), (b"{}", None)):
            with pytest.raises(InvalidWebhook):
                read_webhook(body, signature, hook.secret)
        with pytest.raises(InvalidWebhook, match="not an event"):
            read_webhook(b"[]", sign_webhook(b"[]", "s"), "s")


async def test_importing_the_client_starts_nothing() -> None:
    code = (
        "import sys, api.client; "
        "heavy = {'aiohttp', 'plyvel', 'coincurve', 'gldnode.node', 'api.app', 'payments', 'jwt', 'embit'}; "
        "print(sorted(heavy & set(sys.modules)), len(sys.modules))"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("[] "), done.stdout
