"""Everything that a surface (HTTP, RPC) may ask of the payments: the only module of this package that they import,
beside its value types in `invoice`, `stores`, `events`, `accounting`, `money` and `errors`.

Reads are synchronous, cheap and safe in any thread. Writes are awaited and durable when they return. Every fault
of the caller is a PaymentError with code, sentence and HTTP status.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from payments.accounts import Accounts
from payments.errors import PaymentError
from payments.events import Event
from payments.invoice import Invoice, SpeedPolicy, State, Status
from payments.rates import Rates
from payments.stores import ApiKey, ChainMethod, Store, StoreSettings, Webhook

__all__ = [
    "BtngInvoiceDraft",
    "Claim",
    "Delivery",
    "Idempotency",
    "InvoiceDraft",
    "InvoiceFilter",
    "InvoicePage",
    "PaymentService",
    "Readiness",
    "Sent",
    "UnassignedPayment",
]


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An `Idempotency-Key` of a creating call. Rows live 24 hours.

    `render` makes the stored answer from the created object, inside the transaction: pure, it may run again.
    The same key with another `body_hash` or route is refused (409 idempotency-key-reused).
    """

    principal: str
    """Id of the API key or user."""
    route: str
    key: str
    body_hash: bytes
    render: Callable[[Invoice], bytes]


@dataclass(frozen=True, slots=True)
class Sent:
    """The answer of a creating call: the object, or for a repeated key the stored answer."""

    invoice: Invoice
    stored: bytes | None = None
    """The first call's body, to be sent again byte for byte."""


@dataclass(frozen=True, slots=True)
class InvoiceDraft:
    """A Greenfield invoice as asked for. Amounts and percentages are the JSON token's text; None = default."""

    amount: str | None = None
    """None makes a top-up invoice."""
    currency: str | None = None
    metadata: bytes = b"{}"
    """A JSON object, already bounded in size and depth."""
    speed_policy: SpeedPolicy | None = None
    expiration_s: int | None = None
    monitoring_s: int | None = None
    payment_tolerance: str | None = None
    payment_methods: tuple[str, ...] | None = None
    default_payment_method: str | None = None
    redirect_url: str | None = None
    redirect_automatically: bool | None = None
    default_language: str | None = None
    receipt: bytes = b"{}"
    search_terms: tuple[str, ...] = ()
    callback_url: str | None = None
    memo: str = ""


@dataclass(frozen=True, slots=True)
class BtngInvoiceDraft:
    """`POST /api/btngpay/invoice`."""

    merchant: str
    """The store's fixed address, or its store id (a store with a descriptor gives each invoice an own one)."""
    amount: str
    """Text of the JSON token, number or string."""
    currency: str = ""
    """Empty for the chain's own unit."""
    memo: str = ""
    ttl_s: int | None = None
    callback_url: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """`POST /api/btngpay/pay`."""

    invoice_id: str
    tx_id: str
    from_address: str | None = None
    proof: str | None = None
    """Base64 signature of the text to sign, by the key of `from_address`."""


@dataclass(frozen=True, slots=True)
class InvoiceFilter:
    order_ids: tuple[str, ...] = ()
    statuses: tuple[Status, ...] = ()
    start: int | None = None
    end: int | None = None
    text: str = ""
    include_archived: bool = False
    skip: int = 0
    take: int | None = None
    cursor: str | None = None
    """Of an InvoicePage; continues behind it."""


@dataclass(frozen=True, slots=True)
class InvoicePage:
    invoices: Sequence[Invoice]
    cursor: str | None
    """None when there is no more."""


