"""What the addresses of a wallet have received, and which of them are known to belong together."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gldnode.address import AddressError, address_to_script
from gldnode.primitives.hashes import Txid
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount
from gldnode.rpc.params import boolean, num, text
from gldnode.rpc.render import display
from gldnode.rpc.wallet_access import WalletGroup, label_value, script_value, synced_wallet
from gldnode.wallet.ledger import WalletTx
from gldnode.wallet.wallet import Wallet

__all__ = ["methods"]

methods = WalletGroup("Wallet")

_MINCONF = num("minconf", "Only include transactions confirmed at least this many times.", default=1)
_IMMATURE = boolean("include_immature_coinbase", "Include immature coinbase transactions.", default=False)
_WATCHONLY = boolean("include_watchonly", "(DEPRECATED) No longer used.", default=False)


@dataclass(slots=True)
class _Tally:
    """What was received by an address, or by all with a label."""

    total: int = 0
    depth: int | None = None
    """The least of its transactions'; None without any."""
    txids: list[Txid] = field(default_factory=list)

    def add(self, other: "_Tally") -> None:
        self.total += other.total
        depths = [depth for depth in (self.depth, other.depth) if depth is not None]
        self.depth = min(depths, default=None)
        self.txids += other.txids


def _counted(wallet: Wallet, min_depth: int, include_immature: bool) -> Iterable[tuple[WalletTx, int]]:
    """Transactions that count as received, with their depth."""
    ledger = wallet.ledger
    for wtx in ledger.txs.values():
        depth = ledger.depth(wtx)
        if depth < max(min_depth, 0) or (depth == 0 and wtx.txid not in ledger.in_mempool):
            continue
        if wtx.tx.is_coinbase and (depth < 1 or (ledger.blocks_to_maturity(wtx) > 0 and not include_immature)):
            continue
        yield wtx, depth


def _received(wallet: Wallet, scripts: set[bytes], min_depth: int, include_immature: bool) -> int:
    return sum(
        output.amount
        for wtx, _ in _counted(wallet, min_depth, include_immature)
        for output in wtx.tx.outputs
        if output.script_pubkey in scripts
    )


def _tallies(wallet: Wallet, min_depth: int, include_immature: bool) -> dict[bytes, _Tally]:
    """By script."""
    found: dict[bytes, _Tally] = {}
    for wtx, depth in _counted(wallet, min_depth, include_immature):
        sums: dict[bytes, int] = {}
        for output in wtx.tx.outputs:
            sums[output.script_pubkey] = sums.get(output.script_pubkey, 0) + output.amount
        for script, total in sums.items():
            found.setdefault(script, _Tally()).add(_Tally(total, depth, [wtx.txid]))
    return found


@methods.method(
    "getreceivedbyaddress",
    "Returns the total amount received by the given address in transactions with at least minconf confirmations.",
    params=[text("address", "The address for transactions.", required=True), _MINCONF, _IMMATURE],
    returns="n    (numeric) The total amount received at this address.",
    examples=['"address" 6'],
)
async def getreceivedbyaddress(
    ctx: RpcContext, address: str, minconf: int, include_immature_coinbase: bool
) -> Any:
    wallet = await synced_wallet(ctx)
    script = script_value(address, wallet.host.params, "Invalid Bitcoin address")
    if not wallet.ledger.is_mine(script):
        raise RpcError(RpcCode.WALLET_ERROR, "Address not found in wallet")
    return amount(_received(wallet, {script}, minconf, include_immature_coinbase))


@methods.method(
    "getreceivedbylabel",
    "Returns the total amount received by addresses with <label> in transactions with at least [minconf] "
    "confirmations.",
    params=[
        text("label", 'The selected label, may be the default label using "".', required=True),
        _MINCONF,
        _IMMATURE,
    ],
    returns="n    (numeric) The total amount received for this label.",
    examples=['"tabby" 6'],
)
async def getreceivedbylabel(ctx: RpcContext, label: str, minconf: int, include_immature_coinbase: bool) -> Any:
    wallet = await synced_wallet(ctx)
    label = label_value(label)
    scripts = {script for script, entry in wallet.ledger.labels.items() if entry.label == label}
    if not scripts:
        raise RpcError(RpcCode.WALLET_ERROR, "Label not found in wallet")
    mine = {script for script in scripts if wallet.ledger.is_mine(script)}
    return amount(_received(wallet, mine, minconf, include_immature_coinbase))


_EMPTY_ADDRESSES = boolean(
    "include_empty", "Whether to include addresses that haven't received any payments.", default=False
)


