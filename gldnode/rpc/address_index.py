"""What addresses received and spent, by the address index: the methods that block explorers know.

Amounts are in base units, as explorers expect of these methods.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gldnode.address import AddressError, address_to_script
from gldnode.errors import DecodeError
from gldnode.indexes import AddressIndex, IndexFollower
from gldnode.indexes.addressindex import AddressRow, script_hash
from gldnode.primitives.hashes import from_display_hex
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import json_type
from gldnode.rpc.params import anything, integer_value
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display

__all__ = ["methods"]

methods = MethodGroup("Addresses")

_NEEDS_INDEX = "\nRequires -addressindex."
_HOW = (
    'An address, or {"addresses":["address",...]}. In an address\'s place may stand a script hash as in the '
    "Electrum protocol."
)
_ADDRESSES = anything("addresses", _HOW, required=True, word="string or json object")
_RANGED = anything(
    "addresses",
    _HOW + ' The object may have "start" and "end", heights of the first and the last block.',
    required=True,
    word="string or json object",
)
_EXAMPLES = ['\'{"addresses":["mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"]}\'']


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a call asks for."""

    names: dict[bytes, str]
    """Texts by script hash."""
    start: int = 0
    end: int | None = None
    with_chain: bool = False


def _read(ctx: RpcContext, value: Any) -> _Asked:
    """Raises RpcError."""
    given = value if isinstance(value, dict) else {"addresses": [value]}
    texts = given.get("addresses")
    if not isinstance(texts, list) or not texts:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Addresses is expected to be an array")
    names = {_script_hash(ctx, text): text for text in texts}
    start, end = (None if given.get(key) is None else integer_value(given[key]) for key in ("start", "end"))
    if (start is not None and start < 0) or (end is not None and end < (start or 0)):
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "End value is expected to be greater than start")
    return _Asked(names, start or 0, end, given.get("chainInfo") is True)


def _script_hash(ctx: RpcContext, text: Any) -> bytes:
    if json_type(text) == "string":
        try:
            return script_hash(address_to_script(text, ctx.node.params))
        except AddressError:
            pass
        try:
            return from_display_hex(text)
        except DecodeError:
            pass
    raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Invalid address")


async def _index(ctx: RpcContext) -> AddressIndex:
    """The index, once it has seen what the chain has."""
    index = ctx.services.require(
        AddressIndex, RpcCode.MISC_ERROR, "Address index is not enabled. Use -addressindex"
    )
    await ctx.services.require(IndexFollower).catch_up(index)
    return index


@methods.method(
    "getaddressbalance",
    "Returns the balance of address(es), of confirmed transactions." + _NEEDS_INDEX,
    params=[_ADDRESSES],
    returns='{"balance":n,"received":n}    In base units; received includes change',
    examples=_EXAMPLES,
)
async def getaddressbalance(ctx: RpcContext, addresses: Any) -> dict[str, int]:
    index, asked = await _index(ctx), _read(ctx, addresses)
    found = await ctx.read(lambda: [index.balance(name) for name in asked.names])
    return {"balance": sum(one.balance for one in found), "received": sum(one.received for one in found)}


@methods.method(
    "getaddressutxos",
    "Returns all unspent outputs of address(es), of confirmed transactions." + _NEEDS_INDEX,
    params=[
        anything(
            "addresses",
            _HOW + ' With "chainInfo":true the answer names the block that it is as of.',
            required=True,
            word="string or json object",
        )
    ],
    returns='[{"address":"str","txid":"hex","outputIndex":n,"script":"hex","satoshis":n,"height":n},...], with '
    'chainInfo {"utxos":[...],"hash":"hex","height":n}',
    examples=_EXAMPLES,
)
async def getaddressutxos(ctx: RpcContext, addresses: Any) -> Any:
    index, asked = await _index(ctx), _read(ctx, addresses)

    def look() -> list[dict[str, Any]]:
        rows = []
        for name, text in asked.names.items():
            for one in index.unspent(name):
                coin = ctx.node.chainstate.coin(one.prevout)
                if coin is not None:  # else it was spent this moment
                    rows.append(
                        {
                            "address": text,
                            "txid": display(one.prevout.txid),
                            "outputIndex": one.prevout.vout,
                            "script": coin.script_pubkey.hex(),
                            "satoshis": one.amount,
                            "height": one.height,
                        }
                    )
        return sorted(rows, key=lambda row: row["height"])

    found = await ctx.read(look)
    if not asked.with_chain:
        return found
    tip = ctx.node.chainstate.tip
    return {"utxos": found, "hash": display(tip.hash), "height": tip.height}


