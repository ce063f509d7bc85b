"""Replacing an unconfirmed payment by one with a higher fee (Core: wallet/feebumper.cpp)."""

from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import Tx
from gldnode.wallet.builder import Built, Recipient
from gldnode.wallet.errors import WalletError, WalletFault
from gldnode.wallet.fees import feerate_fee
from gldnode.wallet.ledger import WalletTx
from gldnode.wallet.spending import SpendOptions, commit, create_transaction, sign_with_wallet
from gldnode.wallet.wallet import Wallet

__all__ = ["bump_fee", "draft_bump"]

_WALLET_INCREMENTAL = 5_000  # Core: WALLET_INCREMENTAL_RELAY_FEE, grains per kvB


def _check(wallet: Wallet, wtx: WalletTx) -> None:
    ledger = wallet.ledger
    if any(ledger.txs[child].spends for child in ledger.children(wtx)):
        raise WalletError(WalletFault.INVALID_PARAMETER, "Transaction has descendants in the wallet")
    info = wallet.host.mempool.get(wtx.txid)
    for vout in range(len(wtx.tx.outputs)):
        if info is not None and wallet.host.mempool.spender(wtx.tx.outpoint(vout)) is not None:
            raise WalletError(WalletFault.INVALID_PARAMETER, "Transaction has descendants in the mempool")
    if ledger.depth(wtx) != 0 or wtx.record.is_abandoned:
        raise WalletError(
            WalletFault.WALLET, "Transaction has been mined, or is conflicted with a mined transaction"
        )
    if wtx.record.replaced_by:
        raise WalletError(
            WalletFault.WALLET,
            f"Cannot bump transaction {wtx.txid[::-1].hex()} which was already bumped by transaction "
            f"{wtx.record.replaced_by[::-1].hex()}",
        )
    if not ledger.is_all_from_me(wtx.tx):
        raise WalletError(WalletFault.WALLET, "Transaction contains inputs that don't belong to this wallet")


def draft_bump(wallet: Wallet, txid: bytes, options: SpendOptions) -> tuple[Built, int]:
    """The replacement, not signed yet, and the old fee; `options` are completed. Raises WalletError."""
    ledger = wallet.ledger
    wtx = ledger.txs.get(Txid(txid))
    if wtx is None:
        raise WalletError(WalletFault.INVALID_ADDRESS_OR_KEY, "Invalid or non-wallet transaction id")
    _check(wallet, wtx)
    old = wtx.tx
    old_fee = ledger.debit(old) - sum(output.amount for output in old.outputs)
    old_feerate = old_fee * 1000 // old.vsize
    step = max(wallet.fees.incremental, _WALLET_INCREMENTAL)
    if options.feerate is None:
        chosen, _ = wallet.fees.choose(wallet.host.mempool, options.conf_target)
        options.feerate = max(old_feerate + 1 + step, chosen)
    _check_feerate(wallet, old, old_fee, options.feerate)
    change = [output for output in old.outputs if ledger.is_change(output.script_pubkey)]
    recipients = [
        Recipient(output.script_pubkey, output.amount)
        for output in old.outputs
        if not change or output != change[-1]
    ]
    if change:
        options.change_script = change[-1].script_pubkey
    if not recipients:  # all went to our own change: pay it there again, less the new fee
        recipients = [Recipient(change[-1].script_pubkey, change[-1].amount, pays_fee=True)]
    options.inputs = [txin.prevout for txin in old.inputs]
    options.min_depth = 1  # a replacement must not bring in new unconfirmed inputs
    options.comment, options.to = wtx.record.comment, wtx.record.to
    return create_transaction(wallet, recipients, options), old_fee


async def bump_fee(wallet: Wallet, txid: bytes, options: SpendOptions) -> tuple[Tx, int, int]:
    """The replacement, signed and sent, the old fee and the new one. Raises WalletError."""
    async with wallet.lock:
        wallet.require_unlocked()
        built, old_fee = draft_bump(wallet, txid, options)
        tx, errors = sign_with_wallet(wallet, built.tx, built.spent)
        if errors:
            raise WalletError(WalletFault.WALLET, "Can't sign transaction.")
        await commit(wallet, tx, options, replaces=Txid(txid))
        return tx, old_fee, built.fee


def _check_feerate(wallet: Wallet, old: Tx, old_fee: int, feerate: int) -> None:
    minimum = wallet.host.mempool.min_feerate_per_kvb()
    if feerate < minimum:
        raise WalletError(
            WalletFault.WALLET,
            f"New fee rate ({_coins(feerate)}) is lower than the minimum fee rate ({_coins(minimum)}) to get into "
            "the mempool -- ",
        )
    new_fee = feerate_fee(feerate, old.vsize)
    least = old_fee + feerate_fee(wallet.fees.incremental, old.vsize)
    if new_fee < least:
        raise WalletError(
            WalletFault.INVALID_PARAMETER,
            f"Insufficient total fee {_coins(new_fee)}, must be at least {_coins(least)} "
            f"(oldFee {_coins(old_fee)}, incrementalFee {_coins(least - old_fee)})",
        )
    if new_fee > wallet.fees.max_tx_fee:
        raise WalletError(
            WalletFault.WALLET,
            f"Specified or calculated fee {_coins(new_fee)} is too high (cannot be higher than -maxtxfee "
            f"{_coins(wallet.fees.max_tx_fee)})",
        )


def _coins(grains: int) -> str:
    return f"{grains // 100_000_000}.{grains % 100_000_000:08d}"
