"""What every output script has received and spent (`-addressindex`).

| key | value |
|---|---|
| `a` script hash, height (u32), transaction's position (u32), 0, vout (u32) | amount (u64), txid |
| `a` script hash, height (u32), transaction's position (u32), 1, vin (u32) | amount (u64), txid, outpoint spent |

The script hash is the SHA-256 of the output script, as in the Electrum protocol but in wire order. A script's
rows are its history in the order of the chain. Outputs that nobody can spend are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from gldnode.events import BlockConnected, BlockDisconnected, ChainStep
from gldnode.indexes.base import Index, undo_of
from gldnode.primitives.hashes import Txid, sha256
from gldnode.primitives.tx import OutPoint, outpoint
from gldnode.script.script import is_unspendable
from storage.errors import DatabaseCorrupt
from storage.keys import u32
from storage.kv import KVReader, WriteBatch

__all__ = ["AddressBalance", "AddressIndex", "AddressRow", "AddressUnspent", "script_hash"]

_PLACE = Struct(">IIBI")
_FUNDING = Struct(">Q32s")
_SPENDING = Struct(">Q32s36s")
_HASH_END = 33


def script_hash(script_pubkey: bytes) -> bytes:
    """The name under which the script's rows stand."""
    return sha256(script_pubkey)


@dataclass(frozen=True, slots=True)
class AddressRow:
    """One output paid to the script, or one input that spent such an output."""

    height: int
    position: int
    """Of the transaction in its block."""
    txid: Txid
    index: int
    """The output's, or the input's when `spends` is set."""
    amount: int
    spends: OutPoint | None = None


@dataclass(frozen=True, slots=True)
class AddressUnspent:
    """A confirmed output of the script that is unspent."""

    prevout: OutPoint
    amount: int
    height: int


@dataclass(frozen=True, slots=True)
class AddressBalance:
    """Confirmed sums of a script, in base units."""

    received: int
    spent: int
    rows: int

    @property
    def balance(self) -> int:
        return self.received - self.spent


class AddressIndex(Index):
    """script hash → funding outputs and spending inputs."""

    name: ClassVar[str] = "addressindex"
    folder: ClassVar[str] = "addressindex"
    needs_undo: ClassVar[bool] = True

    def history(
        self,
        script_hash: bytes,
        *,
        start_height: int = 0,
        stop_height: int | None = None,
        reverse: bool = False,
    ) -> Iterator[AddressRow]:
        """The script's rows in the order of the chain, from `start_height` to before `stop_height`."""
        return _rows(self._kv, script_hash, start_height, stop_height, reverse)

    def unspent(self, script_hash: bytes) -> list[AddressUnspent]:
        """The script's confirmed coins in the order of the chain, as of `best`."""
        found: dict[OutPoint, AddressUnspent] = {}
        with self._kv.snapshot() as moment:
            # A coin may be spent in the block that made it, but only by a later transaction.
            for row in _rows(moment, script_hash, 0, None, False):
                if row.spends is not None:
                    found.pop(row.spends, None)
                else:
                    prevout = outpoint(row.txid, row.index)
                    found[prevout] = AddressUnspent(prevout, row.amount, row.height)
        return list(found.values())

    def balance(self, script_hash: bytes) -> AddressBalance:
        """As of `best`."""
        received = spent = rows = 0
        with self._kv.snapshot() as moment:
            for row in _rows(moment, script_hash, 0, None, False):
                rows += 1
                if row.spends is None:
                    received += row.amount
                else:
                    spent += row.amount
        return AddressBalance(received, spent, rows)

    def connect(self, step: BlockConnected, batch: WriteBatch) -> None:
        if step.height == 0:
            return
        for key, value in _block_rows(step):
            batch.put(key, value)

    def disconnect(self, step: BlockDisconnected, batch: WriteBatch) -> None:
        for key, _ in _block_rows(step):
            batch.delete(key)


def _block_rows(step: ChainStep) -> Iterator[tuple[bytes, bytes]]:
    height = step.height
    undo = undo_of(step)
    for position, tx in enumerate(step.block.txs):
        txid = tx.txid
        if position > 0:
            for vin, (txin, coin) in enumerate(zip(tx.inputs, undo[position - 1], strict=True)):
                yield (
                    b"a" + sha256(coin.script_pubkey) + _PLACE.pack(height, position, 1, vin),
                    _SPENDING.pack(coin.amount, txid, txin.prevout),
                )
        for vout, output in enumerate(tx.outputs):
            if not is_unspendable(output.script_pubkey):
                yield (
                    b"a" + sha256(output.script_pubkey) + _PLACE.pack(height, position, 0, vout),
                    _FUNDING.pack(output.amount, txid),
                )


def _rows(
    reader: KVReader, script_hash: bytes, start_height: int, stop_height: int | None, reverse: bool
) -> Iterator[AddressRow]:
    prefix = b"a" + script_hash
    stop = None if stop_height is None else prefix + u32(stop_height)
    for key, value in reader.iterate(prefix=prefix, start=prefix + u32(start_height), stop=stop, reverse=reverse):
        height, position, kind, index = _PLACE.unpack_from(key, _HASH_END)
        if kind == 0:
            amount, txid = _FUNDING.unpack(value)
            yield AddressRow(height, position, Txid(txid), index, amount)
        elif kind == 1:
            amount, txid, spent = _SPENDING.unpack(value)
            yield AddressRow(height, position, Txid(txid), index, amount, OutPoint(spent))
        else:
            raise DatabaseCorrupt(f"addressindex: a row of kind {kind}")
