"""People: users with passwords, and who may do what in which store.

| prefix                  | key               | value                             |
|-------------------------|-------------------|-----------------------------------|
| `acct/user/`            | user id           | User, JSON                        |
| `acct/email/`           | lower-case e-mail | user id                           |
| `acct/member/` + store  | user id           | role name                         |
| `acct/stores/` + user   | store id          | role name, the same the other way |
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import msgspec

from gldnode.clock import Clock
from gldnode.entropy import Entropy
from payments.errors import FieldProblem, PaymentError, ValidationError
from storage.database import Database, ReadSnapshot, Txn

__all__ = ["ROLES", "Accounts", "Member", "User"]

ROLES: Final[dict[str, tuple[str, ...]]] = {
    "Owner": ("btcpay.store.canmodifystoresettings",),
    "Manager": (
        "btcpay.store.canviewstoresettings",
        "btcpay.store.canmodifyinvoices",
        "btcpay.store.webhooks.canmodifywebhooks",
        "btcpay.store.canmodifypaymentrequests",
        "btcpay.store.canmanagepullpayments",
        "btcpay.store.canmanagepayouts",
    ),
    "Employee": (
        "btcpay.store.canmodifyinvoices",
        "btcpay.store.canmodifypaymentrequests",
        "btcpay.store.cancreatenonapprovedpullpayments",
        "btcpay.store.canviewpayouts",
        "btcpay.store.canviewpullpayments",
    ),
    "Guest": (
        "btcpay.store.canmodifyinvoices",
        "btcpay.store.canviewpaymentrequests",
        "btcpay.store.canviewpullpayments",
        "btcpay.store.canviewpayouts",
    ),
}
"""Permissions of each role in its store."""

_EMAIL = re.compile(r"[^@\s\x00-\x1f:]{1,64}@[^@\s\x00-\x1f]{1,190}")
_COST: Final = 1 << 15
_LOCK_AFTER: Final = 5
_LOCK_S: Final = 300
_YOUNG_S: Final = 300
_USER = b"acct/user/"
_BY_EMAIL = b"acct/email/"
_MEMBER = b"acct/member/"
_STORES = b"acct/stores/"


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person who may sign in. The password is stored as its scrypt hash only."""

    id: str
    email: str
    created_at: int
    salt: bytes = b""
    digest: bytes = b""
    """Empty: no password, so nobody can sign in with one."""
    is_admin: bool = False
    disabled: bool = False
    approved: bool = True
    name: str | None = None
    image_url: str | None = None


class Member(msgspec.Struct, frozen=True):
    """A user's place in a store."""

    user: User
    role: str


class Home(Protocol):
    """Where the records are: a database that is made with the first write."""

    def open(self) -> Database: ...

    def reading(self) -> AbstractContextManager[ReadSnapshot | None]:
        """What is durable now; None before the first write."""
        ...


