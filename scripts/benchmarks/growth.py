"""Whether a long chain costs more per block than a short one: empty blocks, each length in its own process."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import ChainOptions
from gldnode.clock import SystemClock
from gldnode.consensus.check_block import coinbase_height_script
from gldnode.consensus.merkle import merkle_root
from gldnode.consensus.pow import has_valid_proof_of_work
from gldnode.consensus.subsidy import block_subsidy
from gldnode.params import BTC_REGTEST
from gldnode.primitives.block import Block, make_block, make_header
from gldnode.primitives.tx import NULL_OUTPOINT, SEQUENCE_FINAL, TxIn, TxOut, make_tx
from scripts.benchmarks.report import Figure

__all__ = ["run"]

_SAMPLE = 1_000


def _next_block(prev_hash: bytes, height: int, time_: int) -> Block:
    script_sig = coinbase_height_script(height) + b"\x00"
    amount = block_subsidy(height, BTC_REGTEST)
    coinbase = make_tx(2, [TxIn(NULL_OUTPOINT, script_sig, SEQUENCE_FINAL, ())], [TxOut(amount, b"\x51")], 0)
    root, _ = merkle_root([coinbase.txid])
    bits, nonce = BTC_REGTEST.genesis.header.bits, 0
    while True:
        header = make_header(0x20000000, prev_hash, root, time_, bits, nonce)
        if has_valid_proof_of_work(header.hash, bits, BTC_REGTEST):
            return make_block(header, [coinbase])
        nonce += 1


def measure(length: int) -> dict[str, float]:
    """Connect `length` empty blocks on disk: seconds for the last thousand, peak memory, seconds to open."""
    genesis = BTC_REGTEST.genesis.header
    with tempfile.TemporaryDirectory(prefix="gld-bench-") as name:
        folder = Path(name)
        chain = Chainstate.open(BTC_REGTEST, folder, ChainOptions(), SystemClock())
        prev_hash: bytes = genesis.hash
        spent = 0.0
        for height in range(1, length + 1):
            if height == length - _SAMPLE + 1:
                spent = 0.0
            block = _next_block(prev_hash, height, genesis.time + height)
            prev_hash = block.hash
            begun = time.perf_counter()
            chain.accept_block(block, requested=True)
            spent += time.perf_counter() - begun
        chain.close()
        peak = _peak_mib()
        begun = time.perf_counter()
        Chainstate.open(BTC_REGTEST, folder, ChainOptions(), SystemClock()).close()
        return {"seconds": spent, "peak": peak, "open": time.perf_counter() - begun}


def _peak_mib() -> float:
    """Of this process: Linux counts what its parent had at the fork into ru_maxrss, but not into VmHWM."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(quick: bool) -> list[Figure]:
    """1,000, 10,000 and 100,000 blocks; the quick run leaves out the last."""
    figures = []
    for length in (1_000, 10_000) if quick else (1_000, 10_000, 100_000):
        output = subprocess.run(
            [sys.executable, "-m", "scripts.benchmarks.growth", str(length)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        found = json.loads(output)
        name = f"{length:,} empty blocks"
        figures.append(Figure(f"{name}: the last thousand connected", found["seconds"], "s"))
        figures.append(Figure(f"{name}: peak memory of the process", found["peak"], "MiB"))
        figures.append(Figure(f"{name}: opening the chain", found["open"], "s"))
    return figures


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
