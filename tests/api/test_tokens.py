"""Short-lived tokens of a key."""

import base64
import json

import jwt
import pytest

from api.permissions import Permission
from api.tokens import intersection
from tests.support.greenfield import Greenfield
from tests.support.shop import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

VIEW = "btcpay.store.canviewinvoices"
CREATE = "btcpay.store.cancreateinvoice"


async def make_token(shop: Shop, permissions: list[str], **body: object) -> tuple[Greenfield, str, Greenfield]:
    """The key's client, the token, and the token's client."""
    key, _ = await shop.service.create_api_key("parent", [f"btcpay.store.canmodifyinvoices:{shop.store.id}"])
    parent = Greenfield(shop.anyone.with_key(key), storeId=shop.store.id)
    made = await parent.call("POST /api-keys/current/token", {"permissions": permissions, **body})
    assert made["token_type"] == "Bearer"
    return parent, made["access_token"], parent.using(shop.anyone.with_key(made["access_token"]))


async def test_a_token_has_no_more_than_its_scope_and_its_key(shop: Shop) -> None:
    parent, _, token = await make_token(shop, [VIEW, "btcpay.store.canmodifystoresettings"])
    await token.call("GET /stores/{storeId}/invoices")
    refused = await token.call("PUT /stores/{storeId}", {"name": "Mine"}, expect=403)
    assert refused["code"] == "missing-permission"
    _, _, viewer = await make_token(shop, [VIEW])
    await viewer.call("POST /stores/{storeId}/invoices", {"amount": 1}, expect=403)
    assert await parent.call(
        "POST /api-keys/current/token", {"permissions": ["btcpay.server.canviewusers"]}, expect=422
    )
    assert await parent.call("POST /api-keys/current/token", {"expiresIn": 901}, expect=422)


async def test_a_token_ends_with_its_time_and_with_its_key(shop: Shop) -> None:
    _, _, short = await make_token(shop, [VIEW], expiresIn=60)
    parent, _, token = await make_token(shop, [VIEW])
    await short.call("GET /stores/{storeId}/invoices")
    shop.till.pass_time(61)
    assert "expired" in (await short.call("GET /stores/{storeId}/invoices", expect=401))["message"]
    await token.call("GET /stores/{storeId}/invoices")
    await parent.call("DELETE /api-keys/current")
    await token.call("GET /stores/{storeId}/invoices", expect=401)


async def test_forged_tokens_are_refused(shop: Shop) -> None:
    parent, genuine, _ = await make_token(shop, [VIEW])
    head, claims, signature = genuine.split(".")
    decoded = jwt.decode(genuine, options={"verify_signature": False})
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    wide = (
        base64.urlsafe_b64encode(json.dumps({**decoded, "scope": "unrestricted"}).encode()).rstrip(b"=").decode()
    )
    header = jwt.get_unverified_header(genuine)
    forged = [
        f"{none}.{claims}.",
        f"{none}.{claims}.{signature}",
        f"{head}.{wide}.{signature}",
        f"{head}.{claims}.AAAA",
        "..",
        "a.b.c",
        jwt.encode(
            decoded, b"another secret of thirty-two bytes", algorithm="HS256", headers={"kid": header["kid"]}
        ),
        jwt.encode(decoded, b"another secret of thirty-two bytes", algorithm="HS256"),
    ]
    for text in forged:
        answer = await shop.anyone.with_key(text).get(f"/api/v1/stores/{shop.store.id}/invoices")
        assert (answer.status, answer.code) == (401, "unauthenticated"), text
    secret = (shop.node.payments_dir / "token-secret").read_bytes()
    assert (shop.node.payments_dir / "token-secret").stat().st_mode & 0o777 == 0o600
    for change in (
        {"aud": "main https://else.example"},
        {"exp": decoded["iat"] + 10_000},
        {"sub": "nobody"},
        {"iat": "x"},
    ):
        text = jwt.encode({**decoded, **change}, secret, algorithm="HS256", headers={"kid": header["kid"]})
        assert (await shop.anyone.with_key(text).get("/api/v1/stores")).status == 401
    hs512 = jwt.encode(decoded, secret + secret, algorithm="HS512", headers={"kid": header["kid"]})
    assert (await shop.anyone.with_key(hs512).get("/api/v1/stores")).status == 401
    await parent.call("GET /stores/{storeId}/invoices")


async def test_rights_are_what_both_allow() -> None:
    everything, view, create = Permission("unrestricted"), Permission(VIEW, "a"), Permission(CREATE)
    assert intersection([everything], [view]) == (view,)
    assert intersection([view], [everything]) == (view,)
    assert intersection([view], [create]) == ()
    assert intersection([create], [Permission(CREATE, "b")]) == (Permission(CREATE, "b"),)
    assert intersection([view], [Permission(VIEW)]) == (view,)
    modify = Permission("btcpay.store.canmodifyinvoices", "a")
    assert intersection([modify], [Permission(VIEW), create]) == (view, Permission(CREATE, "a"))
