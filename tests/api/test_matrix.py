"""Every route by every permission, for the own store, a foreign one, all of them, and without a key.

What is right is told by the published behaviour (its tree of permissions and its table of endpoints), not by the
code under test.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from api.auth import admit
from api.context import ApiContext
from api.errors import ApiError
from api.handlers import payment_tables, system_tables
from api.permissions import ALL_POLICIES, UNRESTRICTED, contains
from api.routing import Access, Route
from payments.requests import PaymentRequest
from payments.service import InvoiceDraft
from tests.support.campaign import campaign
from tests.support.http import Browser
from tests.support.schemas import greenfield_dir
from tests.support.shop import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = [route for table in (*system_tables(with_node=False), *payment_tables()) for route in table]
TREE = """
unrestricted
 store.canmodifystoresettings
  store.canmanagepullpayments
   store.cancreatepullpayments
    store.cancreatenonapprovedpullpayments
     store.canviewpullpayments
   store.canarchivepullpayments
  store.canmodifyinvoices
   store.canviewinvoices
   store.cancreateinvoice
   store.cancreatelightninginvoice
    store.canviewlightninginvoice
  store.canviewstoresettings
   store.canviewinvoices
   store.canviewpaymentrequests
   store.canviewreports
   store.canviewpullpayments
   store.canviewpayouts
  store.webhooks.canmodifywebhooks
  store.canmodifypaymentrequests
   store.canviewpaymentrequests
  store.canmanagepayouts
   store.canviewpayouts
  store.canuselightningnode
   store.canviewlightninginvoice
   store.cancreatelightninginvoice
    store.canviewlightninginvoice
  store.cansendstoreemails
  store.canmanagewallets
   store.canmanagewalletsettings
    store.canviewwallet
   store.canmanagewallettransactions
    store.cancreatetransactions
     store.canviewwallet
    store.cansigntransactions
     store.canviewwallet
    store.canbroadcasttransactions
     store.canviewwallet
    store.cancanceltransactions
     store.canviewwallet
  store.canmodifyofferings
   store.canviewofferings
   store.canmanagesubscribers
   store.cancreditsubscribers
 server.canmodifyserversettings
  server.canuseinternallightningnode
   server.cancreatelightninginvoiceinternalnode
   server.canviewlightninginvoiceinternalnode
  server.canmanageusers
   server.cancreateuser
 server.canviewusers
 user.canmodifyprofile
  user.canviewprofile
 user.canmanagenotificationsforuser
  user.canviewnotificationsforuser
 user.candeleteuser
