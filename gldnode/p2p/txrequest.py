"""Who is asked for which announced transaction, and when (Core: TxRequestTracker).

Each announcement is a candidate. One candidate at a time is asked; when it does not answer in time, says
notfound or leaves, the next one is: a silent peer delays a transaction, it cannot hold it back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["TxRequests"]

NONPREFERRED_DELAY_MS: Final = 2_000
"""Inbound peers wait: they are cheap to make, so an attacker would otherwise be asked first."""
TXID_RELAY_DELAY_MS: Final = 2_000
OVERLOADED_DELAY_MS: Final = 2_000
MAX_IN_FLIGHT: Final = 100
"""A peer with more requests under way is overloaded."""
MAX_ANNOUNCEMENTS: Final = 5_000
EXPIRY_MS: Final = 60_000


@dataclass(slots=True)
class _Candidate:
    peer_id: int
    is_wtxid: bool
    preferred: bool
    ready_at_ms: int
    asked_until_ms: int = 0
    """0 when not asked."""
    failed: bool = False


class TxRequests:
    """All announcements that are not answered yet."""

    def __init__(self) -> None:
        self._by_hash: dict[bytes, list[_Candidate]] = {}
        self._by_peer: dict[int, dict[bytes, _Candidate]] = {}
        self._in_flight: dict[int, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_hash.values()))

    def count(self, peer_id: int) -> int:
        """Announcements of this peer that are still open."""
        return len(self._by_peer.get(peer_id, ()))

    def in_flight(self, peer_id: int) -> int:
        return self._in_flight.get(peer_id, 0)

    def announced(
        self, tx_hash: bytes, peer_id: int, *, is_wtxid: bool, preferred: bool, delay_txid: bool, now_ms: int
    ) -> None:
        """A peer announced a transaction; beyond `MAX_ANNOUNCEMENTS` it is forgotten (preferred peers go on)."""
        mine = self._by_peer.setdefault(peer_id, {})
        if tx_hash in mine or (len(mine) >= MAX_ANNOUNCEMENTS and not preferred):
            return
        delay = 0 if preferred else NONPREFERRED_DELAY_MS
        if delay_txid and not is_wtxid:
            delay += TXID_RELAY_DELAY_MS
        if not preferred and self.in_flight(peer_id) >= MAX_IN_FLIGHT:
            delay += OVERLOADED_DELAY_MS
        candidate = _Candidate(peer_id, is_wtxid, preferred, now_ms + delay)
        mine[tx_hash] = candidate
        self._by_hash.setdefault(tx_hash, []).append(candidate)

    def forget(self, *tx_hashes: bytes) -> None:
        """The transaction arrived, or nobody wants it any more."""
        for tx_hash in tx_hashes:
            for candidate in self._by_hash.pop(tx_hash, ()):
                self._drop(tx_hash, candidate)

    def refused(self, tx_hash: bytes, peer_id: int) -> None:
        """The peer answered notfound, or something that does not help."""
        candidate = self._by_peer.get(peer_id, {}).get(tx_hash)
        if candidate is not None:
            self._fail(candidate)
            self._clean(tx_hash)

    def peer_gone(self, peer_id: int) -> None:
        for tx_hash, candidate in list(self._by_peer.get(peer_id, {}).items()):
            left = self._by_hash[tx_hash]
            left.remove(candidate)
            if not left:
                del self._by_hash[tx_hash]
        self._by_peer.pop(peer_id, None)
        self._in_flight.pop(peer_id, None)

    def due(self, peer_id: int, now_ms: int) -> Iterator[tuple[bytes, bool]]:
        """(hash, is it a wtxid) of what to ask this peer for now; each is then under way."""
        for tx_hash, candidate in list(self._by_peer.get(peer_id, {}).items()):
            if candidate.failed or candidate.asked_until_ms or candidate.ready_at_ms > now_ms:
                continue
            if self._best(tx_hash, now_ms) is candidate:
                candidate.asked_until_ms = now_ms + EXPIRY_MS
                self._in_flight[peer_id] = self.in_flight(peer_id) + 1
                yield tx_hash, candidate.is_wtxid

    def expire(self, now_ms: int) -> None:
        """Give up on requests that were not answered in time."""
        for tx_hash in list(self._by_hash):
            for candidate in self._by_hash[tx_hash]:
                if candidate.asked_until_ms and candidate.asked_until_ms <= now_ms:
                    self._fail(candidate)
            self._clean(tx_hash)

    def _best(self, tx_hash: bytes, now_ms: int) -> _Candidate | None:
        """Whom to ask; nobody while somebody is being asked."""
        best: _Candidate | None = None
        for candidate in self._by_hash[tx_hash]:
            if candidate.asked_until_ms and not candidate.failed:
                return None
            if candidate.failed or candidate.ready_at_ms > now_ms:
                continue
            if best is None or (candidate.preferred and not best.preferred):
                best = candidate
        return best

    def _fail(self, candidate: _Candidate) -> None:
        if candidate.asked_until_ms and not candidate.failed:
            self._in_flight[candidate.peer_id] -= 1
        candidate.failed = True

    def _clean(self, tx_hash: bytes) -> None:
        """Forget a transaction that nobody is left to ask for."""
        candidates = self._by_hash.get(tx_hash)
        if candidates is not None and all(candidate.failed for candidate in candidates):
            del self._by_hash[tx_hash]
            for candidate in candidates:
                self._by_peer[candidate.peer_id].pop(tx_hash, None)

    def _drop(self, tx_hash: bytes, candidate: _Candidate) -> None:
        if candidate.asked_until_ms and not candidate.failed:
            self._in_flight[candidate.peer_id] -= 1
        self._by_peer[candidate.peer_id].pop(tx_hash, None)
