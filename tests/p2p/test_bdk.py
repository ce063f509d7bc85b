"""A light client of another make: BDK syncs a wallet from us by compact filters (BIP 157/158), over P2P alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.btcd import free_port
from tests.support.daemon import DaemonProcess

pytest.importorskip("bdkpython", reason="bdkpython is not installed (pip install -e .[dev])")

PHRASE = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
ADDRESS = "bcrt1p8wpt9v4frpf3tkn0srd97pksgsxc5hs52lafxwru9kgeephvs7rqjeprhg"
"""The first BIP 86 address of that phrase."""
CLIENT = Path(__file__).with_name("bdk_client.py")


def test_a_light_client_finds_its_payments_by_our_filters(tmp_path: Path) -> None:
    port = free_port()
    flags = (
        "-listen=1",
        f"-bind=127.0.0.1:{port}",
        "-blockfilterindex=basic",
        "-peerblockfilters",
        "-nopayments",
        "-debug=net",
        "-fallbackfee=0.0002",
    )
    with DaemonProcess(tmp_path / "ours", *flags, network="btc-regtest") as ours:
        ours.call("createwallet", "w")
        ours.call("generatetoaddress", 120, ours.call("getnewaddress"))
        ours.call("sendtoaddress", ADDRESS, "1.25")
        ours.call("generatetoaddress", 3, ours.call("getnewaddress"))
        names = ours.call("getnetworkinfo")["localservicesnames"]
        assert "COMPACT_FILTERS" in names
        done = subprocess.run(
            [sys.executable, str(CLIENT), str(port), PHRASE, str(tmp_path / "light")],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:] + ours.log_text[-3000:]
        address, balance, height = done.stdout.split()
        assert address == ADDRESS
        assert int(balance) == 125_000_000
        assert int(height) == ours.call("getblockcount")
