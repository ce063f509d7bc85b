"""Inputs and outputs: what is spent must be there, once, and be worth it."""

from gldnode.primitives.tx import NULL_OUTPOINT, Tx, TxOut, make_tx, outpoint
from tests.consensus.adversary.steps import Spot
from tests.consensus.adversary.workshop import ANYONE, COIN, Bench, accepted, case, rejected

_VALUE = COIN // 10
_MAX = 21_000_000 * COIN
_GONE = "bad-txns-inputs-missingorspent"

# -- by itself --

rejected("a transaction without inputs", "bad-txns-vin-empty", lambda b: b.block(make_tx(2, [], [])))
rejected("a transaction without outputs", "bad-txns-vout-empty", lambda b: b.block(make_tx(2, b.pay().inputs, [])))
rejected("an output of -1", "bad-txns-vout-negative", lambda b: b.block(b.pay(TxOut(-1, ANYONE))))
rejected(
    "an output of the smallest number",
    "bad-txns-vout-negative",
    lambda b: b.block(b.pay(TxOut(-(1 << 63), ANYONE))),
)
rejected("an output above all money", "bad-txns-vout-toolarge", lambda b: b.block(b.pay(TxOut(_MAX + 1, ANYONE))))
rejected(
    "an output of the largest number",
    "bad-txns-vout-toolarge",
    lambda b: b.block(b.pay(TxOut((1 << 63) - 1, ANYONE))),
)
rejected(
    "outputs above all money together",
    "bad-txns-txouttotal-toolarge",
    lambda b: b.block(b.pay(TxOut(_MAX, ANYONE), TxOut(1, ANYONE))),
)
rejected(
    "outputs whose sum overflows 64 bits (CVE-2010-5139)",
    "bad-txns-vout-toolarge",
    lambda b: b.block(b.pay(TxOut(0x7FFFFFFFFFF85EE0, ANYONE), TxOut(0x7FFFFFFFFFF85EE0, ANYONE))),
)
rejected("an output of all money", "bad-txns-in-belowout", lambda b: b.block(b.pay(TxOut(_MAX, ANYONE))))
rejected(
    "an output spent twice by one transaction (CVE-2018-17144)",
    "bad-txns-inputs-duplicate",
    lambda b: b.block(b.pay(coins=[b.coins[0], b.coins[0]])),
)
rejected(
    "an output spent twice by one transaction, far apart",
    "bad-txns-inputs-duplicate",
    lambda b: b.block(b.pay(coins=[b.coins[0], b.coins[1], b.coins[2], b.coins[0]])),
)
rejected(
    "a null prevout beside another input",
    "bad-txns-prevout-null",
    lambda b: b.block(b.pay(coins=[b.coins[0], (NULL_OUTPOINT, TxOut(0, b""))])),
)
rejected(
    "the null hash with an index",
    _GONE,
    lambda b: b.block(b.pay(coins=[(outpoint(bytes(32), 0), TxOut(1, ANYONE))])),
)
rejected(
    "a transaction larger than a block",
    "bad-blk-length",
    lambda b: b.block(b.pay(TxOut(_VALUE, b"\x6a" + bytes(1_000_000)))),
)
accepted("an output of nothing", lambda b: b.block(b.pay(TxOut(0, ANYONE), TxOut(_VALUE, ANYONE))))
accepted("a transaction of version 0", lambda b: b.block(b.pay(version=0)))
accepted("a transaction of version 0xffffffff", lambda b: b.block(b.pay(version=0xFFFFFFFF)))

# -- what is there --

rejected(
    "spends what never was", _GONE, lambda b: b.block(b.pay(coins=[(outpoint(b"\x09" * 32, 0), TxOut(1, ANYONE))]))
)
rejected(
    "spends an index that the transaction does not have",
    _GONE,
    lambda b: b.block(b.pay(coins=[(outpoint(b.coins[0][0].txid, 5_000), TxOut(1, ANYONE))])),
)
rejected(
    "spends the index 0xffffffff of a transaction",
    _GONE,
    lambda b: b.block(b.pay(coins=[(outpoint(b.coins[0][0].txid, 0xFFFFFFFF), TxOut(1, ANYONE))])),
)
rejected("spends the genesis output", _GONE, lambda b: b.block(b.pay(coins=[b.out(b.base[0].block.txs[0])])))
rejected("spends what is spent", _GONE, lambda b: b.block(b.pay(coins=[b.out(b.base[1].block.txs[0])])))
rejected("the same output in two transactions", _GONE, lambda b: b.block(b.pay(), b.pay(TxOut(1, ANYONE)), fees=0))


