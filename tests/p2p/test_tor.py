"""The onion service against Debian's Tor, whose network is off: its control port does all that we ask of it."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gldnode.entropy import SystemEntropy
from gldnode.p2p.netaddress import NetAddress
from gldnode.p2p.torcontrol import TorControl
from tests.support.daemon import DaemonProcess
from tests.support.environments import free_port
from tests.support.waiting import wait_for

TOR = shutil.which("tor")
PASSWORD = 'correct "horse" battery\\staple'
COOKIE = ("--CookieAuthentication", "1")

pytestmark = pytest.mark.skipif(TOR is None, reason="tor is not installed (apt-get install tor)")


@contextmanager
def running_tor(folder: Path, *flags: str, port: int = 0) -> Iterator[int]:
    """A Tor of our own without a network; its control port."""
    assert TOR is not None
    folder.mkdir(exist_ok=True)
    port = port or free_port()
    common = ("--DisableNetwork", "1", "--ControlPort", f"127.0.0.1:{port}", "--SocksPort", "0")
    files = ("-f", "/dev/null", "--defaults-torrc", "/dev/null", "--DataDirectory", str(folder))
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [TOR, "--ignore-missing-torrc", *files, *common, *flags], stdout=output, stderr=output
        )
    try:
        wait_for(
            lambda: "Opened Control listener" in (folder / "output.txt").read_text(), "tor's control port", 30
        )
        yield port
    finally:
        process.terminate()
        process.wait(20)


def hashed(password: str) -> str:
    assert TOR is not None
    done = subprocess.run(
        [TOR, "--quiet", "--hash-password", password], capture_output=True, text=True, check=True
    )
    return done.stdout.strip().splitlines()[-1]


def onion_of(node: DaemonProcess) -> str:
    def onions() -> list[str]:
        return [row["address"] for row in node.call("getnetworkinfo")["localaddresses"]]

    wait_for(lambda: bool(onions()), "the onion address", 30)
    (address,) = onions()
    return address


def test_the_onion_address_is_made_told_and_kept(tmp_path: Path) -> None:
    """Of a daemon: through a restart of Tor, and through its own."""
    port = free_port()
    node = DaemonProcess(
        tmp_path / "node",
        *("-listen=1", f"-bind=127.0.0.1:{free_port()}", "-listenonion", f"-torcontrol=127.0.0.1:{port}"),
        *("-nopayments", "-disablewallet", "-debug=tor", "-connect=0"),
    )
    key = node.folder / "onion_v3_private_key"
    with node:
        with running_tor(tmp_path / "tor", *COOKIE, port=port):
            address = onion_of(node)
            assert re.fullmatch(r"[a-z2-7]{56}\.onion", address)
            assert node.call("getnetworkinfo")["localaddresses"][0]["port"] == 24653
            assert key.read_text().startswith("ED25519-V3:")
            assert key.stat().st_mode & 0o777 == 0o600
        wait_for(lambda: not node.call("getnetworkinfo")["localaddresses"], "it is not told any more")
    assert f"advertising service {address}:24653" in node.log_text
    with running_tor(tmp_path / "tor", *COOKIE, port=port), node:
        assert onion_of(node) == address


class Service:
    """A `TorControl` and what it told."""

    def __init__(self, folder: Path, control: int, password: str = "") -> None:
        self.addresses: list[NetAddress] = []
        self.socks: list[tuple[str, int]] = []
        self.log: list[str] = []
        self._told = asyncio.Event()
        self.control = TorControl(
            ("127.0.0.1", control),
            ("127.0.0.1", 24653),
            24653,
            folder / "key",
            SystemEntropy(),
            password=password,
            on_service=self.addresses.append,
            on_socks=lambda host, port: self.socks.append((host, port)),
            on_lost=lambda address: None,
            log=self._tell,
        )

    def _tell(self, text: str) -> None:
        self.log.append(text)
        self._told.set()

    async def until_told(self) -> None:
        running = asyncio.create_task(self.control.run())
        async with asyncio.timeout(30):
            await self._told.wait()
        running.cancel()
        await asyncio.wait([running])


def test_a_password_opens_the_control_port_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    with running_tor(tmp_path / "tor", "--HashedControlPassword", hashed(PASSWORD)) as control:
        for password, said in (
            ("guess", "tor: no onion service: AUTHENTICATE: 515 Authentication failed"),
            ("", "no authentication method in common (set -torpassword"),
            (PASSWORD, "tor: Got service ID"),
        ):
            service = Service(tmp_path, control, password)
            asyncio.run(service.until_told())
            assert said in service.log[0]
            assert bool(service.addresses) is (password == PASSWORD)


def test_a_tor_without_authentication_is_used_as_it_is(tmp_path: Path) -> None:
    with running_tor(tmp_path / "tor") as control:
        service = Service(tmp_path, control)
        asyncio.run(service.until_told())
        assert service.addresses[0].host.endswith(".onion")
        assert service.socks == []  # its network is off: no listener that it could name
