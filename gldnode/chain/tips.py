"""The ends of all branches (`getchaintips`), and the branch that may overtake the active one."""

from itertools import islice

from gldnode.chain import entry as flags
from gldnode.chain.active import ActiveChain
from gldnode.chain.entry import BlockEntry
from gldnode.chain.index import BlockIndex
from gldnode.chain.options import ChainTip, TipStatus
from gldnode.events import Rival

__all__ = ["chain_tips", "strongest_rival"]

NEWEST = 200
"""Headers looked at for rivals: a branch that is near the tip was heard of lately."""


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


def strongest_rival(index: BlockIndex, active: ActiveChain) -> Rival | None:
    """The best branch beside the active chain whose work is at most one block short of the tip's."""
    tip = active.tip_entry
    enough = tip.prev.chain_work if tip.prev is not None else tip.chain_work
    near = [e for e in _newest(index) if e.chain_work >= enough and not e.is_failed and not active.contains(e)]
    for entry in sorted(near, key=lambda entry: -entry.chain_work):
        fork = active.fork_with(entry)
        if fork is not tip:
            return Rival(entry.hash, entry.height, fork.height)
    return None


def _newest(index: BlockIndex) -> list[BlockEntry]:
    """The entries that came last, from any thread."""
    while True:
        try:
            return list(islice(reversed(index.entries.values()), NEWEST))
        except RuntimeError:  # the validation thread has added one between two of these calls
            continue
