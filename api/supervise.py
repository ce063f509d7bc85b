"""What stands round every request, routed or not: the guard, CORS, and the last line against exceptions."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from aiohttp import hdrs, web

from api.context import ApiContext
from api.errors import ApiError, ErrorShape
from api.guard import Zone, check_request
from api.legacy import is_old, rewrite
from api.routeindex import PathHandler, RouteIndex
from api.routing import error_response
from api.translate import translate_error
from gldnode.rpc.answer import CommonHeaders, JsonAnswer

__all__ = ["NodeHandler", "supervisor", "zone_of"]

_log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
NodeHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""The node's JSON-RPC: bounds the body itself, behind the password."""

_PAYMENT_PREFIXES = (
    "/api/",
    "/api-keys/",
    "/i/",
    "/invoice",
    "/misc/",
    "/modal/",
    "/static/",
    "/login",
    "/logout",
)
_PAYMENT_PATHS = frozenset(("/health", "/docs", "/robots.txt", "/favicon.ico"))
_API_PREFIXES = ("/api/", "/misc/")
_CORS_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
_HEADERS = CommonHeaders({"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"})
_API_HEADERS = CommonHeaders(
    {
        # Keys travel in a header that no browser adds by itself, so any origin may use the API.
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Retry-After, Location",
        "Cache-Control": "no-store",
        **_HEADERS.pairs,
    }
)


_KNOWN_PLACES = 512  # of at most 8 KB each


class _Place(NamedTuple):
    """What a method and a path say of a request, before anything else of it is looked at."""

    zone: Zone
    common: CommonHeaders
    is_rpc: bool
    found: tuple[PathHandler, Mapping[str, str]] | None
    """In the route tables."""


def zone_of(path: str) -> Zone:
    """Whatever is not known to be for payments belongs to the node and gets its stricter guard."""
    if path in _PAYMENT_PATHS or path.startswith(_PAYMENT_PREFIXES):
        return Zone.PAYMENTS
    return Zone.NODE


def supervisor(
    context: ApiContext, index: RouteIndex, *, node_allowed: bool, rpc: NodeHandler | None = None
) -> Callable[[Handler], Handler]:
    """Wraps an application's handler. Without `node_allowed` (the public site) the node's paths do not exist.

    `index` finds what stands in the route tables, and `rpc` answers `/` and `/wallet/<name>`, past the
    application's router, which costs as much as a small call.
    """

    @lru_cache(maxsize=_KNOWN_PLACES)
    def place_of(method: str, path: str, raw_path: str) -> _Place:
        return _Place(
            zone_of(path),
            _API_HEADERS if path.startswith(_API_PREFIXES) else _HEADERS,
            rpc is not None and (path == "/" or path.startswith("/wallet/")),
            None if is_old(path) else index.find(method, raw_path),
        )

    def supervise(inner: Handler) -> Handler:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            assert isinstance(request, web.Request)
            place = place_of(request.method, request.path, request.rel_url.raw_path)
            try:
                response = await answer(request, place)
            except web.HTTPException as error:
                response = _from_http(error)
            except ConnectionError:
                raise  # the caller went away; the connection closes
            except Exception as error:
                known = translate_error(error)
                if known is None:
                    _log.exception("unhandled error answering %s %s", request.method, request.path)
                    known = ApiError(500, "internal-error", "Something went wrong here; the log has more.")
                response = error_response(known, ErrorShape.OBJECT)
            if isinstance(response, JsonAnswer):
                response.common = place.common
            elif not response.prepared:
                place.common.add_to(response)
            return response

        def answer(request: web.Request, place: _Place) -> Awaitable[web.StreamResponse]:
            if place.zone is Zone.NODE and not node_allowed:
                check_request(request, Zone.PAYMENTS, context.guard)
                raise ApiError(404, "not-found", "There is nothing here.")
            check_request(request, place.zone, context.guard)
            if hdrs.EXPECT not in request.headers:
                if rpc is not None and place.is_rpc:
                    return rpc(request)
                if place.found is not None:
                    handler, values = place.found
                    return handler(request, values)
            if _is_preflight(request):
                return _preflight(request)
            return inner(rewrite(request))

        return handle

    return supervise


def _from_http(error: web.HTTPException) -> web.StreamResponse:
    """aiohttp's own refusals (no route, wrong method, body too large, Expect) with our body."""
    match error.status:
        case 404:
            known = ApiError(404, "not-found", "There is nothing here.")
        case 405:
            allowed = error.headers.get(hdrs.ALLOW, "")
            known = ApiError(
                405, "method-not-allowed", "The method is not allowed here.", headers={"Allow": allowed}
            )
        case 413:
            known = ApiError(413, "body-too-large", "The body is too large.")
        case 408:
            known = ApiError(408, "request-timeout", "The request's body took too long.")
        case status:
            known = ApiError(status, "refused", error.reason)
    response = error_response(known, ErrorShape.OBJECT)
    if hdrs.LOCATION in error.headers:
        response.headers[hdrs.LOCATION] = error.headers[hdrs.LOCATION]
    return response


def _is_preflight(request: web.BaseRequest) -> bool:
    return (
        request.method == "OPTIONS"
        and request.path.startswith(_API_PREFIXES)
        and "Access-Control-Request-Method" in request.headers
    )


async def _preflight(request: web.BaseRequest) -> web.Response:
    wanted = request.headers.get("Access-Control-Request-Headers", "")
    names = [name.strip() for name in wanted.split(",")]
    allowed = ", ".join(name for name in names if name and name.replace("-", "").isalnum() and name.isascii())
    return web.Response(
        status=200,
        headers={
            "Access-Control-Allow-Methods": _CORS_METHODS,
            "Access-Control-Allow-Headers": allowed or "Authorization, Content-Type",
            "Access-Control-Max-Age": "600",
        },
    )
