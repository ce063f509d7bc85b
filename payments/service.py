"""Everything that a surface (HTTP, RPC) may ask of the payments: the only module of this package that they import,
beside its value types in `invoice`, `stores`, `events`, `accounting`, `money` and `errors`.

Reads are synchronous, cheap and safe in any thread. Writes are awaited and durable when they return. Every fault
of the caller is a PaymentError with code, sentence and HTTP status. The methods are in four books, one above the
other: `storebook` (stores, keys), `invoicebook`, `hookbook` (webhooks, events), and here what uses them all.
"""

import asyncio
import logging
from collections.abc import Sequence

from gldnode.primitives.block import Block, parse_block
from gldnode.primitives.hashes import BlockHash
from payments.abandoned import ABANDONED_KEPT_S
from payments.claims import Claim
from payments.dispatcher import Dispatcher
from payments.errors import PaymentError, not_found
from payments.figures import Figures, add_figures, day_rows, period_rows
from payments.firstkey import KEY_FILE, keep_key
from payments.hookbook import Delivery, HookBook
from payments.idempotency import Idempotency, Sent
from payments.invoicebook import BtngInvoiceDraft, UnassignedPayment
from payments.invoicing import InvoiceDraft
from payments.lists import InvoiceFilter, InvoicePage
from payments.outgoing import OutgoingClient
from payments.rates import Rates
from payments.readiness import Readiness
from payments.receipts import Receipt, ReceiptError, make_receipt
from payments.stores import Store
from payments.upkeep import EVENTS_KEPT_S, keep_tidy
from payments.vault import Vault
from storage.errors import Unavailable

__all__ = [
    "BtngInvoiceDraft",
    "Claim",
    "Delivery",
    "Figures",
    "Idempotency",
    "InvoiceDraft",
    "InvoiceFilter",
    "InvoicePage",
    "PaymentService",
    "Readiness",
    "Sent",
    "UnassignedPayment",
    "require_store",
]


log = logging.getLogger(__name__)
REQUESTS_EVERY_S = 2.0


class PaymentService(HookBook):
    """The payments of one node."""

    def __init__(self, vault: Vault, rates: Rates, client: OutgoingClient) -> None:
        super().__init__(vault, rates)
        self._client = client

    def start(self) -> None:
        """Open what there is, and run the engine and the dispatcher as soon as there is a database."""
        self._vault.when_open(self._run)
        if self._vault.exists and not self._vault.is_open:
            self._vault.open()

    def _run(self) -> None:
        vault = self._vault
        vault.engine.start()
        dispatcher = Dispatcher(vault.host, vault.database, vault.bell, self._client)
        vault.reader_added = dispatcher.add
        dispatcher.start()
        vault.host.spawn("payments: bills", self._watch_requests())
        if vault.host.params.is_regtest:
            vault.host.spawn("payments: first key", self._make_first_key())
        upkeep = keep_tidy(
            vault.database,
            vault.host.clock,
            self._days("eventsmaxage", EVENTS_KEPT_S),
            self._days("abandonedmaxage", ABANDONED_KEPT_S),
        )
        vault.host.spawn("payments: upkeep", upkeep)

    async def _make_first_key(self) -> None:
        folder = self._vault.host.payments_dir
        if (folder / KEY_FILE).exists():
            return
        key, _ = await self.create_api_key("regtest", ["unrestricted"])
        try:
            keep_key(folder, key)
        except OSError as error:
            log.warning("the first API key cannot be kept: %s", error)

    async def _watch_requests(self) -> None:
        """Payment requests expire by the clock."""
        while True:
            await asyncio.sleep(REQUESTS_EVERY_S)
            try:
                await self.requests.expire(self._vault.host.clock.now())
            except Unavailable as error:
                log.error("expired payment requests were not recorded: %s", error)

    def figures(self, store_id: str, start: int, end: int) -> Figures:
        """Settled payments and invoices of the whole UTC days that `start` to `end` touch."""
        with self._vault.reading() as reader:
            days = day_rows(reader, store_id, start, end) if reader is not None else ()
            return add_figures(figures for _, figures in days)

    def revenue(
        self, store_ids: Sequence[str], period: str, start: int, end: int
    ) -> Sequence[tuple[str, int, Figures]]:
        """(name, first second, figures) of each day, week or month with settled payments of these stores."""
        days: list[tuple[int, Figures]] = []
        with self._vault.reading() as reader:
            if reader is not None:
                for store_id in store_ids:
                    days += day_rows(reader, store_id, start, end)
        return period_rows(days, period)

    def _days(self, name: str, usual_s: int) -> int:
        """Seconds of an option in days."""
        days = self._vault.host.option(name)
        return int(days) * 86_400 if days and days.isascii() and days.isdecimal() else usual_s

    def receipt(self, invoice_id: str) -> Receipt:
        """What anyone can verify offline; reads blocks. 404, 409 receipt-not-available."""
        invoice = self.invoice(invoice_id)
        store = self.store(invoice.store_id) if invoice is not None else None
        if invoice is None or store is None:
            raise not_found("invoice")
        host = self._vault.host

        def block_of(block_hash: bytes) -> Block | None:
            raw = host.chain.block_bytes(BlockHash(block_hash))
            return None if raw is None else parse_block(raw)

        try:
            return make_receipt(invoice, store, host.params, block_of, self.tip_height, host.entropy.bytes(32))
        except ReceiptError as error:
            raise PaymentError("receipt-not-available", str(error), 409) from None

    async def stop(self) -> None:
        """Close the outgoing client. The node cancels the tasks and closes the database."""
        await self._client.close()


def require_store(service: PaymentService, store_id: str) -> Store:
    """The store, or PaymentError 404."""
    store = service.store(store_id)
    if store is None:
        raise PaymentError("store-not-found", "The store was not found", 404)
    return store
