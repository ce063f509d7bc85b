"""A parent that pays too little comes with the child that pays for both (one parent, one child)."""

import pytest

from gldnode.p2p.messages import Inventory, InvItem, InvType
from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx
from tests.support.simnet import P2SH_TRUE, SimNetwork, SimNode
from tests.support.wire import Lab, WirePeer

UNLOCK = b"\x01\x51"
TRUC = 3
"""BIP 431: only such a transaction may pay nothing at all."""


@pytest.fixture
def lab() -> Lab:
    return Lab(blocks=8)


def spend(parent: Tx, index: int, *, fee: int, outputs: int = 1) -> Tx:
    amount = (parent.outputs[index].amount - fee) // outputs
    return make_tx(
        TRUC,
        [TxIn(parent.outpoint(index), UNLOCK, 0xFFFFFFFD)],
        [TxOut(amount, P2SH_TRUE) for _ in range(outputs)],
    )


def family(node: SimNode, *, parent_fee: int = 0, child_fee: int = 20_000) -> tuple[Tx, Tx]:
    """A parent that pays next to nothing, and its child."""
    for prevout, output, height in node.coins:
        if node.chain.tip.height - height >= node.network.params.coinbase_maturity:
            parent = make_tx(
                TRUC, [TxIn(prevout, UNLOCK, 0xFFFFFFFD)], [TxOut(output.amount - parent_fee, P2SH_TRUE)]
            )
            return parent, spend(parent, 0, fee=child_fee)
    raise AssertionError("no mature coin")


def asked_for(peer: WirePeer, tx: Tx) -> bool:
    wanted = InvItem(InvType.WITNESS_TX, tx.txid)
    return any(wanted in Inventory.decode(message.payload).items for message in peer.take("getdata"))


def test_the_parent_of_a_paying_child_is_asked_for_and_taken_with_it(lab: Lab) -> None:
    parent, child = family(lab.node)
    peer, other = lab.peer(), lab.peer()
    peer.send("tx", child.raw)
    assert child.txid not in lab.node.pool
    lab.run(3)
    assert asked_for(peer, parent)
    peer.send("tx", parent.raw)
    assert parent.txid in lab.node.pool
    assert child.txid in lab.node.pool
    assert len(lab.node.processing.orphans) == 0
    lab.run(60)
    told = [item.hash for message in other.take("inv") for item in Inventory.decode(message.payload).items]
    assert told == [parent.wtxid, child.wtxid]
    assert peer.closed is None


def test_a_parent_that_was_refused_is_asked_for_again_when_its_child_comes(lab: Lab) -> None:
    parent, child = family(lab.node)
    peer = lab.peer()
    peer.send("tx", parent.raw)
    assert parent.txid not in lab.node.pool
    peer.send("tx", child.raw)
    lab.run(3)
    assert asked_for(peer, parent)
    peer.send("tx", parent.raw)
    assert {parent.txid, child.txid} <= set(lab.node.pool.txids())


def test_a_transaction_that_pays_too_little_is_not_asked_for_twice_for_its_own_sake(lab: Lab) -> None:
    parent, _ = family(lab.node)
    lab.peer().send("tx", parent.raw)
    other = lab.peer()
    other.inv((InvType.WTX, parent.wtxid))
    lab.run(30)
    assert not other.take("getdata")
    lab.node.mine()  # what is little now need not be little later
    other.inv((InvType.WTX, parent.wtxid))
    lab.run(30)
    assert other.take("getdata")


def test_a_child_that_does_not_pay_enough_brings_nothing_in(lab: Lab) -> None:
    parent, child = family(lab.node, child_fee=1)
    peer = lab.peer()
    peer.send("tx", child.raw)
    peer.send("tx", parent.raw)
    lab.run(3)
    assert lab.node.pool.txids() == []
    assert peer.closed is None


def test_children_of_other_peers_are_not_tried(lab: Lab) -> None:
    """Else a stranger's bad child could be put beside the parent."""
    parent, child = family(lab.node)
    giver, stranger = lab.peer(), lab.peer()
    stranger.send("tx", child.raw)
    giver.send("tx", parent.raw)
    assert parent.txid not in lab.node.pool
    giver.inv((InvType.WTX, child.wtxid))  # it has the orphan too, so it can be asked for the parent
    lab.run(65)
    assert asked_for(giver, parent)
    giver.send("tx", parent.raw)
    assert child.txid in lab.node.pool


def test_of_several_children_the_one_that_pays_is_found(lab: Lab) -> None:
    (prevout, output, _) = lab.node.coins[0]
    half = output.amount // 2
    parent = make_tx(TRUC, [TxIn(prevout, UNLOCK, 0xFFFFFFFD)], [TxOut(half, P2SH_TRUE), TxOut(half, P2SH_TRUE)])
    poor, rich = spend(parent, 0, fee=1), spend(parent, 1, fee=30_000)
    peer = lab.peer()
    for tx in (poor, rich, parent):
        peer.send("tx", tx.raw)
    assert {parent.txid, rich.txid} <= set(lab.node.pool.txids())


def test_a_package_crosses_a_network_although_its_parent_is_announced_to_nobody() -> None:
    net = SimNetwork(9, 4)
    net.nodes[0].mine(12)
    for a, b in ((0, 1), (1, 2), (2, 3)):
        net.connect(net.nodes[a], net.nodes[b])
    assert net.run_until(net.agree, 600)
    net.run(660)  # fee filters are told
    parent, child = family(net.nodes[0])
    result = net.nodes[0].pool.submit_package([parent, child])
    assert result.message == "success"
    net.nodes[0].after()
    assert net.run_until(lambda: all(child.txid in node.pool for node in net.nodes), 300)
    assert all(parent.txid in node.pool for node in net.nodes)
    net.nodes[3].mine()
    assert net.run_until(net.agree, 60)
    assert all(not node.pool.txids() for node in net.nodes)
