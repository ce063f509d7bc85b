"""The node driven as Bitcoin Core's functional test framework drives bitcoind.

The framework writes `bitcoin.conf` with a `[regtest]` section, names the network's folder `regtest` and passes its
flags. The wrapper, all that stands between, maps these names to ours; everything else is the node's own.
"""

import base64
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.daemon import PROJECT, RpcFailure
from tests.support.environments import free_port

__all__ = ["KEYS", "SECRETS", "CoreNode", "cache_chain", "copy_chain", "write_wrapper"]

KEYS = ["mjTkW3DjgyZck4KbiRusZsqTgaYTxdSz6z", "msX6jQXvxiNhx3Q62PKeLPrhrqZQdSimTg"]
"""Where the cached chain's blocks are mined to: the framework's deterministic keys of its first two nodes."""
SECRETS = [
    "cVpF924EspNh8KjYsfhgY96mmxvT6DgdWiTYMtMjuM74hJaU5psW",
    "cUxsWyKyZ9MAQTaAhUQWJmBbSvHMwSmuv59KgxQV7oZQU3PXN3KE",
]

WRAPPER = """\
#!/bin/sh
# bitcoind for Core's test framework: its configuration file, section and folder by our names.
for word in "$@"; do
    case "$word" in -datadir=*) datadir="${word#-datadir=}" ;; esac
done
sed -e 's/^\\[regtest\\]/[btc-regtest]/' -e 's/^regtest=1/chain=btc-regtest/' "$datadir/bitcoin.conf" \\
    > "$datadir/gldnode.conf"
mkdir -p "$datadir/regtest"
[ -e "$datadir/btc-regtest" ] || ln -s regtest "$datadir/btc-regtest"
cd "@PROJECT@" || exit 1
exec "@PYTHON@" -m gldnode.app "$@"
"""

CONF = """\
regtest=1
[regtest]
port={p2p}
rpcport={rpc}
rpcservertimeout=99000
rpcdoccheck=1
fallbackfee=0.0002
server=1
keypool=1
discover=0
dnsseed=0
fixedseeds=0
listenonion=0
peertimeout=999999999
printtoconsole=0
upnp=0
natpmp=0
shrinkdebugfile=0
deprecatedrpc=create_bdb
unsafesqlitesync=1
connect=0
bind=127.0.0.1
"""
CONF_31 = "rpcthreads=2\nmaxconnections=94\npar=2\nprevoutfetchthreads=1\n"
FLAGS = (
    "-logtimemicros",
    "-debug",
    "-debugexclude=libevent",
    "-debugexclude=leveldb",
    "-debugexclude=rand",
    "-logthreadnames",
    "-logsourcelocations",
    "-loglevel=trace",
)
START_TIMEOUT_S = 60


def write_wrapper(folder: Path) -> Path:
    """The executable that the framework is given as $BITCOIND."""
    path = folder / "bitcoind"
    path.write_text(WRAPPER.replace("@PROJECT@", str(PROJECT)).replace("@PYTHON@", sys.executable))
    path.chmod(0o755)
    return path


