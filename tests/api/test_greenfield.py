"""Greenfield's tier 1 as shops use it; every answer is checked by the published schemas."""

import asyncio
from typing import Any

import pytest

from tests.support.greenfield import Greenfield
from tests.support.receiver import open_receiver
from tests.support.schemas import webhook_errors
from tests.support.shop import Shop, make_address

pytestmark = pytest.mark.asyncio(loop_scope="module")

XPUB = (
    "tpubDC5FSnBiZDMmhiuCmWAYsLwgLYrrT9rAqvTySfuCCrgsWz8wxMXUS9Tb"
    "9iVMvcRbvFcAHGkMD5Kx8koh4GquNGNTfohfk7pgjhaPCdXpoba"
)


@pytest.fixture(name="api")
def fixture_api(shop: Shop) -> Greenfield:
    return Greenfield(shop.owner, storeId=shop.store.id)


async def make_invoice(api: Greenfield, **body: Any) -> dict[str, Any]:
    return dict(await api.call("POST /stores/{storeId}/invoices", {"amount": "5.00", "currency": "GLD", **body}))


async def test_health_and_server_info(api: Greenfield) -> None:
    assert await api.call("GET /health") == {"synchronized": True}
    info = await api.call("GET /server/info")
    assert tuple(map(int, info["version"].split("."))) >= (2, 0, 0)
    assert info["supportedPaymentMethods"] == ["GLD-CHAIN"]
    assert info["syncStatus"][0]["chainHeight"] >= 1


async def test_a_store_is_made_changed_and_listed(api: Greenfield) -> None:
    made = await api.call(
        "POST /stores", {"name": "Second", "website": "https://shop.example", "speedPolicy": "lowspeed"}
    )
    assert made["speedPolicy"] == "LowSpeed"
    assert made["defaultCurrency"] == "USD"
    assert made["invoiceExpiration"] == 900
    assert made["receipt"] == {"enabled": True, "showQR": True, "showPayments": True}
    changed = await api.call(
        "PUT /stores/{storeId}",
        {
            "name": "Second shop",
            "invoiceExpiration": "00:20:00",
            "paymentTolerance": 2.5,
            "networkFeeMode": "Never",
            "defaultCurrency": "gld",
            "website": None,
            "brandColor": "#aabbcc",
            "paymentMethodCriteria": [
                {"paymentMethodId": "GLD", "currencyCode": "USD", "amount": 5, "above": True}
            ],
        },
        storeId=made["id"],
    )
    assert changed["website"] == "https://shop.example"
    assert changed["invoiceExpiration"] == 1200
    assert changed["paymentTolerance"] == 2.5
    assert changed["defaultCurrency"] == "GLD"
    assert changed["paymentMethodCriteria"][0]["paymentMethodId"] == "GLD-CHAIN"
    assert changed["paymentMethodCriteria"][0]["amount"] == "5"
    assert await api.call("GET /stores/{storeId}", storeId=made["id"]) == changed
    assert changed in await api.call("GET /stores")
    await api.call("DELETE /stores/{storeId}", storeId=made["id"])


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "Name"),
        ({"name": ""}, "Name"),
        ({"name": "x" * 51}, "Name"),
        ({"name": "a", "website": "shop"}, "Website"),
        ({"name": "a", "paymentTolerance": 101}, "PaymentTolerance"),
        ({"name": "a", "paymentTolerance": -1}, "PaymentTolerance"),
        ({"name": "a", "invoiceExpiration": 5}, "InvoiceExpiration"),
        ({"name": "a", "invoiceExpiration": 1e9}, "invoiceExpiration"),
        ({"name": "a", "invoiceExpiration": []}, "invoiceExpiration"),
        ({"name": "a", "brandColor": "red"}, "BrandColor"),
        ({"name": "a", "speedPolicy": "Warp"}, "SpeedPolicy"),
        ({"name": 7}, "name"),
        ({"name": "a", "archived": "yes"}, "archived"),
    ],
)
async def test_bad_store_settings_are_refused(api: Greenfield, body: dict[str, Any], path: str) -> None:
    issues = await api.call("POST /stores", body, expect=422)
    assert [issue["path"] for issue in issues] == [path]


