"""Greenfield's areas that this server does not have yet, answered in Greenfield's own form.

Keys and permissions are checked as everywhere, so that a client learns "not available" and not "no such route".
Lists are empty, single objects are not found, and what would act is not available.
"""

from typing import Any, NoReturn

from api.errors import ApiError, ErrorShape
from api.routing import Access, Call, RouteTable

__all__ = ["table"]

table = RouteTable("/api/v1", "Not available", ErrorShape.GREENFIELD)

STORE = "btcpay.store."
_LIGHTNING = (
    ("GET", "/info", "canuselightningnode"),
    ("GET", "/balance", "canuselightningnode"),
    ("GET", "/histogram", "canuselightningnode"),
    ("POST", "/connect", "canuselightningnode"),
    ("GET", "/channels", "canuselightningnode"),
    ("POST", "/channels", "canuselightningnode"),
    ("POST", "/address", "canuselightningnode"),
    ("GET", "/payments", "canuselightningnode"),
    ("GET", "/payments/{paymentHash}", "canuselightningnode"),
    ("GET", "/invoices", "canviewlightninginvoice"),
    ("POST", "/invoices", "cancreatelightninginvoice"),
    ("POST", "/invoices/pay", "canuselightningnode"),
    ("GET", "/invoices/{id}", "canviewlightninginvoice"),
)
_INTERNAL = {
    "canviewlightninginvoice": "btcpay.server.canviewlightninginvoiceinternalnode",
    "cancreatelightninginvoice": "btcpay.server.cancreatelightninginvoiceinternalnode",
    "canuselightningnode": "btcpay.server.canuseinternallightningnode",
}
_WALLET = (
    ("GET", "", "canviewwallet"),
    ("POST", "/generate", "canmodifystoresettings"),
    ("GET", "/feerate", "canviewwallet"),
    ("GET", "/histogram", "canviewwallet"),
    ("GET", "/address", "canviewwallet"),
    ("DELETE", "/address", "canmanagewallettransactions"),
    ("GET", "/transactions", "canviewwallet"),
    ("POST", "/transactions", "cancreatetransactions"),
    ("POST", "/transactions/broadcast", "canbroadcasttransactions"),
    ("GET", "/transactions/{transactionId}", "canviewwallet"),
    ("PATCH", "/transactions/{transactionId}", "canmanagewallettransactions"),
    ("GET", "/utxos", "canviewwallet"),
)
_LISTS = (
    ("/stores/{storeId}/pull-payments", "canviewpullpayments"),
    ("/stores/{storeId}/payouts", "canviewpayouts"),
)
_CREATING = (
    ("/stores/{storeId}/pull-payments", "cancreatenonapprovedpullpayments"),
    ("/stores/{storeId}/payouts", "cancreatenonapprovedpullpayments"),
)
_PULL_PAYMENTS = (
    ("GET", "/pull-payments/{pullPaymentId}"),
    ("GET", "/pull-payments/{pullPaymentId}/payouts"),
    ("POST", "/pull-payments/{pullPaymentId}/payouts"),
    ("GET", "/pull-payments/{pullPaymentId}/payouts/{payoutId}"),
)
_PAYOUTS = (
    ("GET", "", "canviewpayouts"),
    ("POST", "", "canmanagepayouts"),
    ("DELETE", "", "canmanagepayouts"),
    ("POST", "/mark", "canmanagepayouts"),
    ("POST", "/mark-paid", "canmanagepayouts"),
)


async def no_lightning(call: Call[None]) -> NoReturn:
    if call.path["cryptoCode"].upper() != call.context.service.unit:
        raise ApiError(404, "unknown-cryptocode", "This crypto code isn't set up in this server")
    raise ApiError(404, "lightning-not-configured", "There is no lightning node set up.")


async def no_wallet(call: Call[None]) -> NoReturn:
    raise ApiError(503, "not-available", "The store's wallet is not available through this API yet.")


async def no_payouts(call: Call[None]) -> NoReturn:
    raise ApiError(503, "not-available", "Refunds and payouts are not available yet.")


async def no_pull_payment(call: Call[None]) -> NoReturn:
    raise ApiError(404, "pullpayment-not-found", "The pull payment was not found")


async def no_payout(call: Call[None]) -> NoReturn:
    raise ApiError(404, "payout-not-found", "The payout was not found")


async def empty_list(call: Call[None]) -> list[Any]:
    return []


def _register() -> None:
    def add(method: str, path: str, access: Access | str, handler: Any) -> None:
        table.add(method, path, access=access, summary="Not available yet", hidden=True)(handler)

    for method, rest, policy in _LIGHTNING:
        add(method, "/stores/{storeId}/lightning/{cryptoCode}" + rest, STORE + policy, no_lightning)
        add(method, "/server/lightning/{cryptoCode}" + rest, _INTERNAL[policy], no_lightning)
    for method, rest, policy in _WALLET:
        path = "/stores/{storeId}/payment-methods/{paymentMethodId}/wallet" + rest
        add(method, path, STORE + policy, no_wallet)
    for path, policy in _LISTS:
        add("GET", path, STORE + policy, empty_list)
    for path, policy in _CREATING:
        add("POST", path, STORE + policy, no_payouts)
    for method, path in _PULL_PAYMENTS:
        add(method, path, Access.ANONYMOUS, no_pull_payment)
    archive = STORE + "canarchivepullpayments"
    add("DELETE", "/stores/{storeId}/pull-payments/{pullPaymentId}", archive, no_pull_payment)
    add("DELETE", "/pull-payments/{pullPaymentId}", archive, no_pull_payment)
    for method, rest, policy in _PAYOUTS:
        add(method, "/stores/{storeId}/payouts/{payoutId}" + rest, STORE + policy, no_payout)
        add(method, "/payouts/{payoutId}" + rest, STORE + policy, no_payout)
    for prefix in ("/stores/{storeId}/invoices/{invoiceId}", "/invoices/{invoiceId}"):
        refund = STORE + "cancreatenonapprovedpullpayments"
        add("POST", prefix + "/refund", refund, no_payouts)
        add("GET", prefix + "/refund/{paymentMethodId}", refund, no_payouts)


_register()
