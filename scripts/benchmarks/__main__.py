"""scripts/bench: run all benchmarks, or the named ones."""

import argparse
import sys
from collections.abc import Callable

from scripts.benchmarks import connect, hostile, mempool, payments, rpc, sync
from scripts.benchmarks.report import Figure, print_figures

BENCHES: dict[str, tuple[str, Callable[[bool], list[Figure]]]] = {
    "connect": ("blocks and inputs: the benchmark chain, full verification, LevelDB on disk", connect.run),
    "hostile": ("RPC while peers attack, each attack alone; a daemon on loopback", hostile.run),
    "mempool": ("transactions accepted into the mempool, one thread", mempool.run),
    "payments": ("invoices, webhooks, blocks of payments, long histories; a daemon over HTTP", payments.run),
    "rpc": ("JSON-RPC requests, and their waiting time while blocks are connected", rpc.run),
    "sync": ("initial block download over loopback from one and from three peers", sync.run),
}


def main() -> int:
    names = "\n".join(f"  {name:<10} {about}" for name, (about, _) in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        epilog=f"benchmarks:\n{names}\n\nThe benchmark chain is looked for in $GLD_BENCH.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="name", help="which to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in BENCHES]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    for name in args.names or list(BENCHES):
        about, bench = BENCHES[name]
        print_figures(f"{name}: {about}", bench(args.quick))
    return 0


if __name__ == "__main__":
    sys.exit(main())
