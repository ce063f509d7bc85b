"""JSON-RPC over HTTP as gld-cli speaks it: where the node is, who asks, and waiting until it answers."""

import base64
import http.client
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from gldnode.config import Config
from gldnode.params import NETWORKS
from gldnode.rpc.json import decode, encode

__all__ = ["Answer", "CliError", "Client", "NotConnected", "call_when_ready"]

IN_WARMUP: Final = -28


class CliError(Exception):
    """Why the command could not be carried out; exit status 1."""


class NotConnected(CliError):
    """The node does not answer (yet): with -rpcwait tried again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One JSON-RPC answer."""

    result: Any
    error: Any


class Client:
    """Calls a node over HTTP."""

    def __init__(self, config: Config, password: str | None) -> None:
        self._config = config
        self._password = password
        self._host, self._port = _endpoint(config)
        timeout = config.get_int("rpcclienttimeout", 900, least=0)
        self._timeout = timeout or None

    def call(self, method: str, params: Any) -> Answer:
        """Raises NotConnected, CliError."""
        body = encode({"jsonrpc": "1.0", "id": 1, "method": method, "params": params})
        path = "/"
        wallet = self._config.get("rpcwallet")
        if wallet is not None and not self._config.is_negated("rpcwallet"):
            path = f"/wallet/{quote(wallet, safe='')}"
        headers = {
            "Content-Type": "application/json",
            "Authorization": "Basic " + base64.b64encode(self._credentials().encode()).decode(),
        }
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NotConnected(
                f"Could not connect to the server {self._host}:{self._port}\n\n"
                "Make sure the gldnode server is running and that you are connecting to the correct RPC port.\n"
                f'Use "gld-cli -help" for more info. ({error or type(error).__name__})'
            ) from None
        finally:
            connection.close()
        return self._read(response.status, data)

    def _read(self, status: int, data: bytes) -> Answer:
        if status == 401:
            if self._password is None and not self._config.get("rpcpassword") and not self._cookie().is_file():
                raise NotConnected(
                    "Could not locate RPC credentials. No authentication cookie could be found, and RPC "
                    "password is "
                    f"not set.  See -rpcpassword and -stdinrpcpass.  Configuration file: "
                    f"({self._config.conf_file})"
                )
            raise CliError("Authorization failed: Incorrect rpcuser or rpcpassword")
        if status == 503:
            raise CliError(f"Server response: {data.decode(errors='replace')}")
        if status >= 400 and status not in (400, 404, 500):
            raise CliError(f"server returned HTTP error {status}")
        if not data:
            raise CliError("no response from server")
        try:
            reply = decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise CliError("couldn't parse reply from server") from None
        if not isinstance(reply, dict) or "result" not in reply:
            raise CliError("expected reply to have result, error and id properties")
        return Answer(reply.get("result"), reply.get("error"))

    def _cookie(self) -> Path:
        return self._config.get_path("rpccookiefile", ".cookie") or self._config.data_dir / ".cookie"

    def _credentials(self) -> str:
        password = self._password if self._password is not None else self._config.get("rpcpassword")
        if password:
            return f"{self._config.get('rpcuser') or ''}:{password}"
        try:
            return self._cookie().read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return ":"  # the node answers 401, or is not there at all


def _endpoint(config: Config) -> tuple[str, int]:
    """Where the node is: a port in -rpcconnect, then -rpcport, then the network's."""
    port = config.get_int("rpcport", NETWORKS[config.network].http_port, least=1, most=65535)
    host = config.get("rpcconnect") or "127.0.0.1"
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        given = rest.removeprefix(":")
    elif host.count(":") == 1:
        host, _, given = host.partition(":")
    else:
        given = ""
    if given:
        if not given.isascii() or not given.isdigit() or not 0 < int(given) < 65536:
            raise CliError(f"Invalid port provided in -rpcconnect: {config.get('rpcconnect')}")
        port = int(given)
    return host, port


def call_when_ready(client: Client, config: Config, method: str, params: Any) -> Answer:
    """Call; with -rpcwait until the node answers and has loaded."""
    wait = config.get_bool("rpcwait")
    limit = config.get_int("rpcwaittimeout", 0, least=0)
    end = time.monotonic() + limit if limit else None
    while True:
        try:
            answer = client.call(method, params)
            if not wait or not isinstance(answer.error, dict) or answer.error.get("code") != IN_WARMUP:
                return answer
            if end is not None and time.monotonic() >= end:
                return answer
        except NotConnected as error:
            if not wait:
                raise
            if end is not None and time.monotonic() >= end:
                raise CliError(f"timeout on transient error: {error}") from None
        time.sleep(0.2)
