"""The Gold-Coin node: chain, mempool, P2P, wallet and RPC in one process."""

__all__ = ["__version__"]
__version__ = "0.1.0"
