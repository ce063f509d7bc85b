"""A crowd of bad peers for a running node: sockets in one thread, each with its own bad manners."""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gldnode.consensus.check_block import coinbase_height_script
from gldnode.consensus.merkle import merkle_root
from gldnode.consensus.subsidy import block_subsidy
from gldnode.p2p.framing import encode_frame
from gldnode.p2p.messages import (
    MAX_HEADERS,
    AddrV2,
    CompactBlock,
    Headers,
    Inventory,
    InvItem,
    InvType,
    Locator,
    TimedAddress,
)
from gldnode.p2p.netaddress import NetAddress, Network
from gldnode.params import ChainParams
from gldnode.primitives.block import Block, make_block, make_header
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import NULL_OUTPOINT, SEQUENCE_FINAL, OutPoint, Tx, TxIn, TxOut, make_tx
from tests.support.wire import header_chain, version_message

__all__ = ["MANNERS", "HostileCrowd", "KnownTip"]


@dataclass(frozen=True, slots=True)
class KnownTip:
    """The victim's best block, for those who build on it."""

    hash: bytes
    height: int
    time: int


class HostileCrowd:
    """Use as a context manager: while it is open every kind of bad peer is at work, again and again."""

    def __init__(
        self,
        params: ChainParams,
        port: int,
        *,
        of_each: int = 3,
        only: Sequence[str] = (),
        tip: KnownTip | None = None,
    ) -> None:
        """`only`: names of `MANNERS`. On a network where a block needs hardly any work."""
        self._params = params
        self._port = port
        self._of_each = of_each
        self._only = only or MANNERS
        self._tip = tip or KnownTip(params.genesis.hash, 0, params.genesis.header.time)
        self._salt = 0
        self._rng = random.Random(11)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.connections = 0
        self.refused = 0
        self.bytes_sent = 0

    def __enter__(self) -> "HostileCrowd":
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def frame(self, command: str, payload: bytes = b"") -> bytes:
        return encode_frame(self._params.message_start, command, payload)

    async def _run(self) -> None:
        tasks = [
            asyncio.create_task(self._repeat(getattr(self, name)))
            for name in self._only
            for _ in range(self._of_each)
        ]
        await asyncio.get_running_loop().run_in_executor(None, self._stop.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)  # the sockets close

    async def _repeat(self, manner: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
        while not self._stop.is_set():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.refused += 1
                await asyncio.sleep(0.05)
                continue
            self.connections += 1
            try:
                await manner(writer)
            except (OSError, TimeoutError):
                pass
            finally:
                writer.transport.abort()
            await asyncio.sleep(0.02)

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        self.bytes_sent += len(data)
        async with asyncio.timeout(2):
            await writer.drain()
        if writer.is_closing():
            raise OSError("closed")

    async def _greet(self, writer: asyncio.StreamWriter) -> None:
        await self._send(writer, self.frame("version", version_message()) + self.frame("verack"))

    async def floods_handshakes(self, writer: asyncio.StreamWriter) -> None:
        await self._send(writer, self.frame("version", version_message()))

    async def sends_wrong_checksums(self, writer: asyncio.StreamWriter) -> None:
        await self._greet(writer)
        bad = bytearray(self.frame("tx", bytes(1000)))
        bad[20] ^= 1
        for _ in range(50):
            await self._send(writer, bytes(bad) * 50)

    async def sends_too_much(self, writer: asyncio.StreamWriter) -> None:
        await self._greet(writer)
        head = self._params.message_start + b"block".ljust(12, b"\0") + b"\xff\xff\xff\x0f" + bytes(4)
        await self._send(writer, head + bytes(1_000_000))
        await asyncio.sleep(0.2)

    async def asks_and_does_not_read(self, writer: asyncio.StreamWriter) -> None:
        await self._greet(writer)
        ask = self.frame("getheaders", Locator([self._params.genesis.hash], bytes(32)).encode())
        for _ in range(200):
            await self._send(writer, ask * 100)

    async def invents_headers(self, writer: asyncio.StreamWriter) -> None:
        await self._greet(writer)
        parent, salt = self._params.genesis.hash, self._rng.randbytes(32)
        for _ in range(20):
            headers = []
            for number in range(100):
                time = self._params.genesis.header.time + number + 1
                header = make_header(4, BlockHash(parent), salt, time, self._params.pow_limit_bits, number)
                parent = header.hash
                headers.append(header)
            await self._send(writer, self.frame("headers", Headers(headers).encode()))
            await asyncio.sleep(0.02)

    async def floods_invs(self, writer: asyncio.StreamWriter) -> None:
        await self._greet(writer)
        for _ in range(10):
            items = [InvItem(InvType.TX, self._rng.randbytes(32)) for _ in range(5_000)]
            await self._send(writer, self.frame("inv", Inventory(items).encode()))
            await asyncio.sleep(0.05)

    async def floods_addresses(self, writer: asyncio.StreamWriter) -> None:
        await self._greet(writer)
        for _ in range(10):
            found = [
                TimedAddress(1_800_000_000, 9, NetAddress(Network.IPV4, self._rng.randbytes(4), 1))
                for _ in range(1000)
            ]
            await self._send(writer, self.frame("addrv2", AddrV2(found).encode()))
            await asyncio.sleep(0.05)

    async def drips(self, writer: asyncio.StreamWriter) -> None:
        for byte in self.frame("version", version_message()):
            await self._send(writer, bytes((byte,)))
            await asyncio.sleep(0.05)

    async def sends_noise(self, writer: asyncio.StreamWriter) -> None:
        for _ in range(20):
            await self._send(writer, self._rng.randbytes(4_000))
            await asyncio.sleep(0.01)

    async def invents_blocks(self, writer: asyncio.StreamWriter) -> None:
        await self._greet(writer)
        genesis = self._params.genesis
        for number in range(50):
            time = genesis.header.time + number + 1
            header = make_header(4, genesis.hash, bytes(32), time, self._params.pow_limit_bits, number)
            await self._send(writer, self.frame("block", header.serialize() + b"\1" + genesis.txs[0].raw))

    async def sends_header_chains(self, writer: asyncio.StreamWriter) -> None:
        """Chains with proof of work from genesis on, always new ones: on regtest they cost next to nothing."""
        await self._greet(writer)
        genesis, self._salt = self._params.genesis, self._salt + 1
        headers = header_chain(self._params, genesis.hash, genesis.header.time, MAX_HEADERS, self._salt)
        frame = self.frame("headers", Headers(headers).encode())
        for _ in range(20):
            await self._send(writer, frame)
            await asyncio.sleep(0.02)

    def _next_block(self) -> Block:
        """A valid block on the victim's tip, another one each time."""
        tip, params, self._salt = self._tip, self._params, self._salt + 1
        script_sig = coinbase_height_script(tip.height + 1) + b"\x08" + self._salt.to_bytes(8, "little")
        amount = block_subsidy(tip.height + 1, params)
        coinbase = make_tx(2, [TxIn(NULL_OUTPOINT, script_sig, SEQUENCE_FINAL, ())], [TxOut(amount, b"\x51")], 0)
        root, _ = merkle_root([coinbase.txid])
        nonce = 0
        while True:
            header = make_header(4, BlockHash(tip.hash), root, tip.time + 1, params.pow_limit_bits, nonce)
            if int.from_bytes(header.hash, "little") >> 255 == 0:
                return make_block(header, [coinbase])
            nonce += 1

    async def mutates_blocks(self, writer: asyncio.StreamWriter) -> None:
        await self._greet(writer)
        for _ in range(50):
            block = self._next_block()
            await self._send(writer, self.frame("headers", Headers([block.header]).encode()))
            mutated = make_block(block.header, [*block.txs, self._orphan(), self._orphan()])
            await self._send(writer, self.frame("block", mutated.raw))

    async def announces_and_never_delivers(self, writer: asyncio.StreamWriter) -> None:
        await self._greet(writer)
        for _ in range(50):
            await self._send(writer, self.frame("headers", Headers([self._next_block().header]).encode()))
            await asyncio.sleep(0.02)

    async def sends_bad_compact_blocks(self, writer: asyncio.StreamWriter) -> None:
        await self._greet(writer)
        await self._send(writer, self.frame("sendcmpct", b"\x01" + (2).to_bytes(8, "little")))
        for number in range(100):
            block = self._next_block()
            ids = [self._rng.randbytes(6) for _ in range(3_000)]
            if number % 2:
                ids[1] = ids[0]
            compact = CompactBlock(block.header, number, ids, [(0, block.txs[0])])
            await self._send(writer, self.frame("cmpctblock", compact.encode()))

    def _orphan(self) -> Tx:
        """Spends what nobody has made."""
        script = b"\x01\x51"
        prevouts = [OutPoint(self._rng.randbytes(32) + bytes(4)) for _ in range(20)]
        inputs = [TxIn(prevout, script, 0xFFFFFFFD) for prevout in prevouts]
        return make_tx(2, inputs, [TxOut(1000, b"\xa9\x14" + bytes(20) + b"\x87")])

    async def sends_orphans(self, writer: asyncio.StreamWriter) -> None:
        await self._greet(writer)
        for _ in range(50):
            await self._send(writer, b"".join(self.frame("tx", self._orphan().raw) for _ in range(20)))
            await asyncio.sleep(0.005)


MANNERS = (
    "floods_handshakes",
    "sends_wrong_checksums",
    "sends_too_much",
    "asks_and_does_not_read",
    "invents_headers",
    "sends_header_chains",
    "floods_invs",
    "floods_addresses",
    "drips",
    "sends_noise",
    "invents_blocks",
    "mutates_blocks",
    "announces_and_never_delivers",
    "sends_bad_compact_blocks",
    "sends_orphans",
)
"""Methods of `HostileCrowd`: what its peers do."""
