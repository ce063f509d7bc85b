"""Coin selection: what each algorithm promises, and what no combination may do."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from gldnode.errors import NodeError
from gldnode.primitives.tx import TxOut, outpoint
from gldnode.wallet.builder import Recipient, SpendableCoin, Terms, build
from gldnode.wallet.coinselect import Candidate, Request, change_target, select_coins
from gldnode.wallet.fees import feerate_fee
from gldnode.wallet.sizes import transaction_weight

P2WPKH = b"\x00\x14" + bytes(20)
WEIGHT = 271


class Dice:
    """Randomness that repeats."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def below(self, limit: int) -> int:
        return self._random.randrange(limit)


def _candidates(amounts: Sequence[int], feerate: int = 1_000, long_term: int = 10_000) -> list[Candidate]:
    vsize = -(-WEIGHT // 4)
    return [
        Candidate(
            outpoint(bytes(32), index),
            amount,
            feerate_fee(feerate, vsize),
            feerate_fee(long_term, vsize),
            WEIGHT,
        )
        for index, amount in enumerate(amounts)
    ]


def _request(target: int, *, subtract: bool = False) -> Request:
    return Request(target, 31, 31 + 68, 50_000, 294, subtract)


def test_exact_match_needs_no_change() -> None:
    coins = _candidates([100_000, 200_000, 300_000], feerate=20_000)
    target = coins[0].effective + coins[2].effective
    found = select_coins(coins, _request(target), Dice())
    assert found is not None
    assert found.algorithm == "bnb"
    assert {coin.amount for coin in found.coins} == {100_000, 300_000}


def test_nothing_reaches_the_target() -> None:
    assert select_coins(_candidates([1_000, 2_000]), _request(5_000), Dice()) is None
    assert select_coins([], _request(1), Dice()) is None


def test_coins_that_cost_more_than_they_bring_are_left() -> None:
    coins = _candidates([100] * 50 + [1_000_000], feerate=20_000)
    found = select_coins(coins, _request(500_000), Dice())
    assert found is not None
    assert [coin.amount for coin in found.coins] == [1_000_000]


def test_many_coins_are_chosen_from_quickly() -> None:
    dice = random.Random(7)
    coins = _candidates([dice.randrange(1_000, 10_000_000) for _ in range(2_000)])
    found = select_coins(coins, _request(50_000_000), Dice())
    assert found is not None
    assert sum(coin.effective for coin in found.coins) >= 50_000_000


def test_change_target_is_not_told_by_its_size() -> None:
    assert change_target(10_000, 31, Dice()) == 50_031
    assert all(50_031 <= change_target(5_000_000, 31, Dice(seed)) < 1_000_031 for seed in range(50))


@given(
    amounts=st.lists(st.integers(300, 10_000_000), min_size=1, max_size=30),
    payments=st.lists(st.tuples(st.integers(294, 5_000_000), st.booleans()), min_size=1, max_size=4),
    feerate=st.integers(1_000, 200_000),
    seed=st.integers(0, 100),
)
@settings(max_examples=200)
def test_no_payment_overpays_or_underpays(
    amounts: list[int], payments: list[tuple[int, bool]], feerate: int, seed: int
) -> None:
    coins = [
        SpendableCoin(outpoint(bytes(32), index), TxOut(amount, P2WPKH), WEIGHT)
        for index, amount in enumerate(amounts)
    ]
    recipients = [Recipient(P2WPKH, amount, pays_fee) for amount, pays_fee in payments]
    terms = Terms(feerate, 10_000, 3_000, 3_000, 10_000_000, P2WPKH, WEIGHT)
    try:
        built = build(recipients, coins, [], terms, Dice(seed))
    except NodeError:
        return
    spent = sum(output.amount for output in built.spent)
    paid = sum(output.amount for output in built.tx.outputs)
    assert built.fee == spent - paid
    assert len({txin.prevout for txin in built.tx.inputs}) == len(built.tx.inputs)
    weight = transaction_weight([WEIGHT] * len(built.tx.inputs), built.tx.outputs, has_witness=True)
    needed = feerate_fee(feerate, -(-weight // 4))
    worth_of_change = feerate_fee(feerate, 31) + max(feerate_fee(3_000, 68) + 1, 294)
    assert needed <= built.fee <= needed + worth_of_change
    if built.change_position is not None:
        assert built.fee == needed
    if not any(pays_fee for _, pays_fee in payments):
        wanted = sorted(amount for amount, _ in payments)
        outputs = [
            output.amount for index, output in enumerate(built.tx.outputs) if index != built.change_position
        ]
        assert sorted(outputs) == wanted
