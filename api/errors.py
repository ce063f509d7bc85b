"""What a caller did wrong, as HTTP: one exception, one table, two shapes of body.

Greenfield: `{"code","message"}`, and for status 422 an array of `{"path","message"}`. Everything else: the object.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = ["ApiError", "ErrorShape", "Invalid", "Issue", "error_body", "unauthenticated"]


class ErrorShape(Enum):
    """How a route writes a 422."""

    OBJECT = "object"
    GREENFIELD = "greenfield"


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong with a request; `path` names the property or parameter."""

    path: str
    message: str


@dataclass(slots=True)
class ApiError(Exception):
    """A request that gets an error answer. `message` is for people, `code` for programs."""

    status: int
    code: str
    message: str
    issues: Sequence[Issue] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


def Invalid(path: str, message: str, code: str = "validation-failed") -> ApiError:
    """422 for one property."""
    return ApiError(422, code, f"{path}: {message}" if path else message, (Issue(path, message),))


def unauthenticated(message: str) -> ApiError:
    return ApiError(401, "unauthenticated", message, headers={"WWW-Authenticate": 'token realm="GLD"'})


def error_body(error: ApiError, shape: ErrorShape) -> Any:
    """The JSON value of the answer."""
    if shape is ErrorShape.GREENFIELD and error.status == 422:
        issues = error.issues or (Issue("", error.message),)
        return [{"path": issue.path, "message": issue.message} for issue in issues]
    body: dict[str, Any] = {"code": error.code, "message": error.message, **error.extra}
    if error.issues:
        body["errors"] = [{"path": issue.path, "message": issue.message} for issue in error.issues]
    return body
