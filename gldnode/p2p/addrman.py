"""The address manager: where to find peers, safe against whoever tells us many addresses.

Bitcoin Core's design. *New* addresses were told, *tried* ones have been connected to. The bucket of a new address
follows from its source's group and its own, so one source reaches few buckets; the bucket of a tried one from its
own group. A secret key keeps others from predicting either. Pure: time and randomness are arguments.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gldnode.entropy import Entropy
from gldnode.p2p.asmap import NetGroups
from gldnode.p2p.messages import TimedAddress
from gldnode.p2p.netaddress import NetAddress, Network
from gldnode.primitives.hashes import sha256

__all__ = ["AddressManager", "KnownAddress"]

NEW_BUCKETS: Final = 1024
TRIED_BUCKETS: Final = 256
BUCKET_SIZE: Final = 64
NEW_BUCKETS_PER_SOURCE: Final = 64
TRIED_BUCKETS_PER_GROUP: Final = 8
NEW_BUCKETS_PER_ADDRESS: Final = 8
HORIZON_S: Final = 30 * 86_400
"""An address not heard of for this long is terrible."""
RETRIES: Final = 3
MAX_FAILURES: Final = 10
MIN_FAIL_S: Final = 7 * 86_400
REPLACEMENT_S: Final = 4 * 3600
MAX_COLLISIONS: Final = 10
FILE_VERSION: Final = 1


@dataclass(slots=True)
class KnownAddress:
    """What is known of one address."""

    address: NetAddress
    source: NetAddress
    services: int
    time: int
    """When somebody last said that it was up, Unix seconds."""
    last_try: int = 0
    last_success: int = 0
    attempts: int = 0
    """Failed ones since the last success."""
    tried: bool = False
    places: int = 0
    """In how many new buckets it stands."""

    def is_terrible(self, now: int) -> bool:
        """Whether it may be dropped (Core: IsTerrible)."""
        if self.last_try and now - self.last_try < 60:
            return False
        if self.time > now + 600 or now - self.time > HORIZON_S:
            return True
        if not self.last_success and self.attempts >= RETRIES:
            return True
        return now - self.last_success > MIN_FAIL_S and self.attempts >= MAX_FAILURES

    def chance(self, now: int) -> float:
        """How willingly it is chosen: less after recent tries and failures."""
        chance = 1.0
        if now - self.last_try < 600:
            chance *= 0.01
        return chance * 0.66 ** min(self.attempts, 8)


class AddressManager:
    """All known addresses, in buckets."""

    def __init__(self, entropy: Entropy, key: bytes | None = None, groups: NetGroups | None = None) -> None:
        self._entropy = entropy
        self._groups = groups or NetGroups()
        self._key = key or entropy.bytes(32)
        self._known: dict[NetAddress, KnownAddress] = {}
        self._new: dict[tuple[int, int], NetAddress] = {}
        self._tried: dict[tuple[int, int], NetAddress] = {}
        self._collisions: dict[NetAddress, NetAddress] = {}
        """Good addresses whose place among the tried ones is taken, and by whom: a feeler finds out who stays."""
        self._dirty = False

    def __len__(self) -> int:
        return len(self._known)

    def get(self, address: NetAddress) -> KnownAddress | None:
        return self._known.get(address)

    def counts(self) -> dict[Network, tuple[int, int]]:
        """(new, tried) for each network."""
        found: dict[Network, tuple[int, int]] = {}
        for known in list(self._known.values()):
            new, tried = found.get(known.address.network, (0, 0))
            found[known.address.network] = (new + (not known.tried), tried + known.tried)
        return found

    def places(self) -> tuple[dict[tuple[int, int], KnownAddress], dict[tuple[int, int], KnownAddress]]:
        """The new and the tried table: what stands at which bucket and position."""
        new, tried = (
            {place: self._known[address] for place, address in list(table.items()) if address in self._known}
            for table in (self._new, self._tried)
        )
        return new, tried

    # -- buckets --

    def _hash(self, *parts: bytes) -> int:
        named = b"".join(bytes((len(part),)) + part for part in parts)
        return int.from_bytes(sha256(self._key + named)[:8], "little")

    def _name(self, address: NetAddress) -> bytes:
        return bytes((address.network,)) + address.raw + address.port.to_bytes(2, "big")

    def _new_place(self, address: NetAddress, source: NetAddress) -> tuple[int, int]:
        from_group = self._groups.group(source)
        spread = self._hash(b"n", self._groups.group(address), from_group) % NEW_BUCKETS_PER_SOURCE
        bucket = self._hash(b"n", from_group, bytes((spread,))) % NEW_BUCKETS
        return bucket, self._slot(b"N", bucket, address)

    def _tried_place(self, address: NetAddress) -> tuple[int, int]:
        spread = self._hash(b"t", self._name(address)) % TRIED_BUCKETS_PER_GROUP
        bucket = self._hash(b"t", self._groups.group(address), bytes((spread,))) % TRIED_BUCKETS
        return bucket, self._slot(b"K", bucket, address)

    def _slot(self, table: bytes, bucket: int, address: NetAddress) -> int:
        return self._hash(table, bucket.to_bytes(2, "little"), self._name(address)) % BUCKET_SIZE

    # -- learning --

    def add(self, found: Iterable[TimedAddress], source: NetAddress, now: int, penalty_s: int = 0) -> int:
        """Addresses that `source` told us; how many are new. `penalty_s` makes gossip look older than it says."""
        return sum(self._add_one(item, source, now, penalty_s) for item in found)

    def _add_one(self, item: TimedAddress, source: NetAddress, now: int, penalty_s: int) -> bool:
        if not item.address.is_routable or not item.address.port:
            return False
        time = max(0, item.time - (0 if item.address == source else penalty_s))
        known = self._known.get(item.address)
        if known is not None:
            if time > known.time + 3600:
                known.time = time
                self._dirty = True
            known.services |= item.services
            if known.tried or known.places >= NEW_BUCKETS_PER_ADDRESS:
                return False
            if known.places and self._entropy.below(1 << known.places):
                return False  # each further bucket is half as likely
        else:
            known = KnownAddress(item.address, source, item.services, time)
        return self._put_new(known, source, now)

    def _put_new(self, known: KnownAddress, source: NetAddress, now: int) -> bool:
        place = self._new_place(known.address, source)
        there = self._new.get(place)
        if there == known.address:
            return False
        if there is not None:
            old = self._known[there]
            if not (old.is_terrible(now) or (old.places > 1 and not known.places)):
                return False
            self._clear_new(place)
        is_new = known.address not in self._known
        self._known[known.address] = known
        self._new[place] = known.address
        known.places += 1
        self._dirty = True
        return is_new

    def _clear_new(self, place: tuple[int, int]) -> None:
        address = self._new.pop(place)
        known = self._known[address]
        known.places -= 1
        if not known.places and not known.tried:
            del self._known[address]

    def attempted(self, address: NetAddress, now: int, *, failed: bool) -> None:
        """We tried to connect."""
        known = self._known.get(address)
        if known is not None:
            known.last_try = now
            known.attempts += failed
            self._dirty = True

    def connected(self, address: NetAddress, now: int) -> None:
        """The address is still good; its time moves every 20 minutes at most: gossip must not show our peers."""
        known = self._known.get(address)
        if known is not None and now - known.time > 20 * 60:
            known.time = now

    def succeeded(self, address: NetAddress, now: int) -> None:
        """A handshake with it ended well: it belongs to the tried ones."""
        known = self._known.get(address)
        if known is None:
            return
        known.last_success = known.last_try = now
        known.attempts = 0
        self._dirty = True
        if known.tried:
            return
        place = self._tried_place(address)
        there = self._tried.get(place)
        if there is not None:
            other = self._known[there]
            if now - other.last_success < REPLACEMENT_S:
                self._collisions.pop(address, None)
                return  # the one that stands there has proven itself lately
            if not (other.last_try > other.last_success and now - other.last_try < REPLACEMENT_S):
                if len(self._collisions) < MAX_COLLISIONS:
                    self._collisions[address] = there
                return  # test before evicting: a feeler will try the one that stands there
            self._collisions.pop(address, None)
            other.tried = False
            del self._tried[place]
            other.places = 0
            if not self._put_new(other, other.source, now) and not other.places:
                self._known.pop(there, None)
        for new_place in [key for key, value in self._new.items() if value == address]:
            del self._new[new_place]
        known.places = 0
        known.tried = True
        self._known[address] = known
        self._tried[place] = address

    def collision(self) -> KnownAddress | None:
        """A tried address that another wants to replace, to be tested by a feeler."""
        while self._collisions:
            address, there = next(iter(self._collisions.items()))
            del self._collisions[address]
            tested, wanting = self._known.get(there), self._known.get(address)
            if tested is not None and tested.tried and wanting is not None and not wanting.tried:
                return tested
        return None

    # -- choosing --

    def select(
        self, now: int, *, new_only: bool = False, networks: frozenset[Network] | None = None
    ) -> KnownAddress | None:
        """One to connect to: as often tried as new, the better the likelier. None when there is none."""
        tables = [table for table in ((self._new,) if new_only else (self._tried, self._new)) if table]
        if not tables:
            return None
        table = tables[self._entropy.below(len(tables))]
        places = list(table)
        factor = 1.0
        for _ in range(500):
            known = self._known[table[places[self._entropy.below(len(places))]]]
            if networks is not None and known.address.network not in networks:
                continue
            if self._entropy.below(1 << 30) < known.chance(now) * factor * (1 << 30):
                return known
            factor *= 1.2
        return None

    def sample(self, count: int, percent: int, now: int, network: Network | None = None) -> list[TimedAddress]:
        """At random at most `count`, and at most `percent` of all (0: no such bound); terrible ones left out."""
        fit = [
            known
            for known in list(self._known.values())
            if (network is None or known.address.network is network) and not known.is_terrible(now)
        ]
        most = min(count or len(fit), len(fit) * percent // 100 if percent else len(fit))
        for i in range(most):
            j = i + self._entropy.below(len(fit) - i)
            fit[i], fit[j] = fit[j], fit[i]
        return [TimedAddress(known.time, known.services, known.address) for known in fit[:most]]

    # -- peers.json --

    def dump(self, path: Path) -> None:
        """Write all addresses, atomically, when something has changed."""
        if not self._dirty and path.exists():
            return
        rows = [
            [
                *(int(known.address.network), known.address.raw.hex(), known.address.port),
                *(int(known.source.network), known.source.raw.hex(), known.source.port),
                *(known.services, known.time, known.last_try, known.last_success, known.attempts, known.tried),
            ]
            for known in list(self._known.values())
        ]
        text = json.dumps({"version": FILE_VERSION, "key": self._key.hex(), "addresses": rows})
        part = path.with_suffix(".new")
        part.write_text(text, encoding="ascii")
        part.replace(path)
        self._dirty = False

    @classmethod
    def load(cls, path: Path, entropy: Entropy, now: int, groups: NetGroups | None = None) -> "AddressManager":
        """What `dump` wrote; an empty one when there is no file or it cannot be read: peers can be found anew.

        The buckets are found afresh, as `groups` has them now.
        """
        try:
            stored = json.loads(path.read_text(encoding="ascii"))
            if stored["version"] != FILE_VERSION:
                return cls(entropy, groups=groups)
            manager = cls(entropy, bytes.fromhex(stored["key"]), groups)
            for row in stored["addresses"]:
                manager._restore(row, now)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return cls(entropy, groups=groups)
        return manager

    def _restore(self, row: list[Any], now: int) -> None:
        network, raw, port, source_network, source_raw, source_port, *rest = row
        address = NetAddress(Network(network), bytes.fromhex(raw), int(port))
        source = NetAddress(Network(source_network), bytes.fromhex(source_raw), int(source_port))
        services, time, last_try, last_success, attempts, tried = (int(value) for value in rest)
        known = KnownAddress(address, source, services, time, last_try, last_success, attempts)
        place = self._tried_place(address)
        if tried and place not in self._tried:
            known.tried = True
            self._known[address] = known
            self._tried[place] = address
        else:
            self._put_new(known, source, now)
