"""What the WooCommerce plug-in and the PHP SDK send, with their bodies, in their order."""

import pytest

from tests.support.greenfield import Greenfield
from tests.support.shop import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = [
    "InvoiceReceivedPayment",
    "InvoicePaymentSettled",
    "InvoiceProcessing",
    "InvoiceExpired",
    "InvoiceSettled",
    "InvoiceInvalid",
]
PERMISSIONS = [
    "btcpay.store.canviewinvoices",
    "btcpay.store.cancreateinvoice",
    "btcpay.store.canviewstoresettings",
    "btcpay.store.canmodifyinvoices",
    "btcpay.store.cancreatenonapprovedpullpayments",
    "btcpay.store.webhooks.canmodifywebhooks",
]


async def test_woocommerce_sets_itself_up_and_takes_an_order(shop: Shop) -> None:
    scoped = [f"{permission}:{shop.store.id}" for permission in PERMISSIONS]
    plugin = Greenfield(await shop.with_permissions(*scoped), storeId=shop.store.id)
    assert [store["id"] for store in await plugin.call("GET /stores")] == [shop.store.id]
    assert (await plugin.call("GET /api-keys/current"))["permissions"] == scoped
    hook = await plugin.call(
        "POST /stores/{storeId}/webhooks",
        {
            "enabled": True,
            "automaticRedelivery": True,
            "url": "http://127.0.0.1:9/?wc-api=btcpaygf_default",
            "authorizedEvents": {"everything": False, "specificEvents": EVENTS},
            "secret": None,
        },
    )
    assert hook["id"]
    assert hook["secret"]
    assert hook["url"].endswith("btcpaygf_default")
    methods = await plugin.call("GET /stores/{storeId}/payment-methods")
    assert methods == [{"enabled": True, "paymentMethodId": "GLD-CHAIN"}]
    assert (await plugin.call("GET /server/info"))["version"] >= "2.0.0"
    order = {
        "amount": "25.90",
        "currency": "GLD",
        "metadata": {
            "orderId": "1234",
            "taxIncluded": 4.13,
            "posData": '{"WooCommerce":{"Order ID":1234}}',
            "orderUrl": "https://shop.example/wp-admin/post.php?post=1234",
            "buyerName": "Ada Lovelace",
            "buyerEmail": "ada@example.com",
        },
        "checkout": {
            "redirectURL": "https://shop.example/checkout/order-received/1234/",
            "redirectAutomatically": True,
            "speedPolicy": "HighSpeed",
            "paymentMethods": ["GLD_CHAIN"],
            "defaultPaymentMethod": None,
            "expirationMinutes": None,
            "monitoringMinutes": None,
            "paymentTolerance": None,
            "defaultLanguage": None,
        },
    }
    made = await plugin.call("POST /stores/{storeId}/invoices", order)
    assert made["checkoutLink"]
    assert made["checkout"]["speedPolicy"] == "HighSpeed"
    here = {"invoiceId": made["id"]}
    shown = await plugin.call("GET /stores/{storeId}/invoices/{invoiceId}", **here)
    assert (shown["status"], shown["additionalStatus"]) == ("New", "None")
    assert shown["checkout"]["paymentMethods"] == ["GLD-CHAIN"]
    method = (await plugin.call("GET /stores/{storeId}/invoices/{invoiceId}/payment-methods", **here))[0]
    for name in (
        "paymentMethodId",
        "paymentMethodPaid",
        "totalPaid",
        "amount",
        "due",
        "paymentMethodFee",
        "rate",
        "payments",
    ):
        assert name in method
    marked = await plugin.call("POST /stores/{storeId}/invoices/{invoiceId}/status", {"status": "Invalid"}, **here)
    assert marked["status"] == "Invalid"
    refund = {
        "name": "Refund of order #1234",
        "amount": "25.90",
        "currency": "GLD",
        "period": None,
        "autoApproveClaims": False,
        "startsAt": None,
        "expiresAt": None,
        "payoutMethods": ["GLD_CHAIN"],
        "paymentMethods": ["GLD_CHAIN"],
    }
    answer = await plugin.answer("POST /stores/{storeId}/pull-payments", refund)
    assert (answer.status, answer.code) == (503, "not-available")


async def test_the_sdk_sends_nulls_for_what_it_leaves_out(shop: Shop) -> None:
    api = Greenfield(shop.owner, storeId=shop.store.id)
    body = {"amount": "5", "currency": "GLD", "metadata": None, "checkout": None, "receipt": None}
    made = await api.call("POST /stores/{storeId}/invoices", body)
    assert made["metadata"] == {}


async def test_a_web_page_may_use_the_api_with_its_key(shop: Shop) -> None:
    headers = {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site", "X-Forwarded-For": "1.2.3.4"}
    answer = await shop.owner.get("/api/v1/stores", headers=headers)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
