"""`/api-keys/authorize`: a shop asks for a key, its owner agrees, the browser carries the key back.

The answer has exactly the permissions that were asked for: plug-ins compare the sets. Pairing the same
application again gives a new key and ends the old one.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit

from aiohttp import web
from multidict import MultiMapping

from api.context import ApiContext
from api.errors import ApiError
from api.guard import client_address, is_secure
from api.pages.markup import Markup, join, page, tag
from api.pages.session import Form, Session, Sessions, one, read_form
from api.permissions import UNRESTRICTED, parse_permission
from payments.accounts import User
from payments.stores import ApiKey

__all__ = ["pairing_routes"]

PATH: Final = "/api-keys/authorize"
_STORE = "btcpay.store."
_SUBMIT = "document.forms[0].submit()"
_SUBMIT_HASH = base64.b64encode(hashlib.sha256(_SUBMIT.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class Wish:
    """What an application asks for, checked."""

    permissions: tuple[str, ...]
    name: str
    redirect: str
    strict: bool
    selective: bool
    identifier: str

    @property
    def application(self) -> str:
        """What makes a later pairing the same application; empty where it does not say."""
        return f"{self.identifier}@{urlsplit(self.redirect).netloc}" if self.identifier else ""

    @property
    def query(self) -> str:
        fields = [("permissions", text) for text in self.permissions]
        fields += [("applicationName", self.name), ("redirect", self.redirect)]
        fields += [("strict", str(self.strict).lower()), ("selectiveStores", str(self.selective).lower())]
        return urlencode([*fields, ("applicationIdentifier", self.identifier)])


def pairing_routes(context: ApiContext) -> list[web.RouteDef]:
    """The page, its form, and signing in."""
    sessions = Sessions(context)

    async def show(request: web.Request) -> web.StreamResponse:
        _check_transport(request, context)
        wish = _wish(request.query)
        found = sessions.find(request)
        return _sign_in_page(context, wish) if found is None else _consent_page(context, wish, *found)

    async def answer(request: web.Request) -> web.StreamResponse:
        _check_transport(request, context)
        _check_own_form(request)
        wish = _wish(request.query)
        form = await read_form(request, context)
        found = sessions.find(request)
        if found is None:
            return await _sign_in(request, context, sessions, wish, form)
        session, user = found
        sessions.check_form(session, form)
        return await _grant(context, wish, user, form)

    return [web.get(PATH, show), web.post(PATH, answer)]


def _check_transport(request: web.Request, context: ApiContext) -> None:
    """A password and a key are about to travel: on main they do so only over TLS or inside this machine."""
    if context.host.params.is_regtest or is_secure(request, context.guard):
        return
    if context.host.params.name == "main" and not is_local_page(request):
        raise ApiError(403, "tls-needed", "Pairing needs https; put a TLS proxy before -publicbind.")


def _check_own_form(request: web.Request) -> None:
    """A form that another site's page posts is refused, the sign-in too: it could sign a victim in as somebody."""
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if (
        site is not None
    ):  # browsers that say it may hide the origin ("null"), as our own referrer policy asks them to
        is_foreign = site not in ("same-origin", "none")
    else:
        host = (request.headers.get("Host") or "").lower()
        is_foreign = origin is not None and urlsplit(origin).netloc.lower() != host
    if is_foreign:
        raise ApiError(403, "foreign-form", "This form belongs to another site.")


def is_local_page(request: web.Request) -> bool:
    """A browser on this machine: loopback, without a proxy between."""
    address = client_address(request, ())
    return address is not None and address.is_loopback and "X-Forwarded-For" not in request.headers


def _wish(query: MultiMapping[str]) -> Wish:
    texts = [text for text in query.getall("permissions", []) if text]
    if not texts or len(texts) > 100:
        raise ApiError(400, "no-permissions", "The application asks for no permissions, or for too many.")
    try:
        permissions = tuple(dict.fromkeys(str(parse_permission(text)) for text in texts))
    except ValueError as error:
        raise ApiError(400, "unknown-permission", str(error)) from error
    redirect = query.get("redirect", "")
    if redirect and not _is_web_url(redirect):
        raise ApiError(400, "bad-redirect", "The redirect address must be an absolute http or https address.")
    return Wish(
        permissions,
        query.get("applicationName", "")[:100],
        redirect,
        query.get("strict", "true").lower() != "false",
        query.get("selectiveStores", "false").lower() == "true",
        query.get("applicationIdentifier", "")[:100],
    )


def _is_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and len(text) <= 2048 and text.isascii()
    except ValueError:
        return False


async def _sign_in(
    request: web.Request, context: ApiContext, sessions: Sessions, wish: Wish, form: Form
) -> web.StreamResponse:
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise ApiError(403, "form-token", "Sign in from this server's own page.")
    address = client_address(request, context.guard.trusted_proxies)
    if context.password_limiter.take(address):
        return _sign_in_page(context, wish, "Too many attempts. Wait a minute.", 429)
    user, reason = await context.service.accounts.check_password(one(form, "email"), one(form, "password")[:512])
    if user is None:
        return _sign_in_page(context, wish, f"That did not work: {reason}", 401)
    response = web.Response(status=303, headers={"Location": f"{PATH}?{wish.query}", "Cache-Control": "no-store"})
    sessions.begin(user, request, response)
    return response


