"""Statistics of the coin set at every block (`-coinstatsindex`; Core: index/coinstatsindex.cpp).

| key | value |
|---|---|
| `c` block hash | `CoinTotals`: hash of the block before, muhash, and the integers in order (16 bytes each) |
| 00 `muhash` | the running hash as of the cursor |

Rows of blocks that were left stay. Sums of money over the whole history outgrow 64 bits, hence 16 bytes.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import ClassVar

from gldnode.chain.utxostats import bogo_size, coin_hash_bytes
from gldnode.consensus.subsidy import block_subsidy
from gldnode.crypto.muhash import MuHash3072
from gldnode.events import BlockConnected, BlockDisconnected, ChainStep, Cursor
from gldnode.indexes.base import Index, undo_of
from gldnode.params import ChainParams
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import ZERO_HASH, BlockHash
from gldnode.primitives.tx import OutPoint, outpoint
from gldnode.script.script import is_unspendable
from storage.errors import DatabaseCorrupt
from storage.kv import KV, WriteBatch

__all__ = ["CoinStatsIndex", "CoinTotals"]

Coins = list[tuple[OutPoint, Coin]]

_STATE_KEY = b"\x00muhash"
_INT_SIZE = 16


@dataclass(frozen=True, slots=True)
class CoinTotals:
    """The coin set after a block, and sums over all blocks up to it, in base units."""

    prev_hash: bytes
    muhash: bytes
    """Wire order."""
    height: int = 0
    txouts: int = 0
    bogosize: int = 0
    total_amount: int = 0
    total_subsidy: int = 0
    prevout_spent: int = 0
    coinbase: int = 0
    new_outputs_ex_coinbase: int = 0
    unspendable_genesis: int = 0
    unspendable_bip30: int = 0
    unspendable_scripts: int = 0
    unspendable_unclaimed: int = 0

    @property
    def total_unspendable(self) -> int:
        """What no one can ever spend, or never claimed."""
        return (
            self.unspendable_genesis
            + self.unspendable_bip30
            + self.unspendable_scripts
            + self.unspendable_unclaimed
        )

    def since(self, before: "CoinTotals") -> "CoinTotals":
        """What the block itself did: `block_info` of `gettxoutsetinfo`. `before` is the block before."""
        return replace(
            self, **{name: getattr(self, name) - getattr(before, name) for name in _INTEGERS if name != "height"}
        )


_INTEGERS = tuple(field.name for field in fields(CoinTotals))[2:]


def _encode(totals: CoinTotals) -> bytes:
    return b"".join(
        value if isinstance(value, bytes) else value.to_bytes(_INT_SIZE, "big") for value in astuple(totals)
    )


def _parse(row: bytes) -> CoinTotals:
    if len(row) != 64 + _INT_SIZE * len(_INTEGERS):
        raise DatabaseCorrupt(f"coinstatsindex: a row of {len(row)} bytes")
    return CoinTotals(
        row[:32],
        row[32:64],
        *(int.from_bytes(row[at : at + _INT_SIZE], "big") for at in range(64, len(row), _INT_SIZE)),
    )


class CoinStatsIndex(Index):
    """block hash → totals as of that block."""

    name: ClassVar[str] = "coinstatsindex"
    folder: ClassVar[str] = "coinstatsindex"
    needs_undo: ClassVar[bool] = True

    def find(self, block_hash: BlockHash) -> CoinTotals | None:
        """As of the block; None for one that the index has not come to."""
        row = self._kv.get(b"c" + block_hash)
        return None if row is None else _parse(row)

    def block_info(self, block_hash: BlockHash) -> CoinTotals | None:
        """What the block alone added to each sum."""
        totals = self.find(block_hash)
        if totals is None or totals.height == 0:
            return totals
        before = self.find(BlockHash(totals.prev_hash))
        return None if before is None else totals.since(before)

    def __init__(self, kv: KV, params: ChainParams) -> None:
        self._unhashed: list[tuple[bytes, CoinTotals, MuHash3072]] = []
        """Rows of the batch being made: their digests are computed together."""
        super().__init__(kv, params)

    def apply(self, steps: Sequence[ChainStep]) -> tuple[WriteBatch, Cursor]:
        self._unhashed.clear()
        batch, best = super().apply(steps)
        self._hash_rows(batch)
        return batch, best

    def connect(self, step: BlockConnected, batch: WriteBatch) -> None:
        subsidy = block_subsidy(step.height, self.params)
        if step.height == 0:
            state = MuHash3072()
            totals = CoinTotals(ZERO_HASH, state.digest(), total_subsidy=subsidy, unspendable_genesis=subsidy)
        else:
            state = self._state(batch)
            totals = _after(self._totals(step.block.header.prev_hash, batch), step, subsidy)
            _exchange(state, remove=_spent(step), insert=_created(step))
            self._unhashed.append((step.hash, totals, state))
        batch.put(b"c" + step.hash, _encode(totals))
        batch.put(_STATE_KEY, state.to_bytes())

    def disconnect(self, step: BlockDisconnected, batch: WriteBatch) -> None:
        self._hash_rows(batch)
        state = self._state(batch)
        _exchange(state, remove=_created(step), insert=_spent(step))
        before = self._totals(step.prev_hash, batch)
        assert state.digest() == before.muhash, "coinstatsindex: undoing a block gave another coin set"
        batch.put(_STATE_KEY, state.to_bytes())

    def _hash_rows(self, batch: WriteBatch) -> None:
        """Give the new rows their digests."""
        digests = MuHash3072.digests([state for _, _, state in self._unhashed])
        for (block_hash, totals, _), digest in zip(self._unhashed, digests, strict=True):
            batch.put(b"c" + block_hash, _encode(replace(totals, muhash=digest)))
        self._unhashed.clear()

    def _state(self, batch: WriteBatch) -> MuHash3072:
        stored = self.pending(batch, _STATE_KEY)
        assert stored is not None, "coinstatsindex: no running hash"
        return MuHash3072.from_bytes(stored)

    def _totals(self, block_hash: bytes, batch: WriteBatch) -> CoinTotals:
        row = self.pending(batch, b"c" + block_hash)
        assert row is not None, "coinstatsindex: no totals of the block before"
        return _parse(row)


def _exchange(state: MuHash3072, *, remove: Coins, insert: Coins) -> None:
    """Coins that come and go in the same block leave no trace, and need not be computed."""
    gone, come = dict(remove), dict(insert)
    for prevout in gone.keys() - come.keys():
        state.remove(coin_hash_bytes(prevout, gone[prevout]))
    for prevout in come.keys() - gone.keys():
        state.insert(coin_hash_bytes(prevout, come[prevout]))


def _created(step: ChainStep) -> Coins:
    """The coins that the block made, also those that it spent itself."""
    height = step.height
    return [
        (outpoint(tx.txid, vout), Coin(output.amount, output.script_pubkey, height, position == 0))
        for position, tx in enumerate(step.block.txs)
        for vout, output in enumerate(tx.outputs)
        if not is_unspendable(output.script_pubkey)
    ]


def _spent(step: ChainStep) -> Coins:
    return [
        (txin.prevout, coin)
        for tx, coins in zip(step.block.txs[1:], undo_of(step), strict=True)
        for txin, coin in zip(tx.inputs, coins, strict=True)
    ]


def _after(before: CoinTotals, step: BlockConnected, subsidy: int) -> CoinTotals:
    """The totals after the block, without their hash."""
    created, spent = _created(step), _spent(step)
    made = sum(coin.amount for _, coin in created)
    coinbase = sum(coin.amount for _, coin in created if coin.is_coinbase)
    taken = sum(coin.amount for _, coin in spent)
    burnt = sum(
        output.amount for tx in step.block.txs for output in tx.outputs if is_unspendable(output.script_pubkey)
    )
    return CoinTotals(
        prev_hash=step.block.header.prev_hash,
        muhash=ZERO_HASH,
        height=step.height,
        txouts=before.txouts + len(created) - len(spent),
        bogosize=before.bogosize
        + sum(bogo_size(coin) for _, coin in created)
        - sum(bogo_size(coin) for _, coin in spent),
        total_amount=before.total_amount + made - taken,
        total_subsidy=before.total_subsidy + subsidy,
        prevout_spent=before.prevout_spent + taken,
        coinbase=before.coinbase + coinbase,
        new_outputs_ex_coinbase=before.new_outputs_ex_coinbase + made - coinbase,
        unspendable_genesis=before.unspendable_genesis,
        unspendable_bip30=before.unspendable_bip30,
        unspendable_scripts=before.unspendable_scripts + burnt,
        unspendable_unclaimed=before.unspendable_unclaimed + taken + subsidy - made - burnt,
    )
