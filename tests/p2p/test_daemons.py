"""Real processes over loopback: syncing, a partition, a crash in the middle, and load that must not stop RPC."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gldnode.params import REGTEST
from tests.p2p.test_asmap import ipv4_prefix, map_of
from tests.p2p.test_capture import read_capture
from tests.support.btcd import free_port
from tests.support.campaign import campaign
from tests.support.daemon import DaemonProcess
from tests.support.hostile import HostileCrowd
from tests.support.waiting import wait_for

ADDRESS = "gldrt1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysn5rej0f"
OTHER = "raw(51)"


def listening(base: Path, *flags: str) -> tuple[DaemonProcess, str]:
    port = free_port()
    daemon = DaemonProcess(
        base, "-listen=1", f"-bind=127.0.0.1:{port}", "-nopayments", "-disablewallet", "-debug=net", *flags
    )
    return daemon, f"127.0.0.1:{port}"


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[DaemonProcess]]:
    """a ← b ← c: a listens, b dials a, c dials b."""
    a, a_at = listening(tmp_path / "a")
    b, b_at = listening(tmp_path / "b", f"-addnode={a_at}")
    c, _ = listening(tmp_path / "c", f"-addnode={b_at}")
    with a, b, c:
        yield [a, b, c]


def agree(*daemons: DaemonProcess) -> bool:
    return len({daemon.call("getbestblockhash") for daemon in daemons}) == 1


def coins_of(daemon: DaemonProcess) -> str:
    return str(daemon.call("gettxoutsetinfo", "muhash")["muhash"])


def test_three_daemons_mine_part_and_heal(three: list[DaemonProcess]) -> None:
    a, b, c = three
    a.call("generatetoaddress", 110, ADDRESS)
    wait_for(lambda: agree(a, b, c), "all have the chain")
    (info,) = (one for one in c.call("getpeerinfo") if not one["inbound"])
    assert info["transport_protocol_type"] == "v2"
    assert info["connection_type"] == "manual"
    assert info["synced_blocks"] <= 110
    # b stops answering: a and c are parted, though both still run
    os.kill(b.pid, signal.SIGSTOP)
    try:
        a.call("generatetoaddress", 2, ADDRESS)
        (left,) = c.call("generatetodescriptor", 1, OTHER)
        longer = c.call("generatetodescriptor", 4, OTHER)[-1]
        assert not agree(a, c)
    finally:
        os.kill(b.pid, signal.SIGCONT)
    wait_for(lambda: agree(a, b, c), "the partition is healed")
    assert a.call("getbestblockhash") == longer
    assert a.call("getblockheader", left)["confirmations"] == 5
    assert len({coins_of(daemon) for daemon in three}) == 1
    tips = {tip["status"]: tip for tip in a.call("getchaintips")}
    assert tips["valid-fork"]["branchlen"] == 2, tips


def test_a_node_killed_while_it_syncs_goes_on_where_it_was(tmp_path: Path) -> None:
    source, at = listening(tmp_path / "source")
    sink, _ = listening(tmp_path / "sink", f"-addnode={at}")
    with source:
        for _ in range(7):
            source.call("generatetoaddress", 100, ADDRESS)
        heights: list[int] = []
        for _ in range(campaign(2, 5)):
            sink.start()
            floor = heights[-1] if heights else 0
            wait_for(lambda floor=floor: sink.call("getblockcount") > floor, "progress")  # type: ignore[misc]
            heights.append(sink.call("getblockcount"))
            sink.kill()
            if heights[-1] == 700:
                break
        with sink:
            wait_for(lambda: agree(source, sink), "all blocks")
            assert coins_of(source) == coins_of(sink)
            assert sink.call("verifychain", 3, 100) is True


def test_rpc_of_peers_on_a_running_daemon(tmp_path: Path) -> None:
    (tmp_path / "loopback.map").write_bytes(map_of({ipv4_prefix("127.0.0.0/8"): 64_512}))
    flags = ("-externalip=8.8.8.8", "-maxuploadtarget=100", "-capturemessages")
    a, a_at = listening(tmp_path / "a", *flags, f"-asmap={tmp_path / 'loopback.map'}")
    b, _ = listening(tmp_path / "b")
    with a, b:
        assert b.call("addnode", a_at, "onetry") is None
        wait_for(lambda: a.call("getconnectioncount") == 1, "connected")
        wait_for(lambda: "verack" in a.call("getpeerinfo")[0]["bytesrecv_per_msg"], "handshake")
        (peer,) = a.call("getpeerinfo")
        assert peer["inbound"] is True
        assert peer["network"] == "not_publicly_routable"
        assert peer["mapped_as"] == 64_512
        assert "mapped_as" not in b.call("getpeerinfo")[0]
        assert "addrlocal" not in peer  # nobody tells a stranger of a private address
        captured = a.folder / "message_capture" / peer["addr"].replace(":", "_")
        commands = [command for _, command, _ in read_capture(captured / "msgs_recv.dat")]
        assert commands[0] == "version"
        assert "verack" in commands
        assert a.call("getnetworkinfo")["localaddresses"][0]["address"] == "8.8.8.8"
        assert a.call("getnettotals")["uploadtarget"]["target"] == 100 << 20
        b.call("ping")
        wait_for(lambda: "pingtime" in b.call("getpeerinfo")[0], "pong")
        a.call("setban", "127.0.0.0/8", "add", 100)
        wait_for(lambda: a.call("getconnectioncount") == 0, "banned")
        assert b.call("addnode", a_at, "onetry") is None
        time.sleep(0.3)
        assert a.call("getconnectioncount") == 0
        a.call("clearbanned")
        assert b.call("addconnection", a_at, "block-relay-only", True)["connection_type"] == "block-relay-only"
        wait_for(lambda: a.call("getconnectioncount") == 1, "connected again")
        wait_for(lambda: b.call("getpeerinfo")[0]["version"] == 70016, "handshake")
        assert b.call("addpeeraddress", "1.2.3.4", 24653) == {"success": True}
        assert "1.2.3.4" in {known["address"] for known in b.call("getnodeaddresses", 0)}
        b.stop()
        assert (b.folder / "anchors.json").exists()
        assert (b.folder / "peers.json").exists()


def memory_kib(daemon: DaemonProcess) -> int:
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_rpc_goes_on_while_bad_peers_do_their_worst(tmp_path: Path) -> None:
    node, at = listening(tmp_path / "node", "-maxconnections=60", "-debug=0")
    friend, _ = listening(tmp_path / "friend", f"-addnode={at}")
    with node, friend:
        node.call("generatetoaddress", 120, ADDRESS)
        wait_for(lambda: agree(node, friend), "same chain")
        before = memory_kib(node)
        took: list[float] = []
        with HostileCrowd(REGTEST, int(at.rpartition(":")[2])) as crowd:
            end = time.monotonic() + campaign(5, 120)
            while time.monotonic() < end:
                for method in ("getblockcount", "getblockchaininfo", "getpeerinfo", "getrawmempool"):
                    begun = time.monotonic()
                    node.call(method)
                    took.append(time.monotonic() - begun)
            tip = node.call("generatetoaddress", 1, ADDRESS)[0]
            wait_for(lambda: friend.call("getbestblockhash") == tip, "an honest peer is served all the same")
        took.sort()
        grown = memory_kib(node) - before
        print(
            f"{len(took)} calls beside {crowd.connections} bad connections ({crowd.bytes_sent / 1e6:.0f} MB): "
            f"median {took[len(took) // 2] * 1e3:.1f} ms, p99 {took[len(took) * 99 // 100] * 1e3:.1f} ms, "
            f"memory +{grown / 1024:.0f} MiB"
        )
        assert crowd.connections > 50
        assert took[-1] < 20
        assert grown < 200 * 1024
        assert node.call("getblockcount") == 121
        wait_for(lambda: node.call("getconnectioncount") < 40, "the crowd is gone")
