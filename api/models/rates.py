"""Greenfield's rates."""

from msgspec import UNSET, Raw, Struct, UnsetType

from api.fields import OptionalAmountText

__all__ = ["RateAnswer", "RateConfigAnswer", "RateConfigRequest"]


class RateAnswer(Struct, rename="camel"):
    """An unavailable rate is null with its reasons, not an error of the request."""

    currency_pair: str
    rate: str | None
    errors: list[str]


class RateConfigRequest(Struct, rename="camel"):
    spread: OptionalAmountText | UnsetType = UNSET
    is_custom_script: bool | None = None
    effective_script: str | None = None
    preferred_source: str | None = None


class RateConfigAnswer(Struct, rename="camel"):
    spread: Raw
    is_custom_script: bool
    effective_script: str
    preferred_source: str | None
