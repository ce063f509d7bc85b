"""A network of nodes in one process: virtual time, seeded latency, lost connections, partitions.

Bytes of one direction of a connection arrive in order, as TCP delivers them; different connections overtake each
other freely. Every random choice comes from the one seed, so a failing run replays exactly.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import ChainOptions
from gldnode.errors import Reject
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.pool import Mempool
from gldnode.mining.generate import generate_blocks
from gldnode.p2p.messages import Services
from gldnode.p2p.netaddress import NetAddress, Network
from gldnode.p2p.peer import ConnectionType, LocalNode, Peer, Permission
from gldnode.p2p.processing import Processing
from gldnode.params import REGTEST, ChainParams
from gldnode.primitives.tx import OutPoint, Tx, TxIn, TxOut, make_tx

__all__ = ["SeededEntropy", "SimNetwork", "SimNode", "VirtualClock"]

SIM_PARAMS = replace(REGTEST, coinbase_maturity=4)
"""Coins mature early: a run need not begin with a hundred blocks."""
TICK_MS = 400
P2SH_TRUE = bytes.fromhex("a914da1745e9b549bd0bfa1a569971c77eba30cd5a4b87")
"""Pays to the script OP_TRUE by its hash: standard, and anyone can spend it without a signature."""


class VirtualClock:
    """Moves only when the network does."""

    def __init__(self, start: int) -> None:
        self.ms = start * 1000

    def now(self) -> int:
        return self.ms // 1000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


class SeededEntropy:
    """Repeatable "randomness"."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def bytes(self, count: int) -> bytes:
        return self._rng.randbytes(count)

    def below(self, limit: int) -> int:
        return self._rng.randrange(limit)


@dataclass(order=True, slots=True)
class _Event:
    at_ms: int
    order: int
    work: Callable[[], None] = field(compare=False)


@dataclass(slots=True)
class _Wire:
    """One direction of a connection."""

    source: "SimNode"
    target: "SimNode"
    source_id: int
    target_id: int
    latency_ms: int
    free_at_ms: int = 0
    alive: bool = True


class SimNode:
    """Chain, mempool and peers of one node, all in memory."""

    def __init__(self, network: "SimNetwork", index: int) -> None:
        self.network = network
        self.index = index
        self.entropy = SeededEntropy(random.Random(network.rng.random()))
        self.chain = Chainstate.open(network.params, None, network.options, network.clock)
        self.pool = Mempool(self.chain, MempoolOptions(), network.clock)
        self.chain.add_listener(self.pool.apply)
        self.log: list[str] = []
        self.local = LocalNode(
            network.params.message_start,
            Services.NETWORK | Services.WITNESS | Services.P2P_V2,
            f"/node{index}:0.0/",
            self.entropy,
            v2_transport=network.v2,
        )
        self.processing = Processing(self.chain, self.pool, network.clock, self.entropy, log=self.log.append)
        self.discouraged: list[str] = []
        self.processing.discourage = lambda address, reason: self.discouraged.append(reason)
        self.address = NetAddress(Network.IPV4, bytes((10, 0, index, 1)), network.params.p2p_port)
        self.coins: list[tuple[OutPoint, TxOut, int]] = []

    @property
    def tip(self) -> bytes:
        return self.chain.tip.hash

    def mine(self, count: int = 1) -> None:
        """Blocks on this node's tip, from its mempool."""
        for _ in range(count):
            self.network.clock.ms += 1000
            generate_blocks(self.chain, self.pool, self.network.clock, 1, P2SH_TRUE)
            self.pool.finish_reorg()
            block = self.chain.read_block(self.chain.tip.hash)
            assert block is not None
            coinbase = block.txs[0]
            self.coins.append((coinbase.outpoint(0), coinbase.outputs[0], self.chain.tip.height))
        self.after()

    def pay(self) -> Tx | None:
        """Spend one mature coin of our own; None when there is none."""
        for at, (prevout, output, height) in enumerate(self.coins):
            if (
                self.chain.tip.height - height < self.network.params.coinbase_maturity
                or self.chain.coin(prevout) is None
            ):
                continue
            if self.pool.spender(prevout) is not None:
                continue
            del self.coins[at]
            tx = make_tx(2, [TxIn(prevout, b"\x01\x51", 0xFFFFFFFD)], [TxOut(output.amount - 10_000, P2SH_TRUE)])
            try:
                self.pool.accept(tx)
            except Reject as error:
                self.log.append(f"own payment refused: {error}")
                return None
            self.after()
            return tx
        return None

    def after(self) -> None:
        """What the real node does after each piece of validation work."""
        self.pool.finish_reorg()
        self.local.height = self.chain.tip.height
        self.processing.announcer.flush()
        self.network.collect(self)


