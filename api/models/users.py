"""Greenfield's users and API keys."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = [
    "ApiKeyAnswer",
    "ApiKeyRequest",
    "ApproveRequest",
    "LockRequest",
    "TokenAnswer",
    "TokenRequest",
    "UpdateUserRequest",
    "UserAnswer",
    "UserRequest",
]


class ApiKeyRequest(Struct, rename="camel"):
    label: str | None = None
    permissions: list[str] | None = None
    allowed_ips: list[str] | None = None


class ApiKeyAnswer(Struct, rename="camel"):
    """`apiKey` is the key only in the answer that creates it; later it is the key that the caller showed."""

    api_key: str
    label: str
    permissions: list[str]
    id: str | UnsetType = UNSET


class TokenRequest(Struct, rename="camel"):
    """Without `permissions` the token has all of the key's."""

    permissions: list[str] | None = None
    expires_in: Annotated[int, Meta(ge=1, le=900)] | None = None


class TokenAnswer(Struct):
    """As OAuth 2.0 writes it."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class UserRequest(Struct, rename="camel"):
    email: str | None = None
    password: str | None = None
    is_administrator: bool | None = None
    name: str | None = None


class UpdateUserRequest(Struct, rename="camel"):
    email: str | None = None
    name: str | None = None
    image_url: str | None = None
    current_password: str | None = None
    new_password: str | None = None


class LockRequest(Struct):
    locked: bool


class ApproveRequest(Struct):
    approved: bool


class UserAnswer(Struct, rename="camel"):
    id: str
    email: str
    name: str | None
    image_url: str | None
    invitation_url: str | None
    email_confirmed: bool
    requires_email_confirmation: bool
    approved: bool
    requires_approval: bool
    created: int
    disabled: bool
    roles: list[str]
