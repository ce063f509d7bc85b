"""The payments' RPC methods: how the operator makes the first key, and looks after the shop.

The registry finds them through the plug-in's `rpc_methods`; the service through the context's services.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from gldnode.primitives.amount import format_amount_short
from gldnode.primitives.hashes import BlockHash
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import arr, boolean, num, text
from gldnode.rpc.registry import MethodGroup
from payments.accounting import price_text
from payments.errors import PaymentError
from payments.invoice import Invoice, Payment, depth, due, payment_status
from payments.payloads import payment_id
from payments.receipts import ReceiptError, parse_receipt, verify_receipt
from payments.service import InvoiceFilter, PaymentService
from payments.stores import Store, StoreSettings
from payments.uri import payment_uri

__all__ = ["methods"]

methods = MethodGroup("Payments")

DEFAULT_PERMISSIONS = ("unrestricted",)


def _service(ctx: RpcContext) -> PaymentService:
    return ctx.services.require(PaymentService, RpcCode.MISC_ERROR, "This node does not take payments")


def _fault(error: PaymentError) -> RpcError:
    code = RpcCode.INVALID_ADDRESS_OR_KEY if error.status == 404 else RpcCode.INVALID_PARAMETER
    return RpcError(code, error.message)


@methods.method(
    "createstore",
    "Makes a store: the account that invoices belong to.",
    params=[
        text("name", "The store's name", required=True),
        text("merchant", "How it is paid: an address, an extended public key or a descriptor"),
        text("currency", "Default currency of its invoices (default: the chain's own)"),
    ],
    returns='{\n  "storeId": "str", ...    (json object) The store, and the secret that signs its callbacks\n}',
    examples=['"shop" "gldrt1q..."'],
)
async def createstore(ctx: RpcContext, name: str, merchant: str | None, currency: str | None) -> dict[str, Any]:
    service = _service(ctx)
    try:
        settings = StoreSettings(name=name, default_currency=(currency or service.unit).upper())
        store = await service.create_store(settings, chain=merchant)
    except PaymentError as error:
        raise _fault(error) from None
    return {**_store(store), "callbackSecret": store.callback_secret}


@methods.method(
    "liststores",
    "Lists the stores of this node.",
    returns="[ {...}, ... ]    (json array) The stores",
)
async def liststores(ctx: RpcContext) -> list[dict[str, Any]]:
    return [_store(store) for store in _service(ctx).stores()]


def _store(store: Store) -> dict[str, Any]:
    return {
        "storeId": store.id,
        "name": store.name,
        "merchant": store.chain.text if store.chain is not None else None,
        "currency": store.settings.default_currency,
        "identity": store.identity.hex(),
        "created": store.created_at,
    }


@methods.method(
    "setstoremerchant",
    "Sets how a store is paid from now on. Payments to what was handed out before are found all the same.",
    params=[
        text("storeid", "The store", required=True),
        text("merchant", "An address, an extended public key or a descriptor", required=True),
    ],
    returns="{...}    (json object) The store",
)
async def setstoremerchant(ctx: RpcContext, storeid: str, merchant: str) -> dict[str, Any]:
    service = _service(ctx)
    try:
        await service.set_chain_method(storeid, merchant)
    except PaymentError as error:
        raise _fault(error) from None
    store = service.store(storeid)
    assert store is not None
    return _store(store)


@methods.method(
    "createapikey",
    "Makes an API key. It is shown this once: only its hash is kept.",
    params=[
        text("label", "What it is for"),
        text("storeid", "Only for this store (default: for everything)"),
        arr("permissions", "Greenfield permissions (default: unrestricted)", [text("permission", "One")]),
    ],
    returns='{\n  "apiKey": "hex",\n  "id": "str",\n  "permissions": [...]\n}',
    examples=["", '"till" "storeid" \'["btcpay.store.cancreateinvoice"]\''],
)
async def createapikey(
    ctx: RpcContext, label: str | None, storeid: str | None, permissions: list[str] | None
) -> dict[str, Any]:
    service = _service(ctx)
    wanted = list(permissions or DEFAULT_PERMISSIONS)
    if any(not isinstance(permission, str) for permission in wanted):
        raise RpcError(RpcCode.TYPE_ERROR, "permissions must be strings")
    if storeid is not None:
        if service.store(storeid) is None:
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "There is no such store")
        wanted = [f"{permission}:{storeid}" for permission in wanted]
    try:
        key, record = await service.create_api_key(label or "", wanted)
    except PaymentError as error:
        raise _fault(error) from None
    return {"apiKey": key, "id": record.id, "permissions": list(record.permissions)}


@methods.method(
    "listapikeys",
    "Lists the API keys by their id; the keys themselves are not kept.",
    returns="[ {...}, ... ]    (json array) The keys",
)
async def listapikeys(ctx: RpcContext) -> list[dict[str, Any]]:
    return [
        {"id": key.id, "label": key.label, "permissions": list(key.permissions), "created": key.created_at}
        for key in _service(ctx).api_keys()
    ]


@methods.method(
    "revokeapikey",
    "Ends an API key at once.",
    params=[text("id", "The key's seven-character id", required=True)],
    returns="true|false    (boolean) Whether there was such a key",
)
async def revokeapikey(ctx: RpcContext, id: str) -> bool:
    return await _service(ctx).revoke_api_key(id)


@methods.method(
    "listinvoices",
    "Lists a store's invoices, newest first.",
    params=[
        text("storeid", "The store", required=True),
        num("count", "How many at most", default=20),
        boolean("archived", "With archived ones", default=False),
    ],
    returns="[ {...}, ... ]    (json array) The invoices",
)
async def listinvoices(ctx: RpcContext, storeid: str, count: int, archived: bool) -> list[dict[str, Any]]:
    service = _service(ctx)
    wanted = InvoiceFilter(include_archived=archived, take=min(max(count, 1), 1000))
    page = await ctx.read(lambda: service.list_invoices(storeid, wanted))
    return [_invoice(service, invoice) for invoice in page.invoices]


@methods.method(
    "getinvoice",
    "Shows an invoice, its payments, and why it is not settled.",
    params=[text("invoiceid", "The invoice", required=True)],
    returns="{...}    (json object) The invoice",
)
async def getinvoice(ctx: RpcContext, invoiceid: str) -> dict[str, Any]:
    service = _service(ctx)
    invoice = service.invoice(invoiceid)
    if invoice is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "There is no such invoice")
    shown = _invoice(service, invoice)
    shown["uri"] = payment_uri(invoice, ctx.node.params)
    shown["payments"] = [_payment(payment, service.tip_height) for payment in invoice.payments]
    shown["explanation"] = list(service.explain(invoiceid))
    return shown


def _invoice(service: PaymentService, invoice: Invoice) -> dict[str, Any]:
    state = service.state(invoice)
    return {
        "invoiceId": invoice.id,
        "storeId": invoice.store_id,
        "status": state.status.value,
        "additionalStatus": state.additional.value,
        "amount": price_text(invoice),
        "currency": invoice.currency,
        "due": format_amount_short(due(invoice)),
        "address": invoice.address,
        "created": invoice.created_at,
        "expires": invoice.expires_at,
    }


def _payment(payment: Payment, tip_height: int) -> dict[str, Any]:
    return {
        "id": payment_id(payment.outpoint),
        "amount": format_amount_short(payment.amount),
        "status": payment_status(payment).value,
        "confirmations": depth(payment, tip_height),
        "received": payment.received_at,
        "where": payment.presence.value,
    }


@methods.method(
    "listunassigned",
    "Lists payments to a store's fixed address that name no invoice.",
    params=[text("storeid", "The store", required=True), num("count", "How many at most", default=100)],
    returns="[ {...}, ... ]    (json array) The payments",
)
async def listunassigned(ctx: RpcContext, storeid: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": payment_id(found.outpoint),
            "amount": format_amount_short(found.amount),
            "address": found.address,
            "seen": found.seen_at,
            "height": found.height,
        }
        for found in _service(ctx).unassigned(storeid, min(max(count, 1), 10_000))
    ]


@methods.method(
    "acknowledgereorg",
    "Ends the safe mode: after a deep reorganisation settlement waits until the new branch is deep enough.",
    returns="true|false    (boolean) Whether there was one",
)
async def acknowledgereorg(ctx: RpcContext) -> bool:
    try:
        return await _service(ctx).acknowledge_reorganisation()
    except PaymentError:
        return False


@methods.method(
    "getreceipt",
    "Makes the receipt of a settled invoice: anyone can verify it offline.",
    params=[text("invoiceid", "The invoice", required=True)],
    returns="{...}    (json object) The receipt",
)
async def getreceipt(ctx: RpcContext, invoiceid: str) -> dict[str, Any]:
    service = _service(ctx)
    try:
        receipt = await ctx.read(lambda: service.receipt(invoiceid))
    except PaymentError as error:
        raise _fault(error) from None
    shown: dict[str, Any] = msgspec.to_builtins(receipt)
    return shown


@methods.method(
    "dumpheaders",
    "Writes the headers of the active chain to a file, 80 bytes each: receipts can be checked with it offline.",
    params=[text("filename", "A new file, relative to the network's folder", required=True)],
    returns='{\n  "headers": n,\n  "path": "str"\n}',
    examples=['"headers.bin"'],
)
async def dumpheaders(ctx: RpcContext, filename: str) -> dict[str, Any]:
    path = ctx.node.config.data_dir / filename
    chain = ctx.node.chain
    tip = chain.tip.height

    def write() -> None:
        with path.open("xb") as file:
            for height in range(tip + 1):
                block_hash = chain.block_hash(height)
                header = chain.header(block_hash) if block_hash is not None else None
                if header is None:
                    raise RpcError(RpcCode.MISC_ERROR, "The chain changed meanwhile: try again")
                file.write(header)

    try:
        await ctx.read(write)
    except OSError as error:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"{path}: {error.strerror}") from None
    return {"headers": tip + 1, "path": str(path)}


@methods.method(
    "verifyreceipt",
    "Checks a receipt against its signature, its proofs and this node's chain.",
    params=[text("receipt", "The receipt as JSON text; gld-cli takes the name of its file", required=True)],
    returns='{\n  "valid": true|false,\n  "findings": [...]\n}',
)
async def verifyreceipt(ctx: RpcContext, receipt: str) -> dict[str, Any]:
    try:
        parsed = parse_receipt(receipt.encode("utf-8", "replace"))
        chain = ctx.node.chain
        height_of: Callable[[bytes], int | None] = lambda block: chain.height_of(BlockHash(block))  # noqa: E731
        found = verify_receipt(parsed, ctx.node.params, height_of, chain.tip.height)
    except ReceiptError as error:
        return {"valid": False, "findings": [str(error)]}
    return {"valid": True, "findings": list(found)}
