"""A node in memory for what lives beside it: real chain, real mempool, no network, wallets on disk."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gldnode.chain.options import ChainOptions
from gldnode.clock import MockableClock
from gldnode.config import Config, Setting
from gldnode.mempool.options import MempoolOptions
from gldnode.mining.generate import generate_blocks
from gldnode.node import Node
from gldnode.params import REGTEST, ChainParams
from gldnode.primitives.hashes import BlockHash
from gldnode.script.templates import p2wsh_script
from storage.database import Database
from storage.kv import WRITE_BUFFER
from storage.leveldb import LevelKV

__all__ = ["ANYONE", "HostNode", "host_node"]

ANYONE = p2wsh_script(b"\x51")
"""A standard output that anyone can spend."""


class HostNode(Node):
    """A `Node` whose chain forgets everything at the end and whose databases are on disk."""

    def open_database(self, path: Path, *, write_buffer_bytes: int = WRITE_BUFFER) -> Database:
        database = Database(LevelKV.open(path, write_buffer_bytes=write_buffer_bytes), name=path.name)
        self._opened.append(database)
        return database

    async def mine(self, count: int, script: bytes = ANYONE) -> list[BlockHash]:
        """Mine from the mempool, some minutes later than before: no block is like one that was left."""
        self.clock.set_mock_time(self.clock.now() + 600)
        return await self.run_in_validation(
            lambda: generate_blocks(self.chainstate, self.pool, self.clock, count, script)
        )

    async def invalidate(self, block_hash: bytes) -> None:
        await self.run_in_validation(lambda: self.chainstate.invalidate(block_hash))


@asynccontextmanager
async def host_node(
    base_dir: Path,
    params: ChainParams = REGTEST,
    options: Sequence[tuple[str, str]] = (),
    kind: type[HostNode] = HostNode,
) -> AsyncIterator[HostNode]:
    """A started node whose clock stands a day after genesis; `options` are configuration keys."""
    clock = MockableClock()
    clock.set_mock_time(params.genesis.header.time + 24 * 3600)
    flags: dict[str, list[Setting]] = {}
    for key, value in options:
        flags.setdefault(key, []).append(Setting(key, value, "test"))
    node = kind(params, Config(params.name, base_dir, flags), clock=clock, in_memory=True, reader_threads=1)
    await node.start(ChainOptions(), MempoolOptions())
    try:
        yield node
    finally:
        await node.stop()
        await asyncio.sleep(0)
