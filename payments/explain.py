"""Why an invoice is not settled, in sentences that a merchant can send to his customer. Pure."""

from collections.abc import Sequence

from gldnode.primitives.amount import format_amount_short
from payments.invoice import Invoice, Payment, Presence, Status, depth, due, status
from payments.layout import SafeMode

__all__ = ["explain"]


def explain(invoice: Invoice, tip_height: int, safe_mode: SafeMode | None, unit: str) -> Sequence[str]:
    """One sentence per fact that matters, the most important first."""
    state = status(invoice)
    sentences = [f"The invoice is {state.status.value}, {_additional(state.additional.value)}."]
    if state.status is Status.SETTLED:
        sentences += _lost(invoice)
        return sentences
    missing = due(invoice)
    if missing > 0:
        sentences.append(f"{format_amount_short(missing)} {unit} are still due at {invoice.address}.")
    if not invoice.payments:
        sentences.append("The node has seen no payment.")
    sentences += [_of_payment(invoice, payment, tip_height) for payment in invoice.payments]
    if state.status is Status.EXPIRED:
        sentences.append(f"It expired at {invoice.expires_at} (Unix time) without full payment in time.")
    if state.status is Status.INVALID and invoice.invalid_at:
        sentences.append("It was paid, but not confirmed within the monitoring time.")
    if safe_mode is not None:
        what = (
            f"A branch of {safe_mode.depth} blocks competes with the chain's tip"
            if safe_mode.contested
            else f"{safe_mode.depth} blocks were taken back"
        )
        sentences.append(f"{what}: nothing settles before block {safe_mode.until_height} or the operator's word.")
    return sentences


def _additional(text: str) -> str:
    return {
        "None": "with nothing unusual",
        "PaidPartial": "paid in part",
        "PaidOver": "paid too much",
        "PaidLate": "paid too late",
        "Marked": "marked by hand",
    }[text]


def _of_payment(invoice: Invoice, payment: Payment, tip_height: int) -> str:
    name = f"Transaction {payment.txid[::-1].hex()} ({format_amount_short(payment.amount)})"
    if payment.presence is Presence.CONFLICTED:
        other = f" {payment.conflict[::-1].hex()}" if payment.conflict else ""
        return f"{name} was replaced: another transaction{other} has taken one of its inputs."
    if payment.presence is Presence.UNSEEN:
        return f"{name} has left this node's mempool without a conflict; the node offers it to the network again."
    if payment.presence is Presence.BLOCK:
        have, need = depth(payment, tip_height), max(1, payment.needed)
        if payment.settled_at or have >= need:
            return f"{name} is confirmed in block {payment.height}."
        return f"{name} is in block {payment.height} with {have} of {need} confirmations."
    if payment.settled_at:
        return f"{name} is unconfirmed and was taken as it is."
    if invoice.depth:
        return f"{name} is unconfirmed; {payment.needed} confirmations are needed."
    return f"{name} is unconfirmed and outside the store's zero-confirmation policy: it waits for a block."


def _lost(invoice: Invoice) -> list[str]:
    return [
        f"Transaction {p.txid[::-1].hex()} is no longer in the chain: a reorganisation took it out. "
        "The settlement stands."
        for p in invoice.payments
        if p.reorged_at
    ]
