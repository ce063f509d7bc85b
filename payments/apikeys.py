"""API keys: 256 random bits that are shown once and kept only as their SHA-256."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from gldnode.clock import Clock
from gldnode.entropy import Entropy
from gldnode.primitives.base58 import encode_base58
from gldnode.primitives.hashes import sha256
from payments import layout
from payments.errors import FieldProblem, ValidationError
from payments.stores import ApiKey
from storage.database import ABSENT, Txn
from storage.documents import DocumentReader

__all__ = ["ALL_PERMISSIONS", "check_permission", "find_key", "list_keys", "new_key", "revoke_key"]

ID_LENGTH: Final = 7
MAX_LABEL: Final = 256
_POLICY: Final = re.compile(r"btcpay\.(?:[a-z]+\.)*[a-z]+|unrestricted")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
ALL_PERMISSIONS: Final = "unrestricted"


def check_permission(text: str) -> str:
    """`policy` or `policy:store`, the policy in lower case. Raises ValidationError."""
    policy, colon, scope = text.partition(":")
    policy = policy.lower()
    if not _POLICY.fullmatch(policy) or (colon and not re.fullmatch(r"[0-9A-Za-z]{1,64}", scope)):
        raise ValidationError(FieldProblem("Permissions", f"'{text[:80]}' is not a permission"))
    return policy + colon + scope


def _check_ips(allowed_ips: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(text, strict=False)) for text in allowed_ips)
    except ValueError as error:
        raise ValidationError(FieldProblem("AllowedIps", str(error))) from None


def new_key(
    entropy: Entropy,
    clock: Clock,
    label: str,
    permissions: Sequence[str],
    *,
    user_id: str = "",
    allowed_ips: Sequence[str] = (),
    application: str = "",
) -> tuple[str, ApiKey]:
    """A key in clear and the record to keep. Raises ValidationError."""
    if len(label) > MAX_LABEL:
        raise ValidationError(FieldProblem("Label", f"At most {MAX_LABEL} characters"))
    checked = tuple(dict.fromkeys(check_permission(text) for text in permissions))
    text = entropy.bytes(32).hex()
    digest = sha256(text.encode())
    key_id = encode_base58(digest[:8])[:ID_LENGTH]
    record = ApiKey(key_id, digest, label, checked, clock.now(), user_id, _check_ips(allowed_ips), application)
    return text, record


def put_key(txn: Txn, key: ApiKey) -> None:
    # Two of 58^7 keys with one id: the second creation fails and is made again by the caller.
    txn.require(layout.api_key_id_key(key.id), ABSENT)
    txn.put(layout.api_key_id_key(key.id), key.digest)
    txn.put_json(layout.api_key_key(key.digest), key)


def find_key(reader: DocumentReader, text: str) -> ApiKey | None:
    """The record of a key in clear. Looking up a hash gives nothing away by its time."""
    if not _KEY.fullmatch(text):
        return None
    return reader.get_json(layout.api_key_key(sha256(text.encode())), ApiKey)


def list_keys(reader: DocumentReader) -> list[ApiKey]:
    return [key for _, key in reader.iterate_json(b"k", ApiKey)]


def revoke_key(txn: Txn, key_id: str) -> bool:
    """Whether there was such a key."""
    digest = txn.get(layout.api_key_id_key(key_id))
    if digest is None:
        return False
    txn.delete(layout.api_key_id_key(key_id))
    txn.delete(layout.api_key_key(digest))
    return True
