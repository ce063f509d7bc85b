"""Mine a genesis block: choose a dated headline, a time and the proof-of-work limit, print what params.py needs.

ASERT counts from the genesis block's time, so a network must be launched with a fresh one: mine it on the day.
"""

import argparse
import hashlib
import multiprocessing
import struct
import sys
import time

from gldnode.consensus.pow import target_from_bits
from gldnode.params import MAIN, make_genesis

STEP = 200_000


def search(job: tuple[bytes, int, int]) -> int | None:
    """The first nonce in [start, start + STEP) whose double SHA-256 meets the target."""
    head, target, start = job
    midstate = hashlib.sha256(head[:64])
    tail = head[64:]
    for nonce in range(start, min(start + STEP, 1 << 32)):
        inner = midstate.copy()
        inner.update(tail + struct.pack("<I", nonce))
        if int.from_bytes(hashlib.sha256(inner.digest()).digest(), "little") <= target:
            return nonce
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("headline", help="a dated headline for the coinbase, at most 91 bytes of text")
    parser.add_argument("--time", type=int, default=int(time.time()), help="Unix seconds (default: now)")
    parser.add_argument("--bits", type=lambda text: int(text, 16), default=MAIN.pow_limit_bits, help="limit, hex")
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    args = parser.parse_args()
    text = args.headline.encode()
    if not 1 <= len(text) <= 91:
        parser.error(f"the headline has {len(text)} bytes: a coinbase script holds 1 to 91")
    if not 0 <= args.time < 1 << 32:
        parser.error("--time must fit 32 bits")
    target, _, _ = target_from_bits(args.bits)
    script = MAIN.genesis.txs[0].outputs[0].script_pubkey
    block = make_genesis(text, args.time, args.bits, 0, MAIN.initial_subsidy, script)
    head = block.header.serialize()[:76]
    jobs = ((head, target, start) for start in range(0, 1 << 32, STEP))
    begun = time.monotonic()
    with multiprocessing.Pool(args.workers) as pool:
        for index, nonce in enumerate(pool.imap(search, jobs)):
            if sys.stderr.isatty():
                rate = (index + 1) * STEP / (time.monotonic() - begun)
                print(f"\r{(index + 1) * STEP:,} nonces, {rate:,.0f}/s", end="", file=sys.stderr)
            if nonce is not None:
                break
        else:
            print("no nonce meets the target: choose another --time", file=sys.stderr)
            return 1
        pool.terminate()
    if sys.stderr.isatty():
        print(file=sys.stderr)
    block = make_genesis(text, args.time, args.bits, nonce, MAIN.initial_subsidy, script)
    header = block.header
    print(f"headline     {args.headline}")
    print(f"time         {header.time}  ({time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(header.time))} UTC)")
    print(f"bits         {header.bits:08x}")
    print(f"nonce        {header.nonce}")
    print(f"merkle root  {header.merkle_root[::-1].hex()}")
    print(f"hash         {header.hash[::-1].hex()}")
    print(f"raw          {block.raw.hex()}")
    print()
    print("for gldnode/params.py:")
    print(
        f"    make_genesis({text!r}, {header.time}, 0x{header.bits:08X}, {header.nonce}, _SUBSIDY, _UNSPENDABLE)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