def _sign_in_page(context: ApiContext, wish: Wish, problem: str = "", status: int = 200) -> web.Response:
    parts = [
        tag("h1", f"{wish.name or 'An application'} asks for access"),
        tag("p", "Sign in to go on.", cls="soft"),
    ]
    if problem:
        parts.append(tag("p", problem, cls="failed"))
    if not context.service.accounts.has_admin:
        parts.append(
            tag("p", "This server has no users yet. Make the first one on the server itself:", cls="soft")
        )
        example = (
            f"curl {context.base_url}/api/v1/users -H 'Content-Type: application/json' "
            '-d \'{"email": "you@example.com", "password": "…", "isAdministrator": true}\''
        )
        parts.append(tag("pre", example))
    fields = [
        tag("label", Markup('E-mail address <input type="email" name="email" autocomplete="username" required>')),
        tag(
            "label",
            Markup('Password <input type="password" name="password" autocomplete="current-password" required>'),
        ),
        tag("button", "Sign in", cls="button", type="submit"),
    ]
    parts.append(tag("form", join(fields), method="post", action=f"{PATH}?{wish.query}", cls="card"))
    return page("Sign in", join(parts), status=status)


def _consent_page(context: ApiContext, wish: Wish, session: Session, user: User) -> web.Response:
    name = wish.name or "An application"
    parts = [tag("h1", f"{name} asks for access"), tag("p", f"You are signed in as {user.email}.", cls="soft")]
    if wish.redirect:
        parts.append(tag("p", f"The key goes to {urlsplit(wish.redirect).netloc}.", cls="soft"))
    if _earlier(context, wish, user):
        parts.append(tag("p", "It has a key already, which will end.", cls="expired"))
    fields = [_hidden("token", session.form_token), tag("h3", "It may")]
    for text in wish.permissions:
        if wish.strict:
            fields.append(tag("p", tag("code", text)))
        else:
            fields.append(_box("permission", text, text))
    if wish.selective:
        fields.append(tag("h3", "In these stores"))
        fields += [_box("store", store_id, label) for store_id, label in _stores(context, user)]
    fields.append(tag("button", "Agree", cls="button", type="submit"))
    parts.append(tag("form", join(fields), method="post", action=f"{PATH}?{wish.query}", cls="card"))
    parts.append(tag("p", "To refuse, close this page.", cls="soft"))
    return page(f"{name} asks for access", join(parts))


async def _grant(context: ApiContext, wish: Wish, user: User, form: Form) -> web.Response:
    wanted = (
        wish.permissions if wish.strict else tuple(p for p in wish.permissions if p in form.get("permission", []))
    )
    if wish.selective:
        stores = {store_id for store_id, _ in _stores(context, user)} & set(form.get("store", []))
        wanted = _scoped(wanted, sorted(stores))
    if not wanted:
        raise ApiError(400, "nothing-chosen", "Nothing was chosen; go back and choose a store and permissions.")
    earlier = _earlier(context, wish, user)
    key, record = await context.service.create_api_key(
        wish.name or "Application", wanted, user_id=user.id, application=wish.application
    )
    for old in earlier:
        await context.service.revoke_api_key(old.id)
    if not wish.redirect:
        return page(
            "Access granted",
            join([tag("h1", "Access granted"), tag("p", "The key, shown only now:"), tag("pre", key)]),
        )
    return _carry_back(wish, key, user.id, record.permissions)


def _carry_back(wish: Wish, key: str, user_id: str, permissions: tuple[str, ...]) -> web.Response:
    """A form that posts the key to the application; by itself, or by its button where scripts are off."""
    fields = [_hidden("apiKey", key), _hidden("userId", user_id)]
    fields += [_hidden("permissions[]", text) for text in permissions]
    fields.append(tag("button", f"Back to {wish.name or 'the application'}", cls="button", type="submit"))
    script = Markup(f"<script>{_SUBMIT}</script>")
    form = tag("form", join(fields), method="post", action=wish.redirect, cls="card")
    parts = urlsplit(wish.redirect)
    response = page(
        "Access granted",
        join([tag("h1", "Access granted"), form, script]),
        forms=f"{parts.scheme}://{parts.netloc}",
    )
    policy = response.headers["Content-Security-Policy"]
    response.headers["Content-Security-Policy"] = f"{policy}; script-src 'sha256-{_SUBMIT_HASH}'"
    return response


def _scoped(permissions: tuple[str, ...], stores: list[str]) -> tuple[str, ...]:
    """Store permissions once per chosen store; others as they are."""
    made: list[str] = []
    for text in permissions:
        if (text.startswith(_STORE) or text == UNRESTRICTED) and ":" not in text:
            made += [f"{text}:{store_id}" for store_id in stores]
        else:
            made.append(text)
    return tuple(made) if stores else ()


def _stores(context: ApiContext, user: User) -> list[tuple[str, str]]:
    """The user's stores with their names; an administrator's also those of the operator."""
    mine = set(context.service.accounts.store_ids(user.id))
    return [
        (store.id, f"{store.name} ({store.id[:8]}…)")
        for store in context.service.stores()
        if store.id in mine and not store.settings.archived
    ]


def _earlier(context: ApiContext, wish: Wish, user: User) -> list[ApiKey]:
    if not wish.application:
        return []
    return [key for key in context.service.api_keys(user.id) if key.application == wish.application]


def _hidden(name: str, value: str) -> Markup:
    return Markup(str(tag("input", "", type="hidden", name=name, value=value)).removesuffix("</input>"))


def _box(name: str, value: str, label: str) -> Markup:
    box = str(tag("input", "", type="checkbox", name=name, value=value, checked="checked")).removesuffix(
        "</input>"
    )
    return tag("label", Markup(box + " " + tag("span", label)))