async def test_payment_methods_of_a_store(api: Greenfield) -> None:
    store = (await api.call("POST /stores", {"name": "Methods"}))["id"]
    assert await api.call("GET /stores/{storeId}/payment-methods", storeId=store) == []
    one = "/stores/{storeId}/payment-methods/{paymentMethodId}"
    where = {"storeId": store, "paymentMethodId": "GLD_BTCLike"}
    assert (await api.call(f"GET {one}", expect=404, **where))["code"] == "paymentmethod-not-found"
    made = await api.call(f"PUT {one}", {"enabled": True, "config": XPUB}, **where)
    assert (made["paymentMethodId"], made["enabled"]) == ("GLD-CHAIN", True)
    assert "config" in made
    shown = await api.call("GET /stores/{storeId}/payment-methods", storeId=store)
    assert shown == [{"enabled": True, "paymentMethodId": "GLD-CHAIN"}]
    shown = await api.call("GET /stores/{storeId}/payment-methods", query={"includeConfig": "true"}, storeId=store)
    assert shown[0]["config"]["accountDerivation"].startswith(XPUB)
    await api.call(f"PUT {one}", {"config": {"derivationScheme": XPUB, "label": "cold"}}, **where)
    await api.call(f"PUT {one}", {"config": make_address(3)}, **where)
    assert (await api.call(f"PUT {one}", {"enabled": False}, **where))["enabled"] is False
    assert (
        await api.call("GET /stores/{storeId}/payment-methods", query={"onlyEnabled": "true"}, storeId=store) == []
    )
    for config in ("nonsense", 5, {"x": 1}, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "wpkh(" * 50):
        issues = await api.call(f"PUT {one}", {"config": config}, expect=422, **where)
        assert issues[0]["path"] == "config"
    await api.call(f"DELETE {one}", **where)
    await api.call(f"DELETE {one}", **where)
    await api.call(f"DELETE {one}", expect=404, storeId=store, paymentMethodId="DOGE-CHAIN")


async def test_old_paths_still_lead_to_the_methods(api: Greenfield, shop: Shop) -> None:
    old = f"/api/v1/stores/{shop.store.id}/payment-methods/OnChain/GLD"
    assert (await shop.owner.get(old)).json["paymentMethodId"] == "GLD-CHAIN"
    assert (await shop.owner.get(old + "/preview")).json["addresses"][0]["address"] == shop.address
    for path in ("LNURL", "LightningNetwork", "LightningNetwork/GLD", "LNURLPay/GLD"):
        answer = await shop.owner.get(f"/api/v1/stores/{shop.store.id}/payment-methods/{path}")
        assert (answer.status, answer.code) == (410, "unsupported-in-v2")


async def test_an_invoice_lives_its_life(api: Greenfield, shop: Shop) -> None:
    made = await make_invoice(
        api,
        metadata={"orderId": "A-1", "posData": '{"cart":[1]}', "price": 1.10, "buyerEmail": "a@example.com"},
        checkout={
            "redirectURL": "https://shop.example/?o={OrderId}",
            "expirationMinutes": 30,
            "paymentMethods": ["GLD_CHAIN"],
        },
    )
    assert made["type"] == "Standard"
    assert (made["amount"], made["currency"], made["paidAmount"]) == ("5.00", "GLD", "0")
    assert made["metadata"]["posData"] == '{"cart":[1]}'
    assert made["expirationTime"] == made["createdTime"] + 1800
    assert made["checkout"]["paymentMethods"] == ["GLD-CHAIN"]
    assert made["checkout"]["redirectURL"] == "https://shop.example/?o={OrderId}"
    assert made["checkout"]["speedPolicy"] == "MediumSpeed"
    assert made["availableStatusesForManualMarking"] == ["Settled", "Invalid"]
    assert made["paymentMethods"] == []
    assert made["checkoutLink"].endswith(f"/i/{made['id']}")
    here = {"invoiceId": made["id"]}
    assert await api.call("GET /stores/{storeId}/invoices/{invoiceId}", **here) == made
    assert await api.call("GET /invoices/{invoiceId}", **here) == made
    methods = await api.call("GET /stores/{storeId}/invoices/{invoiceId}/payment-methods", **here)
    assert methods[0]["due"] == "5"
    assert methods[0]["destination"] == shop.address
    assert methods[0]["paymentLink"].startswith(f"gld:{shop.address}?amount=5&memo=")
    with_methods = await api.call("GET /invoices/{invoiceId}", query={"includePaymentMethods": "true"}, **here)
    assert with_methods["paymentMethods"] == methods
    changed = await api.call(
        "PUT /stores/{storeId}/invoices/{invoiceId}", {"metadata": {"orderId": "A-2"}}, **here
    )
    assert changed["metadata"] == {"orderId": "A-2"}
    unchanged = await api.call("PUT /invoices/{invoiceId}", {"metadata": None}, **here)
    assert unchanged["metadata"] == {"orderId": "A-2"}
    listed = await api.call("GET /stores/{storeId}/invoices", query={"orderId": "A-2"})
    assert [item["id"] for item in listed] == [made["id"]]
    await api.call(
        "POST /stores/{storeId}/invoices/{invoiceId}/payment-methods/{paymentMethod}/activate",
        paymentMethod="GLD",
        **here,
    )
    marked = await api.call("POST /stores/{storeId}/invoices/{invoiceId}/status", {"status": "Invalid"}, **here)
    assert (marked["status"], marked["additionalStatus"]) == ("Invalid", "Marked")
    issues = await api.call("POST /invoices/{invoiceId}/status", {"status": "Invalid"}, expect=422, **here)
    assert issues[0]["path"] == "Status"
    await api.call("DELETE /stores/{storeId}/invoices/{invoiceId}", **here)
    assert (await api.call("GET /invoices/{invoiceId}", **here))["archived"] is True
    assert made["id"] not in [item["id"] for item in await api.call("GET /stores/{storeId}/invoices")]
    await api.call("POST /invoices/{invoiceId}/unarchive", **here)
    again = await api.call("POST /invoices/{invoiceId}/unarchive", expect=400, **here)
    assert again["code"] == "already-unarchived"