@methods.method(
    "listreceivedbyaddress",
    "List balances by receiving address.",
    params=[
        _MINCONF,
        _EMPTY_ADDRESSES,
        _WATCHONLY,
        text("address_filter", "If present and non-empty, only return information on this address."),
        _IMMATURE,
    ],
    returns='[{"address":"str","amount":n,"confirmations":n,"label":"str","txids":["hex",...]},...]',
    examples=["6 true"],
)
async def listreceivedbyaddress(
    ctx: RpcContext,
    minconf: int,
    include_empty: bool,
    include_watchonly: bool,
    address_filter: str | None,
    include_immature_coinbase: bool,
) -> list[dict[str, Any]]:
    wallet = await synced_wallet(ctx)
    only = None
    if address_filter:
        try:
            only = address_to_script(address_filter, wallet.host.params)
        except AddressError:
            raise RpcError(RpcCode.WALLET_ERROR, "address_filter parameter was invalid") from None
    tallies = _tallies(wallet, minconf, include_immature_coinbase)
    out = []
    for script, label in wallet.ledger.labels.items():
        tally = tallies.get(script, _Tally())
        if not wallet.ledger.is_mine(script) or only not in (None, script):
            continue
        if tally.txids or include_empty:
            out.append(
                {
                    "address": _address(wallet, script),
                    "amount": amount(tally.total),
                    "confirmations": tally.depth or 0,
                    "label": label.label,
                    "txids": [display(txid) for txid in tally.txids],
                }
            )
    return out


@methods.method(
    "listreceivedbylabel",
    "List received transactions by label.",
    params=[
        _MINCONF,
        boolean("include_empty", "Whether to include labels that haven't received any payments.", default=False),
        _WATCHONLY,
        _IMMATURE,
    ],
    returns='[{"amount":n,"confirmations":n,"label":"str"},...]',
    examples=["6 true"],
)
async def listreceivedbylabel(
    ctx: RpcContext, minconf: int, include_empty: bool, include_watchonly: bool, include_immature_coinbase: bool
) -> list[dict[str, Any]]:
    wallet = await synced_wallet(ctx)
    tallies = _tallies(wallet, minconf, include_immature_coinbase)
    by_label: dict[str, _Tally] = {}
    for script, label in wallet.ledger.labels.items():
        if wallet.ledger.is_mine(script):
            by_label.setdefault(label.label, _Tally()).add(tallies.get(script, _Tally()))
    return [
        {"amount": amount(tally.total), "confirmations": tally.depth or 0, "label": name}
        for name, tally in sorted(by_label.items())
        if tally.txids or include_empty
    ]


@methods.method(
    "listaddressgroupings",
    "Lists groups of addresses which have had their common ownership made public by common use as inputs or as "
    "the resulting change in past transactions",
    returns='[[["address",amount,"label"],...],...]',
)
async def listaddressgroupings(ctx: RpcContext) -> list[list[list[Any]]]:
    wallet = await synced_wallet(ctx)
    ledger = wallet.ledger
    balances: dict[bytes, int] = {}
    for _, output, wtx in ledger.unspent():
        if ledger.is_trusted(wtx) and not (wtx.tx.is_coinbase and ledger.blocks_to_maturity(wtx) > 0):
            balances[output.script_pubkey] = balances.get(output.script_pubkey, 0) + output.amount
    groups: dict[bytes, set[bytes]] = {}
    for wtx in ledger.txs.values():
        for together in _public_groups(wallet, wtx):
            merged = together.union(*(groups.get(script, ()) for script in together))
            groups.update(dict.fromkeys(merged, merged))
    distinct = {id(group): group for group in groups.values()}
    return [
        [_member(wallet, script, balances.get(script, 0)) for script in sorted(group)]
        for group in distinct.values()
    ]


def _public_groups(wallet: Wallet, wtx: WalletTx) -> list[set[bytes]]:
    """Scripts of ours that this transaction shows together; each of its other outputs of ours by itself."""
    ledger = wallet.ledger
    spent = (ledger.output(txin.prevout) for txin in wtx.tx.inputs)
    inputs = {output.script_pubkey for output in spent if output is not None}
    mine = {output.script_pubkey for output in wtx.tx.outputs if ledger.is_mine(output.script_pubkey)}
    inputs = {script for script in inputs if ledger.is_mine(script)}
    change = {script for script in mine if inputs and ledger.is_change(script)}
    together = [inputs | change] if inputs else []
    return together + [{script} for script in mine - change]


def _member(wallet: Wallet, script: bytes, balance: int) -> list[Any]:
    row: list[Any] = [_address(wallet, script), amount(balance)]
    label = wallet.ledger.labels.get(script)
    return row if label is None else [*row, label.label]


def _address(wallet: Wallet, script: bytes) -> str:
    return wallet.address(script) or script.hex()