def _chain(b: Bench, length: int) -> list[Tx]:
    txs = [b.pay()]
    while len(txs) < length:
        txs.append(b.pay(coins=[b.out(txs[-1])]))
    return txs


accepted("a transaction spends the one before it", lambda b: b.block(*_chain(b, 2)))
rejected("a transaction spends the one behind it", _GONE, lambda b: b.block(*reversed(_chain(b, 2))))
rejected(
    "an output made and spent twice in the block",
    _GONE,
    lambda b: b.block(*_chain(b, 2), b.pay(TxOut(7, ANYONE), coins=[b.out(_chain(b, 1)[0])])),
)
rejected(
    "spends an index that a later transaction does not have",
    _GONE,
    lambda b: b.block(b.pay(coins=[(outpoint(b.pay().txid, 1), TxOut(1, ANYONE))]), b.pay(), fees=0),
)


def _spends(b: Bench, output: TxOut) -> Spot:
    """`output`, made and spent in one block."""
    made = b.pay(output)
    return b.block(made, b.pay(TxOut(0, ANYONE), coins=[b.out(made)]), fees=0)


rejected("spends an OP_RETURN", _GONE, lambda b: _spends(b, TxOut(_VALUE, b"\x6a")))
rejected("spends an OP_RETURN with data", _GONE, lambda b: _spends(b, TxOut(_VALUE, b"\x6a\x04data")))
rejected("spends a script of 10,001 bytes", _GONE, lambda b: _spends(b, TxOut(_VALUE, b"\x51" * 10_001)))
rejected(
    "spends a script of 10,000 bytes",
    "block-script-verify-flag-failed (Stack size limit exceeded)",
    lambda b: _spends(b, TxOut(_VALUE, b"\x51" * 10_000)),
)
accepted("spends an empty script with a true input script", lambda b: _true_input(b))


def _true_input(b: Bench) -> Spot:
    made = b.make(b"")
    return b.block(made, b.pay(coins=[b.out(made)], script_sig=b"\x51"))


@case("double spend in the next block")
def _next_block(b: Bench) -> None:
    first = b.block(b.pay())
    b.accepts(first)
    b.rejects(b.block(b.pay(TxOut(1, ANYONE)), on=first), _GONE)


@case("spend of an output that another transaction of the block has replaced")
def _two_ways(b: Bench) -> None:
    made = b.pay()
    first = b.block(made, b.pay(TxOut(5, ANYONE), coins=[b.out(made)]))
    b.accepts(first)
    b.rejects(b.block(b.pay(TxOut(4, ANYONE), coins=[b.out(made)]), on=first), _GONE)


# -- worth --

rejected(
    "value made out of nothing: one unit",
    "bad-txns-in-belowout",
    lambda b: b.block(b.pay(TxOut(_VALUE + 1, ANYONE))),
)
accepted("exactly what comes in goes out", lambda b: b.block(b.pay(TxOut(_VALUE, ANYONE))))
rejected(
    "value made by the second transaction, paid for by the first's fee",
    "bad-txns-in-belowout",
    lambda b: b.block(b.pay(TxOut(0, ANYONE)), b.pay(TxOut(_VALUE + 1, ANYONE), coin=1), fees=0),
)
accepted(
    "three hundred inputs",
    lambda b: b.block(b.pay(coins=[b.coins[n] for n in range(300)])),
)


@case("a bad transaction behind a thousand good ones changes nothing")
def _late(b: Bench) -> None:
    good = _chain(b, 1_000)
    b.rejects(b.block(*good, b.pay(TxOut(_VALUE + 1, ANYONE), coin=1)), "bad-txns-in-belowout")
    b.accepts(b.block(*good))


@case("the order of faults: a missing input is seen before a bad script")
def _order(b: Bench) -> None:
    false = b.make(b"\x00")
    bad_script = b.pay(coins=[b.out(false)])
    missing = b.pay(coins=[(outpoint(b"\x0a" * 32, 0), TxOut(1, ANYONE))])
    b.rejects(b.block(false, bad_script, missing), _GONE)
    greedy = b.block(false, bad_script, fees=1)
    b.rejects(greedy, "bad-cb-amount")
