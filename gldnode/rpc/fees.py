"""What to pay, by the node's own confirmation history."""

from typing import Any, Final

from gldnode.mempool.horizon import FeerateRange, Horizon, Look
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount, number
from gldnode.rpc.params import Kind, Param, num, text
from gldnode.rpc.registry import MethodGroup

__all__ = ["methods"]

methods = MethodGroup("Util")

MAX_TARGET: Final = 1008
_CONF_TARGET = num("conf_target", "Confirmation target in blocks (1 - 1008)", required=True)


def _check_target(conf_target: int) -> None:
    if conf_target < 1:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid conf_target, must be between 1 and 1008")


@methods.method(
    "estimatesmartfee",
    "Estimates the approximate fee per kilobyte needed for a transaction to begin confirmation within conf_target "
    "blocks if possible and return the number of blocks for which the estimate is valid. Uses virtual "
    "transaction size "
    "as defined in BIP 141 (witness data is discounted).",
    params=[
        _CONF_TARGET,
        text(
            "estimate_mode", 'The fee estimate mode: "unset", "economical" or "conservative"', default="economical"
        ),
    ],
    returns='{"feerate":n,"errors":["str",...],"blocks":n}',
    examples=["6"],
)
async def estimatesmartfee(ctx: RpcContext, conf_target: int, estimate_mode: str) -> dict[str, Any]:
    _check_target(conf_target)
    mode = estimate_mode.lower()
    if mode not in ("unset", "economical", "conservative"):
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            'Invalid estimate_mode parameter, must be one of: "unset", "economical", "conservative"',
        )
    estimate = ctx.node.pool.smart_fee(min(conf_target, MAX_TARGET), conservative=mode == "conservative")
    out: dict[str, Any] = {}
    if estimate.feerate_per_kvb is not None:
        out["feerate"] = amount(estimate.feerate_per_kvb)
    else:
        out["errors"] = ["Insufficient data or no feerate found"]
    out["blocks"] = estimate.blocks
    return out


def _read_threshold(value: Any) -> float:
    threshold = float(value)
    if not 0 <= threshold <= 1:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid threshold")
    return threshold


@methods.method(
    "estimaterawfee",
    "WARNING: This interface is unstable and may disappear or change!\n\n"
    "WARNING: This is an advanced API call that is tightly coupled to the specific implementation of fee "
    "estimation. The parameters it can be called with and the results it returns will change if the internal "
    "implementation changes.\n\n"
    "Estimates the approximate fee per kilobyte needed for a transaction to begin confirmation within conf_target "
    "blocks if possible.",
    params=[
        _CONF_TARGET,
        Param(
            "threshold",
            Kind.NUM,
            "The proportion of transactions in a given feerate range that must have been confirmed within "
            "conf_target in order to consider those feerates as high enough and proceed to check lower buckets.",
            default=0.95,
            convert=_read_threshold,
        ),
    ],
    returns='{"short":{"feerate":n,"decay":n,"scale":n,"pass":{"startrange":n,"endrange":n,"withintarget":n,'
    '"totalconfirmed":n,"inmempool":n,"leftmempool":n},"fail":{...},"errors":["str",...]},"medium":{...},'
    '"long":{...}}    Results for any horizon which tracks blocks up to the confirmation target',
    examples=["6 0.9"],
    hidden=True,
)
async def estimaterawfee(ctx: RpcContext, conf_target: int, threshold: float) -> dict[str, Any]:
    _check_target(conf_target)
    looks = await ctx.validate(lambda: ctx.node.pool.fees.raw_looks(min(conf_target, MAX_TARGET), threshold))
    return {name: _look_json(horizon, look) for name, (horizon, look) in looks.items()}


def _look_json(horizon: Horizon, look: Look) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if look.feerate is not None:
        out["feerate"] = amount(round(look.feerate))
    out["decay"], out["scale"] = number(horizon.decay), horizon.scale
    if look.passed is not None:
        out["pass"] = _range_json(look.passed)
    if look.failed is not None:
        out["fail"] = _range_json(look.failed)
    if look.feerate is None:
        out["errors"] = ["Insufficient data or no feerate found which meets threshold"]
    return out


def _range_json(found: FeerateRange) -> dict[str, Any]:
    return {
        "startrange": _whole(found.start),
        "endrange": _whole(found.end),
        "withintarget": number(round(found.within_target, 2)),
        "totalconfirmed": number(round(found.confirmed, 2)),
        "inmempool": number(round(found.waiting, 2)),
        "leftmempool": number(round(found.left, 2)),
    }


def _whole(feerate: float) -> Any:
    return number(float(round(feerate)) if feerate < 1e15 else feerate)  # the last bucket's end is 1e99
