"""What attackers cost: RPC's answering time, CPU and memory under each attack alone, and what becomes of them.

The daemon and the attackers are processes of their own. One connection asks for the block count again and again:
first while nothing happens, then while the attack runs. Each attack's figures stand beside those of the quiet
seconds before it, so that a machine with other things to do shows in both.
"""

import base64
import multiprocessing
import re
import shutil
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from gldnode.params import REGTEST
from scripts.benchmarks.httpload import Load, request_bytes, run_load
from scripts.benchmarks.report import Figure
from scripts.benchmarks.usage import usage_of
from tests.support.btcd import free_port
from tests.support.daemon import DaemonProcess
from tests.support.hostile import MANNERS, HostileCrowd, KnownTip

__all__ = ["run"]

BLOCKS = 120
ADDRESS = "gldrt1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysn5rej0f"
_ENDED = re.compile(r"Z disconnected peer=\d+: (.*)$", re.MULTILINE)
_THEIR_OWN_WISH = "closed by the other side"


def _attack(pipe: Connection, port: int, manner: str, tip: KnownTip) -> None:
    """A process: says when it begins, attacks until it is told to stop, says how often and with how much."""
    with HostileCrowd(REGTEST, port, only=[manner], tip=tip) as crowd:
        pipe.send(None)
        pipe.recv()
    pipe.send((crowd.connections, crowd.bytes_sent))


def _ask(daemon: DaemonProcess, seconds: float) -> Load:
    auth = base64.b64encode(daemon.cookie().encode()).decode()
    body = b'{"jsonrpc":"2.0","id":1,"method":"getblockcount","params":[]}'
    request = request_bytes("POST", "/", body=body, headers=f"Authorization: Basic {auth}\r\n")
    return uvloop.run(run_load(daemon.port, 1, seconds, lambda number: request))


def _verdict(log: str) -> str:
    """What became of the attackers, from what the daemon wrote meanwhile."""
    reasons = Counter(re.sub(r"[0-9a-f]{16,}|\b\d+", "#", found) for found in _ENDED.findall(log))
    del reasons[_THEIR_OWN_WISH]
    if not reasons:
        return "ignored"
    (reason, count), *others = reasons.most_common()
    return f"{count:,} × {reason[:60]}" + (f" (and {len(others)} other reasons)" if others else "")


def _measure(daemon: DaemonProcess, port: int, manner: str, seconds: float) -> list[Figure]:
    tip = daemon.call("getblockheader", daemon.call("getbestblockhash"))
    known = KnownTip(bytes.fromhex(tip["hash"])[::-1], tip["height"], tip["time"])
    quiet = _ask(daemon, seconds / 2)
    before, seen = usage_of(daemon.pid), len(daemon.log_text)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_attack, args=(theirs, port, manner, known))
    process.start()
    ours.recv()
    begun = usage_of(daemon.pid)
    load = _ask(daemon, seconds)
    after = usage_of(daemon.pid)
    ours.send(None)
    connections, sent = ours.recv()
    process.join(20)
    while daemon.call("getconnectioncount"):
        time.sleep(0.05)
    name = manner.replace("_", " ")
    print(f"{name}: {connections:,} connections, {sent / 1e6:,.1f} MB; {_verdict(daemon.log_text[seen:])}")
    return [
        Figure(f"{name}: p50 of getblockcount", load.p50_ms, "ms", "quiet", quiet.p50_ms),
        Figure(f"{name}: p99 of getblockcount", load.p99_ms, "ms", "quiet", quiet.p99_ms),
        Figure(f"{name}: the daemon's CPU", (after.cpu_s - begun.cpu_s) / seconds, "cores"),
        Figure(f"{name}: memory grown", max(0.0, after.rss_mib - before.rss_mib), "MiB"),
    ]


def run(quick: bool) -> list[Figure]:
    """All manners of `HostileCrowd`, three attackers each."""
    folder, port = Path(tempfile.mkdtemp(prefix="gld-bench-")), free_port()
    flags = ("-listen=1", f"-bind=127.0.0.1:{port}", "-connect=0", "-nopayments", "-disablewallet", "-debug=0")
    try:
        with DaemonProcess(folder, *flags) as daemon:
            daemon.call("generatetoaddress", BLOCKS, ADDRESS)
            seconds = 1.5 if quick else 6.0
            return [figure for manner in MANNERS for figure in _measure(daemon, port, manner, seconds)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
