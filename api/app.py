"""The HTTP sites of the node: the default one with everything, and a public one with the payment routes only.

The composition root calls `build_sites` once, then `await sites.start()` and, at the end, `await sites.stop()`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from api.guard import GuardOptions
from gldnode.ports import NodeHost

if TYPE_CHECKING:
    from payments.service import PaymentService

__all__ = ["NodeHandler", "SiteOptions", "Sites", "build_sites"]

NodeHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""The node's JSON-RPC: handles POST `/` and `/wallet/<name>`; reads the body with `await request.read()`."""


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """Where the sites listen and whom they believe.

    Configuration keys read: rpcbind, rpcport, rpcallowip, publicbind, externalurl, allowhost, trustedproxy,
    ratelimit, maxconnectionsperaddress.
    """

    binds: tuple[tuple[str, int], ...]
    """Addresses of the default site; port 0 takes a free one."""
    public_binds: tuple[tuple[str, int], ...]
    guard: GuardOptions

    @classmethod
    def from_host(cls, host: NodeHost) -> "SiteOptions":
        """Raises ValueError with a sentence for the operator."""
        raise ValueError("under construction")


class Sites:
    """Both sites, listening between `start` and `stop`."""

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where the default site listens, with the real ports; empty before `start`."""
        return ()

    @property
    def public_addresses(self) -> Sequence[tuple[str, int]]:
        return ()

    async def start(self) -> None:
        """Listen. Raises OSError when an address is taken."""

    async def stop(self) -> None:
        """Stop accepting, let requests under way end (a few seconds), close."""


def build_sites(
    host: NodeHost,
    rpc: NodeHandler,
    service: "PaymentService | None",
    *,
    options: SiteOptions | None = None,
    node_routes: Sequence[web.RouteDef] = (),
) -> Sites:
    """The sites of this process.

    `rpc` serves `/` and `/wallet/<name>` of the default site; `node_routes` (REST, event streams) stand behind
    the same guard. Without `service` there are no payment routes. `options` defaults to the host's configuration.
    """
    return Sites()
