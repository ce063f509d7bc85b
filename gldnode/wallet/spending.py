"""Paying from a wallet: which coins may be spent, building, signing, recording and sending."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gldnode.descriptors import DescriptorError
from gldnode.errors import Reject
from gldnode.primitives.coin import MEMPOOL_HEIGHT, Coin
from gldnode.primitives.hashes import hash160
from gldnode.primitives.tx import OutPoint, Tx, TxOut
from gldnode.wallet.builder import Built, Recipient, SpendableCoin, Terms, build
from gldnode.wallet.errors import WalletError, WalletFault
from gldnode.wallet.fees import feerate_fee
from gldnode.wallet.layout import TxRecord
from gldnode.wallet.signing import SigningKeys, sign_transaction
from gldnode.wallet.sizes import input_weight
from gldnode.wallet.wallet import Wallet

__all__ = [
    "SpendOptions",
    "WalletCoin",
    "coin_of",
    "commit",
    "create_transaction",
    "fund",
    "list_coins",
    "pay",
    "pay_all",
    "sign_with_wallet",
    "signing_keys",
]

_ANTI_SNIPING_AGE_S = 8 * 3600
_CHANGE_WEIGHT = {"legacy": 592, "p2sh-segwit": 364, "bech32": 272, "bech32m": 230}


@dataclass(frozen=True, slots=True)
class WalletCoin:
    """An unspent output of the wallet."""

    prevout: OutPoint
    output: TxOut
    depth: int
    is_safe: bool
    """Confirmed, or unconfirmed change of trusted coins (Core: safe)."""
    is_coinbase: bool


@dataclass(slots=True)
class SpendOptions:
    """What a caller may choose about a payment (Core: CCoinControl)."""

    feerate: int | None = None
    """Grains per kvB; None estimates."""
    conf_target: int | None = None
    replaceable: bool | None = None
    change_script: bytes | None = None
    change_type: str | None = None
    change_position: int | None = None
    inputs: Sequence[OutPoint] = ()
    """Coins that must be spent."""
    add_inputs: bool = True
    include_unsafe: bool = False
    min_depth: int = 0
    max_depth: int = 9_999_999
    lock_time: int | None = None
    version: int = 2
    sequences: dict[OutPoint, int] = field(default_factory=dict)
    external: dict[OutPoint, tuple[TxOut, int]] = field(default_factory=dict)
    """Inputs that are not the wallet's, with the weight each will have."""
    comment: str = ""
    to: str = ""


def list_coins(
    wallet: Wallet,
    *,
    min_depth: int = 0,
    max_depth: int = 9_999_999,
    unsafe: bool = False,
    include_immature: bool = False,
) -> list[WalletCoin]:
    """Unspent, mature coins that are not locked (Core: AvailableCoins)."""
    ledger = wallet.ledger
    found: list[WalletCoin] = []
    trusted: dict[bytes, bool] = {}
    for prevout, output, wtx in ledger.unspent():
        depth = ledger.depth(wtx)
        if depth < 0 or not min_depth <= depth <= max_depth or prevout in ledger.locked:
            continue
        if depth == 0 and wtx.txid not in ledger.in_mempool:
            continue
        if wtx.tx.is_coinbase and not include_immature and ledger.blocks_to_maturity(wtx) > 0:
            continue
        if wtx.txid not in trusted:
            safe = ledger.is_trusted(wtx)
            # A replacement may drop what is spent here.
            if depth == 0 and (wtx.record.replaces or wtx.record.replaced_by):
                safe = False
            trusted[wtx.txid] = safe
        is_safe = trusted[wtx.txid]
        if not is_safe and not unsafe:
            continue
        found.append(WalletCoin(prevout, output, depth, is_safe, wtx.tx.is_coinbase))
    return found


def spendable(wallet: Wallet, prevout: OutPoint, output: TxOut) -> SpendableCoin | None:
    """The coin with the weight of its signed input; None where the wallet cannot sign for it."""
    found = wallet.ledger.keychain_of(output.script_pubkey)
    if found is None:
        return None
    keychain, index = found
    try:
        expansion = keychain.expand(index)
    except DescriptorError:
        return None
    hashes = {hash160(key.pubkey): key.pubkey for key in expansion.keys}
    weight = input_weight(output.script_pubkey, expansion, hashes)
    return None if weight is None else SpendableCoin(prevout, output, weight)


