"""What a wallet puts into a PSBT: coins, scripts, paths, signatures."""

from gldnode.descriptors import Expansion
from gldnode.primitives.tx import TxOut
from gldnode.psbt import Psbt
from gldnode.wallet.psbts import finalize_input, input_utxo, sign_psbt_input, update_input, update_output
from gldnode.wallet.spending import coin_of, signing_keys
from gldnode.wallet.wallet import Wallet

__all__ = ["copy_psbt", "fill", "finalize_all", "sign_own"]


def _expansion(wallet: Wallet, script: bytes) -> Expansion | None:
    found = wallet.ledger.keychain_of(script)
    return None if found is None else found[0].expand(found[1])


def fill(wallet: Wallet, psbt: Psbt, *, with_paths: bool) -> None:
    """Put in what the wallet knows of inputs and outputs."""
    tx = psbt.unsigned_tx()
    for index, pairs in enumerate(psbt.inputs):
        utxo = input_utxo(psbt, index)
        prevout = tx.inputs[index].prevout
        if utxo is None:
            coin = coin_of(wallet, prevout)
            if coin is None:
                continue
            utxo = TxOut(coin.amount, coin.script_pubkey)
        known = wallet.ledger.txs.get(prevout.txid)
        previous = known.tx if known is not None else None
        update_input(pairs, utxo, previous, _expansion(wallet, utxo.script_pubkey), with_paths=with_paths)
    for output, pairs in zip(tx.outputs, psbt.outputs, strict=True):
        expansion = _expansion(wallet, output.script_pubkey)
        if expansion is not None:
            update_output(pairs, output.script_pubkey, expansion, with_paths=with_paths)


def sign_own(wallet: Wallet, psbt: Psbt, hash_type: int | None = None) -> None:
    """Sign the inputs that are the wallet's. Raises PsbtError where a signer must refuse."""
    for index in range(len(psbt.inputs)):
        utxo = input_utxo(psbt, index)
        if utxo is not None and wallet.ledger.is_mine(utxo.script_pubkey):
            sign_psbt_input(psbt, index, signing_keys(wallet, [utxo]), hash_type)


def copy_psbt(psbt: Psbt) -> Psbt:
    return Psbt(dict(psbt.globals), [dict(one) for one in psbt.inputs], [dict(one) for one in psbt.outputs])


def finalize_all(psbt: Psbt) -> bool:
    """Finalize what can be; whether everything is final."""
    done = [finalize_input(psbt, index) for index in range(len(psbt.inputs))]
    return all(done)
