"""Whom we ask for a transaction, and when."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from gldnode.p2p.txrequest import EXPIRY_MS, MAX_ANNOUNCEMENTS, MAX_IN_FLIGHT, TxRequests

A, B = b"a" * 32, b"b" * 32


def announce(
    requests: TxRequests, peer: int, *, preferred: bool = True, now: int = 0, tx: bytes = A, wtxid: bool = True
) -> None:
    requests.announced(tx, peer, is_wtxid=wtxid, preferred=preferred, delay_txid=True, now_ms=now)


def due(requests: TxRequests, peer: int, now: int) -> list[bytes]:
    return [tx for tx, _ in requests.due(peer, now)]


def test_one_peer_is_asked_at_a_time_and_the_next_when_it_fails() -> None:
    requests = TxRequests()
    for peer in (1, 2, 3):
        announce(requests, peer)
    asked = [peer for peer in (1, 2, 3) if due(requests, peer, 0)]
    assert len(asked) == 1
    assert not any(due(requests, peer, EXPIRY_MS - 1) for peer in (1, 2, 3))
    second = [peer for peer in (1, 2, 3) if due(requests, peer, EXPIRY_MS)]
    assert len(second) == 1
    assert second != asked
    requests.refused(A, second[0])
    third = [peer for peer in (1, 2, 3) if due(requests, peer, EXPIRY_MS)]
    assert {*asked, *second, *third} == {1, 2, 3}
    requests.peer_gone(third[0])
    assert len(requests) == 0


def test_chosen_peers_come_first_and_inbound_ones_wait() -> None:
    requests = TxRequests()
    announce(requests, 1, preferred=False)
    announce(requests, 2, preferred=True, now=1999)
    assert not due(requests, 1, 1999)
    assert due(requests, 2, 2000) == [A]
    announce(requests, 1, preferred=False, tx=B, wtxid=False)
    assert not due(requests, 1, 3999)
    assert due(requests, 1, 4000) == [B]


def test_an_overloaded_peer_waits() -> None:
    requests = TxRequests()
    for number in range(MAX_IN_FLIGHT):
        announce(requests, 1, tx=number.to_bytes(32, "big"))
    assert len(due(requests, 1, 0)) == MAX_IN_FLIGHT
    announce(requests, 1)
    assert not due(requests, 1, 1999)
    assert due(requests, 1, 2000) == [A]
    assert requests.in_flight(1) == MAX_IN_FLIGHT + 1


def test_announcements_of_one_peer_are_bounded_whoever_it_is() -> None:
    requests = TxRequests()
    for number in range(MAX_ANNOUNCEMENTS + 10):
        announce(requests, 1, tx=number.to_bytes(32, "big"))
    assert requests.count(1) == len(requests) == MAX_ANNOUNCEMENTS
    requests.peer_gone(1)
    assert len(requests) == 0
    requests.advance(10)
    assert not requests._alarms or len(requests._alarms) <= 4 * MAX_ANNOUNCEMENTS


actions = st.lists(
    st.tuples(st.sampled_from("airgdt"), st.integers(1, 4), st.integers(0, 5), st.booleans()), max_size=80
)


@settings(max_examples=150)
@given(actions, st.integers(0, 1000))
def test_nobody_is_asked_twice_at_once_and_everything_ends(
    script: list[tuple[str, int, int, bool]], seed: int
) -> None:
    rng = random.Random(seed)
    requests = TxRequests()
    now, asked = 0, {}
    for action, peer, number, flag in script:
        tx = bytes([number]) * 32
        match action:
            case "a":
                announce(requests, peer, preferred=flag, now=now, tx=tx, wtxid=rng.random() < 0.5)
            case "i" | "d":
                for one in due(requests, peer, now):
                    assert asked.get(one, (0, -EXPIRY_MS))[1] + EXPIRY_MS <= now or asked[one][0] is None
                    asked[one] = (peer, now)
            case "r":
                requests.refused(tx, peer)
                if asked.get(tx, (None,))[0] == peer:
                    asked[tx] = (None, now)
            case "g":
                requests.peer_gone(peer)
                for one, (who, when) in list(asked.items()):
                    if who == peer:
                        asked[one] = (None, when)
            case "t":
                now += rng.randrange(30_000)
        assert all(requests.in_flight(one) >= 0 for one in range(1, 5))
    for _ in range(30):
        now += EXPIRY_MS
        for peer in range(1, 5):
            due(requests, peer, now)
    assert len(requests) == 0
    assert all(requests.in_flight(peer) == 0 for peer in range(1, 5))
