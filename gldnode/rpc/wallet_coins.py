"""Balances and coins of a wallet."""

from typing import Any

from gldnode.rpc.addresses import destination_json
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount
from gldnode.rpc.params import amount_value, arr, boolean, integer_value, num, obj, text
from gldnode.rpc.wallet_access import (
    WalletGroup,
    outpoints_value,
    script_value,
    synced_wallet,
    wallet_of,
)
from gldnode.rpc.wallet_addresses import describe_script
from gldnode.wallet.keychain import Keychain
from gldnode.wallet.spending import WalletCoin, list_coins
from gldnode.wallet.views import balances
from gldnode.wallet.wallet import Wallet

__all__ = ["methods"]

methods = WalletGroup("Wallet")


@methods.method(
    "getbalance",
    "Returns the total available balance.\nThe available balance is what the wallet considers currently "
    "spendable, and is thus affected by options which limit spendability such as -spendzeroconfchange.",
    params=[
        text("dummy", 'Remains for backward compatibility. Must be excluded or set to "*".'),
        num("minconf", "Only include transactions confirmed at least this many times.", default=0),
        boolean("include_watchonly", "No longer used.", default=False),
        boolean("avoid_reuse", "Do not include balance in dirty outputs.", default=False),
    ],
    returns="n    (numeric) The total amount received for this wallet.",
    examples=["", '"*" 6'],
)
async def getbalance(
    ctx: RpcContext, dummy: str | None, minconf: int, include_watchonly: bool, avoid_reuse: bool
) -> Any:
    wallet = await synced_wallet(ctx)
    if dummy is not None and dummy != "*":
        raise RpcError(RpcCode.METHOD_DEPRECATED, 'dummy first argument must be excluded or set to "*".')
    return amount(balances(wallet, min_depth=minconf).trusted)


@methods.method(
    "getbalances",
    "Returns an object with all balances.",
    returns='{"mine":{"trusted":n,"untrusted_pending":n,"immature":n},"lastprocessedblock":{...}}',
)
async def getbalances(ctx: RpcContext) -> dict[str, Any]:
    wallet = await synced_wallet(ctx)
    found = balances(wallet)
    out: dict[str, Any] = {
        "mine": {
            "trusted": amount(found.trusted),
            "untrusted_pending": amount(found.untrusted_pending),
            "immature": amount(found.immature),
        }
    }
    cursor = wallet.ledger.cursor
    if cursor is not None:
        out["lastprocessedblock"] = {"hash": cursor.hash[::-1].hex(), "height": cursor.height}
    return out


@methods.method(
    "getunconfirmedbalance", "Identical to getbalances().mine.untrusted_pending", returns="n", hidden=True
)
async def getunconfirmedbalance(ctx: RpcContext) -> Any:
    return amount(balances(await synced_wallet(ctx)).untrusted_pending)


@methods.method(
    "listunspent",
    "Returns array of unspent transaction outputs with between minconf and maxconf (inclusive) confirmations.\n"
    "Optionally filter to only include txouts paid to specified addresses.",
    params=[
        num("minconf", "The minimum confirmations to filter", default=1),
        num("maxconf", "The maximum confirmations to filter", default=9_999_999),
        arr("addresses", "The addresses to filter", [text("address", "address")]),
        boolean("include_unsafe", "Include outputs that are not safe to spend", default=True),
        obj(
            "query_options",
            "",
            [
                text("minimumAmount", "Minimum value of each UTXO"),
                text("maximumAmount", "Maximum value of each UTXO"),
                num("maximumCount", "Maximum number of UTXOs"),
                text("minimumSumAmount", "Minimum sum value of all UTXOs"),
                boolean("include_immature_coinbase", "Include immature coinbase UTXOs", default=False),
            ],
            is_options=True,
        ),
    ],
    returns="[{...},...]",
    examples=["", '6 9999999 "[]" true'],
)
async def listunspent(
    ctx: RpcContext,
    minconf: int,
    maxconf: int,
    addresses: list[Any] | None,
    include_unsafe: bool,
    query_options: dict[str, Any] | None,
) -> list[dict[str, Any]]:
    wallet = await synced_wallet(ctx)
    options = query_options or {}
    wanted: set[bytes] = set()
    for address in addresses or []:
        script = script_value(str(address), wallet.host.params, "Invalid Bitcoin address: {}")
        if script in wanted:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid parameter, duplicated address: {address}")
        wanted.add(script)
    least = amount_value(options["minimumAmount"]) if options.get("minimumAmount") is not None else 0
    most = amount_value(options["maximumAmount"]) if options.get("maximumAmount") is not None else None
    count = integer_value(options["maximumCount"]) if options.get("maximumCount") is not None else 0
    enough = amount_value(options["minimumSumAmount"]) if options.get("minimumSumAmount") is not None else None
    immature = bool(options.get("include_immature_coinbase", False))
    coins = list_coins(
        wallet, min_depth=minconf, max_depth=maxconf, unsafe=include_unsafe, include_immature=immature
    )
    out: list[dict[str, Any]] = []
    total = 0
    for coin in coins:
        value = coin.output.amount
        if (
            (wanted and coin.output.script_pubkey not in wanted)
            or value < least
            or (most is not None and value > most)
        ):
            continue
        out.append(_coin_json(wallet, coin))
        total += value
        if (count and len(out) >= count) or (enough is not None and total >= enough):
            break
    return out


