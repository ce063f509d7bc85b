"""Greenfield's API keys. A key is shown once, when it is made; the database has its hash only."""

from typing import Any

from api.errors import ApiError, ErrorShape, Invalid, unauthenticated
from api.models.users import ApiKeyAnswer, ApiKeyRequest, TokenAnswer, TokenRequest
from api.permissions import UNRESTRICTED, Permission, parse_permission
from api.routing import Access, Call, RouteTable
from api.tokens import MAX_LIFE_S, intersection, make_token
from payments.accounts import User
from payments.errors import not_found
from payments.stores import ApiKey

__all__ = ["table"]

table = RouteTable("/api/v1", "API keys", ErrorShape.GREENFIELD)

MANAGE_USERS = "btcpay.server.canmanageusers"


@table.add(
    "POST",
    "/api-keys",
    access=UNRESTRICTED,
    body=ApiKeyRequest,
    answer=ApiKeyAnswer,
    summary="Create a key of one's own",
)
async def create_api_key(call: Call[ApiKeyRequest]) -> ApiKeyAnswer:
    return await make_key(call, call.principal.user_id or "")


@table.add(
    "GET", "/api-keys/current", access=Access.API_KEY, answer=ApiKeyAnswer, summary="The key of this request"
)
async def get_current_api_key(call: Call[None]) -> ApiKeyAnswer:
    record = _current(call)
    return ApiKeyAnswer(_shown(call), record.label, list(record.permissions), record.id)


@table.add(
    "DELETE",
    "/api-keys/current",
    access=Access.API_KEY,
    answer=ApiKeyAnswer,
    summary="Revoke the key of this request",
)
async def revoke_current_api_key(call: Call[None]) -> ApiKeyAnswer:
    record = _current(call)
    await call.context.service.revoke_api_key(record.id)
    return ApiKeyAnswer(_shown(call), record.label, list(record.permissions), record.id)


@table.add(
    "POST",
    "/api-keys/current/token",
    access=Access.API_KEY,
    body=TokenRequest,
    body_optional=True,
    answer=TokenAnswer,
    summary="A token for some minutes with some of the key's rights",
)
async def make_api_token(call: Call[TokenRequest]) -> TokenAnswer:
    record = _current(call)
    held = [parse_permission(text) for text in record.permissions]
    wanted = _permissions(call.body.permissions) if call.body.permissions is not None else held
    scope = intersection(held, wanted)
    if not scope:
        raise Invalid("permissions", "The key has none of these.")
    life_s = call.body.expires_in or MAX_LIFE_S
    token = make_token(call.context, record, scope, life_s)
    return TokenAnswer(token, "Bearer", life_s, " ".join(str(permission) for permission in scope))


@table.add(
    "DELETE", "/api-keys/{apikey}", access=UNRESTRICTED, summary="Revoke a key of one's own, by the key or its id"
)
async def revoke_api_key(call: Call[None]) -> None:
    await _revoke(
        call, call.principal.user_id or "", ApiError(400, "apikey-not-found", "This apikey does not exists")
    )


@table.add(
    "POST",
    "/users/{idOrEmail}/api-keys",
    access=MANAGE_USERS,
    body=ApiKeyRequest,
    answer=ApiKeyAnswer,
    summary="Create a key of a user",
    errors=(404,),
)
async def create_user_api_key(call: Call[ApiKeyRequest]) -> ApiKeyAnswer:
    return await make_key(call, _user(call).id)


@table.add(
    "DELETE",
    "/users/{idOrEmail}/api-keys/{apikey}",
    access=MANAGE_USERS,
    summary="Revoke a key of a user",
    errors=(404,),
)
async def revoke_user_api_key(call: Call[None]) -> None:
    await _revoke(call, _user(call).id, ApiError(404, "apikey-not-found", "This apikey does not exists"))


async def make_key(call: Call[ApiKeyRequest], user_id: str) -> ApiKeyAnswer:
    """A new key. It may name permissions that its owner lacks; they do not work then."""
    permissions = [str(permission) for permission in _permissions(call.body.permissions)]
    key, record = await call.context.service.create_api_key(
        call.body.label or "", permissions, user_id=user_id, allowed_ips=call.body.allowed_ips or ()
    )
    return ApiKeyAnswer(key, record.label, list(record.permissions), record.id)


def _permissions(texts: list[str] | None) -> list[Permission]:
    """At least one and at most 200. Raises ApiError 422."""
    if not texts:
        raise Invalid("permissions", "At least one permission is needed.")
    if len(texts) > 200:
        raise Invalid("permissions", "At most 200 permissions.")
    permissions = []
    for place, text in enumerate(texts):
        try:
            permissions.append(parse_permission(text))
        except ValueError as error:
            raise Invalid(f"permissions[{place}]", "Not a permission.") from error
    return permissions


async def _revoke(call: Call[Any], user_id: str, unknown: ApiError) -> None:
    service, named = call.context.service, call.path["apikey"]
    found = service.authenticate(named) or next(
        (key for key in service.api_keys(user_id) if key.id == named), None
    )
    if found is None or found.user_id != user_id:
        raise unknown
    await service.revoke_api_key(found.id)


def _current(call: Call[Any]) -> ApiKey:
    record = call.context.service.authenticate(_shown(call))
    if record is None:  # a token that stands for a key
        raise unauthenticated("ApiKey authentication failed: Unknown API Key")
    return record


def _shown(call: Call[Any]) -> str:
    header = call.request.headers.get("Authorization")
    if header is None:
        return call.request.headers.get("X-API-Key", "").strip()
    return header.strip().partition(" ")[2].strip()


def _user(call: Call[Any]) -> User:
    user = call.context.service.accounts.user(call.path["idOrEmail"])
    if user is None:
        raise not_found("user")
    return user
