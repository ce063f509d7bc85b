"""Lists of a store's invoices: by time, order id or search term, newest first, with a cursor behind each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from payments import layout
from payments.errors import FieldProblem, ValidationError
from payments.invoice import Invoice, Status, status
from payments.repository import load_invoice
from storage.documents import DocumentReader
from storage.keys import u64_descending

__all__ = ["InvoiceFilter", "InvoicePage", "list_invoices"]


@dataclass(frozen=True, slots=True)
class InvoiceFilter:
    """AND between kinds, OR inside one."""

    order_ids: tuple[str, ...] = ()
    statuses: tuple[Status, ...] = ()
    start: int | None = None
    end: int | None = None
    text: str = ""
    include_archived: bool = False
    skip: int = 0
    take: int | None = None
    cursor: str | None = None
    """Of an InvoicePage; continues behind it."""


@dataclass(frozen=True, slots=True)
class InvoicePage:
    invoices: Sequence[Invoice]
    cursor: str | None
    """None when there is no more."""


def list_invoices(reader: DocumentReader, store_id: str, wanted: InvoiceFilter) -> InvoicePage:
    """One page, newest first. Raises ValidationError for a cursor of another list."""
    place = _parse_cursor(wanted.cursor)
    found: list[Invoice] = []
    skipped = 0
    for invoice in _candidates(reader, store_id, wanted, place):
        if not _fits(invoice, store_id, wanted):
            continue
        if skipped < wanted.skip:
            skipped += 1
            continue
        if wanted.take is not None and len(found) == wanted.take:
            return InvoicePage(found, _cursor_of(found[-1]) if found else None)
        found.append(invoice)
    return InvoicePage(found, None)


def _cursor_of(invoice: Invoice) -> str:
    return f"{invoice.created_at}-{invoice.id}"


def _parse_cursor(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    created, dash, invoice_id = text.partition("-")
    if not text.isascii() or not dash or not created.isdecimal() or len(created) > 12:
        raise ValidationError(FieldProblem("cursor", "Invalid cursor"))
    return int(created), invoice_id


def _candidates(
    reader: DocumentReader, store_id: str, wanted: InvoiceFilter, place: tuple[int, str] | None
) -> Iterator[Invoice]:
    ids = _by_key(reader, store_id, wanted, place) if wanted.text or wanted.order_ids else None
    for invoice_id in _by_time(reader, store_id, wanted, place) if ids is None else ids:
        invoice = load_invoice(reader, invoice_id)
        if invoice is not None:
            yield invoice


def _by_time(
    reader: DocumentReader, store_id: str, wanted: InvoiceFilter, place: tuple[int, str] | None
) -> Iterator[str]:
    prefix = layout.by_time_key(store_id)
    start = layout.by_time_key(store_id, wanted.end) if wanted.end is not None else prefix
    if place is not None:
        start = max(start, layout.by_time_key(store_id, *place) + b"\x00")
    stop = None
    if wanted.start is not None and wanted.start > 0:
        stop = prefix + u64_descending(wanted.start - 1)
    for row, _ in reader.iterate(prefix=prefix, start=start, stop=stop, keys_only=True):
        yield row[len(prefix) + 8 :].decode()


def _by_key(
    reader: DocumentReader, store_id: str, wanted: InvoiceFilter, place: tuple[int, str] | None
) -> Iterator[str]:
    """By order id or search term: few invoices, sorted here."""
    ids: set[str] = set()
    if wanted.order_ids:
        for order_id in wanted.order_ids:
            prefix = layout.by_order_key(store_id, order_id)
            ids.update(row[len(prefix) + 8 :].decode() for row, _ in reader.iterate(prefix=prefix, keys_only=True))
    if wanted.text:
        prefix = layout.term_prefix(store_id, wanted.text.lower()[:512])
        rows = reader.iterate(prefix=prefix, keys_only=True)
        hits = {row.rpartition(b"\x00\x01")[2].decode() for row, _ in islice(rows, 10_000)}
        ids = ids & hits if wanted.order_ids else hits
    invoices = [i for i in (reader.get_json(layout.invoice_key(one), Invoice) for one in ids) if i is not None]
    for invoice in sorted(invoices, key=lambda i: (-i.created_at, i.id)):
        if place is None or (-invoice.created_at, invoice.id) > (-place[0], place[1]):
            yield invoice.id


def _fits(invoice: Invoice, store_id: str, wanted: InvoiceFilter) -> bool:
    if invoice.store_id != store_id or (invoice.archived and not wanted.include_archived):
        return False
    if wanted.statuses and status(invoice).status not in wanted.statuses:
        return False
    if wanted.start is not None and invoice.created_at < wanted.start:
        return False
    return wanted.end is None or invoice.created_at <= wanted.end
