"""Greenfield's notifications: the inbox of a user; the operator's keys have one of their own."""

from html import escape
from typing import Any

from msgspec import Struct

from api.errors import ErrorShape
from api.routing import Call, Param, ParamKind, RouteTable
from payments.notices import KINDS, OPERATOR, Notice

__all__ = ["table"]

table = RouteTable("/api/v1/users/me", "Notifications", ErrorShape.GREENFIELD)

VIEW = "btcpay.user.canviewnotificationsforuser"
MANAGE = "btcpay.user.canmanagenotificationsforuser"


class NotificationAnswer(Struct, rename="camel"):
    id: str
    identifier: str
    type: str
    body: str
    store_id: str
    link: str
    created_time: int
    seen: bool


class SeenRequest(Struct):
    """Null turns it round."""

    seen: bool | None = None


class KindAnswer(Struct):
    identifier: str
    name: str
    enabled: bool


class NotificationSettings(Struct):
    notifications: list[KindAnswer]


class DisabledRequest(Struct):
    """Identifiers, or the single word `all`."""

    disabled: list[str]


@table.add(
    "GET",
    "/notifications",
    access=VIEW,
    answer=list[NotificationAnswer],
    summary="Notifications, newest first",
    query=(
        Param("seen", ParamKind.FLAG),
        Param("skip", ParamKind.INTEGER),
        Param("take", ParamKind.INTEGER),
        Param("storeId", many=True),
    ),
)
async def list_notifications(call: Call[None]) -> list[NotificationAnswer]:
    query = call.query
    found = [
        notice
        for notice in call.context.service.notices.of_user(_me(call))
        if query["seen"] in (None, notice.seen) and (not query["storeId"] or notice.store_id in query["storeId"])
    ]
    first = query["skip"] or 0
    last = None if query["take"] is None else first + query["take"]
    return [_answer(call, notice) for notice in found[first:last]]


@table.add("GET", "/notifications/{id}", access=VIEW, answer=NotificationAnswer, summary="One", errors=(404,))
async def get_notification(call: Call[None]) -> NotificationAnswer:
    return _answer(call, call.context.service.notices.get(_me(call), call.path["id"]))


@table.add(
    "PUT",
    "/notifications/{id}",
    access=MANAGE,
    body=SeenRequest,
    answer=NotificationAnswer,
    summary="Mark one as seen or not",
    errors=(404,),
)
async def update_notification(call: Call[SeenRequest]) -> NotificationAnswer:
    notices = call.context.service.notices
    return _answer(call, await notices.set_seen(_me(call), call.path["id"], call.body.seen))


@table.add("DELETE", "/notifications/{id}", access=MANAGE, summary="Delete one", errors=(404,))
async def delete_notification(call: Call[None]) -> None:
    await call.context.service.notices.delete(_me(call), call.path["id"])


@table.add(
    "GET", "/notification-settings", access=MANAGE, answer=NotificationSettings, summary="What one is told of"
)
async def get_notification_settings(call: Call[None]) -> NotificationSettings:
    return _settings(call)


@table.add(
    "PUT",
    "/notification-settings",
    access=MANAGE,
    body=DisabledRequest,
    answer=NotificationSettings,
    summary="Choose what one is told of",
)
async def update_notification_settings(call: Call[DisabledRequest]) -> NotificationSettings:
    disabled = [name.strip().lower() for name in call.body.disabled]
    unwanted = list(KINDS) if disabled == ["all"] else [kind for kind in KINDS if kind.lower() in disabled]
    await call.context.service.notices.set_unwanted(_me(call), unwanted)
    return _settings(call)


def _me(call: Call[Any]) -> str:
    return call.principal.user_id or OPERATOR


def _settings(call: Call[Any]) -> NotificationSettings:
    unwanted = call.context.service.notices.unwanted(_me(call))
    return NotificationSettings([KindAnswer(kind, name, kind not in unwanted) for kind, name in KINDS.items()])


def _answer(call: Call[Any], notice: Notice) -> NotificationAnswer:
    store = call.context.service.store(notice.store_id)
    where = f" ({escape(store.name)})" if store is not None else ""
    return NotificationAnswer(
        id=notice.id,
        identifier=notice.kind,
        type=notice.kind.partition("_")[0],
        body=f"{KINDS.get(notice.kind, notice.kind)}: {escape(notice.invoice_id)}{where}",
        store_id=notice.store_id,
        link=f"{call.context.base_url}/i/{notice.invoice_id}",
        created_time=notice.created_at,
        seen=notice.seen,
    )
