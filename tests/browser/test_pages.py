"""The pages in a real browser: no script of theirs, no complaint of the policy, nothing wider than a telephone."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from payments.accounting import method_figures
from payments.invoice import Invoice, Status
from tests.support.campaign import campaign
from tests.support.chromium import Pages
from tests.support.shop import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

NARROW, WIDE = 360, 1100
LOOKS = ((NARROW, False), (WIDE, True), (NARROW, True), (WIDE, False))[: campaign(2, 4)]


async def look(pages: Pages, url: str, name: str) -> str:
    """Opened on a telephone and on a desk, light and dark; the text as it is read."""

    def visit() -> str:
        pages.complaints()
        for width, is_dark in LOOKS:
            pages.dark(is_dark)
            pages.open(url, width=width)
            assert pages.overflow() <= 0, f"{name} at {width}"
            pages.shot(f"{name}-{width}{'-dark' if is_dark else ''}")
        complaints = [text for text in pages.complaints() if "(Not Found)" not in text]
        assert complaints == []
        assert pages.run("return document.scripts.length") == 0
        assert pages.run("return getComputedStyle(document.body).margin") == "0px"  # the style sheet is there
        return pages.text

    return await asyncio.to_thread(visit)


async def make(shop: Shop, amount: str, **body: Any) -> Invoice:
    answer = await shop.owner.post(
        f"/api/v1/stores/{shop.store.id}/invoices", {"amount": amount, "currency": "GLD", **body}
    )
    invoice = shop.service.invoice(answer.json["id"])
    assert invoice is not None
    return invoice


def link(shop: Shop, invoice: Invoice) -> str:
    return f"{shop.anyone.base}/i/{invoice.id}"


async def test_checkout_from_new_to_paid(shop: Shop, pages: Pages) -> None:
    invoice = await make(shop, "1.25", description="<b>Two</b> coffees & a very long description of cake")
    text = await look(pages, link(shop, invoice), "checkout-new")
    assert "1.25 GLD" in text
    assert "Waiting for payment" in text
    assert "<b>Two</b> coffees" in text
    shown = await asyncio.to_thread(
        pages.run,
        "return [document.querySelector('.qr svg').getBoundingClientRect().width, document.links[0].href]",
    )
    assert shown[0] > 150
    assert shown[1].startswith(f"gld:{invoice.address}?amount=1.25")
    await shop.till.pay(invoice, 50_000_000)
    text = await look(pages, link(shop, invoice), "checkout-partly")
    assert "0.75" in text
    await shop.till.pay(invoice, method_figures(shop.till.load(invoice)).due)
    text = await look(pages, link(shop, invoice), "checkout-processing")
    assert "waiting for confirmation" in text
    await shop.till.mine()
    text = await look(pages, link(shop, invoice), "checkout-paid")
    assert "Paid" in text
    assert shop.till.status(invoice) is Status.SETTLED


async def test_checkout_in_dollars_and_for_any_amount(shop: Shop, pages: Pages) -> None:
    dollars = await make(shop, "5.00", currency="USD")
    assert "2.5 GLD" in await look(pages, link(shop, dollars), "checkout-dollars")
    top_up = await shop.owner.post(f"/api/v1/stores/{shop.store.id}/invoices", {"currency": "GLD"})
    assert "Any amount" in await look(pages, f"{shop.anyone.base}/i/{top_up.json['id']}", "checkout-topup")
    assert "No such invoice" in await look(pages, f"{shop.anyone.base}/i/nothing", "checkout-unknown")


async def test_checkout_of_what_has_expired(shop: Shop, pages: Pages) -> None:
    invoice = await make(shop, "0.5", checkout={"expirationMinutes": 1})
    shop.till.pass_time(3600)
    await shop.till.mine()
    await shop.till.tick()
    text = await look(pages, link(shop, invoice), "checkout-expired")
    assert "Expired" in text
    assert invoice.address not in text.replace("\n", "") or "Do not pay" in text


SHOP_PAGE = """<!doctype html><title>A shop</title><p>Cart</p>
<script src="PREFIX/modal/btcpay.js"></script>
<script>
  window.heard = [];
  btcpay.setApiUrlPrefix("PREFIX/");
  btcpay.onModalWillEnter(() => heard.push("enter"));
  btcpay.onModalWillLeave(() => heard.push("leave"));
  btcpay.onModalReceiveMessage((event) => {
    heard.push(typeof event.data === "string" ? event.data : event.data.status);
    if (event.data.status === "Settled") btcpay.hideFrame();
  });
