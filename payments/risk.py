"""What speaks for and against an unconfirmed payment, from the node's own mempool."""

from dataclasses import dataclass
from typing import Final

from gldnode.ports import MempoolView
from gldnode.primitives.amount import format_amount_short
from gldnode.primitives.hashes import Txid
from payments.invoice import Invoice, Payment, Presence

__all__ = ["RiskReport", "risk_report"]

SOON: Final = 2
"""Blocks within which a payment should confirm, for the estimate that its feerate is held against."""


@dataclass(frozen=True, slots=True)
class RiskReport:
    """Of one payment outside the chain. `findings` are the same figures in sentences, worst first."""

    in_mempool: bool
    signals_replacement: bool
    feerate_per_kvb: int
    estimate_per_kvb: int | None
    """What confirms within two blocks now; None without an estimate."""
    unconfirmed_ancestors: int
    seconds_seen: int
    """In the mempool without interruption."""
    conflict_seen: bool
    """Another transaction for the same coins has reached the node."""
    within_policy: bool
    """Whether the store's zero-confirmation policy takes it as it is, now or after `seconds_left`."""
    seconds_left: int
    findings: tuple[str, ...]


def risk_report(invoice: Invoice, payment: Payment, mempool: MempoolView, now: int) -> RiskReport | None:
    """None for a payment that is in a block."""
    if payment.presence is Presence.BLOCK:
        return None
    info = mempool.get(Txid(payment.txid))
    stored = payment.risk
    signals = info.signals_replacement if info is not None else stored is not None and stored.signals_replacement
    feerate = (
        info.fee * 1000 // max(1, info.vsize)
        if info is not None
        else stored.feerate_per_kvb
        if stored is not None
        else 0
    )
    ancestors = len(info.ancestors) if info is not None else stored.ancestors if stored is not None else 0
    estimate = mempool.estimate_feerate_per_kvb(SOON)
    seen = max(0, now - payment.seen_at) if payment.seen_at else 0
    conflict = payment.contested or payment.presence is Presence.CONFLICTED
    findings = tuple(
        _findings(invoice, payment, info is not None, signals, feerate, estimate, ancestors, conflict)
    )
    policy = invoice.zero_conf
    fits = not payment.needed and payment.presence is Presence.MEMPOOL and stored is not None and not conflict
    fits = fits and payment.amount <= policy.max_amount and feerate >= policy.min_feerate_per_kvb
    fits = fits and not signals and not ancestors
    left = max(0, policy.seconds_seen - seen) if fits else 0
    return RiskReport(
        info is not None, signals, feerate, estimate, ancestors, seen, conflict, fits, left, findings
    )


def _findings(
    invoice: Invoice,
    payment: Payment,
    in_mempool: bool,
    signals: bool,
    feerate: int,
    estimate: int | None,
    ancestors: int,
    conflict: bool,
) -> list[str]:
    policy = invoice.zero_conf
    found = []
    if payment.presence is Presence.CONFLICTED:
        found.append("Another transaction has taken its coins.")
    elif conflict:
        found.append("A conflicting transaction has reached this node.")
    if not in_mempool and payment.presence is not Presence.CONFLICTED:
        found.append("It has left this node's mempool.")
    if signals:
        found.append("It signals that it may be replaced.")
    if ancestors:
        found.append(f"It spends {ancestors} unconfirmed transactions.")
    if feerate < policy.min_feerate_per_kvb:
        found.append(f"It pays {feerate} grains per kvB, less than the store's {policy.min_feerate_per_kvb}.")
    if estimate is not None and feerate < estimate:
        found.append(f"It pays {feerate} grains per kvB; {estimate} confirm within {SOON} blocks now.")
    if payment.amount > policy.max_amount:
        found.append(
            f"It is more than the {format_amount_short(policy.max_amount)} that the store takes unconfirmed."
        )
    if payment.needed:
        found.append(f"The invoice asks for {payment.needed} confirmations.")
    return found
