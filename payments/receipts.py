"""Receipts that anyone can verify offline: transaction, merkle proof, header, and the store's signature. Pure.

The signature (BIP 340, by the store's identity key) covers the tagged hash `GLD/receipt/1` of the receipt's
canonical text: one line each for network, invoice, amount, and every payment's outpoint, amount and block.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from gldnode.consensus.merkle import merkle_branch, root_of_branch
from gldnode.consensus.pow import has_valid_proof_of_work
from gldnode.crypto.secp256k1 import sign_schnorr, verify_schnorr
from gldnode.errors import DecodeError, NodeError
from gldnode.params import ChainParams
from gldnode.primitives.amount import format_amount
from gldnode.primitives.block import Block, parse_header
from gldnode.primitives.hashes import from_display_hex, tagged_hash, to_display_hex
from gldnode.primitives.tx import parse_tx
from payments.accounting import price_text
from payments.invoice import Invoice, Payment, Presence, depth
from payments.stores import Store

__all__ = ["PaidOutput", "Receipt", "ReceiptError", "make_receipt", "parse_receipt", "verify_receipt"]

TAG: Final = "GLD/receipt/1"
MAX_SIZE: Final = 20_000_000


class ReceiptError(NodeError):
    """Why a receipt does not prove what it says."""


class PaidOutput(msgspec.Struct, frozen=True, rename="camel"):
    """One payment, with the proof that it is in a block."""

    tx_id: str
    vout: int
    amount: str
    raw_tx: str
    block_hash: str
    height: int
    depth: int
    """Confirmations when the receipt was made."""
    header: str
    index: int
    """The transaction's place in the block."""
    branch: tuple[str, ...]
    """The merkle branch from the transaction to the root, bottom first."""


class Receipt(msgspec.Struct, frozen=True, rename="camel"):
    network: str
    genesis: str
    invoice_id: str
    store_id: str
    amount: str
    currency: str
    settled_at: int
    payments: tuple[PaidOutput, ...]
    identity: str
    """The store's x-only public key."""
    signature: str = ""


def make_receipt(
    invoice: Invoice,
    store: Store,
    params: ChainParams,
    block: Callable[[bytes], Block | None],
    tip_height: int,
    aux: bytes,
) -> Receipt:
    """The receipt of a settled invoice's confirmed payments. Raises ReceiptError."""
    if not invoice.settled_at:
        raise ReceiptError("The invoice is not settled")
    payments = [p for p in invoice.payments if p.presence is Presence.BLOCK]
    if not payments:
        raise ReceiptError("No payment of the invoice is in a block yet")
    receipt = Receipt(
        params.name,
        to_display_hex(params.genesis.hash),
        invoice.id,
        store.id,
        price_text(invoice),
        invoice.currency,
        invoice.settled_at,
        tuple(_prove(payment, block, tip_height) for payment in payments),
        store.identity.hex(),
    )
    signature = sign_schnorr(store.identity_key, _digest(receipt), aux)
    return msgspec.structs.replace(receipt, signature=signature.hex())


def _prove(payment: Payment, block_of: Callable[[bytes], Block | None], tip_height: int) -> PaidOutput:
    block = block_of(payment.block_hash)
    if block is None:
        raise ReceiptError(f"Block {payment.height} is no longer stored")
    txids = [tx.txid for tx in block.txs]
    index = txids.index(payment.txid)  # type: ignore[arg-type]
    tx = block.txs[index]
    return PaidOutput(
        to_display_hex(tx.txid),
        int.from_bytes(payment.outpoint[32:], "little"),
        format_amount(payment.amount),
        tx.stripped().hex(),
        to_display_hex(payment.block_hash),
        payment.height,
        depth(payment, tip_height),
        block.header.serialize().hex(),
        index,
        tuple(to_display_hex(one) for one in merkle_branch(txids, index)),
    )


