"""What the two libraries alone need for some amount of work, on this machine, right now."""

import hashlib
import time
from collections.abc import Callable

from gldnode.crypto.secp256k1 import pubkey_of, sign_ecdsa, sign_schnorr, strict_ecdsa_verifier, verify_schnorr

__all__ = ["cpu_seconds", "ecdsa_seconds", "schnorr_seconds", "sha256_seconds"]

_MIB = bytes(1 << 20)
_KEY = b"\x07" * 32
_DIGEST = hashlib.sha256(b"work").digest()


def cpu_seconds(work: Callable[[], object], repeat: int = 3) -> float:
    """The least of this process's CPU time that `work` took: what others do on the machine hardly shows."""
    best = float("inf")
    for _ in range(repeat):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best


def sha256_seconds(count: int) -> float:
    """To hash that many bytes in one go."""

    def work() -> None:
        state = hashlib.sha256()
        for _ in range(8):
            state.update(_MIB)

    return cpu_seconds(work, 3) / (8 * len(_MIB)) * count


def ecdsa_seconds(count: int) -> float:
    """To parse and verify that many ECDSA signatures."""
    signature, pubkey, verify = sign_ecdsa(_KEY, _DIGEST), pubkey_of(_KEY), strict_ecdsa_verifier()

    def work() -> None:
        for _ in range(200):
            assert verify(signature, _DIGEST, pubkey)

    return cpu_seconds(work, 3) / 200 * count


def schnorr_seconds(count: int) -> float:
    """To parse and verify that many BIP 340 signatures."""
    signature, xonly = sign_schnorr(_KEY, _DIGEST), pubkey_of(_KEY)[1:]

    def work() -> None:
        for _ in range(200):
            assert verify_schnorr(signature, _DIGEST, xonly)

    return cpu_seconds(work, 3) / 200 * count
