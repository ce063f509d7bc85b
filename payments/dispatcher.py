"""Hands events to endpoints: at least once, in order per invoice and endpoint, never waiting across.

Each endpoint is a *reader* of its store's event log with a position. What it refuses moves into a *lane* of the
invoice (one row, however many events wait behind it) and the reader goes on; the lane is tried again with growing
pauses. Nothing is copied: bodies are made from the log when they are sent. The position moves in the transaction
that records what became of the events up to it, so a crash repeats deliveries and never skips one.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from gldnode.ports import NodeHost
from payments import layout
from payments.endpoint import Endpoint, Target
from payments.events import Event
from payments.ids import new_short_id
from payments.layout import DeliveryRow, Lane, Parked, ReaderState, Redelivery
from payments.outgoing import OutgoingClient, OutgoingError
from payments.payloads import DeliveryNames
from payments.repository import event_log
from payments.signals import Bell
from storage.database import Database, Txn
from storage.documents import DocumentReader
from storage.errors import Unavailable

__all__ = ["Dispatcher"]

log = logging.getLogger(__name__)

PAUSES_S: Final = (10, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600)
UNREACHABLE_FOR_S: Final = 3 * 86_400
"""How long an endpoint that does not answer is tried."""
REFUSED_FOR_S: Final = 86_400
"""How long an event that the endpoint refuses holds back its invoice's later ones."""
WINDOW: Final = 256
READ_AT_ONCE: Final = 64
"""Events that one turn of the loop is spent on."""
AT_ONCE: Final = 16
LANES_AT_ONCE: Final = 4
CIRCUIT_FAILURES: Final = 8
CIRCUIT_PAUSES_S: Final = (10, 30, 60, 300, 600)
POLL_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What became of one delivery."""

    row: DeliveryRow
    is_success: bool
    was_sent: bool = True


@dataclass(slots=True)
class _Chain:
    """Events of one invoice that wait for their turn."""

    waiting: deque[Event] = field(default_factory=deque)


class Dispatcher:
    """One worker per reader."""

    def __init__(self, host: NodeHost, database: Database, bell: Bell, client: OutgoingClient) -> None:
        self._host = host
        self._database = database
        self._bell = bell
        self._client = client

    def start(self) -> None:
        """A worker for every reader there is."""
        with self._database.reader() as reader:
            names = [row[1:].decode() for row, _ in reader.iterate(prefix=b"y", keys_only=True)]
        for name in names:
            self.add(name)

    def add(self, reader: str) -> None:
        """A worker for a new reader."""
        self._host.spawn(f"payments: deliver {reader}", self._serve(reader))

    async def _serve(self, reader: str) -> None:
        """A worker, and another one in its place when its records could not be written (disk full)."""
        while True:
            try:
                await _Worker(self._host, self._database, self._bell, self._client, reader).run()
            except* Unavailable as errors:
                log.error("deliveries of %s were not recorded, trying again: %s", reader, errors.exceptions[0])
            else:
                return
            await asyncio.sleep(POLL_S)


class _Worker:
    """Reads one endpoint's events and sends them."""

    def __init__(
        self,
        host: NodeHost,
        database: Database,
        bell: Bell,
        client: OutgoingClient,
        reader: str,
    ) -> None:
        self._host = host
        self._database = database
        self._bell = bell
        self._client = client
        self._reader = reader
        self._endpoint = Endpoint(reader, host.params)
        self._state = ReaderState("", 0)
        self._cursor = 0
        self._unfinished: set[int] = set()
        self._chains: dict[str, _Chain] = {}
        self._lanes: dict[str, Lane] = {}
        self._lanes_busy: set[str] = set()
        self._manual_busy: set[str] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._progress = asyncio.Event()

    async def run(self) -> None:
        """Deliver until the endpoint is deleted."""
        if not self._load():
            return
        async with asyncio.TaskGroup() as tasks:
            while self._refresh():
                ring = self._bell.next_ring(self._endpoint.topic(self._state.store_id))
                is_behind = False
                if not self._is_closed():
                    self._start_lanes(tasks)
                    is_behind = self._start_events(tasks)
                self._start_manual(tasks)
                await self._save_position()
                if is_behind:
                    await asyncio.sleep(0)
                else:
                    await self._sleep(ring)

    def _load(self) -> bool:
        with self._database.reader() as reader:
            state = reader.get_record(layout.reader_key(self._reader), ReaderState)
            if state is None:
                return False
            self._state = state
            self._cursor = state.position
            prefix = layout.lane_key(self._reader)
            for row, lane in reader.iterate_records(prefix, Lane):
                self._lanes[row[len(prefix) :].decode()] = lane
        return True

    def _refresh(self) -> bool:
        """Take over what others changed in the rows; False when the endpoint is gone."""
        with self._database.reader() as reader:
            state = reader.get_record(layout.reader_key(self._reader), ReaderState)
            if state is None:
                return False
            self._state = state
            for invoice_id in self._lanes.keys() - self._lanes_busy:
                lane = reader.get_record(layout.lane_key(self._reader, invoice_id), Lane)
                if lane is not None:
                    self._lanes[invoice_id] = lane
        return True

    def _is_closed(self) -> bool:
        return self._state.closed_until > self._host.clock.now()

    def _is_probing(self) -> bool:
        """The circuit was open: one delivery at a time tries the endpoint."""
        return self._state.failures >= CIRCUIT_FAILURES

    async def _sleep(self, ring: asyncio.Event) -> None:
        """Until the store rings, something here has ended, or the next lane may be due."""
        now = self._host.clock.now()
        soonest = min(
            (lane.next_at for one, lane in self._lanes.items() if one not in self._lanes_busy), default=0
        )
        if self._is_closed():
            soonest = max(soonest, self._state.closed_until)
        pause = min(POLL_S, max(0.05, soonest - now)) if soonest else POLL_S
        waiters = [asyncio.create_task(ring.wait()), asyncio.create_task(self._progress.wait())]
        try:
            await asyncio.wait(waiters, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
        self._progress.clear()

    # Events

    def _start_events(self, tasks: asyncio.TaskGroup) -> bool:
        """Take events from the log while there is room. Whether there may be more, and room for them."""
        limit = 1 if self._is_probing() else WINDOW
        room = limit - len(self._unfinished)
        if room <= 0:
            return False
        with self._database.reader() as reader:
            target = self._endpoint.target(reader)
            self._cursor = max(self._cursor, self._endpoint.skips_to(reader, self._state.store_id))
            asked = min(room, READ_AT_ONCE)
            events = event_log(reader, self._state.store_id, self._cursor, asked)
            for event in events:
                self._cursor = event.seq
                if target is None or not self._endpoint.wants(reader, target, event):
                    continue
                key = event.invoice_id
                if key in self._lanes:
                    continue  # held back: the lane will come to it
                self._unfinished.add(event.seq)
                chain = self._chains.get(key)
                if chain is not None:
                    chain.waiting.append(event)
                    continue
                chain = self._chains[key] = _Chain(deque((event,)))
                tasks.create_task(self._run_chain(key, chain))
        return len(events) == asked and len(self._unfinished) < limit

    async def _run_chain(self, invoice_id: str, chain: _Chain) -> None:
        """Send one invoice's events in order; the first that fails becomes a lane."""
        while chain.waiting and invoice_id not in self._lanes:
            event = chain.waiting[0]
            async with self._slots:
                attempt = await self._send(event, self._new_id(), None)
            chain.waiting.popleft()
            self._unfinished.discard(event.seq)
            now = self._host.clock.now()
            parked = None
            if not attempt.is_success and self._endpoint.retries:
                self._lanes[invoice_id] = Lane(event.seq, attempt.row.original_id, 1, now + self._pause(1), now)
            elif not attempt.is_success:
                parked = (event.seq, Parked(attempt.row.original_id, now, attempt.row.error))
            if invoice_id in self._lanes:
                # Its later events are the lane's now.
                self._unfinished.difference_update(waiting.seq for waiting in chain.waiting)
                chain.waiting.clear()
            if not chain.waiting:
                del self._chains[invoice_id]
            await self._record(attempt, invoice_id, self._lanes.get(invoice_id), parked)
        self._progress.set()

    # Lanes

    def _start_lanes(self, tasks: asyncio.TaskGroup) -> None:
        now = self._host.clock.now()
        free = (1 if self._is_probing() else LANES_AT_ONCE) - len(self._lanes_busy)
        due = sorted(
            (lane.next_at, one)
            for one, lane in self._lanes.items()
            if one not in self._lanes_busy and lane.next_at <= now
        )
        for _, invoice_id in due[: max(0, free)]:
            self._lanes_busy.add(invoice_id)
            tasks.create_task(self._run_lane(invoice_id))

    async def _run_lane(self, invoice_id: str) -> None:
        """Try the lane's event; after a success go on with the invoice's next ones."""
        try:
            while True:
                lane = self._lanes[invoice_id]
                with self._database.reader() as reader:
                    event = self._next_wanted(reader, invoice_id, lane.next_seq)
                if event is None:
                    del self._lanes[invoice_id]
                    await self._record(None, invoice_id, None)
                    return
                is_first = event.seq != lane.next_seq or not lane.original_id
                attempt = await self._send(event, self._new_id(), None if is_first else lane.original_id)
                after = self._after_lane_attempt(lane, event, attempt)
                parked = Parked(attempt.row.original_id, self._host.clock.now(), attempt.row.error)
                gave_up = not attempt.is_success and after.next_seq > event.seq
                self._lanes[invoice_id] = after
                await self._record(attempt, invoice_id, after, (event.seq, parked) if gave_up else None)
                if not attempt.is_success and not gave_up:
                    return
        finally:
            self._lanes_busy.discard(invoice_id)
            self._progress.set()

    def _after_lane_attempt(self, lane: Lane, event: Event, attempt: _Attempt) -> Lane:
        now = self._host.clock.now()
        onward = Lane(event.seq + 1, "", 0, now, 0)
        if attempt.is_success:
            return onward
        since = lane.first_failed_at if lane.original_id and lane.next_seq == event.seq else now
        patience = REFUSED_FOR_S if attempt.row.http_code else UNREACHABLE_FOR_S
        if now - since >= patience or not self._endpoint.retries:
            log.warning("event %s of %s was given up: %s", event.id, self._reader, attempt.row.error)
            return onward
        attempts = lane.attempts + 1
        pause = min(self._pause(attempts), max(1, since + patience - now))
        return Lane(event.seq, attempt.row.original_id, attempts, now + pause, since)

    def _next_wanted(self, reader: DocumentReader, invoice_id: str, seq: int) -> Event | None:
        """The invoice's first event from `seq` on that the endpoint wants, up to where the reader is."""
        target = self._endpoint.target(reader)
        if target is None:
            return None
        prefix = layout.invoice_event_key(invoice_id)
        start = layout.invoice_event_key(invoice_id, seq)
        for row, _ in reader.iterate(prefix=prefix, start=start, keys_only=True):
            number = int.from_bytes(row[-8:], "big")
            if number > self._cursor:
                return None
            event = reader.get_record(layout.event_key(self._state.store_id, number), Event)
            if event is not None and self._endpoint.wants(reader, target, event):
                return event
        return None

    def _pause(self, attempts: int) -> int:
        """Seconds until the next attempt, a fifth more or less."""
        base = PAUSES_S[min(attempts, len(PAUSES_S)) - 1]
        return base + self._host.entropy.below(max(1, base * 2 // 5)) - base // 5

    # By hand

    def _start_manual(self, tasks: asyncio.TaskGroup) -> None:
        prefix = layout.redelivery_key(self._reader)
        with self._database.reader() as reader:
            wanted = list(reader.iterate_records(prefix, Redelivery))
        for row, redelivery in wanted[:AT_ONCE]:
            delivery_id = row[len(prefix) :].decode()
            if delivery_id not in self._manual_busy:
                self._manual_busy.add(delivery_id)
                tasks.create_task(self._run_manual(row, delivery_id, redelivery))

    async def _run_manual(self, row: bytes, delivery_id: str, redelivery: Redelivery) -> None:
        try:
            with self._database.reader() as reader:
                events = event_log(reader, self._state.store_id, redelivery.seq - 1, 1)
            attempt = None
            if events and events[0].seq == redelivery.seq:
                attempt = await self._send(events[0], delivery_id, redelivery.original_id)

            def record(txn: Txn) -> None:
                txn.delete(row)
                if attempt is not None:
                    self._put_delivery(txn, attempt)

            await self._database.transact(record)
        finally:
            self._manual_busy.discard(delivery_id)
            self._progress.set()

    # Sending

    def _new_id(self) -> str:
        return new_short_id(self._host.entropy)

    async def _send(self, event: Event, delivery_id: str, original_id: str | None) -> _Attempt:
        names = DeliveryNames(delivery_id, self._reader, original_id or delivery_id)
        row = DeliveryRow(delivery_id, names.original_id, event.seq, self._host.clock.now_ms())
        with self._database.reader() as reader:
            target: Target | None = self._endpoint.target(reader)
            request = self._endpoint.request(reader, target, event, names) if target is not None else None
        if request is None:
            return _Attempt(row, is_success=True, was_sent=False)
        try:
            answer = await self._client.post_json(request.url, request.body, request.headers)
        except OutgoingError as error:
            return _Attempt(_with(row, 0, str(error)), is_success=False)
        if 200 <= answer.status < 300:
            return _Attempt(_with(row, answer.status, ""), is_success=True)
        return _Attempt(_with(row, answer.status, f"HTTP Error Code {answer.status}"), is_success=False)

    async def _record(
        self,
        attempt: _Attempt | None,
        invoice_id: str,
        lane: Lane | None,
        parked: tuple[int, Parked] | None = None,
    ) -> None:
        """Write what became of an attempt, with the position it allows."""
        position = self._position()

        def write(txn: Txn) -> None:
            state = txn.get_record(layout.reader_key(self._reader), ReaderState)
            if state is None:
                return  # deleted meanwhile
            if attempt is not None and attempt.was_sent:
                self._put_delivery(txn, attempt)
                state = self._with_circuit(state, attempt)
            if lane is not None:
                txn.put_record(layout.lane_key(self._reader, invoice_id), lane)
            else:
                txn.delete(layout.lane_key(self._reader, invoice_id))
            if parked is not None:
                txn.put_record(layout.parked_key(self._reader, parked[0]), parked[1])
            state = ReaderState(state.store_id, max(state.position, position), state.failures, state.closed_until)
            txn.put_record(layout.reader_key(self._reader), state)

        await self._database.transact(write)

    def _with_circuit(self, state: ReaderState, attempt: _Attempt) -> ReaderState:
        """The circuit opens after failures in a row, and closes with a success."""
        if not self._endpoint.has_circuit:
            return state
        if attempt.is_success:
            return ReaderState(state.store_id, state.position)
        failures = state.failures + 1
        if failures < CIRCUIT_FAILURES:
            return ReaderState(state.store_id, state.position, failures, 0)
        step = min(failures - CIRCUIT_FAILURES, len(CIRCUIT_PAUSES_S) - 1)
        return ReaderState(
            state.store_id, state.position, failures, self._host.clock.now() + CIRCUIT_PAUSES_S[step]
        )

    def _put_delivery(self, txn: Txn, attempt: _Attempt) -> None:
        row = attempt.row
        key = layout.delivery_key(self._reader, row.at_ms, row.id)
        txn.put_record(key, row)
        txn.put(layout.delivery_id_key(row.id), key)

    def _position(self) -> int:
        """Everything up to here is done with."""
        return min(self._unfinished) - 1 if self._unfinished else self._cursor

    async def _save_position(self) -> None:
        """Move the stored position over events that nobody wanted. It may be lost: they are read again."""
        position = self._position()
        if position <= self._state.position:
            return

        def write(txn: Txn) -> None:
            state = txn.get_record(layout.reader_key(self._reader), ReaderState)
            if state is not None and position > state.position:
                moved = ReaderState(state.store_id, position, state.failures, state.closed_until)
                txn.put_record(layout.reader_key(self._reader), moved)

        await self._database.transact(write, sync=False)


def _with(row: DeliveryRow, http_code: int, error: str) -> DeliveryRow:
    return DeliveryRow(row.id, row.original_id, row.seq, row.at_ms, http_code, error[:200])
