"""Greenfield's stores. POST and PUT are merges over what is there."""

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from api.context import ApiContext
from api.errors import ErrorShape, Invalid
from api.fields import Given, amount_text, duration, enum_of, is_null
from api.models.stores import (
    DepthRuleModel,
    StoreAnswer,
    StoreReceipt,
    StoreRequest,
    ZeroConfAnswer,
    ZeroConfRequest,
)
from api.permissions import store_scopes
from api.routing import Call, RouteTable
from api.views import percent
from gldnode.primitives.amount import AmountError, format_amount_short, parse_amount
from payments.invoice import FeeMode, SpeedPolicy, ZeroConf
from payments.methods import normalise_method_id
from payments.money import parse_percent
from payments.service import require_store
from payments.stores import SETTING_NAMES, DepthRule, ReceiptOptions, Store, StoreSettings

__all__ = ["table"]

table = RouteTable("/api/v1", "Stores", ErrorShape.GREENFIELD)

VIEW = "btcpay.store.canviewstoresettings"
MODIFY = "btcpay.store.canmodifystoresettings"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_URLS = ("website", "logo_url", "css_url", "payment_sound_url")
_TEXT_LIMIT = 2000
_DAY_S = 86_400
MAX_CONFIRMATIONS = 1000
_RANGES_S = {
    "invoice_expiration": (60, 24 * _DAY_S),
    "display_expiration_timer": (60, 24 * _DAY_S),
    "monitoring_expiration": (10, 24 * _DAY_S),
    "late_payment_grace": (0, 24 * _DAY_S),
}


@table.add("GET", "/stores", access=VIEW, answer=list[StoreAnswer], summary="The stores that the key may see")
async def list_stores(call: Call[None]) -> list[StoreAnswer]:
    context, who = call.context, call.principal
    scopes = store_scopes(who.permissions, VIEW)
    return [
        store_answer(store, context)
        for store in context.service.stores()
        if (scopes is None or store.id in scopes) and context.member_may(who, VIEW, store.id)
    ]


@table.add(
    "POST",
    "/stores",
    access=MODIFY,
    unscoped=True,
    body=StoreRequest,
    answer=StoreAnswer,
    summary="Create a store",
)
async def create_store(call: Call[StoreRequest]) -> StoreAnswer:
    changes = _changes(call.body, call.context)
    if "name" not in changes:
        raise Invalid("Name", "Name is missing")
    service, user_id = call.context.service, call.principal.user_id
    store = await service.create_store(StoreSettings(**changes), owner=user_id or "")
    if user_id is not None:
        await service.accounts.set_role(store.id, user_id, "Owner")
    return store_answer(store, call.context)


@table.add("GET", "/stores/{storeId}", access=VIEW, answer=StoreAnswer, summary="A store")
async def get_store(call: Call[None]) -> StoreAnswer:
    return store_answer(require_store(call.context.service, call.store), call.context)


@table.add(
    "PUT",
    "/stores/{storeId}",
    access=MODIFY,
    body=StoreRequest,
    answer=StoreAnswer,
    summary="Change a store's settings",
)
async def update_store(call: Call[StoreRequest]) -> StoreAnswer:
    store = require_store(call.context.service, call.store)
    changes = _changes(call.body, call.context, store.settings)
    return store_answer(await call.context.service.update_store(call.store, changes), call.context)


@table.add("DELETE", "/stores/{storeId}", access=MODIFY, summary="Leave a store; the operator's key archives it")
async def delete_store(call: Call[None]) -> None:
    service, user_id = call.context.service, call.principal.user_id
    if user_id is not None and service.accounts.role(call.store, user_id) is not None:
        await service.accounts.remove_member(call.store, user_id, may_orphan=True)
    if not service.accounts.members(call.store):
        await service.update_store(call.store, {"archived": True})