@dataclass(frozen=True, slots=True)
class UnassignedPayment:
    """An output that pays a fixed address and names no invoice."""

    outpoint: bytes
    amount: int
    address: str
    seen_at: int
    height: int
    """-1 while unconfirmed."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to hand an event to an endpoint."""

    id: str
    original_id: str
    webhook_id: str
    seq: int
    at: int
    http_code: int | None
    error: str | None
    is_success: bool


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether new invoices are taken, and if not, why."""

    is_ready: bool
    reason: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


class PaymentService(Protocol):
    """See `payments.plugin.PaymentsPlugin.service` for the object."""

    @property
    def unit(self) -> str:
        """The chain's currency code: GLD (BTC on btc-regtest)."""
        ...

    @property
    def method_id(self) -> str:
        """GLD-CHAIN."""
        ...

    @property
    def accounts(self) -> Accounts:
        """Users and their roles in stores."""
        ...

    @property
    def rates(self) -> Rates:
        """Rates of the coin in other currencies."""
        ...

    # Stores
    async def create_store(self, settings: StoreSettings, *, owner: str = "", chain: str | None = None) -> Store:
        """A new store; `chain` is an address, xpub or descriptor (see set_chain_method)."""
        ...

    async def update_store(self, store_id: str, changes: Mapping[str, object]) -> Store:
        """Merges typed `changes` (names of StoreSettings fields). 404 store-not-found, 422."""
        ...

    def store(self, store_id: str) -> Store | None: ...
    def stores(self) -> Sequence[Store]: ...
    def merchant_store(self, address: str) -> Store | None:
        """The store whose fixed address this is."""
        ...

    async def set_chain_method(
        self,
        store_id: str,
        config: str | None,
        *,
        enabled: bool = True,
        label: str = "",
        account_key_path: str = "",
    ) -> ChainMethod:
        """Sets how the store is paid: address, xpub (-[legacy|p2sh|taproot]) or descriptor; None keeps it. 422."""
        ...

    async def remove_chain_method(self, store_id: str) -> None: ...
    def preview_addresses(self, config: str, offset: int, count: int) -> Sequence[tuple[int, str]]:
        """(index, address) of a descriptor or xpub. 422."""
        ...

    # API keys
    async def create_api_key(
        self,
        label: str,
        permissions: Sequence[str],
        *,
        user_id: str = "",
        allowed_ips: Sequence[str] = (),
        application: str = "",
    ) -> tuple[str, ApiKey]:
        """The key in clear, for the one time it can be shown, and its record. 422 for an unknown permission."""
        ...

    def authenticate(self, key: str) -> ApiKey | None: ...
    def api_keys(self, user_id: str | None = None) -> Sequence[ApiKey]: ...
    async def revoke_api_key(self, key_id: str) -> bool: ...

    # Invoices
    async def create_invoice(
        self, store_id: str, draft: InvoiceDraft, *, idempotency: Idempotency | None = None
    ) -> Sent: ...
    async def create_btng_invoice(
        self, store_id: str, draft: BtngInvoiceDraft, *, idempotency: Idempotency | None = None
    ) -> Sent: ...
    def invoice(self, invoice_id: str) -> Invoice | None:
        """With its payments."""
        ...

    def list_invoices(self, store_id: str, wanted: InvoiceFilter) -> InvoicePage: ...
    async def wait_invoice(self, invoice_id: str, revision: int, timeout_s: float) -> Invoice | None:
        """The invoice once its revision is not `revision`, or as it is when the time is over."""
        ...

    async def set_metadata(self, invoice_id: str, metadata: bytes) -> Invoice: ...
    async def archive(self, invoice_id: str) -> Invoice: ...
    async def unarchive(self, invoice_id: str) -> Invoice:
        """400 already-unarchived."""
        ...

    async def mark_invoice(self, invoice_id: str, wanted: Status) -> Invoice:
        """422 path Status when not allowed."""
        ...

    async def claim(self, claim: Claim) -> Invoice:
        """Looks at a transaction a wallet names. 404, 409 (claim-proof-required, extra messageToSign), 422."""
        ...

    async def assign(self, store_id: str, invoice_id: str, outpoint: bytes) -> Invoice:
        """An unassigned payment given to an invoice by hand."""
        ...

    async def set_callback(self, invoice_id: str, url: str | None) -> Invoice:
        """Sets the invoice's callback URL, or without one sends the present status again."""
        ...

    def unassigned(self, store_id: str, limit: int = 1000) -> Sequence[UnassignedPayment]: ...
    def explain(self, invoice_id: str) -> Sequence[str]:
        """Why the invoice is not settled, in sentences."""
        ...

    # Webhooks
    async def create_webhook(
        self,
        store_id: str,
        url: str,
        *,
        secret: str | None = None,
        enabled: bool = True,
        automatic_redelivery: bool = True,
        everything: bool = True,
        specific_events: Sequence[str] = (),
    ) -> Webhook: ...
    async def update_webhook(self, webhook: Webhook) -> Webhook:
        """Replaces the record of the same id. 404, 422 path Url."""
        ...

    async def delete_webhook(self, store_id: str, webhook_id: str) -> None: ...
    def webhook(self, webhook_id: str) -> Webhook | None: ...
    def webhooks(self, store_id: str) -> Sequence[Webhook]: ...
    def deliveries(self, webhook_id: str, count: int | None = None) -> Sequence[Delivery]:
        """Newest first."""
        ...

    def delivery_body(self, webhook_id: str, delivery_id: str) -> bytes:
        """The JSON that was sent. 404 webhookdelivery-not-found, 409 webhookdelivery-pruned."""
        ...

    async def redeliver(self, webhook_id: str, delivery_id: str) -> str:
        """Id of the new delivery, which is sent asynchronously."""
        ...

    async def redeliver_failed(self, webhook_id: str, since: int) -> int:
        """Un-parks everything that failed since then; how many."""
        ...

    # Events
    def events(self, store_id: str, after: int, limit: int = 100) -> Sequence[Event]: ...
    async def wait_events(
        self, store_id: str, after: int, timeout_s: float, limit: int = 100
    ) -> Sequence[Event]: ...
    def event_body(self, event: Event) -> dict[str, object]:
        """The event as the pull feed writes it: Greenfield's fields with `id` and `sequence`."""
        ...

    def invoice_events(self, invoice_id: str) -> Sequence[Event]: ...

    # State
    def state(self, invoice: Invoice) -> State: ...
    def readiness(self, store: Store | None = None) -> Readiness: ...
    @property
    def tip_height(self) -> int:
        """Height of the block up to which payments are known."""
        ...


def require_store(service: PaymentService, store_id: str) -> Store:
    """The store, or PaymentError 404."""
    store = service.store(store_id)
    if store is None:
        raise PaymentError("store-not-found", "The store was not found", 404)
    return store
