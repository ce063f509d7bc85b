"""Headers: work, bits, time, version, and their place in the tree."""

from gldnode.primitives.block import make_block, make_header
from tests.consensus.adversary.steps import Spot
from tests.consensus.adversary.workshop import (
    ACTIVATION,
    NOW,
    SPACING,
    Bench,
    accepted,
    case,
    rejected,
    solve,
)

_TWO_HOURS = 7_200

rejected("no proof of work", "high-hash", lambda b: b.block(solved=False))
for _name, _bits in {
    "zero": 0,
    "negative": 0x20FFFFFF,
    "overflowing": 0xFF7FFFFF,
    "above the limit": 0x2100FFFF,
}.items():
    rejected(f"bits {_name}", "high-hash", lambda b, bits=_bits: b.block(bits=bits))  # type: ignore[misc]
rejected("bits just below what is asked", "bad-diffbits", lambda b: b.block(bits=0x207FFFFE))
rejected("bits of nearly the same target in another form", "bad-diffbits", lambda b: _hard(b, 0x21007FFF))
rejected("more work than is asked", "bad-diffbits", lambda b: _hard(b, 0x2000FFFF))


def _hard(b: Bench, bits: int) -> Spot:
    """A block whose hash meets a lower target."""
    spot = b.block(bits=bits)
    header = spot.block.header
    target = (bits & 0xFFFFFF) << 8 * ((bits >> 24) - 3)
    while int.from_bytes(header.hash, "little") > target:
        header = solve(
            make_header(header.version, header.prev_hash, header.merkle_root, header.time, bits, header.nonce + 1)
        )
    return Spot(make_block(header, spot.block.txs), spot.height, spot.prev)


# -- time --

rejected("time at the median", "time-too-old", lambda b: b.block(time=b.at.median_time))
accepted("time one second behind the median", lambda b: b.block(time=b.at.median_time + 1))
accepted("time two hours ahead", lambda b: b.block(time=NOW + _TWO_HOURS))
rejected("time two hours and a second ahead", "time-too-new", lambda b: b.block(time=NOW + _TWO_HOURS + 1))
rejected("time zero", "time-too-old", lambda b: b.block(time=0))
rejected("time 0xffffffff", "time-too-new", lambda b: b.block(time=0xFFFFFFFF))


@case("a block from the future is taken when its time has come")
def _later(b: Bench) -> None:
    spot = b.block(time=NOW + _TWO_HOURS + 60)
    b.rejects(spot, "time-too-new")
    b.clock(NOW + 60)
    b.accepts(spot)
    b.clock(NOW)


@case("time may run backwards as long as the median does not")
def _backwards(b: Bench) -> None:
    spot = b.at
    for _ in range(5):
        spot = b.block(on=spot, time=spot.median_time + 1)
        b.accepts(spot)
    b.rejects(b.block(on=spot, time=spot.median_time), "time-too-old")


# -- version --

_VERSIONS = {1: ("bip34", 2), 2: ("dersig", 3), 3: ("cltv", 4)}
for _version, (_rule, _least) in _VERSIONS.items():
    accepted(
        f"version {_version} below {_rule}",
        lambda b, v=_version: b.block(version=v),  # type: ignore[misc]
        at=ACTIVATION[_rule] - 2,
    )
    rejected(
        f"version {_version} at {_rule}",
        f"bad-version(0x{_version:08x})",
        lambda b, v=_version: b.block(version=v),  # type: ignore[misc]
        at=ACTIVATION[_rule] - 1,
    )
    accepted(
        f"version {_least} at {_rule}",
        lambda b, v=_least: b.block(version=v),  # type: ignore[misc]
        at=ACTIVATION[_rule] - 1,
    )
accepted("version 0 below every rule", lambda b: b.block(version=0), at=112)
accepted("version -1 below every rule", lambda b: b.block(version=-1), at=112)
rejected("version 0", "bad-version(0x00000000)", lambda b: b.block(version=0))
rejected("version -1", "bad-version(0xffffffff)", lambda b: b.block(version=-1))
rejected("version of the sign bit alone", "bad-version(0x80000000)", lambda b: b.block(version=-(1 << 31)))
accepted("version 0x7fffffff", lambda b: b.block(version=0x7FFFFFFF))
accepted("version with every BIP 9 bit", lambda b: b.block(version=0x3FFFFFFF))

# -- place --

rejected("unknown parent", "prev-blk-not-found", lambda b: b.block(prev_hash=b"\x01" * 32))
rejected("no parent: a second genesis", "prev-blk-not-found", lambda b: b.block(prev_hash=bytes(32)))


@case("genesis again")
def _genesis(b: Bench) -> None:
    b.repeats(b.base[0])


@case("the tip again")
def _tip(b: Bench) -> None:
    b.repeats(b.at)


@case("header first, then the block")
def _header_first(b: Bench) -> None:
    spot = b.block(b.pay())
    b.header(spot)
    b.header(spot)
    b.tips({spot: "headers-only"})
    b.accepts(spot)
    b.tips({spot: "active"})


@case("headers far ahead, then the blocks in reverse")
def _headers_ahead(b: Bench) -> None:
    branch = b.branch(b.at, 4)
    for spot in branch:
        b.header(spot)
    for spot in reversed(branch[1:]):
        b.sides(spot)
    b.tips({branch[-1]: "headers-only"})
    b.gives(branch[0], None, tip=branch[-1])
    b.tips({branch[-1]: "active"})


@case("a bad header is refused again and again")
def _bad_header(b: Bench) -> None:
    spot = b.block(bits=0x207FFFFE)
    b.header(spot, "bad-diffbits")
    b.header(spot, "bad-diffbits")
    b.header(b.block(time=b.at.time + SPACING, version=1), "bad-version(0x00000001)")
    b.header(b.block(time=b.at.median_time), "time-too-old")
    b.header(b.block(solved=False), "high-hash")


@case("a header whose block is invalid")
def _header_of_invalid(b: Bench) -> None:
    spot = b.block(first=b.coinbase(amount=51 * 100_000_000))
    b.header(spot)
    b.rejects(spot, "bad-cb-amount")
    b.header(spot, "duplicate-invalid")
    b.header(b.block(on=spot), "bad-prevblk")
    b.tips({spot: "invalid"})
