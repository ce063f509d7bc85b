"""Signature hashes: legacy, witness v0 (BIP 143), taproot (BIP 341/342).

A `SighashCache` belongs to one transaction and the outputs it spends. It hashes what the inputs have in common
once: the BIP 143/341 midstates, and for legacy hashes, whose cost is quadratic by nature, the part before each
input and every script code hashed already.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct as Packer
from typing import Any, Final, Protocol

from gldnode.primitives.codec import compact_size, var_bytes
from gldnode.primitives.hashes import sha256, sha256d
from gldnode.primitives.tx import Tx, serialize_tx_out
from gldnode.script import opcodes as op
from gldnode.script.script import find_and_delete

__all__ = [
    "SIGHASH_ALL",
    "SIGHASH_ANYONECANPAY",
    "SIGHASH_DEFAULT",
    "SIGHASH_NONE",
    "SIGHASH_SINGLE",
    "SighashCache",
    "SpentOutput",
    "TapscriptContext",
    "legacy_sighash",
    "remove_code_separators",
    "segwit_v0_sighash",
    "taproot_sighash",
]

SIGHASH_DEFAULT: Final = 0
"""Taproot only: as ALL, with a signature of 64 bytes."""
SIGHASH_ALL: Final = 1
SIGHASH_NONE: Final = 2
SIGHASH_SINGLE: Final = 3
SIGHASH_ANYONECANPAY: Final = 0x80

_CODE_SEPARATOR: Final = bytes((op.OP_CODESEPARATOR,))
_ONE: Final = b"\x01" + bytes(31)
_ZERO: Final = bytes(32)
_U32 = Packer("<I")
_I64 = Packer("<q")
_TAPSIGHASH: Final = hashlib.sha256(sha256(b"TapSighash") * 2)
_INPUT_SIZE: Final = 41  # a blanked input: outpoint, empty script, sequence
_FEW_SEQUENCES: Final = 4 * 8
_MAX_CACHED: Final = 32  # script codes remembered for one input


@lru_cache(maxsize=128)
def _sequences_hash(packed: bytes) -> bytes:
    """hashSequence of BIP 143: of few inputs, and then nearly always the same ones."""
    return sha256d(packed)


class SpentOutput(Protocol):
    """A `TxOut` or a `Coin`."""

    @property
    def amount(self) -> int: ...

    @property
    def script_pubkey(self) -> bytes: ...


class TapscriptContext(Protocol):
    """What a signature in a script path commits to besides the transaction."""

    @property
    def tapleaf_hash(self) -> bytes: ...

    @property
    def codeseparator_pos(self) -> int: ...


def remove_code_separators(script: bytes) -> bytes:
    """`script` without OP_CODESEPARATORs, as legacy hashes see it."""
    return find_and_delete(script, _CODE_SEPARATOR)[0]


class SighashCache:
    """Signature hashes of one transaction, sharing the work between its inputs. For one thread at a time.

    `spent` are the outputs its inputs spend, in order; only taproot needs them all.
    """

    __slots__ = (
        "_blank",
        "_blank_sequences",
        "_legacy",
        "_legacy_index",
        "_outputs",
        "_prefix",
        "_prefix_index",
        "_sha_amounts",
        "_sha_outputs",
        "_sha_prevouts",
        "_sha_script_pubkeys",
        "_sha_sequences",
        "_v0",
        "spent",
        "tx",
    )

    def __init__(self, tx: Tx, spent: Sequence[SpentOutput] = ()) -> None:
        self.tx = tx
        self.spent = spent
        self._outputs: bytes | None = None
        self._sha_prevouts = self._sha_sequences = self._sha_outputs = b""
        self._sha_amounts = self._sha_script_pubkeys = b""
        self._v0: tuple[bytes, bytes, bytes] | None = None
        self._blank: memoryview | None = None
        self._blank_sequences: memoryview | None = None
        self._prefix: Any = None
        self._prefix_index = 0
        self._legacy: dict[tuple[bytes, int], Any] = {}
        self._legacy_index = -1

    # Parts

    def _all_outputs(self) -> bytes:
        if self._outputs is None:
            self._outputs = b"".join(map(serialize_tx_out, self.tx.outputs))
        return self._outputs

    def _all_sequences(self) -> bytes:
        pack = _U32.pack
        return b"".join([pack(txin.sequence) for txin in self.tx.inputs])

    def sha_prevouts(self) -> bytes:
        if not self._sha_prevouts:
            prevouts = b"".join([txin.prevout for txin in self.tx.inputs])
            self._sha_prevouts = hashlib.sha256(prevouts).digest()
        return self._sha_prevouts

    def sha_sequences(self) -> bytes:
        if not self._sha_sequences:
            self._sha_sequences = sha256(self._all_sequences())
        return self._sha_sequences

    def sha_outputs(self) -> bytes:
        if not self._sha_outputs:
            self._sha_outputs = sha256(self._all_outputs())
        return self._sha_outputs

    def sha_amounts(self) -> bytes:
        if not self._sha_amounts:
            self._sha_amounts = sha256(b"".join([_I64.pack(output.amount) for output in self.spent]))
        return self._sha_amounts

    def sha_script_pubkeys(self) -> bytes:
        if not self._sha_script_pubkeys:
            self._sha_script_pubkeys = sha256(b"".join([var_bytes(output.script_pubkey) for output in self.spent]))
        return self._sha_script_pubkeys

    # Witness v0

    def v0_midstates(self) -> tuple[bytes, bytes, bytes]:
        """hashPrevouts, hashSequence and hashOutputs of SIGHASH_ALL."""
        midstates = self._v0
        if midstates is None:
            hashed = hashlib.sha256
            sequences = self._all_sequences()
            midstates = self._v0 = (
                hashed(self.sha_prevouts()).digest(),
                _sequences_hash(sequences) if len(sequences) <= _FEW_SEQUENCES else sha256d(sequences),
                hashed(self.sha_outputs()).digest(),
            )
        return midstates

    def segwit_v0(self, index: int, script_code: bytes, amount: int, hash_type: int) -> bytes:
        """BIP 143. `hash_type` is the signature's whole last byte."""
        tx = self.tx
        txin = tx.inputs[index]
        base = hash_type & 0x1F
        prevouts, sequences, outputs = self.v0_midstates()
        if hash_type & SIGHASH_ANYONECANPAY:
            prevouts = sequences = _ZERO
        if base == SIGHASH_SINGLE:
            sequences = _ZERO
            outputs = sha256d(serialize_tx_out(tx.outputs[index])) if index < len(tx.outputs) else _ZERO
        elif base == SIGHASH_NONE:
            sequences = outputs = _ZERO
        return sha256d(
            b"".join(
                (
                    _U32.pack(tx.version & 0xFFFFFFFF),
                    prevouts,
                    sequences,
                    txin.prevout,
                    compact_size(len(script_code)),
                    script_code,
                    _I64.pack(amount),
                    _U32.pack(txin.sequence),
                    outputs,
                    _U32.pack(tx.lock_time),
                    _U32.pack(hash_type & 0xFFFFFFFF),
                )
            )
        )

    # Legacy

    def legacy(self, index: int, script_code: bytes, hash_type: int) -> bytes:
        """The original hash. `script_code` is what remains after FindAndDelete.

        SIGHASH_SINGLE without an output of that index signs the number one, a bug that is consensus; so does
        an input that does not exist.
        """
        base = hash_type & 0x1F
        if index >= len(self.tx.inputs) or (base == SIGHASH_SINGLE and index >= len(self.tx.outputs)):
            return _ONE
        kind = hash_type & SIGHASH_ANYONECANPAY | (base if base in (SIGHASH_NONE, SIGHASH_SINGLE) else 0)
        if index != self._legacy_index:
            self._legacy.clear()
            self._legacy_index = index
        state = self._legacy.get((script_code, kind))
        if state is None:
            state = self._legacy_state(index, script_code, kind)
            if len(self._legacy) >= _MAX_CACHED:
                self._legacy.clear()
            self._legacy[script_code, kind] = state
        state = state.copy()
        state.update(_U32.pack(hash_type & 0xFFFFFFFF))
        return sha256(state.digest())

    def _legacy_state(self, index: int, script_code: bytes, kind: int) -> Any:
        """Everything but the hash type, hashed."""
        tx = self.tx
        txin = tx.inputs[index]
        base = kind & 0x1F
        own = b"".join((txin.prevout, var_bytes(remove_code_separators(script_code)), _U32.pack(txin.sequence)))
        if kind & SIGHASH_ANYONECANPAY:
            state = hashlib.sha256(_U32.pack(tx.version & 0xFFFFFFFF) + b"\x01" + own)
        elif base == 0:
            blank = self._blank_inputs()
            state = self._state_before(index, blank).copy()
            state.update(own)
            state.update(blank[(index + 1) * _INPUT_SIZE :])
        else:
            blank = self._blank_inputs_without_sequences()
            state = hashlib.sha256(self._head())
            state.update(blank[: index * _INPUT_SIZE])
            state.update(own)
            state.update(blank[(index + 1) * _INPUT_SIZE :])
        if base == 0:
            state.update(compact_size(len(tx.outputs)))
            state.update(self._all_outputs())
        elif base == SIGHASH_NONE:
            state.update(b"\x00")
        else:
            state.update(compact_size(index + 1))
            state.update((b"\xff" * 8 + b"\x00") * index)  # outputs of amount -1 without a script
            state.update(serialize_tx_out(tx.outputs[index]))
        state.update(_U32.pack(tx.lock_time))
        return state

    def _head(self) -> bytes:
        return _U32.pack(self.tx.version & 0xFFFFFFFF) + compact_size(len(self.tx.inputs))

    def _blank_inputs(self) -> memoryview:
        if self._blank is None:
            pack = _U32.pack
            parts = [b"%b\x00%b" % (txin.prevout, pack(txin.sequence)) for txin in self.tx.inputs]
            self._blank = memoryview(b"".join(parts))
        return self._blank

    def _blank_inputs_without_sequences(self) -> memoryview:
        if self._blank_sequences is None:
            self._blank_sequences = memoryview(
                b"".join([txin.prevout + b"\x00\x00\x00\x00\x00" for txin in self.tx.inputs])
            )
        return self._blank_sequences

    def _state_before(self, index: int, blank: memoryview) -> Any:
        """The hash of all that stands before input `index`; inputs are mostly asked for in order."""
        if self._prefix is None or index < self._prefix_index:
            self._prefix, self._prefix_index = hashlib.sha256(self._head()), 0
        if index > self._prefix_index:
            self._prefix.update(blank[self._prefix_index * _INPUT_SIZE : index * _INPUT_SIZE])
            self._prefix_index = index
        return self._prefix

    # Taproot

    def taproot(
        self,
        index: int,
        hash_type: int,
        annex_hash: bytes | None = None,
        tapscript: TapscriptContext | None = None,
    ) -> bytes | None:
        """BIP 341, and BIP 342's extension with `tapscript`. None for a hash type that does not exist here.

        annex_hash: SHA-256 of the annex behind its length.
        """
        message = self.taproot_message(index, hash_type, annex_hash, tapscript)
        if message is None:
            return None
        state = _TAPSIGHASH.copy()
        state.update(b"\x00")  # epoch
        state.update(message)
        return state.digest()

    def taproot_message(
        self,
        index: int,
        hash_type: int,
        annex_hash: bytes | None = None,
        tapscript: TapscriptContext | None = None,
    ) -> bytes | None:
        """What `taproot` hashes, without the epoch byte (BIP 341: SigMsg)."""
        tx, spent = self.tx, self.spent
        if not (hash_type <= 3 or 0x81 <= hash_type <= 0x83):
            return None
        assert len(spent) == len(tx.inputs), "taproot hashes cover all spent outputs"
        output_type = hash_type & 3 or SIGHASH_ALL
        anyone_can_pay = hash_type & SIGHASH_ANYONECANPAY
        parts = [
            bytes((hash_type,)),
            _U32.pack(tx.version & 0xFFFFFFFF),
            _U32.pack(tx.lock_time),
        ]
        if not anyone_can_pay:
            parts += (
                self.sha_prevouts(),
                self.sha_amounts(),
                self.sha_script_pubkeys(),
                self.sha_sequences(),
            )
        if output_type == SIGHASH_ALL:
            parts.append(self.sha_outputs())
        parts.append(bytes(((2 if tapscript else 0) + (1 if annex_hash is not None else 0),)))
        if anyone_can_pay:
            txin, output = tx.inputs[index], spent[index]
            parts += (
                txin.prevout,
                _I64.pack(output.amount),
                var_bytes(output.script_pubkey),
                _U32.pack(txin.sequence),
            )
        else:
            parts.append(_U32.pack(index))
        if annex_hash is not None:
            parts.append(annex_hash)
        if output_type == SIGHASH_SINGLE:
            if index >= len(tx.outputs):
                return None
            parts.append(sha256(serialize_tx_out(tx.outputs[index])))
        if tapscript is not None:
            parts += (tapscript.tapleaf_hash, b"\x00", _U32.pack(tapscript.codeseparator_pos))
        return b"".join(parts)


def legacy_sighash(tx: Tx, index: int, script_code: bytes, hash_type: int) -> bytes:
    """One legacy signature hash."""
    return SighashCache(tx).legacy(index, script_code, hash_type)


def segwit_v0_sighash(tx: Tx, index: int, script_code: bytes, amount: int, hash_type: int) -> bytes:
    """One BIP 143 signature hash."""
    return SighashCache(tx).segwit_v0(index, script_code, amount, hash_type)


def taproot_sighash(
    tx: Tx,
    index: int,
    spent: Sequence[SpentOutput],
    hash_type: int = SIGHASH_DEFAULT,
    annex_hash: bytes | None = None,
    tapscript: TapscriptContext | None = None,
) -> bytes | None:
    """One BIP 341 signature hash; `spent` are the outputs of all inputs."""
    return SighashCache(tx, spent).taproot(index, hash_type, annex_hash, tapscript)
