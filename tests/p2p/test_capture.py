"""Captured messages, and what peers tell us of ourselves."""

import struct
from pathlib import Path

import pytest

from gldnode.p2p.capture import Capture
from gldnode.p2p.messages import Services
from gldnode.p2p.netaddress import parse_host
from gldnode.p2p.peer import ConnectionType
from tests.support.wire import Lab, version_message


def read_capture(path: Path) -> list[tuple[int, str, bytes]]:
    """(microseconds, command, payload) of every row; the file must end with one."""
    data, rows, pos = path.read_bytes(), [], 0
    while pos < len(data):
        micros, command, length = struct.unpack_from("<Q12sI", data, pos)
        payload = data[pos + 24 : pos + 24 + length]
        assert len(payload) == length
        rows.append((micros, command.rstrip(b"\0").decode(), payload))
        pos += 24 + length
    return rows


@pytest.mark.parametrize("kind", [ConnectionType.INBOUND, ConnectionType.OUTBOUND_FULL_RELAY])
def test_every_message_of_a_peer_is_in_its_folder(tmp_path: Path, kind: ConnectionType) -> None:
    lab = Lab()
    lab.node.local.capture = Capture(tmp_path, lab.clock, lab.node.log.append)
    peer = lab.peer(kind)
    peer.send("ping", b"12345678")
    peer.send("newcommand12", b"data")
    lab.run(3)
    peer.peer.closed()
    (folder,) = tmp_path.iterdir()
    assert folder.name == str(peer.peer.address).replace(":", "_")
    received, sent = read_capture(folder / "msgs_recv.dat"), read_capture(folder / "msgs_sent.dat")
    assert [command for _, command, _ in received] == ["version", "wtxidrelay", "verack", "ping", "newcommand12"]
    assert [payload for _, command, payload in received if command == "ping"] == [b"12345678"]
    assert [(command, payload) for _, command, payload in sent] == [
        (message.command, message.payload) for message in peer.take()
    ]
    times = sorted(micros for micros, _, _ in received + sent)
    assert len(set(times)) == len(times), "all have an order"
    assert times[0] // 1_000_000 in range(lab.clock.now() - 10, lab.clock.now() + 1)


def test_a_disk_that_takes_no_more_ends_the_capture_and_not_the_node(tmp_path: Path) -> None:
    lab = Lab()
    (tmp_path / "file").write_text("in the way")
    lab.node.local.capture = Capture(tmp_path / "file", lab.clock, lab.node.log.append)
    peer = lab.peer()
    peer.send("ping", b"12345678")
    assert peer.take("pong")
    assert sum("messages are not captured any more" in line for line in lab.node.log) == 1


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("93.184.216.34", "93.184.216.34:4653"),
        ("2a00::5", "[2a00::5]:4653"),
        ("127.0.0.1", "127.0.0.1:4653"),
        ("0.0.0.0", None),
        ("255.255.255.255", None),
        ("2001:db8::1", None),
    ],
)
def test_the_address_that_a_peer_sees_us_at_is_kept_when_it_can_be_one(told: str, shown: str | None) -> None:
    lab = Lab()
    peer = lab.peer(handshake=False)
    ours = parse_host(told, 4653)
    assert ours is not None
    peer.send("version", version_message(receiver=bytes(8) + ours.to_v1()))
    assert (str(peer.peer.our_address) if peer.peer.our_address else None) == shown


def test_a_peer_hears_its_own_address_when_that_is_public() -> None:
    lab = Lab()
    for is_local in (False, True):
        peer = lab.peer(ConnectionType.OUTBOUND_FULL_RELAY, handshake=False, local=is_local)
        (version,) = peer.take("version")
        field = version.payload[20:46]
        assert field[:8] == bytes(8)
        assert field[8:] == (bytes(18) if is_local else peer.peer.address.to_v1())
        assert Services.NETWORK in Services(int.from_bytes(version.payload[4:12], "little"))
