"""Loose payments: outputs to watched addresses that are no invoice's, kept until somebody assigns them."""

from collections.abc import Callable

from msgspec.structs import replace

from gldnode.events import BlockConnected
from gldnode.ports import MempoolView
from gldnode.primitives.coin import Coin
from gldnode.primitives.tx import OutPoint, Tx
from payments import layout
from payments.layout import Loose
from storage.database import Txn

__all__ = ["LoosePayments"]


class LoosePayments:
    """The loose payments within one transaction of the database."""

    def __init__(self, txn: Txn, mempool: MempoolView, coin: Callable[[OutPoint], Coin | None]) -> None:
        self._txn = txn
        self._mempool = mempool
        self._coin = coin

    def get(self, paid: bytes) -> Loose | None:
        return self._txn.get_record(layout.loose_key(paid), Loose)

    def add(
        self,
        tx: Tx,
        paid: OutPoint,
        store_id: str,
        step: BlockConnected | None,
        coins: tuple[Coin, ...] | None,
        received_at: int,
    ) -> None:
        """An output of `tx`, which is in the mempool or in the block of `step`."""
        old = self.get(paid)
        if step is None and old is not None and old.height >= 0:
            return
        output = tx.outputs[paid.vout]
        loose = Loose(
            output.script_pubkey,
            output.amount,
            old.received_at if old is not None else received_at,
            -1 if step is None else step.height,
            b"" if step is None else bytes(step.hash),
            tx.is_coinbase,
            old.input_scripts if old is not None else self._input_scripts(tx, coins),
            in_mempool=step is None,
        )
        self._txn.put_record(layout.loose_key(paid), loose)
        self._txn.put(layout.loose_by_script_key(loose.script, paid), b"")
        self._txn.put(layout.loose_by_store_key(store_id, paid), b"")
        if step is not None:
            self._txn.put(layout.in_block_key(step.height, paid), b"")

    def _input_scripts(self, tx: Tx, coins: tuple[Coin, ...] | None) -> tuple[bytes, ...]:
        """What the inputs were paid to; empty when not all of them are known."""
        if tx.is_coinbase:
            return ()
        if coins is not None:
            return tuple(coin.script_pubkey for coin in coins)
        scripts = []
        for txin in tx.inputs:
            parent = self._mempool.get(txin.prevout.txid)
            coin = self._coin(txin.prevout)
            if parent is not None and txin.prevout.vout < len(parent.tx.outputs):
                scripts.append(parent.tx.outputs[txin.prevout.vout].script_pubkey)
            elif coin is not None:
                scripts.append(coin.script_pubkey)
            else:
                return ()
        return tuple(scripts)

    def take(self, paid: OutPoint, store_id: str) -> Loose:
        """Remove it from its store's: it is an invoice's from now on."""
        loose = self.get(paid)
        assert loose is not None
        self._txn.delete(layout.loose_key(paid))
        self._txn.delete(layout.loose_by_script_key(loose.script, paid))
        self._txn.delete(layout.loose_by_store_key(store_id, paid))
        return loose

    def leave_block(self, paid: OutPoint, *, conflicted: bool) -> None:
        """Its block was left."""
        loose = self.get(paid)
        if loose is not None:
            self._txn.delete(layout.in_block_key(loose.height, paid))
            gone = replace(loose, height=-1, block_hash=b"", conflicted=conflicted)
            self._txn.put_record(layout.loose_key(paid), gone)

    def set_conflicted(self, paid: bytes, conflicted: bool) -> None:
        """Another transaction has taken an input of its, or not any more."""
        loose = self.get(paid)
        if loose is not None:
            self._txn.put_record(layout.loose_key(paid), replace(loose, conflicted=conflicted, in_mempool=False))