async def test_a_top_up_invoice_has_no_amount(api: Greenfield) -> None:
    for body in ({"currency": "GLD"}, {"amount": None, "currency": "GLD"}, {"amount": "", "currency": "gld "}):
        made = await api.call("POST /stores/{storeId}/invoices", body)
        assert (made["type"], made["amount"], made["currency"]) == ("TopUp", "0", "GLD")


async def test_an_invoice_in_another_currency_uses_its_rate(api: Greenfield) -> None:
    made = await make_invoice(api, amount=10, currency="USD")
    assert (made["amount"], made["currency"]) == ("10", "USD")
    method = (await api.call("GET /invoices/{invoiceId}/payment-methods", invoiceId=made["id"]))[0]
    assert (method["rate"], method["due"], method["currency"]) == ("2", "5", "GLD")


async def test_an_invoice_of_nothing_is_settled_at_once(api: Greenfield) -> None:
    made = await make_invoice(api, amount="0")
    assert made["status"] == "Settled" or made["amount"] == "0"


async def test_properties_of_older_clients_find_their_place(api: Greenfield) -> None:
    made = await make_invoice(
        api,
        orderId="top-7",
        description="Tea",
        buyerEmail="b@example.com",
        redirectUrl="https://shop.example/back",
    )
    assert made["metadata"] == {"orderId": "top-7", "itemDesc": "Tea", "buyerEmail": "b@example.com"}
    assert made["checkout"]["redirectURL"] == "https://shop.example/back"
    assert made["addresses"].keys() == {"GLD-CHAIN"}


async def test_metadata_comes_back_digit_by_digit(api: Greenfield, shop: Shop) -> None:
    metadata = b'{"a": 1.10, "b": 12345678901234567890123, "c": "\\u00e9", "d": null}'
    raw = b'{"amount": "1", "currency": "GLD", "metadata": ' + metadata + b"}"
    answer = await shop.owner.send("POST", f"/api/v1/stores/{shop.store.id}/invoices", raw=raw)
    assert answer.status == 200
    assert '"a": 1.10' in answer.text or '"a":1.10' in answer.text
    assert "12345678901234567890123" in answer.text


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"amount": "-1"}, "Amount"),
        ({"amount": -1}, "Amount"),
        ({"amount": "1e5"}, "Amount"),
        ({"amount": "ten"}, "Amount"),
        ({"amount": True}, "Amount"),
        ({"amount": 1, "checkout": {"paymentMethods": ["GLD", "DOGE"]}}, "Checkout.PaymentMethods[1]"),
        ({"amount": 1, "checkout": {"paymentTolerance": 200}}, "Checkout.PaymentTolerance"),
        ({"amount": 1, "checkout": {"expirationMinutes": "soon"}}, "checkout.expirationMinutes"),
        ({"amount": 1, "checkout": {"expirationMinutes": 0}}, "Checkout.Expiration"),
        ({"amount": 1, "checkout": {"speedPolicy": "Warp"}}, "checkout.speedPolicy"),
        ({"amount": 1, "checkout": {"defaultLanguage": "not a language"}}, "Checkout.DefaultLanguage"),
        ({"amount": 1, "checkout": []}, "checkout"),
        ({"amount": 1, "metadata": []}, "metadata"),
        ({"amount": 1, "additionalSearchTerms": "x"}, "additionalSearchTerms"),
    ],
)
async def test_bad_invoices_are_refused_with_their_path(api: Greenfield, body: dict[str, Any], path: str) -> None:
    issues = await api.call("POST /stores/{storeId}/invoices", {"currency": "GLD", **body}, expect=422)
    assert [issue["path"] for issue in issues] == [path]


async def test_a_currency_without_rate_fails_as_a_business_error(api: Greenfield) -> None:
    answer = await api.call("POST /stores/{storeId}/invoices", {"amount": 1, "currency": "XYZ"}, expect=400)
    assert answer["code"] in ("generic-error", "rate-unavailable")


