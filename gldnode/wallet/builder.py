"""Building an unsigned transaction: coins, change, fee (Core: CreateTransactionInternal).

The fee is exact: what is left over beyond it becomes change, and only what is not worth a change output is given
up, never more than the cost of making and spending one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gldnode.entropy import Entropy
from gldnode.mempool.policy import MAX_STANDARD_TX_WEIGHT, dust_threshold, is_dust
from gldnode.primitives.codec import compact_size
from gldnode.primitives.tx import OutPoint, Tx, TxIn, TxOut, make_tx, serialize_tx_out
from gldnode.script.script import witness_program
from gldnode.wallet.coinselect import Candidate, Request, change_target, select_coins
from gldnode.wallet.errors import WalletError, WalletFault
from gldnode.wallet.fees import feerate_fee
from gldnode.wallet.sizes import transaction_weight

__all__ = ["Built", "Recipient", "SpendableCoin", "Terms", "build"]


@dataclass(frozen=True, slots=True)
class Recipient:
    script: bytes
    amount: int
    pays_fee: bool = False
    """The fee is taken from this amount (subtractfeefrom)."""


@dataclass(frozen=True, slots=True)
class SpendableCoin:
    """A coin with the weight of the input that spends it."""

    prevout: OutPoint
    output: TxOut
    weight: int


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which conditions to build. Feerates in grains per kvB."""

    feerate: int
    long_term_feerate: int
    discard_feerate: int
    dust_feerate: int
    max_tx_fee: int
    change_script: bytes | None
    """None where the wallet has no address for change: then it must come out without."""
    change_spend_weight: int
    """Of the input that will spend the change."""
    lock_time: int = 0
    version: int = 2
    sequence: int = 0xFFFFFFFD
    change_position: int | None = None
    """None: at random."""
    sequences: dict[OutPoint, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Built:
    """An unsigned transaction and what it spends."""

    tx: Tx
    spent: tuple[TxOut, ...]
    fee: int
    change_position: int | None


_NO_CHANGE_SCRIPT = b"\x00\x14" + bytes(20)  # has the size of one, for the arithmetic


def _fail(message: str) -> WalletError:
    return WalletError(WalletFault.INSUFFICIENT_FUNDS, message)


def build(
    recipients: Sequence[Recipient],
    available: Sequence[SpendableCoin],
    preset: Sequence[SpendableCoin],
    terms: Terms,
    entropy: Entropy,
    *,
    add_inputs: bool = True,
) -> Built:
    """Choose coins and change. Raises WalletError(INSUFFICIENT_FUNDS) with Core's sentence.

    preset: coins that must be spent; others come from `available` only with `add_inputs`.
    """
    if not recipients:
        raise _fail("Transaction must have at least one recipient")
    payment = sum(recipient.amount for recipient in recipients)
    if any(recipient.amount < 0 for recipient in recipients):
        raise _fail("Transaction amounts must not be negative")
    payers = sum(recipient.pays_fee for recipient in recipients)
    for recipient in recipients:
        if not recipient.pays_fee and is_dust(recipient.amount, recipient.script, terms.dust_feerate):
            raise _fail("Transaction amount too small")
    outputs = [TxOut(recipient.amount, recipient.script) for recipient in recipients]
    chosen = _choose(outputs, payment, bool(payers), available, preset, terms, entropy, add_inputs)
    return _finish(outputs, recipients, chosen, terms, entropy)


def _candidate(coin: SpendableCoin, terms: Terms) -> Candidate:
    vsize = -(-coin.weight // 4)
    return Candidate(
        coin.prevout,
        coin.output.amount,
        feerate_fee(terms.feerate, vsize),
        feerate_fee(terms.long_term_feerate, vsize),
        coin.weight,
    )


def _change_fees(terms: Terms) -> tuple[int, int, int]:
    """Fee of the change output, of spending it at the discard rate, and the least change worth having."""
    script = terms.change_script or _NO_CHANGE_SCRIPT
    size = len(serialize_tx_out(TxOut(0, script)))
    change_fee = feerate_fee(terms.feerate, size)
    spend_fee = feerate_fee(terms.discard_feerate, -(-terms.change_spend_weight // 4))
    viable = max(spend_fee + 1, dust_threshold(script, terms.dust_feerate))
    return change_fee, spend_fee, viable


def _choose(
    outputs: Sequence[TxOut],
    payment: int,
    subtract: bool,
    available: Sequence[SpendableCoin],
    preset: Sequence[SpendableCoin],
    terms: Terms,
    entropy: Entropy,
    add_inputs: bool,
) -> list[SpendableCoin]:
    change_fee, spend_fee, viable = _change_fees(terms)
    size = 10 + len(compact_size(len(outputs))) + sum(len(serialize_tx_out(output)) for output in outputs)
    target = payment + (0 if subtract else feerate_fee(terms.feerate, size))
    fixed = [_candidate(coin, terms) for coin in preset]
    covered = sum(coin.amount if subtract else coin.effective for coin in fixed)
    if covered >= target and fixed:
        return list(preset)
    if not add_inputs:
        if fixed:
            raise _fail(
                "The preselected coins total amount does not cover the transaction target. Please allow other "
                "inputs to be automatically selected or include more coins manually"
            )
        raise _fail("Insufficient funds")
    weight = size * 4 + sum(coin.weight for coin in fixed)
    request = Request(
        target=target - covered,
        change_fee=change_fee,
        cost_of_change=change_fee + spend_fee,
        min_change=change_target(payment // len(outputs), change_fee, entropy),
        min_viable_change=viable,
        subtract_fee=subtract,
        max_weight=MAX_STANDARD_TX_WEIGHT - weight - 4 * (8 + 1 + 42),
    )
    taken = {coin.prevout for coin in preset}
    pool = {coin.prevout: coin for coin in available if coin.prevout not in taken}
    selection = select_coins([_candidate(coin, terms) for coin in pool.values()], request, entropy)
    if selection is None:
        total = sum(coin.output.amount for coin in (*pool.values(), *preset))
        if total >= payment + (0 if subtract else feerate_fee(terms.feerate, size)) and len(pool) > 1000:
            raise _fail(
                "The inputs size exceeds the maximum weight. Please try sending a smaller amount or manually "
                "consolidating your wallet's UTXOs"
            )
        raise _fail("Insufficient funds")
    return [*preset, *(pool[coin.prevout] for coin in selection.coins)]


def _finish(
    outputs: list[TxOut],
    recipients: Sequence[Recipient],
    coins: list[SpendableCoin],
    terms: Terms,
    entropy: Entropy,
) -> Built:
    """Decide on change, settle the fee to the grain, order inputs and outputs."""
    total = sum(coin.output.amount for coin in coins)
    payment = sum(output.amount for output in outputs)
    payers = [index for index, recipient in enumerate(recipients) if recipient.pays_fee]
    _change_fee, _spend_fee, viable = _change_fees(terms)
    plain_fee = _fee(coins, outputs, terms)
    change_script = terms.change_script or _NO_CHANGE_SCRIPT
    with_change = [*outputs, TxOut(0, change_script)]
    change_fee = _fee(coins, with_change, terms)
    change = total - payment - (0 if payers else change_fee)
    has_change = change >= viable
    if has_change:
        if terms.change_script is None:
            raise _fail("Transaction needs a change address, but we can't generate it.")
        fee = change_fee
        final = [*outputs, TxOut(change, change_script)]
    else:
        fee = plain_fee
        final = list(outputs)
    if payers:
        if not has_change:  # what is left over pays its part of the fee
            fee = max(plain_fee - (total - payment), 0)
        _subtract(final, payers, fee, terms)
    paid = total - sum(output.amount for output in final)
    needed = _fee(coins, final, terms)
    if paid < needed:
        raise _fail("Insufficient funds")
    if paid > terms.max_tx_fee:
        raise _fail("Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)")
    position = None
    if has_change:
        change_output = final.pop()
        position = entropy.below(len(final) + 1) if terms.change_position is None else terms.change_position
        final.insert(position, change_output)
    return _assemble(coins, final, paid, position, terms, entropy)


def _fee(coins: Sequence[SpendableCoin], outputs: Sequence[TxOut], terms: Terms) -> int:
    has_witness = any(_has_witness(coin) for coin in coins)
    weight = transaction_weight([coin.weight for coin in coins], outputs, has_witness=has_witness)
    if weight > MAX_STANDARD_TX_WEIGHT:
        raise _fail("Transaction too large")
    return feerate_fee(terms.feerate, -(-weight // 4))


def _has_witness(coin: SpendableCoin) -> bool:
    # Beside witness programs: P2SH may wrap one, and counting the marker where there is none costs half a byte.
    return witness_program(coin.output.script_pubkey) is not None or coin.output.script_pubkey[:1] == b"\xa9"


def _subtract(outputs: list[TxOut], payers: Sequence[int], fee: int, terms: Terms) -> None:
    """Take the fee from the paying recipients in equal parts; the first pays the remainder."""
    share, remainder = divmod(fee, len(payers))
    for order, index in enumerate(payers):
        output = outputs[index]
        amount = output.amount - share - (remainder if order == 0 else 0)
        if amount < 0:
            raise _fail("The transaction amount is too small to pay the fee")
        if is_dust(amount, output.script_pubkey, terms.dust_feerate):
            raise _fail("The transaction amount is too small to send after the fee has been deducted")
        outputs[index] = TxOut(amount, output.script_pubkey)


def _assemble(
    coins: list[SpendableCoin],
    outputs: list[TxOut],
    fee: int,
    position: int | None,
    terms: Terms,
    entropy: Entropy,
) -> Built:
    order = list(coins)
    for index in range(len(order) - 1, 0, -1):
        other = entropy.below(index + 1)
        order[index], order[other] = order[other], order[index]
    inputs = [TxIn(coin.prevout, b"", terms.sequences.get(coin.prevout, terms.sequence)) for coin in order]
    tx = make_tx(terms.version, inputs, outputs, terms.lock_time)
    return Built(tx, tuple(coin.output for coin in order), fee, position)
