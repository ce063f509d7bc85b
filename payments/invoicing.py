"""Making invoices: what was asked for, checked and completed from the store's settings, becomes facts."""

import unicodedata
from typing import Final

import msgspec
from msgspec.structs import replace

from gldnode.entropy import Entropy
from gldnode.params import ChainParams
from gldnode.primitives.codec import var_bytes
from gldnode.script.script import witness_program
from payments import layout
from payments.criteria import check_criteria
from payments.errors import FieldProblem, PaymentError, ValidationError
from payments.events import Event
from payments.finding import MAX_TERM, put_rows
from payments.ids import new_invoice_id
from payments.invoice import DEPTH_OF, Checkout, FeeMode, Invoice, SpeedPolicy, TipFacts, advance
from payments.layout import Watch
from payments.methods import address_source, chain_method_id, normalise_method_id
from payments.money import (
    RATE_ONE,
    AmountError,
    ceil_div,
    currency_digits,
    normalise_currency,
    parse_percent,
    parse_price,
    price_limit,
    round_price,
)
from payments.rates import Rates
from payments.repository import change_invoice
from payments.stores import ChainMethod, Store, StoreSettings
from storage.database import Txn

__all__ = ["InvoiceDraft", "clean_memo", "insert_invoice", "invoice_template"]

MAX_MEMO: Final = 1024
MIN_EXPIRATION_S: Final = 30
MAX_EXPIRATION_S: Final = 10 * 365 * 86_400
MAX_METADATA: Final = 100_000
_MINTING_TRIES: Final = 1000
MAX_DUST: Final = 10_000
"""More than any standard script's dust limit."""
_DISCARD_FEERATE: Final = 3000
"""Core's -dustrelayfee, grains per 1,000 vbytes."""


class InvoiceDraft(msgspec.Struct, frozen=True):
    """A Greenfield invoice as asked for. Amounts and percentages are the JSON token's text; None = default."""

    amount: str | None = None
    """None makes a top-up invoice."""
    currency: str | None = None
    metadata: bytes = b"{}"
    """A JSON object, already bounded in size and depth."""
    speed_policy: SpeedPolicy | None = None
    expiration_s: int | None = None
    monitoring_s: int | None = None
    payment_tolerance: str | None = None
    payment_methods: tuple[str, ...] | None = None
    default_payment_method: str | None = None
    redirect_url: str | None = None
    redirect_automatically: bool | None = None
    default_language: str | None = None
    receipt: bytes = b"{}"
    search_terms: tuple[str, ...] = ()
    callback_url: str | None = None
    memo: str = ""


def clean_memo(text: str) -> str:
    """The memo as it may be shown. Raises ValidationError for control and bidirectional characters."""
    if len(text) > MAX_MEMO:
        raise ValidationError(FieldProblem("memo", f"A memo has at most {MAX_MEMO} characters"))
    for char in text:
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn") and char not in "\u200c\u200d":
            raise ValidationError(
                FieldProblem("memo", f"The character U+{ord(char):04X} is not allowed in a memo")
            )
    return text


def invoice_template(
    store: Store, draft: InvoiceDraft, params: ChainParams, rates: Rates, now: int, next_fee: int
) -> Invoice:
    """The invoice without id and address. Raises PaymentError."""
    settings = store.settings
    currency = _currency(draft.currency or settings.default_currency)
    price, decimals = _price(draft.amount, currency, params)
    rate = rates.get(currency, spread=settings.spread, rules=settings.rate_rules)
    policy = draft.speed_policy or settings.speed_policy
    grains = ceil_div(price * RATE_ONE, rate) if price is not None else 0
    if price:
        _check_limits(grains, settings, params)
        check_criteria(grains, settings, params, rates)
    _check_methods(draft.payment_methods, params)
    expires_at = now + _expiration(draft.expiration_s, settings, params)
    monitoring = settings.monitoring_expiration if draft.monitoring_s is None else draft.monitoring_s
    if not 0 <= monitoring <= MAX_EXPIRATION_S:
        raise ValidationError(FieldProblem("Checkout.Monitoring", "Monitoring time is out of range"))
    return Invoice(
        id="",
        store_id=store.id,
        created_at=now,
        expires_at=expires_at,
        monitoring_ends_at=expires_at + monitoring,
        currency=currency,
        price=price,
        price_decimals=decimals,
        rate=rate,
        script=b"",
        address="",
        own_address=True,
        tolerance=_tolerance(draft.payment_tolerance, settings),
        speed_policy=policy,
        depth=_depth(policy, grains, settings),
        zero_conf=settings.zero_conf,
        grace_s=settings.late_payment_grace,
        fee_mode=settings.network_fee_mode,
        next_fee=next_fee if settings.network_fee_mode is FeeMode.ALWAYS else 0,
        memo=clean_memo(draft.memo),
        callback_url=draft.callback_url,
        metadata=_metadata(draft.metadata),
        receipt=draft.receipt,
        checkout=Checkout(
            (chain_method_id(params),),
            _default_method(draft.default_payment_method or settings.default_payment_method, params),
            draft.redirect_url,
            settings.redirect_automatically
            if draft.redirect_automatically is None
            else draft.redirect_automatically,
            draft.default_language or settings.default_lang,
        ),
        search_terms=tuple(term[:MAX_TERM] for term in draft.search_terms[:50]),
    )


