"""Where the pages are."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from aiohttp import web

from api.context import ApiContext
from api.pages.checkout import checkout_page, checkout_status
from api.pages.docs import docs_page
from api.pages.pairing import pairing_routes

__all__ = ["page_routes"]


def page_routes(context: ApiContext, document: Mapping[str, Any], with_payments: bool) -> Sequence[web.RouteDef]:
    """Checkout, documentation, the style sheet, and the script for shops that show the checkout in a frame."""
    style = (files("api.pages") / "static" / "style.css").read_bytes()
    script = (files("api.pages") / "static" / "btcpay.js").read_bytes()

    async def checkout(request: web.Request) -> web.StreamResponse:
        return checkout_page(context, request.match_info["invoiceId"])

    async def legacy_checkout(request: web.Request) -> web.StreamResponse:
        return checkout_page(context, request.query.get("id", ""))

    async def status(request: web.Request) -> web.StreamResponse:
        return checkout_status(context, request.match_info["invoiceId"])

    async def modal(request: web.Request) -> web.StreamResponse:
        headers = {"Cache-Control": "public, max-age=300", "Cross-Origin-Resource-Policy": "cross-origin"}
        return web.Response(body=script, content_type="text/javascript", charset="utf-8", headers=headers)

    async def docs(request: web.Request) -> web.StreamResponse:
        return docs_page(document, context.base_url)

    async def style_sheet(request: web.Request) -> web.StreamResponse:
        headers = {"Cache-Control": "public, max-age=300"}
        return web.Response(body=style, content_type="text/css", charset="utf-8", headers=headers)

    routes = [web.get("/docs", docs), web.get("/static/style.css", style_sheet)]
    if with_payments:
        routes += [
            web.get("/modal/btcpay.js", modal),
            web.get("/i/{invoiceId}/status", status),
            web.get("/i/{invoiceId}", checkout),
            web.get("/i/{invoiceId}/{paymentMethodId}", checkout),
            web.get("/invoice", legacy_checkout),
            *pairing_routes(context),
        ]
    return routes
