"""An unmodified ElectrumX on loopback, and a client of its protocol.

From 1.20 on it pads its answers: after the first few of a connection each small one is held back until there are
more, at most a second (PaddedRSTransport), whatever the node's answer took. A client that asks one thing after the
other therefore waits a second for each.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.support.daemon import DaemonProcess
from tests.support.environments import free_port, python_with

__all__ = ["ElectrumClient", "ElectrumX", "script_hash"]


def script_hash(script_pubkey: str) -> str:
    """The protocol's name of an output script (hex)."""
    return sha256(bytes.fromhex(script_pubkey)).digest()[::-1].hex()


class ElectrumX:
    """`electrumx_server` of the PyPI package e-x, following `daemon`. A context manager."""

    def __init__(self, version: str, daemon: DaemonProcess, folder: Path) -> None:
        self.version = version
        extra = "[leveldb]" if version.startswith("2.") else ""  # 1.x always brings it
        self._python = python_with(f"e-x-{version}", f"e-x{extra}=={version}")
        self._daemon = daemon
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        return (self._folder / "electrumx.log").read_text(errors="replace")

    def __enter__(self) -> "ElectrumX":
        database = self._folder / "db"
        database.mkdir(parents=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "COIN": "Bitcoin",
            "NET": "regtest",
            "DB_DIRECTORY": str(database),
            "DB_ENGINE": "leveldb",
            "DAEMON_URL": f"http://{self._daemon.cookie()}@127.0.0.1:{self._daemon.port}/",
            "SERVICES": f"tcp://127.0.0.1:{self.port}",
            "PEER_DISCOVERY": "off",
            "PEER_ANNOUNCE": "",
            "ALLOW_ROOT": "1",
            "COST_SOFT_LIMIT": "0",
            "COST_HARD_LIMIT": "0",
            "REQUEST_SLEEP": "0",
            "INITIAL_CONCURRENT": "100",
            "DAEMON_POLL_INTERVAL_BLOCKS": "200",
            "DAEMON_POLL_INTERVAL_MEMPOOL": "200",
        }
        with (self._folder / "electrumx.log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(self._python), str(self._python.with_name("electrumx_server"))],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *args: object) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def client(self, timeout_s: float = 60) -> "ElectrumClient":
        """A connection, as soon as the server has caught up and listens."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                return ElectrumClient(self.port)
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"ElectrumX {self.version} does not serve: {self.output[-4000:]}")


class ElectrumClient:
    """JSON lines over TCP."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self._socket.makefile("rwb")
        self._number = 0
        self.call("server.version", "test", "1.4")

    def call(self, method: str, *params: Any) -> Any:
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self._file.write(json.dumps(request).encode() + b"\n")
        self._file.flush()
        while True:
            reply = json.loads(self._file.readline())
            if reply.get("id") == self._number:
                assert "error" not in reply, reply["error"]
                return reply["result"]

    def until(self, wanted: Callable[[Any], bool], method: str, *params: Any, timeout_s: float = 30) -> Any:
        """Call until the answer is `wanted`: the server follows the node with a delay."""
        end = time.monotonic() + timeout_s
        while True:
            answer = self.call(method, *params)
            if wanted(answer):
                return answer
            assert time.monotonic() < end, f"{method}: {answer}"
            time.sleep(0.1)

    def close(self) -> None:
        self._file.close()
        self._socket.close()