async def test_malformed_json_is_a_422_array(api: Greenfield) -> None:
    for raw in (b"{", b"", b'{"amount": NaN}', b'{"amount": 1, "amount": 2}', b"[" * 5000):
        answer = await api.answer("POST /stores/{storeId}/invoices", raw=raw)
        assert answer.status == 422
        assert answer.json[0].keys() == {"path", "message"}


async def test_lists_are_filtered_and_paged(api: Greenfield) -> None:
    store = (await api.call("POST /stores", {"name": "Lists", "defaultCurrency": "GLD"}))["id"]
    here = {"storeId": store}
    await api.call(
        "PUT /stores/{storeId}/payment-methods/{paymentMethodId}",
        {"config": make_address(8)},
        paymentMethodId="GLD",
        **here,
    )
    ids = []
    for number in range(5):
        made = await api.call(
            "POST /stores/{storeId}/invoices",
            {"amount": number + 1, "metadata": {"orderId": f"n{number}"}},
            **here,
        )
        ids.append(made["id"])
    await api.call("POST /invoices/{invoiceId}/status", {"status": "Settled"}, invoiceId=ids[0])

    async def listed(**query: Any) -> list[str]:
        return [item["id"] for item in await api.call("GET /stores/{storeId}/invoices", query=query, **here)]

    assert set(await listed()) == set(ids)
    assert await listed(status="complete") == [ids[0]]
    assert set(await listed(status="NEW")) == set(ids[1:])
    assert set(await listed(status="nonsense")) == set(ids)
    assert set(await listed(orderId=["n1", "n3"])) == {ids[1], ids[3]}
    everything = await listed()
    assert await listed(skip=1, take=2) == everything[1:3]
    assert await listed(take=0) == []
    assert await listed(textSearch="n4") == [ids[4]]
    assert await listed(startDate=4_000_000_000) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.handlers.invoices._PAGE", 2)
        assert await listed() == everything
        assert await listed(skip=3) == everything[3:]
        assert len(await listed(take=3)) == 3
    issues = await api.call(
        "GET /stores/{storeId}/invoices", query={"startDate": 5, "endDate": 4}, expect=422, **here
    )
    assert {issue["path"] for issue in issues} == {"startDate", "endDate"}
    for query in ({"startDate": "yesterday"}, {"take": "-1"}, {"skip": "x"}, {"includeArchived": "maybe"}):
        issues = await api.call("GET /stores/{storeId}/invoices", query=query, expect=422, **here)
        assert issues[0]["path"] == next(iter(query))


async def test_webhooks_are_made_changed_and_deleted(api: Greenfield) -> None:
    made = await api.call(
        "POST /stores/{storeId}/webhooks",
        {
            "url": "http://127.0.0.1:9/hook",
            "authorizedEvents": {"everything": False, "specificEvents": ["InvoiceSettled"]},
        },
    )
    assert made["secret"]
    assert made["authorizedEvents"] == {"everything": False, "specificEvents": ["InvoiceSettled"]}
    here = {"webhookId": made["id"]}
    shown = await api.call("GET /stores/{storeId}/webhooks/{webhookId}", **here)
    assert "secret" not in shown
    assert await api.call("GET /webhooks/{webhookId}", **here) == shown
    assert shown in await api.call("GET /stores/{storeId}/webhooks")
    changed = await api.call(
        "PUT /stores/{storeId}/webhooks/{webhookId}", {"url": "http://127.0.0.1:9/new"}, **here
    )
    assert changed["authorizedEvents"]["everything"] is True
    assert changed["enabled"] is True
    assert await api.call("GET /webhooks/{webhookId}/deliveries", **here) == []
    one = "/stores/{storeId}/webhooks/{webhookId}/deliveries/{deliveryId}"
    for operation in (f"GET {one}", f"GET {one}/request", f"POST {one}/redeliver"):
        answer = await api.call(operation, expect=404, deliveryId="nothing", **here)
        assert answer["code"] == "webhookdelivery-not-found"
    for url in (None, "", "shop", "ftp://x/", "javascript:x"):
        issues = await api.call("POST /stores/{storeId}/webhooks", {"url": url}, expect=422)
        assert issues[0]["path"] == "Url"
    await api.call("DELETE /webhooks/{webhookId}", **here)
    gone = await api.call("GET /stores/{storeId}/webhooks/{webhookId}", expect=404, **here)
    assert gone["code"] == "webhook-not-found"


