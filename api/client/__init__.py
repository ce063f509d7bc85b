"""A typed client of the API, for shops written in Python: blocking and asyncio, webhooks checked.

Nothing of the node or the server is imported, and aiohttp only with `AsyncBTCPayClient`.
"""

from typing import TYPE_CHECKING, Any

from api.client.blocking import BTCPayClient
from api.client.protocol import GreenfieldError, ServerUnreachable
from api.client.types import Event, Invoice, InvoicePaymentMethod, Payment, PaymentRequest, Store, Webhook
from api.client.webhooks import InvalidWebhook, read_webhook, sign_webhook

if TYPE_CHECKING:
    from api.client.waiting import AsyncBTCPayClient

__all__ = [
    "AsyncBTCPayClient",
    "BTCPayClient",
    "Event",
    "GreenfieldError",
    "InvalidWebhook",
    "Invoice",
    "InvoicePaymentMethod",
    "Payment",
    "PaymentRequest",
    "ServerUnreachable",
    "Store",
    "Webhook",
    "read_webhook",
    "sign_webhook",
]


def __getattr__(name: str) -> Any:
    if name == "AsyncBTCPayClient":
        from api.client.waiting import AsyncBTCPayClient

        return AsyncBTCPayClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
