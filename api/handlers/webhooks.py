"""Greenfield's webhooks: `/stores/{storeId}/webhooks/…`, and the same without the store."""

from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import UNSET

from api.errors import ErrorShape, Invalid
from api.models.webhooks import (
    AuthorizedEvents,
    DeliveryAnswer,
    EventsAnswer,
    HeldAnswer,
    ParkedAnswer,
    RedeliverAnswer,
    RedeliverRequest,
    UndeliveredAnswer,
    WebhookAnswer,
    WebhookRequest,
)
from api.routing import Call, Param, ParamKind, RouteTable
from payments.errors import not_found
from payments.service import Delivery
from payments.stores import Webhook

__all__ = ["table"]

table = RouteTable("/api/v1", "Webhooks", ErrorShape.GREENFIELD)

PERMISSION = "btcpay.store.webhooks.canmodifywebhooks"
_MAX_SECRET = 256


def twins(rest: str = "") -> tuple[str, str]:
    return f"/stores/{{storeId}}/webhooks/{{webhookId}}{rest}", f"/webhooks/{{webhookId}}{rest}"


def webhook_of(call: Call[Any]) -> Webhook:
    """The webhook in the path, which must be the authorised store's. Raises PaymentError 404."""
    webhook = call.context.service.webhook(call.path["webhookId"])
    if webhook is None or webhook.store_id != call.store:
        raise not_found("webhook")
    return webhook


@table.add(
    "GET",
    "/stores/{storeId}/webhooks",
    access=PERMISSION,
    answer=list[WebhookAnswer],
    summary="The store's webhooks",
)
async def list_webhooks(call: Call[None]) -> list[WebhookAnswer]:
    return [_answer(webhook) for webhook in call.context.service.webhooks(call.store)]


@table.add(
    "POST",
    "/stores/{storeId}/webhooks",
    access=PERMISSION,
    body=WebhookRequest,
    answer=WebhookAnswer,
    summary="Create a webhook",
)
async def create_webhook(call: Call[WebhookRequest]) -> WebhookAnswer:
    body, events = call.body, call.body.authorized_events or AuthorizedEvents()
    webhook = await call.context.service.create_webhook(
        call.store,
        _url(body),
        secret=_secret(body),
        enabled=body.enabled is not False,
        automatic_redelivery=body.automatic_redelivery is not False,
        everything=events.everything,
        specific_events=_names(events),
    )
    return _answer(webhook, webhook.secret)


@table.add("GET", *twins(), access=PERMISSION, answer=WebhookAnswer, summary="A webhook", errors=(404,))
async def get_webhook(call: Call[None]) -> WebhookAnswer:
    return _answer(webhook_of(call))


@table.add(
    "PUT",
    *twins(),
    access=PERMISSION,
    body=WebhookRequest,
    answer=WebhookAnswer,
    summary="Replace a webhook",
    errors=(404,),
)
async def update_webhook(call: Call[WebhookRequest]) -> WebhookAnswer:
    webhook, body = webhook_of(call), call.body
    events = body.authorized_events or AuthorizedEvents()
    changed = msgspec.structs.replace(
        webhook,
        url=_url(body),
        enabled=body.enabled is not False,
        automatic_redelivery=body.automatic_redelivery is not False,
        everything=events.everything,
        specific_events=_names(events),
        secret=_secret(body) or webhook.secret,
    )
    return _answer(await call.context.service.update_webhook(changed))


@table.add("DELETE", *twins(), access=PERMISSION, summary="Delete a webhook", errors=(404,))
async def delete_webhook(call: Call[None]) -> None:
    webhook = webhook_of(call)
    await call.context.service.delete_webhook(webhook.store_id, webhook.id)


@table.add(
    "GET",
    *twins("/deliveries"),
    access=PERMISSION,
    answer=list[DeliveryAnswer],
    summary="Attempts to deliver, newest first",
    query=(Param("count", ParamKind.INTEGER, maximum=100_000),),
    errors=(404,),
)
async def list_deliveries(call: Call[None]) -> list[DeliveryAnswer]:
    webhook = webhook_of(call)
    return [_delivery(item) for item in call.context.service.deliveries(webhook.id, call.query["count"])]


