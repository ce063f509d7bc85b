"""What happened in a wallet: its transactions, by Core's categories."""

from typing import Any

from gldnode.primitives.hashes import BlockHash, Txid
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount
from gldnode.rpc.params import block_hash, boolean, num, text, txid
from gldnode.rpc.render import display, tx_json
from gldnode.rpc.wallet_access import WalletGroup, synced_wallet
from gldnode.wallet.ledger import WalletTx
from gldnode.wallet.views import Entry, entries
from gldnode.wallet.wallet import Wallet

__all__ = ["methods"]

methods = WalletGroup("Wallet")

_WATCHONLY = boolean("include_watchonly", "(DEPRECATED) No longer used.", default=False)


def _signals(wallet: Wallet, wtx: WalletTx) -> str:
    """Whether it may be replaced (BIP 125), as far as can be known."""
    if wallet.ledger.depth(wtx) != 0:
        return "no"
    if any(txin.sequence < 0xFFFFFFFE for txin in wtx.tx.inputs):
        return "yes"
    info = wallet.host.mempool.get(wtx.txid)
    if info is None:
        return "unknown"
    return "yes" if info.signals_replacement else "no"


def _tx_facts(wallet: Wallet, wtx: WalletTx) -> dict[str, Any]:
    """What every listing says of a transaction (Core: WalletTxToJSON)."""
    ledger, record = wallet.ledger, wtx.record
    depth = ledger.depth(wtx)
    out: dict[str, Any] = {"confirmations": depth}
    if wtx.tx.is_coinbase:
        out["generated"] = True
    if wtx.is_confirmed:
        out["blockhash"] = display(record.block)
        out["blockheight"] = record.height
        out["blockindex"] = record.position
        out["blocktime"] = record.block_time
    else:
        out["trusted"] = ledger.is_trusted(wtx)
    out["txid"] = display(wtx.txid)
    out["wtxid"] = display(wtx.tx.wtxid)
    out["walletconflicts"] = [display(other) for other in ledger.conflicts(wtx)]
    in_pool = []
    for txin in wtx.tx.inputs:
        spender = wallet.host.mempool.spender(txin.prevout) if depth <= 0 else None
        if spender is not None and spender != wtx.txid and spender not in in_pool:
            in_pool.append(spender)
    out["mempoolconflicts"] = [display(other) for other in in_pool]
    if record.replaced_by:
        out["replaced_by_txid"] = display(record.replaced_by)
    if record.replaces:
        out["replaces_txid"] = display(record.replaces)
    if record.comment:
        out["comment"] = record.comment
    if record.to:
        out["to"] = record.to
    out["time"] = min(record.received_at, record.block_time) if wtx.is_confirmed else record.received_at
    out["timereceived"] = record.received_at
    out["bip125-replaceable"] = _signals(wallet, wtx)
    return out


