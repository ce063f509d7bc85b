"""A BDK wallet at an Electrum server: requests as JSON lines on stdin, answers on stdout."""

import json
import sys
import time

import bdkpython as bdk


def main(url: str, phrase: str) -> None:
    secret = bdk.DescriptorSecretKey(bdk.NetworkKind.TEST, bdk.Mnemonic.from_string(phrase), None)
    chains = (bdk.KeychainKind.EXTERNAL, bdk.KeychainKind.INTERNAL)
    outside, inside = (bdk.Descriptor.new_bip86(secret, chain, bdk.NetworkKind.TEST) for chain in chains)
    wallet = bdk.Wallet(outside, inside, bdk.Network.REGTEST, bdk.Persister.new_in_memory())
    electrum = bdk.ElectrumClient(url)
    wallet.apply_update(electrum.full_scan(wallet.start_full_scan().build(), 2, 50, False))
    for line in sys.stdin:
        request = json.loads(line)
        match request["do"]:
            case "address":
                answer = {"address": str(wallet.reveal_next_address(chains[0]).address)}
            case "sync":
                answer = sync_until(wallet, electrum, request)
            case "send":
                answer = {"txid": send(wallet, electrum, request)}
        print(json.dumps(answer), flush=True)


def sync_until(wallet: bdk.Wallet, electrum: bdk.ElectrumClient, request: dict) -> dict:
    """Sync until the transaction is there, and confirmed where that is wanted."""
    end = time.monotonic() + 30
    while True:
        request_all = wallet.start_sync_with_revealed_spks().build()
        wallet.apply_update(electrum.sync(request_all, 50, False))
        confirmed = {
            str(one.transaction.compute_txid()): one.chain_position.is_confirmed() for one in wallet.transactions()
        }
        known = confirmed.get(request["until"])
        if known is not None and (known or not request.get("confirmed")):
            break
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    return {"confirmed": confirmed, "balance": wallet.balance().total.to_sat()}


def send(wallet: bdk.Wallet, electrum: bdk.ElectrumClient, request: dict) -> str:
    script = bdk.Address(request["address"], bdk.Network.REGTEST).script_pubkey()
    builder = bdk.TxBuilder().add_recipient(script, bdk.Amount.from_sat(request["amount"]))
    psbt = builder.fee_rate(bdk.FeeRate.from_sat_per_vb(3)).finish(wallet)
    assert wallet.sign(psbt)
    return str(electrum.transaction_broadcast(psbt.extract_tx()))


main(*sys.argv[1:])
