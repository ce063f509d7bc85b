"""What the wallet knows of the chain: its transactions and what they say about its coins.

Stored are facts (the block a transaction is in, the block that conflicts with it, whether it was abandoned);
which coins are unspent and what they are worth follows from them. In memory everything; `take_writes` gives
what changed, for one database transaction.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from gldnode.events import Cursor
from gldnode.params import ChainParams
from gldnode.primitives.hashes import BlockHash, Txid
from gldnode.primitives.tx import OutPoint, Tx, TxOut, parse_tx
from gldnode.wallet.keychain import Keychain
from gldnode.wallet.layout import (
    CURSOR,
    Label,
    TxRecord,
    encode_cursor,
    keychain_key,
    label_key,
    lock_key,
    script_key,
    tx_key,
)
from storage.records import encode_record

__all__ = ["Ledger", "WalletTx"]

_NO_TXIDS: Final[frozenset[Txid]] = frozenset()


class WalletTx:
    """A transaction with its record."""

    __slots__ = ("record", "tx")

    def __init__(self, tx: Tx, record: TxRecord) -> None:
        self.tx = tx
        self.record = record

    @property
    def txid(self) -> Txid:
        return self.tx.txid

    @property
    def is_confirmed(self) -> bool:
        return bool(self.record.block)

    @property
    def is_conflicted(self) -> bool:
        return bool(self.record.conflict_block) and not self.record.block

    @property
    def spends(self) -> bool:
        """Whether its inputs count as spent: confirmed, or still able to be."""
        return self.is_confirmed or not (self.record.is_abandoned or self.is_conflicted)


class Ledger:
    """Transactions, scripts, coins, labels and locks of one wallet."""

    def __init__(self, params: ChainParams) -> None:
        self.params = params
        self.cursor: Cursor | None = None
        self.keychains: dict[int, Keychain] = {}
        self.scripts: dict[bytes, tuple[int, int]] = {}
        """Keychain and index of every script that is ours."""
        self.txs: dict[Txid, WalletTx] = {}
        self.labels: dict[bytes, Label] = {}
        self.locked: set[OutPoint] = set()
        self.in_mempool: set[Txid] = set()
        self.next_order = 0
        self.gap = 100
        self._outputs: dict[OutPoint, TxOut] = {}  # every output to us, spent or not
        self._unspent: set[OutPoint] = set()
        self._spenders: dict[OutPoint, set[Txid]] = {}  # by every input of every transaction
        self._by_block: dict[BlockHash, set[Txid]] = {}
        self._conflicts: dict[BlockHash, set[Txid]] = {}
        self._writes: dict[bytes, bytes | None] = {}
        self.changed: list[Txid] = []
        """Transactions that came or changed since `take_changed`, for notifications."""

    # --- loading and writing ---

    def load_tx(self, record: TxRecord) -> None:
        wtx = WalletTx(parse_tx(record.raw), record)
        self._index(wtx)
        self.next_order = max(self.next_order, record.order + 1)

    def finish_load(self) -> None:
        for prevout in self._outputs:
            self._refresh(prevout)

    def take_writes(self) -> dict[bytes, bytes | None]:
        """What has to be written; None is a deletion."""
        writes, self._writes = self._writes, {}
        return writes

    def take_changed(self) -> list[Txid]:
        changed, self.changed = self.changed, []
        return changed

    def put(self, key: bytes, record: object) -> None:
        self._writes[key] = encode_record(record)

    def put_raw(self, key: bytes, value: bytes | None) -> None:
        self._writes[key] = value

    def set_cursor(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self._writes[CURSOR] = encode_cursor(cursor)

    def _store(self, wtx: WalletTx) -> None:
        self.put(tx_key(wtx.txid), wtx.record)
        self.changed.append(wtx.txid)

    # --- keychains ---

    def add_keychain(self, keychain: Keychain) -> None:
        self.keychains[keychain.number] = keychain
        self.put(keychain_key(keychain.number), keychain.record)
        self.top_up(keychain)

    def top_up(self, keychain: Keychain, at_least: int = 0) -> None:
        """Keep `gap` scripts beyond the next index."""
        end = max(keychain.record.next_index + self.gap, at_least)
        grown = False
        for index, scripts in keychain.extend(end):
            self._learn(keychain.number, index, scripts)
            self.put(script_key(keychain.number, index), list(scripts))
            grown = True
        if grown:
            self.put(keychain_key(keychain.number), keychain.record)

    def _learn(self, number: int, index: int, scripts: Sequence[bytes]) -> None:
        for script in scripts:
            self.scripts.setdefault(script, (number, index))

    def load_scripts(self, number: int, index: int, scripts: Sequence[bytes]) -> None:
        self._learn(number, index, scripts)

    def use_index(self, keychain: Keychain, index: int) -> None:
        """Note that an index is handed out or paid, and derive further."""
        if keychain.use(index):
            self.put(keychain_key(keychain.number), keychain.record)
            self.top_up(keychain)

    def is_mine(self, script: bytes) -> bool:
        return script in self.scripts

    def keychain_of(self, script: bytes) -> tuple[Keychain, int] | None:
        found = self.scripts.get(script)
        return None if found is None else (self.keychains[found[0]], found[1])

    # --- facts ---

    def is_relevant(self, tx: Tx) -> bool:
        """Whether it pays us, spends from us, or is known."""
        scripts, outputs = self.scripts, self._outputs
        return (
            any(output.script_pubkey in scripts for output in tx.outputs)
            or any(txin.prevout in outputs for txin in tx.inputs)
            or tx.txid in self.txs
        )

    def _index(self, wtx: WalletTx) -> None:
        tx = wtx.tx
        self.txs[tx.txid] = wtx
        if not tx.is_coinbase:
            for txin in tx.inputs:
                self._spenders.setdefault(txin.prevout, set()).add(tx.txid)
        for vout, output in enumerate(tx.outputs):
            if output.script_pubkey in self.scripts:
                self._outputs[tx.outpoint(vout)] = output
        if wtx.record.block:
            self._by_block.setdefault(BlockHash(wtx.record.block), set()).add(tx.txid)
        if wtx.record.conflict_block:
            self._conflicts.setdefault(BlockHash(wtx.record.conflict_block), set()).add(tx.txid)

    def _touch(self, tx: Tx) -> None:
        """Look again at the coins that a change of this transaction concerns."""
        for txin in tx.inputs:
            if txin.prevout in self._outputs:
                self._refresh(txin.prevout)
        for vout in range(len(tx.outputs)):
            prevout = tx.outpoint(vout)
            if prevout in self._outputs:
                self._refresh(prevout)

    def _refresh(self, prevout: OutPoint) -> None:
        if self.is_spent(prevout):
            self._unspent.discard(prevout)
        else:
            self._unspent.add(prevout)

    def add_tx(self, tx: Tx, now: int) -> WalletTx:
        """An unconfirmed transaction, or one already known. Its keys count as used."""
        wtx = self.txs.get(tx.txid)
        if wtx is None:
            wtx = WalletTx(tx, TxRecord(tx.raw, now, self.next_order))
            self.next_order += 1
            for output in tx.outputs:
                found = self.keychain_of(output.script_pubkey)
                if found is not None:
                    self.use_index(*found)
            self._index(wtx)
            self._store(wtx)
            self._touch(tx)
        return wtx

    def see_in_mempool(self, tx: Tx, now: int) -> None:
        wtx = self.add_tx(tx, now)
        self.in_mempool.add(tx.txid)
        if wtx.record.is_abandoned or wtx.is_conflicted:
            wtx.record.is_abandoned = False
            self._store(wtx)
        self._touch(tx)

    def left_mempool(self, tx: Tx) -> None:
        if tx.txid in self.in_mempool:
            self.in_mempool.discard(tx.txid)
            self.changed.append(tx.txid)

    def forget_tx(self, txid: Txid) -> None:
        """Remove a transaction, as if the wallet had never seen it."""
        wtx = self.txs.pop(txid)
        self.in_mempool.discard(txid)
        self._by_block.get(BlockHash(wtx.record.block), set()).discard(txid)
        self._clear_conflict(wtx)
        for txin in wtx.tx.inputs:
            spenders = self._spenders.get(txin.prevout)
            if spenders is not None:
                spenders.discard(txid)
                if not spenders:
                    del self._spenders[txin.prevout]
        self._touch(wtx.tx)
        for vout in range(len(wtx.tx.outputs)):
            prevout = wtx.tx.outpoint(vout)
            self._outputs.pop(prevout, None)
            self._unspent.discard(prevout)
        self._writes[tx_key(txid)] = None

    def connect(self, block: BlockHash, height: int, time: int, txs: Sequence[Tx], now: int) -> bool:
        """Note a block of the active chain; whether anything in it concerns the wallet."""
        found = False
        for position, tx in enumerate(txs):
            if position:
                found |= self._conflict_others(tx, block, height)
            if not self.is_relevant(tx):
                continue
            found = True
            self.confirm(tx, block, height, position, time, now)
        return found

    def confirm(self, tx: Tx, block: BlockHash, height: int, position: int, time: int, now: int) -> None:
        """Note a transaction of a block of the active chain, at `position` in it."""
        wtx = self.add_tx(tx, min(now, time) if tx.txid not in self.txs else now)
        record = wtx.record
        self._clear_conflict(wtx)
        record.block, record.height, record.position, record.block_time = block, height, position, time
        record.is_abandoned = False
        self.in_mempool.discard(tx.txid)
        self._by_block.setdefault(block, set()).add(tx.txid)
        self._store(wtx)
        self._touch(tx)

    def _clear_conflict(self, wtx: WalletTx) -> None:
        if wtx.record.conflict_block:
            self._conflicts.get(BlockHash(wtx.record.conflict_block), set()).discard(wtx.txid)
            wtx.record.conflict_block, wtx.record.conflict_height = b"", -1

    def _conflict_others(self, tx: Tx, block: BlockHash, height: int) -> bool:
        """Mark what can no longer be confirmed because `tx` is in a block."""
        losers: set[Txid] = set()
        for txin in tx.inputs:
            losers |= self._spenders.get(txin.prevout, _NO_TXIDS) - {tx.txid}
        if not losers:
            return False
        self._conflict_with_descendants(losers, block, height)
        return True

    def _conflict_with_descendants(self, losers: set[Txid], block: BlockHash, height: int) -> None:
        waiting = list(losers)
        while waiting:
            wtx = self.txs[waiting.pop()]
            if wtx.is_confirmed or wtx.record.conflict_block:
                continue
            wtx.record.conflict_block, wtx.record.conflict_height = block, height
            self._conflicts.setdefault(block, set()).add(wtx.txid)
            self.in_mempool.discard(wtx.txid)
            self._store(wtx)
            self._touch(wtx.tx)
            waiting += self.children(wtx)

    def disconnect(self, block: BlockHash) -> bool:
        """Take back what `connect` noted; whether there was anything."""
        confirmed = self._by_block.pop(block, set())
        conflicted = self._conflicts.pop(block, set())
        for txid in confirmed:
            wtx = self.txs[txid]
            record = wtx.record
            record.block, record.height, record.position, record.block_time = b"", -1, 0, 0
            if wtx.tx.is_coinbase:  # can only come back with its block
                record.is_abandoned = True
            self._store(wtx)
        for txid in conflicted:
            record = self.txs[txid].record
            record.conflict_block, record.conflict_height = b"", -1
            self._store(self.txs[txid])
        for txid in confirmed | conflicted:
            self._touch(self.txs[txid].tx)
        return bool(confirmed or conflicted)

    def abandon(self, wtx: WalletTx) -> None:
        """Give up an unconfirmed transaction and everything that spends from it."""
        waiting = [wtx.txid]
        while waiting:
            one = self.txs[waiting.pop()]
            if one.is_confirmed or one.record.is_abandoned:
                continue
            one.record.is_abandoned = True
            self._store(one)
            self._touch(one.tx)
            waiting += self.children(one)

    def update(self, wtx: WalletTx, change: Callable[[TxRecord], None]) -> None:
        """Change other facts of a transaction: comments, replacements."""
        change(wtx.record)
        self._store(wtx)

    # --- questions ---

    def children(self, wtx: WalletTx) -> list[Txid]:
        return [
            txid
            for vout in range(len(wtx.tx.outputs))
            for txid in self._spenders.get(wtx.tx.outpoint(vout), _NO_TXIDS)
        ]

    def conflicts(self, wtx: WalletTx) -> list[Txid]:
        """Other wallet transactions that spend one of its inputs."""
        found: set[Txid] = set()
        for txin in wtx.tx.inputs:
            found |= self._spenders.get(txin.prevout, _NO_TXIDS)
        return sorted(found - {wtx.txid})

    def is_spent(self, prevout: OutPoint) -> bool:
        return any(self.txs[txid].spends for txid in self._spenders.get(prevout, _NO_TXIDS))

    def output(self, prevout: OutPoint) -> TxOut | None:
        """An output to us, spent or not."""
        return self._outputs.get(prevout)

    def unspent(self) -> Iterator[tuple[OutPoint, TxOut, WalletTx]]:
        for prevout in self._unspent:
            yield prevout, self._outputs[prevout], self.txs[prevout.txid]

    def depth(self, wtx: WalletTx) -> int:
        """Confirmations; 0 while unconfirmed, negative when a block conflicts with it."""
        assert self.cursor is not None
        if wtx.is_confirmed:
            return self.cursor.height - wtx.record.height + 1
        if wtx.is_conflicted:
            return -(self.cursor.height - wtx.record.conflict_height + 1)
        return 0

    def blocks_to_maturity(self, wtx: WalletTx) -> int:
        if not wtx.tx.is_coinbase:
            return 0
        return max(0, self.params.coinbase_maturity + 1 - self.depth(wtx))

    def debit(self, tx: Tx) -> int:
        """What it spends of ours."""
        mine = (self._outputs.get(txin.prevout) for txin in tx.inputs)
        return sum(output.amount for output in mine if output is not None)

    def credit(self, tx: Tx) -> int:
        """What it pays to us."""
        return sum(output.amount for output in tx.outputs if output.script_pubkey in self.scripts)

    def is_all_from_me(self, tx: Tx) -> bool:
        return all(txin.prevout in self._outputs for txin in tx.inputs)

    def is_change(self, script: bytes) -> bool:
        """Ours and not in the address book (Core: ScriptIsChange)."""
        return script in self.scripts and script not in self.labels

    def is_trusted(self, wtx: WalletTx, seen: set[Txid] | None = None) -> bool:
        """Confirmed, or in the mempool and made by us of trusted coins (Core: CachedTxIsTrusted)."""
        depth = self.depth(wtx)
        if depth >= 1:
            return True
        if depth < 0 or wtx.txid not in self.in_mempool:
            return False
        seen = seen if seen is not None else set()
        for txin in wtx.tx.inputs:
            if txin.prevout not in self._outputs:
                return False
            parent = self.txs[txin.prevout.txid]
            if parent.txid in seen:
                continue
            if not self.is_trusted(parent, seen):
                return False
            seen.add(parent.txid)
        return True

    # --- labels and locks ---

    def set_label(self, script: bytes, label: Label) -> None:
        self.labels[script] = label
        self.put(label_key(script), label)

    def lock_coin(self, prevout: OutPoint, *, persistent: bool) -> None:
        self.locked.add(prevout)
        if persistent:
            self._writes[lock_key(prevout)] = b""

    def unlock_coin(self, prevout: OutPoint) -> None:
        self.locked.discard(prevout)
        self._writes[lock_key(prevout)] = None
