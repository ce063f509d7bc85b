"""Passwords: HTTP Basic with a user's e-mail address and password."""

import base64
import binascii
from dataclasses import replace

from aiohttp import web

from api.context import ApiContext
from api.errors import unauthenticated
from api.guard import client_address
from api.permissions import UNRESTRICTED, Permission
from api.routing import Principal

__all__ = ["password_principal"]

_FAILED = "Basic authentication failed: invalid email or password."


async def password_principal(request: web.Request, context: ApiContext, value: str) -> Principal:
    """The user of a Basic header's value, unrestricted. Raises ApiError 401."""
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise unauthenticated(_FAILED) from error
    email, colon, password = text.partition(":")
    if not colon or len(text) > 1024:
        raise unauthenticated(_FAILED)
    accounts = context.service.accounts
    address = client_address(request, context.guard.trusted_proxies)
    wait = 0 if accounts.is_young(email) else context.password_limiter.take(address)
    if wait:
        refused = unauthenticated("Basic authentication failed: Rate limited. Try again later.")
        raise replace(refused, headers={**refused.headers, "Retry-After": str(wait)})
    user, reason = await accounts.check_password(email, password)
    if user is None:
        raise unauthenticated(f"Basic authentication failed: {reason}")
    return Principal((Permission(UNRESTRICTED),), user.id, None, user.is_admin)
