"""Lock times: absolute (with BIP 113's clock), relative (BIP 68), the two opcodes, each exactly at its edge."""

from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx
from tests.consensus.adversary.scripts import number
from tests.consensus.adversary.steps import Spot
from tests.consensus.adversary.workshop import (
    ANYONE,
    COIN,
    COIN_HEIGHT,
    SPACING,
    TIP,
    Bench,
    accepted,
    case,
    rejected,
)

_VALUE = COIN // 10
_NOT_FINAL = "bad-txns-nonfinal"
_FINAL = 0xFFFFFFFF
_BY_TIME = 1 << 22
_DISABLED = 1 << 31
_UNMET = "block-script-verify-flag-failed (Locktime requirement not satisfied)"
_NEGATIVE = "block-script-verify-flag-failed (Negative locktime)"
_AGE = TIP + 1 - COIN_HEIGHT
"""Blocks between a base coin and the next block; also units of 512 s between their parents' median times."""

# -- absolute --

accepted("lock time of the height before", lambda b: b.block(b.pay(lock_time=b.height - 1, sequence=0)))
rejected("lock time of this height", _NOT_FINAL, lambda b: b.block(b.pay(lock_time=b.height, sequence=0)))
accepted("lock time of this height with final inputs", lambda b: b.block(b.pay(lock_time=b.height)))
rejected(
    "lock time of this height with one input that is not final",
    _NOT_FINAL,
    lambda b: b.block(_mixed(b, b.height)),
)
rejected(
    "lock time 499,999,999 is a height", _NOT_FINAL, lambda b: b.block(b.pay(lock_time=499_999_999, sequence=0))
)
accepted("lock time 500,000,000 is a time", lambda b: b.block(b.pay(lock_time=500_000_000, sequence=0)))
accepted(
    "lock time just below the median time",
    lambda b: b.block(b.pay(lock_time=b.at.median_time - 1, sequence=0)),
)
rejected(
    "lock time at the median time", _NOT_FINAL, lambda b: b.block(b.pay(lock_time=b.at.median_time, sequence=0))
)
rejected(
    "lock time behind the block's own time but not the median's (BIP 113)",
    _NOT_FINAL,
    lambda b: b.block(b.pay(lock_time=b.at.time, sequence=0)),
)
accepted(
    "below BIP 113 the block's own time counts",
    lambda b: b.block(b.pay(lock_time=b.at.time + SPACING - 1, sequence=0)),
    at=117,
)
rejected(
    "below BIP 113 the block's own time is not enough at the second",
    _NOT_FINAL,
    lambda b: b.block(b.pay(lock_time=b.at.time + SPACING, sequence=0)),
    at=117,
)
rejected(
    "from BIP 113 on the median counts",
    _NOT_FINAL,
    lambda b: b.block(b.pay(lock_time=b.at.time + SPACING - 1, sequence=0)),
    at=118,
)


def _mixed(b: Bench, lock_time: int) -> Tx:
    inputs = [TxIn(b.coins[n][0], b"", sequence) for n, sequence in enumerate((_FINAL, _FINAL - 1, _FINAL))]
    return make_tx(2, inputs, [TxOut(3 * _VALUE, ANYONE)], lock_time)


# -- relative, BIP 68 --

