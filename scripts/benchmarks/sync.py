"""Initial block download over loopback from one and from three peers, beside connecting the same blocks plainly.

Every node is a process of its own with LevelDB on disk; the peers share the machine's cores with the node that
is measured. On a machine with other things to do its CPU time says more than the blocks per second.
"""

import shutil
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import ChainOptions
from gldnode.clock import SystemClock
from gldnode.params import BTC_REGTEST
from gldnode.primitives.block import parse_block
from scripts.benchmarks.chaindata import read_blocks
from scripts.benchmarks.report import Figure
from scripts.benchmarks.usage import usage_of
from tests.support.btcd import free_port
from tests.support.daemon import DaemonProcess

__all__ = ["run"]

PEERS = (1, 3)
THREADS = 2
QUICK_BLOCKS = 1_030
_FLAGS = ("-nopayments", "-disablewallet", f"-par={THREADS}", "-checkblocks=1", "-checklevel=0", "-debug=0")


@dataclass(frozen=True, slots=True)
class _Cost:
    """Of taking the whole chain in."""

    seconds: float
    cpu_s: float


def _connect_plainly(folder: Path, blocks: list[bytes]) -> _Cost:
    """The folder keeps the chain for the peers."""
    data = folder / BTC_REGTEST.name
    data.mkdir(parents=True)
    chain = Chainstate.open(BTC_REGTEST, data, ChainOptions(script_threads=THREADS), SystemClock())
    try:
        begun, cpu = time.perf_counter(), time.process_time()
        for raw in blocks:
            chain.accept_block(parse_block(raw), requested=True)
        chain.flush()
        return _Cost(time.perf_counter() - begun, time.process_time() - cpu)
    finally:
        chain.close()


def _sync(base: Path, source: Path, count: int, height: int) -> _Cost:
    """Of a new node that gets the whole chain from `count` peers."""
    with ExitStack() as stack:
        ports = []
        for number in range(count):
            folder = base / f"peer{number}"
            shutil.copytree(source, folder)
            ports.append(free_port())
            flags = (*_FLAGS, "-listen=1", f"-bind=127.0.0.1:{ports[-1]}")
            stack.enter_context(DaemonProcess(folder, *flags, network=BTC_REGTEST.name))
        dialled = [f"-connect=127.0.0.1:{port}" for port in ports]
        own = (*_FLAGS, "-networkactive=0", *dialled)
        node = stack.enter_context(DaemonProcess(base / "node", *own, network=BTC_REGTEST.name))
        begun, before = time.perf_counter(), usage_of(node.pid)
        node.call("setnetworkactive", True)
        while node.call("getblockcount") < height:
            time.sleep(0.05)
        return _Cost(time.perf_counter() - begun, usage_of(node.pid).cpu_s - before.cpu_s)


def run(quick: bool) -> list[Figure]:
    """Blocks and megabytes a second."""
    blocks = read_blocks()
    if quick:
        blocks = blocks[:QUICK_BLOCKS]
    megabytes = sum(map(len, blocks)) / 1e6
    base = Path(tempfile.mkdtemp(prefix="gld-bench-"))
    figures = []
    try:
        plain = _connect_plainly(base / "plain", blocks)
        for count in PEERS:
            folder = base / f"from{count}"
            took = _sync(folder, base / "plain", count, len(blocks))
            shutil.rmtree(folder)
            name = f"from {count} peer{'s' if count > 1 else ''}"
            for what, amount, unit in (
                (f"blocks {name} ({len(blocks):,})", len(blocks), "1/s"),
                (f"data {name}", megabytes, "MB/s"),
            ):
                figures.append(Figure(what, amount / took.seconds, unit, "connect", amount / plain.seconds))
            figures.append(Figure(f"the node's CPU, {name}", took.cpu_s, "s", "connect", plain.cpu_s))
    finally:
        shutil.rmtree(base)
    return figures