def _default_method(wanted: str | None, params: ChainParams) -> str | None:
    return (normalise_method_id(wanted, params) or None) if wanted else None


def _currency(text: str) -> str:
    try:
        return normalise_currency(text)
    except AmountError as error:
        raise ValidationError(FieldProblem("Currency", str(error))) from None


def _price(text: str | None, currency: str, params: ChainParams) -> tuple[int | None, int]:
    if text is None:
        return None, 0
    digits = 8 if currency == params.unit else currency_digits(currency)
    try:
        price, decimals = parse_price(text, price_limit(currency, params.unit, params.max_money))
    except AmountError as error:
        problem = "The amount should be 0 or more." if text.startswith("-") else str(error)
        raise ValidationError(FieldProblem("Amount", problem)) from None
    rounded = round_price(price, digits)
    return rounded, min(decimals, digits) if rounded != price else decimals


def _check_limits(grains: int, settings: StoreSettings, params: ChainParams) -> None:
    limit = min(settings.maximum_amount or params.max_money, params.max_money)
    if grains > limit:
        raise ValidationError(FieldProblem("Amount", "The amount is more than this store takes"))
    if grains < settings.minimum_amount:
        raise ValidationError(FieldProblem("Amount", "The amount is less than this store takes"))


def _check_methods(wanted: tuple[str, ...] | None, params: ChainParams) -> None:
    if wanted is None:
        return
    known = (chain_method_id(params),)
    problems = [
        FieldProblem(f"Checkout.PaymentMethods[{at}]", "Invalid PaymentMethodId")
        for at, text in enumerate(wanted)
        if normalise_method_id(text, params) not in known
    ]
    if problems:
        raise ValidationError(problems)


def _expiration(wanted: int | None, settings: StoreSettings, params: ChainParams) -> int:
    seconds = settings.invoice_expiration if wanted is None else wanted
    least = 1 if params.is_regtest else MIN_EXPIRATION_S
    if seconds < least:
        raise ValidationError(
            FieldProblem("Checkout.Expiration", f"Expiration time must be at least {least} seconds")
        )
    if seconds > MAX_EXPIRATION_S:
        raise ValidationError(FieldProblem("Checkout.Expiration", "Expiration time is too long"))
    return seconds


def _tolerance(text: str | None, settings: StoreSettings) -> int:
    if text is None:
        return settings.payment_tolerance
    try:
        return parse_percent(text)
    except AmountError:
        raise ValidationError(
            FieldProblem("Checkout.PaymentTolerance", "PaymentTolerance can only be between 0 and 100 percent")
        ) from None


def _depth(policy: SpeedPolicy, grains: int, settings: StoreSettings) -> int:
    by_amount = (rule.depth for rule in settings.depth_by_amount if grains >= rule.amount)
    return max((DEPTH_OF[policy], *by_amount))


def _metadata(document: bytes) -> bytes:
    if len(document) > MAX_METADATA:
        raise ValidationError(FieldProblem("Metadata", f"Metadata has at most {MAX_METADATA} bytes"))
    return document


def dust_limit(script: bytes) -> int:
    """Core's GetDustThreshold: an output that costs a third of it to spend is not worth having."""
    size = 8 + len(var_bytes(script))
    size += 67 if witness_program(script) is not None else 148
    return size * _DISCARD_FEERATE // 1000


def insert_invoice(
    txn: Txn, store: Store, template: Invoice, params: ChainParams, entropy: Entropy, tip: TipFacts
) -> tuple[Invoice, list[Event]]:
    """Give the template id and address and put it into the database. Raises PaymentError."""
    invoice = replace(template, id=new_invoice_id(entropy))
    if invoice.price != 0:
        invoice = _with_address(txn, _method(store), invoice, params)
        grains = ceil_div(invoice.price * RATE_ONE, invoice.rate) if invoice.price else MAX_DUST
        if grains < MAX_DUST and grains < dust_limit(invoice.script):
            raise PaymentError(
                "amount-too-low", "The amount is below the dust limit: no transaction can pay it", 422
            )
    written, events = change_invoice(txn, None, advance(invoice, tip, invoice.created_at), invoice.created_at)
    put_rows(txn, written)
    return written, events


def _method(store: Store) -> ChainMethod:
    if store.chain is None or not store.chain.enabled:
        raise PaymentError(
            "generic-error",
            "No wallet has been linked to your BTCPay Store. Set the store's on-chain payment method first.",
            400,
        )
    return store.chain


def _with_address(txn: Txn, method: ChainMethod, invoice: Invoice, params: ChainParams) -> Invoice:
    if method.kind == "address":
        return replace(invoice, script=method.script, address=method.text, own_address=False)
    row = layout.descriptor_key(method.descriptor_id)
    index = int.from_bytes(txn.get(row) or b"", "big")
    source = address_source(method.text, params)
    for _ in range(_MINTING_TRIES):
        script, address = source.take(index)
        watch = layout.watch_key(script)
        if txn.get(watch) is None:
            txn.put_record(watch, Watch(invoice.id))
            txn.put(row, (index + 1).to_bytes(4, "big"))
            return replace(invoice, script=script, address=address, key_index=index)
        index += 1
    raise PaymentError("generic-error", "No unused address was found in the store's descriptor", 400)
