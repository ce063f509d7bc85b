"""What a script may ask about the transaction it runs for: signatures and lock times (Core: SignatureChecker)."""

from enum import IntEnum
from typing import Final

from gldnode.crypto.secp256k1 import verify_ecdsa, verify_schnorr
from gldnode.primitives.tx import SEQUENCE_FINAL
from gldnode.script.errors import ScriptError, ScriptErrorName
from gldnode.script.sighash import SighashCache
from gldnode.script.templates import is_pubkey_size_valid

__all__ = ["ExecutionData", "SigVersion", "SignatureChecker", "TxChecker"]

LOCKTIME_THRESHOLD: Final = 500_000_000
"""Lock times from here on are Unix seconds, below block heights."""
SEQUENCE_LOCKTIME_DISABLE_FLAG: Final = 1 << 31
SEQUENCE_LOCKTIME_TYPE_FLAG: Final = 1 << 22
SEQUENCE_LOCKTIME_MASK: Final = 0x0000FFFF


class SigVersion(IntEnum):
    """Which set of rules a script runs under."""

    BASE = 0
    WITNESS_V0 = 1
    TAPROOT = 2
    TAPSCRIPT = 3


class ExecutionData:
    """What a taproot spend carries along while it runs (Core: ScriptExecutionData)."""

    __slots__ = ("annex_hash", "codeseparator_pos", "tapleaf_hash", "validation_weight_left")

    def __init__(self, annex_hash: bytes | None = None, tapleaf_hash: bytes = b"", weight: int = 0) -> None:
        self.annex_hash = annex_hash
        """SHA-256 of the annex behind its length, None without annex."""
        self.tapleaf_hash = tapleaf_hash
        self.codeseparator_pos = 0xFFFFFFFF
        self.validation_weight_left = weight
        """BIP 342's budget: each signature check takes 50."""


class SignatureChecker:
    """Refuses everything: for scripts that run without a transaction."""

    def check_ecdsa(self, signature: bytes, pubkey: bytes, script_code: bytes, sig_version: SigVersion) -> bool:
        """Whether `signature` (with hash type) is the key's; `script_code` after FindAndDelete."""
        return False

    def check_schnorr(self, signature: bytes, xonly: bytes, sig_version: SigVersion, data: ExecutionData) -> None:
        """Raises ScriptError(SCHNORR_SIG…) unless `signature` is the key's."""
        raise ScriptError(ScriptErrorName.SCHNORR_SIG)

    def check_lock_time(self, lock_time: int) -> bool:
        """BIP 65."""
        return False

    def check_sequence(self, sequence: int) -> bool:
        """BIP 112."""
        return False


class TxChecker(SignatureChecker):
    """Answers for input `index` of the cache's transaction, which spends `amount` base units."""

    __slots__ = ("amount", "cache", "index")

    def __init__(self, cache: SighashCache, index: int, amount: int) -> None:
        self.cache = cache
        self.index = index
        self.amount = amount

    def verify_ecdsa(self, signature: bytes, digest: bytes, pubkey: bytes) -> bool:
        """The bare signature check, DER without hash type."""
        return verify_ecdsa(signature, digest, pubkey)

    def verify_schnorr(self, signature: bytes, digest: bytes, xonly: bytes) -> bool:
        """The bare BIP 340 check."""
        return verify_schnorr(signature, digest, xonly)

    def check_ecdsa(self, signature: bytes, pubkey: bytes, script_code: bytes, sig_version: SigVersion) -> bool:
        if not signature or not is_pubkey_size_valid(pubkey):
            return False
        hash_type = signature[-1]
        if sig_version is SigVersion.WITNESS_V0:
            digest = self.cache.segwit_v0(self.index, script_code, self.amount, hash_type)
        else:
            digest = self.cache.legacy(self.index, script_code, hash_type)
        return self.verify_ecdsa(signature[:-1], digest, pubkey)

    def check_schnorr(self, signature: bytes, xonly: bytes, sig_version: SigVersion, data: ExecutionData) -> None:
        size = len(signature)
        if size not in (64, 65):
            raise ScriptError(ScriptErrorName.SCHNORR_SIG_SIZE)
        hash_type = 0
        if size == 65:
            hash_type = signature[64]
            if hash_type == 0:  # only ever implied
                raise ScriptError(ScriptErrorName.SCHNORR_SIG_HASHTYPE)
            signature = signature[:64]
        tapscript = data if sig_version is SigVersion.TAPSCRIPT else None
        digest = self.cache.taproot(self.index, hash_type, data.annex_hash, tapscript)
        if digest is None:
            raise ScriptError(ScriptErrorName.SCHNORR_SIG_HASHTYPE)
        if not self.verify_schnorr(signature, digest, xonly):
            raise ScriptError(ScriptErrorName.SCHNORR_SIG)

    def check_lock_time(self, lock_time: int) -> bool:
        tx = self.cache.tx
        if (tx.lock_time < LOCKTIME_THRESHOLD) != (lock_time < LOCKTIME_THRESHOLD):
            return False
        # A final sequence would switch the transaction's lock time off.
        return lock_time <= tx.lock_time and tx.inputs[self.index].sequence != SEQUENCE_FINAL

    def check_sequence(self, sequence: int) -> bool:
        tx = self.cache.tx
        own = tx.inputs[self.index].sequence
        if tx.version & 0xFFFFFFFF < 2 or own & SEQUENCE_LOCKTIME_DISABLE_FLAG:
            return False
        mask = SEQUENCE_LOCKTIME_TYPE_FLAG | SEQUENCE_LOCKTIME_MASK
        own, sequence = own & mask, sequence & mask
        if (own < SEQUENCE_LOCKTIME_TYPE_FLAG) != (sequence < SEQUENCE_LOCKTIME_TYPE_FLAG):
            return False
        return sequence <= own