</script>"""


async def test_a_shop_shows_the_checkout_in_its_own_page(shop: Shop, pages: Pages) -> None:
    invoice = await make(shop, "0.25", checkout={"redirectURL": "https://shop.example/{InvoiceId}?o={orderid}"})

    async def cart(request: web.Request) -> web.Response:
        return web.Response(text=SHOP_PAGE.replace("PREFIX", shop.anyone.base), content_type="text/html")

    app = web.Application()
    app.router.add_get("/cart", cart)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        await asyncio.to_thread(pages.open, f"http://127.0.0.1:{port}/cart", width=NARROW)
        await asyncio.to_thread(pages.run, "btcpay.showInvoice(arguments[0])", invoice.id)
        assert await heard(pages, "loaded") == ["enter", "loaded"]

        def framed() -> tuple[str, str]:
            pages.shot("modal-360")
            pages.driver.switch_to.frame("btcpay")
            found = pages.text, pages.run("return document.querySelector('a.plain').href")
            pages.driver.switch_to.default_content()
            return found

        text, back = await asyncio.to_thread(framed)
        assert "0.25 GLD" in text
        assert back == f"https://shop.example/{invoice.id}?o="
        await shop.till.pay(invoice)
        await heard(pages, "Processing")
        await shop.till.mine()
        assert (await heard(pages, "leave"))[-2:] == ["Settled", "leave"]
        assert await asyncio.to_thread(pages.run, "return document.querySelector('iframe')") is None
    finally:
        await runner.cleanup()


async def heard(pages: Pages, what: str) -> list[str]:
    """What the shop's page has heard, once `what` is among it."""
    told: list[str] = []
    for _ in range(80):
        told = await asyncio.to_thread(pages.run, "return window.heard")
        if what in told:
            return told
        await asyncio.sleep(0.1)
    raise AssertionError(told)


async def test_documentation(shop: Shop, pages: Pages) -> None:
    text = await look(pages, f"{shop.anyone.base}/docs", "docs")
    assert "/api/v1/stores/{storeId}/invoices" in text


async def test_pairing_in_the_browser(shop: Shop, pages: Pages) -> None:
    accounts = shop.service.accounts
    user = await accounts.create_user("owner@example.com", "a good password", is_admin=True)
    await accounts.set_role(shop.store.id, user.id, "Owner", new=True)
    target = f"{shop.anyone.base}/docs"
    query = (
        "?permissions=btcpay.store.cancreateinvoice&permissions=btcpay.store.canviewinvoices"
        f"&applicationName=Corner%20%3Cb%3Eshop&applicationIdentifier=corner&selectiveStores=true&redirect={target}"
    )
    url = f"{shop.anyone.base}/api-keys/authorize{query}"
    await look(pages, url, "pairing-sign-in")

    def sign_in() -> str:
        pages.open(url)
        pages.run(
            "document.querySelector('[name=email]').value = arguments[0];"
            "document.querySelector('[name=password]').value = arguments[1];"
            "document.querySelector('form').submit()",
            "owner@example.com",
            "a good password",
        )
        for _ in range(50):
            if "Agree" in pages.text:
                break
            pages.driver.implicitly_wait(0.1)
        return pages.text

    text = await asyncio.to_thread(sign_in)
    assert "Corner <b>shop asks for access" in text
    await look(pages, url, "pairing-consent")

    def agree() -> str:
        pages.open(url)
        pages.complaints()
        pages.run("document.querySelector('button[type=submit]').click()")
        for _ in range(50):
            if "/docs" in pages.driver.current_url:
                break
            pages.driver.implicitly_wait(0.1)
        return str(pages.driver.current_url)

    assert (await asyncio.to_thread(agree)).endswith("/docs")  # the browser carried the form back
    keys = shop.service.api_keys(user.id)
    assert [key.application for key in keys] == [f"corner@{target.split('/')[2]}"]
    assert set(keys[0].permissions) == {
        f"btcpay.store.cancreateinvoice:{shop.store.id}",
        f"btcpay.store.canviewinvoices:{shop.store.id}",
    }
    text = await look(pages, url, "pairing-again")
    assert "has a key already" in text