async def test_keys_and_their_scopes(api: Greenfield, shop: Shop) -> None:
    made = await api.call(
        "POST /api-keys", {"label": "plugin", "permissions": [f"btcpay.store.CanViewInvoices:{shop.store.id}"]}
    )
    assert made["permissions"] == [f"btcpay.store.canviewinvoices:{shop.store.id}"]
    plugin = api.using(shop.running.browser.with_key(made["apiKey"]))
    current = await plugin.call("GET /api-keys/current")
    assert (current["label"], current["permissions"]) == ("plugin", made["permissions"])
    await plugin.call("GET /stores/{storeId}/invoices")
    refused = await plugin.call("POST /stores/{storeId}/invoices", {"amount": 1}, expect=403)
    assert (refused["code"], refused["missingPermission"]) == (
        "missing-permission",
        "btcpay.store.cancreateinvoice",
    )
    assert (await plugin.call("GET /stores", expect=403))[
        "missingPermission"
    ] == "btcpay.store.canviewstoresettings"
    await plugin.call("DELETE /api-keys/current")
    assert (await plugin.call("GET /api-keys/current", expect=401))["code"] == "unauthenticated"
    for permissions in (["nonsense"], [], ["btcpay.store.canviewinvoices:"], None):
        await api.call("POST /api-keys", {"permissions": permissions}, expect=422)
    second = await api.call("POST /api-keys", {"permissions": ["unrestricted"]})
    await api.call("DELETE /api-keys/{apikey}", apikey=second["apiKey"])
    assert (await api.call("DELETE /api-keys/{apikey}", expect=400, apikey=second["apiKey"]))[
        "code"
    ] == "apikey-not-found"


async def test_stores_are_sealed_from_one_another(api: Greenfield, shop: Shop) -> None:
    _, stranger = await shop.another_store(77)
    made = await make_invoice(api)
    foreign = api.using(stranger)
    here = {"invoiceId": made["id"]}
    for operation in (
        "GET /stores/{storeId}",
        "GET /stores/{storeId}/invoices",
        "GET /stores/{storeId}/invoices/{invoiceId}",
        "GET /invoices/{invoiceId}",
        "DELETE /invoices/{invoiceId}",
        "GET /stores/{storeId}/webhooks",
    ):
        assert (await foreign.call(operation, expect=403, **here))["code"] == "missing-permission"
    nothing = await foreign.call("GET /invoices/{invoiceId}", expect=403, invoiceId="btngpay_nothing")
    assert nothing["code"] == "missing-permission"
    assert (await api.call("GET /stores/{storeId}/invoices/{invoiceId}", expect=404, invoiceId="x"))[
        "code"
    ] == "invoice-not-found"
    assert (await api.call("GET /stores/{storeId}", expect=403, storeId="unknown"))["code"] == "missing-permission"


async def test_rates_of_the_configuration(api: Greenfield) -> None:
    rates = await api.call("GET /stores/{storeId}/rates", query={"currencyPair": ["GLD_USD", "GLD-GLD", "GLDXYZ"]})
    assert [(item["currencyPair"], item["rate"]) for item in rates] == [
        ("GLD_USD", "2"),
        ("GLD_GLD", "1"),
        ("GLD_XYZ", None),
    ]
    assert rates[2]["errors"]
    issues = await api.call("GET /stores/{storeId}/rates", query={"currencyPair": "?"}, expect=422)
    assert issues[0]["path"] == "currencyPair"
    one = "/stores/{storeId}/rates/configuration/{rateSource}"
    assert (await api.call(f"GET {one}", rateSource="primary"))["spread"] == 0
    assert (await api.call(f"GET {one}", expect=404, rateSource="fallback"))["code"] == "fallback-disabled"
    preview = await api.call(
        "POST /stores/{storeId}/rates/configuration/preview",
        {"spread": 50, "isCustomScript": True, "effectiveScript": "GLD_EUR = GLD_USD * 3;"},
        query={"currencyPair": "GLD_EUR"},
    )
    assert preview[0]["rate"] == "3"
    issues = await api.call(f"PUT {one}", {"spread": 101}, expect=422, rateSource="primary")
    assert issues[0]["path"] == "Spread"


async def test_what_is_not_there_yet_says_so_in_greenfields_words(api: Greenfield) -> None:
    answer = await api.answer("GET /stores/{storeId}/lightning/{cryptoCode}/info", cryptoCode="GLD")
    assert (answer.status, answer.code) == (404, "lightning-not-configured")
    answer = await api.answer("GET /pull-payments/{pullPaymentId}", pullPaymentId="x")
    assert (answer.status, answer.code) == (404, "pullpayment-not-found")
    answer = await api.answer(
        "GET /stores/{storeId}/payment-methods/{paymentMethodId}/wallet", paymentMethodId="GLD-CHAIN"
    )
    assert (answer.status, answer.code) == (503, "not-available")


async def test_lists_for_set_up_pages(api: Greenfield) -> None:
    names = [item["name"] for item in await api.call("GET /misc/permissions")]
    assert "btcpay.store.webhooks.canmodifywebhooks" in names
    assert (await api.call("GET /misc/lang"))[0]["code"] == "en"
    assert await api.call("GET /misc/rate-sources")


