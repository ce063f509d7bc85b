"""One transaction's view of invoices and their payments: loaded once, changed in memory, written at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from msgspec.structs import replace

from gldnode.ports import MempoolTxInfo
from gldnode.primitives.coin import Coin
from gldnode.primitives.tx import OutPoint
from payments import layout
from payments.invoice import FeeMode, Invoice, Payment, Presence, Risk, TipFacts, advance, due_transitions
from payments.layout import ClaimRow
from payments.repository import change_invoice, load_invoice
from payments.requests import note_invoice
from payments.signals import topics_of
from storage.database import Txn
from storage.turns import Pieces, at_once

__all__ = ["Books", "LedgerRules", "Outcome", "risk_of"]


@dataclass(frozen=True, slots=True)
class LedgerRules:
    """What the ledger needs to know of the network."""

    coinbase_maturity: int
    payment_fee: Callable[[], int]
    """The network fee that a further payment is charged, in grains."""
    coin: Callable[[OutPoint], Coin | None]
    """The unspent confirmed output."""


@dataclass(slots=True)
class Outcome:
    """What a transaction changed, for those who wait for it."""

    topics: set[str] = field(default_factory=set)
    """That the bell is to ring for."""
    rebroadcast: list[bytes] = field(default_factory=list)
    """Raw transactions that left the mempool without a conflict."""


class Books:
    """The invoices that a transaction touches: each records what is due and is written once, by `finish`."""

    def __init__(self, txn: Txn, rules: LedgerRules, tip: TipFacts, now: int) -> None:
        self._txn = txn
        self._rules = rules
        self.tip = tip
        self.now = now
        self._before: dict[str, Invoice | None] = {}
        self._after: dict[str, Invoice] = {}
        self._added: dict[bytes, ClaimRow] = {}

    def invoice(self, invoice_id: str) -> Invoice | None:
        """The invoice as of now, loaded once."""
        known = self._after.get(invoice_id)
        if known is not None:
            return known
        if invoice_id in self._before:
            return None
        loaded = load_invoice(self._txn, invoice_id)
        self._before[invoice_id] = loaded
        if loaded is not None:
            self._after[invoice_id] = loaded
        return loaded

    def put(self, invoice: Invoice) -> None:
        """Take a changed invoice."""
        self._after[invoice.id] = invoice

    def touch(self, invoice_id: str) -> None:
        """Look at the invoice again at the end."""
        self.invoice(invoice_id)

    def finish(self) -> Outcome:
        """Record what is due and write everything once."""
        return at_once(self.finish_in_turns())

    def finish_in_turns(self) -> Pieces[Outcome]:
        """`finish` in pieces, an invoice each. The books are empty then."""
        outcome = Outcome()
        for invoice_id in list(self._after):
            # Let go one by one: of thousands at once the memory alone takes twenty milliseconds to tidy up.
            before, invoice = self._before.pop(invoice_id, None), self._after.pop(invoice_id)
            after = advance(invoice, self.tip, self.now)
            self._wait_for_safety(after)
            written, _ = change_invoice(self._txn, before, after, self.now)
            if written is not before:
                outcome.topics.update(topics_of(written))
                note_invoice(self._txn, written, self.now)
            yield
        return outcome

    def _wait_for_safety(self, invoice: Invoice) -> None:
        if self.tip.safe:
            return
        careless = replace(self.tip, safe=True)
        if due_transitions(invoice, careless, self.now):
            self._txn.put(layout.waiting_key(invoice.id), b"")

    # Payments

    def claim(self, paid: bytes) -> ClaimRow | None:
        """Whose payment this output is."""
        return self._added.get(paid) or self._txn.get_record(layout.claim_key(paid), ClaimRow)

    def add(
        self,
        invoice: Invoice,
        paid: OutPoint,
        amount: int,
        received_at: int,
        script: bytes,
        *,
        presence: Presence,
        height: int,
        block_hash: bytes,
        is_coinbase: bool,
        info: MempoolTxInfo | None,
        claimed: str = "",
        replaces: Payment | None = None,
    ) -> None:
        """A further payment of the invoice; `replaces` is the one whose place it takes."""
        fee = min(invoice.next_fee, amount)
        if replaces is not None:
            # A bumped fee does not make the payer late, as long as he does not pay more under the old rate.
            fee = min(replaces.fee, amount)
            if amount <= replaces.amount:
                received_at = min(received_at, replaces.received_at)
        payment = Payment(
            outpoint=bytes(paid),
            number=len(invoice.payments) + 1,
            amount=amount,
            received_at=received_at,
            script=script,
            presence=presence,
            fee=fee,
            needed=max(invoice.depth, self._rules.coinbase_maturity) if is_coinbase else invoice.depth,
            block_hash=block_hash,
            height=height,
            seen_at=self.now if presence is Presence.MEMPOOL else 0,
            risk=risk_of(info) if info is not None else None,
            claimed=claimed,
        )
        next_fee = invoice.next_fee
        if invoice.fee_mode is FeeMode.MULTIPLE and not invoice.payments:
            next_fee = self._payment_fee
        payments = (*invoice.payments, payment)
        self._added[bytes(paid)] = ClaimRow(invoice.id, payment.number)
        self.put(replace(invoice, payments=payments, payment_count=len(payments), next_fee=next_fee))

    @cached_property
    def _payment_fee(self) -> int:
        """The same for every payment of the transaction."""
        return self._rules.payment_fee()

    def payment(self, claim: ClaimRow) -> tuple[Invoice, Payment]:
        """The payment, and the invoice that it pays."""
        invoice = self.invoice(claim.invoice_id)
        assert invoice is not None, f"a payment names {claim.invoice_id}, which does not exist"
        return invoice, invoice.payments[claim.number - 1]

    def change(self, invoice: Invoice, payment: Payment, **changes: object) -> None:
        """Give the payment other facts."""
        payments = list(invoice.payments)
        payments[payment.number - 1] = replace(payment, **changes)
        self.put(replace(invoice, payments=tuple(payments)))

    def edit(self, paid: bytes, **changes: object) -> bool:
        """Change the payment that `paid` is; False where it is none."""
        claim = self.claim(paid)
        if claim is None:
            return False
        invoice, payment = self.payment(claim)
        self.change(invoice, payment, **changes)
        return True


def risk_of(info: MempoolTxInfo) -> Risk:
    """What the mempool says of a transaction now."""
    feerate = info.fee * 1000 // max(1, info.vsize)
    return Risk(info.signals_replacement, feerate, len(info.ancestors))
