"""MuHash3072 against the value of Bitcoin Core's crypto tests."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gldnode.crypto.muhash import MuHash3072
from gldnode.primitives.hashes import from_display_hex


def of(*numbers: int) -> MuHash3072:
    state = MuHash3072()
    for number in numbers:
        state.insert(bytes((number,)) + bytes(31))
    return state


def test_hash_of_two_inserted_and_one_removed() -> None:
    state = of(0, 1)
    state.remove(bytes((2,)) + bytes(31))
    assert state.digest() == from_display_hex("10d312b100cbd32ada024a6646e40d3482fcff103668d2625f10002a607d5863")
    assert MuHash3072.from_bytes(state.to_bytes()).digest() == state.digest()


@settings(max_examples=20)
@given(st.lists(st.binary(max_size=40), max_size=5), st.lists(st.binary(max_size=40), max_size=5))
def test_order_does_not_matter_and_removing_undoes(one: list[bytes], other: list[bytes]) -> None:
    together = MuHash3072()
    for item in one + other:
        together.insert(item)
    for item in reversed(other):
        together.remove(item)
    alone = MuHash3072()
    for item in reversed(one):
        alone.insert(item)
    assert together.digest() == alone.digest()


def test_digests_together_are_those_of_each() -> None:
    states = [MuHash3072()]
    for number in range(6):
        state = states[-1].copy()
        state.insert(b"%d" % number)
        state.remove(b"-%d" % (number % 3))
        states.append(state)
    assert MuHash3072.digests(states) == [state.digest() for state in states]
    assert MuHash3072.digests([]) == []
