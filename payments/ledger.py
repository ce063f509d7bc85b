"""The engine's books: what chain and mempool show becomes facts of invoices, within one transaction.

A `Ledger` lives as long as one transaction's function. It gathers the invoices that the facts touch, lets each
record what has become due, and writes each once at the end. It never waits and looks at nothing but the
transaction, what it is given and the mempool's present state.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from msgspec.structs import replace

from gldnode.events import BlockConnected, BlockDisconnected
from gldnode.ports import MempoolTxInfo, MempoolView
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import OutPoint, Tx, outpoint, parse_tx
from payments import layout
from payments.events import Event
from payments.invoice import (
    FeeMode,
    Invoice,
    Payment,
    Presence,
    Risk,
    TipFacts,
    advance,
    due_transitions,
    effective_price,
)
from payments.layout import ClaimRow, Loose, Tracked, Watch
from payments.matching import match_outputs
from payments.money import RATE_ONE
from payments.repository import change_invoice, load_invoice
from payments.requests import note_invoice
from storage.database import Txn

__all__ = ["Ledger", "LedgerRules", "Outcome"]

FORGET_DEPTH = 144
"""How deep a conflicting transaction must be before the one it replaced is forgotten."""
MAX_ANCESTOR_INPUTS = 1000
FREE_PAYMENTS = 100
"""So many payments of any size an invoice takes."""
CRUMBS = 1000
"""Into how many parts a price may be broken behind that."""
MAX_PAYMENTS = 2000
MAX_NEEDED = 5000
"""So many outputs that unconfirmed payments need are read at once for a block, instead of one look per input."""


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

    events: list[Event] = field(default_factory=list)
    invoices: list[Invoice] = field(default_factory=list)
    rebroadcast: list[bytes] = field(default_factory=list)
    """Raw transactions that left the mempool without a conflict."""


class Ledger:
    """One transaction's view of the invoices, with the facts that arrive in it."""

    def __init__(self, txn: Txn, mempool: MempoolView, rules: LedgerRules, tip: TipFacts, now: int) -> None:
        self._txn = txn
        self._mempool = mempool
        self._rules = rules
        self.tip = tip
        self._now = now
        self._before: dict[str, Invoice | None] = {}
        self._after: dict[str, Invoice] = {}
        self._added: dict[bytes, ClaimRow] = {}
        self._rebroadcast: list[bytes] = []
        self._needed: set[bytes] | None = None
        self._has_read_needed = False

    # Invoices

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

    # Mempool

    def seen(self, info: MempoolTxInfo) -> None:
        """A transaction is in the mempool."""
        tx = info.tx
        self._conflicts(tx, height=-1)
        vouts = self._outputs(tx, None, info, coins=None)
        # The mempool may still hold what a block that is booked already has.
        if vouts and not self._is_in_block(tx.outpoint(vouts[0])):
            self._track(tx, vouts, in_mempool=True)

    def resolve(self, txid: bytes) -> None:
        """Ask the mempool where a tracked transaction is, and record it."""
        tracked = self._tracked(txid)
        if tracked is None:
            return
        info = self._mempool.get(Txid(txid))
        if info is not None:
            self.seen(info)
            return
        for prevout, relative in _watched_inputs(parse_tx(tracked.raw), tracked):
            spender = self._mempool.spender(OutPoint(prevout))
            if spender is not None and spender not in (txid, relative):
                self._conflicted(txid, tracked, spender, height=-1)
                return
        if tracked.conflict_height < 0:
            self._unseen(txid, tracked)

    def conflicted(self, txid: bytes, by: bytes) -> None:
        """The mempool dropped a transaction because `by` (may be unknown) took an input of it or its ancestor."""
        tracked = self._tracked(txid)
        if tracked is not None:
            self._conflicted(txid, tracked, by, height=-1)

    def contested(self, txid: bytes) -> None:
        """A refused transaction conflicts with this one."""
        tracked = self._tracked(txid)
        if tracked is None:
            return
        for vout in tracked.vouts:
            self._edit(outpoint(txid, vout), contested=True)

    # Blocks

    def connected(self, step: BlockConnected, watched: Mapping[bytes, Watch] | None = None) -> None:
        """A block of the active chain. `watched`: those of its output scripts that are, where known already."""
        received_at = min(self._now, step.block.header.time)
        watch = watched.get if watched is not None else self._watch
        needed = self._needed_outputs()
        for index, tx in enumerate(step.block.txs):
            if index:
                self._conflicts(tx, step.height, needed)
            if watched is not None and not any(output.script_pubkey in watched for output in tx.outputs):
                continue
            coins = step.undo[index - 1] if step.undo is not None and index else None
            if not self._outputs(tx, step, None, coins=coins, received_at=received_at, watch=watch):
                continue
            if needed is None or any(txin.prevout in needed for txin in tx.inputs):
                self._untrack(tx.txid)
        for row, _ in self._txn.iterate(prefix=layout.ripe_key(step.height), keys_only=True):
            self.touch(row[5:].decode())
        for row, _ in list(self._txn.iterate(prefix=layout.forget_key(step.height), keys_only=True)):
            self._txn.delete(row)
            self._untrack(row[5:])

    def disconnected(self, step: BlockDisconnected) -> None:
        """The block is left: its payments are unconfirmed again, and what it conflicted with may return."""
        by_txid = {tx.txid: tx for tx in step.block.txs}
        left: dict[bytes, list[int]] = {}
        for row, _ in list(self._txn.iterate(prefix=layout.in_block_key(step.height), keys_only=True)):
            paid = OutPoint(row[5:])
            left.setdefault(paid.txid, []).append(paid.vout)
        for txid, vouts in left.items():
            tx = by_txid[Txid(txid)]
            # A coinbase dies with its block; anything else may be mined again.
            if not tx.is_coinbase:
                self._track(tx, tuple(sorted(vouts)), in_mempool=False)
            presence = Presence.CONFLICTED if tx.is_coinbase else Presence.UNSEEN
            for vout in vouts:
                self._out_of_block(tx.outpoint(vout), presence)
        for row, _ in list(self._txn.iterate(prefix=layout.clash_key(step.height), keys_only=True)):
            self._txn.delete(row)
            self._unclash(row[5:], step.height)
        for txid in left:
            if not by_txid[Txid(txid)].is_coinbase:
                self.resolve(txid)

    # Claims

    def assign(self, prevout: OutPoint, invoice: Invoice, how: str) -> None:
        """Give a loose payment to an invoice, for ever."""
        loose = self._txn.get_record(layout.loose_key(prevout), Loose)
        assert loose is not None
        info = self._mempool.get(prevout.txid)
        presence = (
            Presence.BLOCK if loose.height >= 0 else Presence.MEMPOOL if info is not None else Presence.UNSEEN
        )
        if loose.conflicted:
            presence = Presence.CONFLICTED
        self._txn.delete(layout.loose_key(prevout))
        self._txn.delete(layout.loose_by_script_key(loose.script, prevout))
        self._txn.delete(layout.loose_by_store_key(invoice.store_id, prevout))
        self._add(
            invoice,
            prevout,
            loose.amount,
            loose.received_at,
            loose.script,
            presence=presence,
            height=loose.height,
            block_hash=loose.block_hash,
            is_coinbase=loose.is_coinbase,
            info=info,
            claimed=how,
        )

    # The end

    def finish(self) -> Outcome:
        """Record what is due and write everything once."""
        outcome = Outcome(rebroadcast=self._rebroadcast)
        for invoice_id, invoice in self._after.items():
            before = self._before.get(invoice_id)
            after = advance(invoice, self.tip, self._now)
            self._wait_for_safety(after)
            written, events = change_invoice(self._txn, before, after, self._now)
            if written is not before:
                outcome.invoices.append(written)
                outcome.events.extend(events)
                outcome.events.extend(note_invoice(self._txn, written, self._now))
        return outcome

    def _wait_for_safety(self, invoice: Invoice) -> None:
        if self.tip.safe:
            return
        careless = replace(self.tip, safe=True)
        if due_transitions(invoice, careless, self._now):
            self._txn.put(layout.waiting_key(invoice.id), b"")

    # Outputs

    def _watch(self, script: bytes) -> Watch | None:
        return self._txn.get_record(layout.watch_key(script), Watch)

    def _claim(self, paid: bytes) -> ClaimRow | None:
        return self._added.get(paid) or self._txn.get_record(layout.claim_key(paid), ClaimRow)

    def _outputs(
        self,
        tx: Tx,
        step: BlockConnected | None,
        info: MempoolTxInfo | None,
        *,
        coins: tuple[Coin, ...] | None,
        received_at: int = 0,
        watch: Callable[[bytes], Watch | None] | None = None,
    ) -> tuple[int, ...]:
        """Record the outputs that pay watched scripts; gives their indexes."""
        vouts = []
        look = watch or self._watch
        for match in match_outputs(tx, look, self.invoice):
            vouts.append(match.vout)
            paid = tx.outpoint(match.vout)
            claim = self._claim(paid)
            if claim is not None:
                self._found_again(claim, step, info)
            elif match.invoice_id is None:
                fixed = look(tx.outputs[match.vout].script_pubkey)
                assert fixed is not None
                self._loose(tx, paid, fixed.store_id, step, coins, received_at or self._now)
            else:
                invoice = self.invoice(match.invoice_id)
                assert invoice is not None, f"a watched script names {match.invoice_id}, which does not exist"
                if self._is_crumb(invoice, paid, tx.outputs[match.vout].amount):
                    self._loose(tx, paid, invoice.store_id, step, coins, received_at or self._now)
                    continue
                self._found(invoice, tx, paid, step, info, received_at or self._now)
        return tuple(vouts)

    def _is_crumb(self, invoice: Invoice, paid: OutPoint, amount: int) -> bool:
        """Whether the output is kept apart from an invoice that has very many payments already.

        Each change of an invoice costs by its payments, so a stranger who pays it in dust would make it slow for
        ever: behind the first hundred a payment must be a thousandth of what the invoice is about.
        """
        count = len(invoice.payments)
        if count < FREE_PAYMENTS:
            return False
        if count >= MAX_PAYMENTS or self._txn.get(layout.loose_key(paid)) is not None:
            return True
        price = effective_price(invoice) or 0
        return amount * invoice.rate * CRUMBS < price * RATE_ONE

    def _found(
        self,
        invoice: Invoice,
        tx: Tx,
        paid: OutPoint,
        step: BlockConnected | None,
        info: MempoolTxInfo | None,
        received_at: int,
    ) -> None:
        output = tx.outputs[paid.vout]
        self._add(
            invoice,
            paid,
            output.amount,
            received_at,
            output.script_pubkey,
            presence=Presence.MEMPOOL if step is None else Presence.BLOCK,
            height=-1 if step is None else step.height,
            block_hash=b"" if step is None else bytes(step.hash),
            is_coinbase=tx.is_coinbase,
            info=info,
            replaces=_replaced(invoice, tx.txid, output.amount),
        )

    def _add(
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
            seen_at=self._now if presence is Presence.MEMPOOL else 0,
            risk=_risk(info) if info is not None else None,
            claimed=claimed,
        )
        next_fee = invoice.next_fee
        if invoice.fee_mode is FeeMode.MULTIPLE and not invoice.payments:
            next_fee = self._rules.payment_fee()
        payments = (*invoice.payments, payment)
        self._added[bytes(paid)] = ClaimRow(invoice.id, payment.number)
        self.put(replace(invoice, payments=payments, payment_count=len(payments), next_fee=next_fee))

    def _found_again(self, claim: ClaimRow, step: BlockConnected | None, info: MempoolTxInfo | None) -> None:
        """A known payment shows up: in a block, or (again) in the mempool."""
        invoice, payment = self._payment(claim)
        if step is not None:
            if payment.presence is not Presence.BLOCK or payment.block_hash != step.hash:
                self._change(
                    invoice,
                    payment,
                    presence=Presence.BLOCK,
                    height=step.height,
                    block_hash=bytes(step.hash),
                    conflict=b"",
                    conflict_height=-1,
                    reorged_at=0,
                    seen_at=0,
                )
        elif payment.presence in (Presence.UNSEEN, Presence.CONFLICTED) and info is not None:
            self._change(
                invoice,
                payment,
                presence=Presence.MEMPOOL,
                conflict=b"",
                conflict_height=-1,
                seen_at=self._now,
                risk=_risk(info),
            )

    def _payment(self, claim: ClaimRow) -> tuple[Invoice, Payment]:
        invoice = self.invoice(claim.invoice_id)
        assert invoice is not None, f"a payment names {claim.invoice_id}, which does not exist"
        return invoice, invoice.payments[claim.number - 1]

    def _change(self, invoice: Invoice, payment: Payment, **changes: object) -> None:
        payments = list(invoice.payments)
        payments[payment.number - 1] = replace(payment, **changes)
        self.put(replace(invoice, payments=tuple(payments)))

    def _edit(self, paid: bytes, **changes: object) -> bool:
        """Change the payment that `paid` is; False where it is none."""
        claim = self._claim(paid)
        if claim is None:
            return False
        invoice, payment = self._payment(claim)
        self._change(invoice, payment, **changes)
        return True

    def _is_in_block(self, paid: bytes) -> bool:
        claim = self._claim(paid)
        if claim is not None:
            return self._payment(claim)[1].presence is Presence.BLOCK
        loose = self._txn.get_record(layout.loose_key(paid), Loose)
        return loose is not None and loose.height >= 0

    def _out_of_block(self, paid: OutPoint, presence: Presence) -> None:
        if self._edit(
            paid, presence=presence, height=-1, block_hash=b"", settled_at=0, reorged_at=self._now, seen_at=0
        ):
            return
        loose = self._txn.get_record(layout.loose_key(paid), Loose)
        if loose is not None:
            self._txn.delete(layout.in_block_key(loose.height, paid))
            gone = replace(loose, height=-1, block_hash=b"", conflicted=presence is Presence.CONFLICTED)
            self._txn.put_record(layout.loose_key(paid), gone)

    # Loose payments

    def _loose(
        self,
        tx: Tx,
        paid: OutPoint,
        store_id: str,
        step: BlockConnected | None,
        coins: tuple[Coin, ...] | None,
        received_at: int,
    ) -> None:
        old = self._txn.get_record(layout.loose_key(paid), Loose)
        if step is None and old is not None and old.height >= 0:
            return
        output = tx.outputs[paid.vout]
        loose = Loose(
            output.script_pubkey,
            output.amount,
            old.received_at if old is not None else received_at,
            -1 if step is None else step.height,
            b"" if step is None else bytes(step.hash),
            tx.is_coinbase,
            old.input_scripts if old is not None else self._input_scripts(tx, coins),
            in_mempool=step is None,
        )
        self._txn.put_record(layout.loose_key(paid), loose)
        self._txn.put(layout.loose_by_script_key(loose.script, paid), b"")
        self._txn.put(layout.loose_by_store_key(store_id, paid), b"")
        if step is not None:
            self._txn.put(layout.in_block_key(step.height, paid), b"")

    def _input_scripts(self, tx: Tx, coins: tuple[Coin, ...] | None) -> tuple[bytes, ...]:
        """What the inputs were paid to; empty when not all of them are known."""
        if tx.is_coinbase:
            return ()
        if coins is not None:
            return tuple(coin.script_pubkey for coin in coins)
        scripts = []
        for txin in tx.inputs:
            parent = self._mempool.get(txin.prevout.txid)
            coin = self._rules.coin(txin.prevout)
            if parent is not None and txin.prevout.vout < len(parent.tx.outputs):
                scripts.append(parent.tx.outputs[txin.prevout.vout].script_pubkey)
            elif coin is not None:
                scripts.append(coin.script_pubkey)
            else:
                return ()
        return tuple(scripts)

    # Unconfirmed transactions

    def _tracked(self, txid: bytes) -> Tracked | None:
        return self._txn.get_record(layout.tracked_key(txid), Tracked)

    def _track(self, tx: Tx, vouts: tuple[int, ...], *, in_mempool: bool) -> None:
        tracked = Tracked(tx.raw, vouts, in_mempool, -1, self._ancestor_inputs(tx))
        before = self._tracked(tx.txid)
        if before == tracked:
            return
        if before is not None:
            self._untrack(tx.txid)
        self._txn.put_record(layout.tracked_key(tx.txid), tracked)
        for prevout, spender in _watched_inputs(tx, tracked):
            row = layout.spends_key(prevout)
            self._txn.put(row, (self._txn.get(row) or b"") + tx.txid + spender)
            if self._needed is not None:
                self._needed.add(bytes(prevout))

    def _ancestor_inputs(self, tx: Tx) -> tuple[bytes, ...]:
        """What the unconfirmed ancestors spend: who takes that takes the payment too."""
        found: list[bytes] = []
        waiting, seen = [tx], {tx.txid}
        while waiting and len(found) < MAX_ANCESTOR_INPUTS:
            for parent_id in {txin.prevout.txid for txin in waiting.pop().inputs} - seen:
                info = self._mempool.get(parent_id)
                seen.add(parent_id)
                if info is not None:
                    found += [bytes(txin.prevout) + parent_id for txin in info.tx.inputs]
                    waiting.append(info.tx)
        return tuple(sorted(found))

    def _untrack(self, txid: bytes) -> None:
        tracked = self._tracked(txid)
        if tracked is None:
            return
        self._txn.delete(layout.tracked_key(txid))
        for prevout, _ in _watched_inputs(parse_tx(tracked.raw), tracked):
            row = layout.spends_key(prevout)
            others = b"".join(one + by for one, by in _pairs(self._txn.get(row) or b"") if one != txid)
            if others:
                self._txn.put(row, others)
            else:
                self._txn.delete(row)

    def _conflicts(self, tx: Tx, height: int, needed: set[bytes] | None = None) -> None:
        """`tx` takes its inputs: tracked transactions that need one of them cannot confirm beside it.

        `needed` is what tracked transactions need, or more; without it the database is asked.
        """
        for txin in tx.inputs:
            if needed is not None and txin.prevout not in needed:
                continue
            rows = self._txn.get(layout.spends_key(txin.prevout))
            if rows is None:
                continue
            for txid, spender in _pairs(rows):
                tracked = self._tracked(txid) if tx.txid not in (txid, spender) else None
                if tracked is not None:
                    self._conflicted(txid, tracked, tx.txid, height)

    def _needed_outputs(self) -> set[bytes] | None:
        """What tracked transactions need, read once for all blocks; None where it is too much to be held.

        Most inputs of a block take nothing of it: a look at a set instead of one into the database.
        """
        if not self._has_read_needed:
            self._has_read_needed = True
            rows = self._txn.iterate(prefix=layout.spends_key(b""), keys_only=True)
            found = {row[1:] for row, _ in islice(rows, MAX_NEEDED + 1)}
            self._needed = found if len(found) <= MAX_NEEDED else None
        return self._needed

    def freed(self, tx: Tx) -> None:
        """`tx` has left the mempool unconfirmed: what it had taken the place of may return."""
        for txin in tx.inputs:
            for txid, _ in _pairs(self._txn.get(layout.spends_key(txin.prevout)) or b""):
                tracked = self._tracked(txid) if txid != tx.txid else None
                if tracked is None or tracked.conflict_height >= 0:
                    continue
                claim = self._claim(outpoint(txid, tracked.vouts[0]))
                if claim is not None and self._payment(claim)[1].conflict == tx.txid:
                    for vout in tracked.vouts:
                        self._set_conflict(outpoint(txid, vout), Presence.UNSEEN, b"", -1)
                    self.resolve(txid)

    def _conflicted(self, txid: bytes, tracked: Tracked, by: bytes, height: int) -> None:
        if height < 0 <= tracked.conflict_height:
            return  # a block has decided
        if height >= 0:
            self._txn.put(layout.clash_key(height, txid), b"")
            self._txn.put(layout.forget_key(height + FORGET_DEPTH, txid), b"")
        after = replace(tracked, in_mempool=False, conflict_height=height)
        if after != tracked:
            self._txn.put_record(layout.tracked_key(txid), after)
        for vout in tracked.vouts:
            self._set_conflict(outpoint(txid, vout), Presence.CONFLICTED, by, height)

    def _set_conflict(self, paid: bytes, presence: Presence, by: bytes, height: int) -> None:
        if self._edit(paid, presence=presence, conflict=by, conflict_height=height, seen_at=0, settled_at=0):
            return
        loose = self._txn.get_record(layout.loose_key(paid), Loose)
        if loose is not None:
            gone = presence is Presence.CONFLICTED
            self._txn.put_record(layout.loose_key(paid), replace(loose, conflicted=gone, in_mempool=False))

    def _unclash(self, txid: bytes, height: int) -> None:
        """The block that had the conflicting transaction is left."""
        tracked = self._tracked(txid)
        if tracked is None or tracked.conflict_height != height:
            return
        self._txn.delete(layout.forget_key(height + FORGET_DEPTH, txid))
        self._txn.put_record(layout.tracked_key(txid), replace(tracked, conflict_height=-1))
        for vout in tracked.vouts:
            self._set_conflict(outpoint(txid, vout), Presence.UNSEEN, b"", -1)
        self.resolve(txid)

    def _unseen(self, txid: bytes, tracked: Tracked) -> None:
        """It left the mempool, or was never in it, and nothing is known to conflict with it."""
        if tracked.in_mempool:
            self._txn.put_record(layout.tracked_key(txid), replace(tracked, in_mempool=False))
        is_wanted = False
        for vout in tracked.vouts:
            claim = self._claim(outpoint(txid, vout))
            if claim is None:
                continue
            invoice, payment = self._payment(claim)
            if payment.presence is Presence.MEMPOOL:
                self._change(invoice, payment, presence=Presence.UNSEEN, seen_at=0)
            is_wanted = is_wanted or payment.accounted
        if is_wanted:
            self._rebroadcast.append(tracked.raw)


def _replaced(invoice: Invoice, by: bytes, amount: int) -> Payment | None:
    """The payment whose place `by` takes. Of several, each put in the place of the one before: the earliest that
    brought as much, for as long as the payer brings no more he has paid in time."""
    gone = [p for p in invoice.payments if p.conflict == by and not p.accounted]
    enough = [p for p in gone if p.amount >= amount]
    return min(enough or gone, key=lambda p: p.received_at, default=None)


def _watched_inputs(tx: Tx, tracked: Tracked) -> Iterator[tuple[bytes, bytes]]:
    """Outputs that the transaction needs, each with who of its family spends it."""
    for txin in tx.inputs:
        yield txin.prevout, tx.txid
    for row in tracked.ancestors:
        yield row[:36], row[36:]


def _pairs(rows: bytes) -> Iterator[tuple[bytes, bytes]]:
    return ((rows[at : at + 32], rows[at + 32 : at + 64]) for at in range(0, len(rows), 64))


def _risk(info: MempoolTxInfo) -> Risk:
    feerate = info.fee * 1000 // max(1, info.vsize)
    return Risk(info.signals_replacement, feerate, len(info.ancestors))
