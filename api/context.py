"""What every handler may use."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.errors import ApiError
from api.guard import GuardOptions
from api.permissions import Permission, grants
from api.ratelimit import Rate, RateLimiter
from api.server import Limits
from gldnode.ports import ChainView, NodeHost
from payments.accounts import ROLES
from payments.service import PaymentService

if TYPE_CHECKING:
    from api.routing import Principal

__all__ = ["ApiContext"]

_CREATION_RATE = Rate(100_000, 60, 100_000)
_ADMIN_EVERYWHERE = (Permission("btcpay.store.canviewstoresettings"),)


@dataclass(slots=True)
class ApiContext:
    """One per process, shared by both sites."""

    host: NodeHost
    maybe_service: PaymentService | None
    guard: GuardOptions
    limits: Limits
    base_url: str
    """Where absolute links begin, without a slash at the end: -externalurl, or the default site's address."""
    anonymous_limiter: RateLimiter
    """Requests without a key, by address."""
    password_limiter: RateLimiter
    """Basic authentication, by address."""
    node_version: str = "0"
    creation_limiter: RateLimiter | None = None
    """Creating calls, by key and by address; from -createratelimit where it is not given."""
    coin_aliases: tuple[str, ...] = ()
    """Other coins' names taken for ours in payment method ids (an option for shops that hard-code BTC)."""

    def __post_init__(self) -> None:
        if self.creation_limiter is None:
            text = self.host.option("createratelimit")
            rate = Rate.parse(text) if text is not None else _CREATION_RATE
            self.creation_limiter = RateLimiter(rate, self.host.clock)

    @property
    def chain(self) -> ChainView:
        """Raises ApiError 503 while the node starts."""
        try:
            return self.host.chain
        except AssertionError as error:  # the host has no chain before its start
            raise _starting() from error

    @property
    def service(self) -> PaymentService:
        """Raises ApiError 503 while the node starts."""
        if self.maybe_service is None:
            raise _starting()
        return self.maybe_service

    @property
    def known_methods(self) -> frozenset[str]:
        """Payment method ids that invoices may name; Lightning's are known, though not served yet."""
        unit = self.host.params.unit
        return frozenset((f"{unit}-CHAIN", f"{unit}-LN", f"{unit}-LNURL"))

    def member_may(self, who: "Principal", policy: str, store_id: str) -> bool:
        """Whether the principal's user has `policy` in the store by his role. The operator's keys have no user."""
        return who.user_id is None or grants(self._held_by_role(who, who.user_id, store_id), policy, store_id)

    def _held_by_role(self, who: "Principal", user_id: str, store_id: str) -> tuple[Permission, ...]:
        role = self.service.accounts.role(store_id, user_id)
        held = tuple(Permission(policy) for policy in ROLES.get(role or "", ()))
        return held + (_ADMIN_EVERYWHERE if who.is_admin else ())


def _starting() -> ApiError:
    return ApiError(503, "not-available", "The node is starting.", headers={"Retry-After": "5"})
