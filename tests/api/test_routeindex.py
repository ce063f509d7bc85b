"""The index of routes leads where aiohttp's router leads."""

import re
from collections.abc import Mapping

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from api.handlers import payment_tables, system_tables
from api.legacy import GONE
from api.routeindex import RouteIndex

NAMED = [
    (route.method, route.path) for table in [*payment_tables(), *system_tables(with_node=True)] for route in table
]
ROUTES = [*GONE, *NAMED]
VALUES = {"rateSource": "primary", "paymentMethodId": "GLD-CHAIN"}


async def nothing(request: web.Request) -> web.Response:
    return web.Response()


def made() -> tuple[web.Application, RouteIndex]:
    """Every route in both; the handlers of the index have the route's number for a name."""
    app, index = web.Application(), RouteIndex()
    for number, (method, path) in enumerate(ROUTES):

        async def handle(request: web.Request, values: Mapping[str, str]) -> web.StreamResponse:
            return web.Response()

        handle.__name__ = str(number)
        index.add(method, path, handle)
        app.router.add_route(method, path, nothing, name=f"r{number}")
    app.router.freeze()
    return app, index


APP, INDEX = made()


async def routed(method: str, path: str) -> tuple[str, dict[str, str]] | None:
    """aiohttp's route, as its path pattern, and the values."""
    match = await APP.router.resolve(make_mocked_request(method, path))
    resource = match.route.resource
    return None if match.http_exception or resource is None else (resource.canonical, dict(match))


def indexed(method: str, path: str) -> tuple[str, dict[str, str]] | None:
    found = INDEX.find(method, path)
    if found is None:
        return None
    handler, values = found
    return re.sub(r"\{(\w+):[^}]*\}", r"{\1}", ROUTES[int(handler.__name__)][1]), dict(values)


def sample(path: str, value: str) -> str:
    """`path` with values in the places of its parameters."""
    return re.sub(r"\{(\w+)(?::[^}]*)?\}", lambda match: VALUES.get(match[1], value), path)


@pytest.mark.parametrize("value", ["7fWk", "invoices", "a.b~c-d", "LNURL", "12"])
async def test_both_find_the_same_route_and_values(value: str) -> None:
    for method, path in ROUTES:
        asked = sample(path, value)
        found = await routed(method, asked)
        assert found is not None
        assert indexed(method, asked) == found, (method, asked)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/stores//invoices",
        "/api/v1/stores/a/invoices/",
        "/api/v1/stores/a%2Fb/invoices",
        "/api/v1/stores/{a}/invoices",
        "/api/v1/stores/a/rates/configuration/tertiary",
        "/api/v1/nothing",
        "/",
        "",
    ],
)
def test_what_needs_a_closer_look_is_left_to_aiohttp(path: str) -> None:
    assert INDEX.find("GET", path) is None


def test_another_method_is_left_to_aiohttp() -> None:
    assert INDEX.find("GET", "/health") is not None
    assert INDEX.find("DELETE", "/health") is None
