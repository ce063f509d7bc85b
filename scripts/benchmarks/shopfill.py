"""A payments database with very many open invoices, made by writing rows, and what a block costs on it."""

import asyncio
import gc
import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from gldnode.daemon import _COLLECTIONS as COLLECTIONS
from gldnode.events import ChainStep
from gldnode.primitives.tx import TxIn, TxOut, make_tx
from payments import layout
from payments.invoice import Invoice
from payments.repository import load_invoice
from scripts.benchmarks.heartbeat import Heartbeat
from scripts.benchmarks.report import Figure
from storage.database import Database
from storage.kv import KV, Snapshot, WriteBatch
from storage.leveldb import LevelKV
from tests.support.host import ANYONE
from tests.support.till import Till, open_till

__all__ = ["block_figures", "fill_folder"]

BATCH = 5_000
FILL_BUFFER = 128 << 20
"""Of rows in random order; with the usual 4 MiB LevelDB sorts a million invoices for ten minutes."""
PAID = 5_000
AMOUNT = 100_000
IDLE_S = 2.0


class CountingKV:
    """A `KV` that counts reads of keys and starts of iterations."""

    def __init__(self, inner: KV) -> None:
        self.inner = inner
        self.reads = 0

    def get(self, key: bytes) -> bytes | None:
        self.reads += 1
        return self.inner.get(key)

    def iterate(
        self,
        *,
        prefix: bytes | None = None,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
        keys_only: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        self.reads += 1
        return self.inner.iterate(prefix=prefix, start=start, stop=stop, reverse=reverse, keys_only=keys_only)

    def prepare(self, batch: WriteBatch, *, sync: bool) -> None:
        """Nothing to do."""

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        self.inner.write(batch, sync=sync)

    def snapshot(self) -> Snapshot:
        return CountingSnapshot(self, self.inner.snapshot())

    def prefixed(self, prefix: bytes) -> KV:
        return self.inner.prefixed(prefix)

    def approximate_size(self) -> int:
        return self.inner.approximate_size()

    def close(self) -> None:
        self.inner.close()


class CountingSnapshot:
    """A snapshot whose reads count as the database's."""

    def __init__(self, kv: CountingKV, inner: Snapshot) -> None:
        self._kv = kv
        self._inner = inner

    def get(self, key: bytes) -> bytes | None:
        self._kv.reads += 1
        return self._inner.get(key)

    def iterate(
        self,
        *,
        prefix: bytes | None = None,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
        keys_only: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        self._kv.reads += 1
        return self._inner.iterate(prefix=prefix, start=start, stop=stop, reverse=reverse, keys_only=keys_only)

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> "CountingSnapshot":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def fill_folder(path: Path, store_id: str, count: int) -> list[str]:
    """Copies of the store's one invoice in a closed database; gives list cursors, newest first."""
    database = Database(LevelKV.open(path, write_buffer_bytes=FILL_BUFFER))
    try:
        with database.reader() as reader:
            row, _ = next(reader.iterate(prefix=layout.by_time_key(store_id), keys_only=True))
            invoice = load_invoice(reader, row[len(layout.by_time_key(store_id)) + 8 :].decode())
        assert invoice is not None
        return _fill(database.kv, invoice, count)
    finally:
        database.close()


def _fill(kv: KV, model: Invoice, count: int) -> list[str]:
    """Every row that names the model once more for each copy, with other names in it."""
    terms = (model.id.encode(), model.script, model.address.encode())
    rows = [
        (key, value)
        for key, value in kv.iterate()
        if any(term in key for term in terms) or (key[:1] == b"A" and terms[0] in value)
    ]
    rows = [(key, value) for key, value in rows if key[:1] in b"iMATOSo"]
    cursors = []
    for start in range(0, count, BATCH):
        batch = WriteBatch()
        for number in range(start, min(start + BATCH, count)):
            created = model.created_at - 1 - number // 50
            # As random as real ones, for what compression makes of them.
            digest = hashlib.sha256(b"%d" % number).digest()
            name = (b"btngpay_" + digest.hex().encode().replace(b"0", b"z"))[: len(terms[0])]
            script = model.script[:2] + digest[: len(model.script) - 2]
            address = (model.address[:8].encode() + digest.hex().encode())[: len(model.address)]
            names = tuple(zip(terms, (name, script, address), strict=True))
            for key, value in rows:
                for old, new in names:
                    key, value = key.replace(old, new), value.replace(old, new)
                if key[:1] in b"TO":
                    at = len(key) - len(name) - 8
                    key = key[:at] + (0xFFFFFFFFFFFFFFFF - created).to_bytes(8, "big") + name
                batch.put(key, value)
            cursors.append(f"{created}-{name.decode()}")
        kv.write(batch, sync=False)
    if isinstance(kv, LevelKV):
        kv.compact()
    return cursors


def _folder_size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file())


@dataclass(frozen=True, slots=True)
class _Booking:
    """What a block of payments cost."""

    ms: float
    longest_wait_ms: float
    """Of somebody else on the event loop meanwhile."""
    idle_wait_ms: float
    """On the same loop without the block: what the machine's other programs cost."""
    reads: float
    """Of the database, per output."""


async def block_figures(base: Path, many: int) -> list[Figure]:
    """A block of 5,000 payments in a shop with a thousand other open invoices, and with very many."""
    few, _, _ = await _block(base / "few", 1_000)
    more, unpaid, paid = await _block(base / "many", many)
    block = f"block of {PAID:,} payments"
    wait = "longest wait for the loop meanwhile"
    reads = "database reads per output"
    return [
        Figure(f"{block}, 1,000 open invoices", few.ms, "ms"),
        Figure(f"{block}, {many:,} open invoices", more.ms, "ms", "with 1,000", few.ms),
        Figure(f"{wait}, 1,000 open invoices", few.longest_wait_ms, "ms", "idle loop", few.idle_wait_ms),
        Figure(f"{wait}, {many:,} open invoices", more.longest_wait_ms, "ms", "idle loop", more.idle_wait_ms),
        Figure(f"{reads}, 1,000 open invoices", few.reads, "reads"),
        Figure(f"{reads}, {many:,} open invoices", more.reads, "reads", "with 1,000", few.reads),
        Figure("disk per unpaid invoice", unpaid, "bytes"),
        Figure("disk per paid invoice", paid, "bytes"),
    ]


async def _block(base: Path, open_invoices: int) -> tuple[_Booking, float, float]:
    """What the block cost, bytes per unpaid and per paid invoice."""
    folder = base / "db"
    folder.mkdir(parents=True)
    level = LevelKV.open(folder)
    kv = CountingKV(level)
    async with open_till(base / "node", coins=2, database=lambda: Database(kv)) as till:
        model = await till.make_invoice("0.001", expiration_s=1_000_000)
        level.close()
        with closing(LevelKV.open(folder, write_buffer_bytes=FILL_BUFFER)) as filling:
            _fill(filling, model, open_invoices)
        kv.inner = level = LevelKV.open(folder)
        unpaid = _folder_size(folder) / open_invoices
        before = _folder_size(folder)
        invoices: list[Invoice] = []
        while len(invoices) < PAID:
            invoices += await asyncio.gather(
                *(
                    till.make_invoice("0.001", expiration_s=1_000_000)
                    for _ in range(min(100, PAID - len(invoices)))
                )
            )
        booking = await _pay_all(till, kv, invoices)
        level.compact()
        paid = (_folder_size(folder) - before) / PAID
        assert till.load(invoices[0]).payments
        assert till.load(invoices[-1]).payments
        await till.stop_payments()
    shutil.rmtree(base)
    return booking, unpaid, paid


async def _pay_all(till: Till, kv: CountingKV, invoices: list[Invoice]) -> _Booking:
    coin = till.take_coin()
    fan = till.spend([coin], [TxOut(AMOUNT + 1000, ANYONE) for _ in invoices])
    await till.mine_only([fan])
    txs = [
        make_tx(2, [TxIn(fan.outpoint(at), b"", 0xFFFFFFFF, (b"\x51",))], [TxOut(AMOUNT, invoice.script)])
        for at, invoice in enumerate(invoices)
    ]
    engine = till.service.engine
    apply = engine.apply
    bookings: asyncio.Queue[_Booking] = asyncio.Queue()
    # As the daemon does once it has started; a collection that walks this program's modules is not the block's.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)
    async with Heartbeat() as idle:
        await asyncio.sleep(IDLE_S)
    before = kv.reads

    async def measured(steps: Sequence[ChainStep]) -> None:
        async with Heartbeat() as heart:
            begun = time.perf_counter()
            await apply(steps)
            took = time.perf_counter() - begun
        reads = (kv.reads - before) / len(invoices)
        bookings.put_nowait(_Booking(took * 1000, heart.longest_s * 1000, idle.longest_s * 1000, reads))

    engine.apply = measured  # type: ignore[method-assign]
    await till.mine_only(txs)
    return await bookings.get()