async def test_addresses_are_previewed(api: Greenfield) -> None:
    one = "/stores/{storeId}/payment-methods/{paymentMethodId}/wallet/preview"
    made = await api.call(f"POST {one}", {"config": XPUB}, query={"offset": 2, "count": 3}, paymentMethodId="GLD")
    assert [item["index"] for item in made["addresses"]] == [2, 3, 4]
    assert all(item["address"].startswith("gldrt1q") for item in made["addresses"])
    issues = await api.call(f"POST {one}", {"config": "nonsense"}, expect=422, paymentMethodId="GLD")
    assert issues[0]["path"] == "config"


async def test_events_tell_what_happened(api: Greenfield) -> None:
    made = await make_invoice(api)
    here = {"invoiceId": made["id"]}
    events = await api.call("GET /stores/{storeId}/invoices/{invoiceId}/events", **here)
    assert [event["type"] for event in events["events"]] == ["InvoiceCreated"]
    last = events["next"]
    await api.call("POST /invoices/{invoiceId}/status", {"status": "Settled"}, **here)
    fed = await api.call("GET /stores/{storeId}/events", query={"after": last, "wait": 5})
    assert fed["events"][-1]["type"] == "InvoiceSettled"
    assert (await api.call("GET /stores/{storeId}/events", query={"after": fed["next"]}))["events"] == []
    reasons = await api.call("GET /invoices/{invoiceId}/explain", **here)
    assert reasons["status"] == "Settled"


async def test_unassigned_payments_are_listed_and_assigned(api: Greenfield, shop: Shop) -> None:
    await shop.till.fill_purse(1)
    await shop.till.settle()
    made = await make_invoice(api, amount="0.9")
    other = await make_invoice(api, amount="0.9")
    invoice = shop.service.invoice(made["id"])
    assert invoice is not None
    await shop.till.pay(invoice)
    listed = await api.call("GET /stores/{storeId}/unassigned-payments")
    assert [item["amount"] for item in listed] == ["0.9"]
    body = {"outpoint": listed[0]["outpoint"]}
    await api.call("POST /stores/{storeId}/invoices/{invoiceId}/assign", body, invoiceId=made["id"])
    await shop.till.mine()
    assert (await api.call("GET /invoices/{invoiceId}", invoiceId=made["id"]))["status"] == "Settled"
    assert await api.call("GET /stores/{storeId}/unassigned-payments") == []
    answer = await api.answer("POST /invoices/{invoiceId}/assign", body, invoiceId=other["id"])
    assert answer.status in (404, 409, 422)
    assert await api.call(
        "POST /invoices/{invoiceId}/assign", {"outpoint": "x"}, expect=422, invoiceId=other["id"]
    )


async def test_a_payment_request_is_paid_by_invoices(api: Greenfield, shop: Shop) -> None:
    await shop.till.fill_purse(1)
    await shop.till.settle()
    body = {"amount": "1.10", "currency": "gld", "title": "Rent", "expiryDate": None, "email": "a@b.c"}
    made = await api.call("POST /stores/{storeId}/payment-requests", body)
    assert (made["amount"], made["currency"], made["status"]) == (1.1, "GLD", "Pending")
    here = {"paymentRequestId": made["id"]}
    assert await api.call("GET /payment-requests/{paymentRequestId}", **here) == made
    assert made in await api.call("GET /stores/{storeId}/payment-requests")
    pay = "POST /stores/{storeId}/payment-requests/{paymentRequestId}/pay"
    assert (await api.call(pay, {"amount": "0.5"}, expect=422, **here))[0]["path"] == "Amount"
    invoice = await api.call(pay, **here)
    assert (invoice["amount"], invoice["metadata"]["orderId"]) == ("1.1", f"PAY_REQUEST_{made['id']}")
    again = await api.call(pay, {"allowPendingInvoiceReuse": True}, **here)
    assert again["id"] == invoice["id"]
    locked = await api.call("PUT /payment-requests/{paymentRequestId}", {**body, "amount": 2}, expect=422, **here)
    assert locked[0]["path"] == "Amount"
    stored = shop.service.invoice(invoice["id"])
    assert stored is not None
    await shop.till.pay(stored, memo=True)
    assert (await api.call("GET /payment-requests/{paymentRequestId}", **here))["status"] == "Processing"
    assert (await api.call(pay, expect=400, **here))["code"] == "already-paid"
    await shop.till.mine()
    assert (await api.call("GET /payment-requests/{paymentRequestId}", **here))["status"] == "Completed"
    await api.call("DELETE /payment-requests/{paymentRequestId}", **here)
    await api.call("DELETE /payment-requests/{paymentRequestId}", expect=404, **here)
    assert made["id"] not in [item["id"] for item in await api.call("GET /stores/{storeId}/payment-requests")]
    for bad, path in (
        ({}, "Amount"),
        ({"amount": 0, "title": "x"}, "Amount"),
        ({"amount": 1}, "Title"),
        ({"amount": 1, "title": "x", "currency": "?"}, "Currency"),
        ({"amount": 1, "title": "x", "email": "nobody"}, "Email"),
    ):
        issues = await api.call("POST /stores/{storeId}/payment-requests", bad, expect=422)
        assert issues[0]["path"] == path


