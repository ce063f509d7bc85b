"""Funds of a wallet whose blocks the node no longer has: importprunedfunds, removeprunedfunds."""

from gldnode.errors import DecodeError
from gldnode.primitives.hashes import Txid
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import hex_data, hex_value, txid
from gldnode.rpc.proofs import parse_proof
from gldnode.rpc.rawtx import decode_tx
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display
from gldnode.rpc.wallet_access import WalletGroup, synced_wallet

__all__ = ["methods"]

methods: MethodGroup = WalletGroup("Wallet")


@methods.method(
    "importprunedfunds",
    "Imports funds without rescan. Corresponding address or script must previously be included in wallet. Aimed "
    "towards pruned wallets. The end-user is responsible to import additional transactions that subsequently "
    "spend the imported outputs or rescan after the point in the blockchain the transaction is included.",
    params=[
        hex_data(
            "rawtransaction",
            "A raw transaction in hex funding an already-existing address in wallet",
            required=True,
        ),
        hex_data("txoutproof", "The hex output from gettxoutproof that contains the transaction", required=True),
    ],
    returns="null",
    examples=['"myhex" "txoutproof"'],
)
async def importprunedfunds(ctx: RpcContext, rawtransaction: str, txoutproof: str) -> None:
    wallet = await synced_wallet(ctx)
    tx = decode_tx(rawtransaction, message="TX decode failed. Make sure the tx has at least one input.")
    try:
        proof = parse_proof(hex_value(txoutproof, "proof"))
    except DecodeError as error:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, f"Proof decode failed: {error}") from None
    if proof.root != proof.header.merkle_root:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Something wrong with merkleblock")
    entry = ctx.node.chainstate.entry(proof.header.hash)
    if entry is None or not ctx.node.chainstate.is_active(entry):
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block not found in chain")
    if tx.txid not in proof.matches or entry.n_tx != proof.tx_count:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Transaction given doesn't exist in proof")
    if not wallet.ledger.is_relevant(tx):
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "No addresses in wallet correspond to included transaction")
    position = proof.positions[proof.matches.index(tx.txid)]
    async with wallet.lock:
        wallet.ledger.confirm(tx, entry.hash, entry.height, position, entry.time, ctx.node.clock.now())
        await wallet.save()


@methods.method(
    "removeprunedfunds",
    "Deletes the specified transaction from the wallet. Meant for use with pruned wallets and as a companion to "
    "importprunedfunds. This will affect wallet balances.",
    params=[txid("txid", "The hex-encoded id of the transaction you are deleting", required=True)],
    returns="null",
    examples=['"a8d0c0184dde994a09ec054286f1ce581bebf46446a512166eae7628734ea0a5"'],
)
async def removeprunedfunds(ctx: RpcContext, txid: bytes) -> None:
    wallet = await synced_wallet(ctx)
    if txid not in wallet.ledger.txs:
        raise RpcError(RpcCode.WALLET_ERROR, f"Transaction {display(txid)} does not belong to this wallet")
    async with wallet.lock:
        wallet.ledger.forget_tx(Txid(txid))
        await wallet.save()
