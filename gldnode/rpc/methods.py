"""All RPC methods of this node, gathered from the modules that declare them."""

from gldnode.params import ChainParams
from gldnode.rpc import blocks, chain, control, mempool, mining, transactions
from gldnode.rpc.registry import MethodGroup, Registry

__all__ = ["build_registry", "full_registry"]

_REGTEST_ONLY = frozenset({"setmocktime", "generate", "addconnection", "mockscheduler"})


def _node_groups() -> list[MethodGroup]:
    return [blocks.methods, chain.methods, control.methods, mempool.methods, mining.methods, transactions.methods]


def build_registry(params: ChainParams, *, with_wallet: bool) -> Registry:
    """The methods that a node on this network has."""
    return Registry(_node_groups())


def full_registry() -> Registry:
    """Every method there is, for the command line's argument types."""
    return Registry(_node_groups())