def _preset(wallet: Wallet, options: SpendOptions) -> list[SpendableCoin]:
    coins = []
    for prevout in options.inputs:
        if prevout in options.external:
            output, weight = options.external[prevout]
            coins.append(SpendableCoin(prevout, output, weight))
            continue
        mine = wallet.ledger.output(prevout)
        if mine is None:
            raise WalletError(WalletFault.WALLET, f"Not found pre-selected input {prevout!r}")
        coin = spendable(wallet, prevout, mine)
        if coin is None:
            raise WalletError(
                WalletFault.WALLET,
                "Not solvable pre-selected input " + f"{prevout!r}",
            )
        coins.append(coin)
    return coins


def _candidates(wallet: Wallet, options: SpendOptions) -> list[SpendableCoin]:
    pool = list_coins(
        wallet, min_depth=options.min_depth, max_depth=options.max_depth, unsafe=options.include_unsafe
    )
    if not wallet.fees.spend_unconfirmed_change:
        pool = [coin for coin in pool if coin.depth > 0]
    # Confirmed coins first; unconfirmed change only when they do not suffice is the builder's caller's choice.
    found = (spendable(wallet, coin.prevout, coin.output) for coin in pool)
    return [coin for coin in found if coin is not None]


def feerate_for(wallet: Wallet, options: SpendOptions) -> int:
    """The feerate to use. Raises WalletError with Core's sentences."""
    required = max(wallet.fees.required, wallet.host.mempool.min_feerate_per_kvb())
    if options.feerate is not None:
        if options.feerate < wallet.fees.required:
            raise WalletError(
                WalletFault.INSUFFICIENT_FUNDS,
                f"Fee rate ({_per_vb(options.feerate)} {_ATOM}/vB) is lower than the minimum fee rate setting "
                f"({_per_vb(required)} {_ATOM}/vB)",
            )
        return options.feerate
    feerate, _ = wallet.fees.choose(wallet.host.mempool, options.conf_target)
    if not feerate:
        raise WalletError(
            WalletFault.INSUFFICIENT_FUNDS,
            "Fee estimation failed. Fallbackfee is disabled. Wait a few blocks or enable -fallbackfee.",
        )
    return feerate


_ATOM = "sat"


def _per_vb(feerate: int) -> str:
    return f"{feerate // 1000}.{feerate % 1000:03d}"


def _change(wallet: Wallet, recipients: Sequence[Recipient], options: SpendOptions) -> tuple[bytes | None, int]:
    """Change script and the weight of its later input; no script where the wallet has no addresses for change.

    Of the recipients' kind where that hides it better.
    """
    if options.change_script is not None:
        return options.change_script, _CHANGE_WEIGHT["bech32"]
    kind = options.change_type or wallet.host.option("changetype")
    if kind is None:
        pays_taproot = any(recipient.script[:2] == b"\x51\x20" for recipient in recipients)
        taproot = wallet.active_keychain("bech32m", is_internal=True)
        kind = "bech32m" if pays_taproot and taproot is not None else "bech32"
    keychain = wallet.active_keychain(kind, is_internal=True)
    if keychain is None:
        kind = next((t for t in _CHANGE_WEIGHT if wallet.active_keychain(t, is_internal=True)), kind)
        keychain = wallet.active_keychain(kind, is_internal=True)
    if keychain is None:  # no matter until change turns out to be needed
        return None, _CHANGE_WEIGHT[kind] if kind in _CHANGE_WEIGHT else _CHANGE_WEIGHT["bech32"]
    # Looked at, not taken: it is handed out when the transaction is recorded.
    return keychain.expand(keychain.record.next_index).scripts[0], _CHANGE_WEIGHT[kind]


