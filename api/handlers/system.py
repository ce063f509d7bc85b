"""Health, metrics and what the server is."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.errors import ApiError, ErrorShape
from api.metrics import registry_of
from api.models.system import HealthAnswer, NodeInformation, ServerInfoAnswer, SyncStatus
from api.routing import Access, Call, PlainText, RouteTable

__all__ = ["node_table", "table"]

COMPATIBLE_VERSION = "2.4.1"
"""The BTCPay Server whose API we follow; clients compare it."""

table = RouteTable("", "Server", ErrorShape.OBJECT)
node_table = RouteTable("", "Server", ErrorShape.OBJECT)


@table.add(
    "GET", "/health", access=Access.ANONYMOUS, answer=HealthAnswer, summary="Whether the node runs", hidden=True
)
@table.add(
    "GET", "/api/v1/health", access=Access.ANONYMOUS, answer=HealthAnswer, summary="Whether the node is in sync"
)
async def get_health(call: Call[None]) -> HealthAnswer:
    try:
        return HealthAnswer(synchronized=not call.context.chain.is_initial_block_download)
    except ApiError:  # still starting
        return HealthAnswer(synchronized=False)


@table.add(
    "GET",
    "/api/v1/server/info",
    access=Access.AUTHENTICATED,
    answer=ServerInfoAnswer,
    summary="What the server is",
)
async def get_server_info(call: Call[None]) -> ServerInfoAnswer:
    host, service = call.context.host, call.context.service
    chain = call.context.chain
    tip, synced = chain.tip, not chain.is_initial_block_download
    information = NodeInformation(
        headers=tip.height, blocks=tip.height, verification_progress=1.0 if synced else 0.5
    )
    method = service.method_id
    return ServerInfoAnswer(
        version=COMPATIBLE_VERSION,
        node_version=call.context.node_version,
        onion=None,
        supported_payment_methods=[method],
        fully_synched=synced,
        sync_status=[SyncStatus(method, True, tip.height, service.tip_height, information)],
        network=host.params.name,
    )


@node_table.add("GET", "/metrics", access=Access.ANONYMOUS, answer=PlainText, summary="Figures for Prometheus")
async def get_metrics(call: Call[None]) -> web.Response:
    assert call.context.chain is not None  # 503 while the node starts
    text = generate_latest(registry_of(call.context.host, call.context.maybe_service))
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})
