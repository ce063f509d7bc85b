"""The service's part for invoices: making, reading, listing, claiming, marking."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TypeVar

from msgspec.structs import replace

from gldnode.address import script_to_address
from gldnode.primitives.amount import format_amount_short
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import OutPoint, outpoint
from payments import layout
from payments.claims import Claim, apply_claim, parse_claim
from payments.errors import FieldProblem, PaymentError, ValidationError, not_found
from payments.events import EventDraft, EventType
from payments.explain import explain
from payments.finding import order_id_of
from payments.idempotency import Idempotency, Sent, find_answer, keep_answer
from payments.invoice import FeeMode, Invoice, Payment, State, Status, TipFacts, mark, status
from payments.invoicing import InvoiceDraft, clean_memo, insert_invoice, invoice_template
from payments.layout import Loose, SafeMode, Watch
from payments.ledger import Ledger
from payments.lists import InvoiceFilter, InvoicePage, list_invoices
from payments.methods import address_source
from payments.outgoing import check_url
from payments.quotas import check_open_invoices
from payments.rates import Rates
from payments.readiness import Readiness, max_tip_age, readiness_of
from payments.repository import append_event, load_invoice
from payments.risk import RiskReport, risk_report
from payments.signals import topics_of
from payments.storebook import StoreBook
from payments.stores import Store
from payments.vault import Vault
from storage.database import Txn
from storage.errors import Unavailable

__all__ = ["BtngInvoiceDraft", "InvoiceBook", "UnassignedPayment"]

T = TypeVar("T")
OUTPUTS_LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class BtngInvoiceDraft:
    """`POST /api/btngpay/invoice`."""

    merchant: str
    """The store's fixed address, or its store id (a store with a descriptor gives each invoice an own one)."""
    amount: str
    """Text of the JSON token, number or string."""
    currency: str = ""
    """Empty for the chain's own unit."""
    memo: str = ""
    ttl_s: int | None = None
    callback_url: str | None = None


@dataclass(frozen=True, slots=True)
class UnassignedPayment:
    """An output that is no invoice's: it pays a fixed address and names none, or is too small for one."""

    outpoint: bytes
    amount: int
    address: str
    seen_at: int
    height: int
    """-1 while unconfirmed."""
    invoice_id: str = ""
    """Whose own address it pays, where it was kept apart as a crumb; it can be assigned to this one only."""


