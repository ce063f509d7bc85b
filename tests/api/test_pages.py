"""The pages: checkout, pairing."""

import re
from urllib.parse import urlencode

import pytest

from payments.stores import StoreSettings
from tests.support.http import Answer, Browser
from tests.support.shop import Shop, make_address

pytestmark = pytest.mark.asyncio(loop_scope="module")

NASTY = "<script>alert('x')</script>\"&'"
WISH = [
    ("permissions", "btcpay.store.canviewinvoices"),
    ("permissions", "btcpay.store.cancreateinvoice"),
    ("applicationName", "Shop plug-in"),
    ("applicationIdentifier", "plugin-1"),
    ("selectiveStores", "true"),
    ("strict", "true"),
    ("redirect", "https://shop.example/callback"),
]
PAIRING = "/api-keys/authorize?" + urlencode(WISH)


async def test_the_checkout_page_shows_what_to_pay(shop: Shop) -> None:
    made = await shop.btng_invoice(amount="2.5", memo="Two teas")
    page = await shop.anyone.get(f"/i/{made['invoiceId']}")
    assert page.status == 200
    for text in ("2.5 GLD", made["address"], "Two teas", "Corner shop", "Waiting for payment", "<svg"):
        assert text in page.text
    assert made["uri"].replace("&", "&amp;") in page.text
    assert "<script" not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "X-Frame-Options" not in page.headers
    assert (await shop.anyone.get(f"/invoice?id={made['invoiceId']}")).status == 200


async def test_everything_on_the_page_is_escaped(shop: Shop) -> None:
    store = await shop.service.create_store(StoreSettings(name=NASTY[:50]), chain=make_address(44))
    body = {"merchant": store.id, "amount": 1, "memo": NASTY}
    made = (await shop.owner.post("/api/btngpay/invoice", body)).json
    page = await shop.anyone.get(f"/i/{made['invoiceId']}")
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text


@pytest.mark.parametrize("invoice_id", ["nothing", "%3Cscript%3E", "%00", "..%2f"])
async def test_an_unknown_invoice_has_a_page_that_says_so(shop: Shop, invoice_id: str) -> None:
    page = await shop.anyone.get(f"/i/{invoice_id}")
    assert page.status == 404
    assert "No such invoice" in page.text


async def post_form(browser: Browser, path: str, cookie: str = "", **fields: str | list[str]) -> Answer:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
    return await browser.post(path, raw=urlencode(fields, doseq=True).encode(), headers=headers)


async def sign_in(shop: Shop, email: str) -> str:
    answer = await post_form(shop.anyone, PAIRING, email=email, password="correct horse")
    assert answer.status == 303
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert "SameSite=Strict" in answer.headers["Set-Cookie"]
    return answer.headers["Set-Cookie"].partition(";")[0]


async def test_a_shop_is_paired_and_paired_again(shop: Shop) -> None:
    user = await shop.service.accounts.create_user("owner@example.com", "correct horse", is_admin=False)
    await shop.service.accounts.set_role(shop.store.id, user.id, "Owner")
    assert 'type="password"' in (await shop.anyone.get(PAIRING)).text
    assert (await post_form(shop.anyone, PAIRING, email="owner@example.com", password="wrong")).status == 401
    cookie = await sign_in(shop, "owner@example.com")
    keys = []
    for _ in range(2):
        consent = await shop.anyone.get(PAIRING, headers={"Cookie": cookie})
        assert "Shop plug-in" in consent.text
        assert "shop.example" in consent.text
        assert "frame-ancestors 'none'" in consent.headers["Content-Security-Policy"]
        token = re.search(r'name="token" value="([0-9a-f]+)"', consent.text)
        assert token is not None
        granted = await post_form(shop.anyone, PAIRING, cookie, token=token[1], store=[shop.store.id])
        assert granted.status == 200
        assert 'action="https://shop.example/callback"' in granted.text
        given = re.findall(r'name="permissions\[\]" value="([^"]+)"', granted.text)
        assert given == [
            f"btcpay.store.canviewinvoices:{shop.store.id}",
            f"btcpay.store.cancreateinvoice:{shop.store.id}",
        ]
        key = re.search(r'name="apiKey" value="([0-9a-f]+)"', granted.text)
        assert key is not None
        keys.append(shop.anyone.with_key(key[1]))
    path = f"/api/v1/stores/{shop.store.id}/invoices"
    assert (await keys[0].get(path)).status == 401
    assert (await keys[1].get(path)).status == 200


async def test_a_forged_form_gets_no_key(shop: Shop) -> None:
    await shop.service.accounts.create_user("victim@example.com", "correct horse", is_admin=False)
    cookie = await sign_in(shop, "victim@example.com")
    for token in ("", "0" * 64):
        answer = await post_form(shop.anyone, PAIRING, cookie, token=token, store=[shop.store.id])
        assert (answer.status, answer.code) == (403, "form-token")


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
async def test_another_sites_form_does_not_even_sign_in(shop: Shop, headers: dict[str, str]) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    raw = urlencode({"email": "owner@example.com", "password": "correct horse"}).encode()
    answer = await shop.anyone.post(PAIRING, raw=raw, headers=form)
    assert (answer.status, answer.code) == (403, "foreign-form")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "change",
    [
        [("permissions", "")],
        [("permissions", "nonsense")],
        [("redirect", "javascript:alert(1)")],
        [("redirect", "/relative")],
        [("redirect", "data:text/html,x")],
    ],
)
async def test_a_senseless_wish_is_refused(shop: Shop, change: list[tuple[str, str]]) -> None:
    named = {name for name, _ in change}
    wish = [pair for pair in WISH if pair[0] not in named] + change
    answer = await shop.anyone.get("/api-keys/authorize?" + urlencode(wish))
    assert answer.status == 400
