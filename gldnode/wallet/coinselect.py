"""Which coins to spend: branch and bound, knapsack and single random draw; the least wasteful result wins.

The algorithms and constants are Bitcoin Core's (wallet/coinselection.cpp): pure functions of the candidates,
the target and a source of randomness.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gldnode.entropy import Entropy
from gldnode.primitives.tx import OutPoint

__all__ = ["CHANGE_LOWER", "CHANGE_UPPER", "Candidate", "Request", "Selection", "change_target", "select_coins"]

CHANGE_LOWER: Final = 50_000
CHANGE_UPPER: Final = 1_000_000
_BNB_TRIES: Final = 100_000
_KNAPSACK_ROUNDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A coin that may be spent."""

    prevout: OutPoint
    amount: int
    fee: int
    """Of its input at the transaction's feerate."""
    long_term_fee: int
    """Of its input when there is no hurry."""
    weight: int

    @property
    def effective(self) -> int:
        """What it adds after paying for itself."""
        return self.amount - self.fee


@dataclass(frozen=True, slots=True)
class Request:
    """What the coins must cover. Amounts in grains."""

    target: int
    """Outputs and the fee of everything but the inputs; without that fee where recipients pay it."""
    change_fee: int
    """Of the change output."""
    cost_of_change: int
    """Of making change now and spending it later."""
    min_change: int
    """What knapsack and random draw leave for change at least, on top of `change_fee`."""
    min_viable_change: int
    subtract_fee: bool = False
    """Recipients pay the fee: coins count with their full amount."""
    max_weight: int = 400_000

    def value_of(self, candidate: Candidate) -> int:
        return candidate.amount if self.subtract_fee else candidate.effective


@dataclass(frozen=True, slots=True)
class Selection:
    coins: tuple[Candidate, ...]
    algorithm: str
    waste: int

    @property
    def amount(self) -> int:
        return sum(coin.amount for coin in self.coins)


def change_target(payment: int, change_fee: int, entropy: Entropy) -> int:
    """A random least change, so that size does not tell payment from change (Core: GenerateChangeTarget)."""
    if payment <= CHANGE_LOWER // 2:
        return change_fee + CHANGE_LOWER
    upper = min(payment * 2, CHANGE_UPPER)
    return change_fee + CHANGE_LOWER + entropy.below(max(1, upper - CHANGE_LOWER))


def select_coins(candidates: Sequence[Candidate], request: Request, entropy: Entropy) -> Selection | None:
    """The least wasteful selection that reaches the target; None when nothing does."""
    useful = [coin for coin in candidates if request.value_of(coin) > 0]
    if sum(map(request.value_of, useful)) < request.target:
        return None
    found = [_knapsack(useful, request, entropy), _random_draw(useful, request, entropy)]
    if not request.subtract_fee:
        found.insert(0, _branch_and_bound(useful, request))
    fitting = [one for one in found if one and sum(coin.weight for coin in one.coins) <= request.max_weight]
    return min(fitting, key=lambda one: (one.waste, -len(one.coins)), default=None)


def _waste(coins: Sequence[Candidate], request: Request) -> int:
    """What the selection costs beyond need (Core: RecalculateWaste)."""
    timing = sum(coin.fee - coin.long_term_fee for coin in coins)
    excess = sum(map(request.value_of, coins)) - request.target
    if excess - request.change_fee >= request.min_viable_change:
        return timing + request.cost_of_change
    return timing + excess


def _selection(coins: Sequence[Candidate], algorithm: str, request: Request) -> Selection:
    return Selection(tuple(coins), algorithm, _waste(coins, request))