async def test_reports_as_json_and_csv(api: Greenfield, shop: Shop) -> None:
    await shop.till.fill_purse(1)
    await shop.till.settle()
    made = await make_invoice(api, amount="0.7", metadata={"orderId": "=HYPERLINK(1)"})
    invoice = shop.service.invoice(made["id"])
    assert invoice is not None
    await shop.till.pay(invoice, memo=True)
    await shop.till.mine()
    report = await api.call("POST /stores/{storeId}/reports", {"viewName": "Payments"})
    names = [field["name"] for field in report["fields"]]
    row = next(row for row in report["data"] if row[1] == made["id"])
    shown = dict(zip(names, row, strict=True))
    assert (shown["PaymentAmount"], shown["Confirmed"], shown["OrderId"]) == ("0.7", True, "=HYPERLINK(1)")
    table = await api.answer("GET /stores/{storeId}/reports", query={"format": "csv", "viewName": "invoices"})
    assert table.headers["Content-Type"].startswith("text/csv")
    line = next(line for line in table.text.splitlines() if made["id"] in line)
    assert "'=HYPERLINK(1)" in line
    assert "Settled" in line
    for query, path in (
        ({"format": "pdf"}, "format"),
        ({"viewName": "Gossip"}, "viewName"),
        ({"from": "x"}, "from"),
    ):
        issues = await api.call("GET /stores/{storeId}/reports", query=query, expect=422)
        assert issues[0]["path"] == path
    empty = await api.call("POST /stores/{storeId}/reports", {"timePeriod": {"from": 5, "to": 6}})
    assert empty["data"] == []


async def test_statistics_agree_with_the_payments(api: Greenfield, shop: Shop) -> None:
    await shop.till.fill_purse(2)
    await shop.till.settle()
    store = (await api.call("POST /stores", {"name": "Figures", "defaultCurrency": "GLD"}))["id"]
    await shop.service.set_chain_method(store, make_address(55))
    for amount in ("1.5", "2.25"):
        made = await api.call("POST /stores/{storeId}/invoices", {"amount": amount}, storeId=store)
        invoice = shop.service.invoice(made["id"])
        assert invoice is not None
        await shop.till.pay(invoice, memo=True)
    await shop.till.mine()
    await api.call("POST /stores/{storeId}/invoices", {"amount": 9}, storeId=store)
    stats = await api.call("GET /stores/{storeId}/stats", storeId=store)
    assert (stats["count"], stats["total"], stats["average"]) == (2, "3.75", "1.875")
    assert stats["methods"][0]["paymentMethodId"] == "GLD-CHAIN"
    assert stats["invoicesByStatus"] == {"New": 1, "Settled": 2}
    one = api.using(await shop.with_permissions(f"btcpay.store.canviewreports:{store}"))
    for period, shape in (("day", 10), ("week", 8), ("month", 7)):
        revenue = await one.call("GET /reports/revenue", query={"period": period})
        assert [(len(row["period"]), row["count"], row["total"]) for row in revenue["rows"]] == [
            (shape, 2, "3.75")
        ]
    table = await one.answer("GET /reports/revenue", query={"format": "csv"})
    assert table.text.splitlines()[1].endswith(",2,3.75")
    assert (await api.call("GET /reports/revenue", query={"from": 5, "to": 6}))["rows"] == []
    for query, path in (
        ({"period": "year"}, "period"),
        ({"from": 6, "to": 5}, "from"),
        ({"format": "x"}, "format"),
    ):
        assert (await api.call("GET /reports/revenue", query=query, expect=422))[0]["path"] == path


