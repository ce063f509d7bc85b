"""The first transaction: there, alone, of the right size, with the height, and not too greedy."""

from gldnode.primitives.tx import NULL_OUTPOINT, SEQUENCE_FINAL, TxIn, TxOut, make_tx, outpoint
from tests.consensus.adversary.workshop import (
    ANYONE,
    COIN,
    TIP,
    Bench,
    accepted,
    case,
    coinbase,
    height_push,
    rejected,
    reward,
)

_VALUE = COIN // 10


def _script_of(size: int):  # type: ignore[no-untyped-def]
    return lambda b: b.block(first=b.coinbase(script_sig=height_push(b.height).ljust(size, b"\x00")))


# -- there and alone --

rejected("coinbase missing", "bad-cb-missing", lambda b: b.block(first=b.pay()))
rejected(
    "coinbase whose prevout has a null hash and an index",
    "bad-cb-missing",
    lambda b: b.block(
        first=make_tx(2, [TxIn(outpoint(bytes(32), 0), height_push(b.height), SEQUENCE_FINAL)], [TxOut(0, ANYONE)])
    ),
)
rejected(
    "coinbase whose prevout has a hash and the null index",
    "bad-cb-missing",
    lambda b: b.block(
        first=make_tx(
            2,
            [TxIn(outpoint(b"\x01" * 32, 0xFFFFFFFF), height_push(b.height), SEQUENCE_FINAL)],
            [TxOut(0, ANYONE)],
        )
    ),
)
rejected("two coinbases", "bad-cb-multiple", lambda b: b.block(b.coinbase(amount=0)))
rejected("coinbase in second place only", "bad-cb-missing", lambda b: b.block(b.coinbase(), first=b.pay()))
rejected(
    "coinbase with a second input",
    "bad-cb-missing",
    lambda b: b.block(
        first=make_tx(
            2,
            [TxIn(NULL_OUTPOINT, height_push(b.height) + b"\x00", SEQUENCE_FINAL), *b.pay(coin=1).inputs],
            [TxOut(1, ANYONE)],
        )
    ),
)
rejected("coinbase without outputs", "bad-txns-vout-empty", lambda b: b.block(first=b.coinbase(outputs=[])))
accepted("coinbase of no value", lambda b: b.block(first=b.coinbase(outputs=[TxOut(0, ANYONE)])))
accepted("coinbase that is its own lock time away", lambda b: b.block(first=b.coinbase(lock_time=b.height)))
rejected(
    "coinbase that is not final",
    "bad-txns-nonfinal",
    lambda b: b.block(first=b.coinbase(lock_time=b.height, sequence=0)),
)

# -- script size --

rejected("coinbase script of 1 byte", "bad-cb-length", lambda b: b.block(first=b.coinbase(script_sig=b"\x51")))
rejected("empty coinbase script", "bad-cb-length", lambda b: b.block(first=b.coinbase(script_sig=b"")))
accepted(
    "coinbase script of 2 bytes",
    lambda b: b.block(first=b.coinbase(script_sig=height_push(b.height)[:2])),
    at=112,
)
accepted("coinbase script of 100 bytes", _script_of(100))
rejected("coinbase script of 101 bytes", "bad-cb-length", _script_of(101))

# -- height, BIP 34 --

rejected(
    "coinbase of the height before",
    "bad-cb-height",
    lambda b: b.block(first=b.coinbase(script_sig=height_push(b.height - 1) + b"\x00")),
)
rejected(
    "coinbase of the height after",
    "bad-cb-height",
    lambda b: b.block(first=b.coinbase(script_sig=height_push(b.height + 1) + b"\x00")),
)
rejected(
    "height pushed with a byte too many",
    "bad-cb-height",
    lambda b: b.block(first=b.coinbase(script_sig=b"\x03" + b.height.to_bytes(3, "little"))),
)
rejected(
    "height pushed through OP_PUSHDATA1",
    "bad-cb-height",
    lambda b: b.block(first=b.coinbase(script_sig=b"\x4c" + height_push(b.height))),
)
rejected(
    "height not first",
    "bad-cb-height",
    lambda b: b.block(first=b.coinbase(script_sig=b"\x00" + height_push(b.height))),
)
accepted(
    "the height and nothing else",
    lambda b: b.block(first=b.coinbase(script_sig=height_push(b.height))),
)
accepted("no height below BIP 34", lambda b: b.block(first=b.coinbase(script_sig=b"free form", extra=b"")), at=114)
rejected(
    "no height at BIP 34",
    "bad-cb-height",
    lambda b: b.block(first=b.coinbase(script_sig=b"free form")),
    at=115,
)