class Accounts:
    """Reads are synchronous; writes are durable when they return."""

    def __init__(self, home: Home, clock: Clock, entropy: Entropy) -> None:
        self._home = home
        self._clock = clock
        self._entropy = entropy
        self._failures: dict[str, tuple[int, int]] = {}
        self._hashing = asyncio.Semaphore(2)

    # Users
    def user(self, id_or_email: str) -> User | None:
        with self._home.reading() as reader:
            if reader is None:
                return None
            named = reader.get(_BY_EMAIL + _fold(id_or_email)) if "@" in id_or_email else None
            return reader.get_json(_USER + (named or _bytes(id_or_email)), User)

    def users(self) -> Sequence[User]:
        """Oldest first."""
        with self._home.reading() as reader:
            rows = reader.iterate(prefix=_USER) if reader is not None else ()
            found = [msgspec.json.decode(value, type=User) for _, value in rows]
        return sorted(found, key=lambda user: (user.created_at, user.id))

    @property
    def has_admin(self) -> bool:
        return any(user.is_admin for user in self.users())

    async def create_user(
        self,
        email: str,
        password: str | None,
        *,
        is_admin: bool,
        name: str | None = None,
        only_if_first: bool = False,
    ) -> User:
        """With `only_if_first`, 403 once there is an administrator. 422 for a bad or taken address."""
        if not _EMAIL.fullmatch(email):
            raise ValidationError(FieldProblem("Email", "Invalid email"))
        if password is not None and not 6 <= len(password) <= 512:
            raise ValidationError(FieldProblem("Password", "Passwords must have 6 to 512 characters."))
        salt = self._entropy.bytes(16)
        digest = await self._hash(password, salt) if password is not None else b""
        user = User(self._uuid(), email, self._clock.now(), salt, digest, is_admin, name=name)

        def write(txn: Txn) -> None:
            if only_if_first and any(
                msgspec.json.decode(value, type=User).is_admin for _, value in txn.iterate(prefix=_USER)
            ):
                raise PaymentError("unauthenticated", "Registration is closed.", 401)
            if txn.get(_BY_EMAIL + _fold(email)) is not None:
                raise ValidationError(FieldProblem("Email", f"Username '{email}' is already taken."))
            txn.put(_BY_EMAIL + _fold(email), user.id.encode())
            txn.put_json(_USER + user.id.encode(), user)

        await self._home.open().transact(write)
        return user

    async def update_user(
        self,
        user_id: str,
        *,
        email: str | None = None,
        name: str | None = None,
        image_url: str | None = None,
        password: str | None = None,
        disabled: bool | None = None,
        approved: bool | None = None,
    ) -> User:
        """Changes what is given. 404, 422."""
        if email is not None and not _EMAIL.fullmatch(email):
            raise ValidationError(FieldProblem("Email", "Invalid email"))
        if password is not None and not 6 <= len(password) <= 512:
            raise ValidationError(FieldProblem("NewPassword", "Passwords must have 6 to 512 characters."))
        salt = self._entropy.bytes(16)
        digest = await self._hash(password, salt) if password is not None else None

        def write(txn: Txn) -> User:
            user = txn.get_json(_USER + _bytes(user_id), User)
            if user is None:
                raise PaymentError("user-not-found", "The user was not found", 404)
            changes: dict[str, object] = {}
            if email is not None and _fold(email) != _fold(user.email):
                if txn.get(_BY_EMAIL + _fold(email)) is not None:
                    raise ValidationError(FieldProblem("Email", "The email address is already in use."))
                txn.delete(_BY_EMAIL + _fold(user.email))
                txn.put(_BY_EMAIL + _fold(email), user.id.encode())
            given = {
                "email": email,
                "name": name,
                "image_url": image_url,
                "disabled": disabled,
                "approved": approved,
            }
            changes.update({key: value for key, value in given.items() if value is not None})
            if digest is not None:
                changes.update(salt=salt, digest=digest)
            changed = msgspec.structs.replace(user, **changes)
            txn.put_json(_USER + user.id.encode(), changed)
            return changed

        return await self._home.open().transact(write)

    async def delete_user(self, user_id: str) -> None:
        """With all memberships. The last administrator stays (409). 404."""

        def write(txn: Txn) -> None:
            user = txn.get_json(_USER + _bytes(user_id), User)
            if user is None:
                raise PaymentError("user-not-found", "The user was not found", 404)
            if user.is_admin:
                others = (msgspec.json.decode(value, type=User) for _, value in txn.iterate(prefix=_USER))
                if not any(other.is_admin and other.id != user.id for other in others):
                    raise PaymentError("last-administrator", "The last administrator cannot be removed", 409)
            for key, _ in list(txn.iterate(prefix=_STORES + _bytes(user_id) + b"/")):
                store = key.rpartition(b"/")[2]
                txn.delete(key)
                txn.delete(_MEMBER + store + b"/" + _bytes(user_id))
            txn.delete(_BY_EMAIL + _fold(user.email))
            txn.delete(_USER + _bytes(user_id))

        await self._home.open().transact(write)

    def is_young(self, email: str) -> bool:
        """Made within the last five minutes: scripts make a user and then its key."""
        user = self.user(email) if "@" in email else None
        return user is not None and self._clock.now() - user.created_at < _YOUNG_S

    async def check_password(self, email: str, password: str) -> tuple[User | None, str]:
        """The user, or why not. Five wrong passwords lock the account for five minutes."""
        wrong = "invalid email or password."
        user = self.user(email) if "@" in email else None
        now = self._clock.now()
        count, since = self._failures.get(email.lower(), (0, 0))
        if count >= _LOCK_AFTER and now - since < _LOCK_S:
            return None, "this account is locked for some minutes."
        salt, known = (user.salt, user.digest) if user is not None and user.digest else (bytes(16), bytes(32))
        # An unknown address costs as much time as a known one.
        given = await self._hash(password, salt)
        if not hmac.compare_digest(given, known) or user is None or not user.digest:
            self._count_failure(email.lower(), count, since, now)
            return None, wrong
        self._failures.pop(email.lower(), None)
        if user.disabled:
            return None, "this account is disabled."
        if not user.approved:
            return None, "this account is not approved yet."
        return user, ""

    # Members of stores
    def role(self, store_id: str, user_id: str) -> str | None:
        with self._home.reading() as reader:
            value = reader.get(_MEMBER + _bytes(store_id) + b"/" + _bytes(user_id)) if reader is not None else None
        return None if value is None else value.decode()

    def members(self, store_id: str) -> Sequence[Member]:
        prefix = _MEMBER + _bytes(store_id) + b"/"
        with self._home.reading() as reader:
            if reader is None:
                return []
            rows = [(key[len(prefix) :], value.decode()) for key, value in reader.iterate(prefix=prefix)]
            users = [(reader.get_json(_USER + user_id, User), role) for user_id, role in rows]
        return [Member(user, role) for user, role in users if user is not None]

    def store_ids(self, user_id: str) -> Sequence[str]:
        """The stores in which the user has a role."""
        prefix = _STORES + _bytes(user_id) + b"/"
        with self._home.reading() as reader:
            rows = reader.iterate(prefix=prefix) if reader is not None else ()
            return [key[len(prefix) :].decode() for key, _ in rows]

    async def set_role(self, store_id: str, user_id: str, role: str, *, new: bool = False) -> None:
        """409 duplicate-store-user-role with `new`, 409 for the last owner, 422 for an unknown role."""
        wanted = {name.lower(): name for name in ROLES}.get(role.lower())
        if wanted is None:
            raise ValidationError(FieldProblem("StoreRole", "The role does not exist"))

        def write(txn: Txn) -> None:
            present = txn.get(_MEMBER + _bytes(store_id) + b"/" + _bytes(user_id))
            if new and present is not None:
                raise PaymentError("duplicate-store-user-role", "The user is already added to the store", 409)
            if present == b"Owner" and wanted != "Owner":
                _keep_an_owner(txn, store_id, user_id)
            txn.put(_MEMBER + _bytes(store_id) + b"/" + _bytes(user_id), wanted.encode())
            txn.put(_STORES + _bytes(user_id) + b"/" + _bytes(store_id), wanted.encode())

        await self._home.open().transact(write)

    async def remove_member(self, store_id: str, user_id: str, *, may_orphan: bool = False) -> None:
        """404 user-not-found, 409 for the last owner unless `may_orphan`."""

        def write(txn: Txn) -> None:
            present = txn.get(_MEMBER + _bytes(store_id) + b"/" + _bytes(user_id))
            if present is None:
                raise PaymentError("user-not-found", "The user was not found", 404)
            if present == b"Owner" and not may_orphan:
                _keep_an_owner(txn, store_id, user_id)
            txn.delete(_MEMBER + _bytes(store_id) + b"/" + _bytes(user_id))
            txn.delete(_STORES + _bytes(user_id) + b"/" + _bytes(store_id))

        await self._home.open().transact(write)

    async def _hash(self, password: str, salt: bytes) -> bytes:
        async with self._hashing:
            return await asyncio.to_thread(_scrypt, password, salt)

    def _count_failure(self, email: str, count: int, since: int, now: int) -> None:
        if len(self._failures) > 10_000:
            self._failures.clear()
        fresh = now - since >= _LOCK_S
        self._failures[email] = (1, now) if fresh else (count + 1, since)

    def _uuid(self) -> str:
        raw = bytearray(self._entropy.bytes(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "replace"), salt=salt, n=_COST, r=8, p=1, maxmem=1 << 26, dklen=32
    )


def _keep_an_owner(txn: Txn, store_id: str, user_id: str) -> None:
    prefix = _MEMBER + _bytes(store_id) + b"/"
    owners = [key for key, value in txn.iterate(prefix=prefix) if value == b"Owner"]
    if owners == [prefix + _bytes(user_id)]:
        raise PaymentError("store-user-role-orphaned", "The last owner of a store cannot be removed", 409)


def _fold(email: str) -> bytes:
    return _bytes(email.strip().lower())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