@table.add(
    "GET",
    *twins("/deliveries/{deliveryId}"),
    access=PERMISSION,
    answer=DeliveryAnswer,
    summary="An attempt",
    errors=(404,),
)
async def get_delivery(call: Call[None]) -> DeliveryAnswer:
    webhook = webhook_of(call)
    for item in call.context.service.deliveries(webhook.id):
        if item.id == call.path["deliveryId"]:
            return _delivery(item)
    raise not_found("webhookdelivery")


@table.add(
    "GET",
    *twins("/deliveries/{deliveryId}/request"),
    access=PERMISSION,
    answer=dict[str, Any],
    summary="The body that was sent",
    errors=(404, 409),
)
async def get_delivery_request(call: Call[None]) -> web.Response:
    webhook = webhook_of(call)
    body = call.context.service.delivery_body(webhook.id, call.path["deliveryId"])
    return web.Response(body=body, content_type="application/json")


@table.add(
    "POST",
    *twins("/deliveries/{deliveryId}/redeliver"),
    access=PERMISSION,
    answer=str,
    summary="Send again; answers the new delivery's id",
    errors=(404, 409),
)
async def redeliver(call: Call[None]) -> str:
    webhook = webhook_of(call)
    return await call.context.service.redeliver(webhook.id, call.path["deliveryId"])


@table.add(
    "GET",
    *twins("/undelivered"),
    access=PERMISSION,
    answer=UndeliveredAnswer,
    summary="What the endpoint has not got: waiting for another attempt, or given up",
    errors=(404,),
)
async def list_undelivered(call: Call[None]) -> UndeliveredAnswer:
    found = call.context.service.undelivered(webhook_of(call).id)
    return UndeliveredAnswer(
        found.position,
        found.last_sequence,
        found.failures_in_row,
        found.closed_until,
        [HeldAnswer(**asdict(one)) for one in found.waiting],
        [ParkedAnswer(**asdict(one)) for one in found.parked],
    )


@table.add(
    "POST",
    *twins("/redeliver-failed"),
    access=PERMISSION,
    body=RedeliverRequest,
    body_optional=True,
    answer=RedeliverAnswer,
    summary="Send everything again that was given up, and try what waits at once",
    errors=(404,),
)
async def redeliver_failed(call: Call[RedeliverRequest]) -> RedeliverAnswer:
    webhook = webhook_of(call)
    return RedeliverAnswer(await call.context.service.redeliver_failed(webhook.id, call.body.since))


def _answer(webhook: Webhook, secret: str | None = None) -> WebhookAnswer:
    return WebhookAnswer(
        id=webhook.id,
        enabled=webhook.enabled,
        automatic_redelivery=webhook.automatic_redelivery,
        url=webhook.url,
        authorized_events=EventsAnswer(webhook.everything, list(webhook.specific_events)),
        secret=secret if secret is not None else UNSET,
    )


def _delivery(item: Delivery) -> DeliveryAnswer:
    answered = item.http_code is not None
    status = "HttpSuccess" if item.is_success else ("HttpError" if answered else "Failed")
    return DeliveryAnswer(item.id, item.at, item.at, item.http_code, item.error, status)


def _url(body: WebhookRequest) -> str:
    url = (body.url or "").strip()
    try:
        parts = urlsplit(url)
        bad = parts.scheme not in ("http", "https") or not parts.hostname or len(url) > 2048
    except ValueError:
        bad = True
    if bad:
        raise Invalid("Url", "Invalid Url")
    return url


def _secret(body: WebhookRequest) -> str | None:
    secret = body.secret or None
    if secret is not None and (len(secret) > _MAX_SECRET or any(ord(char) < 32 for char in secret)):
        raise Invalid("Secret", f"At most {_MAX_SECRET} printable characters.")
    return secret


def _names(events: AuthorizedEvents) -> tuple[str, ...]:
    names = events.specific_events or []
    if len(names) > 100 or any(len(name) > 100 for name in names):
        raise Invalid("AuthorizedEvents.SpecificEvents", "Too many or too long names.")
    return tuple(dict.fromkeys(names))
