"""Greenfield's stores, their payment methods, members and roles."""

from msgspec import UNSET, Raw, Struct, UnsetType, field

from api.fields import AnyJson, DurationJson, OptionalAmountText

__all__ = [
    "DepthRuleModel",
    "MemberAnswer",
    "MemberRequest",
    "MethodRequest",
    "MethodSettingsAnswer",
    "PreviewAddress",
    "PreviewAnswer",
    "PreviewRequest",
    "RoleAnswer",
    "StoreAnswer",
    "StoreReceipt",
    "StoreRequest",
    "ZeroConfAnswer",
    "ZeroConfRequest",
]


class StoreReceipt(Struct, rename="camel"):
    enabled: bool | None = None
    show_qr: bool | None = field(name="showQR", default=None)
    show_payments: bool | None = None


class ZeroConfRequest(Struct, rename="camel"):
    """When a payment is enough unconfirmed (speed policy HighSpeed); what is left out keeps its value."""

    max_amount: OptionalAmountText | UnsetType = UNSET
    min_feerate_per_kvb: int | None = None
    seconds_seen: int | None = None


class ZeroConfAnswer(Struct, rename="camel"):
    max_amount: str
    min_feerate_per_kvb: int
    seconds_seen: int


class DepthRuleModel(Struct, rename="camel"):
    """From `amount` coins on, a payment needs `confirmations`, where the speed policy asks for fewer."""

    amount: OptionalAmountText
    confirmations: int


class StoreRequest(Struct, rename="camel"):
    """A merge: what is left out or null keeps its value (or the default in a new store)."""

    name: str | None = None
    website: str | None = None
    support_url: str | None = None
    default_currency: str | None = None
    additional_tracked_rates: list[str] | None = None
    invoice_expiration: DurationJson | UnsetType = UNSET
    display_expiration_timer: DurationJson | UnsetType = UNSET
    monitoring_expiration: DurationJson | UnsetType = UNSET
    refund_bolt11_expiration: DurationJson | UnsetType = field(name="refundBOLT11Expiration", default=UNSET)
    speed_policy: AnyJson | UnsetType = UNSET
    payment_tolerance: OptionalAmountText | UnsetType = UNSET
    network_fee_mode: AnyJson | UnsetType = UNSET
    lightning_description_template: str | None = None
    lightning_amount_in_satoshi: bool | None = None
    lightning_private_route_hints: bool | None = None
    on_chain_with_ln_invoice_fallback: bool | None = None
    lazy_payment_methods: bool | None = None
    redirect_automatically: bool | None = None
    anyone_can_create_invoice: bool | None = None
    pay_join_enabled: bool | None = None
    auto_detect_language: bool | None = None
    play_sound_on_payment: bool | None = None
    apply_brand_color_to_backend: bool | None = None
    archived: bool | None = None
    show_recommended_fee: bool | None = None
    show_pay_in_wallet_button: bool | None = None
    show_store_header: bool | None = None
    celebrate_payment: bool | None = None
    recommended_fee_block_target: int | None = None
    default_payment_method: str | None = None
    default_lang: str | None = None
    html_title: str | None = None
    brand_color: str | None = None
    logo_url: str | None = None
    css_url: str | None = None
    payment_sound_url: str | None = None
    payment_method_criteria: AnyJson | UnsetType = UNSET
    receipt: StoreReceipt | None = None
    # Ours:
    minimum_amount: OptionalAmountText | UnsetType = UNSET
    maximum_amount: OptionalAmountText | UnsetType = UNSET
    zero_conf_limit: OptionalAmountText | UnsetType = UNSET
    zero_conf: ZeroConfRequest | None = None
    confirmations_by_amount: list[DepthRuleModel] | None = None
    allow_unsynced: bool | None = None
    late_payment_grace: DurationJson | UnsetType = UNSET


class StoreAnswer(Struct, rename="camel"):
    id: str
    name: str
    website: str | None
    support_url: str | None
    default_currency: str
    additional_tracked_rates: list[str]
    invoice_expiration: int
    display_expiration_timer: int
    monitoring_expiration: int
    refund_bolt11_expiration: int = field(name="refundBOLT11Expiration")
    speed_policy: str
    payment_tolerance: Raw
    network_fee_mode: str
    lightning_description_template: str
    lightning_amount_in_satoshi: bool
    lightning_private_route_hints: bool
    on_chain_with_ln_invoice_fallback: bool
    lazy_payment_methods: bool
    redirect_automatically: bool
    anyone_can_create_invoice: bool
    pay_join_enabled: bool
    auto_detect_language: bool
    play_sound_on_payment: bool
    apply_brand_color_to_backend: bool
    archived: bool
    show_recommended_fee: bool
    show_pay_in_wallet_button: bool
    show_store_header: bool
    celebrate_payment: bool
    recommended_fee_block_target: int
    default_payment_method: str | None
    default_lang: str | None
    html_title: str | None
    brand_color: str | None
    logo_url: str | None
    css_url: str | None
    payment_sound_url: str | None
    payment_method_criteria: Raw
    receipt: StoreReceipt
    minimum_amount: str
    maximum_amount: str | None
    zero_conf_limit: str
    zero_conf: ZeroConfAnswer
    confirmations_by_amount: list[DepthRuleModel]
    allow_unsynced: bool
    late_payment_grace: int
    identity: str
    """The x-only public key that signs the store's receipts."""


class MethodRequest(Struct, rename="camel"):
    """`config` is an address, extended public key, descriptor, or an object with `derivationScheme`.

    The others are how clients of before 2.0 write it.
    """

    enabled: bool | None = None
    config: AnyJson | UnsetType = UNSET
    derivation_scheme: str | None = None
    label: str | None = None
    account_key_path: str | None = None


class MethodSettingsAnswer(Struct, rename="camel"):
    enabled: bool
    payment_method_id: str
    config: Raw | UnsetType = UNSET


class MemberRequest(Struct, rename="camel"):
    """`userId` and `role` are the old names."""

    id: str | None = None
    user_id: str | None = None
    store_role: str | None = None
    role: str | None = None


class MemberAnswer(Struct, rename="camel"):
    id: str
    user_id: str
    email: str
    name: str | None
    image_url: str | None
    store_role: str
    role: str


class RoleAnswer(Struct, rename="camel"):
    id: str
    role: str
    permissions: list[str]
    is_server_role: bool


class PreviewRequest(Struct, rename="camel"):
    config: AnyJson | UnsetType = UNSET
    derivation_scheme: str | None = None


class PreviewAddress(Struct, rename="camel"):
    key_path: str
    address: str
    index: int


class PreviewAnswer(Struct):
    addresses: list[PreviewAddress]
