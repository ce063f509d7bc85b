"""The figures of `figures` from scratch: for a database of before they were kept, and for those who check them."""

from payments import layout
from payments.figures import CHAIN, DAY_S, Figures, MethodSum, add_figures, settled_amounts
from payments.invoice import status
from payments.repository import load_invoice
from storage.database import ReadSnapshot
from storage.documents import DocumentReader
from storage.keys import KeyReader
from storage.kv import KV, WriteBatch
from storage.records import encode_record

__all__ = ["migrate_figures", "recompute", "stored_figures"]


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


def stored_figures(reader: DocumentReader) -> dict[tuple[str, int], Figures]:
    """All rows as they are kept, for tests and tools."""
    return {_place(row): figures for row, figures in reader.iterate_records(layout.figures_key(), Figures)}


def _place(row: bytes) -> tuple[str, int]:
    parts = KeyReader(row, 1)
    return parts.text(), parts.u32()
