"""OpenAPI 3.1 of everything that is served, from the route table."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from api.errors import ErrorShape
from api.routing import Access, Param, ParamKind, PlainText, Route, RouteTable
from gldnode.params import ChainParams

__all__ = ["openapi_document"]

_REF = "#/components/schemas/{name}"
_PATH_PARAM = re.compile(r"\{([A-Za-z]+)(?::[^}]*)?\}")
_REASONS = {
    400: "The request cannot be done as asked.",
    401: "No key, or an unknown one.",
    403: "The key lacks the permission.",
    404: "Not found.",
    405: "The method is not allowed here.",
    408: "The body took too long.",
    409: "In conflict with the present state.",
    410: "Gone.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The request's values do not pass.",
    429: "Too many requests.",
    503: "Not available now.",
}
_ERROR_SCHEMA = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string", "description": "For programs."},
        "message": {"type": "string", "description": "For people."},
    },
}
_ISSUES_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["path", "message"],
        "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
    },
}


def openapi_document(tables: Sequence[RouteTable], params: ChainParams) -> dict[str, Any]:
    """The document as a JSON value."""
    routes = [route for table in tables for route in table if not route.hidden]
    types = {id(kind): kind for route in routes for kind in (route.body, route.answer) if _has_schema(kind)}
    schemas, components = msgspec.json.schema_components(types.values(), ref_template=_REF)
    by_type = dict(zip(types, schemas, strict=True))
    uses = Counter(route.handler for route in routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _PATH_PARAM.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, by_type, uses[route.handler] > 1)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{params.unit} node: payments",
            "version": "1",
            "description": "Amounts are decimal text without exponent; times are Unix seconds.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in sorted({route.tag for route in routes})],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR_SCHEMA, "Issues": _ISSUES_SCHEMA},
            "securitySchemes": {
                "API_Key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`token <key>` or `Bearer <key>`.",
                },
                "Basic": {"type": "http", "scheme": "basic", "description": "E-mail address and password."},
            },
        },
    }


def _has_schema(kind: Any) -> bool:
    return kind is not None and kind is not PlainText


def _operation(route: Route, by_type: dict[int, Any], is_shared: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route, is_shared),
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": [*_path_params(route), *(_query_param(param) for param in route.query)],
        "responses": _responses(route, by_type),
    }
    if route.access is not Access.ANONYMOUS:
        scopes = [] if isinstance(route.access, Access) else [route.access]
        operation["security"] = [{"API_Key": scopes}]
        if route.access is not Access.API_KEY:
            operation["security"].append({"Basic": []})
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": {"schema": by_type[id(route.body)]}},
        }
    return operation


def _operation_id(route: Route, is_shared: bool) -> str:
    """The handler's name; with the path's words where it serves several."""
    if not is_shared:
        return route.handler.__name__
    words = [word for word in re.split(r"[^A-Za-z0-9]+", _PATH_PARAM.sub(r"{\1}", route.path)) if word]
    return "_".join([route.handler.__name__, *(word for word in words if word not in ("api", "v1"))])


def _path_params(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PATH_PARAM.findall(route.path)
    ]


def _query_param(param: Param) -> dict[str, Any]:
    number: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": param.maximum}
    kinds: dict[ParamKind, dict[str, Any]] = {
        ParamKind.TEXT: {"type": "string", "maxLength": 2000},
        ParamKind.FLAG: {"type": "boolean"},
        ParamKind.INTEGER: number,
        ParamKind.TIMESTAMP: number,
    }
    kind = kinds[param.kind]
    schema = {"type": "array", "items": kind} if param.many else kind
    return {"name": param.name, "in": "query", "required": False, "description": param.summary, "schema": schema}


def _responses(route: Route, by_type: dict[int, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if _has_schema(route.answer):
        success["content"] = {"application/json": {"schema": by_type[id(route.answer)]}}
    elif route.answer is PlainText:
        success["content"] = {"text/plain": {"schema": {"type": "string"}}}
    statuses = {*route.errors, 400, 401, 422, 429, 503}
    if not isinstance(route.access, Access):
        statuses.add(403)
    if route.body is not None:
        statuses |= {408, 413, 415}
    answers = {str(status): _error(status, route.shape) for status in sorted(statuses)}
    return {str(route.status): success, **answers}


def _error(status: int, shape: ErrorShape) -> dict[str, Any]:
    name = "Issues" if status == 422 and shape is ErrorShape.GREENFIELD else "Error"
    schema = {"$ref": _REF.format(name=name)}
    return {"description": _REASONS[status], "content": {"application/json": {"schema": schema}}}
