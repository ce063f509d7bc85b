"""Notifications: told to the store's members and to the operator, kept, seen, deleted, and wanted or not."""

import pytest

from tests.support.greenfield import Greenfield
from tests.support.shop import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def late_payment(api: Greenfield, shop: Shop) -> str:
    """The id of an invoice that is paid after its time."""
    await shop.till.fill_purse(1)
    await shop.till.settle()
    body = {"amount": "0.3", "currency": "GLD", "checkout": {"expirationMinutes": 1}}
    made = await api.call("POST /stores/{storeId}/invoices", body)
    shop.till.pass_time(600)
    await shop.till.mine()
    await shop.till.tick()
    invoice = shop.service.invoice(made["id"])
    assert invoice is not None
    await shop.till.pay(invoice, memo=True)
    await shop.till.mine()
    return str(made["id"])


async def test_members_and_the_operator_are_told(shop: Shop) -> None:
    operator = Greenfield(shop.owner, storeId=shop.store.id)
    accounts = shop.service.accounts
    member = await accounts.create_user("clerk@example.com", "a good password", is_admin=False)
    stranger = await accounts.create_user("other@example.com", "a good password", is_admin=False)
    await accounts.set_role(shop.store.id, member.id, "Employee", new=True)
    clerk = operator.using(await shop.with_permissions("unrestricted", user_id=member.id))
    nobody = operator.using(await shop.with_permissions("unrestricted", user_id=stranger.id))
    invoice_id = await late_payment(operator, shop)
    (notice,) = await clerk.call("GET /users/me/notifications")
    assert notice["identifier"] == "invoicestate_invoice_paidAfterExpiration"
    assert (notice["storeId"], notice["seen"]) == (shop.store.id, False)
    assert invoice_id in notice["body"]
    assert notice["link"].endswith(f"/i/{invoice_id}")
    assert await operator.call("GET /users/me/notifications") == [notice]
    assert await nobody.call("GET /users/me/notifications") == []
    here = {"id": notice["id"]}
    assert await clerk.call("GET /users/me/notifications/{id}", **here) == notice
    assert (await nobody.answer("GET /users/me/notifications/{id}", **here)).code == "notification-not-found"
    assert (await clerk.call("PUT /users/me/notifications/{id}", {}, **here))["seen"] is True
    assert await clerk.call("GET /users/me/notifications", query={"seen": "false"}) == []
    assert len(await clerk.call("GET /users/me/notifications", query={"seen": "true", "take": 5})) == 1
    assert await clerk.call("GET /users/me/notifications", query={"storeId": "another"}) == []
    assert await clerk.call("GET /users/me/notifications", query={"skip": 1}) == []
    assert (await operator.call("GET /users/me/notifications"))[0]["seen"] is False  # an inbox each
    assert (await clerk.call("PUT /users/me/notifications/{id}", {"seen": True}, **here))["seen"] is True
    await clerk.call("DELETE /users/me/notifications/{id}", **here)
    for bad in (notice["id"], "x", "00", "é"):
        answer = await clerk.answer("DELETE /users/me/notifications/{id}", id=bad)
        assert (answer.status, answer.code) == (404, "notification-not-found")


async def test_what_one_does_not_want_is_not_told(shop: Shop) -> None:
    api = Greenfield(shop.owner, storeId=shop.store.id)
    before = await api.call("GET /users/me/notifications")
    shown = (await api.call("GET /users/me/notification-settings"))["notifications"]
    assert {item["identifier"]: item["enabled"] for item in shown}["invoicestate_invoice_confirmed"] is False
    off = await api.call("PUT /users/me/notification-settings", {"disabled": ["all"]})
    assert not any(item["enabled"] for item in off["notifications"])
    await late_payment(api, shop)
    assert await api.call("GET /users/me/notifications") == before
    on = await api.call("PUT /users/me/notification-settings", {"disabled": ["newversion"]})
    assert all(item["enabled"] for item in on["notifications"])
    await late_payment(api, shop)
    assert len(await api.call("GET /users/me/notifications")) == len(before) + 1
    assert (await api.call("PUT /users/me/notification-settings", {}, expect=422))[0]["path"]
