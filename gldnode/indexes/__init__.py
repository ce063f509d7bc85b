"""Optional indexes over the chain: followers, each with a database and a cursor of its own."""

from gldnode.indexes.addressindex import AddressIndex
from gldnode.indexes.base import Index, open_index
from gldnode.indexes.blockfilterindex import BlockFilterIndex
from gldnode.indexes.coinstatsindex import CoinStatsIndex
from gldnode.indexes.follower import IndexFollower
from gldnode.indexes.txindex import TxIndex
from gldnode.indexes.txospenderindex import TxoSpenderIndex

__all__ = [
    "AddressIndex",
    "BlockFilterIndex",
    "CoinStatsIndex",
    "Index",
    "IndexFollower",
    "TxIndex",
    "TxoSpenderIndex",
    "open_index",
]
