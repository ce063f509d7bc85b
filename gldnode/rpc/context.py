"""What an RPC handler is given besides its arguments."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from gldnode.rpc.errors import RpcCode, RpcError

if TYPE_CHECKING:
    from gldnode.node import Node
    from gldnode.rpc.registry import Registry
    from gldnode.rpc.server import ServerState

__all__ = ["RpcContext", "Services"]

T = TypeVar("T")


class Services:
    """The parts that only some methods need (peer manager, wallet manager, indexes), found by their class."""

    def __init__(self) -> None:
        self._by_type: dict[type, object] = {}

    def add(self, service: object, *, as_type: type | None = None) -> None:
        self._by_type[as_type or type(service)] = service

    def remove(self, kind: type) -> None:
        self._by_type.pop(kind, None)

    def get(self, kind: type[T]) -> T | None:
        """The running `kind`, None when this node runs without."""
        service = self._by_type.get(kind)
        assert service is None or isinstance(service, kind)
        return service

    def require(
        self, kind: type[T], code: int = RpcCode.MISC_ERROR, message: str = "This part of the node is not running"
    ) -> T:
        """The running `kind`; RpcError(code, message) when this node runs without."""
        service = self.get(kind)
        if service is None:
            raise RpcError(code, message)
        return service


@dataclass(frozen=True, slots=True)
class RpcContext:
    """One call's surroundings."""

    node: "Node"
    """Chain, mempool, clock, parameters, options: see gldnode/node.py."""
    services: Services
    registry: "Registry"
    server: "ServerState"
    user: str = ""
    """Who authenticated."""
    wallet_name: str | None = None
    """From `/wallet/<name>`, decoded; None at `/`. The empty name is the default wallet."""

    async def read(self, work: Callable[[], T]) -> T:
        """Run a longer read in the reader pool, so that the event loop goes on."""
        return await self.node.run_in_reader(work)

    async def validate(self, work: Callable[[], T]) -> T:
        """Run `work` in the validation thread, the only one that may write chain and mempool."""
        return await self.node.run_in_validation(work)
