"""Offering transactions: sendrawtransaction, testmempoolaccept, submitpackage."""

from collections.abc import Sequence
from typing import Any, Final

from gldnode.errors import Reject
from gldnode.mempool.results import Accepted, MissingInputs, TestResult, TxResult
from gldnode.primitives.amount import COIN
from gldnode.primitives.tx import Tx
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount, json_type
from gldnode.rpc.params import arr, coin_amount, hex_data, text
from gldnode.rpc.rawtx import decode_tx
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display
from gldnode.script.script import is_unspendable

__all__ = ["methods", "submit"]

methods = MethodGroup("Rawtransactions")

DEFAULT_MAX_FEERATE: Final = COIN // 10
NO_INPUTS: Final = "Make sure the tx has at least one input."
_FEE_TOO_HIGH: Final = "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)"
_MAX_SCRIPT_SIZE: Final = 10_000

MAXFEERATE = coin_amount(
    "maxfeerate",
    "Reject transactions whose fee rate is higher than the specified value, expressed in coins/kvB. Set to 0 "
    "to accept "
    "any fee rate.",
    default=None,
)
MAXBURN = coin_amount(
    "maxburnamount",
    "Reject transactions with provably unspendable outputs (e.g. 'datacarrier' outputs that use the OP_RETURN "
    "opcode) "
    "greater than the specified value.",
    default=None,
)


def _feerate_limit(maxfeerate: int | None) -> int:
    """Grains per kvB; 0 for none."""
    limit = DEFAULT_MAX_FEERATE if maxfeerate is None else maxfeerate
    if limit >= COIN:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Fee rates larger than or equal to 1BTC/kvB are not accepted")
    return limit


def _check_burn(tx: Tx, limit: int | None) -> None:
    for output in tx.outputs:
        script = output.script_pubkey
        burns = is_unspendable(script) or len(script) > _MAX_SCRIPT_SIZE
        if burns and output.amount > (limit or 0):
            raise RpcError(
                RpcCode.VERIFY_ERROR, "Unspendable output exceeds maximum configured by user (maxburnamount)"
            )


@methods.method(
    "sendrawtransaction",
    "Submit a raw transaction (serialized, hex-encoded) to local node and network.\n\nThe transaction will be "
    "sent "
    "unconditionally to all peers, so using sendrawtransaction for manual rebroadcast may degrade privacy by "
    "leaking "
    "the transaction's origin.",
    params=[hex_data("hexstring", "The hex string of the raw transaction", required=True), MAXFEERATE, MAXBURN],
    returns='"hex"    (string) The transaction hash in hex',
    examples=['"signedhex"'],
)
async def sendrawtransaction(
    ctx: RpcContext, hexstring: str, maxfeerate: int | None, maxburnamount: int | None
) -> str:
    tx = decode_tx(hexstring, message=f"TX decode failed. {NO_INPUTS}")
    _check_burn(tx, maxburnamount)
    await submit(ctx, tx, _feerate_limit(maxfeerate))
    return display(tx.txid)


async def submit(ctx: RpcContext, tx: Tx, max_feerate: int = 0) -> None:
    """Into the mempool and out to the peers (Core: BroadcastTransaction). Raises RpcError -25, -26, -27."""
    pool = ctx.node.pool

    def offer() -> bool:
        """Whether it is new here."""
        is_new = tx.txid not in pool
        if is_new:
            try:
                pool.accept(tx, max_feerate=max_feerate or None)
            except Reject as reject:
                # Asked only now: what the chain has made already is never accepted, for its inputs are spent.
                if _is_in_utxo_set(ctx, tx):
                    raise RpcError(
                        RpcCode.VERIFY_ALREADY_IN_UTXO_SET, "Transaction outputs already in utxo set"
                    ) from None
                raise _submit_error(reject) from None
        pool.set_unbroadcast(tx.txid)
        return is_new

    if not await ctx.validate(offer):
        ctx.node.relay(tx)  # a new one has been queued for the peers by the mempool's event


def _is_in_utxo_set(ctx: RpcContext, tx: Tx) -> bool:
    coin = ctx.node.chainstate.coin
    return any(coin(tx.outpoint(vout)) is not None for vout in range(len(tx.outputs)))


def _submit_error(reject: Reject) -> RpcError:
    if reject.reason == "max-fee-exceeded":
        return RpcError(RpcCode.VERIFY_ERROR, _FEE_TOO_HIGH)
    if isinstance(reject, MissingInputs):
        return RpcError(RpcCode.VERIFY_ERROR, reject.reason)
    return RpcError(RpcCode.VERIFY_REJECTED, str(reject))


def _decode_all(rawtxs: Sequence[Any], most: int) -> list[Tx]:
    if not 1 <= len(rawtxs) <= most:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"Array must contain between 1 and {most} transactions.")
    txs = []
    for item in rawtxs:
        if json_type(item) != "string":
            raise RpcError(
                RpcCode.TYPE_ERROR, f"JSON value of type {json_type(item)} is not of expected type string"
            )
        txs.append(decode_tx(item, message=f"TX decode failed: {item[:64]} {NO_INPUTS}"))
    return txs


