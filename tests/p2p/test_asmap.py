"""Maps of autonomous systems: Core's skeleton map, maps made here, and what follows for peers and buckets."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gldnode.errors import DecodeError
from gldnode.p2p.addrman import TRIED_BUCKETS_PER_GROUP, AddressManager
from gldnode.p2p.asmap import AsMap, NetGroups
from gldnode.p2p.messages import TimedAddress
from gldnode.p2p.netaddress import NetAddress, Network, parse_host
from tests.support.simnet import SeededEntropy

NOW = 1_800_000_000
SKELETON = bytes.fromhex(
    "fb03ec0fb03fc0fe00fb03ec0fb03fc0fe00fb03ec0fb0fffffeffedb0ffd486e62829000040000040004099010080018004000005000600"
    "1cf039"
)
"""Core's src/test/data/asmap.raw: 101.1.0.0/16 to 101.8.0.0/16 are AS 1 to 8, 250.0.0.0/8 is AS 1000."""
SKELETON_VERSION = "bafc9da308f45179443bd1d22325400ac9104f741522d003e3fac86700f68895"

# -- an encoder --

Bits = list[int]


def number(value: int, least: int, sizes: Sequence[int]) -> Bits:
    for at, size in enumerate(sizes):
        if value - least < 1 << size:
            stop = [0] if at < len(sizes) - 1 else []
            return [1] * at + stop + [(value - least) >> shift & 1 for shift in reversed(range(size))]
        least += 1 << size
    raise AssertionError("too large")


def returned(asn: int) -> Bits:
    return [0, *number(asn, 1, range(15, 25))]


def program(tree: object) -> Bits:
    """Bits that find what the tree says: an AS number, or what follows (a zero bit, a one bit); None is a hole."""
    if isinstance(tree, int):
        return returned(tree)
    path: Bits = []
    while isinstance(tree, tuple) and None in tree:
        bit = int(tree[0] is None)
        path.append(bit)
        tree = tree[bit]
    if path:
        out: Bits = []
        while path:
            part, path = path[:8], path[8:]
            value = int("".join(map(str, (1, *part))), 2)
            out += [1, 1, 0, *number(value, 2, range(1, 9))]
        return out + program(tree)
    assert isinstance(tree, tuple)
    zero, one = program(tree[0]), program(tree[1])
    return [1, 0, *number(len(zero), 17, range(5, 31)), *zero, *one]


def packed(bits: Bits) -> bytes:
    bits = bits + [0] * (-len(bits) % 8)
    return bytes(sum(bit << at for at, bit in enumerate(bits[i : i + 8])) for i in range(0, len(bits), 8))


def put(tree: object, prefix: str, asn: int) -> object:
    if not prefix:
        return asn
    children = list(tree) if isinstance(tree, tuple) else [None, None]
    children[int(prefix[0])] = put(children[int(prefix[0])], prefix[1:], asn)
    return tuple(children)


def map_of(rows: dict[str, int]) -> bytes:
    """The file for address prefixes (strings of bits) of which none begins another."""
    tree: object = None
    for prefix, asn in rows.items():
        tree = put(tree, prefix, asn)
    return packed(program(tree))


def ipv4_prefix(text: str) -> str:
    """`a.b.0.0/n` as bits of a mapped address."""
    host, _, length = text.partition("/")
    bits = "".join(f"{int(part):08b}" for part in host.split("."))
    return "0" * 80 + "1" * 16 + bits[: int(length)]


def address(text: str) -> NetAddress:
    found = parse_host(text, 4653)
    assert found is not None
    return found


# -- the map --


def test_cores_skeleton_map_says_what_core_says() -> None:
    asmap = AsMap(SKELETON)
    groups = NetGroups(asmap)
    assert asmap.version == SKELETON_VERSION
    assert groups.asn(address("250.1.2.3")) == 1000
    assert [groups.asn(address(f"101.{n}.9.9")) for n in range(1, 9)] == list(range(1, 9))
    for unmapped in ("8.8.8.8", "2001:db8::1", "::1"):
        assert groups.asn(address(unmapped)) == 0


@pytest.mark.parametrize("seed", range(20))
def test_a_map_finds_the_prefix_that_an_address_begins_with(seed: int) -> None:
    rng = random.Random(seed)
    rows: dict[str, int] = {}
    for _ in range(60):
        length = rng.choice((1, 3, 8, 16, 24, 48, 64, 100, 128))
        prefix = "".join(rng.choice("01") for _ in range(length))
        if seed % 2 and rows:  # long common beginnings too
            like = rng.choice(list(rows))
            prefix = (like[: rng.randrange(len(like))] + prefix)[:128]
        if not any(prefix.startswith(other) or other.startswith(prefix) for other in rows):
            rows[prefix] = rng.choice((1, 2, 32_768, 32_769, 98_305, 4_200_000, 33_521_664))
    asmap = AsMap(map_of(rows))
    for _ in range(300):
        near = rng.choice(list(rows))[: rng.randrange(129)]
        bits = (near + "".join(rng.choice("01") for _ in range(128)))[:128]
        expected = next((asn for prefix, asn in rows.items() if bits.startswith(prefix)), 0)
        assert asmap.look_up(int(bits, 2)) == expected


