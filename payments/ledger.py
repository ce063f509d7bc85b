"""The engine's books: what chain and mempool show becomes facts of invoices, within one transaction.

A `Ledger` lives as long as one transaction's function. It gathers the invoices that the facts touch, lets each
record what has become due, and writes each once at the end. It never waits and looks at nothing but the
transaction, what it is given and the mempool's present state. What may touch thousands of invoices comes in
pieces, for `transact_in_turns`.
"""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from gldnode.events import BlockConnected, BlockDisconnected
from gldnode.ports import MempoolTxInfo, MempoolView
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import OutPoint, Tx, outpoint, parse_tx
from payments import layout
from payments.books import Books, LedgerRules, Outcome, risk_of
from payments.invoice import Invoice, Payment, Presence, TipFacts, effective_price
from payments.layout import ClaimRow, Tracked, Watch
from payments.loose import LoosePayments
from payments.matching import match_outputs
from payments.money import RATE_ONE
from payments.tracking import Tracker, watched_inputs
from storage.database import Txn
from storage.turns import Pieces

__all__ = ["Ledger", "keys_of"]

FORGET_DEPTH = 144
"""How deep a conflicting transaction must be before the one it replaced is forgotten."""
FREE_PAYMENTS = 100
"""So many payments of any size an invoice takes."""
CRUMBS = 1000
"""Into how many parts a price may be broken behind that."""
MAX_PAYMENTS = 2000
TXS_AT_ONCE = 50
"""Of a block, when they pay nobody here."""
ROWS_AT_ONCE = 100