def _rows(index: AddressIndex, asked: _Asked) -> Iterator[tuple[str, AddressRow]]:
    stop = None if asked.end is None else asked.end + 1
    for name, text in asked.names.items():
        for row in index.history(name, start_height=asked.start, stop_height=stop):
            yield text, row


@methods.method(
    "getaddressdeltas",
    "Returns all changes of address(es), of confirmed transactions." + _NEEDS_INDEX,
    params=[_RANGED],
    returns='[{"satoshis":n,"txid":"hex","index":n,"blockindex":n,"height":n,"address":"str"},...]    '
    "Negative where an output was spent; index is the output's or the input's",
    examples=_EXAMPLES,
)
async def getaddressdeltas(ctx: RpcContext, addresses: Any) -> list[dict[str, Any]]:
    index, asked = await _index(ctx), _read(ctx, addresses)
    return await ctx.read(lambda: [_delta_json(text, row) for text, row in _rows(index, asked)])


def _delta_json(text: str, row: AddressRow) -> dict[str, Any]:
    return {
        "satoshis": row.amount if row.spends is None else -row.amount,
        "txid": display(row.txid),
        "index": row.index,
        "blockindex": row.position,
        "height": row.height,
        "address": text,
    }


@methods.method(
    "getaddresstxids",
    "Returns the ids of the confirmed transactions of address(es), in the order of the chain." + _NEEDS_INDEX,
    params=[_RANGED],
    returns='["txid",...]',
    examples=_EXAMPLES,
)
async def getaddresstxids(ctx: RpcContext, addresses: Any) -> list[str]:
    index, asked = await _index(ctx), _read(ctx, addresses)
    rows = await ctx.read(lambda: sorted({(row.height, row.position, row.txid) for _, row in _rows(index, asked)}))
    return [display(txid) for _, _, txid in rows]


@methods.method(
    "getaddressmempool",
    "Returns all changes of address(es) by transactions of the mempool." + _NEEDS_INDEX,
    params=[_ADDRESSES],
    returns='[{"address":"str","txid":"hex","index":n,"satoshis":n,"timestamp":n,"prevtxid":"hex","prevout":n},...]'
    "    prevtxid and prevout where an output is spent",
    examples=_EXAMPLES,
)
async def getaddressmempool(ctx: RpcContext, addresses: Any) -> list[dict[str, Any]]:
    await _index(ctx)
    asked = _read(ctx, addresses)
    return await ctx.read(lambda: list(_unconfirmed(ctx, asked)))


def _unconfirmed(ctx: RpcContext, asked: _Asked) -> Iterator[dict[str, Any]]:
    pool = ctx.node.pool
    for entry in sorted(pool.entries(), key=lambda one: one.sequence):
        tx = entry.tx
        facts = {"txid": display(tx.txid), "timestamp": entry.time}
        for vin, txin in enumerate(tx.inputs):
            coin = pool.coin(txin.prevout)
            text = None if coin is None else asked.names.get(script_hash(coin.script_pubkey))
            if coin is not None and text is not None:
                spent = {"prevtxid": display(txin.prevout.txid), "prevout": txin.prevout.vout}
                yield {"address": text, **facts, "index": vin, "satoshis": -coin.amount, **spent}
        for vout, output in enumerate(tx.outputs):
            text = asked.names.get(script_hash(output.script_pubkey))
            if text is not None:
                yield {"address": text, **facts, "index": vout, "satoshis": output.amount}
