"""One node and hand-made peers: what a peer sends is in the test's hands, byte for byte, in virtual time."""

from collections.abc import Sequence

from gldnode.chain.options import ChainOptions
from gldnode.p2p.framing import Deframer, Message, encode_frame
from gldnode.p2p.messages import Inventory, InvItem, Services, Version
from gldnode.p2p.netaddress import NetAddress, Network
from gldnode.p2p.peer import ConnectionType, Peer, Permission
from gldnode.params import ChainParams
from gldnode.primitives.block import BlockHeader, make_header
from gldnode.primitives.hashes import BlockHash
from tests.support.simnet import SIM_PARAMS, SimNetwork, SimNode

__all__ = ["Lab", "WirePeer", "header_chain", "version_message"]

OFFERED = int(Services.NETWORK | Services.WITNESS | Services.NETWORK_LIMITED)


def version_message(
    *,
    protocol: int = 70016,
    services: int = OFFERED,
    nonce: bytes = bytes(8),
    relay: bool = True,
    time: int = 0,
    receiver: bytes = bytes(26),
) -> bytes:
    return Version(protocol, services, time, receiver, bytes(26), nonce, "/test:1/", 0, relay).encode()


def header_chain(params: ChainParams, parent: bytes, time: int, count: int, salt: int = 1) -> list[BlockHeader]:
    """Headers with proof of work on `parent`, a second apart; regtest's target is easy."""
    found = []
    for _ in range(count):
        time += 1
        found.append(_child_header(params, parent, time, salt))
        parent = found[-1].hash
    return found


def _child_header(params: ChainParams, parent: bytes, time: int, salt: int) -> BlockHeader:
    nonce = 0
    while True:
        header = make_header(4, BlockHash(parent), salt.to_bytes(32, "little"), time, params.pow_limit_bits, nonce)
        if int.from_bytes(header.hash, "little") >> 255 == 0:
            return header
        nonce += 1


class WirePeer:
    """The other end of one connection to the lab's node. Version 1 transport."""

    def __init__(self, lab: "Lab", peer: Peer) -> None:
        self._lab = lab
        self.peer = peer
        self.got: list[Message] = []
        self.closed: str | None = None
        """Why the node ended the connection."""
        self._deframer = Deframer(lab.params.message_start)

    def deliver(self, data: bytes) -> None:
        self.got += self._deframer.feed(data)

    def frame(self, command: str, payload: bytes = b"") -> bytes:
        return encode_frame(self._lab.params.message_start, command, payload)

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self._lab.receive(self, data)

    def send(self, command: str, payload: bytes = b"") -> None:
        self.raw(self.frame(command, payload))

    def inv(self, *items: tuple[int, bytes], command: str = "inv") -> None:
        self.send(command, Inventory([InvItem(kind, name) for kind, name in items]).encode())

    def shake_hands(
        self, *, wtxid: bool = True, services: int = OFFERED, protocol: int = 70016, relay: bool = True
    ) -> None:
        now = self._lab.clock.now()
        self.send("version", version_message(protocol=protocol, services=services, relay=relay, time=now))
        if wtxid:
            self.send("wtxidrelay")
        self.send("verack")

    def take(self, *commands: str) -> list[Message]:
        """What came since the last look (of these commands, or all), which is then forgotten."""
        got, self.got = self.got, []
        return [message for message in got if not commands or message.command in commands]

    @property
    def state(self):  # type: ignore[no-untyped-def]
        return self._lab.node.processing.peers[self.peer.id]


class Lab(SimNetwork):
    """A single node whose peers are `WirePeer`s."""

    def __init__(
        self,
        seed: int = 1,
        params: ChainParams = SIM_PARAMS,
        *,
        blocks: int = 0,
        v2: bool = False,
        options: ChainOptions | None = None,
    ) -> None:
        self._ends: dict[int, WirePeer] = {}
        self._ids = 0
        super().__init__(seed, 1, params, v2=v2, options=options)
        self.node = self.nodes[0]
        if blocks:
            self.node.mine(blocks)

    def peer(
        self,
        kind: ConnectionType = ConnectionType.INBOUND,
        *,
        permissions: Permission = Permission.NONE,
        handshake: bool = True,
        wtxid: bool = True,
        services: int = OFFERED,
        protocol: int = 70016,
        relay: bool = True,
        local: bool = False,
    ) -> WirePeer:
        self._ids += 1
        raw = bytes((127, 0, 0, 1)) if local else bytes((20, 0, self._ids >> 8, self._ids & 255))
        address = NetAddress(Network.IPV4, raw, 5000 + self._ids)
        now = self.clock.now()
        peer = Peer(self._ids, self.node.local, kind, address, now, permissions=permissions, use_v2=False)
        end = WirePeer(self, peer)
        self._ends[peer.id] = end
        self.node.processing.connected(peer)
        self.collect(self.node)
        if handshake:
            end.shake_hands(wtxid=wtxid, services=services, protocol=protocol, relay=relay)
        return end

    def receive(self, end: WirePeer, data: bytes) -> None:
        if end.closed is None:
            self.node.processing.receive(end.peer, data)
            self.node.after()

    def collect(self, node: SimNode) -> None:
        processing = node.processing
        for peer_id, data in processing.take_output():
            self._ends[peer_id].deliver(data)
        for peer_id, reason in processing.unwanted():
            end = self._ends[peer_id]
            end.closed = reason
            processing.disconnected(end.peer)
            end.peer.closed()

    @property
    def discouraged(self) -> Sequence[str]:
        return self.node.discouraged
