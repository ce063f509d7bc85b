"""Who asks, and whether they may: keys, permissions, and the store a request is about.

A key that lacks a permission gets 403 naming it. A store-less route about an unknown object answers 403 too, so
that ids cannot be probed; a store's own route answers 404 for what the store does not have.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_network

from aiohttp import web
from multidict import istr

from api.context import ApiContext
from api.credentials import password_principal
from api.errors import ApiError, unauthenticated
from api.guard import client_address, client_network
from api.permissions import Permission, grants, parse_permission
from api.routing import Access, Principal, Route
from api.tokens import intersection, is_token, read_token
from payments.stores import ApiKey

__all__ = ["admit", "missing_permission", "require"]

_NO_KEY = "Authentication is required for accessing this endpoint"
_UNKNOWN_KEY = "ApiKey authentication failed: Unknown API Key"
_MAX_KEY_CHARS = 4096
_AUTHORIZATION = istr("Authorization")
_API_KEY = istr("X-API-Key")


async def admit(
    request: web.Request, context: ApiContext, route: Route, path: Mapping[str, str]
) -> tuple[Principal | None, str | None]:
    """Who asks and the store they may touch. Raises ApiError 401, 403 or 429."""
    scheme, value = _credentials(request)
    who: Principal | None = None
    match scheme:
        case "token" | "bearer":
            who = _key_principal(request, context, value)
        case "basic":
            who = await password_principal(request, context, value)
        case None:
            _limit(request, context)
        case _:
            raise unauthenticated(_NO_KEY)
    if route.access is Access.ANONYMOUS:
        return who, None
    if who is None:
        raise unauthenticated(_NO_KEY)
    if route.access is Access.API_KEY and who.key_id is None:
        raise unauthenticated(_NO_KEY)
    if route.method == "POST":
        _limit_creations(request, context, who)
    if isinstance(route.access, Access):
        return who, None
    return who, _authorise(context, who, route, path)


def _credentials(request: web.Request) -> tuple[str | None, str]:
    """The scheme in lower case and the value of the Authorization or X-API-Key header; no scheme without one."""
    header = request.headers.get(_AUTHORIZATION)
    if header is None:
        key = request.headers.get(_API_KEY)
        return (None, "") if key is None else ("token", key)
    scheme, _, value = header.strip().partition(" ")
    return scheme.lower(), value


def require(context: ApiContext, who: Principal, policy: str, store_id: str) -> None:
    """A further permission that a handler finds it needs. Raises ApiError 403."""
    if not _may(context, who, policy, store_id):
        raise missing_permission(policy)


def missing_permission(policy: str) -> ApiError:
    """403 in Greenfield's words."""
    return ApiError(
        403,
        "missing-permission",
        f'Insufficient API Permissions. Please use an API key with permission "{policy}". You can create an API '
        "key in your account's settings / Api Keys.",
        extra={"missingPermission": policy},
    )


def principal_of(key: ApiKey, context: ApiContext) -> Principal:
    """What a key's record stands for. The operator's keys belong to no user and are administrators.

    Raises ApiError 401 where the key's user may not sign in any more.
    """
    if not key.user_id:
        return _operator(key.permissions, key.id)
    held: tuple[Permission, ...] = tuple(parse_permission(text) for text in key.permissions)
    user = context.service.accounts.user(key.user_id)
    if user is None or user.disabled or not user.approved:
        raise unauthenticated("ApiKey authentication failed: the key's user is disabled")
    return Principal(held, user.id, key.id, user.is_admin)


@lru_cache(maxsize=1024)
def _operator(permissions: tuple[str, ...], key_id: str) -> Principal:
    return Principal(tuple(parse_permission(text) for text in permissions), None, key_id, True)


def _key_principal(request: web.Request, context: ApiContext, text: str) -> Principal:
    key = text.strip()
    if is_token(key) and key.isascii() and len(key) <= _MAX_KEY_CHARS:
        return _token_principal(request, context, key)
    record = context.service.authenticate(key) if key and key.isascii() and len(key) <= _MAX_KEY_CHARS else None
    if record is None:
        _limit(request, context)
        raise unauthenticated(_UNKNOWN_KEY)
    _check_address(request, context, record)
    return principal_of(record, context)


def _token_principal(request: web.Request, context: ApiContext, token: str) -> Principal:
    """The key's principal with the rights that the token leaves of it."""
    try:
        record, scope = read_token(context, token)
    except ApiError:
        _limit(request, context)
        raise
    _check_address(request, context, record)
    who = principal_of(record, context)
    return replace(who, permissions=intersection(who.permissions, scope))


def _check_address(request: web.Request, context: ApiContext, record: ApiKey) -> None:
    if not record.allowed_ips:
        return
    address = client_address(request, context.guard.trusted_proxies)
    if address is None or not any(address in ip_network(text, strict=False) for text in record.allowed_ips):
        raise unauthenticated("ApiKey authentication failed: this address may not use the key")


def _limit_creations(request: web.Request, context: ApiContext, who: Principal) -> None:
    """Calls that make something are counted by key (or user) and by address. Polling is free."""
    limiter = context.creation_limiter
    assert limiter is not None
    network = client_network(request, context.guard.trusted_proxies)
    wait = limiter.take(who.key_id or who.user_id, network)
    if wait:
        raise ApiError(429, "too-many-requests", f"Try again in {wait} s.", headers={"Retry-After": str(wait)})


def _limit(request: web.Request, context: ApiContext) -> None:
    """Requests without a valid key are counted by address (by /64 for IPv6)."""
    wait = context.anonymous_limiter.take(client_network(request, context.guard.trusted_proxies))
    if wait:
        raise ApiError(429, "too-many-requests", f"Try again in {wait} s.", headers={"Retry-After": str(wait)})


def _authorise(context: ApiContext, who: Principal, route: Route, path: Mapping[str, str]) -> str | None:
    policy = route.access
    assert isinstance(policy, str)
    if not policy.startswith("btcpay.store."):
        if not grants(who.permissions, policy, None) or (policy.startswith("btcpay.server.") and not who.is_admin):
            raise missing_permission(policy)
        return None
    store_id = _store_of(context, route, path)
    if store_id is None:
        needs_all = route.unscoped
        if needs_all and not grants(who.permissions, policy, None):
            raise missing_permission(policy)
        if not needs_all and not any(grants([held], policy, held.store_id) for held in who.permissions):
            raise missing_permission(policy)
        return None
    if not _may(context, who, policy, store_id):
        raise missing_permission(policy)
    return store_id


def _store_of(context: ApiContext, route: Route, path: Mapping[str, str]) -> str | None:
    """The store that the request is about; "" for an object that does not exist on a store-less route."""
    named = path.get("storeId")
    if named is not None:
        return named
    if "invoiceId" in path:
        invoice = context.service.invoice(path["invoiceId"])
        return invoice.store_id if invoice is not None else ""
    if "webhookId" in path:
        webhook = context.service.webhook(path["webhookId"])
        return webhook.store_id if webhook is not None else ""
    if "paymentRequestId" in path:
        request = context.service.requests.get(path["paymentRequestId"])
        return request.store_id if request is not None else ""
    if "payoutId" in path or "pullPaymentId" in path:  # there are none
        return ""
    return None


def _may(context: ApiContext, who: Principal, policy: str, store_id: str) -> bool:
    """The key has the permission for the store, the key's owner has it there by his role, and the store exists.

    In this order: for a store that is not theirs callers cause the same reads as for one that does not exist.
    """
    if not store_id or not grants(who.permissions, policy, store_id):
        return False
    return context.member_may(who, policy, store_id) and context.service.store(store_id) is not None
