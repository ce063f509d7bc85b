"""Users with passwords, their keys, and their places in stores."""

import base64
from pathlib import Path

import pytest

from tests.support.greenfield import Greenfield
from tests.support.http import Browser
from tests.support.shop import Shop, open_shop


def basic(email: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{email}:{password}".encode()).decode()}


async def test_the_first_administrator_needs_no_key_but_must_be_here(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        body = {"email": "first@example.com", "password": "pass:word 1", "isAdministrator": True}
        for headers in (
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"X-Forwarded-For": "1.2.3.4"},
        ):
            assert (await shop.anyone.post("/api/v1/users", body, headers=headers)).status == 401
        anonymous = Greenfield(shop.anyone)
        for bad in ({}, {"email": "x"}, {"email": "a@b.c"}, {"email": "a@b.c", "password": "short"}):
            assert await anonymous.call("POST /users", bad, expect=422)
        made = await anonymous.call("POST /users", body, expect=201)
        assert made["roles"] == ["ServerAdmin"]
        assert (await anonymous.call("POST /users", {**body, "email": "second@example.com"}, expect=401))["code"]
        login = basic("First@Example.com", "pass:word 1")
        key = await anonymous.call(
            "POST /api-keys", {"permissions": ["unrestricted"], "label": "mine"}, headers=login
        )
        admin = Greenfield(shop.running.browser.with_key(key["apiKey"]))
        assert (await admin.call("GET /users/me"))["id"] == made["id"]
        assert (await shop.anyone.get("/api/v1/api-keys/current", headers=login)).status == 401
        clerk = await admin.call(
            "POST /users", {"email": "clerk@example.com", "password": "clerks word"}, expect=201
        )
        assert clerk["roles"] == []
        await _check_members(admin, shop.running.browser, clerk["id"])
        await _check_locking(admin, shop.running.browser, clerk["id"])
        await _check_wrong_passwords(anonymous)


async def _check_members(admin: Greenfield, browser: Browser, clerk_id: str) -> None:
    store = (await admin.call("POST /stores", {"name": "Ours"}))["id"]
    key = (
        await admin.call("POST /users/{idOrEmail}/api-keys", {"permissions": ["unrestricted"]}, idOrEmail=clerk_id)
    )["apiKey"]
    clerk = Greenfield(browser.with_key(key), storeId=store)
    await clerk.call("GET /stores/{storeId}", expect=403)
    assert await clerk.call("GET /stores") == []
    await clerk.call("GET /users", expect=403)
    await admin.call("POST /stores/{storeId}/users", {"id": clerk_id, "storeRole": "guest"}, storeId=store)
    again = await admin.call(
        "POST /stores/{storeId}/users", {"userId": clerk_id, "role": "Guest"}, expect=409, storeId=store
    )
    assert again["code"] == "duplicate-store-user-role"
    await clerk.call("GET /stores/{storeId}/invoices")
    await clerk.call("GET /stores/{storeId}", expect=403)
    one = "/stores/{storeId}/users/{idOrEmail}"
    await admin.call(f"PUT {one}", {"storeRole": "Manager"}, storeId=store, idOrEmail="clerk@example.com")
    assert [item["id"] for item in await clerk.call("GET /stores")] == [store]
    await clerk.call("PUT /stores/{storeId}", {"name": "Mine"}, expect=403)
    members = await admin.call("GET /stores/{storeId}/users", storeId=store)
    assert {(item["email"], item["storeRole"], item["role"]) for item in members} == {
        ("first@example.com", "Owner", "Owner"),
        ("clerk@example.com", "Manager", "Manager"),
    }
    me = await admin.call("GET /users/me")
    orphaned = await admin.call(f"DELETE {one}", expect=409, storeId=store, idOrEmail=me["id"])
    assert orphaned["code"] == "store-user-role-orphaned"
    assert await admin.call(f"PUT {one}", {"storeRole": "King"}, expect=422, storeId=store, idOrEmail=clerk_id)
    await admin.call(f"DELETE {one}", storeId=store, idOrEmail=clerk_id)
    await clerk.call("GET /stores/{storeId}/invoices", expect=403)
    roles = await admin.call("GET /stores/{storeId}/roles", storeId=store)
    assert {role["role"] for role in roles} >= {"Owner", "Manager", "Employee", "Guest"}


async def _check_locking(admin: Greenfield, browser: Browser, clerk_id: str) -> None:
    key = (
        await admin.call("POST /users/{idOrEmail}/api-keys", {"permissions": ["unrestricted"]}, idOrEmail=clerk_id)
    )["apiKey"]
    clerk = Greenfield(browser.with_key(key))
    await clerk.call("GET /users/me")
    await admin.call("POST /users/{idOrEmail}/lock", {"locked": True}, idOrEmail=clerk_id)
    assert "disabled" in (await clerk.call("GET /users/me", expect=401))["message"]
    await admin.call("POST /users/{idOrEmail}/lock", {"locked": False}, idOrEmail=clerk_id)
    changed = await clerk.call(
        "PUT /users/me", {"name": "Clerk", "currentPassword": "clerks word", "newPassword": "new word"}
    )
    assert changed["name"] == "Clerk"
    assert await clerk.call("PUT /users/me", {"currentPassword": "wrong", "newPassword": "newer word"}, expect=422)
    await clerk.call("GET /users/me", headers=basic("clerk@example.com", "new word"))
    await clerk.call("DELETE /users/me")
    await clerk.call("GET /users/me", expect=401)
    last = await admin.call("DELETE /users/me", expect=409)
    assert last["code"] == "last-administrator"
    assert len(await admin.call("GET /users")) == 1


async def _check_wrong_passwords(anonymous: Greenfield) -> None:
    for _ in range(5):
        await anonymous.call("GET /users/me", expect=401, headers=basic("first@example.com", "wrong"))
    locked = await anonymous.call("GET /users/me", expect=401, headers=basic("first@example.com", "pass:word 1"))
    assert "locked" in locked["message"] or "Rate limited" in locked["message"]


@pytest.mark.asyncio(loop_scope="module")
async def test_unknown_addresses_are_refused_and_then_slowed(shop: Shop) -> None:
    answers = [await shop.anyone.get("/api/v1/users/me", headers=basic("no@example.com", "x")) for _ in range(5)]
    assert {answer.status for answer in answers} == {401}
    assert "Rate limited" in answers[-1].json["message"]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_key_may_be_bound_to_addresses(shop: Shop) -> None:
    api = Greenfield(shop.owner)
    for ranges, status in (
        (["10.0.0.0/8", "2001:db8::/32"], 401),
        (["10.0.0.0/8", "127.0.0.0/8"], 200),
        ([], 200),
    ):
        body = {"label": "bound", "permissions": ["unrestricted"], "allowedIps": ranges}
        made = await api.call("POST /api-keys", body)
        answer = await shop.anyone.with_key(made["apiKey"]).get("/api/v1/stores")
        assert answer.status == status, ranges
    issues = await api.call(
        "POST /api-keys", {"permissions": ["unrestricted"], "allowedIps": ["here"]}, expect=422
    )
    assert issues
