"""Partially signed transactions, versions 0 and 2 (BIP 174 and 370): a strict codec over maps of bytes.

A map keeps its pairs as they are on the wire, so nothing is lost, not even what this software does not know;
`psbt_fields` says what is allowed, `psbt_roles` works on it.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gldnode.errors import DecodeError
from gldnode.primitives.codec import Reader, compact_size, var_bytes
from gldnode.primitives.hashes import hash160
from gldnode.primitives.tx import SEQUENCE_FINAL, OutPoint, Tx, TxIn, TxOut, make_tx, outpoint, parse_tx
from gldnode.psbt_fields import Global, In, Out, PsbtError, check_field

__all__ = ["Psbt", "PsbtError", "PsbtMap", "create_psbt", "decode_psbt", "key", "parse_psbt"]

PsbtMap = dict[bytes, bytes]
_MAGIC: Final = b"psbt\xff"
_MAX_SIZE: Final = 100_000_000
_V2_INPUT: Final = (
    In.PREVIOUS_TXID,
    In.OUTPUT_INDEX,
    In.SEQUENCE,
    In.REQUIRED_TIME_LOCKTIME,
    In.REQUIRED_HEIGHT_LOCKTIME,
)
_V2_GLOBAL: Final = (
    Global.TX_VERSION,
    Global.FALLBACK_LOCKTIME,
    Global.INPUT_COUNT,
    Global.OUTPUT_COUNT,
    Global.TX_MODIFIABLE,
)


def key(kind: int, data: bytes = b"") -> bytes:
    return bytes((kind,)) + data


@dataclass(slots=True)
class Psbt:
    """A PSBT of either version."""

    globals: PsbtMap = field(default_factory=dict)
    inputs: list[PsbtMap] = field(default_factory=list)
    outputs: list[PsbtMap] = field(default_factory=list)

    @property
    def version(self) -> int:
        return int.from_bytes(self.globals.get(key(Global.VERSION), b""), "little")

    def unsigned_tx(self) -> Tx:
        """The transaction to be signed. Raises PsbtError where its lock times exclude each other."""
        raw = self.globals.get(key(Global.UNSIGNED_TX))
        if raw is not None:
            return parse_tx(raw, allow_witness=False)
        inputs = [TxIn(self.prevout(i), b"", self._sequence(i)) for i in range(len(self.inputs))]
        outputs = [
            TxOut(int.from_bytes(out[key(Out.AMOUNT)], "little", signed=True), out[key(Out.SCRIPT)])
            for out in self.outputs
        ]
        version = int.from_bytes(self.globals[key(Global.TX_VERSION)], "little")
        return make_tx(version, inputs, outputs, self.lock_time())

    def prevout(self, index: int) -> OutPoint:
        one = self.inputs[index]
        txid = one.get(key(In.PREVIOUS_TXID))
        if txid is None:
            return self.unsigned_tx().inputs[index].prevout
        return outpoint(txid, int.from_bytes(one[key(In.OUTPUT_INDEX)], "little"))

    def _sequence(self, index: int) -> int:
        raw = self.inputs[index].get(key(In.SEQUENCE))
        return SEQUENCE_FINAL if raw is None else int.from_bytes(raw, "little")

    def lock_time(self) -> int:
        """BIP 370's choice among what the inputs require. Raises PsbtError."""
        times = [one.get(key(In.REQUIRED_TIME_LOCKTIME)) for one in self.inputs]
        heights = [one.get(key(In.REQUIRED_HEIGHT_LOCKTIME)) for one in self.inputs]
        bound = [i for i in range(len(self.inputs)) if times[i] is not None or heights[i] is not None]
        if not bound:
            return int.from_bytes(self.globals.get(key(Global.FALLBACK_LOCKTIME), b""), "little")
        for choices in (heights, times):
            found = [choices[i] for i in bound]
            if all(value is not None for value in found):
                return max(int.from_bytes(value, "little") for value in found if value is not None)
        raise PsbtError("The inputs require lock times of both kinds")

    def serialize(self) -> bytes:
        parts = [_MAGIC, _serialize_map(self.globals, "global")]
        parts += [_serialize_map(one, "input") for one in self.inputs]
        parts += [_serialize_map(one, "output") for one in self.outputs]
        return b"".join(parts)

    def to_base64(self) -> str:
        return base64.b64encode(self.serialize()).decode()