@methods.method(
    "testmempoolaccept",
    "Returns result of mempool acceptance tests indicating if raw transaction(s) (serialized, hex-encoded) "
    "would be "
    "accepted by mempool.\n\nIf multiple transactions are passed in, parents must come before children and "
    "package "
    "policies apply: the transactions cannot conflict with any mempool transactions or each other.",
    params=[
        arr("rawtxs", "An array of hex strings of raw transactions.", [text("rawtx", "")], required=True),
        MAXFEERATE,
    ],
    returns="[{...},...]",
    examples=['"[\\"signedhex\\"]"'],
)
async def testmempoolaccept(ctx: RpcContext, rawtxs: list[Any], maxfeerate: int | None) -> list[dict[str, Any]]:
    txs = _decode_all(rawtxs, 25)
    limit = _feerate_limit(maxfeerate)
    results = await ctx.validate(lambda: ctx.node.pool.test_accept(txs, max_feerate=limit or None))
    return [_test_json(result) for result in results]


def _test_json(result: TestResult) -> dict[str, Any]:
    out: dict[str, Any] = {"txid": display(result.tx.txid), "wtxid": display(result.tx.wtxid)}
    if result.package_error is not None:
        out["package-error"] = result.package_error
    if result.accepted is not None:
        out["allowed"] = True
        out["vsize"] = result.accepted.vsize
        out["fees"] = _fees_json(result.accepted)
    elif result.reject is not None:
        out["allowed"] = False
        reason, detail = result.reject.reason, str(result.reject)
        if isinstance(result.reject, MissingInputs):
            reason, detail = "missing-inputs", "bad-txns-inputs-missingorspent"
        out["reject-reason"] = reason
        out["reject-details"] = detail
    return out


def _fees_json(accepted: Accepted) -> dict[str, Any]:
    return {
        "base": amount(accepted.fee),
        "effective-feerate": amount(accepted.effective_feerate_per_kvb),
        "effective-includes": [display(one) for one in accepted.effective_includes],
    }


@methods.method(
    "submitpackage",
    "Submit a package of raw transactions (serialized, hex-encoded) to local node.\nThe package will be validated "
    "according to consensus and mempool policy rules. If any transaction passes, it will be accepted to mempool.\n"
    "The package must consist of a child with its parents, topologically sorted with the child last.",
    params=[
        arr("package", "An array of raw transactions.", [text("rawtx", "")], required=True),
        MAXFEERATE,
        MAXBURN,
    ],
    returns='{"package_msg":"str","tx-results":{"wtxid":{...}},"replaced-transactions":["hex",...]}',
    examples=['"[\\"raw-parent-tx-1\\", \\"raw-child-tx\\"]"'],
)
async def submitpackage(
    ctx: RpcContext, package: list[Any], maxfeerate: int | None, maxburnamount: int | None
) -> dict[str, Any]:
    txs = _decode_all(package, 25)
    for tx in txs:
        _check_burn(tx, maxburnamount)
    limit = _feerate_limit(maxfeerate)
    if len(txs) > 1 and not _is_child_with_parents(txs):
        raise RpcError(
            RpcCode.VERIFY_ERROR,
            "package topology disallowed. not child-with-parents or parents depend on each other.",
        )
    pool = ctx.node.pool

    def offer() -> Any:
        result = pool.submit_package(txs, max_feerate=limit or None)
        for tx in txs:
            pool.set_unbroadcast(tx.txid)
        return result

    result = await ctx.validate(offer)
    for tx in txs:
        if tx.txid in pool:
            ctx.node.relay(tx)
    return {
        "package_msg": result.message,
        "tx-results": {display(tx.wtxid): _package_tx_json(result.results.get(tx.wtxid), tx) for tx in txs},
        "replaced-transactions": [display(one) for one in result.replaced],
    }


def _is_child_with_parents(txs: Sequence[Tx]) -> bool:
    spent = {txin.prevout.txid for txin in txs[-1].inputs}
    parents = {tx.txid for tx in txs[:-1]}
    tree = all(txin.prevout.txid not in parents for tx in txs[:-1] for txin in tx.inputs)
    return tree and parents <= spent


def _package_tx_json(result: TxResult | None, tx: Tx) -> dict[str, Any]:
    out: dict[str, Any] = {"txid": display(tx.txid)}
    if result is None or result.package_not_validated:
        out["error"] = "package-not-validated"
    elif result.other_wtxid is not None:
        out["other-wtxid"] = display(result.other_wtxid)
    elif result.reject is not None:
        out["error"] = str(result.reject)
    elif result.accepted is not None:
        out["vsize"] = result.accepted.vsize
        out["fees"] = _fees_json(result.accepted)
    elif result.in_mempool is not None:
        out["vsize"] = result.in_mempool.vsize
        out["fees"] = {"base": amount(result.in_mempool.fee)}
    return out
