"""Randomness. The only module that imports `secrets`; everything else takes an `Entropy`."""

import os
import secrets
from typing import Protocol

__all__ = ["Entropy", "SystemEntropy"]


class Entropy(Protocol):
    """Where unpredictable bytes come from."""

    def bytes(self, count: int) -> bytes:
        """`count` unpredictable bytes."""
        ...

    def below(self, limit: int) -> int:
        """A uniform integer in [0, limit)."""
        ...


class SystemEntropy:
    """The operating system's generator."""

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)  # what secrets.token_bytes asks, after two calls more

    def below(self, limit: int) -> int:
        return secrets.randbelow(limit)
