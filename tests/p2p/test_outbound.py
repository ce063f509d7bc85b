"""Whom the node dials and lets in: slots, anchors, feelers, the old transport, eviction. Sockets of loopback."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gldnode.p2p.addrman import AddressManager
from gldnode.p2p.bans import BanList
from gldnode.p2p.capture import Capture
from gldnode.p2p.framing import Deframer, FramingError, encode_frame
from gldnode.p2p.manager import PeerManager
from gldnode.p2p.messages import Addr, Services, TimedAddress
from gldnode.p2p.netaddress import NetAddress, Network
from gldnode.p2p.options import P2POptions
from gldnode.p2p.outbound import MAX_BLOCK_RELAY, MAX_FULL_RELAY, Outbound
from gldnode.p2p.peer import ConnectionType, Peer, Permission
from tests.support.simnet import SIM_PARAMS, SimNetwork
from tests.support.wire import OFFERED, version_message


async def hang_up(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.transport.abort()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await writer.wait_closed()


class Internet:
    """Stands behind every address: a listener that shakes hands, counts, and can be told to be old-fashioned."""

    def __init__(self) -> None:
        self.now: Callable[[], int] = lambda: 0
        self.dialled: list[str] = []
        self.speaks_v1_only = True
        self.greets = True
        self.told: list[NetAddress] = []
        """What it says when it is asked for addresses."""
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        await hang_up(*self._writers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        deframer = Deframer(SIM_PARAMS.message_start)
        try:
            while data := await reader.read(65536):
                for message in deframer.feed(data):
                    if message.command == "version" and self.greets:
                        frames = [("version", version_message(services=OFFERED)), ("verack", b"")]
                        for command, payload in frames:
                            writer.write(encode_frame(SIM_PARAMS.message_start, command, payload))
                    elif message.command == "getaddr" and self.told:
                        found = Addr([TimedAddress(self.now(), OFFERED, one) for one in self.told])
                        writer.write(encode_frame(SIM_PARAMS.message_start, "addr", found.encode()))
        except (FramingError, OSError):  # what it cannot read it hangs up on, as an old node does
            pass
        finally:
            await hang_up(writer)

    async def dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.dialled.append(f"{host}:{port}")
        assert self._server is not None
        return await asyncio.open_connection(*self._server.sockets[0].getsockname()[:2])


def address(number: int) -> NetAddress:
    return NetAddress(Network.IPV4, bytes((20 + number % 80, number // 80 + 1, 3, 4)), SIM_PARAMS.p2p_port)


class Rig:
    """A manager over a node in memory, and the internet around it."""

    def __init__(self, internet: Internet, folder: Path, **options: Any) -> None:
        self.internet = internet
        self.net = SimNetwork(3, 1, v2=True)
        internet.now = self.net.clock.now
        node = self.net.nodes[0]
        node.mine(2)
        self.node = node
        self.log: list[str] = []
        chosen = {"listen": False, "dns_seed": False, "anchors_file": folder / "anchors.json", **options}
        proxies = {Network.IPV4: internet.dial}
        self.addresses = AddressManager(node.entropy)

        async def run(work: Callable[[], Any]) -> Any:
            return work()

        self.manager = PeerManager(
            SIM_PARAMS,
            P2POptions(proxies=proxies, **chosen),
            node.local,
            node.processing,
            run,
            self.net.clock,
            node.entropy,
            self.addresses,
            BanList(None),
            self.log.append,
        )

    def know(self, count: int, *, services: int = OFFERED) -> None:
        now = self.net.clock.now()
        for number in range(count):
            told = [TimedAddress(now - 3600, services, address(number))]
            assert self.addresses.add(told, address(number), now)

    def kinds(self) -> list[ConnectionType]:
        return [peer.kind for peer in self.manager.peers() if peer.is_established]

    async def until(self, condition: Callable[[], bool], *, step_s: float = 0.0) -> None:
        """Let things happen; virtual time moves `step_s` in each round."""
        async with asyncio.timeout(60):
            while not condition():
                self.net.clock.ms += int(step_s * 1000)
                await asyncio.sleep(0.01)


@pytest.fixture
async def internet() -> AsyncIterator[Internet]:
    made = Internet()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def rig(internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr("gldnode.p2p.outbound.LOOP_S", 0.005)
    made = Rig(internet, tmp_path)
    yield made
    await made.manager.stop()


async def test_slots_are_filled_with_peers_of_different_groups(rig: Rig) -> None:
    rig.know(60)
    await rig.manager.start()
    await rig.until(lambda: len(rig.kinds()) >= MAX_FULL_RELAY + MAX_BLOCK_RELAY)
    kinds = rig.kinds()
    assert kinds.count(ConnectionType.OUTBOUND_FULL_RELAY) == MAX_FULL_RELAY
    assert kinds.count(ConnectionType.BLOCK_RELAY_ONLY) == MAX_BLOCK_RELAY
    assert len({peer.address.group for peer in rig.manager.peers()}) == len(kinds)
    assert all(known.tried for peer in rig.manager.peers() if (known := rig.addresses.get(peer.address)))


async def test_feelers_try_new_addresses_and_leave(rig: Rig) -> None:
    rig.know(60)
    await rig.manager.start()
    await rig.until(lambda: len(rig.kinds()) >= MAX_FULL_RELAY + MAX_BLOCK_RELAY)
    tried = rig.addresses.counts()[Network.IPV4][1]
    await rig.until(lambda: rig.addresses.counts()[Network.IPV4][1] > tried + 1, step_s=5)
    assert any("feeler connection completed" in line for line in rig.log)


async def test_anchors_are_dialled_first_and_only_once(internet: Internet, tmp_path: Path) -> None:
    anchors = [address(7), address(8)]
    path = tmp_path / "anchors.json"
    path.write_text(json.dumps([[int(one.network), one.raw.hex(), one.port] for one in anchors]))
    rig = Rig(internet, tmp_path)
    assert not path.exists()  # a crash that one of them causes does not come again
    await rig.manager.start()
    await rig.until(lambda: rig.kinds().count(ConnectionType.BLOCK_RELAY_ONLY) == 2)
    assert sorted(dict.fromkeys(internet.dialled)) == sorted(map(str, anchors))
    await rig.manager.stop()
    assert len(json.loads(path.read_text())) == 2


async def test_a_peer_of_the_old_transport_is_dialled_again_the_old_way(rig: Rig) -> None:
    rig.know(1, services=OFFERED | int(Services.P2P_V2))
    await rig.manager.start()
    await rig.until(lambda: bool(rig.kinds()))
    assert rig.internet.dialled[:2] == [str(address(0))] * 2
    assert rig.manager.peers()[0].transport_name == "v1"
    assert any("retrying with v1" in line for line in rig.log)


async def test_names_of_dns_seeds_are_learnt_and_dialled(
    internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gldnode.p2p.outbound.LOOP_S", 0.005)
    asked = []

    async def look_up(self: Outbound, host: str, port: int) -> list[NetAddress]:
        asked.append((host, port))
        return [address(1), address(2)]

    monkeypatch.setattr(Outbound, "_look_up_all", look_up)
    rig = Rig(internet, tmp_path, dns_seed=True, dns_seeds=["seed.example.org"])
    await rig.manager.start()
    await rig.until(lambda: len(rig.kinds()) == 2)
    assert asked == [("seed.example.org", SIM_PARAMS.p2p_port)]
    assert any("2 addresses found from DNS seed seed.example.org" in line for line in rig.log)
    await rig.manager.stop()


async def test_a_seed_node_is_asked_for_addresses_and_left(
    internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gldnode.p2p.outbound.LOOP_S", 0.005)
    internet.told = [address(number) for number in range(5)]
    rig = Rig(internet, tmp_path, seed_nodes=[str(address(9))])
    await rig.manager.start()
    await rig.until(lambda: len(rig.kinds()) == 5)
    assert internet.dialled[0] == str(address(9))
    assert {peer.address for peer in rig.manager.peers()} == set(internet.told)
    assert any("addrfetch connection completed" in line for line in rig.log)
    await rig.manager.stop()


async def test_the_only_address_known_is_not_hammered(rig: Rig) -> None:
    rig.know(1)
    rig.internet.greets = False
    await rig.manager.start()
    await rig.until(lambda: len(rig.internet.dialled) == 1 and bool(rig.manager.connections))
    for connection in list(rig.manager.connections.values()):
        rig.manager.drop(connection, "it says nothing")
    await asyncio.sleep(0.3)
    assert len(rig.internet.dialled) == 1
    await rig.until(lambda: len(rig.internet.dialled) == 2 and bool(rig.manager.connections), step_s=1)


async def test_banned_and_discouraged_addresses_are_not_dialled(rig: Rig) -> None:
    rig.know(3)
    rig.manager.bans.ban("20.0.0.0/8", 0, 1 << 40)
    rig.manager.bans.discourage(address(1))
    await rig.manager.start()
    await rig.until(lambda: bool(rig.kinds()))
    await asyncio.sleep(0.2)
    assert rig.internet.dialled == [str(address(2))]


async def test_a_stale_tip_brings_one_peer_more_and_the_least_useful_leaves(rig: Rig) -> None:
    rig.know(120)
    await rig.manager.start()
    await rig.until(lambda: len(rig.kinds()) >= MAX_FULL_RELAY + MAX_BLOCK_RELAY)
    full = [peer for peer in rig.manager.peers() if peer.kind is ConnectionType.OUTBOUND_FULL_RELAY]
    for peer in full:
        rig.node.processing.peers[peer.id].last_announcement_at = rig.net.clock.now()
    rig.node.processing.peers[full[3].id].last_announcement_at = 5
    rig.manager.outbound._next_stale_check = rig.net.clock.monotonic()
    rig.net.clock.ms += 3_600_000
    rig.manager.outbound._tip_changed_at = 0
    rig.manager.outbound._tip = rig.node.tip
    await rig.until(lambda: rig.kinds().count(ConnectionType.OUTBOUND_FULL_RELAY) > MAX_FULL_RELAY)
    assert any("Potential stale tip" in line for line in rig.log)
    rig.net.clock.ms += 60_000
    for peer in rig.manager.peers():
        rig.node.processing.peers[peer.id].in_flight.clear()
    await rig.until(lambda: any("extra outbound peer" in line for line in rig.log), step_s=1)


async def test_inbound_slots_make_room_for_newcomers(internet: Internet, tmp_path: Path) -> None:
    rig = Rig(internet, tmp_path, listen=True, bind=[("127.0.0.1", 0, Permission.NONE)], max_connections=40)
    await rig.manager.start()
    host, port = rig.manager.inbound.listening[0]
    writers = []
    for _ in range(60):
        _, writer = await asyncio.open_connection(host, port)
        writers.append(writer)
        rig.net.clock.ms += 1000
        await asyncio.sleep(0.005)
    await rig.until(lambda: rig.manager.connection_count[0] == 40 - 11)
    assert any("evicted" in line for line in rig.log)
    await hang_up(*writers)
    await rig.until(lambda: rig.manager.connection_count[0] == 0)
    await rig.manager.stop()


@pytest.mark.parametrize("stays", [True, False])
async def test_an_error_of_ours_ends_the_connection_and_is_told(
    internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stays: bool
) -> None:
    rig = Rig(internet, tmp_path, listen=True, bind=[("127.0.0.1", 0, Permission.NONE)])
    monkeypatch.setattr(rig.node.processing, "receive", lambda peer, data: 1 // 0)
    await rig.manager.start()
    _, writer = await asyncio.open_connection(*rig.manager.inbound.listening[0])
    writer.write(b"what breaks us")
    await writer.drain()
    if not stays:
        writer.close()
    await rig.until(lambda: any("ended: ZeroDivisionError" in line for line in rig.log))
    assert rig.manager.connection_count[0] == 0
    await hang_up(writer)
    await rig.manager.stop()


async def test_what_is_captured_of_a_peer_ends_with_it(
    internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(internet, tmp_path, listen=True, bind=[("127.0.0.1", 0, Permission.NONE)])
    capture = rig.node.local.capture = Capture(tmp_path / "captured", rig.net.clock, rig.log.append)
    forget = rig.node.processing.disconnected

    def send_once_more(peer: Peer) -> None:
        peer.send("ping", bytes(8), 0)
        forget(peer)

    monkeypatch.setattr(rig.node.processing, "disconnected", send_once_more)
    await rig.manager.start()
    _, writer = await asyncio.open_connection(*rig.manager.inbound.listening[0])
    await rig.until(lambda: rig.manager.connection_count[0] == 1)
    await hang_up(writer)
    await rig.until(lambda: any("disconnected peer" in line for line in rig.log))
    assert not any("not captured" in line for line in rig.log)
    assert not capture._files
    await rig.manager.stop()


async def test_a_whitelisted_peer_is_let_in_when_all_slots_are_taken(internet: Internet, tmp_path: Path) -> None:
    rig = Rig(
        internet,
        tmp_path,
        listen=True,
        bind=[("127.0.0.1", 0, Permission.NONE)],
        max_connections=11,
        whitelist=[(Permission.NOBAN, "127.0.0.0/8")],
    )
    rig.manager.bans.ban("127.0.0.0/8", 0, 1 << 40)
    await rig.manager.start()
    host, port = rig.manager.inbound.listening[0]
    _, writer = await asyncio.open_connection(host, port)
    await asyncio.sleep(0.1)
    assert not any("banned" in line for line in rig.log)
    assert any("full" in line for line in rig.log)
    await hang_up(writer)
    await rig.manager.stop()


async def test_what_was_learnt_survives_in_the_files(rig: Rig, tmp_path: Path) -> None:
    rig.manager.options.peers_file = tmp_path / "peers.json"
    rig.know(20)
    await rig.manager.start()
    await rig.until(lambda: bool(rig.kinds()))
    await rig.manager.stop()
    again = AddressManager.load(tmp_path / "peers.json", rig.node.entropy, rig.net.clock.now())
    assert len(again) == 20
    assert again.counts() == rig.addresses.counts()
