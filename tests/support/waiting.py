"""Waiting for what other processes do."""

import time
from collections.abc import Callable

__all__ = ["wait_for"]


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    """Look ten times a second until it holds. Raises AssertionError when it does not in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not in {timeout_s} seconds: {what}")
        time.sleep(0.1)