def _lock_time(wallet: Wallet) -> int:
    """The tip's height, so that nobody gains by mining the last block again (Core: DiscourageFeeSniping)."""
    tip = wallet.host.chain.tip
    if wallet.host.chain.is_initial_block_download or tip.time < wallet.host.clock.now() - _ANTI_SNIPING_AGE_S:
        return 0
    if wallet.host.entropy.below(10) == 0:
        return max(0, tip.height - wallet.host.entropy.below(100))
    return tip.height


def create_transaction(wallet: Wallet, recipients: Sequence[Recipient], options: SpendOptions) -> Built:
    """An unsigned transaction that pays `recipients`. Raises WalletError. The caller holds the wallet's lock."""
    fees = wallet.fees
    change_script, change_weight = _change(wallet, recipients, options)
    replaceable = fees.signal_rbf if options.replaceable is None else options.replaceable
    terms = Terms(
        feerate=feerate_for(wallet, options),
        long_term_feerate=fees.long_term,
        discard_feerate=fees.discard_feerate(wallet.host.mempool),
        dust_feerate=fees.dust,
        max_tx_fee=fees.max_tx_fee,
        change_script=change_script,
        change_spend_weight=change_weight,
        lock_time=_lock_time(wallet) if options.lock_time is None else options.lock_time,
        version=options.version,
        sequence=0xFFFFFFFD if replaceable else 0xFFFFFFFE,
        change_position=options.change_position,
        sequences=options.sequences,
    )
    preset = _preset(wallet, options)
    available = _candidates(wallet, options) if options.add_inputs else []
    confirmed = [coin for coin in available if wallet.ledger.txs[coin.prevout.txid].is_confirmed]
    if options.add_inputs and len(confirmed) < len(available):
        try:  # unconfirmed change only when confirmed coins do not suffice
            return build(recipients, confirmed, preset, terms, wallet.host.entropy)
        except WalletError as error:
            if error.message != "Insufficient funds":
                raise
    return build(recipients, available, preset, terms, wallet.host.entropy, add_inputs=options.add_inputs)


def signing_keys(wallet: Wallet, spent: Sequence[TxOut]) -> SigningKeys:
    """The wallet's keys and scripts for these outputs."""
    keys = SigningKeys()
    for output in spent:
        found = wallet.ledger.keychain_of(output.script_pubkey)
        if found is not None:
            keychain, index = found
            keys.add_expansion(keychain.signing_expansion(index))
    return keys


def sign_with_wallet(
    wallet: Wallet, tx: Tx, spent: Sequence[TxOut], hash_type: int = 0
) -> tuple[Tx, dict[int, str]]:
    """Sign what the wallet has keys for; errors by input."""
    wallet.require_unlocked()
    return sign_transaction(tx, spent, signing_keys(wallet, spent), hash_type)


async def commit(wallet: Wallet, tx: Tx, options: SpendOptions, *, replaces: bytes = b"") -> None:
    """Record a signed transaction durably, then give it to the node. The caller holds the wallet's lock.

    Raises WalletError and forgets it again when the mempool refuses.
    """
    ledger = wallet.ledger
    wtx = ledger.add_tx(tx, wallet.host.clock.now())

    def note(record: TxRecord) -> None:
        record.comment, record.to, record.replaces = options.comment, options.to, replaces

    ledger.update(wtx, note)
    if replaces:
        old = ledger.txs[type(tx.txid)(replaces)]
        ledger.update(old, lambda record: setattr(record, "replaced_by", tx.txid))
    await wallet.save()
    if wallet.host.option("walletbroadcast") == "0":
        return
    try:
        await wallet.host.submit(tx)
    except Reject as reject:
        ledger.forget_tx(tx.txid)
        if replaces:
            ledger.update(old, lambda record: setattr(record, "replaced_by", b""))
        await wallet.save()
        raise WalletError(
            WalletFault.WALLET, f"The transaction was rejected by the mempool: {reject.reason}"
        ) from None
    ledger.see_in_mempool(tx, wallet.host.clock.now())
    await wallet.save()


