"""The one error that a caller of the payment service can cause, with its code, sentence and HTTP status."""

from collections.abc import Sequence
from dataclasses import dataclass

from gldnode.errors import NodeError

__all__ = ["FieldProblem", "PaymentError", "ValidationError", "not_found"]


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field of a request that was refused. `path` is Greenfield's: `Amount`, `Checkout.Expiration`."""

    path: str
    message: str


class PaymentError(NodeError):
    """An API caller's fault, or a state that forbids the call.

    `code` is stable and for machines, `message` one sentence for people, `status` the HTTP status that fits.
    `extra` goes into the answer beside them (`messageToSign` of a claim that needs a proof).
    """

    def __init__(self, code: str, message: str, status: int = 400, extra: dict[str, object] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.extra = extra or {}


class ValidationError(PaymentError):
    """Fields that do not pass; Greenfield answers 422 with an array of them."""

    def __init__(self, problems: Sequence[FieldProblem] | FieldProblem, code: str = "validation-failed") -> None:
        self.problems = (problems,) if isinstance(problems, FieldProblem) else tuple(problems)
        super().__init__(code, "; ".join(f"{p.path}: {p.message}" for p in self.problems), 422)


def not_found(what: str) -> PaymentError:
    """404 in Greenfield's words: `invoice-not-found`, "The invoice was not found"."""
    return PaymentError(f"{what}-not-found", f"The {what} was not found", 404)
