"""Checking what a webhook brings: the signature over the exact bytes, then the event."""

import hashlib
import hmac

import msgspec

from api.client.types import Event

__all__ = ["InvalidWebhook", "read_webhook", "sign_webhook"]

_PREFIX = "sha256="


class InvalidWebhook(Exception):
    """Not from the server, or not for this secret."""


def sign_webhook(body: bytes, secret: str) -> str:
    """The header `BTCPay-Sig` that goes with `body`; for a shop's own tests."""
    return _PREFIX + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def read_webhook(body: bytes, signature: str | None, secret: str) -> Event:
    """The event in `body`, whose header `BTCPay-Sig` is `signature`. Raises InvalidWebhook.

    Deliveries come at least once: keep `original_delivery_id` (or the invoice's state) to know a repetition.

    >>> body = (
    ...     b'{"deliveryId": "d", "webhookId": "w", "originalDeliveryId": "d", "isRedelivery": false,'
    ...     b' "type": "InvoiceSettled", "timestamp": 1, "storeId": "s", "invoiceId": "i", "overPaid": true}'
    ... )
    >>> event = read_webhook(body, sign_webhook(body, "the secret"), "the secret")
    >>> event.type, event.invoice_id, event.over_paid
    ('InvoiceSettled', 'i', True)
    >>> read_webhook(body, "sha256=00", "the secret")
    Traceback (most recent call last):
    api.client.webhooks.InvalidWebhook: the signature is not that of this body and secret
    """
    expected = sign_webhook(body, secret).encode()
    if signature is None or not hmac.compare_digest(signature.strip().encode("utf-8", "replace"), expected):
        raise InvalidWebhook("the signature is not that of this body and secret")
    try:
        return msgspec.json.decode(body, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidWebhook(f"signed, but not an event: {error}") from error