class SimNetwork:
    """The nodes and the wires between them."""

    def __init__(
        self,
        seed: int,
        size: int,
        params: ChainParams = SIM_PARAMS,
        *,
        v2: bool = False,
        options: ChainOptions | None = None,
    ) -> None:
        self.options = options or ChainOptions()
        self.rng = random.Random(seed)
        self.params = params
        self.v2 = v2
        self.clock = VirtualClock(params.genesis.header.time + 86_400)
        self._events: list[_Event] = []
        self._order = 0
        self._next_peer = 0
        self._wires: dict[tuple[int, int], _Wire] = {}
        self.nodes = [SimNode(self, index) for index in range(size)]
        for node in self.nodes:
            self._tick(node)

    def after_ms(self, delay_ms: int, work: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, _Event(self.clock.ms + delay_ms, self._order, work))

    def _tick(self, node: SimNode) -> None:
        def work() -> None:
            node.processing.tick()
            self.collect(node)
            self._tick(node)

        self.after_ms(TICK_MS, work)

    def connect(
        self,
        a: SimNode,
        b: SimNode,
        *,
        kind: ConnectionType = ConnectionType.OUTBOUND_FULL_RELAY,
        permissions: Permission = Permission.NONE,
    ) -> tuple[int, int]:
        """A dials b; the ids of the connection at a and at b."""
        ids = (self._next_peer, self._next_peer + 1)
        self._next_peer += 2
        latency = self.rng.randrange(1, 200)
        for source, target, mine, theirs in ((a, b, ids[0], ids[1]), (b, a, ids[1], ids[0])):
            self._wires[source.index, mine] = _Wire(source, target, mine, theirs, latency)
        now = self.clock.now()
        inbound = Peer(ids[1], b.local, ConnectionType.INBOUND, a.address, now, permissions=permissions)
        outbound = Peer(ids[0], a.local, kind, b.address, now)
        b.processing.connected(inbound)
        a.processing.connected(outbound)
        self.collect(a)
        self.collect(b)
        return ids

    def cut(self, node: SimNode, peer_id: int) -> None:
        """The connection breaks; what is under way is lost."""
        wire = self._wires.pop((node.index, peer_id), None)
        if wire is None:
            return
        back = self._wires.pop((wire.target.index, wire.target_id))
        for each in (wire, back):
            each.alive = False
            state = each.source.processing.peers.get(each.source_id)
            if state is not None:
                each.source.processing.disconnected(state.peer)
                state.peer.closed()

    def connections(self) -> list[tuple[SimNode, int]]:
        return [(wire.source, wire.source_id) for wire in self._wires.values()]

    def collect(self, node: SimNode) -> None:
        """Put what a node wants to send on its wires."""
        for peer_id, data in node.processing.take_output():
            wire = self._wires.get((node.index, peer_id))
            if wire is None:
                continue
            delay = wire.latency_ms + self.rng.randrange(50)
            wire.free_at_ms = max(wire.free_at_ms, self.clock.ms + delay)
            self._carry(wire, data, wire.free_at_ms - self.clock.ms)
        for peer_id, _ in node.processing.unwanted():
            self.cut(node, peer_id)

    def _carry(self, wire: _Wire, data: bytes, delay_ms: int) -> None:
        def arrive() -> None:
            if not wire.alive:
                return
            state = wire.target.processing.peers.get(wire.target_id)
            if state is None:
                return
            pieces = 1 if self.rng.random() < 0.8 else 1 + self.rng.randrange(3)
            size = max(1, len(data) // pieces)
            for at in range(0, len(data), size):
                if wire.alive:
                    wire.target.processing.receive(state.peer, data[at : at + size])
                    wire.target.after()

        self.after_ms(delay_ms, arrive)

    def run(self, seconds: float) -> None:
        """Let that much virtual time pass."""
        end = self.clock.ms + int(seconds * 1000)
        while self._events and self._events[0].at_ms <= end:
            event = heapq.heappop(self._events)
            self.clock.ms = max(self.clock.ms, event.at_ms)
            event.work()
        self.clock.ms = max(self.clock.ms, end)

    def run_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until the condition holds; whether it did within `seconds`."""
        end = self.clock.ms + int(seconds * 1000)
        while self.clock.ms < end:
            if condition():
                return True
            self.run(1)
        return condition()

    def agree(self) -> bool:
        """Whether all nodes have the same tip."""
        return len({node.tip for node in self.nodes}) == 1
