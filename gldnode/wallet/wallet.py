"""One wallet: a follower of the chain with its own database, keys and addresses.

All state is in memory and in the event loop's thread; what a call or a block changes goes to the database in one
transaction, with the cursor where a block caused it. Calls that change something hold `lock`.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Self

from gldnode.bip32 import mnemonic_of
from gldnode.events import (
    BlockConnected,
    BlockDisconnected,
    ChainStep,
    Cursor,
    Hint,
    HintsLost,
    MempoolTxAdded,
    MempoolTxRemoved,
)
from gldnode.ports import NodeHost, UnknownCursor
from gldnode.primitives.block import parse_block
from gldnode.primitives.tx import OutPoint
from gldnode.wallet.errors import WalletError, WalletFault
from gldnode.wallet.keychain import Keychain
from gldnode.wallet.keyed import OUTPUT_TYPES, KeyedWallet
from gldnode.wallet.layout import (
    CURSOR,
    ENCRYPTION,
    META,
    SCHEMA,
    WORDS,
    Encryption,
    KeychainRecord,
    Label,
    Meta,
    TxRecord,
    decode_cursor,
)
from storage.database import Database
from storage.schema import ensure_schema

__all__ = ["OUTPUT_TYPES", "Wallet"]

log = logging.getLogger(__name__)

_STEPS_AT_ONCE: Final = 200
_RESEND_S: Final = 3600


class Wallet(KeyedWallet):
    """Open with `create` or `load`, then `follow` as a task."""

    # --- life ---

    @classmethod
    async def create(
        cls,
        name: str,
        host: NodeHost,
        database: Database,
        *,
        private_keys: bool = True,
        blank: bool = False,
        passphrase: str = "",
        avoid_reuse: bool = False,
        words: str | None = None,
    ) -> Self:
        """A new wallet in an empty database, following from the tip, or from genesis when restored from `words`.

        Raises DecodeError for words that are no mnemonic.
        """
        ensure_schema(database.kv, SCHEMA)
        wallet = cls(name, host, database)
        tip = host.chain.tip
        wallet.meta = Meta(
            created_at=host.clock.now(),
            has_private_keys=private_keys,
            is_blank=blank,
            avoid_reuse=avoid_reuse,
            birth_time=host.clock.now(),
        )
        start = Cursor(tip.hash, tip.height)
        if words is not None:
            start = Cursor(host.params.genesis.hash, 0)
            wallet.meta.birth_time = 0
        wallet.ledger.set_cursor(start)
        if passphrase:
            wallet._begin_encryption(passphrase)
        if private_keys and not blank:
            wallet.add_seed(words or mnemonic_of(host.entropy.bytes(16)))
        await wallet.save()
        if passphrase:
            wallet.lock_keys()
        return wallet

    @classmethod
    async def load(cls, name: str, host: NodeHost, database: Database) -> Self:
        """A wallet from its database. Raises StorageError, SchemaTooNew among them."""
        ensure_schema(database.kv, SCHEMA)
        wallet = cls(name, host, database)
        wallet._read()
        return wallet

    def _read(self) -> None:
        ledger = self.ledger
        with self.database.reader() as reader:
            meta = reader.get_record(META, Meta)
            cursor = reader.get(CURSOR)
            if meta is None or cursor is None:
                raise WalletError(WalletFault.WALLET, "Wallet file verification failed. Wallet has no records.")
            self.meta = meta
            self.encryption = reader.get_record(ENCRYPTION, Encryption)
            ledger.cursor = decode_cursor(cursor)
            for key, record in reader.iterate_records(b"k", KeychainRecord):
                number = int.from_bytes(key[1:], "big")
                ledger.keychains[number] = Keychain(number, record, self.host.params)
            for key, scripts in reader.iterate_records(b"s", list[bytes]):
                ledger.load_scripts(int.from_bytes(key[1:5], "big"), int.from_bytes(key[5:9], "big"), scripts)
            stored = [record for _, record in reader.iterate_records(b"t", TxRecord)]
            for tx_record in sorted(stored, key=lambda one: one.order):
                ledger.load_tx(tx_record)
            for key, label in reader.iterate_records(b"a", Label):
                ledger.labels[key[1:]] = label
            for key, _ in reader.iterate(prefix=b"l", keys_only=True):
                ledger.locked.add(OutPoint(key[1:]))
            words = reader.get(WORDS)
        ledger.finish_load()
        if self.encryption is None:
            self.words = words.decode() if words else None
            for keychain in ledger.keychains.values():
                if keychain.record.private:
                    keychain.unlock(keychain.record.private.decode())

    def close(self) -> None:
        self.is_closed = True
        self._key = None
        self._progress.set()
        self.database.close()

    # --- following ---

    async def follow(self) -> None:
        """Handle blocks and mempool hints until cancelled."""
        hints = self.host.hints(f"wallet {self.name}")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_chain(), name=f"wallet {self.name} blocks")
                await self.read_mempool()
                tasks.create_task(self._resend(), name=f"wallet {self.name} resend")
                async for hint in hints:
                    await self._take_hint(hint)
        finally:
            hints.close()

    async def _resend(self) -> None:
        """Offer own unconfirmed transactions again that the mempool has not: after a restart, and every hour."""
        while True:
            if self.host.option("walletbroadcast") != "0":
                await self.synced()
                for wtx in sorted(self.ledger.txs.values(), key=lambda one: one.record.order):
                    waits = not wtx.is_confirmed and wtx.spends and not wtx.tx.is_coinbase
                    if waits and not wtx.record.replaced_by and wtx.txid not in self.ledger.in_mempool:
                        await self.host.rebroadcast(wtx.tx)
            await asyncio.sleep(_RESEND_S)

    async def _follow_chain(self) -> None:
        told = False
        while True:
            cursor = self.ledger.cursor
            assert cursor is not None
            try:
                steps = await self.host.next_steps(cursor, _STEPS_AT_ONCE)
            except UnknownCursor:
                if not told:
                    log.warning(
                        "wallet %r is at block %s, which this node does not know: waiting for it",
                        self.name,
                        cursor.hash[::-1].hex(),
                    )
                    told = True
                await asyncio.sleep(1)
                continue
            async with self.lock:
                if cursor == self.ledger.cursor:  # a rescan may have moved it
                    await self._take_steps(steps)

    async def _take_steps(self, steps: Sequence[ChainStep]) -> None:
        found = False
        now = self.host.clock.now()
        for step in steps:
            match step:
                case BlockConnected():
                    found |= self.ledger.connect(
                        step.hash, step.height, step.block.header.time, step.block.txs, now
                    )
                    self.ledger.set_cursor(Cursor(step.hash, step.height))
                case BlockDisconnected():
                    found |= self.ledger.disconnect(step.hash)
                    self.ledger.set_cursor(Cursor(step.prev_hash, step.height - 1))
        await self.write(sync=found)
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()

    async def _take_hint(self, hint: Hint) -> None:
        match hint:
            case MempoolTxAdded():
                if self.ledger.is_relevant(hint.tx):
                    async with self.lock:
                        self.ledger.see_in_mempool(hint.tx, self.host.clock.now())
                        await self.write(sync=True)
            case MempoolTxRemoved():
                if hint.tx.txid in self.ledger.txs:
                    async with self.lock:
                        self.ledger.left_mempool(hint.tx)
                        if hint.replaced_by is not None:
                            replacement = hint.replaced_by
                            wtx = self.ledger.txs[hint.tx.txid]
                            self.ledger.update(wtx, lambda record: setattr(record, "replaced_by", replacement))
                        await self.write(sync=True)
            case HintsLost():
                await self.read_mempool()
            case _:
                pass

    async def read_mempool(self) -> None:
        """Compare with the whole mempool: at start and after an overflow of hints."""
        mempool = self.host.mempool
        async with self.lock:
            present = set(mempool.txids())
            for txid in self.ledger.in_mempool - present:
                self.ledger.left_mempool(self.ledger.txs[txid].tx)
            for count, txid in enumerate(present):
                info = mempool.get(txid)
                if info is not None and self.ledger.is_relevant(info.tx):
                    self.ledger.see_in_mempool(info.tx, self.host.clock.now())
                if count % 1000 == 999:
                    await asyncio.sleep(0)
            await self.write(sync=True)

    async def synced(self, timeout_s: float = 10.0) -> None:
        """Wait until the node's tip, as of now, is handled (Core: BlockUntilSyncedToCurrentChain)."""
        await asyncio.sleep(0)  # hints that are ready
        target = self.host.chain.tip
        try:
            async with asyncio.timeout(timeout_s):
                while self.ledger.cursor != Cursor(target.hash, target.height):
                    if self.is_closed:
                        return
                    progress = self._progress
                    await progress.wait()
                    target = self.host.chain.tip
        except TimeoutError:
            log.debug("wallet %r is still behind the tip", self.name)
        await asyncio.sleep(0)

    async def rescan(self, start: int, stop: int | None = None) -> int:
        """Read blocks `start` to `stop` (or the cursor) again for scripts learnt since; the last height read.

        The caller holds `lock`. Raises WalletError where a block is missing.
        """
        assert self.ledger.cursor is not None
        last = min(self.ledger.cursor.height, stop if stop is not None else self.ledger.cursor.height)
        self.scanning, self.abort_scan = (start, last), False
        try:
            for height in range(max(start, 0), last + 1):
                self.scanned_height = height
                if self.abort_scan:
                    return height - 1
                block_hash = self.host.chain.block_hash(height)
                data = None if block_hash is None else self.host.chain.block_bytes(block_hash)
                if data is None or block_hash is None:
                    if height == 0:
                        continue
                    raise WalletError(
                        WalletFault.MISC,
                        "Can't rescan beyond pruned data. Use RPC call getblockchaininfo to determine your "
                        "pruned height.",
                    )
                block = parse_block(data)
                if height:
                    self.ledger.connect(block_hash, height, block.header.time, block.txs, self.host.clock.now())
                if height % 16 == 0:
                    await asyncio.sleep(0)
            return last
        finally:
            self.scanning = None
            await self.write(sync=True)
