"""The rows by which lists and searches find an invoice: by time, order id and search term."""

import re
from typing import Final

import msgspec

from payments import layout
from payments.invoice import Invoice
from storage.database import Txn

__all__ = ["MAX_TERM", "drop_rows", "order_id_of", "put_rows", "put_term"]

MAX_TERM: Final = 512
_SPACES: Final = re.compile(r"\s+")


class _Known(msgspec.Struct, rename="camel"):
    """What the metadata may say to us."""

    order_id: msgspec.Raw = msgspec.Raw(b"null")
    buyer_email: msgspec.Raw = msgspec.Raw(b"null")


_known = msgspec.json.Decoder(_Known).decode


def order_id_of(metadata: bytes) -> str | None:
    """`orderId` of the metadata as text."""
    if b"orderId" not in metadata:
        return None
    raw = bytes(_known(metadata).order_id)
    if raw[:1] == b'"':
        return msgspec.json.decode(raw, type=str)
    return None if raw[:1] in b"{[n" else raw.decode()


def _email_of(metadata: bytes) -> str | None:
    if b"buyerEmail" not in metadata:
        return None
    raw = bytes(_known(metadata).buyer_email)
    return msgspec.json.decode(raw, type=str) if raw[:1] == b'"' else None


def _rows(invoice: Invoice) -> list[bytes]:
    store_id, invoice_id = invoice.store_id, invoice.id
    order_id = order_id_of(invoice.metadata)
    rows = [
        layout.by_time_key(store_id, invoice.created_at, invoice_id),
        layout.by_term_key(store_id, invoice_id.lower(), invoice_id),
    ]
    if order_id is not None:
        rows.append(layout.by_order_key(store_id, order_id, invoice.created_at, invoice_id))
    if invoice.own_address and invoice.address:
        rows.append(layout.by_term_key(store_id, invoice.address.lower(), invoice_id))
    for term in (order_id, _email_of(invoice.metadata), *invoice.search_terms):
        if term:
            rows.append(layout.by_term_key(store_id, _SPACES.sub(" ", term).lower()[:MAX_TERM], invoice_id))
    return rows


def put_rows(txn: Txn, invoice: Invoice) -> None:
    """Let the invoice be found."""
    for row in _rows(invoice):
        txn.put(row, b"")


def drop_rows(txn: Txn, invoice: Invoice) -> None:
    """Take it out of every list and search."""
    for row in _rows(invoice):
        txn.delete(row)


def put_term(txn: Txn, invoice: Invoice, term: str) -> None:
    """One more word to find it by."""
    txn.put(layout.by_term_key(invoice.store_id, term.lower()[:MAX_TERM], invoice.id), b"")
