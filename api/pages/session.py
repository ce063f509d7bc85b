"""Signed-in browsers: a cookie that only our own pages send, and a token that every form carries."""

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import parse_qs

from aiohttp import web

from api.context import ApiContext
from api.errors import ApiError
from api.guard import is_secure
from api.routing import read_body
from payments.accounts import User

__all__ = ["Form", "Session", "Sessions", "read_form"]

COOKIE = "gld_session"
_LIFE_S = 3600
_MAX_SESSIONS = 10_000
_MAX_FORM_BYTES = 64 * 1024

Form = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user. `form_token` is bound to the session."""

    user_id: str
    form_token: str
    ends_at: float


class Sessions:
    """Kept in memory by the hash of the cookie; a restart signs everybody out."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, user: User, request: web.Request, response: web.StreamResponse) -> None:
        entropy, clock = self._context.host.entropy, self._context.host.clock
        cookie = entropy.bytes(32).hex()
        self._sessions[_key(cookie)] = Session(user.id, entropy.bytes(32).hex(), clock.monotonic() + _LIFE_S)
        while len(self._sessions) > _MAX_SESSIONS:
            self._sessions.popitem(last=False)
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=_LIFE_S,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=is_secure(request, self._context.guard),
        )

    def find(self, request: web.Request) -> tuple[Session, User] | None:
        """The session of the request's cookie and its user, None where either is gone."""
        cookie = request.cookies.get(COOKIE)
        session = self._sessions.get(_key(cookie)) if cookie and len(cookie) == 64 else None
        if session is None or session.ends_at < self._context.host.clock.monotonic():
            return None
        user = self._context.service.accounts.user(session.user_id)
        return (session, user) if user is not None and not user.disabled else None

    def check_form(self, session: Session, form: Form) -> None:
        """Raises ApiError 403 where the form is not one of ours."""
        given = one(form, "token")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), session.form_token.encode()):
            raise ApiError(403, "form-token", "The form is not valid any more; go back and load the page again.")


async def read_form(request: web.Request, context: ApiContext) -> Form:
    """The fields of a posted form. Raises ApiError."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise ApiError(415, "unsupported-media-type", "A form is expected.")
    body = await read_body(request, _MAX_FORM_BYTES, context.limits.body_timeout_s)
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=500, errors="strict")
    except ValueError as error:
        raise ApiError(400, "malformed-form", "The form is not well-formed.") from error


def one(form: Form, name: str) -> str:
    return form.get(name, [""])[-1]


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()
