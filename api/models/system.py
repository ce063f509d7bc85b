"""Health and server information, as Greenfield writes them."""

from msgspec import Struct

__all__ = ["HealthAnswer", "NodeInformation", "ServerInfoAnswer", "SyncStatus"]


class HealthAnswer(Struct):
    synchronized: bool


class NodeInformation(Struct, rename="camel"):
    headers: int
    blocks: int
    verification_progress: float


class SyncStatus(Struct, rename="camel"):
    payment_method_id: str
    available: bool
    chain_height: int
    sync_height: int | None
    node_information: NodeInformation | None


class ServerInfoAnswer(Struct, rename="camel"):
    """`version` is that of the BTCPay Server whose API we follow; ours is `nodeVersion`."""

    version: str
    node_version: str
    onion: str | None
    supported_payment_methods: list[str]
    fully_synched: bool
    sync_status: list[SyncStatus]
    network: str