def _digest(receipt: Receipt) -> bytes:
    lines = [
        receipt.network,
        receipt.genesis,
        receipt.store_id,
        receipt.invoice_id,
        f"{receipt.amount} {receipt.currency}",
        str(receipt.settled_at),
        *(f"{p.tx_id}:{p.vout} {p.amount} {p.block_hash} {p.height} {p.depth}" for p in receipt.payments),
    ]
    return tagged_hash(TAG, "\n".join(lines).encode())


def parse_receipt(text: bytes) -> Receipt:
    """Raises ReceiptError."""
    if len(text) > MAX_SIZE:
        raise ReceiptError("The receipt is too long")
    try:
        return msgspec.json.decode(text, type=Receipt)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReceiptError(f"This is not a receipt: {error}") from None


def verify_receipt(
    receipt: Receipt,
    params: ChainParams,
    height_of: Callable[[bytes], int | None] | None = None,
    tip_height: int | None = None,
) -> Sequence[str]:
    """What the receipt proves, in sentences. Raises ReceiptError where it proves nothing.

    `height_of` gives the height of a block of the active chain; without it the blocks' proof of work alone speaks.
    `tip_height` is that chain's.
    """
    if receipt.network != params.name or receipt.genesis != to_display_hex(params.genesis.hash):
        raise ReceiptError(f"The receipt is of the network {receipt.network[:40]!r}")
    try:
        identity, signature = bytes.fromhex(receipt.identity), bytes.fromhex(receipt.signature)
    except ValueError:
        raise ReceiptError("The identity or the signature is not hexadecimal") from None
    if len(identity) != 32 or len(signature) != 64 or not verify_schnorr(signature, _digest(receipt), identity):
        raise ReceiptError("The signature is not the store's")
    if not receipt.payments:
        raise ReceiptError("The receipt names no payment")
    found = [f"Store {receipt.identity} has signed for invoice {receipt.invoice_id}."]
    return found + [_verify_output(paid, params, height_of, tip_height) for paid in receipt.payments]


def _verify_output(
    paid: PaidOutput, params: ChainParams, height_of: Callable[[bytes], int | None] | None, tip_height: int | None
) -> str:
    try:
        header = parse_header(bytes.fromhex(paid.header))
        tx = parse_tx(bytes.fromhex(paid.raw_tx))
        branch = [from_display_hex(one) for one in paid.branch]
    except (DecodeError, ValueError) as error:
        raise ReceiptError(f"The proof of {paid.tx_id[:64]} cannot be read: {error}") from None
    if to_display_hex(tx.txid) != paid.tx_id or not 0 <= paid.vout < len(tx.outputs):
        raise ReceiptError("The transaction is not the one that is named")
    if format_amount(tx.outputs[paid.vout].amount) != paid.amount:
        raise ReceiptError("The output pays another amount")
    # A branch that is too short could pass an inner node off as a transaction: 64 bytes are no transaction.
    if len(tx.raw) <= 64 or len(branch) > 32 or not 0 <= paid.index < 1 << len(branch):
        raise ReceiptError("The merkle proof has the wrong shape")
    if root_of_branch(tx.txid, branch, paid.index) != header.merkle_root:
        raise ReceiptError("The transaction is not in the block")
    if to_display_hex(header.hash) != paid.block_hash:
        raise ReceiptError("The header is not the block's that is named")
    if not has_valid_proof_of_work(header.hash, header.bits, params):
        raise ReceiptError("The header has no proof of work")
    text = f"Output {paid.tx_id}:{paid.vout} of {paid.amount} is in block {paid.block_hash}"
    if height_of is None:
        return f"{text}, whose place in the chain was not looked up."
    height = height_of(header.hash)
    if height != paid.height:
        raise ReceiptError(f"Block {paid.block_hash} is not at height {paid.height} of this chain")
    if tip_height is None:
        return f"{text} at height {height}."
    return f"{text} at height {height}, with {tip_height - height + 1} confirmations."
