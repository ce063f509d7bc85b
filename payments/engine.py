"""The engine: a follower of the node that keeps the invoices' facts.

Three tasks: steps of the chain, hints of the mempool, and the clock. Each does its work in transactions of the
payments database, so they need no lock between them; the cursor moves in the transaction of what it brought.
A block may pay thousands of invoices: the transactions are in turns, and everybody else is served meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar

from gldnode.errors import DecodeError, NodeError
from gldnode.events import (
    BlockConnected,
    BlockDisconnected,
    ChainStep,
    Cursor,
    Hint,
    HintsLost,
    MempoolTxAdded,
    MempoolTxRefused,
    MempoolTxRemoved,
    RemovalReason,
    TipChanged,
    UnknownCursor,
)
from gldnode.ports import HintQueue, NodeHost
from gldnode.primitives.hashes import BlockHash, Txid
from gldnode.primitives.tx import parse_tx
from payments import layout
from payments.books import LedgerRules, Outcome
from payments.invoice import TipFacts
from payments.layout import CursorRow, SafeMode, Tracked, Watch
from payments.ledger import Ledger, keys_of
from payments.signals import Bell
from storage.database import Database, Txn
from storage.documents import DocumentReader
from storage.errors import Unavailable
from storage.turns import Pieces, in_turns

__all__ = ["Engine", "read_cursor"]

log = logging.getLogger(__name__)
T = TypeVar("T")

STEPS_AT_ONCE: Final = 64
SCRIPTS_AT_ONCE: Final = 50
HINTS_AT_ONCE: Final = 100
INBOX_LIMIT: Final = 20_000
TIMERS_AT_ONCE: Final = 25
"""A group holds up whoever wants an invoice for a few milliseconds; thousands may expire in one second."""
TICK_S: Final = 1.0
RETRY_S: Final = 5.0
REBROADCAST_S: Final = 600
CAREFUL_DEPTH: Final = 3
"""A reorganisation deeper than this starts the safe mode."""
SAFE_AGAIN_DEPTH: Final = 12
PAYMENT_VSIZE: Final = 100
"""What spending one more output is charged for, Greenfield's figure."""
FEE_TARGET: Final = 20


def read_cursor(reader: DocumentReader) -> Cursor | None:
    """The last block that the payments know."""
    row = reader.get_record(layout.CURSOR, CursorRow)
    return None if row is None else Cursor(BlockHash(row.hash), row.height)