class InvoiceBook(StoreBook):
    """Invoices over the vault."""

    def __init__(self, vault: Vault, rates: Rates) -> None:
        super().__init__(vault)
        self._rates = rates

    @property
    def rates(self) -> Rates:
        return self._rates

    # Making

    async def create_invoice(
        self, store_id: str, draft: InvoiceDraft, *, idempotency: Idempotency | None = None
    ) -> Sent:
        """A new invoice of the store. 404, 409, 422, 503 not-ready."""
        store = self.store(store_id)
        if store is None:
            raise not_found("store")
        ready = self.readiness(store)
        if not ready.is_ready:
            raise PaymentError("not-ready", ready.reason, 503)
        if draft.callback_url is not None:
            check_url(draft.callback_url, self._host.params, "callbackUrl")

        def insert(txn: Txn) -> Sent:
            return self._insert(txn, self._stores.get(store_id, store), draft, idempotency)

        sent = await self._vault.transact(insert, in_crowds=True)
        self._vault.bell.ring(topics_of(sent.invoice))
        return sent

    def _insert(self, txn: Txn, store: Store, draft: InvoiceDraft, idempotency: Idempotency | None) -> Sent:
        """The transaction that makes the invoice, or finds what an earlier call has made."""
        host, engine = self._host, self._vault.engine
        now = host.clock.now()
        if idempotency is not None:
            known = find_answer(txn, idempotency, now)
            if known is not None:
                invoice = load_invoice(txn, known.invoice_id)
                assert invoice is not None
                return Sent(invoice, known.answer)
        fee = engine.payment_fee() if store.settings.network_fee_mode is FeeMode.ALWAYS else 0
        template = invoice_template(store, draft, host.params, self._rates, now, fee)
        check_open_invoices(txn, store.id, self.quotas.open_invoices)
        tip = TipFacts(engine.cursor.height, fresh=False)
        invoice, _ = insert_invoice(txn, store, template, host.params, host.entropy, tip)
        if idempotency is not None:
            keep_answer(txn, idempotency, invoice, now)
        if store.chain is not None and invoice.key_index >= 0:
            source = address_source(store.chain.text, host.params)
            if source.undertake():  # in the turn after the next one, when the disk has got its work
                loop = asyncio.get_running_loop()
                loop.call_soon(loop.call_soon, source.prepare)
        return Sent(invoice)

    async def create_btng_invoice(
        self, store_id: str, draft: BtngInvoiceDraft, *, idempotency: Idempotency | None = None
    ) -> Sent:
        """As create_invoice, from BTNG-PAY's fields. An amount of zero is refused."""
        clean_memo(draft.memo)
        wanted = InvoiceDraft(
            amount=draft.amount,
            currency=draft.currency or self.unit,
            expiration_s=draft.ttl_s,
            callback_url=draft.callback_url,
            memo=draft.memo,
        )
        if not draft.amount.strip("0."):
            raise ValidationError(FieldProblem("amount", "The amount must be more than zero"))
        return await self.create_invoice(store_id, wanted, idempotency=idempotency)

    # Reading

    def invoice(self, invoice_id: str) -> Invoice | None:
        """With its payments."""
        with self._vault.reading() as reader:
            return load_invoice(reader, invoice_id) if reader is not None else None

    def list_invoices(self, store_id: str, wanted: InvoiceFilter) -> InvoicePage:
        with self._vault.reading() as reader:
            return list_invoices(reader, store_id, wanted) if reader is not None else InvoicePage((), None)

    async def wait_invoice(self, invoice_id: str, revision: int, timeout_s: float) -> Invoice | None:
        """The invoice once its revision is not `revision`, or as it is when the time is over."""
        end = asyncio.get_running_loop().time() + timeout_s
        while True:
            ring = self._vault.bell.next_ring(invoice_id)
            invoice = self.invoice(invoice_id)
            left = end - asyncio.get_running_loop().time()
            if invoice is None or invoice.revision != revision or left <= 0:
                return invoice
            await self._vault.bell.wait(ring, left)

    def state(self, invoice: Invoice) -> State:
        return status(invoice)

    @property
    def tip_height(self) -> int:
        """Height of the block up to which payments are known."""
        return self._vault.engine.cursor.height if self._vault.is_open else self._host.chain.tip.height

    def readiness(self, store: Store | None = None) -> Readiness:
        """Whether new invoices are taken."""
        if store is not None and store.settings.allow_unsynced:
            return Readiness(True)
        height = self._vault.engine.cursor.height if self._vault.is_open else None
        return readiness_of(self._host, height, self._max_tip_age)

    @cached_property
    def _max_tip_age(self) -> int:
        return max_tip_age(self._host)

    def safe_mode(self) -> SafeMode | None:
        """What settlement waits for; None when it goes on."""
        with self._vault.reading() as reader:
            return reader.get_record(layout.SAFE_MODE, SafeMode) if reader is not None else None

    async def acknowledge_reorganisation(self) -> bool:
        """End the safe mode by the operator's word. Whether there was one."""
        return await self._vault.engine.acknowledge()

    def explain(self, invoice_id: str) -> Sequence[str]:
        """Why the invoice is not settled, in sentences."""
        invoice = self.invoice(invoice_id)
        if invoice is None:
            raise not_found("invoice")
        sentences = list(explain(invoice, self.tip_height, self.safe_mode(), self.unit))
        crumbs = self._crumbs(invoice)
        if crumbs:
            sentences.append(
                f"{len(crumbs)} further payments are too small for an invoice with so many, and are kept apart: "
                f"{format_amount_short(sum(crumbs))} {self.unit}. They can be assigned by hand."
            )
        return sentences

    def _crumbs(self, invoice: Invoice) -> list[int]:
        """Amounts of the outputs to the invoice's own address that are kept apart; the first thousand."""
        if not invoice.own_address or not invoice.script:
            return []
        prefix = layout.loose_by_script_key(invoice.script)
        with self._vault.reading() as reader:
            assert reader is not None
            rows = islice(reader.iterate(prefix=prefix, keys_only=True), 1000)
            found = [reader.get_record(layout.loose_key(row[len(prefix) :]), Loose) for row, _ in rows]
        return [loose.amount for loose in found if loose is not None and not loose.conflicted]

    def risk(self, invoice: Invoice, payment: Payment) -> RiskReport | None:
        """What the node's mempool says of an unconfirmed payment; None for one that is in a block."""
        return risk_report(invoice, payment, self._host.mempool, self._host.clock.now())

    # Changing

    async def _change(self, invoice_id: str, change: Callable[[Ledger, Invoice, Txn], T]) -> tuple[Invoice, T]:
        """Change one invoice within the books. Raises PaymentError 404."""
        engine = self._vault.engine

        def work(txn: Txn) -> tuple[Invoice, T]:
            ledger = engine.ledger(txn, self._host.clock.now())
            invoice = ledger.invoice(invoice_id)
            if invoice is None:
                raise not_found("invoice")
            result = change(ledger, invoice, txn)
            ledger.finish()
            after = load_invoice(txn, invoice_id)
            assert after is not None
            return after, result

        changed = await self._vault.transact(work)
        self._vault.bell.ring(topics_of(changed[0]))
        return changed

    async def set_metadata(self, invoice_id: str, metadata: bytes) -> Invoice:
        """Replaces the whole metadata; the order id's index follows."""

        def change(ledger: Ledger, invoice: Invoice, txn: Txn) -> None:
            ledger.put(replace(invoice, metadata=metadata, metadata_version=invoice.metadata_version + 1))
            old, new = order_id_of(invoice.metadata), order_id_of(metadata)
            if old is not None:
                txn.delete(layout.by_order_key(invoice.store_id, old, invoice.created_at, invoice.id))
            if new is not None:
                txn.put(layout.by_order_key(invoice.store_id, new, invoice.created_at, invoice.id), b"")

        return (await self._change(invoice_id, change))[0]

    async def archive(self, invoice_id: str) -> Invoice:
        """Hides it from lists; payments are followed all the same."""
        return (await self._change(invoice_id, lambda ledger, i, _: ledger.put(replace(i, archived=True))))[0]

    async def unarchive(self, invoice_id: str) -> Invoice:
        """400 already-unarchived."""

        def change(ledger: Ledger, invoice: Invoice, _: Txn) -> None:
            if not invoice.archived:
                raise PaymentError("already-unarchived", "Invoice is already unarchived", 400)
            ledger.put(replace(invoice, archived=False))

        return (await self._change(invoice_id, change))[0]

    async def mark_invoice(self, invoice_id: str, wanted: Status) -> Invoice:
        """422 path Status when not allowed."""

        def change(ledger: Ledger, invoice: Invoice, _: Txn) -> None:
            marked = mark(invoice, wanted, self._host.clock.now())
            if marked is None:
                problem = "Status can only be marked to invalid or settled within certain conditions."
                raise ValidationError(FieldProblem("Status", problem))
            ledger.put(marked)

        return (await self._change(invoice_id, change))[0]

    async def claim(self, claim: Claim) -> Invoice:
        """Looks at a transaction a wallet names. 404, 409 (claim-proof-required, extra messageToSign), 422."""
        params = self._host.params
        txid = parse_claim(claim, params)
        if self.invoice(claim.invoice_id) is None:
            raise not_found("invoice")
        try:
            await self._vault.engine.look_at(txid)
        except Unavailable as error:
            raise PaymentError("not-available", "The payment records cannot be written now", 503) from error

        def change(ledger: Ledger, _: Invoice, txn: Txn) -> bool:
            return apply_claim(txn, ledger, claim, txid, params, lambda: self._is_known(txid))

        return (await self._change(claim.invoice_id, change))[0]

    def _is_known(self, txid: bytes) -> bool:
        """Whether the node has the transaction, although nothing of it is ours."""
        if self._host.mempool.get(Txid(txid)) is not None:
            return True
        return any(self._host.chain.coin(outpoint(txid, vout)) is not None for vout in range(OUTPUTS_LOOKED_AT))

    async def assign(self, store_id: str, invoice_id: str, outpoint: bytes) -> Invoice:
        """An unassigned payment given to an invoice by hand."""

        def change(ledger: Ledger, invoice: Invoice, txn: Txn) -> None:
            loose = txn.get_record(layout.loose_key(outpoint), Loose)
            if invoice.store_id != store_id:
                raise not_found("invoice")
            is_own = loose is not None and invoice.own_address and loose.script == invoice.script
            if loose is None or not (is_own or self._is_store_script(store_id, loose.script)):
                raise PaymentError("payment-not-found", "There is no such unassigned payment", 404)
            ledger.assign(OutPoint(outpoint), invoice, "operator")

        return (await self._change(invoice_id, change))[0]

    def _is_store_script(self, store_id: str, script: bytes) -> bool:
        address = script_to_address(script, self._host.params)
        store = self.merchant_store(address) if address is not None else None
        return store is not None and store.id == store_id

    async def set_callback(self, invoice_id: str, url: str | None) -> Invoice:
        """Sets the invoice's callback URL, or without one sends the present status again."""
        if url is not None:
            check_url(url, self._host.params, "url")

        def change(ledger: Ledger, invoice: Invoice, txn: Txn) -> None:
            if url is not None:
                ledger.put(replace(invoice, callback_url=url))
                return
            if invoice.callback_url is None:
                raise PaymentError("no-callback-url", "The invoice has no callback URL", 409)
            draft = EventDraft(EventType.CALLBACK_REQUESTED)
            append_event(txn, invoice.store_id, draft, self._host.clock.now(), invoice)

        return (await self._change(invoice_id, change))[0]

    def unassigned(self, store_id: str, limit: int = 1000) -> Sequence[UnassignedPayment]:
        """What came to a fixed address of the store and names no invoice, and crumbs that were kept apart."""
        if self.store(store_id) is None:
            return []
        found: list[UnassignedPayment] = []
        prefix = layout.loose_by_store_key(store_id)
        with self._vault.reading() as reader:
            assert reader is not None
            for row, _ in reader.iterate(prefix=prefix, keys_only=True):
                paid = row[len(prefix) :]
                loose = reader.get_record(layout.loose_key(paid), Loose)
                if loose is None or loose.conflicted:
                    continue
                if len(found) == limit:
                    break
                watch = reader.get_record(layout.watch_key(loose.script), Watch)
                address = script_to_address(loose.script, self._host.params) or ""
                found.append(
                    UnassignedPayment(
                        paid,
                        loose.amount,
                        address,
                        loose.received_at,
                        loose.height,
                        watch.invoice_id if watch is not None else "",
                    )
                )
        return found
