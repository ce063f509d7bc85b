"""Whether the node is fit to take new invoices: a shop on a lagging node sells for payments it cannot see."""

from dataclasses import dataclass

from gldnode.ports import NodeHost

__all__ = ["Readiness", "max_tip_age", "readiness_of"]

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether new invoices are taken, and if not, why."""

    is_ready: bool
    reason: str = ""


def max_tip_age(host: NodeHost) -> int:
    """`-maxtipage` in seconds; 0 for no limit. A day, and no limit on the regtest networks."""
    text = host.option("maxtipage")
    if text is not None and text.isdecimal():
        return int(text)
    return 0 if host.params.is_regtest else DAY_S


_READY = Readiness(True)


def readiness_of(host: NodeHost, cursor_height: int | None, limit: int) -> Readiness:
    """The node's fitness: `cursor_height` is the follower's, None before the first store, `limit` max_tip_age."""
    chain = host.chain
    tip = chain.tip
    if not host.params.is_regtest and chain.is_initial_block_download:
        return Readiness(False, f"The node is still downloading the chain (block {tip.height})")
    age = host.clock.now() - tip.time
    if limit and age > limit:
        return Readiness(False, f"The newest block is {age} seconds old, more than -maxtipage={limit}")
    if cursor_height is not None and tip.height - cursor_height > 10:
        return Readiness(False, f"The payments are at block {cursor_height}, the chain at {tip.height}")
    return _READY
