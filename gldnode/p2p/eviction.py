"""Whom to drop when every inbound slot is taken and one more knocks (Core: SelectNodeToEvict). Pure."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["EvictionCandidate", "select_for_eviction"]

PROTECTED_BY_GROUP = 4
PROTECTED_BY_PING = 8
PROTECTED_BY_TX = 4
PROTECTED_BY_BLOCK = 4


@dataclass(frozen=True, slots=True)
class EvictionCandidate:
    """An inbound peer that no permission protects."""

    id: int
    connected_at: int
    min_ping_ms: int
    last_block_at: int
    last_tx_at: int
    keyed_group: int
    """The address group behind a secret hash: an attacker cannot choose it."""
    group: bytes
    prefer_evict: bool = False
    """Discouraged earlier."""


def _protect(
    candidates: list[EvictionCandidate], best: Callable[[EvictionCandidate], object], count: int
) -> list[EvictionCandidate]:
    """Without the `count` best (largest by `best`)."""
    ordered = sorted(candidates, key=best)  # type: ignore[arg-type]
    return ordered[: max(0, len(ordered) - count)]


def select_for_eviction(candidates: Sequence[EvictionCandidate]) -> int | None:
    """The id of the peer to drop, None when all are protected.

    Protected are those that an attacker would find hard to imitate: some by address group, lowest ping, latest
    new transaction and block, and half of the rest by longest connection. Of what is left, the youngest of the
    most numerous group goes.
    """
    left = list(candidates)
    left = _protect(left, lambda peer: peer.keyed_group, PROTECTED_BY_GROUP)
    left = _protect(left, lambda peer: -peer.min_ping_ms, PROTECTED_BY_PING)
    left = _protect(left, lambda peer: peer.last_tx_at, PROTECTED_BY_TX)
    left = _protect(left, lambda peer: peer.last_block_at, PROTECTED_BY_BLOCK)
    left = _protect(left, lambda peer: -peer.connected_at, len(left) // 2)
    if not left:
        return None
    if any(peer.prefer_evict for peer in left):
        left = [peer for peer in left if peer.prefer_evict]
    groups: dict[bytes, list[EvictionCandidate]] = defaultdict(list)
    for peer in left:
        groups[peer.group].append(peer)
    largest = max(groups.values(), key=lambda peers: (len(peers), max(peer.connected_at for peer in peers)))
    return max(largest, key=lambda peer: (peer.connected_at, peer.id)).id