accepted("relative height met exactly", lambda b: b.block(b.pay(sequence=_AGE)))
rejected("relative height short by one", _NOT_FINAL, lambda b: b.block(b.pay(sequence=_AGE + 1)))
accepted("relative time met exactly", lambda b: b.block(b.pay(sequence=_BY_TIME | _AGE)))
rejected("relative time short by one unit", _NOT_FINAL, lambda b: b.block(b.pay(sequence=_BY_TIME | _AGE + 1)))
accepted("relative lock disabled", lambda b: b.block(b.pay(sequence=_DISABLED | 0xFFFF)))
accepted("relative lock in version 1", lambda b: b.block(b.pay(sequence=0xFFFF, version=1)))
accepted("relative lock in version 0", lambda b: b.block(b.pay(sequence=0xFFFF, version=0)))
rejected(
    "relative lock in version 0xffffffff, which is not negative",
    _NOT_FINAL,
    lambda b: b.block(b.pay(sequence=0xFFFF, version=0xFFFFFFFF)),
)
accepted("bits of the sequence that mean nothing", lambda b: b.block(b.pay(sequence=0x003F0000 | _AGE)))
rejected(
    "bits that mean nothing do not help", _NOT_FINAL, lambda b: b.block(b.pay(sequence=0x003F0000 | _AGE + 1))
)
accepted("relative height 0 in the same block", lambda b: b.block(*_child(b, 0)))
rejected("relative height 1 in the same block", _NOT_FINAL, lambda b: b.block(*_child(b, 1)))
accepted("relative time 0 in the same block", lambda b: b.block(*_child(b, _BY_TIME)))
rejected("relative time 1 in the same block", _NOT_FINAL, lambda b: b.block(*_child(b, _BY_TIME | 1)))
accepted("relative locks below BIP 68", lambda b: b.block(b.pay(sequence=0xFFFF)), at=117)
rejected("relative locks at BIP 68", _NOT_FINAL, lambda b: b.block(b.pay(sequence=0xFFFF)), at=118)


def _child(b: Bench, sequence: int) -> tuple[Tx, Tx]:
    made = b.pay()
    return made, b.pay(coins=[b.out(made)], sequence=sequence)


@case("of two inputs the later relative lock counts")
def _later_lock(b: Bench) -> None:
    def tx(first: int, second: int) -> Tx:
        inputs = [TxIn(b.coins[0][0], b"", first), TxIn(b.coins[1][0], b"", second)]
        return make_tx(2, inputs, [TxOut(2 * _VALUE, ANYONE)])

    b.rejects(b.block(tx(1, _AGE + 1)), _NOT_FINAL)
    b.rejects(b.block(tx(_BY_TIME | _AGE + 1, 1)), _NOT_FINAL)
    b.accepts(b.block(tx(_BY_TIME | _AGE, _AGE)))


@case("relative time short by one second")
def _one_second(b: Bench) -> None:
    """A branch whose median time is one second less than the base's: the sixth block from its end decides."""
    base = b.base
    spot = b.block(on=base[TIP - 6], time=base[TIP - 5].time - 1)
    b.sides(spot)
    for height in range(TIP - 4, TIP + 1):
        spot = b.block(on=spot, time=base[height].time)
        b.sides(spot)
    assert spot.height == TIP
    assert spot.median_time == base[TIP].median_time - 1
    late = b.block(b.pay(sequence=_BY_TIME | _AGE), on=spot)
    b.rejects(late, _NOT_FINAL)
    b.accepts(b.block(b.pay(sequence=_BY_TIME | _AGE - 1), on=spot))


@case("relative locks count from the branch's own block")
def _own_branch(b: Bench) -> None:
    made = b.pay()
    early = b.block(made)
    b.accepts(early)
    left = b.block(b.pay(coins=[b.out(made)], sequence=1), on=early)
    b.accepts(left)
    # The other branch confirms it one block later, so there it is too young at the same height.
    empty = b.block()
    b.sides(empty)
    second = b.block(made, on=empty)
    b.sides(second)
    b.rejects(b.block(b.pay(coins=[b.out(made)], sequence=2), on=second), _NOT_FINAL)
    b.accepts(b.block(b.pay(coins=[b.out(made)], sequence=1), on=second))


# -- OP_CHECKLOCKTIMEVERIFY, BIP 65 --


def _locked(
    b: Bench,
    script: bytes,
    *,
    lock_time: int = 0,
    sequence: int = 0,
    version: int = 2,
    ending: bytes = b"\x75\x51",
) -> Spot:
    """An output that demands a lock, and what spends it in the same block."""
    made = b.make(script + ending)
    return b.block(made, b.pay(coins=[b.out(made)], lock_time=lock_time, sequence=sequence, version=version))


