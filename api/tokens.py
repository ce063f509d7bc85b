"""Short-lived bearer tokens (JWT, HS256) that stand for an API key with some of its rights.

The algorithm is ours, never the token's own word. A token names its key; every request loads the key's record,
so revoking the key ends its tokens, and the rights are what both allow.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import jwt

from api.context import ApiContext
from api.errors import unauthenticated
from api.permissions import Permission, contains, parse_permission
from payments.stores import ApiKey

__all__ = ["MAX_LIFE_S", "intersection", "is_token", "make_token", "read_token"]

MAX_LIFE_S: Final = 900
_ALGORITHM: Final = "HS256"
_SECRET_FILE: Final = "token-secret"  # noqa: S105 - a file's name
_LEEWAY_S: Final = 30
_REFUSED = "ApiKey authentication failed: the token is not valid"


def is_token(text: str) -> bool:
    """Whether a bearer value has a token's shape; keys have no dots."""
    return text.count(".") == 2


def make_token(context: ApiContext, key: ApiKey, scope: Iterable[Permission], life_s: int) -> str:
    """A token of `key` for `life_s` seconds (at most 15 minutes)."""
    secret = _secret(context, create=True)
    assert secret is not None
    now = context.host.clock.now()
    claims = {
        "sub": key.id,
        "aud": _audience(context),
        "iat": now,
        "exp": now + min(life_s, MAX_LIFE_S),
        "scope": " ".join(str(permission) for permission in scope),
    }
    return jwt.encode(claims, secret, algorithm=_ALGORITHM, headers={"kid": _key_id(secret)})


def read_token(context: ApiContext, token: str) -> tuple[ApiKey, tuple[Permission, ...]]:
    """The token's key and scope. Raises ApiError 401."""
    secret = _secret(context, create=False)
    if secret is None:
        raise unauthenticated(_REFUSED)
    try:
        if jwt.get_unverified_header(token).get("kid") != _key_id(secret):
            raise unauthenticated(_REFUSED)
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            audience=_audience(context),
            # The node's clock decides, below; regtest may have stopped it.
            options={"require": ["sub", "aud", "iat", "exp", "scope"], "verify_exp": False, "verify_iat": False},
        )
        scope = tuple(parse_permission(text) for text in str(claims["scope"]).split())
    except (jwt.PyJWTError, ValueError) as error:
        raise unauthenticated(_REFUSED) from error
    _check_times(claims, context.host.clock.now())
    record = next((key for key in context.service.api_keys() if key.id == claims["sub"]), None)
    if record is None:
        raise unauthenticated("ApiKey authentication failed: Unknown API Key")
    return record, scope


def intersection(held: Iterable[Permission], scope: Iterable[Permission]) -> tuple[Permission, ...]:
    """The rights that both lists allow."""
    wanted = tuple(scope)
    met = (_meet(right, other) for right in held for other in wanted)
    return tuple(dict.fromkeys(permission for permission in met if permission is not None))


def _meet(one: Permission, other: Permission) -> Permission | None:
    """The narrower policy in the narrower scope; None where one has nothing of the other."""
    if contains(one.policy, other.policy):
        policy = other.policy
    elif contains(other.policy, one.policy):
        policy = one.policy
    else:
        return None
    if one.store_id is not None and other.store_id not in (None, one.store_id):
        return None
    return Permission(policy, one.store_id or other.store_id)


def _check_times(claims: dict[str, Any], now: int) -> None:
    issued, ends = claims["iat"], claims["exp"]
    if not isinstance(issued, int) or not isinstance(ends, int) or ends - issued > MAX_LIFE_S:
        raise unauthenticated(_REFUSED)
    if now >= ends or issued > now + _LEEWAY_S:
        raise unauthenticated("ApiKey authentication failed: the token has expired")


def _audience(context: ApiContext) -> str:
    return f"{context.host.params.name} {context.base_url}"


def _key_id(secret: bytes) -> str:
    return hashlib.sha256(b"kid" + secret).hexdigest()[:8]


def _secret(context: ApiContext, *, create: bool) -> bytes | None:
    """32 bytes in the payments folder, for its owner's eyes only."""
    path: Path = context.host.payments_dir / _SECRET_FILE
    if path.exists():
        secret = path.read_bytes()
        return secret if len(secret) == 32 else None
    if not create:
        return None
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = context.host.entropy.bytes(32)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(handle, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    return secret
