"""Networks of two to eight nodes in virtual time: whatever happens, honest nodes end in agreement."""

import random
from itertools import pairwise

import pytest

from gldnode.chain.utxostats import HashKind
from gldnode.primitives.hashes import Txid
from tests.support.campaign import campaign, campaign_seed
from tests.support.simnet import SimNetwork, SimNode

SETTLE_S = 3_600


def utxo_hash(node: SimNode) -> bytes | None:
    return node.chain.coin_stats(HashKind.MUHASH).hash


def line_of(seed: int, size: int, *, v2: bool = False, mined: int = 0) -> SimNetwork:
    net = SimNetwork(seed, size, v2=v2)
    if mined:
        net.nodes[0].mine(mined)
    for a, b in pairwise(net.nodes):
        net.connect(a, b)
    return net


@pytest.mark.parametrize("v2", [False, True])
def test_a_new_node_downloads_the_chain_and_hears_of_payments(v2: bool) -> None:
    net = line_of(1, 3, v2=v2, mined=150)
    assert net.run_until(net.agree, 600)
    tx = net.nodes[0].pay()
    assert tx is not None
    assert net.run_until(lambda: all(tx.txid in node.pool for node in net.nodes), 300)
    net.nodes[2].mine()
    assert net.run_until(net.agree, 60)
    assert all(tx.txid not in node.pool for node in net.nodes)


def test_the_longer_side_of_a_partition_wins_and_the_shorter_side_pays_again() -> None:
    net = line_of(2, 2, mined=20)
    a, b = net.nodes
    assert net.run_until(net.agree, 600)
    for node, peer_id in net.connections():
        net.cut(node, peer_id)
    tx = a.pay()
    assert tx is not None
    a.mine(2)
    b.mine(5)
    net.connect(a, b)
    assert net.run_until(net.agree, 600)
    assert a.chain.tip.height == 25
    assert tx.txid in a.pool
    assert utxo_hash(a) == utxo_hash(b)


def test_more_than_two_thousand_headers_are_fetched_in_parts() -> None:
    net = SimNetwork(3, 2)
    a, b = net.nodes
    a.mine(2100)
    net.connect(b, a)
    assert net.run_until(net.agree, 3_600)


def test_one_silent_peer_does_not_hold_a_transaction_back() -> None:
    net = line_of(4, 3, mined=20)
    assert net.run_until(net.agree, 600)
    a, b, c = net.nodes
    net.connect(a, c)
    net.run(10)
    tx = a.pay()
    assert tx is not None
    serve = b.processing.serving.serve
    b.processing.serving.serve = lambda state: state.serve.clear()  # type: ignore[method-assign]
    assert net.run_until(lambda: tx.txid in c.pool, 200)
    b.processing.serving.serve = serve  # type: ignore[method-assign]


def wander(seed: int) -> None:
    """One run: random mining, payments, broken connections and partitions, then peace and agreement."""
    rng = random.Random(seed)
    net = SimNetwork(seed, rng.randrange(2, 9), v2=rng.random() < 0.3)
    net.nodes[0].mine(8)
    for node in net.nodes[1:]:
        net.connect(node, net.nodes[rng.randrange(node.index)])
    for _ in range(rng.randrange(3, 12)):
        node = rng.choice(net.nodes)
        match rng.randrange(6):
            case 0 | 1:
                node.mine(rng.randrange(1, 4))
            case 2:
                net.nodes[0].pay()
            case 3:
                if connections := net.connections():
                    net.cut(*rng.choice(connections))
            case 4:
                cut_off = rng.sample(net.nodes, rng.randrange(1, len(net.nodes)))
                for side, peer_id in net.connections():
                    if side in cut_off:
                        net.cut(side, peer_id)
            case 5:
                other = rng.choice(net.nodes)
                if other is not node:
                    net.connect(node, other)
        net.run(rng.random() * 20)
    for node in net.nodes[1:]:
        net.connect(node, net.nodes[0])
    best = max(node.chain.tip.chain_work for node in net.nodes)
    assert net.run_until(lambda: all(node.chain.tip.chain_work == best for node in net.nodes), SETTLE_S), [
        node.chain.tip.height for node in net.nodes
    ]
    net.nodes[-1].mine()  # of two chains with equal work each node keeps the one it saw first: break the tie
    assert net.run_until(net.agree, SETTLE_S), [node.chain.tip.height for node in net.nodes]
    assert len({utxo_hash(node) for node in net.nodes}) == 1
    tx = net.nodes[0].pay()
    if tx is not None:
        wanted: Txid = tx.txid
        assert net.run_until(lambda: all(wanted in node.pool for node in net.nodes), SETTLE_S)
    for node in net.nodes:
        assert not node.discouraged, node.log[-10:]
        assert not node.processing.blocks.in_flight
        assert len(node.processing.txs.requests) < 50
        assert all(state.peer.output_size < 1_000_000 for state in node.processing.peers.values())


@pytest.mark.parametrize("part", range(4))
def test_honest_nodes_end_on_the_same_tip_with_the_same_coins(part: int) -> None:
    base = campaign_seed("network runs")
    for run in range(part, campaign(200, 10_000), 4):
        try:
            wander(base + run)
        except AssertionError as error:
            raise AssertionError(f"network seed {base + run} failed: {error}") from error
