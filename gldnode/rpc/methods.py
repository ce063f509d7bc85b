"""All RPC methods of this node, gathered from the modules that declare them."""

from gldnode.params import ChainParams
from gldnode.rpc import (
    activity,
    address_index,
    addresses,
    blocks,
    broadcast,
    chain,
    coins,
    control,
    fees,
    generating,
    mempool,
    mempool_entries,
    mining,
    network,
    orphans,
    peer_addresses,
    peers,
    proofs,
    psbt,
    psbt_descriptors,
    scan,
    signing,
    stats,
    transactions,
    txoutset,
    wallet_addresses,
    wallet_admin,
    wallet_bump,
    wallet_coins,
    wallet_descriptors,
    wallet_history,
    wallet_pruned,
    wallet_psbt,
    wallet_raw,
    wallet_received,
    wallet_reports,
    wallet_send,
)
from gldnode.rpc.registry import MethodGroup, Registry

__all__ = ["build_registry", "full_registry"]

_NODE: tuple[MethodGroup, ...] = (
    activity.methods,
    address_index.methods,
    addresses.methods,
    blocks.methods,
    broadcast.methods,
    chain.methods,
    coins.methods,
    control.methods,
    fees.methods,
    mempool.methods,
    mempool.mining_methods,
    mempool_entries.methods,
    mining.methods,
    network.methods,
    orphans.methods,
    peer_addresses.methods,
    peers.methods,
    proofs.methods,
    psbt.methods,
    psbt_descriptors.methods,
    scan.methods,
    signing.methods,
    stats.methods,
    transactions.methods,
    txoutset.methods,
)
_REGTEST: tuple[MethodGroup, ...] = (
    control.test_methods,
    generating.methods,
    peer_addresses.test_methods,
    peers.test_methods,
)
_WALLET: tuple[MethodGroup, ...] = (
    wallet_addresses.methods,
    wallet_admin.methods,
    wallet_bump.methods,
    wallet_coins.methods,
    wallet_descriptors.methods,
    wallet_history.methods,
    wallet_pruned.methods,
    wallet_psbt.methods,
    wallet_raw.methods,
    wallet_received.methods,
    wallet_reports.methods,
    wallet_send.methods,
)


def build_registry(params: ChainParams, *, with_wallet: bool) -> Registry:
    """The methods that a node on this network has."""
    groups = _NODE + (_REGTEST if params.is_regtest else ()) + (_WALLET if with_wallet else ())
    return Registry(groups)


def full_registry() -> Registry:
    """Every method there is, for the command line's argument types."""
    return Registry(_NODE + _REGTEST + _WALLET)