def _order(where: str) -> "dict[int, int]":
    """In which order Core writes the types of a map."""
    if where != "input":
        return {}
    late = (In.FINAL_SCRIPTSIG, In.FINAL_SCRIPTWITNESS)
    v2 = _V2_INPUT
    kinds = [kind for kind in In if kind not in late and kind not in v2 and kind != In.PROPRIETARY]
    return {int(kind): place for place, kind in enumerate([*kinds, *late, *v2])}


_INPUT_ORDER: Final = _order("input")


def _sort_key(where: str, name: bytes) -> tuple[int, int, bytes]:
    kind = name[0]
    place = _INPUT_ORDER.get(kind, 256 + kind) if where == "input" else kind
    if where == "input" and kind == In.PARTIAL_SIG:
        return place, kind, hash160(name[1:])  # Core keeps them by key id
    return place, kind, name


def _serialize_map(pairs: PsbtMap, where: str) -> bytes:
    ordered = sorted(pairs, key=lambda name: _sort_key(where, name))
    return b"".join(var_bytes(name) + var_bytes(pairs[name]) for name in ordered) + b"\x00"


# --- reading ---


def parse_psbt(text: str) -> Psbt:
    """From base64. Raises PsbtError."""
    if len(text) > _MAX_SIZE:
        raise PsbtError("too large")
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise PsbtError("invalid base64") from None
    return decode_psbt(data)


def decode_psbt(data: bytes) -> Psbt:
    """Raises PsbtError."""
    try:
        return _decode(data)
    except PsbtError:
        raise
    except DecodeError as error:
        raise PsbtError(str(error)) from None


def _decode(data: bytes) -> Psbt:
    if not data.startswith(_MAGIC):
        raise PsbtError("Invalid PSBT magic bytes")
    reader = Reader(data, len(_MAGIC))
    psbt = Psbt(_read_map(reader, "global"))
    inputs, outputs = _counts(psbt)
    for _ in range(inputs):
        if not reader.remaining:
            raise PsbtError("Inputs provided does not match the number of inputs in transaction.")
        psbt.inputs.append(_read_map(reader, "input"))
        _check_input(psbt, len(psbt.inputs) - 1)
    for _ in range(outputs):
        if not reader.remaining:
            raise PsbtError("Outputs provided does not match the number of outputs in transaction.")
        psbt.outputs.append(_read_map(reader, "output"))
        _check_output(psbt, psbt.outputs[-1])
    if reader.remaining:
        raise PsbtError("extra data after PSBT")
    return psbt


def _read_map(reader: Reader, where: str) -> PsbtMap:
    pairs: PsbtMap = {}
    while True:
        if not reader.remaining:
            raise PsbtError(f"Separator is missing at the end of an {where} map")
        name = reader.var_bytes()
        if not name:
            return pairs
        try:
            value = reader.var_bytes()
        except DecodeError:
            raise PsbtError("Size of value was not the stated size") from None
        if name in pairs:
            raise PsbtError(f"Duplicate Key, {where} field of type {name[0]:#04x} already provided")
        check_field(where, name, value)
        pairs[name] = value


