"""Stores: the merchant accounts, with Greenfield's settings, and how each is paid on chain."""

from typing import Final

import msgspec

from payments.invoice import FeeMode, SpeedPolicy, ZeroConf

__all__ = [
    "SETTING_NAMES",
    "ApiKey",
    "ChainMethod",
    "DepthRule",
    "ReceiptOptions",
    "Store",
    "StoreSettings",
    "Webhook",
]


class ReceiptOptions(msgspec.Struct, frozen=True, rename="camel"):
    enabled: bool | None = True
    show_qr: bool | None = msgspec.field(name="showQR", default=True)
    show_payments: bool | None = True


class DepthRule(msgspec.Struct, frozen=True, rename="camel"):
    """From `amount` grains on, a payment needs `depth` confirmations (when more than the policy's)."""

    amount: int
    depth: int


class StoreSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Greenfield's store fields (durations in seconds, percentages in 10^-8) and our own below them."""

    name: str
    website: str | None = None
    support_url: str | None = None
    default_currency: str = "USD"
    additional_tracked_rates: tuple[str, ...] = ()
    invoice_expiration: int = 900
    display_expiration_timer: int = 300
    monitoring_expiration: int = 86_400
    refund_bolt11_expiration: int = 30
    """Days."""
    speed_policy: SpeedPolicy = SpeedPolicy.MEDIUM
    payment_tolerance: int = 0
    network_fee_mode: FeeMode = FeeMode.MULTIPLE
    lightning_description_template: str = "Paid to {StoreName} (Order ID: {OrderId})"
    lightning_amount_in_satoshi: bool = False
    lightning_private_route_hints: bool = False
    on_chain_with_ln_invoice_fallback: bool = False
    lazy_payment_methods: bool = False
    redirect_automatically: bool = False
    anyone_can_create_invoice: bool = False
    pay_join_enabled: bool = False
    auto_detect_language: bool = False
    play_sound_on_payment: bool = False
    apply_brand_color_to_backend: bool = False
    archived: bool = False
    show_recommended_fee: bool = True
    show_pay_in_wallet_button: bool = True
    show_store_header: bool = True
    celebrate_payment: bool = True
    recommended_fee_block_target: int = 1
    default_payment_method: str | None = None
    default_lang: str | None = None
    html_title: str | None = None
    brand_color: str | None = None
    logo_url: str | None = None
    css_url: str | None = None
    payment_sound_url: str | None = None
    payment_method_criteria: bytes = b"[]"
    """JSON as the merchant sent it."""
    receipt: ReceiptOptions = ReceiptOptions()
    # Ours:
    zero_conf: ZeroConf = ZeroConf()
    depth_by_amount: tuple[DepthRule, ...] = ()
    late_payment_grace: int = 0
    """Seconds behind the expiry in which a payment is taken at the original rate; 0 marks it PaidLate."""
    minimum_amount: int = 0
    """Grains; a smaller invoice is refused."""
    maximum_amount: int = 0
    """Grains; 0 for the network's limit."""
    allow_unsynced: bool = False
    """Take invoices although the node is behind."""
    spread: int = 0
    """In 10^-8 percent, taken off every rate that is not 1."""
    rate_rules: str = ""
    """Rules of rates in the store's own words; empty for the operator's."""


SETTING_NAMES: Final = frozenset(StoreSettings.__struct_fields__)


class ChainMethod(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a store is paid on chain: a descriptor that gives each invoice its own address, or one fixed address."""

    kind: str
    """`descriptor` or `address`."""
    text: str
    """The descriptor in canonical form, or the address."""
    source: str = ""
    """What the merchant gave (xpub, derivation scheme, descriptor, address)."""
    label: str = ""
    account_key_path: str = ""
    enabled: bool = True
    descriptor_id: bytes = b""
    """SHA-256 of the canonical form without origin: owns the next-index row."""
    script: bytes = b""
    """Of the fixed address."""


class Store(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    created_at: int
    settings: StoreSettings
    identity_key: bytes
    """Secret key that signs receipts (BIP 340). Never leaves the database."""
    identity: bytes
    """Its x-only public key."""
    callback_secret: str
    """Signs the callbacks of the store's invoices."""
    chain: ChainMethod | None = None
    owner: str = ""
    """User id of the creator; empty for the operator's."""

    @property
    def name(self) -> str:
        return self.settings.name


class ApiKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key's record. The key itself is never stored, only its SHA-256."""

    id: str
    """Seven characters, for lists and logs."""
    digest: bytes
    label: str
    permissions: tuple[str, ...]
    """Greenfield strings: `btcpay.store.cancreateinvoice` or with `:storeId`."""
    created_at: int
    user_id: str = ""
    """Whose key it is; empty for the operator's."""
    allowed_ips: tuple[str, ...] = ()
    application: str = ""


class Webhook(msgspec.Struct, frozen=True, omit_defaults=True):
    """An endpoint that reads the store's events."""

    id: str
    store_id: str
    url: str
    secret: str
    created_at: int
    enabled: bool = True
    automatic_redelivery: bool = True
    everything: bool = True
    specific_events: tuple[str, ...] = ()
