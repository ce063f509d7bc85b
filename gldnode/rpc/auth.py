"""Who may call: cookie, rpcuser/rpcpassword, rpcauth; and what a user may call (rpcwhitelist)."""

import base64
import binascii
import hmac
import os
import re
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from gldnode.config import Config, ConfigError
from gldnode.entropy import Entropy

__all__ = ["COOKIE_USER", "RpcAuth", "cookie_path", "remove_cookie", "write_cookie"]

COOKIE_USER: Final = "__cookie__"
_MAX_PROVED: Final = 4
_AUTH_FIELD = re.compile(r"([^:]+):([^:$]+)\$([0-9a-fA-F]{64})")
_PERMS: Final = {"owner": 0o600, "group": 0o640, "all": 0o644}


@dataclass(frozen=True, slots=True)
class _SaltedUser:
    """A line of -rpcauth: the password's HMAC-SHA256 under the salt."""

    name: str
    salt: str
    digest: bytes


class RpcAuth:
    """Checks the Authorization header. Nothing here takes longer for a nearly right password."""

    def __init__(self) -> None:
        self._plain: list[tuple[str, bytes]] = []
        self._salted: list[_SaltedUser] = []
        self._whitelist: dict[str, frozenset[str]] = {}
        self._default_allows = True
        self._proved: list[tuple[bytes, str]] = []
        """The last headers that proved a user: clients send the same one with every call."""

    @classmethod
    def from_config(cls, config: Config) -> "RpcAuth":
        """Users and whitelists of the configuration. Raises ConfigError."""
        auth = cls()
        password = config.get("rpcpassword") or ""
        if password:
            auth.add_user(config.get("rpcuser") or "", password)
        for field in config.get_all("rpcauth"):
            auth.add_salted(field)
        auth._read_whitelists(config)
        return auth

    @property
    def has_password(self) -> bool:
        return bool(self._plain)

    def add_user(self, name: str, password: str) -> None:
        self._proved.clear()
        self._plain.append((name, f"{name}:{password}".encode()))

    def add_salted(self, field: str) -> None:
        """`user:salt$hash`, as share/rpcauth of Core makes it. Raises ConfigError."""
        match = _AUTH_FIELD.fullmatch(field)
        if match is None:
            raise ConfigError("Invalid -rpcauth argument.")
        self._proved.clear()
        self._salted.append(_SaltedUser(match[1], match[2], bytes.fromhex(match[3])))

    def user_of(self, authorization: str | None) -> str | None:
        """The user whom a Basic Authorization header proves, None when it proves nobody."""
        if authorization is None or authorization[:6].lower() != "basic ":
            return None
        given = authorization.encode("utf-8", "surrogateescape")
        for header, user in self._proved:
            if hmac.compare_digest(header, given):
                return user
        found = self._prove(authorization[6:].strip())
        if found is not None:
            self._proved = [(given, found), *self._proved][:_MAX_PROVED]
        return found

    def _prove(self, encoded: str) -> str | None:
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return None
        found: str | None = None
        for name, credentials in self._plain:
            if hmac.compare_digest(given, credentials):
                found = name
        user, _, password = given.partition(b":")
        for entry in self._salted:
            digest = hmac.new(entry.salt.encode(), password, sha256).digest()
            same_name = hmac.compare_digest(user, entry.name.encode())
            if hmac.compare_digest(digest, entry.digest) and same_name:
                found = entry.name
        return found

    def allows(self, user: str, method: str) -> bool:
        """Whether -rpcwhitelist lets `user` call `method`."""
        allowed = self._whitelist.get(user)
        return self._default_allows if allowed is None else method in allowed

    def _read_whitelists(self, config: Config) -> None:
        for field in config.get_all("rpcwhitelist"):
            user, colon, listed = field.partition(":")
            methods = (
                frozenset(name.strip() for name in listed.split(",") if name.strip()) if colon else frozenset()
            )
            # Two lines for one user leave what both allow.
            self._whitelist[user] = self._whitelist[user] & methods if user in self._whitelist else methods
        self._default_allows = not config.get_bool("rpcwhitelistdefault", bool(self._whitelist))


def cookie_path(config: Config) -> Path | None:
    """Where the cookie is; None with -norpccookiefile."""
    return config.get_path("rpccookiefile", ".cookie")


def write_cookie(path: Path, entropy: Entropy, perms: str = "owner") -> str:
    """Write a new cookie that is complete and private from its first moment; returns the password.

    Raises ConfigError for unknown `perms`, OSError.
    """
    if perms not in _PERMS:
        raise ConfigError(f"Invalid -rpccookieperms={perms}; must be one of 'owner', 'group', or 'all'.")
    password = entropy.bytes(32).hex()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{COOKIE_USER}:{password}")
    temporary.chmod(_PERMS[perms])
    temporary.replace(path)
    return password


def remove_cookie(path: Path, password: str) -> None:
    """Remove the cookie if it still is ours."""
    try:
        if path.read_text(encoding="ascii", errors="replace").strip() == f"{COOKIE_USER}:{password}":
            path.unlink()
    except OSError:
        return
