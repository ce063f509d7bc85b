"""The payment link that wallets open: `gld:<address>?amount=12.5&memo=btngpay_…` (BIP 21's shape). Pure."""

from urllib.parse import quote

from gldnode.params import ChainParams
from gldnode.primitives.amount import format_amount_short
from payments.accounting import method_figures
from payments.invoice import Invoice

__all__ = ["payment_uri"]


def payment_uri(invoice: Invoice, params: ChainParams) -> str:
    """Asks for what is still due; without `amount` where nothing is, or where any amount is welcome.

    `memo` is the invoice's id: the wallet puts it in an OP_RETURN output, which names the invoice where the
    address does not.
    """
    missing = max(0, method_figures(invoice).due)
    query = [f"amount={format_amount_short(missing)}"] if missing > 0 else []
    query.append(f"memo={quote(invoice.id, safe='')}")
    return f"{params.uri_scheme}:{invoice.address}?{'&'.join(query)}"
