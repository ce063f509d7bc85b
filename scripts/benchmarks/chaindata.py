"""The benchmark chain: where it is and how it is read.

Format: repeated `fa bf b5 da` | size (uint32 LE) | raw block; the mempool file: size (uint32 LE) | raw tx.
"""

import lzma
import os
import struct
from pathlib import Path

from tests.support.vectors import vectors_path

__all__ = ["bench_dir", "read_blocks", "read_mempool"]

_MAGIC = bytes.fromhex("fabfb5da")


def bench_dir() -> Path:
    """`$GLD_BENCH`, or `bench` beside the vectors' folder. Raises SystemExit with what to do."""
    named = os.environ.get("GLD_BENCH")
    candidates = [Path(named)] if named else [vectors_path().parent / "bench"]
    for folder in candidates:
        if (folder / "regtest-blocks.dat.xz").exists():
            return folder
    raise SystemExit("the benchmark chain (regtest-blocks.dat.xz) was not found: set GLD_BENCH to its folder")


def read_blocks() -> list[bytes]:
    """Raw blocks of heights 1, 2, … on Bitcoin's regtest genesis."""
    raw = lzma.decompress((bench_dir() / "regtest-blocks.dat.xz").read_bytes())
    blocks, pos = [], 0
    while pos < len(raw):
        if raw[pos : pos + 4] != _MAGIC:
            raise SystemExit(f"not a block file: no magic at byte {pos}")
        (size,) = struct.unpack_from("<I", raw, pos + 4)
        blocks.append(raw[pos + 8 : pos + 8 + size])
        pos += 8 + size
    return blocks


def read_mempool() -> list[bytes]:
    """Raw transactions that are valid at the chain's tip."""
    raw = lzma.decompress((bench_dir() / "regtest-mempool.dat.xz").read_bytes())
    txs, pos = [], 0
    while pos < len(raw):
        (size,) = struct.unpack_from("<I", raw, pos)
        txs.append(raw[pos + 4 : pos + 4 + size])
        pos += 4 + size
    return txs
