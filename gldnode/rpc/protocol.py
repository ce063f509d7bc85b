"""JSON-RPC 1.x and 2.0 in the forms that Bitcoin Core accepts and answers. Pure.

Without `jsonrpc`, or with "1.0": both `result` and `error` in every answer, HTTP status 500 (400, 404) on errors.
With "2.0": one of them, status 200; without `id` a notification, answered 204 without a body.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import decode, encode

__all__ = ["Call", "Failure", "http_status", "parse_body", "parse_call", "reply_error", "reply_result"]

MAX_DEPTH: Final = 512
"""Core's UniValue limit; bounds what a handler may recurse into."""


@dataclass(slots=True)
class Call:
    """One request object, as far as it could be understood."""

    id: Any = None
    has_id: bool = False
    v2: bool = False
    method: str = ""
    params: list[Any] | dict[str, Any] | None = None

    @property
    def is_notification(self) -> bool:
        return self.v2 and not self.has_id


class Failure(RpcError):
    """A request object that is none; `call` has what was understood before."""

    def __init__(self, call: Call, message: str) -> None:
        super().__init__(RpcCode.INVALID_REQUEST, message)
        self.call = call


def parse_body(body: bytes) -> Any:
    """The JSON of a request's body: an object or an array. Raises RpcError."""
    try:
        value = decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RpcError(RpcCode.PARSE_ERROR, "Parse error") from None
    if not isinstance(value, (dict, list)):
        raise RpcError(RpcCode.PARSE_ERROR, "Top-level object parse error")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _too_deep(value):
        raise RpcError(RpcCode.PARSE_ERROR, "Parse error")
    return value


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


def parse_call(value: Any) -> Call:
    """One request object. Raises Failure with Core's sentence."""
    call = Call()
    if not isinstance(value, dict):
        raise Failure(call, "Invalid Request object")
    if "id" in value:
        call.id, call.has_id = value["id"], True
    version = value.get("jsonrpc")
    if version is not None:
        if type(version) is not str:
            raise Failure(call, "jsonrpc field must be a string")
        if version == "2.0":
            call.v2 = True
        elif version not in ("1.0", "1.1"):
            raise Failure(call, "JSON-RPC version not supported")
    method = value.get("method")
    if method is None:
        raise Failure(call, "Missing method")
    if type(method) is not str:
        raise Failure(call, "Method must be a string")
    call.method = method
    params = value.get("params")
    if params is not None and not isinstance(params, (list, dict)):
        raise Failure(call, "Params must be an array or object")
    call.params = params
    return call


def reply_result(call: Call, result: Any) -> bytes:
    """The answer to `call`. Raises TypeError for a result that is no JSON (our bug)."""
    if call.v2:
        return encode({"jsonrpc": "2.0", "result": result, "id": call.id})
    return encode({"result": result, "error": None, "id": call.id})


def reply_error(call: Call, error: RpcError) -> bytes:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    if call.v2:
        return encode({"jsonrpc": "2.0", "error": body, "id": call.id})
    return encode({"result": None, "error": body, "id": call.id})


def http_status(error: RpcError) -> int:
    """The status of a 1.x error answer."""
    if error.code == RpcCode.INVALID_REQUEST:
        return 400
    return 404 if error.code == RpcCode.METHOD_NOT_FOUND else 500