def _branch_and_bound(candidates: Sequence[Candidate], request: Request) -> Selection | None:
    """An exact match that needs no change, within the cost of change (Core: SelectCoinsBnB)."""
    pool = sorted(candidates, key=lambda coin: (-coin.effective, coin.fee - coin.long_term_fee))
    available = sum(coin.effective for coin in pool)
    if available < request.target:
        return None
    fees_are_high = bool(pool) and pool[0].fee > pool[0].long_term_fee
    chosen: list[int] = []
    value = waste = 0
    best: list[int] | None = None
    best_waste = 1 << 62
    position = 0
    for _ in range(_BNB_TRIES):
        backtrack = (
            value + available < request.target
            or value > request.target + request.cost_of_change
            or (waste > best_waste and fees_are_high)
        )
        if not backtrack and value >= request.target:
            total = waste + value - request.target
            if total <= best_waste:
                best, best_waste = chosen.copy(), total
            backtrack = True
        if backtrack:
            if not chosen:
                break
            position -= 1
            while position > chosen[-1]:
                available += pool[position].effective
                position -= 1
            coin = pool[position]
            value -= coin.effective
            waste -= coin.fee - coin.long_term_fee
            chosen.pop()
        else:
            coin = pool[position]
            available -= coin.effective
            twin = pool[position - 1] if position else None
            if (
                not chosen
                or position - 1 == chosen[-1]
                or twin is None
                or coin.effective != twin.effective
                or coin.fee != twin.fee
            ):
                chosen.append(position)
                value += coin.effective
                waste += coin.fee - coin.long_term_fee
        position += 1
    if best is None:
        return None
    return _selection([pool[index] for index in best], "bnb", request)


def _shuffled(candidates: Sequence[Candidate], entropy: Entropy) -> list[Candidate]:
    pool = list(candidates)
    for index in range(len(pool) - 1, 0, -1):
        other = entropy.below(index + 1)
        pool[index], pool[other] = pool[other], pool[index]
    return pool


def _random_draw(candidates: Sequence[Candidate], request: Request, entropy: Entropy) -> Selection | None:
    """Coins in random order until there is enough for decent change (Core: SelectCoinsSRD)."""
    target = request.target + CHANGE_LOWER + request.change_fee
    taken: list[Candidate] = []
    total = 0
    for coin in _shuffled(candidates, entropy):
        taken.append(coin)
        total += request.value_of(coin)
        if total >= target:
            return _selection(taken, "srd", request)
    return None


def _knapsack(candidates: Sequence[Candidate], request: Request, entropy: Entropy) -> Selection | None:
    """A subset near the target, or the smallest coin above it (Core: KnapsackSolver)."""
    least_change = request.min_change
    smaller: list[Candidate] = []
    larger: Candidate | None = None
    for coin in _shuffled(candidates, entropy):
        value = request.value_of(coin)
        if value == request.target:
            return _selection([coin], "knapsack", request)
        if value < request.target + least_change:
            smaller.append(coin)
        elif larger is None or value < request.value_of(larger):
            larger = coin
    total = sum(map(request.value_of, smaller))
    if total == request.target:
        return _selection(smaller, "knapsack", request)
    if total < request.target:
        return _selection([larger], "knapsack", request) if larger else None
    smaller.sort(key=request.value_of, reverse=True)
    best, best_value = _best_subset(smaller, request, total, request.target, entropy)
    if best_value != request.target and total >= request.target + least_change:
        best, best_value = _best_subset(smaller, request, total, request.target + least_change, entropy)
    if larger is not None and (
        (best_value != request.target and best_value < request.target + least_change)
        or request.value_of(larger) <= best_value
    ):
        return _selection([larger], "knapsack", request)
    return _selection(best, "knapsack", request)


def _best_subset(
    pool: Sequence[Candidate], request: Request, total: int, target: int, entropy: Entropy
) -> tuple[list[Candidate], int]:
    """Random subsets, each reduced as far as it stays above `target` (Core: ApproximateBestSubset)."""
    values = [request.value_of(coin) for coin in pool]
    best_flags, best_value = [True] * len(pool), total
    rounds = _KNAPSACK_ROUNDS if len(pool) <= 100 else max(20, 100_000 // len(pool))
    for _ in range(rounds):
        if best_value == target:
            break
        bits = int.from_bytes(entropy.bytes((len(pool) + 7) // 8), "little")
        flags = [False] * len(pool)
        value = 0
        reached = False
        for first_pass in (True, False):
            for index, amount in enumerate(values):
                take = bool(bits >> index & 1) if first_pass else not flags[index]
                if not take:
                    continue
                value += amount
                flags[index] = True
                if value >= target:
                    reached = True
                    if value < best_value:
                        best_value, best_flags = value, flags.copy()
                    value -= amount
                    flags[index] = False
            if reached:
                break
    return [coin for coin, flag in zip(pool, best_flags, strict=True) if flag], best_value
