"""Transactions accepted into the mempool per second, and what a full pool costs after that."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import ChainOptions
from gldnode.clock import SystemClock
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.pool import Mempool
from gldnode.mining.template import build_template
from gldnode.params import BTC_REGTEST
from gldnode.primitives.block import parse_block
from gldnode.primitives.tx import Tx, parse_tx
from scripts.benchmarks.chaindata import read_blocks, read_mempool
from scripts.benchmarks.limits import libsecp256k1_rate
from scripts.benchmarks.report import Figure

__all__ = ["run"]

PAY_TO = bytes.fromhex("0014") + bytes(20)


def run(quick: bool) -> list[Figure]:
    """P2WPKH transactions one by one into a growing pool, on one thread."""
    clock = SystemClock()
    folder = Path(tempfile.mkdtemp(prefix="gld-bench-"))
    # The chain's blocks are old: without this the node would count as synchronising and not learn fees.
    options = ChainOptions(script_threads=2, max_tip_age_s=clock.now())
    chain = Chainstate.open(BTC_REGTEST, folder, options, clock)
    try:
        for raw in read_blocks():
            chain.accept_block(parse_block(raw), requested=True)
        chain.flush()
        pool = Mempool(chain, MempoolOptions(), clock)
        txs = [parse_tx(raw) for raw in read_mempool()]
        if quick:
            txs = txs[: len(txs) // 10]
        inputs_each = sum(len(tx.inputs) for tx in txs) / len(txs)
        size = len(txs) // 4
        quarters = []
        limits = []
        for start in range(0, 4 * size, size):
            # Beside each quarter, for what else the machine does changes.
            limits.append(libsecp256k1_rate(1, 0.5))
            quarters.append(_accept_all(pool, txs[start : start + size]))
        rate = 4 * size / sum(wall for wall, _ in quarters)
        limit = len(limits) / sum(1 / one for one in limits)
        begun = time.perf_counter()
        build_template(chain, pool, PAY_TO, now=clock.now(), test=False)
        template_ms = (time.perf_counter() - begun) * 1_000
    finally:
        chain.close()
        shutil.rmtree(folder)
    return [
        Figure(f"accepted ({len(txs):,} P2WPKH)", rate, "1/s", "libsecp256k1", limit / inputs_each),
        *(
            figure
            for name, (wall, cpu) in (("first", quarters[0]), ("last", quarters[3]))
            for figure in (
                Figure(f"accepted, the {name} quarter", size / wall, "1/s"),
                Figure(f"processor time of each, the {name} quarter", cpu / size * 1e6, "µs"),
            )
        ),
        Figure("block template from that pool", template_ms, "ms"),
    ]


def _accept_all(pool: Mempool, txs: Sequence[Tx]) -> tuple[float, float]:
    """Seconds of the clock and of this thread's processor time."""
    wall, cpu = time.perf_counter(), time.thread_time()
    for tx in txs:
        pool.accept(tx)
    return time.perf_counter() - wall, time.thread_time() - cpu
