"""The address manager, bans and eviction: what an attacker cannot buy."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gldnode.errors import DecodeError
from gldnode.p2p.addrman import NEW_BUCKETS_PER_SOURCE, AddressManager
from gldnode.p2p.bans import BanList, parse_subnet
from gldnode.p2p.eviction import EvictionCandidate, select_for_eviction
from gldnode.p2p.localaddress import AddressOrigin, LocalAddresses
from gldnode.p2p.messages import TimedAddress
from gldnode.p2p.netaddress import NetAddress, Network
from tests.support.simnet import SeededEntropy

NOW = 1_800_000_000


def ip(*parts: int, port: int = 4653) -> NetAddress:
    return NetAddress(Network.IPV4, bytes(parts), port)


def told(*addresses: NetAddress, time: int = NOW) -> list[TimedAddress]:
    return [TimedAddress(time, 9, address) for address in addresses]


@pytest.fixture
def manager() -> AddressManager:
    return AddressManager(SeededEntropy(random.Random(4)))


def test_a_told_address_is_new_and_a_connected_one_tried(manager: AddressManager) -> None:
    assert manager.add(told(ip(8, 8, 8, 8)), ip(9, 9, 9, 9), NOW) == 1
    assert manager.add(told(ip(8, 8, 8, 8)), ip(9, 9, 9, 9), NOW) == 0
    assert manager.counts() == {Network.IPV4: (1, 0)}
    manager.succeeded(ip(8, 8, 8, 8), NOW)
    assert manager.counts() == {Network.IPV4: (0, 1)}
    chosen = manager.select(NOW + 1000)
    assert chosen is not None
    assert chosen.address == ip(8, 8, 8, 8)
    assert manager.select(NOW, new_only=True) is None
    assert manager.select(NOW, networks=frozenset({Network.TORV3})) is None


def test_private_and_portless_addresses_are_not_kept(manager: AddressManager) -> None:
    bad = told(ip(10, 0, 0, 1), ip(127, 0, 0, 1), ip(192, 168, 1, 1), ip(8, 8, 8, 8, port=0))
    assert manager.add(bad, ip(9, 9, 9, 9), NOW) == 0
    assert len(manager) == 0


def test_one_source_reaches_few_buckets(manager: AddressManager) -> None:
    rng = random.Random(1)
    flood = told(*(ip(*rng.randbytes(4)) for _ in range(20_000)))
    manager.add(flood, ip(9, 9, 9, 9), NOW)
    assert len({bucket for bucket, _ in manager._new}) <= NEW_BUCKETS_PER_SOURCE
    assert len(manager) <= NEW_BUCKETS_PER_SOURCE * 64
    before = len(manager)
    manager.add(told(ip(8, 8, 4, 4)), ip(77, 1, 1, 1), NOW)
    assert len(manager) == before + 1  # others still have room


def test_terrible_addresses_give_way(manager: AddressManager) -> None:
    old = told(ip(8, 8, 8, 8), time=NOW - 40 * 86_400)
    manager.add(old, ip(9, 9, 9, 9), NOW)
    assert manager.sample(10, 0, NOW) == []
    manager.add(told(ip(8, 8, 4, 4)), ip(9, 9, 9, 9), NOW)
    for _ in range(3):
        manager.attempted(ip(8, 8, 4, 4), NOW - 120, failed=True)
    assert manager.sample(10, 0, NOW) == []


def test_a_tried_address_is_tested_before_another_takes_its_place(manager: AddressManager) -> None:
    rng, there = random.Random(2), {}
    for _ in range(4_000):
        address = ip(1, 2, *rng.randbytes(2))
        place = manager._tried_place(address)
        if place in there and there[place] != address:
            break
        there[place] = address
    first, second = there[place], address
    manager.add(told(first, second), ip(9, 9, 9, 9), NOW)
    manager.succeeded(first, NOW)
    manager.succeeded(second, NOW + 60)
    known = manager.get(second)
    assert known is not None
    assert not known.tried  # the first one has just proven itself
    later = NOW + 5 * 3600
    manager.succeeded(second, later)
    assert not known.tried
    tested = manager.collision()
    assert tested is not None
    assert tested.address == first
    assert manager.collision() is None
    manager.attempted(first, later, failed=True)
    manager.succeeded(second, later + 60)
    assert known.tried
    assert len(manager) == 2


def test_everything_is_read_back(manager: AddressManager, tmp_path: Path) -> None:
    rng = random.Random(3)
    onion = NetAddress(Network.TORV3, rng.randbytes(32), 1)
    addresses = [*(ip(20 + rng.randrange(60), *rng.randbytes(3)) for _ in range(300)), onion]
    manager.add(told(*addresses), ip(9, 9, 9, 9), NOW)
    for address in addresses[:40]:
        manager.succeeded(address, NOW)
    path = tmp_path / "peers.json"
    manager.dump(path)
    again = AddressManager.load(path, SeededEntropy(rng), NOW)
    assert again.counts() == manager.counts()
    assert again.get(onion) == manager.get(onion)
    path.write_text(path.read_text()[:-50])
    assert len(AddressManager.load(path, SeededEntropy(rng), NOW)) == 0
    path.write_text(json.dumps({"version": 99}))
    assert len(AddressManager.load(path, SeededEntropy(rng), NOW)) == 0


steps = st.lists(st.tuples(st.sampled_from("asft"), st.integers(0, 40), st.integers(0, 5)), max_size=120)


@settings(max_examples=80)
@given(steps)
def test_tables_and_counts_stay_in_step(script: list[tuple[str, int, int]]) -> None:
    manager = AddressManager(SeededEntropy(random.Random(4)))
    now = NOW
    for action, number, source in script:
        address = ip(30 + number % 7, number, 3, 4)
        match action:
            case "a":
                manager.add(told(address, time=now), ip(50 + source, 1, 1, 1), now)
            case "s":
                manager.succeeded(address, now)
            case "f":
                manager.attempted(address, now, failed=True)
            case "t":
                now += number * 3600
    places = Counter(manager._new.values())
    for known in manager._known.values():
        assert known.places == places[known.address]
        assert known.tried == (known.address in manager._tried.values())
        assert known.tried or known.places
    assert set(places) | set(manager._tried.values()) == set(manager._known)


# -- bans --


def test_bans_hold_for_subnets_and_end(tmp_path: Path) -> None:
    path = tmp_path / "banlist.json"
    bans = BanList(path)
    assert bans.ban(parse_subnet("10.1.0.0/16"), NOW, NOW + 100)
    assert not bans.ban(parse_subnet("10.1.0.0/16"), NOW, NOW + 50)
    assert bans.is_banned(ip(10, 1, 200, 3), NOW)
    assert not bans.is_banned(ip(10, 2, 0, 1), NOW)
    assert not bans.is_banned(ip(10, 1, 200, 3), NOW + 101)
    assert [ban.address for ban in BanList(path).all(NOW)] == ["10.1.0.0/16"]
    assert bans.unban("10.1.0.0/16")
    assert not bans.unban("10.1.0.0/16")
    assert BanList(path).all(NOW) == []
    bans.discourage(ip(1, 2, 3, 4))
    assert bans.is_discouraged(ip(1, 2, 3, 4, port=9))
    path.write_text("{]")
    assert BanList(path).all(NOW) == []
    assert path.with_suffix(".bad").exists()
    with pytest.raises(DecodeError):
        parse_subnet("not an address")


# -- eviction --


def crowd(count: int, group: int, *, start: int = 0, connected: int = 1000) -> list[EvictionCandidate]:
    return [
        EvictionCandidate(start + n, connected + n, 1 << 40, 0, 0, group, bytes([group]), False)
        for n in range(count)
    ]


def test_a_crowd_of_one_group_loses_its_youngest() -> None:
    honest = [EvictionCandidate(500 + n, n, 10, 900, 900, 1000 + n, bytes([200 + n]), False) for n in range(10)]
    attackers = crowd(100, 7)
    victim = select_for_eviction([*honest, *attackers])
    assert victim is not None
    assert victim < 500
    assert select_for_eviction(honest[:5]) is None


def test_useful_peers_are_safe_whatever_the_crowd() -> None:
    rng = random.Random(6)
    for _ in range(50):
        others = [
            EvictionCandidate(n, rng.randrange(2000), rng.randrange(500, 900), 0, 0, n % 9, bytes([n % 9]), False)
            for n in range(60)
        ]
        precious = [
            EvictionCandidate(1000, 5000, 1, 0, 0, 0, b"a", False),
            EvictionCandidate(1001, 5000, 900, 9, 0, 0, b"a", False),
            EvictionCandidate(1002, 5000, 900, 0, 9, 0, b"a", False),
        ]
        victim = select_for_eviction([*others, *precious])
        assert victim is not None
        assert victim < 1000


def test_discouraged_peers_go_first() -> None:
    marked = EvictionCandidate(77, 1200, 1 << 40, 0, 0, 3, b"x", True)
    assert select_for_eviction([marked, *crowd(60, 3)]) == 77


# -- our own addresses --


def test_each_peer_is_told_an_address_of_its_own_network() -> None:
    ours = LocalAddresses()
    onion = NetAddress(Network.TORV3, b"\1" * 32, 1)
    other_onion = NetAddress(Network.TORV3, b"\2" * 32, 1)
    assert not ours.add(ip(10, 0, 0, 1), AddressOrigin.INTERFACE)
    assert ours.best_for(ip(8, 8, 8, 8)) is None
    ours.add(ip(8, 8, 4, 4), AddressOrigin.INTERFACE)
    ours.add(ip(8, 8, 4, 5), AddressOrigin.MANUAL)
    ours.add(onion, AddressOrigin.MANUAL)
    assert ours.best_for(ip(8, 8, 8, 8)) == ip(8, 8, 4, 5)
    assert ours.best_for(other_onion) == onion
    ours.remove(onion)
    assert ours.best_for(other_onion) is None  # who sits behind Tor is not told where we are
    assert ours.is_ours(ip(8, 8, 4, 4))


def test_an_address_that_peers_see_us_at_is_told_on() -> None:
    ours, entropy = LocalAddresses(), SeededEntropy(random.Random(1))
    peer, seen = ip(8, 8, 8, 8), ip(9, 9, 9, 9, port=5555)

    def told(**given: bool) -> set[NetAddress | None]:
        return {
            ours.to_tell(peer, seen, is_inbound=given.get("is_inbound", False), port=4653, entropy=entropy)
            for _ in range(200)
        }

    assert told() == {ip(9, 9, 9, 9)}  # of a connection that we dialled the port says nothing
    assert told(is_inbound=True) == {seen}
    assert ours.to_tell(peer, None, is_inbound=True, port=4653, entropy=entropy) is None
    assert ours.to_tell(peer, ip(10, 0, 0, 1), is_inbound=True, port=4653, entropy=entropy) is None
    assert ours.to_tell(ip(10, 0, 0, 1), seen, is_inbound=True, port=4653, entropy=entropy) is None
    ours.add(ip(8, 8, 4, 4, port=4000), AddressOrigin.MANUAL)
    assert told() == {ip(8, 8, 4, 4, port=4000), ip(9, 9, 9, 9, port=4000)}
    ours.seen(ip(8, 8, 4, 4))
    assert ours.score(ip(8, 8, 4, 4)) == AddressOrigin.MANUAL + 1