# -- amount --

rejected(
    "coinbase one unit above the subsidy",
    "bad-cb-amount",
    lambda b: b.block(first=b.coinbase(amount=reward(b.height) + 1)),
)
rejected(
    "coinbase one unit above subsidy and fees",
    "bad-cb-amount",
    lambda b: b.block(b.pay(TxOut(_VALUE - 1_000, ANYONE)), fees=1_001),
)
accepted("coinbase with all fees", lambda b: b.block(b.pay(TxOut(_VALUE - 1_000, ANYONE)), fees=1_000))
accepted("coinbase below what it may take", lambda b: b.block(first=b.coinbase(amount=reward(b.height) - 1)))
rejected(
    "coinbase split so that only the sum is too much",
    "bad-cb-amount",
    lambda b: b.block(first=b.coinbase(outputs=[TxOut(reward(b.height), ANYONE), TxOut(1, ANYONE)])),
)
rejected(
    "coinbase output negative",
    "bad-txns-vout-negative",
    lambda b: b.block(first=b.coinbase(outputs=[TxOut(-1, ANYONE)])),
)
rejected(
    "coinbase output above all money",
    "bad-txns-vout-toolarge",
    lambda b: b.block(first=b.coinbase(outputs=[TxOut(21_000_000 * COIN + 1, ANYONE)])),
)


@case("the subsidy halves after 149 blocks")
def _halving(b: Bench) -> None:
    branch = b.branch(b.at, 150 - b.height)
    b.clock(branch[-1].time)
    b.accepts(*branch)
    greedy = b.block(on=branch[-1], first=coinbase(150, amount=25 * COIN + 1, extra=b.extra()))
    b.rejects(greedy, "bad-cb-amount")
    b.accepts(b.block(on=branch[-1], first=coinbase(150, amount=25 * COIN, extra=b.extra())))


# -- maturity --


def _spend_coinbase_of(b: Bench, height: int):  # type: ignore[no-untyped-def]
    return b.pay(TxOut(50 * COIN, ANYONE), coins=[b.out(b.base[height].block.txs[0])])


rejected(
    "coinbase spent at depth 99",
    "bad-txns-premature-spend-of-coinbase",
    lambda b: b.block(_spend_coinbase_of(b, b.height - 99)),
)
accepted("coinbase spent at depth 100", lambda b: b.block(_spend_coinbase_of(b, b.height - 100)))
rejected(
    "the block's own coinbase spent",
    "bad-txns-premature-spend-of-coinbase",
    lambda b: _own_coinbase_spent(b),
)


def _own_coinbase_spent(b: Bench):  # type: ignore[no-untyped-def]
    first = b.coinbase()
    return b.block(b.pay(TxOut(1, ANYONE), coins=[b.out(first)]), first=first)


# -- BIP 30 --


@case("the same coinbase twice while the first is unspent", at=112)
def _repeated_coinbase(b: Bench) -> None:
    repeated = coinbase(0, amount=COIN, script_sig=b"again")
    first = b.block(first=repeated, version=1)
    b.accepts(first)
    b.rejects(b.block(on=first, first=repeated, version=1), "bad-txns-BIP30")
    b.accepts(b.block(on=first))


@case("the same coinbase twice where it makes no coin", at=112)
def _repeated_burn(b: Bench) -> None:
    repeated = coinbase(0, outputs=[TxOut(0, b"\x6a\x04burn")], script_sig=b"again")
    first = b.block(first=repeated, version=1)
    b.accepts(first, b.block(on=first, first=repeated, version=1))


@case("the same coinbase in both branches", at=112)
def _coinbase_in_both(b: Bench) -> None:
    repeated = coinbase(0, amount=COIN, script_sig=b"in both")
    left = b.block(first=repeated, version=1)
    right = b.block(first=repeated, version=2)
    b.accepts(left)
    b.sides(right)
    b.accepts(b.block(on=right))


rejected(
    "a confirmed transaction again",
    "bad-txns-BIP30",
    lambda b: b.block(b.base[111].block.txs[1]),
)


@case("a transaction again after its outputs are spent")
def _repeated_and_spent(b: Bench) -> None:
    tx = b.pay()
    used = b.pay(TxOut(0, b"\x6a"), coins=[b.out(tx)])
    first = b.block(tx, used, fees=0)
    b.accepts(first)
    b.rejects(b.block(tx, on=first), "bad-txns-inputs-missingorspent")


assert TIP == 130, "heights above are fixed"