"""


def below() -> dict[str, set[str]]:
    """Each policy with all that it contains, itself included."""
    found: dict[str, set[str]] = {}
    above: list[str] = []
    for line in TREE.split("\n")[1:-1]:
        depth = len(line) - len(line.lstrip())
        policy = line.strip() if depth == 0 else "btcpay." + line.strip()
        above = [*above[:depth], policy]
        for each in above:
            found.setdefault(each, set()).add(policy)
    return found


BELOW = below()


async def test_the_tree_is_the_published_one() -> None:
    assert {*ALL_POLICIES, UNRESTRICTED} == set(BELOW)
    wrong = [(p, q) for p in BELOW for q in BELOW if contains(p, q) != (q in BELOW[p])]
    assert wrong == []


def published_permissions() -> Iterator[tuple[str, str]]:
    """(`METHOD /path`, permission) of the table of endpoints."""
    text = (greenfield_dir() / "BEHAVIOUR.md").read_text(encoding="utf-8")
    for line in text[text.index("## 23.") :].splitlines():
        row = re.fullmatch(r"\| (GET|POST|PUT|DELETE|PATCH) \| `(/[^`]*)`[ †]*\| ([^|]*) \| [12] \|.*", line)
        if row is not None and row[2] not in ("/api-keys/authorize", "/i/{invoiceId}"):
            prefix = "" if row[2].startswith("/misc") else "/api/v1"
            yield f"{row[1]} {prefix}{row[2]}", row[3].strip()


async def test_every_endpoint_asks_for_the_published_permission() -> None:
    def named(route: Route) -> str:
        path = re.sub(r":[^}/]*\}", "}", route.path)
        return f"{route.method} " + re.sub(r"\{\w+\}", "{}", path)

    served = {named(route): route for route in ROUTES}
    scopes = {"s": "btcpay.store.", "u": "btcpay.user.", "v": "btcpay.server."}
    wrong, count = [], 0
    for name, permission in published_permissions():
        route = served.get(re.sub(r"\{\w+\}", "{}", name))
        if route is None:
            wrong.append(f"{name} is not served")
            continue
        count += 1
        wanted: object = permission
        if permission == "(anonymous)":
            wanted = Access.ANONYMOUS
        elif permission == "(any authenticated)":
            wanted = Access.API_KEY if name.endswith("/api-keys/current") else Access.AUTHENTICATED
        elif permission[:2] in ("s.", "u.", "v."):
            wanted = scopes[permission[0]] + permission[2:].rstrip(":")
        if route.access != wanted or route.unscoped != permission.endswith(":"):
            wrong.append(f"{name}: {route.access} instead of {wanted}")
    assert wrong == []
    assert count > 140


@dataclass
class Scene:
    """A shop with a store of ours and a foreign one, with objects in both."""

    shop: Shop
    context: ApiContext
    foreign: str
    ours: dict[str, str]
    theirs: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(shop: Shop) -> Scene:
    other, _ = await shop.another_store()
    context = shop.running.sites._context

    async def objects(store_id: str) -> dict[str, str]:
        service = shop.service
        invoice = (await service.create_invoice(store_id, InvoiceDraft(amount="1", currency="GLD"))).invoice
        webhook = await service.create_webhook(store_id, "http://127.0.0.1:9/hook")
        bill = PaymentRequest(f"bill-of-{store_id[:8]}", store_id, 1, 100, "GLD", "Bill")
        await service.requests.put(bill, 1)
        return {
            "storeId": store_id,
            "invoiceId": invoice.id,
            "webhookId": webhook.id,
            "paymentRequestId": bill.id,
        }

    return Scene(shop, context, other.id, await objects(shop.store.id), await objects(other.id))


def path_values(route: Route, known: dict[str, str]) -> dict[str, str]:
    names = re.findall(r"\{(\w+)(?::(\w+)[^}]*)?\}", route.path)
    return {name: known.get(name, default or "x") for name, default in names}


def filled(route: Route, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)[^}]*\}", lambda match: values[match[1]], route.path)


def allowed(route: Route, permission: str, store_of_key: str | None, store: str, values: dict[str, str]) -> bool:
    """What the published rules say."""
    assert isinstance(route.access, str)
    if route.access not in BELOW[permission]:
        return False
    if not route.access.startswith("btcpay.store."):
        return store_of_key is None
    has_object = {"storeId", "invoiceId", "webhookId", "paymentRequestId"} & set(values)
    if has_object:
        return store_of_key in (None, store)
    if {"payoutId", "pullPaymentId"} & set(values):
        return False  # of no store: there are none
    return store_of_key is None or not route.unscoped


async def refusal_of(request: web.Request, scene: Scene, route: Route, values: dict[str, str]) -> ApiError | None:
    try:
        await admit(request, scene.context, route, values)
    except ApiError as error:
        return error
    return None


async def test_the_whole_matrix_at_the_gate(scene: Scene) -> None:
    """Every guarded route, every permission, unscoped and for either store, about objects of either store."""
    request = make_mocked_request("GET", "/")
    keys: dict[tuple[str, str | None], str] = {}
    for permission in BELOW:
        for scope in (None, scene.shop.store.id, scene.foreign):
            text = permission if scope is None else f"{permission}:{scope}"
            keys[permission, scope], _ = await scene.shop.service.create_api_key("matrix", [text])
    requests = {
        place: make_mocked_request("GET", "/", {"Authorization": f"token {keys[place]}"}) for place in keys
    }
    count = 0
    for route in ROUTES:
        if not isinstance(route.access, str):
            continue
        for objects in (scene.ours, scene.theirs):
            values = path_values(route, objects)
            with pytest.raises(ApiError) as refused:
                await admit(request, scene.context, route, values)
            assert refused.value.status == 401
            for (permission, scope), sent in requests.items():
                expected = allowed(route, permission, scope, objects["storeId"], values)
                place = f"{route.method} {route.path} with {permission}:{scope}"
                count += 1
                refusal = await refusal_of(sent, scene, route, values)
                assert (refusal is None) == expected, place
                if refusal is not None:
                    assert (refusal.status, refusal.code) == (403, "missing-permission"), place
                    assert refusal.extra["missingPermission"] == route.access, place
    assert count > 40_000


async def test_the_gate_is_before_every_handler(scene: Scene) -> None:
    """A share of the matrix over HTTP, with bodies that no model takes."""
    step = campaign(97, 3)
    cases = [
        (route, permission, scope, objects)
        for route in ROUTES
        if isinstance(route.access, str)
        for permission in BELOW
        for scope in (None, scene.shop.store.id, scene.foreign)
        for objects in (scene.ours, scene.theirs)
    ]
    browsers: dict[str, Browser] = {}
    for route, permission, scope, objects in cases[::step]:
        text = permission if scope is None else f"{permission}:{scope}"
        if text not in browsers:
            browsers[text] = await scene.shop.with_permissions(text)
        values = path_values(route, objects)
        path = filled(route, values)
        if route.method == "DELETE" or (route.body is None and route.method == "POST"):
            continue  # they act without a body; the gate above is theirs too
        answer = await browsers[text].send(route.method, path, raw=b"[]" if route.body is not None else None)
        expected = allowed(route, permission, scope, objects["storeId"], values)
        assert answer.status != 500
        assert (answer.status == 403) != expected, f"{route.method} {path} with {text}: {answer.status}"
        assert answer.status != 401


BODIES: dict[str, object] = {
    "status": {"status": "Settled"},
    "assign": {"outpoint": "00" * 32 + "-0"},
    "pay": {},
    "webhookId": {"url": "http://127.0.0.1:9/hook"},
    "paymentRequestId": {"title": "x", "amount": 1},
    "invoiceId": {"metadata": {}},
}


async def test_what_is_anothers_looks_like_what_is_not_there(scene: Scene) -> None:
    """With a key for our store, an id of the other store and an id of nobody are told apart by nothing."""
    mine = await scene.shop.with_permissions(f"unrestricted:{scene.shop.store.id}")
    everything = await scene.shop.with_permissions("unrestricted")
    service = scene.shop.service
    before = [service.invoice(scene.theirs["invoiceId"]), service.webhook(scene.theirs["webhookId"])]
    compared = 0
    for route in ROUTES:
        kinds = {"invoiceId", "webhookId", "paymentRequestId"} & set(path_values(route, {}))
        if not kinds or not isinstance(route.access, str):
            continue
        (kind,) = kinds
        last = route.path.rpartition("/")[2].strip("{}")
        body = BODIES.get(last, {}) if route.body is not None else None
        texts = []
        for named in (scene.theirs[kind], scene.theirs[kind][:-4] + "zzzz"):
            values = path_values(route, {"storeId": scene.shop.store.id, kind: named})
            path = filled(route, values)
            answer = await mine.send(route.method, path, body)
            missing = 503 if "/refund" in path else 404
            assert answer.status == (missing if "{storeId}" in route.path else 403), f"{route.method} {path}"
            texts.append(answer.text.replace(named, "ID"))
            if "{storeId}" in route.path:  # nor does a key for everything reach across in a store's own path
                assert (await everything.send(route.method, path, body)).status == missing
        assert texts[0] == texts[1], route.path
        compared += 1
    assert compared > 40
    assert before == [service.invoice(scene.theirs["invoiceId"]), service.webhook(scene.theirs["webhookId"])]


async def test_lists_have_only_what_is_ones_own(scene: Scene) -> None:
    mine = await scene.shop.with_permissions(f"unrestricted:{scene.shop.store.id}")
    foreign = list(scene.theirs.values())
    seen = 0
    for route in ROUTES:
        if route.method != "GET" or route.access is Access.ANONYMOUS:
            continue
        values = path_values(route, scene.ours)
        path = filled(route, values)
        answer = await mine.get(path)
        seen += answer.status == 200
        assert not any(name in answer.text for name in foreign), path
    assert seen > 25
