"""The ends of all branches (`getchaintips`)."""

from gldnode.chain import entry as flags
from gldnode.chain.active import ActiveChain
from gldnode.chain.index import BlockIndex
from gldnode.chain.options import ChainTip, TipStatus

__all__ = ["chain_tips"]


def chain_tips(index: BlockIndex, active: ActiveChain) -> list[ChainTip]:
    """Every branch's end, the highest first; the active tip even where headers build on it."""
    found = []
    for entry in index.tips() | {active.tip_entry}:
        if active.contains(entry) and entry is not active.tip_entry:
            continue
        if entry is active.tip_entry:
            status = TipStatus.ACTIVE
        elif entry.is_failed:
            status = TipStatus.INVALID
        elif not entry.chain_tx:
            status = TipStatus.HEADERS_ONLY
        elif entry.is_valid_to(flags.VALID_SCRIPTS):
            status = TipStatus.VALID_FORK
        else:
            status = TipStatus.VALID_HEADERS
        found.append(ChainTip(entry, entry.height - active.fork_with(entry).height, status))
    return sorted(found, key=lambda tip: (-tip.entry.height, tip.entry.hash))
