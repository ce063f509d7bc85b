"""Old addresses of Greenfield that clients still use: rewrites, and routes that are gone for good."""

import re
from collections.abc import Mapping

from aiohttp import web
from yarl import URL

from api.errors import ApiError

__all__ = ["GONE", "gone", "is_old", "rewrite"]

_ON_CHAIN = re.compile(r"^(/api/v1/stores/[^/]+/payment-methods)/on-?chain/([^/]+)(/.*)?$", re.IGNORECASE)
_WALLET_ENDS = ("/preview", "/generate")
_PREFIX = "/api/v1/stores/{storeId}/payment-methods"

GONE: tuple[tuple[str, str], ...] = (
    ("GET", f"{_PREFIX}/LNURL"),
    ("GET", f"{_PREFIX}/LNURLPay/{{coin}}"),
    ("PUT", f"{_PREFIX}/LNURLPay/{{coin}}"),
    ("DELETE", f"{_PREFIX}/LNURLPay/{{coin}}"),
    ("GET", f"{_PREFIX}/LightningNetwork/{{coin}}"),
    ("PUT", f"{_PREFIX}/LightningNetwork/{{coin}}"),
    ("DELETE", f"{_PREFIX}/LightningNetwork/{{coin}}"),
    ("GET", f"{_PREFIX}/LightningNetwork"),
)


def is_old(path: str) -> bool:
    """Whether `rewrite` has to look at it. A slash at the end finds no route."""
    return "hain/" in path


def rewrite(request: web.BaseRequest) -> web.BaseRequest:
    """`request` under its present address. A slash at the end of an API path makes no difference."""
    path = request.path
    if path.startswith("/api/v1/") and path.endswith("/"):
        request = request.clone(
            rel_url=request.rel_url.with_path(request.rel_url.raw_path.rstrip("/"), encoded=True, keep_query=True)
        )
        path = request.path
    match = _ON_CHAIN.match(path) if is_old(path) else None
    if match is None:
        return request
    prefix, coin, rest = match[1], match[2], match[3] or ""
    new = f"{prefix}/{coin}-CHAIN/wallet{rest}" if rest in _WALLET_ENDS else f"{prefix}/{coin}-CHAIN{rest}"
    url = URL.build(path=new, query_string=request.query_string, encoded=False)
    return request.clone(rel_url=url)


async def gone(request: web.Request, path: Mapping[str, str]) -> web.StreamResponse:
    """410 in Greenfield's words."""
    raise ApiError(
        410,
        "unsupported-in-v2",
        "This route isn't supported by BTCPay Server 2.0 and newer. Please update your integration.",
    )
