"""Greenfield's rates of a store, and the rules behind them."""

from collections.abc import Sequence
from typing import Any

from api.errors import ApiError, ErrorShape, Invalid, Issue
from api.fields import amount_text
from api.models.rates import RateAnswer, RateConfigAnswer, RateConfigRequest
from api.routing import Call, Param, RouteTable
from api.views import percent
from payments.errors import PaymentError
from payments.money import RATE_ONE, AmountError, format_rate, parse_percent
from payments.rules import RuleError, parse_rule
from payments.service import require_store
from payments.stores import Store

__all__ = ["table"]

table = RouteTable("/api/v1", "Rates", ErrorShape.GREENFIELD)

VIEW = "btcpay.store.canviewstoresettings"
MODIFY = "btcpay.store.canmodifystoresettings"
SOURCE = "node"
_CONFIGURATION = "/stores/{storeId}/rates/configuration"
_PAIRS = (Param("currencyPair", many=True, summary="Such as GLD_USD; several, or one with commas."),)
_MAX_SCRIPT = 10_000


@table.add("GET", "/stores/{storeId}/rates", access=VIEW, answer=list[RateAnswer], summary="Rates", query=_PAIRS)
async def get_rates(call: Call[None]) -> list[RateAnswer]:
    store = require_store(call.context.service, call.store)
    return _rates(call, store, store.settings.spread, store.settings.rate_rules)


@table.add(
    "GET",
    _CONFIGURATION,
    _CONFIGURATION + "/{rateSource:primary|fallback}",
    access=VIEW,
    answer=RateConfigAnswer,
    summary="Where rates come from",
    errors=(404,),
)
async def get_rate_configuration(call: Call[None]) -> RateConfigAnswer:
    _check_source(call)
    return _configuration(call, require_store(call.context.service, call.store))


@table.add(
    "PUT",
    _CONFIGURATION,
    _CONFIGURATION + "/{rateSource:primary|fallback}",
    access=MODIFY,
    body=RateConfigRequest,
    answer=RateConfigAnswer,
    summary="Set where rates come from",
    errors=(404,),
)
async def set_rate_configuration(call: Call[RateConfigRequest]) -> RateConfigAnswer:
    _check_source(call)
    spread, rules = _wanted(call.body)
    store = await call.context.service.update_store(call.store, {"spread": spread, "rate_rules": rules})
    return _configuration(call, store)


@table.add(
    "POST",
    _CONFIGURATION + "/preview",
    access=MODIFY,
    body=RateConfigRequest,
    answer=list[RateAnswer],
    summary="Rates as a configuration would give them",
    query=_PAIRS,
)
async def preview_rates(call: Call[RateConfigRequest]) -> list[RateAnswer]:
    spread, rules = _wanted(call.body)
    return _rates(call, require_store(call.context.service, call.store), spread, rules)


def _check_source(call: Call[Any]) -> None:
    source = call.path.get("rateSource", "primary")
    if source == "fallback":
        raise ApiError(404, "fallback-disabled", "The fallback rate source is disabled")


def _wanted(body: RateConfigRequest) -> tuple[int, str]:
    """Spread in 10^-8 percent, and the store's own rules. Raises ApiError 422."""
    text = amount_text(body.spread, "Spread") or "0"
    try:
        spread = parse_percent(text)
    except AmountError as error:
        raise Invalid("Spread", "Spread value must be in %, between 0 and 100") from error
    if not body.is_custom_script:
        if body.preferred_source not in (None, "", SOURCE):
            raise Invalid("PreferredSource", f"Unsupported source '{body.preferred_source[:40]}'")
        return spread, ""
    if body.preferred_source:
        raise Invalid("PreferredSource", "You can't set the preferredSource if you are using custom scripts")
    script = body.effective_script or ""
    if not script.strip() or len(script) > _MAX_SCRIPT:
        raise Invalid("EffectiveScript", "The script is missing or too long.")
    for line in script.replace(";", "\n").splitlines():
        _check_line(line.strip())
    return spread, script


def _check_line(line: str) -> None:
    if not line or line.startswith(("//", "#")):
        return
    _, equals, rule = line.partition("=")
    try:
        if not equals:
            raise RuleError("no = in it")
        parse_rule(rule.strip())
    except RuleError as error:
        raise Invalid("EffectiveScript", f"Syntax error in '{line[:60]}': {error}") from error


def _configuration(call: Call[Any], store: Store) -> RateConfigAnswer:
    rules = store.settings.rate_rules
    unit = call.context.service.unit
    return RateConfigAnswer(
        spread=percent(store.settings.spread),
        is_custom_script=bool(rules),
        effective_script=rules or f"{unit}_X = {SOURCE}({unit}_X);",
        preferred_source=None if rules else SOURCE,
    )


def _rates(call: Call[Any], store: Store, spread: int, rules: str) -> list[RateAnswer]:
    asked = [text.strip() for item in call.query["currencyPair"] for text in item.split(",") if text.strip()]
    return [_rate(call, pair, spread, rules) for pair in (asked[:100] or _default_pairs(call, store))]


def _default_pairs(call: Call[Any], store: Store) -> Sequence[str]:
    currencies = (store.settings.default_currency, *store.settings.additional_tracked_rates)
    return [f"{call.context.service.unit}_{currency}" for currency in dict.fromkeys(currencies)]


def _rate(call: Call[Any], text: str, spread: int, rules: str) -> RateAnswer:
    pair = text.upper().replace("-", "_")
    if "_" not in pair and len(pair) == 6:
        pair = f"{pair[:3]}_{pair[3:]}"
    try:
        rate = call.context.service.rates.pair(pair, spread=spread, rules=rules)
    except PaymentError as error:
        if error.status == 422:
            message = f"Invalid currency pair '{text[:40]}' (it should be formatted like BTC_USD,BTC_CAD)"
            raise ApiError(422, "validation-failed", message, (Issue("currencyPair", message),)) from error
        return RateAnswer(pair, None, ["RateUnavailable", error.message])
    return RateAnswer(pair, format_rate(int(rate * RATE_ONE)), [])
