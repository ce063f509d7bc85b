"""Making abandoned invoices small: expired long ago, never paid, with no event left to tell.

Such a one leaves lists and searches and keeps the facts of its price, its rate and its order id. Its address
stays watched for ever: a payment, or any other change, brings it back into the lists. (BTCPay Server deletes
them after six months.)
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from payments import layout
from payments.finding import drop_rows, order_id_of
from payments.invoice import Checkout, Invoice, Status, status
from payments.repository import change_invoice
from storage.database import Database, Txn

__all__ = ["ABANDONED_KEPT_S", "shrink_abandoned", "shrunk"]

ABANDONED_KEPT_S: Final = 180 * 86_400
AT_ONCE: Final = 500


async def shrink_abandoned(database: Database, store_id: str, before: int, now: int) -> None:
    """All of the store whose monitoring ended before that time."""
    while await database.transact(lambda txn: _shrink_some(txn, store_id, before, now)):
        pass


def _shrink_some(txn: Txn, store_id: str, before: int, now: int) -> bool:
    """The next of the store's oldest invoices; whether there may be more. Each is looked at once, ever."""
    prefix = layout.by_time_key(store_id)
    place = txn.get(layout.shrunk_to_key(store_id))
    rows = txn.iterate(prefix=prefix, stop=place, reverse=True, keys_only=True)
    seen = [row for (row, _), _ in zip(rows, range(AT_ONCE), strict=False)]
    last = place
    for row in seen:
        invoice = txn.get_json(layout.invoice_key(row[len(prefix) + 8 :].decode()), Invoice)
        assert invoice is not None, "a list names an invoice that does not exist"
        if invoice.created_at >= before or (_is_abandoned(invoice, before) and _has_events(txn, invoice)):
            break  # from here on later
        if _is_abandoned(invoice, before):
            drop_rows(txn, invoice)
            change_invoice(txn, invoice, shrunk(invoice, now), now)
        last = row
    if last is not None and last != place:
        txn.put(layout.shrunk_to_key(store_id), last)
    return last is not None and last != place and len(seen) == AT_ONCE


def _is_abandoned(invoice: Invoice, before: int) -> bool:
    return (
        invoice.monitoring_ends_at < before
        and not invoice.payment_count
        and not invoice.marks
        and status(invoice).status is Status.EXPIRED
    )


def _has_events(txn: Txn, invoice: Invoice) -> bool:
    return next(txn.iterate(prefix=layout.invoice_event_key(invoice.id), keys_only=True), None) is not None


def shrunk(invoice: Invoice, now: int) -> Invoice:
    """The invoice without what only a payer or a list needs."""
    order_id = order_id_of(invoice.metadata)
    metadata = b"{}" if order_id is None else msgspec.json.encode({"orderId": order_id})
    return replace(
        invoice,
        metadata=metadata,
        receipt=b"{}",
        checkout=Checkout(),
        search_terms=(),
        memo="",
        shrunk_at=max(now, 1),
    )
