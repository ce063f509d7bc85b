"""The process: start, ways of failing to start, stop, restart."""

import os
import signal
import stat
import time
from pathlib import Path

import pytest

from gldnode.app import main
from tests.support.daemon import DaemonProcess, RpcFailure, run_to_end

ADDRESS = "gldrt1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysn5rej0f"


def test_life_of_a_daemon(tmp_path: Path) -> None:
    """One process for many facts: starting one takes seconds on a busy machine."""
    notes = tmp_path / "notes"
    flags = (
        f"-blocknotify=echo block %s >> {notes}",
        f"-startupnotify=echo started >> {notes}",
        f"-shutdownnotify=echo stopped >> {notes}",
        "-debug=rpc",
        "-logtimemicros",
    )
    daemon = DaemonProcess(tmp_path, *flags)
    with daemon:
        cookie = daemon.folder / ".cookie"
        assert stat.S_IMODE(cookie.stat().st_mode) == 0o600
        assert cookie.read_text().startswith("__cookie__:")
        assert (daemon.folder / "gldnode.pid").read_text() == f"{daemon.pid}\n"
        hashes = daemon.call("generatetoaddress", 20, ADDRESS)
        assert daemon.call("getblockcount") == 20
        coinbase = daemon.call("getblock", hashes[0])["tx"][0]
        assert daemon.call("getrawtransaction", coinbase, 1, hashes[0])["confirmations"] == 20

        second = run_to_end(tmp_path, "-regtest", "-rpcport=0", "-listen=0")
        assert second.returncode == 1
        assert second.stderr == (
            f"Error: Cannot obtain a lock on directory {daemon.folder}. "
            "Gold-Coin node is probably already running.\n"
        )

        with pytest.raises(RpcFailure, match=r"-25: Must submit previous header"):
            daemon.call("submitheader", "00" * 80)
        assert daemon.call("getrpcinfo")["active_commands"][0]["method"] == "getrpcinfo"
        assert daemon.call("logging", ["net"], ["rpc"])["net"] is True
        assert "ThreadRPCServer method=getblockcount" in daemon.log_text
        assert daemon.call("stop") == "Gold-Coin node stopping"
        assert daemon.wait() == 0
        assert not cookie.exists()
        assert not (daemon.folder / "gldnode.pid").exists()
        assert "Shutdown: done" in daemon.log_text
    assert notes.read_text().splitlines()[0] == "started"
    assert {line for line in notes.read_text().splitlines() if " " in line} == {f"block {one}" for one in hashes}
    assert notes.read_text().splitlines()[-1] == "stopped"
    assert (tmp_path / "output.txt").read_text() == ""

    with daemon:  # again, on the same folder
        assert daemon.call("getbestblockhash") == hashes[-1]
        daemon.call("generatetoaddress", 1, ADDRESS)
        daemon.kill()
    with daemon:  # after a kill -9
        assert daemon.call("getblockcount") == 21
        started = time.monotonic()
        assert daemon.terminate(signal.SIGINT) == 0
        assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-weird"], "Error: Error parsing command line arguments: Invalid parameter -weird.\n"),
        (["-datadir=/nowhere"], 'Error: Specified data directory "/nowhere" does not exist.\n'),
        (["-prune=5"], "Error: Prune configured below the minimum of 550 MiB.  Please use a higher number.\n"),
        (["-rpcauth=bad"], "Error: Invalid -rpcauth argument.\n"),
        (["-debug=nothing"], "Error: Unsupported logging category -debug=nothing.\n"),
        (["-blockfilterindex=odd"], "Error: Unknown -blockfilterindex value odd.\n"),
    ],
)
def test_a_start_that_fails_says_why_in_one_sentence(
    tmp_path: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [f"-datadir={tmp_path}", "-regtest", "-rpcport=0", "-listen=0", "-printtoconsole=0"]
    assert main([*common, *flags]) == 1
    assert capsys.readouterr().err == message


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-help"]) == 0
    assert "-datadir=dir" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("Gold-Coin node version v")


def test_cores_framework_can_start_it(tmp_path: Path) -> None:
    """The flags and the file that Bitcoin Core's functional tests give every node."""
    (tmp_path / "gldnode.conf").write_text(
        "btc-regtest=1\n[btc-regtest]\nrpcservertimeout=99000\nrpcdoccheck=1\nfallbackfee=0.0002\nserver=1\n"
        "keypool=1\ndiscover=0\ndnsseed=0\nfixedseeds=0\nlistenonion=0\npeertimeout=999999999\nprinttoconsole=0\n"
        "upnp=0\nnatpmp=0\nshrinkdebugfile=0\ndeprecatedrpc=create_bdb\nunsafesqlitesync=1\nconnect=0\n"
        "rpcthreads=2\nmaxconnections=94\npar=2\nprevoutfetchthreads=1\n"
    )
    flags = "-logtimemicros -debug -debugexclude=libevent -debugexclude=leveldb -debugexclude=rand"
    more = "-uacomment=testnode0 -disablewallet -logthreadnames -logsourcelocations -loglevel=trace -v2transport=0"
    daemon = DaemonProcess(tmp_path, *flags.split(), *more.split(), "-nologratelimit", network="btc-regtest")
    with daemon:
        assert daemon.call("getmempoolinfo")["loaded"] is True
        info = daemon.call("getblockchaininfo")
        assert (info["chain"], info["initialblockdownload"]) == ("regtest", True)
        network = daemon.call("getnetworkinfo")
        assert network["version"] >= 310_000
        assert network["subversion"].startswith("/Satoshi:31.0.0(testnode0)/GoldCoin:")
        daemon.call("setmocktime", 1_400_000_000)
        daemon.call("syncwithvalidationinterfacequeue")
        assert daemon.stop() == 0
    assert (tmp_path / "output.txt").read_text() == ""
    folders = {path.name for path in daemon.folder.iterdir() if path.is_dir()}
    assert folders <= {"blocks", "chainstate", "indexes", "wallets", "fees"}


def test_in_the_background_and_stopped_by_its_pid(tmp_path: Path) -> None:
    done = run_to_end(tmp_path, "-regtest", "-rpcport=0", "-listen=0", "-daemonwait", timeout_s=60)
    assert (done.returncode, done.stdout) == (0, "Gold-Coin node starting\n")
    pid = int((tmp_path / "regtest" / "gldnode.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 20
    while (tmp_path / "regtest" / "gldnode.pid").exists():
        assert time.monotonic() < end, "the daemon does not stop"
        time.sleep(0.05)