def _entry_json(wallet: Wallet, wtx: WalletTx, entry: Entry, fee: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    address = wallet.address(entry.output.script_pubkey)
    if address is not None:
        out["address"] = address
    out["category"] = entry.category
    out["amount"] = amount(entry.amount)
    if entry.output.script_pubkey in wallet.ledger.labels:
        out["label"] = entry.label
    if entry.category != "send":
        found = wallet.ledger.keychain_of(entry.output.script_pubkey)
        out["parent_descs"] = [found[0].record.descriptor] if found is not None else []
    out["vout"] = entry.vout
    if entry.category == "send":
        out["fee"] = amount(-fee)
    out["abandoned"] = wtx.record.is_abandoned
    return out


def _listing(wallet: Wallet, wtx: WalletTx, label: str | None, *, with_facts: bool = True) -> list[dict[str, Any]]:
    sent, received, fee = entries(wallet, wtx)
    out = []
    if label is None:
        out += [_entry_json(wallet, wtx, entry, fee) for entry in sent]
    if received and (wallet.ledger.depth(wtx) >= 0 or wtx.tx.is_coinbase or not sent):
        for entry in received:
            if label is None or entry.label == label:
                out.append(_entry_json(wallet, wtx, entry, fee))
    if with_facts:
        facts = _tx_facts(wallet, wtx)
        for item in out:
            abandoned = item.pop("abandoned")
            item |= facts
            item["abandoned"] = abandoned
    return out


@methods.method(
    "listtransactions",
    "If a label name is provided, this will return only incoming transactions paying to addresses with the "
    "specified label.\nReturns up to 'count' most recent transactions skipping the first 'from' transactions.",
    params=[
        text(
            "label|dummy",
            "If set, should be a valid label name to return only incoming transactions with it, or "
            '"*" to disable filtering and return all transactions.',
        ),
        num("count", "The number of transactions to return", default=10),
        num("skip", "The number of transactions to skip", default=0),
        _WATCHONLY,
    ],
    returns="[{...},...]",
    examples=["", '"*" 20 100'],
)
async def listtransactions(
    ctx: RpcContext, label: str | None, count: int, skip: int, include_watchonly: bool
) -> list[dict[str, Any]]:
    wallet = await synced_wallet(ctx)
    if label is not None and label != "*" and not label:
        raise RpcError(RpcCode.INVALID_PARAMETER, 'Label argument must be a valid label name or "*".')
    if count < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Negative count")
    if skip < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Negative from")
    only = None if label in (None, "*") else label
    found: list[dict[str, Any]] = []
    newest_first = sorted(wallet.ledger.txs.values(), key=lambda wtx: -wtx.record.order)
    for wtx in newest_first:
        found += reversed(_listing(wallet, wtx, only))
        if len(found) >= count + skip:
            break
    return found[skip : skip + count][::-1]


@methods.method(
    "listsinceblock",
    "Get all transactions in blocks since block [blockhash], or all transactions if omitted.",
    params=[
        block_hash(
            "blockhash", "If set, the block hash to list transactions since, otherwise list all transactions."
        ),
        num("target_confirmations", "Return the nth block hash from the main chain.", default=1),
        _WATCHONLY,
        boolean(
            "include_removed",
            'Show transactions that were removed due to a reorg in the "removed" array.',
            default=True,
        ),
        boolean("include_change", "Also add entries for change outputs.", default=False),
        text("label", "Return only incoming transactions paying to addresses with the specified label."),
    ],
    returns='{"transactions":[{...},...],"removed":[{...},...],"lastblock":"hex"}',
    examples=[""],
)
async def listsinceblock(
    ctx: RpcContext,
    blockhash: bytes | None,
    target_confirmations: int,
    include_watchonly: bool,
    include_removed: bool,
    include_change: bool,
    label: str | None,
) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    chain = wallet.host.chain
    cursor = wallet.ledger.cursor
    assert cursor is not None
    if target_confirmations < 1:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter")
    since = -1
    if blockhash is not None:
        entry = ctx.node.chainstate.entry(blockhash)
        if entry is None:
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block not found")
        while entry.prev is not None and chain.height_of(entry.hash) is None:
            entry = entry.prev
        since = entry.height
    found: list[dict[str, Any]] = []
    for wtx in sorted(wallet.ledger.txs.values(), key=lambda one: one.record.order):
        if not wtx.is_confirmed or wtx.record.height > since:
            found += _listing(wallet, wtx, label)
    height = max(0, cursor.height + 1 - target_confirmations)
    last = chain.block_hash(height) or BlockHash(bytes(32))
    out: dict[str, Any] = {"transactions": found}
    if include_removed:
        out["removed"] = []
    out["lastblock"] = display(last)
    return out


@methods.method(
    "gettransaction",
    "Get detailed information about in-wallet transaction <txid>",
    params=[
        txid("txid", "The transaction id", required=True),
        _WATCHONLY,
        boolean(
            "verbose", "Whether to include a `decoded` field containing the decoded transaction", default=False
        ),
    ],
    returns="{...}",
    examples=['"1075db55d416d3ca199f55b6084e2115b9345e16c5cf302fc80e9d5fbf5d48d"'],
)
async def gettransaction(ctx: RpcContext, txid: bytes, include_watchonly: bool, verbose: bool) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    wtx = _find(wallet, txid)
    ledger = wallet.ledger
    debit = ledger.debit(wtx.tx)
    credit = 0 if wtx.tx.is_coinbase and ledger.blocks_to_maturity(wtx) > 0 else ledger.credit(wtx.tx)
    net = credit - debit
    fee = sum(output.amount for output in wtx.tx.outputs) - debit if debit else 0
    out: dict[str, Any] = {"amount": amount(net - fee)}
    if debit:
        out["fee"] = amount(fee)
    out |= _tx_facts(wallet, wtx)
    out["details"] = _listing(wallet, wtx, None, with_facts=False)
    out["hex"] = wtx.tx.raw.hex()
    if verbose:
        out["decoded"] = tx_json(wtx.tx, wallet.host.params, with_hex=False)
    cursor = ledger.cursor
    if cursor is not None:
        out["lastprocessedblock"] = {"hash": display(cursor.hash), "height": cursor.height}
    return out


def _find(wallet: Wallet, txid: bytes) -> WalletTx:
    wtx = wallet.ledger.txs.get(Txid(txid))
    if wtx is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Invalid or non-wallet transaction id")
    return wtx


@methods.method(
    "abandontransaction",
    "Mark in-wallet transaction <txid> as abandoned\nThis will mark this transaction and all its in-wallet "
    "descendants as abandoned which will allow for their inputs to be respent.",
    params=[txid("txid", "The transaction id", required=True)],
    returns="null",
    examples=['"1075db55d416d3ca199f55b6084e2115b9345e16c5cf302fc80e9d5fbf5d48d"'],
)
async def abandontransaction(ctx: RpcContext, txid: bytes) -> None:
    wallet = await synced_wallet(ctx)
    wtx = _find(wallet, txid)
    async with wallet.lock:
        if wtx.is_confirmed or wtx.is_conflicted or wallet.host.mempool.get(wtx.txid) is not None:
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Transaction not eligible for abandonment")
        wallet.ledger.abandon(wtx)
        await wallet.save()