def _counts(psbt: Psbt) -> tuple[int, int]:
    """How many input and output maps follow; the version's rules for the global map."""
    pairs = psbt.globals
    version = psbt.version
    unsigned = pairs.get(key(Global.UNSIGNED_TX))
    if version not in (0, 2):
        raise PsbtError("Unsupported version number")
    if version == 0:
        if unsigned is None:
            raise PsbtError("No unsigned transaction was provided")
        for kind in _V2_GLOBAL:
            if key(kind) in pairs:
                raise PsbtError(f"PSBT_GLOBAL_{kind.name} is not allowed in PSBTv0")
        tx = parse_tx(unsigned, allow_witness=False)
        return len(tx.inputs), len(tx.outputs)
    if unsigned is not None:
        raise PsbtError("PSBT_GLOBAL_UNSIGNED_TX is not allowed in PSBTv2")
    for kind in (Global.TX_VERSION, Global.INPUT_COUNT, Global.OUTPUT_COUNT):
        if key(kind) not in pairs:
            raise PsbtError(f"PSBT_GLOBAL_{kind.name} is required in PSBTv2")
    counts = [Reader(pairs[key(kind)]).compact_size() for kind in (Global.INPUT_COUNT, Global.OUTPUT_COUNT)]
    return counts[0], counts[1]


def _check_input(psbt: Psbt, index: int) -> None:
    pairs = psbt.inputs[index]
    if psbt.version == 0:
        for kind in _V2_INPUT:
            if key(kind) in pairs:
                raise PsbtError(f"PSBT_IN_{kind.name} is not allowed in PSBTv0")
    else:
        for kind in (In.PREVIOUS_TXID, In.OUTPUT_INDEX):
            if key(kind) not in pairs:
                raise PsbtError(f"PSBT_IN_{kind.name} is required in PSBTv2")
    previous = pairs.get(key(In.NON_WITNESS_UTXO))
    if previous is not None:
        tx, prevout = parse_tx(previous), psbt.prevout(index)
        if tx.txid != prevout.txid:
            raise PsbtError("Non-witness UTXO does not match outpoint hash")
        if prevout.vout >= len(tx.outputs):
            raise PsbtError("Input specifies output index that does not exist")


def _check_output(psbt: Psbt, pairs: PsbtMap) -> None:
    for kind in (Out.AMOUNT, Out.SCRIPT):
        if psbt.version == 0 and key(kind) in pairs:
            raise PsbtError(f"PSBT_OUT_{kind.name} is not allowed in PSBTv0")
        if psbt.version == 2 and key(kind) not in pairs:
            raise PsbtError(f"PSBT_OUT_{kind.name} is required in PSBTv2")


def create_psbt(tx: Tx, version: int = 0) -> Psbt:
    """A PSBT with nothing but the transaction, whose inputs have no scripts."""
    if version == 0:
        raw = make_tx(
            tx.version, [TxIn(i.prevout, b"", i.sequence) for i in tx.inputs], tx.outputs, tx.lock_time
        ).raw
        return Psbt({key(Global.UNSIGNED_TX): raw}, [{} for _ in tx.inputs], [{} for _ in tx.outputs])
    pairs: PsbtMap = {
        key(Global.TX_VERSION): (tx.version & 0xFFFFFFFF).to_bytes(4, "little"),
        key(Global.FALLBACK_LOCKTIME): tx.lock_time.to_bytes(4, "little"),
        key(Global.INPUT_COUNT): compact_size(len(tx.inputs)),
        key(Global.OUTPUT_COUNT): compact_size(len(tx.outputs)),
        key(Global.VERSION): (2).to_bytes(4, "little"),
    }
    inputs: Sequence[PsbtMap] = [
        {
            key(In.PREVIOUS_TXID): i.prevout.txid,
            key(In.OUTPUT_INDEX): i.prevout.vout.to_bytes(4, "little"),
            key(In.SEQUENCE): i.sequence.to_bytes(4, "little"),
        }
        for i in tx.inputs
    ]
    outputs: Sequence[PsbtMap] = [
        {key(Out.AMOUNT): o.amount.to_bytes(8, "little", signed=True), key(Out.SCRIPT): o.script_pubkey}
        for o in tx.outputs
    ]
    return Psbt(pairs, list(inputs), list(outputs))
