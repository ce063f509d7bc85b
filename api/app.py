"""The HTTP sites of the node: the default one with everything, and a public one with the payment routes only.

The composition root calls `build_sites` once, then `await sites.start()` and, at the end, `await sites.stop()`.
"""

import logging
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from aiohttp import web

from api.auth import admit
from api.context import ApiContext
from api.handlers import payment_tables, system_tables
from api.legacy import GONE, gone
from api.openapi import openapi_document
from api.options import SiteOptions
from api.pages import page_routes
from api.ratelimit import Rate, RateLimiter
from api.routeindex import PathHandler, RouteIndex
from api.routing import Access, RouteTable, json_response, path_handler
from api.server import LimitedRunner
from api.supervise import NodeHandler, supervisor
from gldnode.ports import NodeHost
from payments.service import PaymentService

__all__ = ["NodeHandler", "SiteOptions", "Sites", "build_sites"]

_log = logging.getLogger(__name__)

_MAX_RPC_BYTES = 0x02000000  # Core: MAX_SIZE
_PASSWORD_RATE = Rate(5, 60, 3)


class Sites:
    """Both sites, listening between `start` and `stop`."""

    def __init__(
        self, context: ApiContext, options: SiteOptions, default: LimitedRunner, public: LimitedRunner | None
    ) -> None:
        self._context = context
        self._options = options
        self._default = default
        self._public = public

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Where the default site listens, with the real ports; empty before `start`."""
        return _addresses(self._default)

    @property
    def public_addresses(self) -> Sequence[tuple[str, int]]:
        return _addresses(self._public) if self._public is not None else ()

    def attach_service(self, service: PaymentService) -> None:
        """Payments are ready: until then their routes answer 503."""
        self._context.maybe_service = service

    async def start(self) -> None:
        """Listen. Raises OSError when an address is taken."""
        try:
            await self._listen(self._default, self._options.binds, self._options.optional_binds)
            if self._public is not None:
                await self._listen(self._public, self._options.public_binds, ())
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop accepting, let requests under way end (a few seconds), close."""
        if self._public is not None:
            await self._public.cleanup()
        await self._default.cleanup()

    async def _listen(
        self, runner: LimitedRunner, binds: Sequence[tuple[str, int]], optional: Sequence[tuple[str, int]]
    ) -> None:
        await runner.setup()
        for host, port in binds:
            await web.TCPSite(runner, host, port, backlog=512).start()
        for host, port in optional:
            try:
                await web.TCPSite(runner, host, port, backlog=512).start()
            except OSError as error:
                _log.debug("not listening on [%s]:%d: %s", host, port, error)


def build_sites(
    host: NodeHost,
    rpc: NodeHandler,
    service: PaymentService | None,
    *,
    options: SiteOptions | None = None,
    node_routes: Sequence[web.RouteDef] = (),
    with_payments: bool = True,
) -> Sites:
    """The sites of this process.

    `rpc` serves `/` and `/wallet/<name>` of the default site; `node_routes` (REST, event streams) stand behind
    the same guard. `options` defaults to the host's configuration. A `service` that is not ready yet is handed in
    with `attach_service`; without `with_payments` there are no payment routes at all.
    """
    options = options or SiteOptions.from_host(host)
    context = ApiContext(
        host=host,
        maybe_service=service,
        guard=options.guard,
        limits=options.limits,
        base_url=options.base_url,
        anonymous_limiter=RateLimiter(options.anonymous_rate, host.clock),
        password_limiter=RateLimiter(_PASSWORD_RATE, host.clock),
        node_version=_node_version(),
        coin_aliases=options.coin_aliases,
    )
    payments = payment_tables() if with_payments else []
    default, index = _make_app(context, [*system_tables(with_node=True), *payments], with_payments)
    for method, path in (("*", "/"), ("*", "/wallet/{name:.*}")):  # behind the supervisor's short cut
        default.router.add_route(method, path, rpc)
    default.router.add_routes(node_routes)
    public = None
    if with_payments and options.public_binds:
        public_app, public_index = _make_app(context, [*system_tables(with_node=False), *payments], with_payments)
        public = LimitedRunner(public_app, supervisor(context, public_index, node_allowed=False), options.limits)
    return Sites(
        context,
        options,
        LimitedRunner(default, supervisor(context, index, node_allowed=True, rpc=rpc), options.limits),
        public,
    )


def _make_app(
    context: ApiContext, tables: Sequence[RouteTable], with_payments: bool
) -> tuple[web.Application, RouteIndex]:
    """The application with all routes, and the index of those that stand in the tables."""
    app, index = web.Application(client_max_size=_MAX_RPC_BYTES), RouteIndex()

    def add(method: str, path: str, handler: PathHandler) -> None:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await handler(request, dict(request.match_info))

        index.add(method, path, handler)
        app.router.add_route(method, path, handle)

    for method, path in GONE if with_payments else ():  # before the routes whose patterns would take them
        add(method, path, gone)
    for table in tables:
        for route in table:
            handler = path_handler(route, context, admit)
            add(route.method, route.path, handler)
            if route.method == "GET" and route.access is Access.ANONYMOUS:  # load balancers ask with HEAD
                add("HEAD", route.path, handler)
    document = openapi_document(tables, context.host.params)

    async def docs_json(request: web.Request) -> web.StreamResponse:
        return json_response(document)

    app.router.add_get("/api/docs.json", docs_json)
    app.router.add_routes(page_routes(context, document, with_payments))
    return app, index


def _node_version() -> str:
    try:
        return version("gldnode")
    except PackageNotFoundError:  # run from a tree that is not installed
        return "0"


def _addresses(runner: LimitedRunner) -> Sequence[tuple[str, int]]:
    return tuple((str(address[0]), int(address[1])) for address in runner.addresses)
