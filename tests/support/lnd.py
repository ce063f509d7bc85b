"""An unmodified lnd, Lightning's most used node, on loopback with one of our daemons as its `bitcoind`."""

import base64
import http.client
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.campaign import is_long
from tests.support.daemon import DaemonProcess
from tests.support.environments import CACHE, free_port, prepared
from tests.support.waiting import wait_for

__all__ = ["Lnd", "LndError", "require_lnd"]

VERSION = "v0.20.0-beta"
MODULE = f"github.com/lightningnetwork/lnd@{VERSION}"
TAGS = "autopilotrpc chainrpc invoicesrpc peersrpc routerrpc signrpc walletrpc watchtowerrpc wtclientrpc"
BUILD_TIMEOUT_S = 3600
PASSWORD = base64.b64encode(b"only for tests").decode()


def require_lnd() -> str:
    """The program's path. Skips where it is not here; with `--long` it is built, which takes half an hour."""
    built = CACHE / f"lnd-{VERSION}" / "bin" / "lnd"
    found = os.environ.get("GLD_LND") or shutil.which("lnd") or (str(built) if built.exists() else None)
    if found is not None:
        return found
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        pytest.skip("lnd is not here (set $GLD_LND), and neither is Go to build it with")
    if not is_long():
        pytest.skip(f"lnd is not here (set $GLD_LND); --long builds it into {built.parent}")
    _build(go, built)
    return str(built)


def _build(go: str, program: Path) -> None:
    """Its go.mod replaces modules, so `go install` refuses it: it is built in a copy of its source."""
    with prepared(program.parents[1], (MODULE,)) as needed:
        if not needed:
            return
        got = _go([go, "mod", "download", "-json", MODULE], Path.cwd())
        source = program.parents[1] / "source"
        shutil.copytree(json.loads(got)["Dir"], source, copy_function=shutil.copyfile)
        for folder in (source, *(one for one in source.rglob("*") if one.is_dir())):
            folder.chmod(0o755)  # Go's own copy is for reading only
        flags = ("-p", "1", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-tags", TAGS)
        _go(["nice", go, "build", *flags, "-o", str(program), "./cmd/lnd"], source)
        shutil.rmtree(source)


def _go(command: list[str], folder: Path) -> str:
    """What it prints. Skips where it fails."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        pytest.skip(f"lnd could not be built (set $GLD_LND): {error}")
    if done.returncode:
        pytest.skip(f"lnd could not be built (set $GLD_LND): {(done.stderr or done.stdout)[-500:]}")
    return done.stdout


class LndError(Exception):
    """An error answer of its REST interface."""


class Lnd:
    """One lnd behind `node`; `flags` say how it follows the chain. A context manager."""

    def __init__(self, folder: Path, node: DaemonProcess, *flags: str, has_seed: bool = False) -> None:
        self._program = require_lnd()
        self._folder = folder
        self._node = node
        self._flags = flags
        self._has_seed = has_seed
        self.p2p_port, self._rest_port, self._rpc_port = free_port(), free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        return (self._folder / "output.txt").read_text(errors="replace")

    def __enter__(self) -> "Lnd":
        self.start()
        return self

    def wait_ready(self) -> None:
        """Until it serves; a wallet with a seed is made first."""
        if self._has_seed:
            self._wait_for_state("NON_EXISTING")
            words = self.get("/v1/genseed")["cipher_seed_mnemonic"]
            self.post("/v1/initwallet", wallet_password=PASSWORD, cipher_seed_mnemonic=words)
        self._wait_for_state("SERVER_ACTIVE")

    def restart(self) -> None:
        """End it and start it again over the same wallet."""
        self.stop()
        self.start()
        if self._has_seed:
            self._wait_for_state("LOCKED")
            self.post("/v1/unlockwallet", wallet_password=PASSWORD)
        self._wait_for_state("SERVER_ACTIVE")

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--lnddir={self._folder / 'lnd'}",
                    "--bitcoin.regtest",
                    "--bitcoin.node=bitcoind",
                    f"--bitcoind.rpchost=127.0.0.1:{self._node.port}",
                    f"--listen=127.0.0.1:{self.p2p_port}",
                    f"--restlisten=127.0.0.1:{self._rest_port}",
                    f"--rpclisten=127.0.0.1:{self._rpc_port}",
                    "--no-rest-tls",
                    "--no-macaroons",
                    "--nobootstrap",
                    "--bitcoin.defaultremotedelay=6",
                    "--bitcoin.defaultchanconfs=3",
                    "--protocol.simple-taproot-chans",
                    *(() if self._has_seed else ("--noseedbackup",)),
                    *self._flags,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def stop(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def __exit__(self, *args: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _wait_for_state(self, state: str, timeout_s: float = 90) -> None:
        end = time.monotonic() + timeout_s
        seen: object = None
        while self.is_running and time.monotonic() < end:
            try:
                seen = self.get("/v1/state")["state"]
            except OSError:
                seen = "not listening"
            if seen == state:
                return
            time.sleep(0.2)
        raise AssertionError(f"lnd is {seen} and not {state}: {self.output[-4000:]}")

    # --- REST

    def get(self, path: str) -> Any:
        return self._request("GET", path)

    def post(self, path: str, **body: Any) -> Any:
        return self._request("POST", path, body)

    def close_channel(self, point: str, *, force: bool = False) -> str:
        """Begin to close it; the closing transaction."""
        txid, _, vout = point.partition(":")
        how = "force=true" if force else "sat_per_vbyte=5"
        path = f"/v1/channels/{txid}/{vout}?{how}"
        update = self._request("DELETE", path, first_line=True)["result"]
        return base64.b64decode(update["close_pending"]["txid"])[::-1].hex()

    def pay(self, invoice: str) -> Any:
        """The payment as it ended."""
        request = {"payment_request": invoice, "timeout_seconds": 30, "no_inflight_updates": True}
        return self._request("POST", "/v2/router/send", request, first_line=True)["result"]

    def _request(self, method: str, path: str, body: object = None, *, first_line: bool = False) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._rest_port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            data = answer.readline() if first_line else answer.read()
        finally:
            connection.close()
        reply = json.loads(data)
        if answer.status != 200 or "error" in reply:
            raise LndError(f"{method} {path}: {answer.status} {reply}")
        return reply

    # --- what tests ask for

    def info(self) -> Any:
        return self.get("/v1/getinfo")

    @property
    def is_synced(self) -> bool:
        """Whether it has the tip of our node, and says that it is in step with it."""
        info = self.info()
        return bool(info["synced_to_chain"] and info["block_hash"] == self._node.call("getbestblockhash"))

    def wait_synced(self) -> None:
        wait_for(lambda: self.is_synced, "lnd has our tip")

    def balance(self) -> tuple[int, int]:
        """Confirmed and unconfirmed coins of its wallet, satoshis."""
        answer = self.get("/v1/balance/blockchain")
        return int(answer["confirmed_balance"]), int(answer["unconfirmed_balance"])

    def new_address(self, kind: str = "WITNESS_PUBKEY_HASH") -> str:
        return str(self.get(f"/v1/newaddress?type={kind}")["address"])

    def channels(self) -> list[Any]:
        return list(self.get("/v1/channels?active_only=true")["channels"])

    def pending(self) -> list[Any]:
        """Channels that are being opened or closed."""
        answer = self.get("/v1/channels/pending")
        kinds = ("pending_open_channels", "pending_force_closing_channels", "waiting_close_channels")
        return [one for kind in kinds for one in answer[kind]]
