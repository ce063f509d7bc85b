"""How much a block may create."""

from gldnode.params import ChainParams

__all__ = ["block_subsidy"]


def block_subsidy(height: int, params: ChainParams) -> int:
    """New base units in the block at `height`; halved every `halving_interval` blocks, 64 times at most."""
    halvings = height // params.halving_interval
    return params.initial_subsidy >> halvings if halvings < 64 else 0