class Ledger(Books):
    """One transaction's books, with the facts that arrive in it."""

    def __init__(self, txn: Txn, mempool: MempoolView, rules: LedgerRules, tip: TipFacts, now: int) -> None:
        super().__init__(txn, rules, tip, now)
        self._mempool = mempool
        self._tracker = Tracker(txn, mempool)
        self._loose = LoosePayments(txn, mempool, rules.coin)
        self._rebroadcast: list[bytes] = []

    def finish_in_turns(self) -> Pieces[Outcome]:
        outcome = yield from super().finish_in_turns()
        outcome.rebroadcast = self._rebroadcast
        return outcome

    # Mempool

    def seen(self, info: MempoolTxInfo) -> Pieces[None]:
        """A transaction is in the mempool."""
        tx = info.tx
        self._conflicts(tx, height=-1)
        vouts = yield from self._outputs(tx, None, info, coins=None)
        # The mempool may still hold what a block that is booked already has.
        if vouts and not self._is_in_block(tx.outpoint(vouts[0])):
            self._tracker.track(tx, vouts, in_mempool=True)

    def resolve(self, txid: bytes) -> Pieces[None]:
        """Ask the mempool where a tracked transaction is, and record it."""
        tracked = self._tracker.get(txid)
        if tracked is None:
            return
        info = self._mempool.get(Txid(txid))
        if info is not None:
            yield from self.seen(info)
            return
        for prevout, relative in watched_inputs(parse_tx(tracked.raw), tracked):
            spender = self._mempool.spender(OutPoint(prevout))
            if spender is not None and spender not in (txid, relative):
                self._conflicted(txid, tracked, spender, height=-1)
                return
        if tracked.conflict_height < 0:
            self._unseen(txid, tracked)

    def conflicted(self, txid: bytes, by: bytes) -> None:
        """The mempool dropped a transaction because `by` (may be unknown) took an input of it or its ancestor."""
        tracked = self._tracker.get(txid)
        if tracked is not None:
            self._conflicted(txid, tracked, by, height=-1)

    def contested(self, txid: bytes) -> None:
        """A refused transaction conflicts with this one."""
        tracked = self._tracker.get(txid)
        if tracked is None:
            return
        for vout in tracked.vouts:
            self.edit(outpoint(txid, vout), contested=True)

    # Blocks

    def connected(self, step: BlockConnected, watched: Mapping[bytes, Watch] | None = None) -> Pieces[None]:
        """A block of the active chain. `watched`: those of its output scripts that are, where known already."""
        received_at = min(self.now, step.block.header.time)
        watch = watched.get if watched is not None else self._watch
        needed = yield from self._tracker.needed_outputs()
        for index, tx in enumerate(step.block.txs):
            if index % TXS_AT_ONCE == 0:
                yield
            if index:
                self._conflicts(tx, step.height, needed)
            if watched is not None and not any(output.script_pubkey in watched for output in tx.outputs):
                continue
            coins = step.undo[index - 1] if step.undo is not None and index else None
            vouts = yield from self._outputs(tx, step, None, coins=coins, received_at=received_at, watch=watch)
            if vouts and (needed is None or any(txin.prevout in needed for txin in tx.inputs)):
                self._tracker.untrack(tx.txid)
        for row, _ in self._txn.iterate(prefix=layout.ripe_key(step.height), keys_only=True):
            self.touch(row[5:].decode())
            yield
        for row in (yield from keys_of(self._txn, layout.forget_key(step.height))):
            self._txn.delete(row)
            self._tracker.untrack(row[5:])
            yield

    def disconnected(self, step: BlockDisconnected) -> Pieces[None]:
        """The block is left: its payments are unconfirmed again, and what it conflicted with may return."""
        left: dict[bytes, list[int]] = {}
        for row in (yield from keys_of(self._txn, layout.in_block_key(step.height))):
            paid = OutPoint(row[5:])
            left.setdefault(paid.txid, []).append(paid.vout)
        by_txid = {tx.txid: tx for tx in step.block.txs}
        yield
        for txid, vouts in left.items():
            tx = by_txid[Txid(txid)]
            # A coinbase dies with its block; anything else may be mined again.
            if not tx.is_coinbase:
                self._tracker.track(tx, tuple(sorted(vouts)), in_mempool=False)
            presence = Presence.CONFLICTED if tx.is_coinbase else Presence.UNSEEN
            for vout in vouts:
                self._out_of_block(tx.outpoint(vout), presence)
                yield
        for row in (yield from keys_of(self._txn, layout.clash_key(step.height))):
            self._txn.delete(row)
            yield from self._unclash(row[5:], step.height)
        for txid in left:
            if not by_txid[Txid(txid)].is_coinbase:
                yield from self.resolve(txid)

    # Claims

    def assign(self, prevout: OutPoint, invoice: Invoice, how: str) -> None:
        """Give a loose payment to an invoice, for ever."""
        loose = self._loose.take(prevout, invoice.store_id)
        info = self._mempool.get(prevout.txid)
        presence = (
            Presence.BLOCK if loose.height >= 0 else Presence.MEMPOOL if info is not None else Presence.UNSEEN
        )
        if loose.conflicted:
            presence = Presence.CONFLICTED
        self.add(
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

    # Outputs

    def _watch(self, script: bytes) -> Watch | None:
        return self._txn.get_record(layout.watch_key(script), Watch)

    def _outputs(
        self,
        tx: Tx,
        step: BlockConnected | None,
        info: MempoolTxInfo | None,
        *,
        coins: tuple[Coin, ...] | None,
        received_at: int = 0,
        watch: Callable[[bytes], Watch | None] | None = None,
    ) -> Pieces[tuple[int, ...]]:
        """Record the outputs that pay watched scripts; gives their indexes."""
        vouts = []
        look = watch or self._watch
        for match in match_outputs(tx, look, self.invoice):
            yield
            vouts.append(match.vout)
            paid = tx.outpoint(match.vout)
            claim = self.claim(paid)
            if claim is not None:
                self._found_again(claim, step, info)
            elif match.invoice_id is None:
                fixed = look(tx.outputs[match.vout].script_pubkey)
                assert fixed is not None
                self._loose.add(tx, paid, fixed.store_id, step, coins, received_at or self.now)
            else:
                invoice = self.invoice(match.invoice_id)
                assert invoice is not None, f"a watched script names {match.invoice_id}, which does not exist"
                if self._is_crumb(invoice, paid, tx.outputs[match.vout].amount):
                    self._loose.add(tx, paid, invoice.store_id, step, coins, received_at or self.now)
                    continue
                self._found(invoice, tx, paid, step, info, received_at or self.now)
        return tuple(vouts)

    def _is_crumb(self, invoice: Invoice, paid: OutPoint, amount: int) -> bool:
        """Whether the output is kept apart from an invoice that has very many payments already.

        Each change of an invoice costs by its payments, so a stranger who pays it in dust would make it slow for
        ever: behind the first hundred a payment must be a thousandth of what the invoice is about.
        """
        count = len(invoice.payments)
        if count < FREE_PAYMENTS:
            return False
        if count >= MAX_PAYMENTS or self._loose.get(paid) is not None:
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
        self.add(
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

    def _found_again(self, claim: ClaimRow, step: BlockConnected | None, info: MempoolTxInfo | None) -> None:
        """A known payment shows up: in a block, or (again) in the mempool."""
        invoice, payment = self.payment(claim)
        if step is not None:
            if payment.presence is not Presence.BLOCK or payment.block_hash != step.hash:
                self.change(
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
            self.change(
                invoice,
                payment,
                presence=Presence.MEMPOOL,
                conflict=b"",
                conflict_height=-1,
                seen_at=self.now,
                risk=risk_of(info),
            )

    def _is_in_block(self, paid: bytes) -> bool:
        claim = self.claim(paid)
        if claim is not None:
            return self.payment(claim)[1].presence is Presence.BLOCK
        loose = self._loose.get(paid)
        return loose is not None and loose.height >= 0

    def _out_of_block(self, paid: OutPoint, presence: Presence) -> None:
        if self.edit(
            paid, presence=presence, height=-1, block_hash=b"", settled_at=0, reorged_at=self.now, seen_at=0
        ):
            return
        self._loose.leave_block(paid, conflicted=presence is Presence.CONFLICTED)

    # Unconfirmed transactions

    def _conflicts(self, tx: Tx, height: int, needed: set[bytes] | None = None) -> None:
        """`tx` takes its inputs: tracked transactions that need one of them cannot confirm beside it.

        `needed` is what tracked transactions need, or more; without it the database is asked.
        """
        for txin in tx.inputs:
            if needed is not None and txin.prevout not in needed:
                continue
            for txid, spender in self._tracker.needing(txin.prevout):
                tracked = self._tracker.get(txid) if tx.txid not in (txid, spender) else None
                if tracked is not None:
                    self._conflicted(txid, tracked, tx.txid, height)

    def freed(self, tx: Tx) -> Pieces[None]:
        """`tx` has left the mempool unconfirmed: what it had taken the place of may return."""
        for txin in tx.inputs:
            for txid, _ in self._tracker.needing(txin.prevout):
                tracked = self._tracker.get(txid) if txid != tx.txid else None
                if tracked is None or tracked.conflict_height >= 0:
                    continue
                claim = self.claim(outpoint(txid, tracked.vouts[0]))
                if claim is not None and self.payment(claim)[1].conflict == tx.txid:
                    for vout in tracked.vouts:
                        self._set_conflict(outpoint(txid, vout), Presence.UNSEEN, b"", -1)
                    yield from self.resolve(txid)

    def _conflicted(self, txid: bytes, tracked: Tracked, by: bytes, height: int) -> None:
        if height < 0 <= tracked.conflict_height:
            return  # a block has decided
        if height >= 0:
            self._txn.put(layout.clash_key(height, txid), b"")
            self._txn.put(layout.forget_key(height + FORGET_DEPTH, txid), b"")
        after = replace(tracked, in_mempool=False, conflict_height=height)
        if after != tracked:
            self._tracker.put(txid, after)
        for vout in tracked.vouts:
            self._set_conflict(outpoint(txid, vout), Presence.CONFLICTED, by, height)

    def _set_conflict(self, paid: bytes, presence: Presence, by: bytes, height: int) -> None:
        if self.edit(paid, presence=presence, conflict=by, conflict_height=height, seen_at=0, settled_at=0):
            return
        self._loose.set_conflicted(paid, presence is Presence.CONFLICTED)

    def _unclash(self, txid: bytes, height: int) -> Pieces[None]:
        """The block that had the conflicting transaction is left."""
        tracked = self._tracker.get(txid)
        if tracked is None or tracked.conflict_height != height:
            return
        self._txn.delete(layout.forget_key(height + FORGET_DEPTH, txid))
        self._tracker.put(txid, replace(tracked, conflict_height=-1))
        for vout in tracked.vouts:
            self._set_conflict(outpoint(txid, vout), Presence.UNSEEN, b"", -1)
            yield
        yield from self.resolve(txid)

    def _unseen(self, txid: bytes, tracked: Tracked) -> None:
        """It left the mempool, or was never in it, and nothing is known to conflict with it."""
        if tracked.in_mempool:
            self._tracker.put(txid, replace(tracked, in_mempool=False))
        is_wanted = False
        for vout in tracked.vouts:
            claim = self.claim(outpoint(txid, vout))
            if claim is None:
                continue
            invoice, payment = self.payment(claim)
            if payment.presence is Presence.MEMPOOL:
                self.change(invoice, payment, presence=Presence.UNSEEN, seen_at=0)
            is_wanted = is_wanted or payment.accounted
        if is_wanted:
            self._rebroadcast.append(tracked.raw)


def keys_of(txn: Txn, prefix: bytes) -> Pieces[list[bytes]]:
    """The keys that begin with `prefix`, which may be changed then."""
    found: list[bytes] = []
    for row, _ in txn.iterate(prefix=prefix, keys_only=True):
        found.append(row)
        if len(found) % ROWS_AT_ONCE == 0:
            yield
    return found


def _replaced(invoice: Invoice, by: bytes, amount: int) -> Payment | None:
    """The payment whose place `by` takes. Of several, each put in the place of the one before: the earliest that
    brought as much, for as long as the payer brings no more he has paid in time."""
    gone = [p for p in invoice.payments if p.conflict == by and not p.accounted]
    enough = [p for p in gone if p.amount >= amount]
    return min(enough or gone, key=lambda p: p.received_at, default=None)
