"""An onion service of our own, asked of a Tor daemon over its control port (Core: torcontrol).

The service lives as long as the control connection: it is kept open, and made again when Tor restarts. The key
is kept in the data folder, so that the address stays the same.
"""

import asyncio
import hmac
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gldnode.entropy import Entropy
from gldnode.errors import NodeError
from gldnode.p2p.netaddress import NetAddress, parse_host

__all__ = ["TorControl", "TorError"]

DEFAULT_PORT: Final = 9051
MAX_LINE: Final = 100_000
REPLY_TIMEOUT_S: Final = 30
FIRST_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 600.0
COOKIE_SIZE: Final = 32
NONCE_SIZE: Final = 32
_SERVER_KEY: Final = b"Tor safe cookie authentication server-to-controller hash"
_CLIENT_KEY: Final = b"Tor safe cookie authentication controller-to-server hash"


class TorError(NodeError):
    """The Tor daemon is not there, or would not do it."""


class TorControl:
    """Keeps the onion service up."""

    def __init__(
        self,
        control: tuple[str, int],
        target: tuple[str, int],
        virtual_port: int,
        key_file: Path,
        entropy: Entropy,
        *,
        password: str = "",
        on_service: Callable[[NetAddress], None],
        on_socks: Callable[[str, int], None],
        on_lost: Callable[[NetAddress], None],
        log: Callable[[str], None],
    ) -> None:
        """Visitors of the service's `virtual_port` are delivered to `target`."""
        self._control = control
        self._target = target
        self._virtual_port = virtual_port
        self._key_file = key_file
        self._entropy = entropy
        self._password = password
        self._on_service = on_service
        self._on_socks = on_socks
        self._on_lost = on_lost
        self._log = log

    async def run(self) -> None:
        """For ever: connect, make the service, wait until the connection ends."""
        delay = FIRST_RETRY_S
        while True:
            service: NetAddress | None = None
            try:
                async with asyncio.timeout(REPLY_TIMEOUT_S):
                    reader, writer = await asyncio.open_connection(*self._control, limit=MAX_LINE)
                try:
                    service = await self.make_service(reader, writer)
                    delay = FIRST_RETRY_S
                    self._on_service(service)
                    while await reader.read(4096):
                        pass  # events that nobody asked for; the end of the stream ends the service
                finally:
                    writer.close()
            except (OSError, TimeoutError, TorError, ValueError, asyncio.IncompleteReadError) as error:
                self._log(f"tor: no onion service: {error or type(error).__name__}")
            if service is not None:
                self._on_lost(service)
            await asyncio.sleep(delay)
            delay = min(delay * 1.5, MAX_RETRY_S)

    async def make_service(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> NetAddress:
        """Authenticate and make the service; its address. Raises TorError."""
        talk = _Conversation(reader, writer)
        await self._authenticate(talk)
        await self._find_socks(talk)
        key = self._stored_key()
        host, port = self._target
        reply = await talk.ask(f"ADD_ONION {key or 'NEW:ED25519-V3'} Port={self._virtual_port},{host}:{port}")
        fields = dict(line.split("=", 1) for line in reply if "=" in line)
        if "ServiceID" not in fields:
            raise TorError("ADD_ONION gave no service id")
        if "PrivateKey" in fields:
            self._store_key(fields["PrivateKey"])
        address = parse_host(fields["ServiceID"] + ".onion", self._virtual_port)
        if address is None:
            raise TorError("ADD_ONION gave no address")
        self._log(f"tor: Got service ID {fields['ServiceID']}, advertising service {address}")
        return address

    def _stored_key(self) -> str | None:
        try:
            key = self._key_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return key if re.fullmatch(r"ED25519-V3:[A-Za-z0-9+/=]{1,200}", key) else None

    def _store_key(self, key: str) -> None:
        descriptor = os.open(self._key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(key)

    async def _authenticate(self, talk: "_Conversation") -> None:
        methods, cookie_file = _parse_protocol_info(await talk.ask("PROTOCOLINFO 1"))
        if self._password:
            if "HASHEDPASSWORD" not in methods:
                raise TorError("a password is set, but Tor does not take one")
            await talk.ask(f'AUTHENTICATE "{_quoted(self._password)}"')
        elif "NULL" in methods:
            await talk.ask("AUTHENTICATE")
        elif "SAFECOOKIE" in methods and cookie_file:
            await self._authenticate_with_cookie(talk, Path(cookie_file))
        else:
            raise TorError("no authentication method in common (set -torpassword, or CookieAuthentication 1)")

    async def _authenticate_with_cookie(self, talk: "_Conversation", path: Path) -> None:
        """Both sides prove that they can read the cookie; neither shows it."""
        cookie = await asyncio.get_running_loop().run_in_executor(None, path.read_bytes)
        if len(cookie) != COOKIE_SIZE:
            raise TorError(f"the cookie file {path} has {len(cookie)} bytes")
        ours = self._entropy.bytes(NONCE_SIZE)
        reply = await talk.ask(f"AUTHCHALLENGE SAFECOOKIE {ours.hex()}")
        found = re.match(r"AUTHCHALLENGE SERVERHASH=([0-9A-Fa-f]{64}) SERVERNONCE=([0-9A-Fa-f]{64})", reply[0])
        if found is None:
            raise TorError("AUTHCHALLENGE answer not understood")
        said, theirs = bytes.fromhex(found[1]), bytes.fromhex(found[2])
        both = cookie + ours + theirs
        if not hmac.compare_digest(hmac.digest(_SERVER_KEY, both, "sha256"), said):
            raise TorError("what answers at the control port does not know the cookie")
        await talk.ask(f"AUTHENTICATE {hmac.digest(_CLIENT_KEY, both, 'sha256').hex()}")

    async def _find_socks(self, talk: "_Conversation") -> None:
        """Where Tor takes outgoing connections."""
        try:
            reply = await talk.ask("GETINFO net/listeners/socks")
        except TorError:
            return
        found = re.search(r'"([0-9.]+):([0-9]{1,5})"', reply[0]) if reply else None
        if found is not None:
            self._on_socks(found[1], int(found[2]))


class _Conversation:
    """Commands and their replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, command: str) -> list[str]:
        """The lines of the reply without their code. Raises TorError when it is not 250."""
        self._writer.write(command.encode() + b"\r\n")
        lines: list[str] = []
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            while True:
                raw = await self._reader.readline()
                if not raw.endswith(b"\r\n"):
                    raise TorError("the control connection ended")
                line = raw[:-2].decode("ascii", "replace")
                if len(line) < 4 or not line[:3].isdigit():
                    raise TorError("not a Tor control port")
                if line[:3] != "250":
                    raise TorError(f"{command.split()[0]}: {line[:200]}")
                lines.append(line[4:])
                if line[3] == " ":
                    return lines


def _parse_protocol_info(reply: list[str]) -> tuple[set[str], str]:
    """(methods, cookie file)."""
    for line in reply:
        if line.startswith("AUTH "):
            methods = re.search(r"METHODS=([A-Z,]+)", line)
            cookie = re.search(r'COOKIEFILE="((?:[^"\\]|\\.)*)"', line)
            return (
                set(methods[1].split(",")) if methods else set(),
                re.sub(r"\\(.)", r"\1", cookie[1]) if cookie else "",
            )
    return set(), ""


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
