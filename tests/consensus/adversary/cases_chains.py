"""Branches: equal work, overtaking, failures on the way, orphans, reorganisations, an operator's decisions."""

from gldnode.primitives.tx import Tx, TxOut
from tests.consensus.adversary.steps import Spot
from tests.consensus.adversary.workshop import ANYONE, COIN, TIP, Bench, Case, case

_VALUE = COIN // 10
_GONE = "bad-txns-inputs-missingorspent"
_GREEDY = "bad-cb-amount"


def _greedy(b: Bench, on: Spot) -> Spot:
    """A block that is found out only when it is connected."""
    return b.block(on=on, fees=1)


def _chain(b: Bench, length: int) -> list[Tx]:
    txs = [b.pay()]
    while len(txs) < length:
        txs.append(b.pay(coins=[b.out(txs[-1])]))
    return txs


# -- work --


@case("of equal work the first seen stays")
def _first_seen(b: Bench) -> None:
    left, right, third = b.block(), b.block(), b.block()
    b.accepts(left)
    b.sides(right, third)
    b.tips({left: "active", right: "valid-headers", third: "valid-headers"})
    b.repeats(right)
    b.repeats(left)


@case("the side chain overtakes, and is overtaken")
def _overtaking(b: Bench) -> None:
    left = b.branch(b.at, 4)
    right = b.branch(b.at, 4)
    b.accepts(left[0])
    b.sides(right[0])
    b.accepts(right[1])
    b.tips({left[0]: "valid-fork", right[1]: "active"})
    b.sides(left[1])
    b.accepts(left[2])
    b.sides(right[2])
    b.accepts(right[3])
    b.sides(left[3])


@case("three branches take turns")
def _three(b: Bench) -> None:
    branches = [b.branch(b.at, 5) for _ in range(3)]
    b.accepts(branches[0][0])
    b.sides(branches[1][0], branches[2][0])
    b.accepts(branches[1][1])
    b.sides(branches[2][1])
    b.accepts(branches[2][2])
    b.sides(branches[0][1], branches[0][2])
    b.accepts(branches[0][3])


@case("a branch of a branch")
def _branch_of_branch(b: Bench) -> None:
    left = b.branch(b.at, 2)
    right = b.branch(b.at, 2)
    twig = b.branch(right[0], 2)
    b.accepts(*left)
    b.sides(*right, twig[0])
    b.accepts(twig[1])
    b.sides(b.block(on=right[1]))


for _depth in (1, 2, 3, 6, 11, 19, 50, 100):

    def _reorganise(b: Bench, depth: int = _depth) -> None:
        branch = b.branch(b.base[TIP - depth], depth + 1)
        b.sides(*branch[:-1])
        b.accepts(branch[-1])
        back = b.branch(b.at, 2)
        b.sides(back[0])
        b.accepts(back[1])
        b.sides(b.block(on=branch[-1]))

    Case(f"reorganisation of depth {_depth} and back", TIP, _reorganise)


# -- bodies in another order --


@case("a child before its parent is an orphan")
def _orphan(b: Bench) -> None:
    parent, child = b.branch(b.at, 2)
    b.gives(child, "prev-blk-not-found")
    b.gives(child, "prev-blk-not-found")
    b.accepts(parent, child)


@case("an orphan of an invalid block")
def _orphan_of_invalid(b: Bench) -> None:
    parent = _greedy(b, b.at)
    child = b.block(on=parent)
    b.gives(child, "prev-blk-not-found")
    b.rejects(parent, _GREEDY)
    b.rejects(child, "bad-prevblk")


@case("bodies arrive in reverse behind their headers")
def _reverse(b: Bench) -> None:
    left = b.block()
    b.accepts(left)
    branch = b.branch(b.at, 6)
    for spot in branch:
        b.header(spot)
    b.sides(*reversed(branch[1:]))
    b.gives(branch[0], None, tip=branch[-1])


@case("a body is missing in the middle of the better branch")
def _gap(b: Bench) -> None:
    branch = b.branch(b.at, 5)
    for spot in branch:
        b.header(spot)
    b.accepts(branch[0])
    b.sides(branch[2], branch[3], branch[4])
    b.gives(branch[1], None, tip=branch[4])


# -- failures on the way --


@case("an invalid block on the tip, and what builds on it")
def _descendants(b: Bench) -> None:
    bad = _greedy(b, b.at)
    b.rejects(bad, _GREEDY)
    child = b.block(on=bad)
    b.rejects(child, "bad-prevblk")
    b.rejects(b.block(on=child), "prev-blk-not-found")
    b.tips({bad: "invalid", b.at: "active"})
    b.accepts(b.block())


@case("a longer side chain that begins with an invalid block")
def _bad_begin(b: Bench) -> None:
    left = b.branch(b.at, 2)
    b.accepts(*left)
    bad = _greedy(b, b.at)
    second = b.block(on=bad)
    third = b.block(on=second)
    b.sides(bad, second, third)  # the third overtakes: only now is the first found out
    b.gives(bad, "duplicate-invalid")
    b.gives(third, "duplicate-invalid")
    b.rejects(b.block(on=third), "bad-prevblk")
    b.tips({third: "invalid", left[1]: "active"})
    b.accepts(b.block(on=left[1]))