@pytest.mark.parametrize(
    ("bits", "why"),
    [
        ([], "ends within"),
        (returned(5)[:8], "ends within"),
        ([*returned(5), *([0] * 8)], "behind the end"),
        ([*returned(5), 0, 0, 1], "behind the end"),
        ([1, 1, 1, *number(9, 1, range(15, 25)), *returned(5)], "default"),
        ([1, 1, 1, *number(9, 1, range(15, 25))] * 2 + returned(5), "default"),
        ([1, 0, *number(17, 17, range(5, 31)), *returned(5)], "ends within"),
        ([1, 0, *number(60, 17, range(5, 31)), *returned(5), *returned(6)], "leads nowhere"),
        ([1, 0, *number(18, 17, range(5, 31)), *returned(5), 0, *returned(6)], "never reached"),
        ([1, 1, 0, *number(5, 2, range(1, 9))] * 2 + returned(5), "match"),
        ([1, 1, 0, *number(0b1_0000_0000, 2, range(1, 9))] * 17 + returned(5), "match"),
    ],
)
def test_a_map_that_is_not_sound_is_refused(bits: Bits, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        AsMap(packed(bits))


@settings(max_examples=300)
@given(st.binary(max_size=80), st.integers(0, (1 << 128) - 1), st.integers(0, 8 * len(SKELETON) - 1))
def test_whatever_is_taken_for_a_map_answers_for_every_address(data: bytes, place: int, flipped: int) -> None:
    changed = bytearray(SKELETON)
    changed[flipped // 8] ^= 1 << flipped % 8
    for candidate in (data, bytes(changed), SKELETON[: flipped // 8]):
        try:
            asmap = AsMap(candidate)
        except DecodeError:
            continue
        assert 0 <= asmap.look_up(place) <= 1 << 25
        assert 0 <= asmap.look_up(0xFFFF_6501_0000 | place & 0xFFFF) <= 1 << 25


# -- groups --


def test_one_autonomous_system_is_one_group_whatever_its_addresses_are() -> None:
    v6 = "".join(f"{byte:08b}" for byte in bytes.fromhex("2a001234"))
    groups = NetGroups(
        AsMap(map_of({ipv4_prefix("20.1.0.0/16"): 7, ipv4_prefix("90.0.0.0/8"): 7, v6: 7, "11": 8}))
    )
    same = {groups.group(address(host)) for host in ("20.1.2.3", "90.200.1.1", "2a00:1234::5")}
    assert len(same) == 1
    assert groups.group(address("20.2.0.1")) == address("20.2.9.9").group
    onion = NetAddress(Network.TORV3, bytes(32), 1)
    assert groups.group(onion) == onion.group
    assert groups.asn(NetAddress(Network.CJDNS, b"\xfc" + bytes(15), 1)) == 0


def test_how_well_a_map_fits_is_said_in_a_sentence() -> None:
    hosts = [address(host) for host in ("101.1.1.1", "101.1.9.9", "101.2.1.1", "8.8.8.8")]
    onion = NetAddress(Network.TORV3, bytes(32), 1)
    assert NetGroups().health(hosts) is None
    assert NetGroups(AsMap(SKELETON)).health([*hosts, onion]) == (
        "ASMap Health Check: 4 clearnet peers are mapped to 2 ASNs with 1 peers being unmapped"
    )


def test_tunnels_and_translations_belong_to_the_ipv4_address_behind_them() -> None:
    behind = address("20.1.2.3")
    for host in ("2002:1401:203::1", "64:ff9b::1401:203", "::ffff:0:1401:203", "2001::ebfe:fdfc"):
        assert address(host).linked_ipv4 == behind.raw, host
        assert address(host).group == behind.group
        assert NetGroups(AsMap(map_of({ipv4_prefix("20.1.0.0/16"): 7}))).asn(address(host)) == 7
    assert address("2001:470:abcd::1").group == address("2001:470:a000::1").group
    assert address("2001:470:abcd::1").group != address("2001:470:b000::1").group


def test_an_autonomous_system_with_many_addresses_reaches_few_buckets() -> None:
    rng = random.Random(2)
    groups = NetGroups(AsMap(map_of({ipv4_prefix("20.0.0.0/8"): 7})))
    hosts = [NetAddress(Network.IPV4, bytes((20, *rng.randbytes(3))), 4653) for _ in range(500)]
    for known, most in ((groups, TRIED_BUCKETS_PER_GROUP), (NetGroups(), 256)):
        manager = AddressManager(SeededEntropy(random.Random(1)), groups=known)
        for host in hosts:
            manager.add([TimedAddress(NOW, 9, host)], host, NOW)
            manager.succeeded(host, NOW)
        buckets = {bucket for bucket, _ in manager._tried}
        assert len(buckets) <= most
        assert (len(buckets) > TRIED_BUCKETS_PER_GROUP) is (known.asmap is None)


def test_stored_addresses_move_to_the_buckets_of_another_map(tmp_path: Path) -> None:
    entropy, host = SeededEntropy(random.Random(1)), address("20.1.2.3")
    manager = AddressManager(entropy)
    manager.add([TimedAddress(NOW, 9, host)], host, NOW)
    manager.succeeded(host, NOW)
    manager.dump(tmp_path / "peers.json")
    groups = NetGroups(AsMap(map_of({ipv4_prefix("20.0.0.0/8"): 7})))
    again = AddressManager.load(tmp_path / "peers.json", entropy, NOW, groups)
    assert again.counts() == {Network.IPV4: (0, 1)}
    assert set(again._tried) == {again._tried_place(host)}
    assert set(again._tried) != set(manager._tried)
