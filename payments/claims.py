"""A wallet names the transaction that pays an invoice: what the node knows of it decides, not the wallet.

Payments to own addresses and with a memo are assigned already; then the claim only confirms it. An output to a
fixed merchant address that names nobody is assigned with a proof by the payer's key, or without one where it can
only be this invoice's: see `_check_amount_alone`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gldnode.address import address_to_script
from gldnode.errors import DecodeError
from gldnode.messages import MessageFault, check_signature
from gldnode.params import ChainParams
from gldnode.primitives.hashes import from_display_hex, to_display_hex
from gldnode.primitives.tx import OutPoint
from payments import layout
from payments.errors import FieldProblem, PaymentError, ValidationError, not_found
from payments.invoice import Invoice, Status, covers, due, is_enough, net, status
from payments.layout import ClaimRow, Loose
from payments.ledger import Ledger
from storage.database import Txn
from storage.documents import DocumentReader

__all__ = ["Claim", "apply_claim", "claim_text", "find_outputs", "parse_claim", "parse_txid"]

NEIGHBOURS_READ: Final = 1000
MAX_PROOF: Final = 20_000


@dataclass(frozen=True, slots=True)
class Claim:
    """`POST /api/btngpay/pay`."""

    invoice_id: str
    tx_id: str
    from_address: str | None = None
    """Several addresses, where inputs of several scripts sign, are separated by commas."""
    proof: str | None = None
    """Base64 signature of the text to sign, by the key of `from_address`; several are separated by commas."""


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What the books have of one transaction."""

    claimed: Sequence[tuple[OutPoint, ClaimRow]]
    loose: Sequence[tuple[OutPoint, Loose]]


def parse_txid(text: str) -> bytes:
    """Wire-order bytes of a transaction id. Raises ValidationError."""
    try:
        return from_display_hex(text)
    except DecodeError as error:
        raise ValidationError(FieldProblem("txId", f"txId {error}")) from None


def parse_claim(claim: Claim, params: ChainParams) -> bytes:
    """The claim's transaction id, after everything that can be checked without the database."""
    txid = parse_txid(claim.tx_id)
    if claim.proof is not None and len(claim.proof) > MAX_PROOF:
        raise ValidationError(FieldProblem("proof", "The proof is too long"))
    for address in _split(claim.from_address):
        try:
            address_to_script(address, params)
        except DecodeError as error:
            raise ValidationError(FieldProblem("from", str(error))) from None
    return txid


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def find_outputs(reader: DocumentReader, txid: bytes) -> _Outputs:
    """The outputs of `txid` that pay watched scripts."""
    claimed = [
        (OutPoint(row[1:]), value) for row, value in reader.iterate_records(layout.claim_key(txid), ClaimRow)
    ]
    loose = [(OutPoint(row[1:]), value) for row, value in reader.iterate_records(layout.loose_key(txid), Loose)]
    return _Outputs(claimed, loose)


def claim_text(invoice_id: str, paid: OutPoint, params: ChainParams) -> str:
    """What the payer signs."""
    genesis = to_display_hex(params.genesis.hash)
    return f"GLD payment claim v1\n{genesis}\n{invoice_id}\n{to_display_hex(paid.txid)}:{paid.vout}"


