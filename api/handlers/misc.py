"""Lists for set-up pages: permissions, languages, sources of rates."""

from typing import Any

from api.errors import ErrorShape
from api.permissions import ALL_POLICIES, UNRESTRICTED, children
from api.routing import Access, Call, RouteTable

__all__ = ["table"]

table = RouteTable("/misc", "Miscellaneous", ErrorShape.GREENFIELD)


@table.add(
    "GET", "/permissions", access=Access.AUTHENTICATED, answer=list[dict[str, Any]], summary="All permissions"
)
async def list_permissions(call: Call[None]) -> list[dict[str, Any]]:
    names = (UNRESTRICTED, *ALL_POLICIES)
    return [{"name": name, "included": list(children(name))} for name in names]


@table.add(
    "GET",
    "/lang",
    access=Access.AUTHENTICATED,
    answer=list[dict[str, str]],
    summary="Languages of the payer's page",
)
async def list_languages(call: Call[None]) -> list[dict[str, str]]:
    return [{"code": "en", "currentLanguage": "English"}]


@table.add(
    "GET", "/rate-sources", access=Access.AUTHENTICATED, answer=list[dict[str, str]], summary="Sources of rates"
)
async def list_rate_sources(call: Call[None]) -> list[dict[str, str]]:
    return [{"id": "node", "name": "The node's configuration (-rate)"}]
