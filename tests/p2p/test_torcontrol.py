"""The onion service, against a Tor control port of our own making."""

import asyncio
import hmac
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gldnode.p2p.netaddress import NetAddress, Network
from gldnode.p2p.torcontrol import TorControl, TorError
from tests.support.simnet import SeededEntropy

ONION = NetAddress(Network.TORV3, bytes(range(32)), 4653)
SERVICE = ONION.host.removesuffix(".onion")
COOKIE = bytes(range(32))
SERVER_KEY = b"Tor safe cookie authentication server-to-controller hash"
CLIENT_KEY = b"Tor safe cookie authentication controller-to-server hash"


class FakeTor:
    """Answers like Tor; remembers what it was asked."""

    def __init__(
        self, methods: str, *, cookie_file: Path | None = None, password: str = "", lies: bool = False
    ) -> None:
        self.methods = methods
        self.cookie_file = cookie_file
        self.password = password
        self.lies = lies
        self.asked: list[str] = []
        self._expected = b""
        self._authenticated = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._authenticated = False
        while line := (await reader.readline()).decode().strip():
            self.asked.append(line)
            writer.write("".join(f"{answer}\r\n" for answer in self.answer(line)).encode())
        writer.close()

    def answer(self, line: str) -> list[str]:
        word, _, rest = line.partition(" ")
        if word == "PROTOCOLINFO":
            cookie = f' COOKIEFILE="{self.cookie_file}"' if self.cookie_file else ""
            return ["250-PROTOCOLINFO 1", f"250-AUTH METHODS={self.methods}{cookie}", "250 OK"]
        if word == "AUTHCHALLENGE":
            ours = b"\7" * 32
            both = COOKIE + bytes.fromhex(rest.split()[1]) + ours
            self._expected = hmac.digest(CLIENT_KEY, both, "sha256")
            proof = hmac.digest(b"wrong" if self.lies else SERVER_KEY, both, "sha256")
            return [f"250 AUTHCHALLENGE SERVERHASH={proof.hex().upper()} SERVERNONCE={ours.hex()}"]
        if word == "AUTHENTICATE":
            good = {"", f'"{self.password}"'} if self.password else {"", self._expected.hex()}
            self._authenticated = rest in good and (bool(rest) or "NULL" in self.methods)
            return ["250 OK"] if self._authenticated else ["515 Authentication failed"]
        if not self._authenticated:
            return ["514 Authentication required."]
        if word == "GETINFO":
            return ['250-net/listeners/socks="127.0.0.1:9050"', "250 OK"]
        assert word == "ADD_ONION"
        key = ["250-PrivateKey=ED25519-V3:c2VjcmV0"] if rest.startswith("NEW:") else []
        return [f"250-ServiceID={SERVICE}", *key, "250 OK"]


@asynccontextmanager
async def running(tor: FakeTor) -> AsyncIterator[int]:
    server = await asyncio.start_server(tor.serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


def control(port: int, folder: Path, heard: Callable[[str, object], None], password: str = "") -> TorControl:
    return TorControl(
        ("127.0.0.1", port),
        ("127.0.0.1", 14654),
        4653,
        folder / "onion_v3_private_key",
        SeededEntropy(random.Random(1)),
        password=password,
        on_service=lambda address: heard("service", address),
        on_socks=lambda host, at: heard("socks", (host, at)),
        on_lost=lambda address: heard("lost", address),
        log=lambda text: heard("log", text),
    )


async def ask(tor: FakeTor, folder: Path, password: str = "") -> tuple[NetAddress, dict[str, object]]:
    heard: dict[str, object] = {}
    async with running(tor) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await control(port, folder, heard.__setitem__, password).make_service(reader, writer), heard
        finally:
            writer.close()
            await writer.wait_closed()


async def test_a_service_is_made_and_its_key_kept(tmp_path: Path) -> None:
    tor = FakeTor("NULL")
    address, heard = await ask(tor, tmp_path)
    assert address == ONION
    assert heard["socks"] == ("127.0.0.1", 9050)
    assert tor.asked[-1] == "ADD_ONION NEW:ED25519-V3 Port=4653,127.0.0.1:14654"
    key = tmp_path / "onion_v3_private_key"
    assert key.read_text() == "ED25519-V3:c2VjcmV0"
    assert key.stat().st_mode & 0o777 == 0o600
    await ask(tor, tmp_path)
    assert tor.asked[-1].startswith("ADD_ONION ED25519-V3:c2VjcmV0 ")


async def test_the_cookie_is_proven_not_shown(tmp_path: Path) -> None:
    cookie = tmp_path / "control auth cookie"
    cookie.write_bytes(COOKIE)
    tor = FakeTor("COOKIE,SAFECOOKIE,HASHEDPASSWORD", cookie_file=cookie)
    address, _ = await ask(tor, tmp_path)
    assert address == ONION
    assert not any(COOKIE.hex() in line.lower() for line in tor.asked)
    with pytest.raises(TorError, match="does not know the cookie"):
        await ask(FakeTor("SAFECOOKIE", cookie_file=cookie, lies=True), tmp_path)


async def test_a_password_is_used_where_there_is_one(tmp_path: Path) -> None:
    address, _ = await ask(FakeTor("HASHEDPASSWORD", password="p w"), tmp_path, "p w")
    assert address == ONION
    with pytest.raises(TorError, match="AUTHENTICATE: 515"):
        await ask(FakeTor("HASHEDPASSWORD", password="p w"), tmp_path, "other")
    with pytest.raises(TorError, match="no authentication method"):
        await ask(FakeTor("HASHEDPASSWORD", password="p w"), tmp_path)


async def test_the_service_goes_with_the_connection(tmp_path: Path) -> None:
    tor = FakeTor("NULL")
    heard: list[tuple[str, object]] = []
    happened = asyncio.Event()

    def hear(what: str, detail: object) -> None:
        heard.append((what, detail))
        if what in {"service", "lost"}:
            happened.set()

    async with running(tor) as port:
        task = asyncio.create_task(control(port, tmp_path, hear).run())
        async with asyncio.timeout(10):
            await happened.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert ("service", ONION) in heard