def apply_claim(
    txn: Txn,
    ledger: Ledger,
    claim: Claim,
    txid: bytes,
    params: ChainParams,
    pays_others: Callable[[], bool],
) -> bool:
    """Assign what the claim names; False where the node does not know the transaction. Raises PaymentError."""
    invoice = ledger.invoice(claim.invoice_id)
    if invoice is None:
        raise not_found("invoice")
    outputs = find_outputs(txn, txid)
    if any(row.invoice_id == invoice.id for _, row in outputs.claimed):
        _check_enough(invoice)
        return True
    candidates = [
        (paid, loose)
        for paid, loose in outputs.loose
        if loose.script == invoice.script and not invoice.own_address
    ]
    if not candidates:
        if outputs.claimed:
            raise PaymentError("payment-already-claimed", "This transaction pays another invoice", 409)
        if outputs.loose or pays_others():
            raise PaymentError(
                "payment-to-another-address", "This transaction does not pay the address of this invoice", 409
            )
        return False
    paid, loose = max(candidates, key=lambda found: found[1].amount)
    if loose.conflicted:
        raise PaymentError("payment-conflicted", "Another transaction has taken an input of this one", 409)
    if status(invoice).status in (Status.SETTLED, Status.INVALID):
        raise PaymentError("invoice-closed", f"The invoice is {status(invoice).status.value}", 409)
    if not is_enough(invoice, net(invoice.accounted) + loose.amount - min(invoice.next_fee, loose.amount)):
        raise PaymentError("payment-too-small", "This transaction pays less than is due", 409)
    if claim.proof is not None:
        _check_proof(claim, paid, loose, params)
        ledger.assign(paid, invoice, "proof")
        return True
    _check_amount_alone(txn, invoice, paid, loose, params)
    ledger.assign(paid, invoice, "amount")
    return True


def _check_enough(invoice: Invoice) -> None:
    if not covers(invoice, invoice.accounted):
        missing = due(invoice)
        raise PaymentError(
            "payment-too-small",
            f"This transaction is booked on the invoice, but {missing} grains are still due",
            409,
        )


def _check_amount_alone(txn: Txn, invoice: Invoice, paid: OutPoint, loose: Loose, params: ChainParams) -> None:
    """Without a proof a claim is taken only where it cannot be a stranger's. Raises PaymentError.

    The output was first seen after the invoice was made and before its monitoring ended, it pays exactly what is
    due, and no other invoice on that address open in that time had the same due.
    """
    missing = due(invoice)
    in_time = invoice.created_at <= loose.received_at <= invoice.monitoring_ends_at
    if in_time and loose.amount == missing and not _has_neighbour(txn, invoice, loose, missing):
        return
    raise PaymentError(
        "claim-proof-required",
        "The payment alone does not show that it is for this invoice: sign the message with the key that paid",
        409,
        {"messageToSign": claim_text(invoice.id, paid, params)},
    )


def _has_neighbour(txn: Txn, invoice: Invoice, loose: Loose, missing: int) -> bool:
    prefix = layout.by_due_key(invoice.script, missing)
    start = layout.by_due_key(invoice.script, missing, loose.received_at)
    for count, (row, _) in enumerate(txn.iterate(prefix=prefix, start=start, keys_only=True)):
        if count >= NEIGHBOURS_READ:
            return True
        other_id = row[len(prefix) + 8 :].decode()
        if other_id == invoice.id:
            continue
        other = txn.get_json(layout.invoice_key(other_id), Invoice)
        if other is not None and other.created_at <= loose.received_at:
            return True
    return False


def _check_proof(claim: Claim, paid: OutPoint, loose: Loose, params: ChainParams) -> None:
    """Every script that paid must have signed. Raises PaymentError."""
    addresses, proofs = _split(claim.from_address), _split(claim.proof)
    if not addresses or len(addresses) != len(proofs):
        raise ValidationError(FieldProblem("proof", "One proof is needed for each address in from"))
    payers = set(loose.input_scripts)
    if not payers:
        raise PaymentError("proof-impossible", "The node does not know who made this transaction", 409)
    if {address_to_script(address, params) for address in addresses} != payers:
        raise PaymentError("wrong-payer", "from is not the address that this transaction spends from", 409)
    text = claim_text(claim.invoice_id, paid, params)
    for address, proof in zip(addresses, proofs, strict=True):
        try:
            signed = check_signature(address_to_script(address, params), text, proof)
        except MessageFault as error:
            raise ValidationError(FieldProblem("proof", str(error))) from None
        if signed is None or not signed.is_unconditional:
            raise PaymentError("wrong-proof", "The proof is not a signature of the message by this address", 409)
