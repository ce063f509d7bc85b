"""The payments' RPC method for the operator: how the payment server stands. It joins that of `payments.rpc`."""

from typing import Any

from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode
from payments.rpc_figures import methods
from payments.service import PaymentService

__all__ = ["methods"]


@methods.method(
    "getpaymentsinfo",
    "Shows how the payment server stands: its block, whether it takes invoices, the safe mode, stores, storage.",
    returns='{\n  "height": n, "ready": true|false, "reason": "str", "safemode": {...}, "stores": n,\n'
    '  "openinvoices": n, "storage": {"total": bytes, ...}\n}',
)
async def getpaymentsinfo(ctx: RpcContext) -> dict[str, Any]:
    service = ctx.services.require(PaymentService, RpcCode.MISC_ERROR, "This node does not take payments")
    ready = service.readiness()
    mode = service.safe_mode()
    shown: dict[str, Any] = {
        "height": service.tip_height,
        "ready": ready.is_ready,
        "reason": ready.reason,
        "safemode": None,
        "stores": len(service.stores()),
        "openinvoices": service.open_invoices(),
        "storage": await ctx.read(service.storage_used),
    }
    if mode is not None:
        shown["safemode"] = {
            "since": mode.since,
            "blocks": mode.depth,
            "untilheight": mode.until_height,
            "contested": mode.contested,
        }
    return shown
