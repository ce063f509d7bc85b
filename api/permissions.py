"""Greenfield's permissions: a forest of policies, and strings `policy` or `policy:storeId`.

A permission contains its policy's whole subtree. `unrestricted` is above every root.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

__all__ = ["ALL_POLICIES", "UNRESTRICTED", "Permission", "contains", "grants", "parse_permission", "store_scopes"]

UNRESTRICTED = "unrestricted"
_POLICY = re.compile(r"btcpay\.(?:[a-z0-9_]+\.)*[a-z0-9_]+")

_CHILDREN: dict[str, tuple[str, ...]] = {
    UNRESTRICTED: (
        "btcpay.store.canmodifystoresettings",
        "btcpay.server.canmodifyserversettings",
        "btcpay.server.canviewusers",
        "btcpay.user.canmodifyprofile",
        "btcpay.user.canmanagenotificationsforuser",
        "btcpay.user.candeleteuser",
    ),
    "btcpay.store.canmodifystoresettings": (
        "btcpay.store.canmanagepullpayments",
        "btcpay.store.canmodifyinvoices",
        "btcpay.store.canviewstoresettings",
        "btcpay.store.webhooks.canmodifywebhooks",
        "btcpay.store.canmodifypaymentrequests",
        "btcpay.store.canmanagepayouts",
        "btcpay.store.canuselightningnode",
        "btcpay.store.cansendstoreemails",
        "btcpay.store.canmanagewallets",
        "btcpay.store.canmodifyofferings",
    ),
    "btcpay.store.canmanagepullpayments": (
        "btcpay.store.cancreatepullpayments",
        "btcpay.store.canarchivepullpayments",
    ),
    "btcpay.store.cancreatepullpayments": ("btcpay.store.cancreatenonapprovedpullpayments",),
    "btcpay.store.cancreatenonapprovedpullpayments": ("btcpay.store.canviewpullpayments",),
    "btcpay.store.canmodifyinvoices": (
        "btcpay.store.canviewinvoices",
        "btcpay.store.cancreateinvoice",
        "btcpay.store.cancreatelightninginvoice",
    ),
    "btcpay.store.cancreatelightninginvoice": ("btcpay.store.canviewlightninginvoice",),
    "btcpay.store.canviewstoresettings": (
        "btcpay.store.canviewinvoices",
        "btcpay.store.canviewpaymentrequests",
        "btcpay.store.canviewreports",
        "btcpay.store.canviewpullpayments",
        "btcpay.store.canviewpayouts",
    ),
    "btcpay.store.canmodifypaymentrequests": ("btcpay.store.canviewpaymentrequests",),
    "btcpay.store.canmanagepayouts": ("btcpay.store.canviewpayouts",),
    "btcpay.store.canuselightningnode": (
        "btcpay.store.canviewlightninginvoice",
        "btcpay.store.cancreatelightninginvoice",
    ),
    "btcpay.store.canmanagewallets": (
        "btcpay.store.canmanagewalletsettings",
        "btcpay.store.canmanagewallettransactions",
    ),
    "btcpay.store.canmanagewalletsettings": ("btcpay.store.canviewwallet",),
    "btcpay.store.canmanagewallettransactions": (
        "btcpay.store.cancreatetransactions",
        "btcpay.store.cansigntransactions",
        "btcpay.store.canbroadcasttransactions",
        "btcpay.store.cancanceltransactions",
    ),
    "btcpay.store.cancreatetransactions": ("btcpay.store.canviewwallet",),
    "btcpay.store.cansigntransactions": ("btcpay.store.canviewwallet",),
    "btcpay.store.canbroadcasttransactions": ("btcpay.store.canviewwallet",),
    "btcpay.store.cancanceltransactions": ("btcpay.store.canviewwallet",),
    "btcpay.store.canmodifyofferings": (
        "btcpay.store.canviewofferings",
        "btcpay.store.canmanagesubscribers",
        "btcpay.store.cancreditsubscribers",
    ),
    "btcpay.server.canmodifyserversettings": (
        "btcpay.server.canuseinternallightningnode",
        "btcpay.server.canmanageusers",
    ),
    "btcpay.server.canuseinternallightningnode": (
        "btcpay.server.cancreatelightninginvoiceinternalnode",
        "btcpay.server.canviewlightninginvoiceinternalnode",
    ),
    "btcpay.server.canmanageusers": ("btcpay.server.cancreateuser",),
    "btcpay.user.canmodifyprofile": ("btcpay.user.canviewprofile",),
    "btcpay.user.canmanagenotificationsforuser": ("btcpay.user.canviewnotificationsforuser",),
}


@dataclass(frozen=True, slots=True)
class Permission:
    """A policy, for all stores or one."""

    policy: str
    store_id: str | None = None

    def __str__(self) -> str:
        return self.policy if self.store_id is None else f"{self.policy}:{self.store_id}"


@lru_cache(maxsize=4096)
def parse_permission(text: str) -> Permission:
    """The policy is lower-cased, the scope kept as written. Raises ValueError."""
    policy, colon, store_id = text.partition(":")
    policy = policy.lower()
    if policy != UNRESTRICTED and not _POLICY.fullmatch(policy):
        raise ValueError(f"not a permission: {text[:80]}")
    if colon and (not store_id or len(store_id) > 100):
        raise ValueError(f"not a permission: {text[:80]}")
    return Permission(policy, store_id if colon else None)


@cache
def _subtree(policy: str) -> frozenset[str]:
    below = (_subtree(child) for child in _CHILDREN.get(policy, ()))
    return frozenset((policy,)).union(*below)


ALL_POLICIES: tuple[str, ...] = tuple(sorted(_subtree(UNRESTRICTED) - {UNRESTRICTED}))


def contains(policy: str, needed: str) -> bool:
    """Whether `policy` is `needed` or stands above it."""
    return policy == UNRESTRICTED or needed in _subtree(policy)


def children(policy: str) -> tuple[str, ...]:
    """The policies directly below `policy`."""
    return _CHILDREN.get(policy, ())


def grants(held: Iterable[Permission], needed: str, store_id: str | None) -> bool:
    """Whether one of `held` allows `needed`; in store `store_id`, or without any scope where that is None."""
    for permission in held:
        if (permission.store_id is None or permission.store_id == store_id) and contains(
            permission.policy, needed
        ):
            return True
    return False


def store_scopes(held: Iterable[Permission], needed: str) -> frozenset[str] | None:
    """The stores in which `held` allow `needed`; None for all of them."""
    scopes: set[str] = set()
    for permission in held:
        if contains(permission.policy, needed):
            if permission.store_id is None:
                return None
            scopes.add(permission.store_id)
    return frozenset(scopes)
