"""`getorphantxs`: transactions that wait for parents nobody has sent yet."""

from typing import Any

from gldnode.primitives.tx import Tx
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import verbosity
from gldnode.rpc.peer_access import networking_of
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display

__all__ = ["methods"]

methods = MethodGroup("Network")


@methods.method(
    "getorphantxs",
    "Shows transactions in the tx orphanage.\n\n"
    "EXPERIMENTAL warning: this call may be changed in future releases.",
    params=[
        verbosity(
            "verbosity",
            "0 for an array of txids (may contain duplicates), 1 for an array of objects with tx details, and 2 "
            "for details from (1) and tx hex",
            0,
            allow_bool=False,
        )
    ],
    returns='["txid",...] or [{"txid":"hex","wtxid":"hex","bytes":n,"vsize":n,"weight":n,"from":[peer_id,...],'
    '"hex":"hex"},...]',
    examples=["2"],
    hidden=True,
)
async def getorphantxs(ctx: RpcContext, verbosity: int) -> list[Any]:
    orphans = networking_of(ctx).processing.orphans
    found = await ctx.validate(lambda: [(tx, orphans.peers_of(tx.wtxid)) for tx in orphans.txs()])
    if verbosity == 0:
        return [display(tx.txid) for tx, _ in found]
    if verbosity not in (1, 2):
        raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid verbosity value {verbosity}")
    return [_orphan_json(tx, peers, with_hex=verbosity == 2) for tx, peers in found]


def _orphan_json(tx: Tx, peers: tuple[int, ...], *, with_hex: bool) -> dict[str, Any]:
    out: dict[str, Any] = {
        "txid": display(tx.txid),
        "wtxid": display(tx.wtxid),
        "bytes": len(tx.raw),
        "vsize": tx.vsize,
        "weight": tx.weight,
        "from": list(peers),
    }
    if with_hex:
        out["hex"] = tx.raw.hex()
    return out