async def pay(
    wallet: Wallet, recipients: Sequence[Recipient], options: SpendOptions, *, broadcast: bool = True
) -> Built:
    """Build, sign, record and send; without `broadcast` neither record nor send. Raises WalletError."""
    async with wallet.lock:
        wallet.require_unlocked()
        return await _sign_and_commit(wallet, create_transaction(wallet, recipients, options), options, broadcast)


async def _sign_and_commit(wallet: Wallet, built: Built, options: SpendOptions, broadcast: bool) -> Built:
    tx, errors = sign_with_wallet(wallet, built.tx, built.spent)
    if errors:
        raise WalletError(WalletFault.WALLET, "Signing transaction failed")
    if broadcast:
        await commit(wallet, tx, options)
    return Built(tx, built.spent, built.fee, built.change_position)


async def fund(
    wallet: Wallet, recipients: Sequence[Recipient], options: SpendOptions, *, lock: bool = False
) -> Built:
    """Choose inputs and change and sign nothing (Core: FundTransaction). Raises WalletError(WALLET)."""
    async with wallet.lock:
        try:
            built = create_transaction(wallet, recipients, options)
        except WalletError as error:
            raise WalletError(WalletFault.WALLET, error.message) from None
        if built.change_position is not None and options.change_script is None:
            found = wallet.ledger.keychain_of(built.tx.outputs[built.change_position].script_pubkey)
            if found is not None:
                wallet.ledger.use_index(*found)
        if lock:
            for txin in built.tx.inputs:
                wallet.ledger.lock_coin(txin.prevout, persistent=False)
        await wallet.save()
        return built


async def pay_all(
    wallet: Wallet,
    fixed: Sequence[Recipient],
    scripts: Sequence[bytes],
    inputs: Sequence[OutPoint] | None,
    options: SpendOptions,
    *,
    broadcast: bool = True,
) -> Built:
    """Spend all coins (or exactly `inputs`): `fixed` get their amounts, `scripts` share the rest."""
    async with wallet.lock:
        wallet.require_unlocked()
        options.inputs = inputs if inputs is not None else [coin.prevout for coin in list_coins(wallet)]
        coins = _preset(wallet, options)
        feerate = feerate_for(wallet, options)
        if inputs is None:  # coins that cost more than they bring stay
            coins = [coin for coin in coins if coin.output.amount > feerate_fee(feerate, -(-coin.weight // 4))]
        if not coins:
            raise WalletError(
                WalletFault.INSUFFICIENT_FUNDS,
                "Total value of UTXO pool too low to pay for transaction. Try using lower feerate or excluding "
                "uneconomic UTXOs with 'send_max' option.",
            )
        options.inputs = [coin.prevout for coin in coins]
        options.add_inputs = False
        rest = sum(coin.output.amount for coin in coins) - sum(recipient.amount for recipient in fixed)
        if rest <= 0:
            raise WalletError(
                WalletFault.INSUFFICIENT_FUNDS, "Assigned more value to outputs than available funds."
            )
        share, extra = divmod(rest, len(scripts))
        open_ended = [Recipient(s, share + (extra if i == 0 else 0), True) for i, s in enumerate(scripts)]
        built = create_transaction(wallet, [*fixed, *open_ended], options)
        return await _sign_and_commit(wallet, built, options, broadcast)


def coin_of(wallet: Wallet, prevout: OutPoint) -> Coin | None:
    """An unspent output by the wallet's own knowledge, the mempool's or the chain's."""
    wtx = wallet.ledger.txs.get(prevout.txid)
    if wtx is not None and prevout.vout < len(wtx.tx.outputs):
        output = wtx.tx.outputs[prevout.vout]
        height = wtx.record.height if wtx.is_confirmed else MEMPOOL_HEIGHT
        return Coin(output.amount, output.script_pubkey, height, wtx.tx.is_coinbase)
    info = wallet.host.mempool.get(prevout.txid)
    if info is not None and prevout.vout < len(info.tx.outputs):
        output = info.tx.outputs[prevout.vout]
        return Coin(output.amount, output.script_pubkey, MEMPOOL_HEIGHT, False)
    return wallet.host.chain.coin(prevout)
