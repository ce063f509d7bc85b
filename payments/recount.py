"""Figures and counts from scratch: for a database of before they were kept, and for those who check them."""

from collections import Counter

from payments import layout
from payments.figures import CHAIN, DAY_S, Figures, MethodSum, add_figures, settled_amounts
from payments.invoice import Invoice, status
from payments.layout import Loose, Watch
from payments.repository import is_open, load_invoice
from storage.database import ReadSnapshot
from storage.documents import DocumentReader
from storage.keys import KeyReader
from storage.kv import KV, WriteBatch
from storage.records import encode_record

__all__ = ["count_open_invoices", "migrate_counts", "migrate_figures", "recompute", "stored_figures"]


def recompute(reader: DocumentReader) -> dict[tuple[str, int], Figures]:
    """All rows by store and day, from the invoices alone."""
    found: dict[tuple[str, int], list[Figures]] = {}
    for row, _ in reader.iterate(prefix=b"i", keys_only=True):
        invoice = load_invoice(reader, row[1:].decode())
        assert invoice is not None
        made = Figures({}, {status(invoice).status.value: 1})
        found.setdefault((invoice.store_id, invoice.created_at // DAY_S), []).append(made)
        for received_at, amount in settled_amounts(invoice):
            paid = Figures({CHAIN: MethodSum(1, amount)}, {})
            found.setdefault((invoice.store_id, max(received_at, 0) // DAY_S), []).append(paid)
    return {place: add_figures(parts) for place, parts in found.items()}


def migrate_figures(kv: KV, batch: WriteBatch) -> None:
    """Schema 1 to 2: rows for what was there before they were kept."""
    with ReadSnapshot(kv.snapshot()) as reader:
        for (store_id, day), figures in recompute(reader).items():
            batch.put(layout.figures_key(store_id, day), encode_record(figures))


def count_open_invoices(reader: DocumentReader) -> Counter[str]:
    """How many of each store's invoices are open, from the invoices alone."""
    return Counter(
        invoice.store_id for _, invoice in reader.iterate_json(b"i", Invoice) if _is_open(reader, invoice)
    )


def _is_open(reader: DocumentReader, invoice: Invoice) -> bool:
    if invoice.payment_count:
        loaded = load_invoice(reader, invoice.id)
        assert loaded is not None
        invoice = loaded
    return is_open(invoice)


def migrate_counts(kv: KV, batch: WriteBatch) -> None:
    """Schema 2 to 3: open invoices and idempotency rows are counted, loose payments are listed by store, metadata
    that was never replaced is in its invoice alone, and any store may have had callback URLs."""
    with ReadSnapshot(kv.snapshot()) as reader:
        for row, _ in reader.iterate(prefix=b"s", keys_only=True):
            batch.put(layout.callbacks_key(row[1:].decode()), b"")
        for store_id, count in count_open_invoices(reader).items():
            batch.put(layout.open_count_key(store_id), count.to_bytes(8, "big"))
        kept = Counter(KeyReader(row, 1).text() for row, _ in reader.iterate(prefix=b"g", keys_only=True))
        for principal, count in kept.items():
            batch.put(layout.answer_count_key(principal), count.to_bytes(8, "big"))
        for row, loose in reader.iterate_records(b"l", Loose):
            store_id = _store_of(reader, loose)
            if store_id:
                batch.put(layout.loose_by_store_key(store_id, row[1:]), b"")
        for row, _ in reader.iterate(prefix=b"M", keys_only=True):
            parts = KeyReader(row, 1)
            invoice = reader.get_json(layout.invoice_key(parts.text()), Invoice)
            if invoice is not None and invoice.metadata_version == parts.u32():
                batch.delete(row)


def _store_of(reader: DocumentReader, loose: Loose) -> str:
    watch = reader.get_record(layout.watch_key(loose.script), Watch)
    if watch is None or not watch.invoice_id:
        return watch.store_id if watch is not None else ""
    invoice = reader.get_json(layout.invoice_key(watch.invoice_id), Invoice)
    return invoice.store_id if invoice is not None else ""


def stored_figures(reader: DocumentReader) -> dict[tuple[str, int], Figures]:
    """All rows as they are kept, for tests and tools."""
    return {_place(row): figures for row, figures in reader.iterate_records(layout.figures_key(), Figures)}


def _place(row: bytes) -> tuple[str, int]:
    parts = KeyReader(row, 1)
    return parts.text(), parts.u32()
