"""Signatures of what is sent to merchants, and their check. Pure."""

import hashlib
import hmac

__all__ = ["SIGNATURE_HEADER", "sign_body", "verify_body"]

SIGNATURE_HEADER = "BTCPay-Sig"


def sign_body(secret: str, body: bytes) -> str:
    """The value of the `BTCPay-Sig` header: HMAC-SHA256 of the exact bytes under the UTF-8 secret."""
    return "sha256=" + hmac.new(secret.encode("utf-8"), body, hashlib.sha256).hexdigest()


def verify_body(secret: str, body: bytes, header: str | None) -> bool:
    """Whether the header signs these bytes; compared in constant time."""
    return header is not None and hmac.compare_digest(sign_body(secret, body).encode(), header.encode("utf-8"))
