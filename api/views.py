"""Payments' values as Greenfield's answers. Amounts are written as text, exactly."""

from dataclasses import asdict
from functools import lru_cache

import msgspec
from msgspec import UNSET, Raw

from api.context import ApiContext
from api.models.invoices import (
    CheckoutAnswer,
    InvoiceAnswer,
    MethodAnswer,
    PaymentAnswer,
    ReceiptRequest,
    RiskAnswer,
)
from gldnode.address import script_to_address
from gldnode.primitives.amount import format_amount_short
from gldnode.primitives.hashes import to_display_hex
from payments.accounting import method_figures, paid_text, price_text
from payments.invoice import Invoice, Payment, allowed_marks, depth, payment_status
from payments.stores import ReceiptOptions, Store
from payments.uri import payment_uri

__all__ = ["invoice_answer", "invoice_json", "method_answers", "payment_answer"]

_RECEIPT = msgspec.json.Decoder(ReceiptRequest)
_ZERO = Raw(b"0")
_NO_WISHES = ReceiptOptions()
_ENCODER = msgspec.json.Encoder()


def invoice_json(context: ApiContext, invoice: Invoice, *, with_methods: bool = False) -> bytes:
    """`invoice_answer` as it is sent."""
    return _ENCODER.encode(invoice_answer(context, invoice, with_methods=with_methods))


def invoice_answer(context: ApiContext, invoice: Invoice, *, with_methods: bool = False) -> InvoiceAnswer:
    """The invoice; its payment methods only where they are asked for."""
    service = context.service
    store = service.store(invoice.store_id)
    state = service.state(invoice)
    methods = [service.method_id] if invoice.address else []
    return InvoiceAnswer(
        id=invoice.id,
        store_id=invoice.store_id,
        type="TopUp" if invoice.price is None else "Standard",
        amount=price_text(invoice),
        paid_amount=paid_text(invoice) if invoice.payments else "0",
        currency=invoice.currency,
        metadata=Raw(invoice.metadata),
        checkout=_checkout(invoice, store, methods),
        receipt=_receipt(invoice.receipt, _NO_WISHES if store is None else store.settings.receipt),
        checkout_link=f"{context.base_url}/i/{invoice.id}",
        status=state.status,
        additional_status=state.additional,
        created_time=invoice.created_at,
        expiration_time=invoice.expires_at,
        monitoring_expiration=invoice.monitoring_ends_at,
        available_statuses_for_manual_marking=[*allowed_marks(invoice)],
        archived=invoice.archived,
        payment_methods=method_answers(context, invoice) if with_methods else [],
        addresses=dict.fromkeys(methods, invoice.address),
    )


def method_answers(
    context: ApiContext, invoice: Invoice, *, only_accounted: bool = True, sensitive: bool = False
) -> list[MethodAnswer]:
    """One entry for the chain; none for an invoice without an address (amount 0)."""
    if not invoice.address:
        return []
    service, figures = context.service, method_figures(invoice)
    payments = invoice.accounted if only_accounted else invoice.payments
    return [
        MethodAnswer(
            payment_method_id=service.method_id,
            currency=service.unit,
            destination=invoice.address,
            payment_link=payment_uri(invoice, context.host.params),
            rate=figures.rate,
            payment_method_paid=format_amount_short(figures.total_paid),
            total_paid=format_amount_short(figures.total_paid),
            due=figures.due_text,
            amount=format_amount_short(figures.amount),
            payment_method_fee=format_amount_short(figures.fee),
            payments=[payment_answer(context, invoice, payment) for payment in payments],
            activated=True,
            additional_data=_additional_data(context, invoice, sensitive),
        )
    ]


def payment_answer(context: ApiContext, invoice: Invoice, payment: Payment) -> PaymentAnswer:
    """The id is the outpoint with a dash."""
    service = context.service
    risk = service.risk(invoice, payment)
    vout = int.from_bytes(payment.outpoint[32:], "little")
    return PaymentAnswer(
        id=f"{to_display_hex(payment.txid)}-{vout}",
        received_date=payment.received_at,
        value=format_amount_short(payment.amount),
        fee=format_amount_short(payment.fee),
        status=payment_status(payment).value,
        destination=script_to_address(payment.script, context.host.params) or payment.script.hex(),
        confirmations=depth(payment, service.tip_height),
        block_height=payment.height if payment.height >= 0 else None,
        risk=UNSET if risk is None else RiskAnswer(**{**asdict(risk), "findings": list(risk.findings)}),
    )


def percent(value: int) -> Raw:
    """A percentage of 10^-8 percent as a JSON number."""
    if value == 0:
        return _ZERO
    return Raw(format_amount_short(value).encode())


def _checkout(invoice: Invoice, store: Store | None, methods: list[str]) -> CheckoutAnswer:
    checkout = invoice.checkout
    default_language = store.settings.default_lang if store is not None else None
    default_method = store.settings.default_payment_method if store is not None else None
    return CheckoutAnswer(
        speed_policy=invoice.speed_policy,
        payment_methods=list(checkout.payment_methods) or methods,
        default_payment_method=checkout.default_payment_method or default_method,
        lazy_payment_methods=None,
        expiration_minutes=(invoice.expires_at - invoice.created_at) // 60,
        monitoring_minutes=(invoice.monitoring_ends_at - invoice.expires_at) // 60,
        payment_tolerance=percent(invoice.tolerance),
        redirect_url=checkout.redirect_url,
        redirect_automatically=checkout.redirect_automatically,
        default_language=checkout.default_language or default_language,
    )


@lru_cache(maxsize=256)
def _receipt(invoices: bytes, base: ReceiptOptions) -> ReceiptRequest:
    """The invoice's over the store's over the default."""
    own = _RECEIPT.decode(invoices)
    return ReceiptRequest(
        _pick(own.enabled, base.enabled),
        _pick(own.show_qr, base.show_qr),
        _pick(own.show_payments, base.show_payments),
    )


def _pick(mine: bool | None, stores: bool | None) -> bool:
    return mine if mine is not None else stores is not False


def _additional_data(context: ApiContext, invoice: Invoice, sensitive: bool) -> Raw:
    if not invoice.own_address:
        return Raw(msgspec.json.encode({"memo": invoice.id}))
    store = context.service.store(invoice.store_id)
    source = store.chain.source or store.chain.text if store is not None and store.chain is not None else None
    return Raw(
        msgspec.json.encode(
            {
                "feeMode": invoice.fee_mode.value,
                "keyPath": f"0/{invoice.key_index}",
                "keyIndex": invoice.key_index,
                "accountDerivation": source if sensitive else None,
                "payjoinEnabled": False,
            }
        )
    )
