"""Blocks connected and inputs verified per second, and the memory that it takes."""

import resource
import shutil
import tempfile
import time
from pathlib import Path

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import ChainOptions
from gldnode.clock import SystemClock
from gldnode.params import BTC_REGTEST
from gldnode.primitives.block import parse_block
from scripts.benchmarks import growth
from scripts.benchmarks.chaindata import read_blocks
from scripts.benchmarks.limits import libsecp256k1_rate
from scripts.benchmarks.report import Figure

__all__ = ["run"]

TIP = "364ee037e680134b2efdbada925ed9ca813ae40583e5759403190743670fd90c"
EMPTY = 1000


def _connect(blocks: list[bytes], threads: int) -> tuple[float, float, int]:
    """(empty blocks per second, inputs per second, inputs) on a fresh database."""
    folder = Path(tempfile.mkdtemp(prefix="gld-bench-"))
    chain = Chainstate.open(BTC_REGTEST, folder, ChainOptions(script_threads=threads), SystemClock())
    try:
        begun = time.perf_counter()
        for raw in blocks[:EMPTY]:
            chain.accept_block(parse_block(raw), requested=True)
        chain.flush()
        empty = EMPTY / (time.perf_counter() - begun)
        inputs = 0
        begun = time.perf_counter()
        for raw in blocks[EMPTY:]:
            block = parse_block(raw)
            inputs += sum(len(tx.inputs) for tx in block.txs[1:])
            chain.accept_block(block, requested=True)
        chain.flush()
        elapsed = time.perf_counter() - begun
        if len(blocks) == 1210 and chain.tip.hash[::-1].hex() != TIP:
            raise SystemExit(f"wrong tip: {chain.tip.hash[::-1].hex()}")
        return empty, inputs / elapsed, inputs
    finally:
        chain.close()
        shutil.rmtree(folder)


def run(quick: bool) -> list[Figure]:
    """Empty blocks and the 200 full ones, on one thread and on two; then chains of 1, 10 and 100 thousand."""
    blocks = read_blocks()
    if quick:
        blocks = blocks[: EMPTY + 30]
    figures = []
    for threads in (1, 2):
        # Before and after, for the machine may have other things to do in one of the two.
        before = libsecp256k1_rate(threads)
        empty, rate, inputs = _connect(blocks, threads)
        limit = (before + libsecp256k1_rate(threads)) / 2
        suffix = f"{threads} thread{'s' if threads > 1 else ''}"
        figures.append(Figure(f"inputs verified ({inputs:,}), {suffix}", rate, "1/s", "libsecp256k1", limit))
        figures.append(Figure(f"empty blocks connected, {suffix}", empty, "1/s"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures.append(Figure("peak memory of the process, block file included", peak, "MiB"))
    return figures + growth.run(quick)
