"""Who may call what, walked over the whole route table."""

import re
from contextlib import AbstractContextManager

import pytest

from api.handlers import payment_tables, system_tables
from api.permissions import ALL_POLICIES, UNRESTRICTED, Permission, contains, grants, parse_permission
from api.routing import Access, Route
from payments.vault import Vault
from storage.database import ReadSnapshot
from tests.support.http import Answer, Browser
from tests.support.shop import Shop

ROUTES = [route for table in (*system_tables(with_node=False), *payment_tables()) for route in table]
GUARDED = [route for route in ROUTES if isinstance(route.access, str)]


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


async def send(browser: Browser, route: Route, **values: str) -> Answer:
    """With a body that no model takes, so that nothing is changed by who may."""
    path = re.sub(r"\{(\w+)(?::(\w+)[^}]*)?\}", lambda match: values.get(match[1], match[2] or "x"), route.path)
    return await browser.send(route.method, path, raw=b"[]" if route.body is not None else None)


def lacking(policy: str) -> list[str]:
    """All permissions but those that contain `policy`."""
    return [other for other in ALL_POLICIES if not contains(other, policy)]


def test_every_route_is_documented_or_hidden_on_purpose() -> None:
    for route in ROUTES:
        assert route.summary
        assert route.handler.__name__ != "<lambda>"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", [route for route in ROUTES if route.access is not Access.ANONYMOUS], ids=name_of)
async def test_without_a_key_nothing_is_told(shop: Shop, route: Route) -> None:
    answer = await send(shop.anyone, route, storeId=shop.store.id)
    assert (answer.status, answer.code) == (401, "unauthenticated")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", GUARDED, ids=name_of)
async def test_a_key_needs_the_routes_permission(shop: Shop, route: Route) -> None:
    policy = str(route.access)
    weak = await shop.with_permissions(*lacking(policy))
    answer = await send(weak, route, storeId=shop.store.id)
    assert (answer.status, answer.code) == (403, "missing-permission")
    if not route.path.startswith("/api/btngpay"):
        assert answer.json["missingPermission"] == policy


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", GUARDED, ids=name_of)
async def test_exactly_the_routes_permission_is_enough(shop: Shop, route: Route) -> None:
    if "{storeId}" not in route.path and "{" in route.path:
        return  # an unknown object of a store-less route looks like a forbidden one
    key = await shop.with_permissions(str(route.access))
    answer = await send(key, route, storeId=shop.store.id)
    assert answer.status not in (401, 403, 500), answer.text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", [route for route in GUARDED if "{storeId}" in route.path], ids=name_of)
async def test_another_stores_rights_do_not_count_here(shop: Shop, route: Route) -> None:
    key = await shop.with_permissions(f"{UNRESTRICTED}:another")
    answer = await send(key, route, storeId=shop.store.id)
    assert (answer.status, answer.code) == (403, "missing-permission")
    everywhere = await shop.with_permissions(UNRESTRICTED)
    answer = await send(everywhere, route, storeId="unknown")
    assert (answer.status, answer.code) == (403, "missing-permission")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_store_of_others_causes_the_reads_of_one_that_does_not_exist(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await shop.service.accounts.create_user("stranger@example.com", None, is_admin=False)
    stranger = await shop.with_permissions(UNRESTRICTED, user_id=user.id)
    reads: list[str] = []
    reading = Vault.reading

    def counted(vault: Vault) -> AbstractContextManager[ReadSnapshot | None]:
        reads.append("read")
        return reading(vault)

    monkeypatch.setattr(Vault, "reading", counted)
    found = []
    for store_id in ("before", shop.store.id, "unknown"):  # the first request looks the key up
        shop.service._stores.clear()
        reads.clear()
        answer = await stranger.get(f"/api/v1/stores/{store_id}/invoices/unknown")
        found.append((answer.status, answer.text, len(reads)))
    assert found[1][0] == 403
    assert found[1] == found[2]


def test_the_tree_of_permissions() -> None:
    assert contains(UNRESTRICTED, "btcpay.server.canviewusers")
    assert not contains("btcpay.server.canmodifyserversettings", "btcpay.server.canviewusers")
    assert not contains("btcpay.store.cancreateinvoice", "btcpay.store.canviewinvoices")
    assert not contains("btcpay.store.canviewstoresettings", "btcpay.store.canviewwallet")
    assert contains("btcpay.store.canmodifystoresettings", "btcpay.store.canviewwallet")
    assert contains("btcpay.store.canmodifystoresettings", "btcpay.store.cancreatelightninginvoice")


def test_permission_texts() -> None:
    assert parse_permission("BTCPay.Store.CanViewInvoices:AbC") == Permission(
        "btcpay.store.canviewinvoices", "AbC"
    )
    for text in ("", "x", "btcpay", "btcpay.", "btcpay.store.:", "btcpay.store.canviewinvoices:", "unrestricted:"):
        with pytest.raises(ValueError):
            parse_permission(text)
    held = [Permission("btcpay.store.canviewinvoices", "a")]
    assert grants(held, "btcpay.store.canviewinvoices", "a")
    assert not grants(held, "btcpay.store.canviewinvoices", "b")
    assert not grants(held, "btcpay.store.canviewinvoices", None)
