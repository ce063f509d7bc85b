"""Chains built to break one rule each, and what a node must answer. `workshop` tells how they are made."""

from tests.consensus.adversary import (
    cases_chains,
    cases_coinbase,
    cases_header,
    cases_locks,
    cases_scripts,
    cases_sigops,
    cases_spending,
    cases_structure,
)
from tests.consensus.adversary.workshop import Case

__all__ = ["CASES"]

_MODULES = (
    cases_header,
    cases_coinbase,
    cases_structure,
    cases_sigops,
    cases_spending,
    cases_locks,
    cases_scripts,
    cases_chains,
)
CASES: dict[str, Case] = dict(sorted(Case.registry.items(), key=lambda item: item[1].at))
"""By name; those on the lower part of the base chain first, so that a node walks up it once."""