class Engine:
    """Follows the node for one payments database. `cursor` is where it is."""

    def __init__(self, host: NodeHost, database: Database, bell: Bell) -> None:
        self._host = host
        self._database = database
        self._bell = bell
        self._inbox: list[Hint] = []
        self._inbox_filled = asyncio.Event()
        self._taking = 1  # the whole mempool, at first
        self._is_careful = host.option("safemode") not in ("0", "false")
        self._rules = LedgerRules(host.params.coinbase_maturity, self.payment_fee, host.chain.coin)
        cursor = read_cursor(database.reader())
        if cursor is None:
            tip = host.chain.tip
            cursor = Cursor(tip.hash, tip.height)
            database.transact_blocking(lambda txn: self._put_cursor(txn, cursor))
        elif not host.chain.has_blocks_after(cursor):
            raise NodeError(
                f"The payments have seen the chain up to height {cursor.height}, and blocks behind that have been "
                "pruned. Use -reindex to download the whole blockchain again, or -nopayments to run without them"
            )
        self._cursor = cursor

    @property
    def cursor(self) -> Cursor:
        return self._cursor

    @property
    def is_idle(self) -> bool:
        """Nothing that came from the mempool waits to be looked at."""
        return not self._inbox and not self._taking

    @property
    def rules(self) -> LedgerRules:
        return self._rules

    def payment_fee(self) -> int:
        """The network fee that a payer is charged for one more output, in grains."""
        mempool = self._host.mempool
        feerate = mempool.estimate_feerate_per_kvb(FEE_TARGET) or 0
        return max(feerate, mempool.min_feerate_per_kvb()) * PAYMENT_VSIZE // 1000

    def start(self) -> None:
        """Run the tasks in the node's care."""
        self._host.spawn("payments: chain", self.follow())
        self._host.spawn("payments: mempool", self.listen())
        self._host.spawn("payments: clock", self.keep_time())

    # The chain

    async def follow(self) -> None:
        """Take the chain's steps as they come."""
        while True:
            try:
                steps = await self._host.next_steps(self._cursor, STEPS_AT_ONCE, with_undo=True)
            except UnknownCursor:
                log.warning(
                    "Payments wait for block %s (height %d), which this node does not know yet",
                    self._cursor.hash[::-1].hex(),
                    self._cursor.height,
                )
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await self.apply(await self._whole_reorganisation(list(steps)))
            except Unavailable as error:
                # The disk is full, say: nothing of it is booked, and the cursor stands where it was.
                log.error("blocks were not booked, trying again: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _whole_reorganisation(self, steps: list[ChainStep]) -> list[ChainStep]:
        """`steps`, with what follows them while they end in the middle of a reorganisation.

        A payment that both branches have is then never told of as lost.
        """
        while isinstance(last := steps[-1], BlockDisconnected) and last.prev_hash != self._host.chain.tip.hash:
            cursor = Cursor(last.prev_hash, last.height - 1)
            steps += await self._host.next_steps(cursor, STEPS_AT_ONCE, with_undo=True)
        return steps

    async def apply(self, steps: Sequence[ChainStep]) -> None:
        """Book the steps and move the cursor, in one transaction."""
        last = steps[-1]
        height = last.height if isinstance(last, BlockConnected) else last.height - 1
        block = last.hash if isinstance(last, BlockConnected) else last.prev_hash
        cursor = Cursor(block, height)
        watched = await in_turns(self._watched_scripts(steps))
        now = self._host.clock.now()

        def book(txn: Txn) -> Pieces[tuple[Outcome, bool]]:
            safe = self._safety(txn, steps, height, now)
            ledger = self._ledger(txn, TipFacts(height, fresh=False, safe=safe), now)
            for step in steps:
                if isinstance(step, BlockConnected):
                    yield from ledger.connected(step, watched)
                else:
                    yield from ledger.disconnected(step)
            if safe:
                yield from _wake_waiting(txn, ledger)
            outcome = yield from ledger.finish_in_turns()
            has_changed = bool(txn.changes)
            # Here also where nobody is paid: what is booked behind this must not wait for a passed height.
            self._put_cursor(txn, cursor)
            return outcome, has_changed

        outcome, _ = await self._database.transact_in_turns(book, sync=lambda result: result[1])
        self._cursor = cursor
        await self._tell(outcome)

    def _watched_scripts(self, steps: Sequence[ChainStep]) -> Pieces[dict[bytes, Watch]]:
        """Those of the blocks' output scripts that are watched.

        A full block has thousands, which are looked up before the transaction: nobody waits for that. What is on
        the disk is enough: an address that is handed out meanwhile has not been paid in a block that is there
        already.
        """
        found: dict[bytes, Watch] = {}
        looked_up: set[bytes] = set()
        with self._database.reader() as reader:
            for step in steps:
                if not isinstance(step, BlockConnected):
                    continue
                for tx in step.block.txs:
                    for output in tx.outputs:
                        script = output.script_pubkey
                        if script in looked_up:
                            continue
                        looked_up.add(script)
                        watch = reader.get_record(layout.watch_key(script), Watch)
                        if watch is not None:
                            found[script] = watch
                        if len(looked_up) % SCRIPTS_AT_ONCE == 0:
                            yield
        return found

    def _safety(self, txn: Txn, steps: Sequence[ChainStep], height: int, now: int) -> bool:
        """Whether settlement goes on after these steps; begins and ends the safe mode."""
        if not self._is_careful:
            return True
        depth = sum(isinstance(step, BlockDisconnected) for step in steps)
        mode = txn.get_record(layout.SAFE_MODE, SafeMode)
        if depth > CAREFUL_DEPTH:
            fork = min(step.height for step in steps if isinstance(step, BlockDisconnected)) - 1
            mode = SafeMode(now, depth, fork + SAFE_AGAIN_DEPTH)
            txn.put_record(layout.SAFE_MODE, mode)
            log.warning("%d blocks were taken back: nothing settles before height %d", depth, mode.until_height)
        if mode is not None and height >= mode.until_height:
            txn.delete(layout.SAFE_MODE)
        return self._is_safe(txn, height, now)

    def _is_safe(self, txn: Txn, height: int, now: int) -> bool:
        """Whether there is no safe mode; begins one where a branch competes with the tip."""
        if not self._is_careful:
            return True
        if txn.get(layout.SAFE_MODE) is not None:
            return False
        rival = self._host.chain.rival()
        if rival is None or rival.fork_height + SAFE_AGAIN_DEPTH <= height:
            return True
        if rival.fork_height < int.from_bytes(txn.get(layout.ACKNOWLEDGED) or b"", "big"):
            return True
        until = rival.fork_height + SAFE_AGAIN_DEPTH
        mode = SafeMode(now, rival.height - rival.fork_height, until, contested=True)
        txn.put_record(layout.SAFE_MODE, mode)
        log.warning("A branch of %d blocks competes with the tip: nothing settles before %d", mode.depth, until)
        return False

    async def acknowledge(self) -> bool:
        """End the safe mode by the operator's word. Whether there was one."""

        def end(txn: Txn) -> Pieces[tuple[Outcome, bool]]:
            if txn.get(layout.SAFE_MODE) is None:
                return Outcome(), False
            height = self._height(txn)
            txn.delete(layout.SAFE_MODE)
            txn.put(layout.ACKNOWLEDGED, (height + 1).to_bytes(4, "big"))
            ledger = self._ledger(txn, TipFacts(height, fresh=False), self._host.clock.now())
            yield from _wake_waiting(txn, ledger)
            return (yield from ledger.finish_in_turns()), True

        outcome, ended = await self._database.transact_in_turns(end)
        await self._tell(outcome)
        return ended

    # The mempool

    async def listen(self) -> None:
        """Take the mempool's hints, in groups as large as they come."""
        queue = self._host.hints("payments")
        try:
            await self._persist([HintsLost()])
            self._taking = 0
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fill_inbox(queue), name="payments: hints")
                while True:
                    await self._inbox_filled.wait()
                    self._inbox_filled.clear()
                    hints, self._inbox = self._inbox, []
                    self._taking = len(hints)
                    await self._persist(hints)
                    self._taking = 0
        finally:
            queue.close()

    async def _persist(self, hints: Sequence[Hint]) -> None:
        """Take the hints; where they cannot be written, read the whole mempool until it can."""
        while True:
            try:
                await self.take_hints(hints)
            except Unavailable as error:
                log.error("payments were not booked, trying again: %s", error)
                await asyncio.sleep(RETRY_S)
                hints = [HintsLost()]
            else:
                return

    async def _fill_inbox(self, queue: HintQueue) -> None:
        while True:
            hint = await queue.get()
            if isinstance(hint, TipChanged):
                continue
            if len(self._inbox) >= INBOX_LIMIT:
                self._inbox = [HintsLost()]
            self._inbox.append(hint)
            self._inbox_filled.set()

    async def take_hints(self, hints: Sequence[Hint]) -> None:
        """Look at what the hints point to."""
        if any(isinstance(hint, HintsLost) for hint in hints):
            await self.reread_mempool()
            return
        for start in range(0, len(hints), HINTS_AT_ONCE):
            await self._book(partial(self._take_some, hints[start : start + HINTS_AT_ONCE]))

    def _take_some(self, hints: Sequence[Hint], ledger: Ledger) -> Pieces[None]:
        for hint in hints:
            yield from self._take_hint(ledger, hint)

    def _take_hint(self, ledger: Ledger, hint: Hint) -> Pieces[None]:
        match hint:
            case MempoolTxAdded(tx=tx):
                info = self._host.mempool.get(tx.txid)
                if info is not None:
                    yield from ledger.seen(info)
            case MempoolTxRemoved(tx=tx, reason=reason, replaced_by=by):
                if reason is RemovalReason.BLOCK:
                    return
                yield from ledger.freed(tx)
                if self._host.mempool.get(tx.txid) is not None:
                    yield from ledger.resolve(tx.txid)
                elif reason in (RemovalReason.CONFLICT, RemovalReason.REPLACED):
                    ledger.conflicted(tx.txid, by or b"")
                else:
                    yield from ledger.resolve(tx.txid)
            case MempoolTxRefused(conflicts_with=txids):
                for txid in txids:
                    ledger.contested(txid)
            case _:
                pass
        yield

    async def reread_mempool(self) -> None:
        """Compare the whole mempool with the books: at the start, and after lost hints."""
        txids = list(self._host.mempool.txids())
        for start in range(0, len(txids), HINTS_AT_ONCE):
            await self._book(partial(self._see_all, txids[start : start + HINTS_AT_ONCE]))
        tracked = self._tracked_txids()
        for start in range(0, len(tracked), HINTS_AT_ONCE):
            await self._book(partial(_resolve_all, tracked[start : start + HINTS_AT_ONCE]))

    def _tracked_txids(self) -> list[bytes]:
        with self._database.reader() as reader:
            return [row[1:] for row, _ in reader.iterate(prefix=layout.tracked_key(b""), keys_only=True)]

    def _see_all(self, txids: Sequence[bytes], ledger: Ledger) -> Pieces[None]:
        for txid in txids:
            info = self._host.mempool.get(Txid(txid))
            if info is not None:
                yield from ledger.seen(info)
            yield

    async def look_at(self, txid: bytes) -> bool:
        """Take a transaction from the mempool at once, without waiting for its hint. Whether it is there."""
        if self._host.mempool.get(Txid(txid)) is None:
            return False
        await self._book(partial(self._see_all, (txid,)))
        return True

    # The clock

    async def keep_time(self) -> None:
        """Record what the clock makes due, and offer unseen transactions again."""
        next_rebroadcast = self._host.clock.monotonic() + REBROADCAST_S
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
                if self._host.clock.monotonic() >= next_rebroadcast:
                    await self.rebroadcast()
                    next_rebroadcast = self._host.clock.monotonic() + REBROADCAST_S
            except Unavailable as error:
                log.error("the clock's changes were not booked, trying again: %s", error)
                await asyncio.sleep(RETRY_S)

    async def tick(self) -> None:
        """Record every transition that is due by now; only at a fresh tip."""
        while self._is_timer_due() and await self._host.wait_caught_up(self._cursor):
            if not await self._take_timers():
                return

    def _is_timer_due(self) -> bool:
        stop = layout.timer_key(self._host.clock.now() + 1)
        with self._database.reader() as reader:
            return next(reader.iterate(prefix=b"o", stop=stop, keys_only=True), None) is not None

    async def _take_timers(self) -> bool:
        """One group of timers; whether there may be more."""
        now = self._host.clock.now()
        cursor = self._cursor

        def book(ledger: Ledger, txn: Txn) -> Pieces[int]:
            if read_cursor(txn) != cursor:
                return 0  # blocks have come meanwhile: they go first
            rows = txn.iterate(prefix=b"o", stop=layout.timer_key(now + 1), keys_only=True)
            ids = [row[9:].decode() for (row, _), _ in zip(rows, range(TIMERS_AT_ONCE), strict=False)]
            for invoice_id in ids:
                ledger.touch(invoice_id)
                yield
            return len(ids)

        return await self._book_with(book, now, fresh=True) == TIMERS_AT_ONCE

    async def rebroadcast(self) -> None:
        """Offer the transactions again that left the mempool without a conflict."""
        with self._database.reader() as reader:
            raws = [
                tracked.raw
                for _, tracked in reader.iterate_records(layout.tracked_key(b""), Tracked)
                if not tracked.in_mempool and tracked.conflict_height < 0
            ]
        await self._rebroadcast(raws)

    async def _rebroadcast(self, raws: Sequence[bytes]) -> None:
        for raw in raws:
            try:
                await self._host.rebroadcast(parse_tx(raw))
            except DecodeError:
                log.exception("a stored transaction cannot be read")

    # Transactions

    def _ledger(self, txn: Txn, tip: TipFacts, now: int) -> Ledger:
        return Ledger(txn, self._host.mempool, self._rules, tip, now)

    def ledger(self, txn: Txn, now: int, *, fresh: bool = False) -> Ledger:
        """The books within the caller's transaction, as of the cursor there."""
        height = self._height(txn)
        return self._ledger(txn, TipFacts(height, fresh, self._is_safe(txn, height, now)), now)

    def _height(self, txn: Txn) -> int:
        """Where the books of the transaction are: before `cursor` knows, which waits for the disk.

        With an older height a payment that is deep enough would wait for a block that has been booked already.
        """
        cursor = read_cursor(txn)
        assert cursor is not None
        return cursor.height

    async def _book(self, work: Callable[[Ledger], Pieces[None]]) -> None:
        await self._book_with(lambda ledger, _: work(ledger), self._host.clock.now(), fresh=False)

    async def _book_with(self, work: Callable[[Ledger, Txn], Pieces[T]], now: int, *, fresh: bool) -> T:
        def book(txn: Txn) -> Pieces[tuple[Outcome, T]]:
            ledger = self.ledger(txn, now, fresh=fresh)
            result = yield from work(ledger, txn)
            return (yield from ledger.finish_in_turns()), result

        outcome, result = await self._database.transact_in_turns(book)
        await self._tell(outcome)
        return result

    async def _tell(self, outcome: Outcome) -> None:
        await in_turns(self._ring(outcome.topics))
        if outcome.rebroadcast:
            await self._rebroadcast(outcome.rebroadcast)

    def _ring(self, topics: Iterable[str]) -> Pieces[None]:
        for topic in topics:
            self._bell.ring((topic,))
            yield

    def _put_cursor(self, txn: Txn, cursor: Cursor) -> None:
        txn.put_record(layout.CURSOR, CursorRow(bytes(cursor.hash), cursor.height))


def _wake_waiting(txn: Txn, ledger: Ledger) -> Pieces[None]:
    for row in (yield from keys_of(txn, layout.waiting_key())):
        txn.delete(row)
        ledger.touch(row[1:].decode())
        yield


def _resolve_all(txids: Sequence[bytes], ledger: Ledger) -> Pieces[None]:
    for txid in txids:
        yield from ledger.resolve(txid)
        yield
