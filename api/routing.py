"""One typed route table: it makes the aiohttp handlers, the validation, and the OpenAPI document.

A handler is `async def (call: Call[Body]) -> answer`; what it returns is written as JSON. Order of checks:
rate, key, permission and store, then query and body: who may not ask learns nothing about what they asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import istr

from api.context import ApiContext
from api.errors import ApiError, ErrorShape, Invalid, Issue, error_body
from api.jsonbody import MAX_BODY_BYTES, JsonError, decode_model
from api.permissions import Permission
from api.routeindex import PathHandler
from api.translate import translate_error
from gldnode.rpc.answer import JSON, JsonAnswer

__all__ = ["Access", "Call", "Param", "ParamKind", "PlainText", "Principal", "Route", "RouteTable", "read_body"]

B = TypeVar("B")


class NoBody(msgspec.Struct):
    """The body model of routes that take none."""


NO_BODY = NoBody()
_CONTENT_TYPE = istr("Content-Type")
_ENCODER = msgspec.json.Encoder()


class PlainText:
    """The answer "type" of routes that write text."""


class Access(Enum):
    """Who may call a route that names no permission."""

    ANONYMOUS = "anonymous"
    AUTHENTICATED = "authenticated"
    API_KEY = "api key"  # a key, not a password


class ParamKind(Enum):
    TEXT = "string"
    FLAG = "boolean"
    INTEGER = "integer"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True)
class Param:
    """A query parameter; names match without regard to case."""

    name: str
    kind: ParamKind = ParamKind.TEXT
    many: bool = False
    summary: str = ""
    maximum: int = 2**53


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, as proved by the request."""

    permissions: tuple[Permission, ...]
    user_id: str | None = None
    key_id: str | None = None
    """The key's public id; None for a password."""
    is_admin: bool = False


@dataclass(slots=True)
class Call(Generic[B]):
    """One request at one route, validated."""

    request: web.Request
    context: ApiContext
    route: "Route"
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: B
    who: Principal | None
    store_id: str | None = None
    """The store that was authorised, where the permission is a store's."""

    @property
    def principal(self) -> Principal:
        """Who asks, at a route that is not anonymous."""
        assert self.who is not None
        return self.who

    @property
    def store(self) -> str:
        """The authorised store, at a route whose permission is a store's."""
        assert self.store_id is not None
        return self.store_id


Handler = Callable[[Call[Any]], Awaitable[Any]]
Gate = Callable[
    [web.Request, ApiContext, "Route", Mapping[str, str]],
    Awaitable[tuple[Principal | None, str | None]],
]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API."""

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    access: Access | str
    """An `Access`, or the policy that a key needs."""
    shape: ErrorShape
    body: type | None = None
    body_optional: bool = False
    answer: Any = None
    """The answer's type for the documentation; None where there is no body."""
    query: tuple[Param, ...] = ()
    status: int = 200
    errors: tuple[int, ...] = ()
    """Statuses besides those that every route of its kind may give."""
    unscoped: bool = False
    """The permission must hold for all stores."""
    hidden: bool = False
    """Served, but left out of the documentation (twins kept for old clients)."""
    max_bytes: int = MAX_BODY_BYTES

    @property
    def operation_id(self) -> str:
        return self.handler.__name__


@dataclass(slots=True)
class RouteTable:
    """Routes that share a prefix, a tag and an error shape."""

    prefix: str
    tag: str
    shape: ErrorShape
    routes: list[Route] = field(default_factory=list)

    def __iter__(self) -> Iterator[Route]:
        return iter(self.routes)

    def add(
        self,
        method: str,
        *paths: str,
        access: Access | str,
        summary: str,
        body: type[B] | None = None,
        body_optional: bool = False,
        answer: Any = None,
        query: Sequence[Param] = (),
        status: int = 200,
        errors: Sequence[int] = (),
        unscoped: bool = False,
        hidden: bool = False,
        max_bytes: int = MAX_BODY_BYTES,
    ) -> Callable[[Callable[[Call[Any]], Awaitable[Any]]], Callable[[Call[Any]], Awaitable[Any]]]:
        """Register the decorated handler at each of `paths`."""

        def register(handler: Handler) -> Handler:
            for path in paths:
                self.routes.append(
                    Route(
                        method=method,
                        path=self.prefix + path,
                        handler=handler,
                        summary=summary,
                        tag=self.tag,
                        access=access,
                        shape=self.shape,
                        body=body,
                        body_optional=body_optional,
                        answer=answer,
                        query=tuple(query),
                        status=status,
                        errors=tuple(errors),
                        unscoped=unscoped,
                        hidden=hidden,
                        max_bytes=max_bytes,
                    )
                )
            return handler

        return register