class CoreNode:
    """TestNode of the framework, as far as the node sees it."""

    def __init__(self, wrapper: Path, datadir: Path, number: int = 0, *, head: bool = False) -> None:
        self._wrapper = wrapper
        self.datadir = datadir
        self.number = number
        self.head = head
        """Speak as the development head does (JSON-RPC 2.0), else as v27."""
        self.p2p_port, self.rpc_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: http.client.HTTPConnection | None = None
        datadir.mkdir(parents=True, exist_ok=True)
        conf = CONF.format(p2p=self.p2p_port, rpc=self.rpc_port) + (CONF_31 if head else "")
        (datadir / "bitcoin.conf").write_text(conf)

    @property
    def chain_path(self) -> Path:
        return self.datadir / "regtest"

    @property
    def debug_log(self) -> bytes:
        return (self.chain_path / "debug.log").read_bytes()

    @property
    def stderr(self) -> str:
        return (self.datadir / "stderr").read_text()

    def start(self, *extra: str, v2: bool = False) -> None:
        assert self._process is None
        flags = (f"-datadir={self.datadir}", *FLAGS, f"-uacomment=testnode{self.number}", f"-v2transport={v2:d}")
        with (self.datadir / "stdout").open("wb") as out, (self.datadir / "stderr").open("wb") as err:
            self._process = subprocess.Popen(
                [str(self._wrapper), *flags, *extra], stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    def wait_for_rpc(self) -> None:
        """The framework's up-check: four times a second, -28 tolerated, then until the mempool is loaded."""
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end:
            assert self._process is not None
            assert self._process.poll() is None, self.stderr
            try:
                self.rpc("getblockcount")
                if self.rpc("getmempoolinfo")["loaded"]:
                    return
            except RpcFailure as failure:
                if failure.code not in (-28, -342):
                    raise
            except (FileNotFoundError, OSError):
                pass  # no cookie yet, or no server
            time.sleep(0.25)
        raise AssertionError(f"no RPC: {self.stderr}")

    def run(self, *extra: str, **options: bool) -> "CoreNode":
        self.start(*extra, **options)
        self.wait_for_rpc()
        return self

    def rpc(self, method: str, *args: Any, wallet: str | None = None, **named: Any) -> Any:
        """authproxy's request: one kept connection, exact content type, Decimal numbers."""
        params: Any = list(args)
        if named:
            params = {**named, **({"args": list(args)} if args else {})}
        version = {"jsonrpc": "2.0"} if self.head else {"version": "1.1"}
        body = json.dumps({**version, "method": method, "params": params, "id": 1}, default=str)
        status, data = self.post("/" if wallet is None else f"/wallet/{wallet}", body)
        reply = json.loads(data, parse_float=Decimal)
        if self.head:
            assert reply["jsonrpc"] == "2.0"
            assert status == 200
            assert ("result" in reply) != ("error" in reply)
        else:
            assert "result" in reply
            assert "error" in reply
            assert (status == 200) == (reply["error"] is None)
        error = reply.get("error")
        if error is not None:
            raise RpcFailure(error["code"], error["message"])
        return reply["result"]

    def post(self, path: str, body: str) -> tuple[int, bytes]:
        user = (self.chain_path / ".cookie").read_text()
        headers = {
            "Host": "127.0.0.1",
            "User-Agent": "AuthServiceProxy/0.1",
            "Authorization": "Basic " + base64.b64encode(user.encode()).decode(),
            "Content-type": "application/json",
        }
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.rpc_port, timeout=60)
        try:
            self._connection.request("POST", path, body, headers)
            response = self._connection.getresponse()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            raise
        data = response.read()
        if response.status != 204:
            assert response.getheader("Content-Type") == "application/json"
        return response.status, data

    def stop(self) -> None:
        """`stop` over RPC: exit status 0, nothing on stderr, no cookie left."""
        assert self._process is not None
        self.rpc("stop", wait=0) if self.head else self.rpc("stop")
        assert self._process.wait(60) == 0
        assert self.stderr == ""
        assert not (self.chain_path / ".cookie").exists()
        self._forget()

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(20)
            self._forget()

    def wait_until_ended(self, timeout_s: float = 30) -> int:
        """A start that fails: its exit status."""
        assert self._process is not None
        status = self._process.wait(timeout_s)
        self._forget()
        return status

    def _forget(self) -> None:
        self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def cache_chain(node: CoreNode) -> None:
    """What the framework does to the folder of its cached chain before it copies it."""
    os.rmdir(node.chain_path / "wallets")  # it must exist and be empty
    for entry in node.chain_path.iterdir():
        if entry.name not in ("chainstate", "blocks", "indexes", "fees"):
            entry.unlink()


def copy_chain(source: CoreNode, target: CoreNode) -> None:
    shutil.copytree(source.chain_path, target.chain_path)