def _coin_json(wallet: Wallet, coin: WalletCoin) -> dict[str, Any]:
    ledger = wallet.ledger
    script = coin.output.script_pubkey
    out: dict[str, Any] = {"txid": coin.prevout.txid[::-1].hex(), "vout": coin.prevout.vout}
    address = wallet.address(script)
    if address is not None:
        out["address"] = address
        label = ledger.labels.get(script)
        if label is not None:
            out["label"] = label.label
    found = ledger.keychain_of(script)
    inner = _inner_scripts(found)
    if destination_json(script).get("isscript") and inner:
        out["redeemScript" if script[:1] == b"\xa9" else "witnessScript"] = inner[-1].hex()
        if len(inner) > 1:
            out["witnessScript"] = inner[0].hex()
    out["scriptPubKey"] = script.hex()
    out["amount"] = amount(coin.output.amount)
    out["confirmations"] = coin.depth
    if coin.depth == 0:
        info = wallet.host.mempool.get(coin.prevout.txid)
        if info is not None:
            relatives = [wallet.host.mempool.get(txid) for txid in info.ancestors]
            present = [info, *(one for one in relatives if one is not None)]
            out["ancestorcount"] = len(present)
            out["ancestorsize"] = sum(one.vsize for one in present)
            out["ancestorfees"] = sum(one.fee for one in present)
    solvable = found is not None and found[0].descriptor.is_solvable
    out["spendable"] = True
    out["solvable"] = solvable
    if found is not None and solvable:
        out["desc"] = describe_script(wallet, script)
        out["parent_descs"] = [found[0].record.descriptor]
    else:
        out["parent_descs"] = []
    out["safe"] = coin.is_safe
    return out


def _inner_scripts(found: tuple[Keychain, int] | None) -> tuple[bytes, ...]:
    if found is None or found[0].descriptor.root.name not in ("sh", "wsh"):
        return ()
    return found[0].expand(found[1]).inner_scripts


@methods.method(
    "lockunspent",
    "Updates list of temporarily unspendable outputs.\nTemporarily lock (unlock=false) or unlock (unlock=true) "
    "specified transaction outputs.\nIf no transaction outputs are specified when unlocking then all current "
    "locked transaction outputs are unlocked.",
    params=[
        boolean("unlock", "Whether to unlock (true) or lock (false) the specified transactions", required=True),
        arr(
            "transactions",
            "The transaction outputs and within each, the txid (string) vout (numeric).",
            [obj("", "")],
        ),
        boolean("persistent", "Whether to write/erase this lock in the wallet database.", default=False),
    ],
    returns="true|false    (boolean) Whether the command was successful or not",
    examples=['false "[{\\"txid\\":\\"a08e6907...\\",\\"vout\\":1}]"'],
)
async def lockunspent(ctx: RpcContext, unlock: bool, transactions: list[Any] | None, persistent: bool) -> bool:
    wallet = await synced_wallet(ctx)
    ledger = wallet.ledger
    async with wallet.lock:
        if transactions is None:
            if unlock:
                for prevout in list(ledger.locked):
                    ledger.unlock_coin(prevout)
                await wallet.save()
            return True
        prevouts = outpoints_value(transactions)
        for prevout in prevouts:
            wtx = ledger.txs.get(prevout.txid)
            if wtx is None:
                raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, unknown transaction")
            if prevout.vout >= len(wtx.tx.outputs):
                raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, vout index out of bounds")
            if ledger.is_spent(prevout):
                raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, expected unspent output")
            locked = prevout in ledger.locked
            if unlock and not locked:
                raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, expected locked output")
            if not unlock and locked and not persistent:
                raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, output already locked")
        for prevout in prevouts:
            if unlock:
                ledger.unlock_coin(prevout)
            else:
                ledger.lock_coin(prevout, persistent=persistent)
        await wallet.save()
    return True


@methods.method(
    "listlockunspent",
    "Returns list of temporarily unspendable outputs.",
    returns='[{"txid":"hex","vout":n},...]',
)
async def listlockunspent(ctx: RpcContext) -> list[dict[str, Any]]:
    locked = sorted(wallet_of(ctx).ledger.locked)
    return [{"txid": prevout.txid[::-1].hex(), "vout": prevout.vout} for prevout in locked]
