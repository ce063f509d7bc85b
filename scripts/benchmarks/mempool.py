"""Transactions accepted into the mempool per second, and what a full pool costs after that."""

import shutil
import tempfile
import time
from pathlib import Path

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import ChainOptions
from gldnode.clock import SystemClock
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.pool import Mempool
from gldnode.mining.template import build_template
from gldnode.params import BTC_REGTEST
from gldnode.primitives.block import parse_block
from gldnode.primitives.tx import parse_tx
from scripts.benchmarks.chaindata import read_blocks, read_mempool
from scripts.benchmarks.limits import libsecp256k1_rate
from scripts.benchmarks.report import Figure

__all__ = ["run"]

PAY_TO = bytes.fromhex("0014") + bytes(20)


def run(quick: bool) -> list[Figure]:
    """P2WPKH transactions one by one into a growing pool, on one thread."""
    clock = SystemClock()
    folder = Path(tempfile.mkdtemp(prefix="gld-bench-"))
    chain = Chainstate.open(BTC_REGTEST, folder, ChainOptions(script_threads=2), clock)
    try:
        for raw in read_blocks():
            chain.accept_block(parse_block(raw), requested=True)
        chain.flush()
        pool = Mempool(chain, MempoolOptions(), clock)
        txs = [parse_tx(raw) for raw in read_mempool()]
        if quick:
            txs = txs[: len(txs) // 10]
        limit = libsecp256k1_rate(1)
        inputs_each = sum(len(tx.inputs) for tx in txs) / len(txs)
        quarter = len(txs) // 4
        marks = [time.perf_counter()]
        for number, tx in enumerate(txs, 1):
            pool.accept(tx)
            if number % quarter == 0:
                marks.append(time.perf_counter())
        first, last = quarter / (marks[1] - marks[0]), quarter / (marks[4] - marks[3])
        rate = 4 * quarter / (marks[4] - marks[0])
        begun = time.perf_counter()
        build_template(chain, pool, PAY_TO, now=clock.now(), test=False)
        template_ms = (time.perf_counter() - begun) * 1_000
    finally:
        chain.close()
        shutil.rmtree(folder)
    return [
        Figure(f"accepted ({len(txs):,} P2WPKH)", rate, "1/s", "libsecp256k1", limit / inputs_each),
        Figure("accepted, the first quarter", first, "1/s"),
        Figure("accepted, the last quarter", last, "1/s"),
        Figure("block template from that pool", template_ms, "ms"),
    ]