def store_answer(store: Store, context: ApiContext) -> StoreAnswer:
    settings = store.settings
    plain = {name: getattr(settings, name) for name in SETTING_NAMES & set(StoreAnswer.__struct_fields__)}
    plain.update(
        additional_tracked_rates=list(settings.additional_tracked_rates),
        speed_policy=settings.speed_policy.value,
        network_fee_mode=settings.network_fee_mode.value,
        payment_tolerance=percent(settings.payment_tolerance),
        payment_method_criteria=Raw(settings.payment_method_criteria),
        receipt=StoreReceipt(settings.receipt.enabled, settings.receipt.show_qr, settings.receipt.show_payments),
        minimum_amount=format_amount_short(settings.minimum_amount),
        maximum_amount=format_amount_short(settings.maximum_amount) if settings.maximum_amount else None,
        zero_conf_limit=format_amount_short(settings.zero_conf.max_amount),
        zero_conf=ZeroConfAnswer(
            format_amount_short(settings.zero_conf.max_amount),
            settings.zero_conf.min_feerate_per_kvb,
            settings.zero_conf.seconds_seen,
        ),
        confirmations_by_amount=[
            DepthRuleModel(Raw(msgspec.json.encode(format_amount_short(rule.amount))), rule.depth)
            for rule in settings.depth_by_amount
        ],
    )
    return StoreAnswer(id=store.id, identity=store.identity.hex(), **plain)


def _changes(body: StoreRequest, context: ApiContext, before: StoreSettings | None = None) -> dict[str, Any]:
    """The settings that the body names, typed and checked. Raises ApiError 422."""
    changes: dict[str, Any] = {
        name: value
        for name, value in msgspec.structs.asdict(body).items()
        if value is not None and isinstance(value, str | bool | int) and name in SETTING_NAMES
    }
    _check_texts(changes)
    changes |= _durations(body)
    policy = enum_of(SpeedPolicy, body.speed_policy, "SpeedPolicy")
    if policy is not None:
        changes["speed_policy"] = policy
    mode = enum_of(FeeMode, body.network_fee_mode, "NetworkFeeMode")
    if mode is not None:
        changes["network_fee_mode"] = mode
    tolerance = amount_text(body.payment_tolerance, "PaymentTolerance")
    if tolerance is not None:
        changes["payment_tolerance"] = _percent(tolerance)
    if body.additional_tracked_rates is not None:
        changes["additional_tracked_rates"] = tuple(
            _currency(text) for text in body.additional_tracked_rates[:100]
        )
    if body.default_currency is not None:
        changes["default_currency"] = _currency(body.default_currency) or "USD"
    if body.default_payment_method is not None:
        method = normalise_method_id(body.default_payment_method, context.host.params, context.coin_aliases)
        changes["default_payment_method"] = method or None
    if not is_null(body.payment_method_criteria):
        changes["payment_method_criteria"] = _criteria(body.payment_method_criteria, context)
    if body.receipt is not None:
        changes["receipt"] = ReceiptOptions(body.receipt.enabled, body.receipt.show_qr, body.receipt.show_payments)
    return changes | _amounts(body, context) | _confirmations(body, context, before)


def _check_texts(changes: dict[str, Any]) -> None:
    name = changes.get("name")
    if name is not None and not 1 <= len(name.strip()) <= 50:
        raise Invalid("Name", "Name can only be between 1 and 50 characters")
    for key, value in changes.items():
        if isinstance(value, str) and (len(value) > _TEXT_LIMIT or any(ord(char) < 32 for char in value)):
            raise Invalid(_pascal(key), "The text is too long or has control characters.")
    for key in _URLS:
        if changes.get(key) and not _is_web_url(changes[key]):
            raise Invalid(_pascal(key), "The URL must be absolute, http or https.")
    colour = changes.get("brand_color")
    if colour and not _COLOUR.fullmatch(colour):
        raise Invalid("BrandColor", "The brand color needs to be a valid hex color code")
    target = changes.get("recommended_fee_block_target")
    if target is not None and not 1 <= target <= 1008:
        raise Invalid("RecommendedFeeBlockTarget", "The block target must be between 1 and 1008.")


def _durations(body: StoreRequest) -> dict[str, int]:
    changes: dict[str, int] = {}
    for name, (least, most) in _RANGES_S.items():
        seconds = duration(getattr(body, name), _camel(name))
        if seconds is None:
            continue
        if not least <= seconds <= most:
            raise Invalid(_pascal(name), f"The value must be between {least} and {most} seconds.")
        changes[name] = seconds
    days = duration(body.refund_bolt11_expiration, "refundBOLT11Expiration")
    if days is not None:
        if days > 3650:
            raise Invalid("RefundBOLT11Expiration", "The value must be between 0 and 3650 days.")
        changes["refund_bolt11_expiration"] = days
    return changes