async def test_payment_requests_raise_their_webhooks(api: Greenfield, shop: Shop) -> None:
    await shop.till.fill_purse(1)
    await shop.till.settle()
    start = (await api.call("GET /stores/{storeId}/events", query={"limit": 1000}))["next"]
    async with open_receiver() as receiver:
        hook = await api.call("POST /stores/{storeId}/webhooks", {"url": receiver.url})
        expiry = shop.till.now + 600
        body = {"amount": "0.6", "currency": "GLD", "title": "Bill", "expiryDate": expiry}
        made = await api.call("POST /stores/{storeId}/payment-requests", body)
        here = {"paymentRequestId": made["id"]}
        await api.call("PUT /payment-requests/{paymentRequestId}", {**body, "title": "The bill"}, **here)
        invoice = await api.call("POST /payment-requests/{paymentRequestId}/pay", **here)
        stored = shop.service.invoice(invoice["id"])
        assert stored is not None
        await shop.till.pay(stored, memo=True)
        await shop.till.mine()
        late = await api.call("POST /stores/{storeId}/payment-requests", body | {"expiryDate": expiry + 1000})
        shop.till.pass_time(100_000)
        await shop.service.requests.expire(shop.till.now)
        await api.call("DELETE /payment-requests/{paymentRequestId}", paymentRequestId=late["id"])
        told = await api.call("GET /stores/{storeId}/events", query={"after": start, "limit": 1000})
        ours = [event for event in told["events"] if "paymentRequestId" in event]
        seen = [(event["type"].removeprefix("PaymentRequest"), event["status"]) for event in ours]
        assert seen == [
            ("Created", "Pending"),
            ("Updated", "Pending"),
            ("StatusChanged", "Processing"),
            ("StatusChanged", "Completed"),
            ("Completed", "Completed"),
            ("Created", "Pending"),
            ("StatusChanged", "Expired"),
            ("Archived", "Expired"),
        ]
        for _ in range(100):
            got = [each for each in receiver.received if "paymentRequestId" in each.fields]
            if len(got) == len(ours):
                break
            await asyncio.sleep(0.05)
        assert [each.fields["type"] for each in got] == [event["type"] for event in ours]
        assert all(each.is_signed(hook["secret"]) for each in got)
        for each in got:
            # The published list of a webhook's statuses lacks one that the request's own has.
            assert each.fields["status"] == "Processing" or webhook_errors(each.fields) == []
        await api.call("DELETE /webhooks/{webhookId}", webhookId=hook["id"])


async def test_a_store_takes_the_amounts_that_its_settings_allow(api: Greenfield, shop: Shop) -> None:
    store = (await api.call("POST /stores", {"name": "Amounts", "defaultCurrency": "GLD"}))["id"]
    await shop.service.set_chain_method(store, make_address(7077))
    criteria = [
        {"paymentMethodId": "GLD", "currencyCode": "USD", "amount": "4", "above": True},
        {"paymentMethodId": "GLD_BTCLike", "currencyCode": "GLD", "amount": "10", "above": False},
        {"paymentMethodId": "GLD-LN", "currencyCode": "GLD", "amount": "999", "above": True},
        {"paymentMethodId": "GLD", "currencyCode": "XXX", "amount": "999", "above": True},
    ]
    settings = {"paymentMethodCriteria": criteria, "invoiceExpiration": 600, "speedPolicy": "LowSpeed"}
    await api.call("PUT /stores/{storeId}", settings, storeId=store)
    for amount, expect in (("1.99", 400), ("2", 200), ("10", 200), ("10.01", 400), (None, 200)):
        made = await api.call("POST /stores/{storeId}/invoices", {"amount": amount}, expect=expect, storeId=store)
        if expect == 400:
            assert made["code"] == "generic-error"
        else:
            assert (made["currency"], made["checkout"]["expirationMinutes"]) == ("GLD", 10)
            assert made["checkout"]["speedPolicy"] == "LowSpeed"
    limits = {"paymentMethodCriteria": [], "minimumAmount": "0.5", "paymentTolerance": 5}
    await api.call("PUT /stores/{storeId}", limits, storeId=store)
    (issue,) = await api.call("POST /stores/{storeId}/invoices", {"amount": "0.4"}, expect=422, storeId=store)
    assert issue["path"] == "Amount"
    made = await api.call("POST /stores/{storeId}/invoices", {"amount": "0.5"}, storeId=store)
    assert made["checkout"]["paymentTolerance"] == 5


async def test_the_short_forms_of_an_order_are_put_where_greenfield_has_them(api: Greenfield, shop: Shop) -> None:
    async with open_receiver() as receiver:
        made = await make_invoice(
            api,
            orderId="ORDER-7",
            notificationUrl=receiver.url,
            redirectUrl="https://shop.example/thanks",
            buyerEmail="ada@example.com",
            description="Two coffees",
        )
        wanted = {"orderId": "ORDER-7", "buyerEmail": "ada@example.com", "itemDesc": "Two coffees"}
        assert made["metadata"] == wanted
        assert made["checkout"]["redirectURL"] == "https://shop.example/thanks"
        assert made["addresses"] == {"GLD-CHAIN": shop.address}
        found = await api.call("GET /stores/{storeId}/invoices", query={"orderId": "ORDER-7"})
        assert [each["id"] for each in found] == [made["id"]]
        await api.call("POST /invoices/{invoiceId}/status", {"status": "Settled"}, invoiceId=made["id"])
        (told,) = await receiver.wait(1)
        assert (told.fields["invoiceId"], told.fields["status"]) == (made["id"], "paid")
        assert told.is_signed(shop.store.callback_secret)
    own = {"metadata": {"orderId": "mine", "itemDesc": "x"}, "orderId": "other", "description": "y"}
    assert (await make_invoice(api, **own))["metadata"] == own["metadata"]
