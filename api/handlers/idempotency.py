"""`Idempotency-Key`: a creating call repeated by a shop gives the first call's answer and makes nothing new."""

import hashlib
import re
from collections.abc import Callable
from typing import Any

import msgspec
from multidict import istr

from api.errors import ApiError
from api.routing import Call
from gldnode.rpc.answer import JsonAnswer
from payments.invoice import Invoice
from payments.service import Idempotency, Sent

__all__ = ["idempotency_of", "sent"]

_HEADER = istr("Idempotency-Key")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def idempotency_of(call: Call[Any], render: Callable[[Invoice], bytes]) -> Idempotency | None:
    """What the service needs to recognise a repetition; None without the header. Raises ApiError 400."""
    key = call.request.headers.get(_HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise ApiError(400, "invalid-idempotency-key", "Idempotency-Key must have 1 to 255 printable characters.")
    who = call.principal
    body = msgspec.json.encode(call.body, order="sorted")
    route = f"{call.route.method} {call.request.path}"
    return Idempotency(who.key_id or who.user_id or "", route, key, hashlib.sha256(body).digest(), render)


def sent(result: Sent, render: Callable[[Invoice], bytes]) -> JsonAnswer:
    if result.stored is None:
        return JsonAnswer(render(result.invoice))
    replayed = JsonAnswer(result.stored)
    replayed.headers["Idempotency-Replayed"] = "true"
    return replayed
