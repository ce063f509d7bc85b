"""A real daemon on loopback for tests: started on free ports, always ended by its pid."""

import base64
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

__all__ = ["PROJECT", "DaemonProcess", "RpcFailure", "run_cli", "run_to_end"]

PROJECT = Path(__file__).resolve().parents[2]
_PORT = re.compile(r"Binding RPC on address 127\.0\.0\.1 port (\d+)")


class RpcFailure(Exception):
    """An RPC error answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def _command(base: Path, flags: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "gldnode.app", f"-datadir={base}", *flags]


def run_to_end(base: Path, *flags: str, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
    """A run that ends by itself: a start that fails, -help."""
    return subprocess.run(
        _command(base, flags), cwd=PROJECT, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def run_cli(*words: str, stdin: str = "", timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
    """gld-cli with these words."""
    return subprocess.run(
        [sys.executable, "-m", "gldnode.cli", *words],
        cwd=PROJECT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


class DaemonProcess:
    """One `gldnode`. Use as a context manager, or `start` and `stop`."""

    def __init__(self, base: Path, *flags: str, network: str = "regtest") -> None:
        self.base = base
        self.network = network
        self.flags = (f"-chain={network}", "-rpcport=0", "-listen=0", "-dnsseed=0", *flags)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        return self.base / self.network

    @property
    def log_text(self) -> str:
        log = self.folder / "debug.log"
        return log.read_text(encoding="utf-8") if log.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, timeout_s: float = 40) -> "DaemonProcess":
        seen = len(self.log_text)
        process = self.launch()
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            text = self.log_text[seen:]
            found = _PORT.search(text)
            if found and "init message: Done loading" in text:
                self.port = int(found[1])
                return self
            if process.poll() is not None:
                break
            time.sleep(0.05)
        self.kill()
        raise AssertionError(f"the daemon did not start: {(self.base / 'output.txt').read_text()}{self.log_text}")

    def launch(self) -> "subprocess.Popen[bytes]":
        """Begin to start, and do not wait for it."""
        self.base.mkdir(parents=True, exist_ok=True)
        with (self.base / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                _command(self.base, (*self.flags, "-printtoconsole=0")),
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return self._process

    def cookie(self) -> str:
        return (self.folder / ".cookie").read_text()

    def request(
        self,
        body: bytes | str,
        *,
        path: str = "/",
        method: str = "POST",
        auth: str | None = "",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """One HTTP request: status, headers, body. `auth`: user:password, "" for the cookie, None for none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = dict(headers or {})
        if auth is not None:
            sent["Authorization"] = "Basic " + base64.b64encode((auth or self.cookie()).encode()).decode()
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def call(self, method: str, *params: Any, wallet: str | None = None) -> Any:
        """The result, amounts as Decimal. Raises RpcFailure."""
        path = "/" if wallet is None else f"/wallet/{wallet}"
        body = json.dumps({"jsonrpc": "1.0", "id": 1, "method": method, "params": list(params)})
        status, _, data = self.request(body, path=path)
        reply = json.loads(data, parse_float=Decimal)
        if reply["error"] is not None:
            assert status >= 400
            raise RpcFailure(reply["error"]["code"], reply["error"]["message"])
        return reply["result"]

    def cli(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return run_cli(
            f"-datadir={self.base}", f"-chain={self.network}", f"-rpcport={self.port}", *words, stdin=stdin
        )

    def wait(self, timeout_s: float = 20) -> int:
        assert self._process is not None
        return self._process.wait(timeout_s)

    def terminate(self, number: int = signal.SIGTERM) -> int:
        """Send a signal to the daemon, wait for its exit status."""
        os.kill(self.pid, number)
        return self.wait()

    def stop(self) -> int:
        if self._process is None or self._process.poll() is not None:
            return 0 if self._process is None else self._process.returncode
        try:
            return self.terminate()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    def __enter__(self) -> "DaemonProcess":
        return self.start()

    def __exit__(self, *args: object) -> None:
        self.kill()
