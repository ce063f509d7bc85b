"""What the mempool needs of the chain, and of the transactions of one package that are not in it yet."""

from collections.abc import Iterable
from typing import Protocol

from gldnode.chain.entry import BlockEntry
from gldnode.chain.scriptcache import ScriptCache
from gldnode.events import Tip
from gldnode.mempool.graph import TxGraph
from gldnode.params import ChainParams
from gldnode.primitives.coin import MEMPOOL_HEIGHT, Coin
from gldnode.primitives.tx import OutPoint, Tx

__all__ = ["CoinView", "PoolChain", "unconfirmed_coin"]


class PoolChain(Protocol):
    """The active chain, as `Chainstate` offers it."""

    @property
    def params(self) -> ChainParams: ...
    @property
    def tip(self) -> Tip: ...
    @property
    def tip_entry(self) -> BlockEntry: ...
    @property
    def script_cache(self) -> ScriptCache: ...
    @property
    def is_initial_block_download(self) -> bool: ...
    def coin(self, prevout: OutPoint) -> Coin | None: ...
    def entry_at(self, height: int) -> BlockEntry | None: ...


def unconfirmed_coin(tx: Tx, vout: int) -> Coin | None:
    """Output `vout` of an unconfirmed transaction."""
    if vout >= len(tx.outputs):
        return None
    output = tx.outputs[vout]
    return Coin(output.amount, output.script_pubkey, MEMPOOL_HEIGHT, False)


class CoinView:
    """Coins of the chain, over them those of the mempool, over them those of a package's earlier transactions."""

    __slots__ = ("_chain", "_graph", "_package")

    def __init__(self, chain: PoolChain, graph: TxGraph, package: Iterable[Tx] = ()) -> None:
        self._chain = chain
        self._graph = graph
        self._package: dict[bytes, Tx] = {tx.txid: tx for tx in package}

    def add(self, tx: Tx) -> None:
        self._package[tx.txid] = tx

    def package_tx(self, txid: bytes) -> Tx | None:
        return self._package.get(txid)

    def coins(self, tx: Tx) -> list[Coin | None]:
        """What each input of `tx` spends; None where there is no such output."""
        if self._package:
            return [self.coin(txin.prevout) for txin in tx.inputs]
        find, pooled = self._chain.coin, self._graph.get
        found = []
        for txin in tx.inputs:
            prevout = txin.prevout
            entry = pooled(prevout[:32])
            found.append(find(prevout) if entry is None else unconfirmed_coin(entry.tx, prevout.vout))
        return found

    def coin(self, prevout: OutPoint) -> Coin | None:
        """The output, whether or not a mempool transaction spends it."""
        txid = prevout[:32]
        if self._package:
            tx = self._package.get(txid)
            if tx is not None:
                return unconfirmed_coin(tx, prevout.vout)
        entry = self._graph.get(txid)
        if entry is not None:
            return unconfirmed_coin(entry.tx, prevout.vout)
        return self._chain.coin(prevout)
