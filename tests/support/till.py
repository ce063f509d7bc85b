"""A shop's till for tests: a node in memory, its payments, and a customer with coins."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gldnode.address import script_to_address
from gldnode.bip32 import ExtendedKey
from gldnode.mining.generate import generate_block
from gldnode.params import REGTEST
from gldnode.primitives.block import parse_block
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import OutPoint, Tx, TxIn, TxOut, make_tx
from payments.events import Event, EventType
from payments.invoice import Additional, Invoice, State, Status, due
from payments.plugin import PaymentsPlugin
from payments.service import InvoiceDraft, PaymentService
from payments.stores import Store, StoreSettings
from storage.database import Database
from tests.support.host import ANYONE, HostNode, host_node

__all__ = ["MERCHANT", "XPUB", "Till", "op_return", "open_till", "replace_database"]

MERCHANT = script_to_address(b"\x00\x14" + b"m" * 20, REGTEST) or ""
XPUB = ExtendedKey.from_seed(b"till of the shop").to_public().to_text(REGTEST)
FEE = 10_000


def op_return(data: bytes) -> TxOut:
    push = bytes((len(data),)) if len(data) < 76 else bytes((0x4C, len(data)))
    return TxOut(0, b"\x6a" + push + data)


class Till:
    """The node and the payments, with a customer's purse."""

    def __init__(self, node: HostNode, plugin: PaymentsPlugin, store: Store) -> None:
        self.node = node
        self.plugin = plugin
        self.service: PaymentService = plugin.service
        self.store = store
        self._purse: list[tuple[OutPoint, int]] = []
        self._fee = FEE
        self.made: dict[bytes, Tx] = {}
        self._spent: dict[bytes, tuple[OutPoint, int]] = {}

    async def stop_payments(self) -> None:
        """As if the payments' process had ended: tasks gone, database closed."""
        tasks = [task for task in self.node._tasks if task.get_name().startswith("payments")]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.plugin.stop()
        self.service.database.close()

    async def start_payments(self) -> None:
        """Payments anew, over what is on disk."""
        self.plugin = PaymentsPlugin()
        await self.plugin.start(self.node)
        self.service = self.plugin.service
        await self.settle()

    # Time and blocks

    @property
    def now(self) -> int:
        return self.node.clock.now()

    def pass_time(self, seconds: int) -> None:
        self.node.clock.set_mock_time(self.now + seconds)

    async def mine(self, count: int = 1) -> list[BlockHash]:
        hashes = await self.node.mine(count)
        await self.settle()
        return hashes

    async def invalidate(self, block_hash: bytes) -> None:
        await self.node.invalidate(block_hash)
        await self.settle()

    async def fill_purse(self, coins: int = 1) -> None:
        """Coinbases that have matured."""
        hashes = await self.node.mine(coins)
        await self.node.mine(100)
        for block_hash in hashes:
            raw = self.node.chain.block_bytes(block_hash)
            assert raw is not None
            coinbase = parse_block(raw).txs[0]
            self._purse.append((coinbase.outpoint(0), coinbase.outputs[0].amount))

    async def settle(self) -> None:
        """Until the engine has handled the tip and every hint that was given."""
        engine = self.service.engine
        for _ in range(3000):
            await asyncio.sleep(0.002)
            if engine.cursor.hash == self.node.chain.tip.hash and engine.is_idle:
                await asyncio.sleep(0.002)
                if engine.is_idle:
                    return
        raise AssertionError("the engine does not come to rest")

    async def tick(self) -> None:
        await self.service.engine.tick()

    # Paying

    def take_coin(self) -> tuple[OutPoint, int]:
        return self._purse.pop(0)

    def spend(
        self,
        coins: Sequence[tuple[OutPoint, int]],
        outputs: Sequence[TxOut],
        *,
        fee: int = FEE,
        sequence: int = 0xFFFFFFFF,
    ) -> Tx:
        """A transaction of these outputs and change, which goes back into the purse when it is sent."""
        change = sum(amount for _, amount in coins) - sum(o.amount for o in outputs) - fee
        inputs = [TxIn(prevout, b"", sequence, (b"\x51",)) for prevout, _ in coins]
        tx = make_tx(2, inputs, [*outputs, TxOut(change, ANYONE)])
        self.made[tx.txid] = tx
        return tx

    async def send(self, tx: Tx) -> Tx:
        await self.node.submit(tx)
        await self.settle()
        return tx

    @property
    def has_coins(self) -> bool:
        return bool(self._purse)

    def next_fee(self) -> int:
        """Higher than any before."""
        self._fee += 5 * FEE
        return self._fee

    def rival(self, tx: Tx, outputs: Sequence[TxOut]) -> Tx:
        """Another transaction that takes the coin of `tx`; nobody has it yet."""
        other = self.spend([self._spent[tx.txid]], outputs, fee=self.next_fee())
        self._spent[other.txid] = self._spent[tx.txid]
        return other

    async def mine_only(self, txs: Sequence[Tx]) -> None:
        """A block of exactly these transactions."""
        self.pass_time(600)
        node = self.node
        await node.run_in_validation(lambda: generate_block(node.chainstate, node.clock, ANYONE, txs))
        await self.settle()

    async def replace(self, tx: Tx, outputs: Sequence[TxOut], *, fee: int = 5 * FEE) -> Tx:
        """Another transaction that takes the coin of `tx`, with a higher fee."""
        coin = self._spent[tx.txid]
        self._purse = [(prevout, amount) for prevout, amount in self._purse if prevout.txid != tx.txid]
        other = self.spend([coin], outputs, fee=fee)
        self._spent[other.txid] = coin
        await self.send(other)
        self._purse.append((other.outpoint(len(outputs)), other.outputs[-1].amount))
        return other

    async def pay(
        self,
        invoice: Invoice,
        amount: int | None = None,
        *,
        memo: bool = False,
        fee: int = FEE,
        sequence: int = 0xFFFFFFFF,
    ) -> Tx:
        """A payment to the invoice's address; the change is kept for the next one."""
        current = self.service.invoice(invoice.id)
        assert current is not None
        outputs = [TxOut(due(current) if amount is None else amount, invoice.script)]
        if memo:
            outputs.append(op_return(invoice.id.encode()))
        coin = self.take_coin()
        tx = self.spend([coin], outputs, fee=fee, sequence=sequence)
        self._spent[tx.txid] = coin
        await self.send(tx)
        self._purse.append((tx.outpoint(len(outputs)), tx.outputs[-1].amount))
        return tx

    # Invoices

    async def make_invoice(self, amount: str | None = "1.5", **fields: object) -> Invoice:
        draft = InvoiceDraft(amount=amount, currency="GLD", **fields)  # type: ignore[arg-type]
        return (await self.service.create_invoice(self.store.id, draft)).invoice

    def load(self, invoice: Invoice) -> Invoice:
        loaded = self.service.invoice(invoice.id)
        assert loaded is not None
        return loaded

    def status(self, invoice: Invoice) -> Status:
        return self.state(invoice).status

    def state(self, invoice: Invoice) -> State:
        return self.service.state(self.load(invoice))

    def additional(self, invoice: Invoice) -> Additional:
        return self.state(invoice).additional

    def events(self, invoice: Invoice) -> list[Event]:
        return list(self.service.invoice_events(invoice.id))

    def event_types(self, invoice: Invoice) -> list[EventType]:
        return [event.type for event in self.events(invoice)]


def replace_database(node: HostNode, make: Callable[[], Database]) -> None:
    """Payments that open their database from now on get this one."""

    def open_database(path: Path, *, write_buffer_bytes: int = 0) -> Database:
        return make()

    node.open_database = open_database  # type: ignore[method-assign]
    (node.payments_dir / "db").mkdir(parents=True, exist_ok=True)


@asynccontextmanager
async def open_till(
    base_dir: Path,
    *,
    chain: str | None = XPUB,
    options: Sequence[tuple[str, str]] = (),
    coins: int = 1,
    database: Callable[[], Database] | None = None,
    **settings: object,
) -> AsyncIterator[Till]:
    """A till whose store is paid through `chain`; `settings` are the store's."""
    async with host_node(base_dir, options=options) as node:
        if database is not None:
            replace_database(node, database)
        plugin = PaymentsPlugin()
        await plugin.start(node)
        fields: dict[str, object] = {"name": "Shop", "default_currency": "GLD", **settings}
        store = await plugin.service.create_store(StoreSettings(**fields), chain=chain)  # type: ignore[arg-type]
        till = Till(node, plugin, store)
        try:
            if coins:
                await till.fill_purse(coins)
                await till.settle()
            yield till
        finally:
            await till.plugin.stop()
