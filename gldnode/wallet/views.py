"""What the wallet says about its money: balances and who paid what in a transaction (Core: wallet/receive.cpp)."""

from dataclasses import dataclass

from gldnode.primitives.tx import TxOut
from gldnode.wallet.ledger import WalletTx
from gldnode.wallet.wallet import Wallet

__all__ = ["Balances", "Entry", "balances", "entries"]


@dataclass(frozen=True, slots=True)
class Balances:
    """In grains."""

    trusted: int
    """Confirmed, or own unconfirmed change."""
    untrusted_pending: int
    immature: int


def balances(wallet: Wallet, *, min_depth: int = 0) -> Balances:
    """The wallet's money (Core: GetBalance)."""
    ledger = wallet.ledger
    trusted = pending = immature = 0
    verdicts: dict[bytes, tuple[bool, int]] = {}
    for _, output, wtx in ledger.unspent():
        verdict = verdicts.get(wtx.txid)
        if verdict is None:
            verdict = verdicts[wtx.txid] = ledger.is_trusted(wtx), ledger.depth(wtx)
        is_trusted, depth = verdict
        if wtx.tx.is_coinbase and ledger.blocks_to_maturity(wtx) > 0:
            if depth > 0:
                immature += output.amount
        elif is_trusted and depth >= min_depth:
            trusted += output.amount
        elif not is_trusted and depth == 0 and wtx.txid in ledger.in_mempool:
            pending += output.amount
    return Balances(trusted, pending, immature)


@dataclass(frozen=True, slots=True)
class Entry:
    """One output of a wallet transaction, as paid or as received."""

    category: str
    """send, receive, generate, immature or orphan."""
    vout: int
    output: TxOut
    amount: int
    """Negative for what was sent."""
    label: str


def entries(wallet: Wallet, wtx: WalletTx) -> tuple[list[Entry], list[Entry], int]:
    """Sent and received outputs, and the fee when the wallet paid it (Core: CachedTxGetAmounts)."""
    ledger = wallet.ledger
    tx = wtx.tx
    debit = ledger.debit(tx)
    fee = debit - sum(output.amount for output in tx.outputs) if debit and ledger.is_all_from_me(tx) else 0
    sent: list[Entry] = []
    received: list[Entry] = []
    for vout, output in enumerate(tx.outputs):
        label = ledger.labels.get(output.script_pubkey)
        text = label.label if label is not None else ""
        mine = ledger.is_mine(output.script_pubkey)
        if debit and ledger.is_change(output.script_pubkey):
            continue
        if debit:
            sent.append(Entry("send", vout, output, -output.amount, text))
        if mine:
            received.append(Entry(_received_category(wallet, wtx), vout, output, output.amount, text))
    return sent, received, fee


def _received_category(wallet: Wallet, wtx: WalletTx) -> str:
    if not wtx.tx.is_coinbase:
        return "receive"
    if wallet.ledger.depth(wtx) < 1:
        return "orphan"
    return "immature" if wallet.ledger.blocks_to_maturity(wtx) > 0 else "generate"