def _amounts(body: StoreRequest, context: ApiContext) -> dict[str, Any]:
    limit = context.host.params.max_money
    changes: dict[str, Any] = {}
    for name, given in (("minimum_amount", body.minimum_amount), ("maximum_amount", body.maximum_amount)):
        grains = _grains(given, name, limit)
        if grains is not None:
            changes[name] = grains
    return changes


def _confirmations(body: StoreRequest, context: ApiContext, before: StoreSettings | None) -> dict[str, Any]:
    """When a payment is final: the zero-confirmation policy and the table by amount."""
    limit = context.host.params.max_money
    changes: dict[str, Any] = {}
    policy = before.zero_conf if before is not None else ZeroConf()
    asked = body.zero_conf or ZeroConfRequest()
    for path, given in (("zero_conf_limit", body.zero_conf_limit), ("zero_conf", asked.max_amount)):
        grains = _grains(given, path, limit)
        if grains is not None:
            policy = msgspec.structs.replace(policy, max_amount=grains)
    for name, number, most in (
        ("min_feerate_per_kvb", asked.min_feerate_per_kvb, limit),
        ("seconds_seen", asked.seconds_seen, 3600),
    ):
        if number is not None:
            if not 0 <= number <= most:
                raise Invalid(f"ZeroConf.{_pascal(name)}", f"The value must be between 0 and {most}.")
            policy = msgspec.structs.replace(policy, **{name: number})
    if policy != (before.zero_conf if before is not None else ZeroConf()):
        changes["zero_conf"] = policy
    if body.confirmations_by_amount is not None:
        changes["depth_by_amount"] = tuple(_depth_rule(rule, limit) for rule in body.confirmations_by_amount[:50])
    return changes


def _depth_rule(rule: DepthRuleModel, limit: int) -> DepthRule:
    grains = _grains(rule.amount, "confirmations_by_amount", limit)
    if grains is None or not 0 <= rule.confirmations <= MAX_CONFIRMATIONS:
        raise Invalid("ConfirmationsByAmount", f"Each needs an amount and 0 to {MAX_CONFIRMATIONS} confirmations.")
    return DepthRule(grains, rule.confirmations)


def _grains(given: Given, name: str, limit: int) -> int | None:
    text = amount_text(given, _pascal(name))
    if text is None:
        return None
    try:
        return parse_amount(text, limit)
    except AmountError as error:
        raise Invalid(_pascal(name), str(error)) from error


def _percent(text: str) -> int:
    try:
        return parse_percent(text)
    except AmountError as error:
        raise Invalid("PaymentTolerance", "PaymentTolerance can only be between 0 and 100 percent") from error


def _criteria(given: Given, context: ApiContext) -> bytes:
    """Items `{paymentMethodId, currencyCode, amount, above}` with canonical ids."""
    assert isinstance(given, Raw)
    try:
        items = msgspec.json.decode(given, type=list[dict[str, Raw]])
        for item in items[:100]:
            if "paymentMethodId" in item:
                text = msgspec.json.decode(item["paymentMethodId"], type=str)
                canonical = normalise_method_id(text, context.host.params, context.coin_aliases)
                item["paymentMethodId"] = Raw(msgspec.json.encode(canonical))
            if "amount" in item:
                amount = amount_text(item["amount"], "PaymentMethodCriteria.Amount")
                item["amount"] = Raw(msgspec.json.encode(amount or "0"))
    except msgspec.ValidationError as error:
        raise Invalid("PaymentMethodCriteria", "Expected a list of objects.") from error
    return msgspec.json.encode(items[:100])


def _currency(text: str) -> str:
    """Upper-cased, everything but letters and digits removed."""
    return re.sub(r"[^A-Z0-9]", "", text.upper())[:10]


def _is_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _camel(name: str) -> str:
    text = _pascal(name)
    return text[0].lower() + text[1:]
