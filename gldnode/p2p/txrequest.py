"""Who is asked for which announced transaction, and when (Core: TxRequestTracker).

Each announcement is a candidate. One candidate at a time is asked; when it does not answer in time, says
notfound or leaves, the next one is: a silent peer delays a transaction, it cannot hold it back. Work is done at
the moment a candidate becomes ready or its time is up, never for all of them: a flood of announcements costs
memory within its bound and nothing at each tick.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from gldnode.primitives.hashes import sha256

__all__ = ["TxRequests"]

NONPREFERRED_DELAY_MS: Final = 2_000
"""Inbound peers wait: they are cheap to make, so an attacker would otherwise be asked first."""
TXID_RELAY_DELAY_MS: Final = 2_000
OVERLOADED_DELAY_MS: Final = 2_000
MAX_IN_FLIGHT: Final = 100
"""A peer with more requests under way is overloaded."""
MAX_ANNOUNCEMENTS: Final = 5_000
EXPIRY_MS: Final = 60_000


class _State(Enum):
    DELAYED = auto()
    READY = auto()
    CHOSEN = auto()
    """To be asked at the next opportunity."""
    ASKED = auto()
    DONE = auto()


@dataclass(slots=True)
class _Candidate:
    tx_hash: bytes
    peer_id: int
    is_wtxid: bool
    rank: tuple[bool, bytes]
    """Smaller is better: preferred peers first, then by a salted hash that nobody outside can steer."""
    state: _State = _State.DELAYED


class _Alarm(NamedTuple):
    """A tuple: the heap compares them by the thousand."""

    at_ms: int
    order: int
    """No two are alike, so that what follows is never compared."""
    candidate: _Candidate
    awaited: _State


class TxRequests:
    """All announcements that are not answered yet."""

    def __init__(self, salt: bytes = b"") -> None:
        self._salt = salt
        self._by_hash: dict[bytes, dict[int, _Candidate]] = {}
        self._by_peer: dict[int, dict[bytes, _Candidate]] = {}
        self._chosen: dict[int, dict[bytes, _Candidate]] = {}
        self._in_flight: dict[int, int] = {}
        self._alarms: list[_Alarm] = []
        self._order = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def count(self, peer_id: int) -> int:
        """Announcements of this peer that are still open."""
        return len(self._by_peer.get(peer_id, ()))

    def in_flight(self, peer_id: int) -> int:
        return self._in_flight.get(peer_id, 0)

    def announced(
        self,
        tx_hash: bytes,
        peer_id: int,
        *,
        is_wtxid: bool,
        preferred: bool,
        delay_txid: bool,
        now_ms: int,
        unlimited: bool = False,
    ) -> None:
        """A peer announced a transaction; beyond `MAX_ANNOUNCEMENTS` it is forgotten, unless it is `unlimited`."""
        mine = self._by_peer.setdefault(peer_id, {})
        if tx_hash in mine or (len(mine) >= MAX_ANNOUNCEMENTS and not unlimited):
            return
        delay = 0 if preferred else NONPREFERRED_DELAY_MS
        if delay_txid and not is_wtxid:
            delay += TXID_RELAY_DELAY_MS
        if not unlimited and self.in_flight(peer_id) >= MAX_IN_FLIGHT:
            delay += OVERLOADED_DELAY_MS
        rank = (not preferred, sha256(self._salt + peer_id.to_bytes(8, "little") + tx_hash)[:8])
        candidate = _Candidate(tx_hash, peer_id, is_wtxid, rank)
        self._count += 1
        mine[tx_hash] = candidate
        self._by_hash.setdefault(tx_hash, {})[peer_id] = candidate
        self._alarm(now_ms + delay, candidate)

    def _alarm(self, at_ms: int, candidate: _Candidate) -> None:
        self._order += 1
        heapq.heappush(self._alarms, _Alarm(at_ms, self._order, candidate, candidate.state))

    def forget(self, *tx_hashes: bytes) -> None:
        """The transaction arrived, or nobody wants it any more."""
        for tx_hash in tx_hashes:
            for candidate in list(self._by_hash.get(tx_hash, {}).values()):
                self._set(candidate, _State.DONE)
                self._remove(candidate)

    def refused(self, tx_hash: bytes, peer_id: int) -> None:
        """The peer answered notfound, or something that does not help."""
        candidate = self._by_peer.get(peer_id, {}).get(tx_hash)
        if candidate is not None:
            self._finish(candidate)

    def peer_gone(self, peer_id: int) -> None:
        for tx_hash, candidate in list(self._by_peer.get(peer_id, {}).items()):
            self._set(candidate, _State.DONE)
            self._remove(candidate)
            self._settle(tx_hash)
        self._by_peer.pop(peer_id, None)
        self._chosen.pop(peer_id, None)
        self._in_flight.pop(peer_id, None)

    def due(self, peer_id: int, now_ms: int) -> Iterator[tuple[bytes, bool]]:
        """(hash, is it a wtxid) of what to ask this peer for now; each is then under way."""
        self.advance(now_ms)
        if not self._chosen.get(peer_id):
            return
        for tx_hash, candidate in list(self._chosen[peer_id].items()):
            self._set(candidate, _State.ASKED)
            self._alarm(now_ms + EXPIRY_MS, candidate)
            yield tx_hash, candidate.is_wtxid

    def advance(self, now_ms: int) -> None:
        """Let time pass: candidates become ready, unanswered requests are given up."""
        while self._alarms and self._alarms[0].at_ms <= now_ms:
            alarm = heapq.heappop(self._alarms)
            candidate = alarm.candidate
            if candidate.state is not alarm.awaited:
                continue
            if candidate.state is _State.DELAYED:
                self._set(candidate, _State.READY)
                self._choose(candidate.tx_hash)
            elif candidate.state is _State.ASKED:
                self._finish(candidate)
        if len(self._alarms) > 1_000 and len(self._alarms) > 4 * len(self):
            self._alarms = [alarm for alarm in self._alarms if alarm.candidate.state is alarm.awaited]
            heapq.heapify(self._alarms)

    def _choose(self, tx_hash: bytes) -> None:
        """Choose whom to ask; nobody while somebody is being asked."""
        best: _Candidate | None = None
        for candidate in self._by_hash.get(tx_hash, {}).values():
            if candidate.state is _State.ASKED:
                return
            if candidate.state in (_State.READY, _State.CHOSEN) and (best is None or candidate.rank < best.rank):
                best = candidate
        for candidate in self._by_hash.get(tx_hash, {}).values():
            if candidate.state is _State.CHOSEN and candidate is not best:
                self._set(candidate, _State.READY)
        if best is not None and best.state is _State.READY:
            self._set(best, _State.CHOSEN)

    def _set(self, candidate: _Candidate, state: _State) -> None:
        if candidate.state is _State.ASKED:
            self._in_flight[candidate.peer_id] -= 1
        elif candidate.state is _State.CHOSEN:
            self._chosen[candidate.peer_id].pop(candidate.tx_hash, None)
        if state is _State.ASKED:
            self._in_flight[candidate.peer_id] = self.in_flight(candidate.peer_id) + 1
        elif state is _State.CHOSEN:
            self._chosen.setdefault(candidate.peer_id, {})[candidate.tx_hash] = candidate
        candidate.state = state

    def _finish(self, candidate: _Candidate) -> None:
        """It will not give the transaction: the next one; when nobody is left the transaction is forgotten."""
        self._set(candidate, _State.DONE)
        self._settle(candidate.tx_hash)

    def _settle(self, tx_hash: bytes) -> None:
        """A candidate has dropped out."""
        candidates = self._by_hash.get(tx_hash, {})
        if all(other.state is _State.DONE for other in candidates.values()):
            for other in list(candidates.values()):
                self._remove(other)
        else:
            self._choose(tx_hash)

    def _remove(self, candidate: _Candidate) -> None:
        self._by_peer[candidate.peer_id].pop(candidate.tx_hash, None)
        candidates = self._by_hash.get(candidate.tx_hash)
        if candidates is not None:
            self._count -= candidates.pop(candidate.peer_id, None) is not None
            if not candidates:
                del self._by_hash[candidate.tx_hash]