def path_handler(route: Route, context: ApiContext, gate: Gate) -> PathHandler:
    """What answers `route`, given the values of its path's parameters."""

    async def handle(request: web.Request, path: Mapping[str, str]) -> web.StreamResponse:
        try:
            who, store_id = await gate(request, context, route, path)
            query = _read_query(request, route.query)
            if route.body is None:
                body = NO_BODY
            else:
                raw = whole_body(request, route.max_bytes)
                if raw is None:
                    raw = await read_body(request, route.max_bytes, context.limits.body_timeout_s)
                body = _model_of(raw, request, route, route.body)
            call = Call(request, context, route, path, query, body, who, store_id)
            return _respond(await route.handler(call), route.status)
        except Exception as error:
            known = translate_error(error)
            if known is None:
                raise
            return error_response(known, route.shape)

    return handle


def error_response(error: ApiError, shape: ErrorShape) -> JsonAnswer:
    """The answer that tells `error`."""
    response = json_response(error_body(error, shape), error.status)
    if error.headers:
        response.headers.update(error.headers)
    if error.status in (408, 413):
        response.force_close()
    return response


def json_response(value: Any, status: int = 200) -> JsonAnswer:
    return JsonAnswer(_ENCODER.encode(value), status)


async def read_body(request: web.BaseRequest, max_bytes: int, timeout_s: float) -> bytes:
    """The whole body. Raises ApiError: too large, too slow, or broken framing."""
    body = whole_body(request, max_bytes)
    if body is not None:
        return body
    try:
        async with asyncio.timeout(timeout_s):
            body = await _gather(request, max_bytes)
    except TimeoutError as error:
        raise ApiError(408, "request-timeout", "The request's body took too long.") from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise _broken() from error
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body


def whole_body(request: web.BaseRequest, max_bytes: int) -> bytes | None:
    """The body where it came with the headers, as most do; None: read_body. Raises ApiError as that does."""
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    content = request.content
    if not content.is_eof():
        return None
    try:
        body = content.read_nowait()
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise _broken() from error
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(413, "body-too-large", f"The body is larger than {max_bytes} bytes.")


def _broken() -> ApiError:
    return ApiError(400, "malformed-request", "The request's body is not well-formed HTTP.")


async def _gather(request: web.BaseRequest, max_bytes: int) -> bytes:
    """The body as it comes, up to the first piece behind `max_bytes`."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            break
    return bytes(body)


def _respond(answer: Any, status: int) -> web.StreamResponse:
    if isinstance(answer, web.StreamResponse):
        return answer
    if answer is None:
        return web.Response(status=status)
    return json_response(answer, status)


def _model_of(body: bytes, request: web.Request, route: Route, model: type) -> Any:
    if not body.strip():
        if not route.body_optional:
            raise Invalid("request", "A JSON body is required.")
        body = b"{}"
    elif not _is_json(request):
        raise ApiError(415, "unsupported-media-type", "The body's Content-Type must be application/json.")
    try:
        return decode_model(body, model, route.max_bytes)
    except JsonError as error:
        status = 422 if route.shape is ErrorShape.GREENFIELD or error.path else 400
        code = "validation-failed" if error.path else "malformed-json"
        raise ApiError(status, code, str(error), (Issue(error.path, error.message),)) from error


def _is_json(request: web.Request) -> bool:
    """Whether its body is said to be JSON, or nothing is said of it."""
    said = request.headers.get(_CONTENT_TYPE)
    if said is None or said == JSON:
        return True
    content_type = request.content_type
    return content_type in (JSON, "text/json") or content_type.endswith("+json")


def _read_query(request: web.Request, params: Sequence[Param]) -> dict[str, Any]:
    if not request.rel_url.raw_query_string:
        return {param.name: [] if param.many else None for param in params} if params else {}
    found: dict[str, Any] = {}
    given: dict[str, list[str]] = {}
    for name, value in request.query.items():
        given.setdefault(name.lower(), []).append(value)
    for param in params:
        values = [_read_param(param, text) for text in given.get(param.name.lower(), [])]
        found[param.name] = values if param.many else (values[-1] if values else None)
    return found


def _read_param(param: Param, text: str) -> Any:
    if len(text) > 2000 or "\0" in text:
        raise Invalid(param.name, "The value is too long or has a NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Invalid(param.name, "The value is not UTF-8.") from error
    match param.kind:
        case ParamKind.TEXT:
            return text
        case ParamKind.FLAG:
            flag = {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower())
            if flag is None:
                raise Invalid(param.name, f"The value '{text[:40]}' is not valid.")
            return flag
        case ParamKind.INTEGER | ParamKind.TIMESTAMP:
            message = "Invalid unix timestamp" if param.kind is ParamKind.TIMESTAMP else "Expected a whole number."
            if not (text.isascii() and text.isdigit() and len(text) <= 16) or int(text) > param.maximum:
                raise Invalid(param.name, message)
            return int(text)