@case("a longer side chain with an invalid block in the middle")
def _bad_middle(b: Bench) -> None:
    left = b.branch(b.at, 3)
    b.accepts(*left)
    good = b.branch(b.at, 2)
    bad = _greedy(b, good[1])
    last = b.block(on=bad)
    b.sides(*good, bad, last)
    b.gives(bad, "duplicate-invalid")
    b.tips({last: "invalid", left[2]: "active"})
    # What stands before the bad block is as good as ever.
    more = b.branch(good[1], 2)
    b.sides(more[0])
    b.accepts(more[1])


@case("a side chain whose last block is invalid")
def _bad_end(b: Bench) -> None:
    left = b.branch(b.at, 2)
    b.accepts(*left)
    good = b.branch(b.at, 2)
    b.sides(*good)
    b.rejects(_greedy(b, good[1]), _GREEDY)
    b.accepts(b.block(on=left[1]))
    b.sides(b.block(on=good[1]))


@case("the valid part of a side chain is enough to win")
def _good_part(b: Bench) -> None:
    left = b.block()
    b.accepts(left)
    good = b.branch(b.at, 2)
    bad = _greedy(b, good[1])
    last = b.block(on=bad)
    for spot in (*good, bad, last):
        b.header(spot)
    b.sides(last, bad, good[1])
    b.gives(good[0], None, tip=good[1])
    b.tips({last: "invalid", good[1]: "active", left: "valid-fork"})
    b.gives(last, "duplicate-invalid")


@case("two bad branches, one after the other, then a good one")
def _two_bad(b: Bench) -> None:
    left = b.block()
    b.accepts(left)
    for _ in range(2):
        bad = _greedy(b, b.at)
        b.sides(bad, b.block(on=bad))
    good = b.branch(b.at, 2)
    b.sides(good[0])
    b.accepts(good[1])


@case("a side block that breaks a rule of its place is refused at once")
def _bad_side(b: Bench) -> None:
    b.accepts(*b.branch(b.at, 2))
    b.rejects(b.block(b.pay(lock_time=b.height, sequence=0)), "bad-txns-nonfinal")
    b.rejects(b.block(first=b.coinbase(script_sig=b"\x01\x01\x01")), "bad-cb-height")
    b.rejects(b.block(b.pay(TxOut(-1, ANYONE))), "bad-txns-vout-negative")
    b.rejects(b.block(time=b.at.median_time), "time-too-old")
    b.rejects(b.block(on=b.base[5], bits=0x207FFFFE), "bad-diffbits")


# -- coins --


@case("a spend on each branch of the same coin")
def _conflict(b: Bench) -> None:
    one = b.pay(TxOut(_VALUE, ANYONE))
    other = b.pay(TxOut(_VALUE - 1, ANYONE), TxOut(1, ANYONE))
    left = b.block(one)
    right = b.block(other)
    b.accepts(left)
    b.sides(right)
    # What the left branch made is unknown on the right one, and there it is not even spent.
    b.rejects(b.block(b.pay(TxOut(0, ANYONE), coins=[b.out(one)]), on=right, fees=0), _GONE)
    b.accepts(b.block(b.pay(TxOut(0, ANYONE), coins=[b.out(other)]), on=right))
    again = b.block(b.pay(TxOut(0, ANYONE), coins=[b.out(one)]), on=left)
    b.sides(again)
    b.accepts(b.block(on=again))


@case("a coin spent on the branch that was left is there again")
def _restored(b: Bench) -> None:
    left = b.block(b.pay())
    b.accepts(left)
    right = b.branch(b.at, 2)
    b.sides(right[0])
    b.accepts(right[1])
    b.accepts(b.block(b.pay(TxOut(9, ANYONE)), on=right[1]))


@case("the same transaction on both branches, at different heights")
def _same(b: Bench) -> None:
    tx = b.pay()
    left = b.block(tx)
    b.accepts(left)
    right = b.block()
    b.sides(right)
    second = b.block(tx, on=right)
    b.accepts(second)
    use = b.pay(TxOut(5, ANYONE), coins=[b.out(tx)])
    b.accepts(b.block(use, on=second))
    b.sides(b.block(use, on=left))
    b.rejects(b.block(use, on=b.tip), "bad-txns-BIP30")


@case("a transaction of the branch that was left is mined later on the other")
def _mined_later(b: Bench) -> None:
    txs = _chain(b, 3)
    left = b.block(*txs)
    b.accepts(left)
    right = b.branch(b.at, 2)
    b.sides(right[0])
    b.accepts(right[1])
    b.rejects(b.block(txs[1], on=right[1]), _GONE)
    b.accepts(b.block(*txs, on=right[1]))


@case("the coinbase of the branch that was left is gone")
def _coinbase_gone(b: Bench) -> None:
    left = b.block()
    b.accepts(left)
    right = b.branch(b.at, 2)
    b.sides(right[0])
    b.accepts(right[1])
    b.rejects(b.block(b.pay(TxOut(1, ANYONE), coins=[b.out(left.block.txs[0])]), on=right[1]), _GONE)


