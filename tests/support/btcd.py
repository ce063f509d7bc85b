"""btcd, a Bitcoin node of another make: found or built with `go install`, and run on Bitcoin's regtest network."""

import base64
import functools
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Btcd", "free_port", "require_btcd"]

MODULE = "github.com/btcsuite/btcd@latest"
BUILD_TIMEOUT_S = 900


@functools.cache
def require_btcd() -> str:
    """The program's path; skips the test where it is not here and cannot be built.

    Where there is Go, a build that fails under CI is a failure.
    """
    found = os.environ.get("GLD_BTCD") or shutil.which("btcd")
    if found:
        return found
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        pytest.skip("btcd is not here (set $GLD_BTCD), and neither is Go to build it with")
    folder = subprocess.run([go, "env", "GOPATH"], capture_output=True, text=True, check=True).stdout.strip()
    program = Path(folder) / "bin" / "btcd"
    if not program.exists():
        built = subprocess.run(
            [go, "install", MODULE], capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
        )
        if built.returncode and os.environ.get("CI"):
            pytest.fail(f"go install {MODULE}: {built.stderr[-2000:]}")
        if built.returncode:
            pytest.skip(f"btcd could not be built (set $GLD_BTCD): go install {MODULE}: {built.stderr[-500:]}")
    return str(program)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Btcd:
    """One btcd. Use as a context manager."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.p2p_port = free_port()
        self.rpc_port = free_port()
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Btcd":
        program = require_btcd()
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "btcd.conf"
        config.write_text("")
        with (self.folder / "output.txt").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    program,
                    "--regtest",
                    f"--configfile={config}",
                    f"--datadir={self.folder / 'data'}",
                    f"--logdir={self.folder / 'logs'}",
                    f"--listen=127.0.0.1:{self.p2p_port}",
                    f"--rpclisten=127.0.0.1:{self.rpc_port}",
                    "--rpcuser=user",
                    "--rpcpass=password",
                    "--notls",
                    "--nodnsseed",
                    *self._flags,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        end = time.monotonic() + 40
        while time.monotonic() < end and self._process.poll() is None:
            try:
                self.call("getblockcount")
                return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        raise AssertionError(f"btcd did not start: {self.output}")

    @property
    def output(self) -> str:
        return (self.folder / "output.txt").read_text(errors="replace")[-4000:]

    def __exit__(self, *args: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)

    def call(self, method: str, *params: Any) -> Any:
        """The result of an RPC call. Raises AssertionError for an error answer, OSError while it starts."""
        connection = http.client.HTTPConnection("127.0.0.1", self.rpc_port, timeout=60)
        auth = base64.b64encode(b"user:password").decode()
        body = json.dumps({"jsonrpc": "1.0", "id": 1, "method": method, "params": list(params)})
        try:
            connection.request("POST", "/", body, {"Authorization": f"Basic {auth}"})
            reply = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert reply["error"] is None, reply["error"]
        return reply["result"]
