"""All inputs of a block, or of one transaction, at once: common spends without the interpreter.

A fast path only ever says yes. It knows four forms by their bytes (P2WPKH, P2SH-P2WPKH, P2PKH, P2TR by key) and
says yes where the interpreter would; whatever it does not recognise, and every signature that does not verify,
goes to the interpreter, whose verdict counts. So an error here could only be a yes too many, and the tests look
for one by mutating signatures, keys, scripts, flags and hash types.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from struct import Struct as Packer
from typing import Final, NamedTuple

from gldnode.crypto.secp256k1 import EcdsaVerify, SchnorrVerify, schnorr_verifier, strict_ecdsa_verifier
from gldnode.primitives.hashes import hash160
from gldnode.primitives.tx import Tx, TxIn
from gldnode.script.errors import ScriptError
from gldnode.script.flags import ScriptFlags
from gldnode.script.sighash import SighashCache, SpentOutput
from gldnode.script.verify import verify_input

__all__ = ["Failure", "Job", "TxVerifier", "verify_inputs"]

Job = tuple[Tx, Sequence[SpentOutput]]
"""A transaction and what its inputs spend, in order."""

_CHUNK_INPUTS: Final = 64
"""What one thread takes at a time: 3 ms of work."""
_P2SH_WITNESS: Final = int(ScriptFlags.P2SH | ScriptFlags.WITNESS)
_TAPROOT: Final = int(ScriptFlags.P2SH | ScriptFlags.WITNESS | ScriptFlags.TAPROOT)
_DEFINED_HASH_TYPES: Final = frozenset((0x01, 0x02, 0x03, 0x81, 0x82, 0x83))
_ALMOST_ZERO: Final = bytes(16)
"""A program that begins so may be zero as a truth value: a matter for the interpreter."""
_LEAST_SIGNATURE: Final = 60
"""A legacy signature of that size cannot be part of the 25-byte script it would have to be deleted from."""
_V0_KEYHASH = Packer("<I32s32s36s4s20s2sqI32sII")
"""What a P2WPKH signature with SIGHASH_ALL signs, BIP 143."""
_sha256 = hashlib.sha256


class Failure(NamedTuple):
    """The first input, in order of jobs and inputs, that may not spend what it spends."""

    job: int
    input_index: int
    error: ScriptError


def verify_inputs(jobs: Sequence[Job], flags: ScriptFlags, pool: Executor | None = None) -> Failure | None:
    """The first failure among all inputs of `jobs`, None when all are valid.

    `pool` checks a part of them in its threads beside this one; the answer does not depend on it.
    """
    if pool is not None:
        chunks = _chunks(jobs)
        if len(chunks) > 1:
            return _verify_in_pool(jobs, chunks, int(flags), pool)
    return _verify_chunk(jobs, range(len(jobs)), int(flags))


class TxVerifier:
    """Verifies one transaction after the other, under one set of flags. For one thread: it keeps its buffers."""

    def __init__(self, flags: ScriptFlags) -> None:
        self._flags = flags
        self._fast = _FastPath(int(flags))

    def failure(self, tx: Tx, spent: Sequence[SpentOutput]) -> Failure | None:
        """The first failure among the inputs (as job 0)."""
        rest = self._fast.verify(tx, spent)
        return None if rest is None else _verify_rest(0, tx, spent, rest, self._flags)


def _chunks(jobs: Sequence[Job]) -> list[range]:
    """Runs of jobs of about as many inputs each."""
    chunks: list[range] = []
    start = inputs = 0
    for number, (tx, _) in enumerate(jobs):
        inputs += len(tx.inputs)
        if inputs >= _CHUNK_INPUTS:
            chunks.append(range(start, number + 1))
            start, inputs = number + 1, 0
    if start < len(jobs):
        chunks.append(range(start, len(jobs)))
    return chunks


def _verify_in_pool(jobs: Sequence[Job], chunks: Sequence[range], flags: int, pool: Executor) -> Failure | None:
    """Chunks go to the pool; this thread takes from the far end those that the pool has not begun."""
    futures: list[Future[Failure | None]] = [pool.submit(_verify_chunk, jobs, chunk, flags) for chunk in chunks]
    results: list[Failure | None] = []
    try:
        for chunk, future in zip(reversed(chunks), reversed(futures), strict=True):
            if future.cancel():
                results.append(_verify_chunk(jobs, chunk, flags))
            else:
                results.append(future.result())
    finally:
        for future in futures:
            future.cancel()
    failures = [failure for failure in results if failure is not None]
    return min(failures, key=lambda failure: failure.job, default=None)


def _verify_chunk(jobs: Sequence[Job], numbers: Sequence[int], flags: int) -> Failure | None:
    fast = _FastPath(flags)
    for number in numbers:
        tx, spent = jobs[number]
        rest = fast.verify(tx, spent)
        if rest is not None:
            failure = _verify_rest(number, tx, spent, rest, ScriptFlags(flags))
            if failure is not None:
                return failure
    return None


def _verify_rest(
    number: int, tx: Tx, spent: Sequence[SpentOutput], rest: tuple[SighashCache, list[int]], flags: ScriptFlags
) -> Failure | None:
    """What the fast path left over, by the interpreter."""
    cache, indexes = rest
    for index in indexes:
        try:
            verify_input(tx, index, spent, flags, cache)
        except ScriptError as error:
            return Failure(number, index, error)
    return None


class _FastPath:
    """The forms that are verified without the interpreter, under one set of flags, in one thread."""

    __slots__ = ("_ecdsa", "_forms", "_schnorr")

    def __init__(self, flags: int) -> None:
        self._ecdsa: EcdsaVerify = strict_ecdsa_verifier()
        self._schnorr: SchnorrVerify = schnorr_verifier()
        forms: dict[int, Callable[[SighashCache, int, TxIn, SpentOutput], bool]] = {25: self._p2pkh}
        if flags & _P2SH_WITNESS == _P2SH_WITNESS:
            forms[23] = self._p2sh_p2wpkh
            forms[22] = self._p2wpkh
        if flags & _TAPROOT == _TAPROOT:
            forms[34] = self._p2tr_key
        self._forms = forms

    def verify(self, tx: Tx, spent: Sequence[SpentOutput]) -> tuple[SighashCache, list[int]] | None:
        """The inputs left for the interpreter, with the transaction's hashes; None where none are left."""
        cache = SighashCache(tx, spent)
        rest: list[int] = []
        forms = self._forms
        for index, (txin, output) in enumerate(zip(tx.inputs, spent, strict=True)):
            form = forms.get(len(output.script_pubkey))
            if form is None or not form(cache, index, txin, output):
                rest.append(index)
        return (cache, rest) if rest else None

    def _p2wpkh(self, cache: SighashCache, index: int, txin: TxIn, output: SpentOutput) -> bool:
        program = output.script_pubkey
        return (
            program.startswith(b"\x00\x14")
            and not txin.script_sig
            and self._keyhash_witness(cache, index, txin, output.amount, program[2:])
        )

    def _p2sh_p2wpkh(self, cache: SighashCache, index: int, txin: TxIn, output: SpentOutput) -> bool:
        script, script_sig = output.script_pubkey, txin.script_sig
        return (
            script.startswith(b"\xa9\x14")
            and script.endswith(b"\x87")
            and len(script_sig) == 23
            and script_sig.startswith(b"\x16\x00\x14")
            and hash160(script_sig[1:]) == script[2:22]
            and self._keyhash_witness(cache, index, txin, output.amount, script_sig[3:])
        )

    def _keyhash_witness(self, cache: SighashCache, index: int, txin: TxIn, amount: int, program: bytes) -> bool:
        """Signature and compressed key of a version 0 program of 20 bytes."""
        if len(txin.witness) != 2:
            return False
        signature, pubkey = txin.witness
        if (
            len(pubkey) != 33
            or len(signature) < 9
            or hash160(pubkey) != program
            or program.startswith(_ALMOST_ZERO)
        ):
            return False
        hash_type = signature[-1]
        if hash_type == 1:
            tx = cache.tx
            prevouts, sequences, outputs = cache.v0_midstates()
            preimage = _V0_KEYHASH.pack(
                tx.version & 0xFFFFFFFF,
                prevouts,
                sequences,
                txin.prevout,
                b"\x19\x76\xa9\x14",
                program,
                b"\x88\xac",
                amount,
                txin.sequence,
                outputs,
                tx.lock_time,
                1,
            )
            digest = _sha256(_sha256(preimage).digest()).digest()
        elif hash_type in _DEFINED_HASH_TYPES:
            digest = cache.segwit_v0(index, b"\x76\xa9\x14" + program + b"\x88\xac", amount, hash_type)
        else:
            return False
        return self._ecdsa(signature[:-1], digest, pubkey)

    def _p2pkh(self, cache: SighashCache, index: int, txin: TxIn, output: SpentOutput) -> bool:
        script, script_sig = output.script_pubkey, txin.script_sig
        if not (script.startswith(b"\x76\xa9\x14") and script.endswith(b"\x88\xac")) or txin.witness:
            return False
        size = script_sig[0] if script_sig else 0
        if not _LEAST_SIGNATURE <= size <= 73 or len(script_sig) < size + 2:
            return False
        signature, pubkey = script_sig[1 : size + 1], script_sig[size + 2 :]
        if len(pubkey) != script_sig[size + 1]:
            return False
        if not (len(pubkey) == 33 or (len(pubkey) == 65 and pubkey[0] == 4)):
            return False
        hash_type = signature[-1]
        if hash_type not in _DEFINED_HASH_TYPES or hash160(pubkey) != script[3:23]:
            return False
        return self._ecdsa(signature[:-1], cache.legacy(index, script, hash_type), pubkey)

    def _p2tr_key(self, cache: SighashCache, index: int, txin: TxIn, output: SpentOutput) -> bool:
        script, witness = output.script_pubkey, txin.witness
        if not script.startswith(b"\x51\x20") or txin.script_sig or len(witness) != 1:
            return False
        signature = witness[0]
        hash_type = 0
        if len(signature) == 65:
            hash_type = signature[64]
            if hash_type == 0:
                return False
            signature = signature[:64]
        digest = cache.taproot(index, hash_type)
        if digest is None or script.startswith(_ALMOST_ZERO, 2):
            return False
        return self._schnorr(signature, digest, script[2:])
