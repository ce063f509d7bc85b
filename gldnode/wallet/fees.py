"""Feerates of the wallet: what the operator set, what the mempool estimates, and the floors below them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gldnode.params import ChainParams
from gldnode.ports import MempoolView
from gldnode.primitives.amount import AmountError, parse_amount

__all__ = ["FeePolicy", "fee_policy", "feerate_fee"]

DEFAULT_MIN_TX_FEERATE: Final = 1000
_DISCARD_FEERATE: Final = 10_000


def feerate_fee(feerate_per_kvb: int, vsize: int) -> int:
    """The fee of `vsize` virtual bytes, rounded up."""
    return -(-feerate_per_kvb * vsize // 1000)


@dataclass(slots=True)
class FeePolicy:
    """Grains per kvB, and grains for `max_tx_fee`."""

    fallback: int
    """`-fallbackfee`: without an estimate; 0 refuses to send then."""
    minimum: int
    """`-mintxfee`."""
    relay_minimum: int
    incremental: int
    dust: int
    discard: int
    """`-discardfee`."""
    long_term: int
    """`-consolidatefeerate`."""
    max_tx_fee: int
    """`-maxtxfee`: no transaction of the wallet pays more."""
    signal_rbf: bool = True
    """`-walletrbf`."""
    spend_unconfirmed_change: bool = True
    """`-spendzeroconfchange`."""
    conf_target: int = 6
    """`-txconfirmtarget`."""
    pay_feerate: int = 0
    """`settxfee`: 0 estimates."""

    @property
    def required(self) -> int:
        """Below this nothing is relayed (Core: GetRequiredFeeRate)."""
        return max(self.minimum, self.relay_minimum)

    def choose(self, mempool: MempoolView, conf_target: int | None = None) -> tuple[int, str]:
        """A feerate and where it comes from; 0 when there is no estimate and no fallback."""
        floor = max(self.required, mempool.min_feerate_per_kvb())
        if self.pay_feerate and conf_target is None:
            return max(self.pay_feerate, self.required), "PayTxFee set"
        estimate = mempool.estimate_feerate_per_kvb(conf_target or self.conf_target)
        if estimate is not None and estimate > 0:
            return max(estimate, floor), "Conservative estimate"
        if self.fallback == 0:
            return 0, "Fallback fee"
        return max(self.fallback, floor), "Fallback fee"

    def discard_feerate(self, mempool: MempoolView) -> int:
        """Change worth less than spending it at this rate is given up."""
        estimate = mempool.estimate_feerate_per_kvb(1008)
        chosen = self.discard if estimate is None else min(estimate, self.discard)
        return max(chosen, self.dust)


def fee_policy(option: Callable[[str], str | None], params: ChainParams) -> FeePolicy:
    """From the node's configuration. Raises AmountError naming the key."""

    def rate(key: str, default: int) -> int:
        value = option(key)
        if value is None:
            return default
        try:
            return int(parse_amount(value, params.max_money))
        except AmountError:
            raise AmountError(f"Invalid amount for -{key}=<amount>: '{value[:80]}'") from None

    def switch(key: str, default: bool) -> bool:
        value = option(key)
        return default if value is None else value not in ("0", "false", "")

    target = option("txconfirmtarget")
    incremental = rate("incrementalrelayfee", 100)
    return FeePolicy(
        # Core has no fallback anywhere; on a young chain without fee history that would refuse every payment.
        fallback=rate("fallbackfee", 20_000 if params.is_regtest else 0 if params.is_bitcoin else 10_000),
        minimum=rate("mintxfee", DEFAULT_MIN_TX_FEERATE),
        relay_minimum=rate("minrelaytxfee", max(100, incremental)),
        incremental=incremental,
        dust=rate("dustrelayfee", 3000),
        discard=rate("discardfee", _DISCARD_FEERATE),
        long_term=rate("consolidatefeerate", 10_000),
        max_tx_fee=rate("maxtxfee", 10_000_000),
        signal_rbf=switch("walletrbf", True),
        spend_unconfirmed_change=switch("spendzeroconfchange", True),
        conf_target=int(target) if target and target.isascii() and target.isdigit() else 6,
    )
