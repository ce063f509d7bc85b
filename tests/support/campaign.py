"""Sizes and seeds of the long campaigns: a small fixed share in every run, the full number with `--long`."""

import os
import random

__all__ = ["campaign", "campaign_seed", "is_long"]


def is_long() -> bool:
    """Whether the run was asked for its full numbers (`scripts/test --long`)."""
    return os.environ.get("GLD_TEST_LONG") == "1"


def campaign(short: int, long: int) -> int:
    """How many rounds to run."""
    return long if is_long() else short


def campaign_seed(name: str) -> int:
    """The campaign's seed: fixed in short runs, from `GLD_TEST_SEED` or fresh in long ones, always printed."""
    named = os.environ.get("GLD_TEST_SEED")
    seed = int(named) if named else (random.SystemRandom().randrange(1 << 32) if is_long() else 20261121)
    print(f"seed of {name}: {seed} (repeat with GLD_TEST_SEED={seed})")
    return seed
