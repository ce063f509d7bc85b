"""One call to the server without any network: what to send, how to read the answer, when to try again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

__all__ = ["Call", "GreenfieldError", "ServerUnreachable", "read_answer", "retry_after_s"]

T = TypeVar("T")

ATTEMPTS: Final = 4
FIRST_WAIT_S: Final = 0.25
LONGEST_WAIT_S: Final = 30.0
_NOT_DONE: Final = (429, 503)
"""The server says that it has done nothing."""
_UNKNOWN: Final = (502, 504)
"""Something between says that it does not know."""


class GreenfieldError(Exception):
    """The server refused. `issues` are (path, message) of status 422."""

    def __init__(self, status: int, code: str, message: str, issues: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.issues = issues


class ServerUnreachable(Exception):
    """No answer, also not after trying again."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request whose answer is a `T`."""

    method: str
    path: str
    answer: type[T]
    query: Mapping[str, Any] | None = None
    body: Any = None
    idempotency_key: str | None = None

    @property
    def target(self) -> str:
        """Path and query; list values are repeated, None left out, booleans in JSON's words."""
        pairs = [
            (name, str(item).lower() if isinstance(item, bool) else str(item))
            for name, value in (self.query or {}).items()
            if value is not None
            for item in (value if isinstance(value, list | tuple) else (value,))
        ]
        return self.path + ("?" + urlencode(pairs) if pairs else "")

    @property
    def payload(self) -> bytes | None:
        return None if self.body is None else msgspec.json.encode(self.body)

    def headers(self, key: str | None) -> dict[str, str]:
        made = {"Accept": "application/json", "User-Agent": "gldnode-client"}
        if key:
            made["Authorization"] = f"token {key}"
        if self.body is not None:
            made["Content-Type"] = "application/json"
        if self.idempotency_key is not None:
            made["Idempotency-Key"] = self.idempotency_key
        return made

    @property
    def may_repeat(self) -> bool:
        """Whether sending it twice does what sending it once does."""
        return self.method != "POST" or self.idempotency_key is not None


def path(template: str, *values: str) -> str:
    """`/stores/{}/invoices` with its values, each escaped."""
    return "/api/v1" + template.format(*(quote(value, safe="") for value in values))


def given(**values: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def read_answer(call: Call[T], status: int, body: bytes) -> T:
    """The typed answer. Raises GreenfieldError."""
    if 200 <= status < 300:
        if call.answer is type(None):
            return None  # T is None here
        return msgspec.json.decode(body, type=call.answer)
    raise _error(status, body)


def _error(status: int, body: bytes) -> GreenfieldError:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return GreenfieldError(status, "unknown", body[:200].decode(errors="replace"))
    if isinstance(value, list):
        issues = tuple(
            (str(item.get("path")), str(item.get("message"))) for item in value if isinstance(item, dict)
        )
        return GreenfieldError(status, "validation-failed", "; ".join(f"{p}: {m}" for p, m in issues), issues)
    if isinstance(value, dict):
        return GreenfieldError(status, str(value.get("code")), str(value.get("message")))
    return GreenfieldError(status, "unknown", str(value)[:200])


def retry_after_s(call: Call[Any], attempt: int, status: int | None, header: str | None) -> float | None:
    """How long to wait before the next attempt; None to give up. `status` None: the connection failed."""
    if attempt >= ATTEMPTS:
        return None
    is_safe = status in _NOT_DONE or (call.may_repeat and (status is None or status in _UNKNOWN))
    if not is_safe:
        return None
    if header is not None and header.isascii() and header.isdigit() and len(header) < 6:
        return min(float(header), LONGEST_WAIT_S)
    return float(FIRST_WAIT_S * 2 ** (attempt - 1))