@case("a coinbase matures on its own branch")
def _matures(b: Bench) -> None:
    """A fork below: the same height has another coinbase there, and only that one can be spent."""
    fork = b.base[TIP - 100]
    branch = b.branch(fork, 101)
    b.sides(*branch[:-1])
    b.accepts(branch[-1])
    own, other = branch[0].block.txs[0], b.base[TIP - 99].block.txs[0]
    top = branch[-1]
    b.rejects(b.block(b.pay(TxOut(1, ANYONE), coins=[b.out(other)]), on=top), _GONE)
    young = branch[2].block.txs[0]
    b.rejects(
        b.block(b.pay(TxOut(1, ANYONE), coins=[b.out(young)]), on=top), "bad-txns-premature-spend-of-coinbase"
    )
    b.accepts(b.block(b.pay(TxOut(1, ANYONE), coins=[b.out(own)]), on=top))


@case("a chain of fifty spends within a block is undone and done again")
def _fifty(b: Bench) -> None:
    txs = _chain(b, 50)
    left = b.block(*txs)
    b.accepts(left)
    right = b.branch(b.at, 2)
    b.sides(right[0])
    b.accepts(right[1])
    back = b.branch(left, 2)
    b.sides(back[0])
    b.accepts(back[1])
    b.accepts(b.block(b.pay(TxOut(1, ANYONE), coins=[b.out(txs[-1])]), on=back[1]))
    b.rejects(b.block(b.pay(TxOut(1, ANYONE), coins=[b.out(txs[-2])]), on=b.tip), _GONE)


@case("coins as before after a reorganisation that failed")
def _failed_reorg(b: Bench) -> None:
    tx = b.pay()
    left = b.block(tx)
    b.accepts(left)
    right = b.block(b.pay(TxOut(3, ANYONE)))
    b.sides(right)
    b.rejects(_greedy(b, right), _GREEDY)
    b.rejects(b.block(b.pay(TxOut(4, ANYONE)), on=left), _GONE)
    b.accepts(b.block(b.pay(TxOut(5, ANYONE), coins=[b.out(tx)]), on=left))


@case("a branch that spends what only it has made")
def _own_coins(b: Bench) -> None:
    b.accepts(*b.branch(b.at, 3))
    tx = b.pay()
    first = b.block(tx)
    second = b.block(b.pay(coins=[b.out(tx)]), on=first)
    b.sides(first, second, b.block(on=second))
    third = b.block(on=second)
    b.sides(third)
    b.accepts(b.block(on=third))


# -- an operator's decisions --


@case("invalidateblock and reconsiderblock")
def _invalidate(b: Bench) -> None:
    branch = b.branch(b.at, 3)
    b.accepts(*branch)
    b.decide("invalidateblock", branch[1], tip=branch[0])
    b.gives(branch[1], "duplicate-invalid")
    b.gives(branch[2], "duplicate-invalid")
    b.rejects(b.block(on=branch[2]), "bad-prevblk")
    b.tips({branch[2]: "invalid", branch[0]: "active"})
    b.decide("reconsiderblock", branch[2], tip=branch[2])
    b.accepts(b.block(on=branch[2]))


@case("invalidateblock makes the other branch the best")
def _other(b: Bench) -> None:
    left = b.branch(b.at, 2)
    right = b.branch(b.at, 2)
    b.accepts(*left)
    b.sides(*right)
    b.decide("invalidateblock", left[1], tip=right[1])
    b.decide("reconsiderblock", left[1], tip=left[1])  # it was seen first
    b.decide("invalidateblock", left[0], tip=right[1])
    b.decide("invalidateblock", right[0], tip=b.at)
    b.decide("reconsiderblock", right[1], tip=right[1])
    b.decide("reconsiderblock", left[0], tip=left[1])


@case("reconsiderblock does not make an invalid block valid")
def _still_bad(b: Bench) -> None:
    bad = _greedy(b, b.at)
    b.rejects(bad, _GREEDY)
    b.decide("reconsiderblock", bad, tip=b.at)
    b.gives(bad, "duplicate-invalid")
    b.tips({bad: "invalid"})


@case("preciousblock decides between equals")
def _precious(b: Bench) -> None:
    left, right, third = b.block(), b.block(), b.block()
    b.accepts(left)
    b.sides(right, third)
    b.decide("preciousblock", right, tip=right)
    b.decide("preciousblock", third, tip=third)
    b.decide("preciousblock", left, tip=left)
    b.sides(b.block())
    b.accepts(b.block(on=right))
    b.decide("preciousblock", left, tip=b.tip)


@case("an invalidated branch grows unseen")
def _grows(b: Bench) -> None:
    left = b.branch(b.at, 2)
    b.accepts(*left)
    b.decide("invalidateblock", left[1], tip=left[0])
    b.rejects(b.block(on=left[1]), "bad-prevblk")
    other = b.block(on=left[0])
    b.accepts(other)
    b.decide("reconsiderblock", left[1], tip=left[1])
