"""Errors of the layers below, as answers. Whatever is not here is our own bug and stays an exception."""

from api.errors import ApiError, Issue
from api.jsonbody import JsonError
from gldnode.errors import DecodeError, Reject
from gldnode.primitives.amount import AmountError
from payments.errors import PaymentError, ValidationError
from storage.errors import Unavailable

__all__ = ["translate_error"]


def translate_error(error: Exception) -> ApiError | None:
    """The answer for `error`, None where the caller is not at fault."""
    match error:
        case ApiError():
            return error
        case ValidationError():
            issues = tuple(Issue(problem.path, problem.message) for problem in error.problems)
            message = "; ".join(
                f"{issue.path}: {issue.message}" if issue.path else issue.message for issue in issues
            )
            return ApiError(422, error.code, message, issues)
        case PaymentError():
            headers = {"Retry-After": "30"} if error.status in (429, 503) else {}
            return ApiError(error.status, error.code, error.message, extra=error.extra, headers=headers)
        case JsonError():
            return ApiError(422, "validation-failed", str(error), (Issue(error.path, error.message),))
        case AmountError():
            return ApiError(422, "invalid-amount", str(error), (Issue("amount", str(error)),))
        case Unavailable():
            return ApiError(503, "not-available", "The records cannot be read now", headers={"Retry-After": "30"})
        case Reject():
            return ApiError(400, error.reason, str(error))
        case DecodeError():
            return ApiError(422, "validation-failed", str(error))
        case _:
            return None