def _cltv(value: int) -> bytes:
    return number(value) + b"\xb1"


accepted("CLTV met exactly", lambda b: _locked(b, _cltv(100), lock_time=100))
rejected("CLTV one above the lock time", _UNMET, lambda b: _locked(b, _cltv(101), lock_time=100))
rejected("CLTV with a final input", _UNMET, lambda b: _locked(b, _cltv(100), lock_time=100, sequence=_FINAL))
rejected("CLTV negative", _NEGATIVE, lambda b: _locked(b, _cltv(-1), lock_time=100))
rejected("CLTV height against a time", _UNMET, lambda b: _locked(b, _cltv(100), lock_time=500_000_000))
rejected("CLTV time against a height", _UNMET, lambda b: _locked(b, _cltv(500_000_000), lock_time=100))
accepted(
    "CLTV of five bytes that is met",
    lambda b: _locked(b, b"\x05\x64\x00\x00\x00\x00\xb1", lock_time=100),
)
rejected(
    "CLTV of six bytes",
    "block-script-verify-flag-failed (Script number overflowed or is non-minimally encoded)",
    lambda b: _locked(b, b"\x06\x64\x00\x00\x00\x00\x00\xb1", lock_time=100),
)
rejected(
    "CLTV on an empty stack",
    "block-script-verify-flag-failed (Operation not valid with the current stack size)",
    lambda b: _locked(b, b"\xb1", lock_time=100, ending=b"\x51"),
)
accepted("CLTV below BIP 65 is a NOP", lambda b: _locked(b, _cltv(500)), at=116)
rejected("CLTV at BIP 65", _UNMET, lambda b: _locked(b, _cltv(500)), at=117)

# -- OP_CHECKSEQUENCEVERIFY, BIP 112 --


def _csv(value: int) -> bytes:
    return number(value) + b"\xb2"


def _aged(b: Bench, script: bytes, sequence: int, *, version: int = 2) -> None:
    """The output waits ten blocks, then it is spent with `sequence`."""
    made = b.make(script + b"\x75\x51")
    branch = b.branch(b.at, 10, made)
    b.accepts(*branch)
    b.accepts(b.block(b.pay(coins=[b.out(made)], sequence=sequence, version=version), on=branch[-1]))


@case("CSV met exactly by height")
def _csv_height(b: Bench) -> None:
    _aged(b, _csv(10), 10)


@case("CSV met exactly by time")
def _csv_time(b: Bench) -> None:
    _aged(b, _csv(_BY_TIME | 10), _BY_TIME | 10)


rejected("CSV above the sequence", _UNMET, lambda b: _locked(b, _csv(1), sequence=0))
rejected("CSV in version 1", _UNMET, lambda b: _locked(b, _csv(0), sequence=0, version=1))
rejected("CSV with a disabled sequence", _UNMET, lambda b: _locked(b, _csv(0), sequence=_DISABLED))
accepted("CSV with its own disable bit is a NOP", lambda b: _locked(b, _csv(_DISABLED | 5), sequence=_FINAL))
rejected("CSV negative", _NEGATIVE, lambda b: _locked(b, _csv(-1)))
rejected("CSV height against a time", _UNMET, lambda b: _locked(b, _csv(0), sequence=_BY_TIME))
rejected("CSV time against a height", _UNMET, lambda b: _locked(b, _csv(_BY_TIME), sequence=0))
accepted("CSV ignores bits that mean nothing", lambda b: _locked(b, _csv(0x003F0000), sequence=0))
accepted("CSV below BIP 112 is a NOP", lambda b: _locked(b, _csv(5), sequence=_FINAL), at=117)
rejected("CSV at BIP 112", _UNMET, lambda b: _locked(b, _csv(5), sequence=_FINAL), at=118)
