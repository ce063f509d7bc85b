"""How a store is paid: Greenfield's `/stores/{storeId}/payment-methods`."""

from typing import Any

import msgspec
from msgspec import UNSET, Raw

from api.auth import require
from api.errors import ApiError, ErrorShape, Invalid
from api.fields import Given, is_null
from api.models.stores import MethodRequest, MethodSettingsAnswer, PreviewAddress, PreviewAnswer, PreviewRequest
from api.routing import Call, Param, ParamKind, RouteTable
from payments.methods import normalise_method_id
from payments.service import require_store
from payments.stores import ChainMethod

__all__ = ["table"]

table = RouteTable("/api/v1", "Store payment methods", ErrorShape.GREENFIELD)

VIEW = "btcpay.store.canviewstoresettings"
MODIFY = "btcpay.store.canmodifystoresettings"
_ONE = "/stores/{storeId}/payment-methods/{paymentMethodId}"
VIEW_WALLET = "btcpay.store.canviewwallet"
_RANGE = (Param("offset", ParamKind.INTEGER, maximum=2**31 - 1), Param("count", ParamKind.INTEGER, maximum=1000))
_WITH_CONFIG = Param("includeConfig", ParamKind.FLAG, summary="Needs canmodifystoresettings.")


@table.add(
    "GET",
    "/stores/{storeId}/payment-methods",
    access=VIEW,
    answer=list[MethodSettingsAnswer],
    summary="The store's payment methods",
    query=(Param("onlyEnabled", ParamKind.FLAG), _WITH_CONFIG),
)
async def list_payment_methods(call: Call[None]) -> list[MethodSettingsAnswer]:
    with_config = _may_see_config(call)
    chain = require_store(call.context.service, call.store).chain
    if chain is None or (call.query["onlyEnabled"] and not chain.enabled):
        return []
    return [_answer(call, chain, with_config)]


@table.add(
    "GET",
    _ONE,
    access=VIEW,
    answer=MethodSettingsAnswer,
    summary="A payment method",
    query=(_WITH_CONFIG,),
    errors=(404,),
)
async def get_payment_method(call: Call[None]) -> MethodSettingsAnswer:
    with_config = _may_see_config(call)
    _check_known(call)
    chain = require_store(call.context.service, call.store).chain
    if chain is None:
        raise _not_found()
    return _answer(call, chain, with_config)


@table.add(
    "PUT",
    _ONE,
    access=MODIFY,
    body=MethodRequest,
    answer=MethodSettingsAnswer,
    summary="Set how the store is paid",
    errors=(404,),
)
async def set_payment_method(call: Call[MethodRequest]) -> MethodSettingsAnswer:
    _check_known(call)
    service, body = call.context.service, call.body
    present = require_store(service, call.store).chain
    config, label, path = _config(body.config)
    if config is None and body.derivation_scheme:  # clients of before 2.0 write it without an envelope
        config, label, path = body.derivation_scheme, _text(body.label), _text(body.account_key_path)
    if config is None and present is None:
        raise Invalid("config", "Invalid configuration (an address, extended public key or descriptor is needed)")
    enabled = body.enabled if body.enabled is not None else (present.enabled if present is not None else True)
    chain = await service.set_chain_method(call.store, config, enabled=enabled, label=label, account_key_path=path)
    return _answer(call, chain, config is not None)


@table.add("DELETE", _ONE, access=MODIFY, summary="Forget how the store is paid", errors=(404,))
async def delete_payment_method(call: Call[None]) -> None:
    _check_known(call)
    await call.context.service.remove_chain_method(call.store)


@table.add(
    "GET",
    _ONE + "/wallet/preview",
    access=VIEW_WALLET,
    answer=PreviewAnswer,
    summary="The store's addresses",
    query=_RANGE,
    errors=(404,),
)
async def preview_addresses(call: Call[None]) -> PreviewAnswer:
    _check_known(call)
    chain = require_store(call.context.service, call.store).chain
    if chain is None:
        raise _not_found()
    return _preview(call, chain.text)


@table.add(
    "POST",
    _ONE + "/wallet/preview",
    access="btcpay.store.canmanagewalletsettings",
    body=PreviewRequest,
    answer=PreviewAnswer,
    summary="The addresses that a configuration would give",
    query=_RANGE,
    errors=(404,),
)
async def preview_configuration(call: Call[PreviewRequest]) -> PreviewAnswer:
    _check_known(call)
    text = call.body.derivation_scheme or _config(call.body.config)[0]
    if text is None:
        raise Invalid("config", "Invalid configuration (derivationScheme is missing)")
    return _preview(call, text)


def _preview(call: Call[Any], text: str) -> PreviewAnswer:
    offset, count = call.query["offset"] or 0, call.query["count"]
    found = call.context.service.preview_addresses(text, offset, 10 if count is None else count)
    return PreviewAnswer([PreviewAddress(f"0/{index}", address, index) for index, address in found])


def _may_see_config(call: Call[None]) -> bool:
    wanted = bool(call.query["includeConfig"])
    if wanted:
        require(call.context, call.principal, MODIFY, call.store)
    return wanted


def _check_known(call: Call[Any]) -> None:
    params, aliases = call.context.host.params, call.context.coin_aliases
    if normalise_method_id(call.path["paymentMethodId"], params, aliases) != call.context.service.method_id:
        raise _not_found()


def _not_found() -> ApiError:
    return ApiError(404, "paymentmethod-not-found", "The payment method is not found")


def _answer(call: Call[Any], chain: ChainMethod, with_config: bool) -> MethodSettingsAnswer:
    config = {
        "accountDerivation": chain.source or chain.text,
        "label": chain.label or None,
        "accountKeyPath": chain.account_key_path or None,
        "kind": chain.kind,
        "descriptor" if chain.kind == "descriptor" else "address": chain.text,
    }
    return MethodSettingsAnswer(
        enabled=chain.enabled,
        payment_method_id=call.context.service.method_id,
        config=Raw(msgspec.json.encode(config)) if with_config else UNSET,
    )


def _config(given: Given) -> tuple[str | None, str, str]:
    """The text that says how to be paid, its label and key path; no text where nothing was given."""
    if is_null(given):
        return None, "", ""
    assert isinstance(given, Raw)
    value = msgspec.json.decode(given)
    if isinstance(value, str):
        return value, "", ""
    if not isinstance(value, dict):
        raise Invalid("config", "Invalid configuration (expected a text or an object)")
    folded = {str(name).lower(): item for name, item in value.items()}
    names = ("derivationscheme", "accountderivation", "descriptor", "address", "xpub")
    text = next((folded[name] for name in names if isinstance(folded.get(name), str)), None)
    if text is None:
        raise Invalid("config", "Invalid configuration (derivationScheme is missing)")
    return text, _text(folded.get("label")), _text(folded.get("accountkeypath"))


def _text(value: object) -> str:
    return value[:200] if isinstance(value, str) else ""
