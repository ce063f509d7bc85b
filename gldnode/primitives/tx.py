"""Transactions in Bitcoin's format, with witness (BIP 144).

Values are `msgspec.Struct`s: frozen like dataclasses, but made in a tenth of the time, which is what
connecting a block mostly does. Build one with `make_tx`, read one with `parse_tx`; both fill the derived fields.
"""

from collections.abc import Sequence
from struct import Struct as Packer
from typing import Final

import msgspec

from gldnode.errors import DecodeError
from gldnode.primitives.codec import MAX_SIZE, Reader, compact_size
from gldnode.primitives.hashes import Txid, Wtxid, sha256d

__all__ = [
    "NULL_OUTPOINT",
    "SEQUENCE_FINAL",
    "WITNESS_SCALE_FACTOR",
    "OutPoint",
    "Tx",
    "TxIn",
    "TxOut",
    "make_tx",
    "outpoint",
    "parse_tx",
    "read_tx",
    "serialize_tx_out",
    "with_witnesses",
]

WITNESS_SCALE_FACTOR: Final = 4
SEQUENCE_FINAL: Final = 0xFFFFFFFF

_U32 = Packer("<I")
_I64 = Packer("<q")


class OutPoint(bytes):
    """One output, named by the transaction that made it and its index there.

    The 36 bytes of the wire form themselves (txid, then the index little-endian): the hot dictionary and
    database key, cut out of a block without taking it apart.
    """

    __slots__ = ()

    @property
    def txid(self) -> Txid:
        return Txid(self[:32])

    @property
    def vout(self) -> int:
        return int.from_bytes(self[32:], "little")

    def __repr__(self) -> str:
        return f"{self.txid[::-1].hex()}:{self.vout}"


def outpoint(txid: bytes, vout: int) -> OutPoint:
    """Output `vout` of transaction `txid` (wire order)."""
    return OutPoint(txid + _U32.pack(vout))


NULL_OUTPOINT: Final = OutPoint(bytes(32) + b"\xff\xff\xff\xff")
"""What a coinbase input "spends"."""


class TxIn(msgspec.Struct, frozen=True, gc=False):
    """An input: which output it spends and why it may."""

    prevout: OutPoint
    script_sig: bytes
    sequence: int
    witness: tuple[bytes, ...] = ()


class TxOut(msgspec.Struct, frozen=True, gc=False):
    """An output: an amount in base units (signed 64 bits on the wire, unchecked here) and its script."""

    amount: int
    script_pubkey: bytes


class Tx(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A transaction. Equal when the bytes are equal, witness included."""

    version: int
    """As signed 32 bits; BIP 68 reads it unsigned."""
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    lock_time: int
    raw: bytes
    """Serialised with witness where there is one."""
    txid: Txid
    wtxid: Wtxid
    base_size: int
    """Bytes without witness."""

    @property
    def total_size(self) -> int:
        """Bytes with witness."""
        return len(self.raw)

    @property
    def weight(self) -> int:
        """BIP 141: three times the base size plus the total size."""
        return self.base_size * (WITNESS_SCALE_FACTOR - 1) + len(self.raw)

    @property
    def vsize(self) -> int:
        """Weight / 4, rounded up. Without the sigop adjustment of the mempool."""
        return (self.weight + WITNESS_SCALE_FACTOR - 1) // WITNESS_SCALE_FACTOR

    @property
    def has_witness(self) -> bool:
        return self.base_size != len(self.raw)

    @property
    def is_coinbase(self) -> bool:
        return len(self.inputs) == 1 and self.inputs[0].prevout == NULL_OUTPOINT

    def outpoint(self, vout: int) -> OutPoint:
        return outpoint(self.txid, vout)

    def stripped(self) -> bytes:
        """Serialised without witness, the form that the txid hashes."""
        if not self.has_witness:
            return self.raw
        return _serialize_base(self.version, self.inputs, self.outputs, self.lock_time)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tx) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.wtxid)

    def __repr__(self) -> str:
        return f"Tx({self.txid[::-1].hex()})"


def serialize_tx_out(output: TxOut) -> bytes:
    script = output.script_pubkey
    return _I64.pack(output.amount) + compact_size(len(script)) + script


def _serialize_in(txin: TxIn) -> bytes:
    return txin.prevout + compact_size(len(txin.script_sig)) + txin.script_sig + _U32.pack(txin.sequence)


def _serialize_body(inputs: Sequence[TxIn], outputs: Sequence[TxOut]) -> bytes:
    return b"".join(
        (
            compact_size(len(inputs)),
            *map(_serialize_in, inputs),
            compact_size(len(outputs)),
            *map(serialize_tx_out, outputs),
        )
    )


def _serialize_base(version: int, inputs: Sequence[TxIn], outputs: Sequence[TxOut], lock_time: int) -> bytes:
    return _U32.pack(version & 0xFFFFFFFF) + _serialize_body(inputs, outputs) + _U32.pack(lock_time)


def make_tx(version: int, inputs: Sequence[TxIn], outputs: Sequence[TxOut], lock_time: int = 0) -> Tx:
    """A transaction of these parts, serialised and hashed."""
    head, tail = _U32.pack(version & 0xFFFFFFFF), _U32.pack(lock_time)
    body = _serialize_body(inputs, outputs)
    base = head + body + tail
    raw = base
    txid = sha256d(base)
    wtxid = txid
    if any(txin.witness for txin in inputs):
        stacks = [
            compact_size(len(txin.witness)) + b"".join(compact_size(len(item)) + item for item in txin.witness)
            for txin in inputs
        ]
        raw = b"".join((head, b"\x00\x01", body, *stacks, tail))
        wtxid = sha256d(raw)
    signed = version if version < 1 << 31 else version - (1 << 32)
    return Tx(signed, tuple(inputs), tuple(outputs), lock_time, raw, Txid(txid), Wtxid(wtxid), len(base))


def with_witnesses(tx: Tx, witnesses: Sequence[Sequence[bytes]]) -> Tx:
    """`tx` with one witness stack per input put in place of its own."""
    inputs = [
        TxIn(txin.prevout, txin.script_sig, txin.sequence, tuple(stack))
        for txin, stack in zip(tx.inputs, witnesses, strict=True)
    ]
    return make_tx(tx.version, inputs, tx.outputs, tx.lock_time)


def parse_tx(data: bytes, *, allow_witness: bool = True) -> Tx:
    """The transaction that is exactly `data`. Raises DecodeError."""
    tx, end = read_tx(data, 0, allow_witness=allow_witness)
    if end != len(data):
        raise DecodeError(f"{len(data) - end} bytes left over")
    return tx


def _size(data: bytes, pos: int) -> tuple[int, int]:
    """A CompactSize that needs the slow path, and the position behind it."""
    reader = Reader(data, pos)
    return reader.compact_size(MAX_SIZE), reader.pos


def read_tx(data: bytes, pos: int = 0, *, allow_witness: bool = True) -> tuple[Tx, int]:
    """The transaction at `pos` and the position behind it. Raises DecodeError.

    Follows Core's UnserializeTransaction: a zero input count is the witness marker; an unknown flag or a
    marker without any witness ("superfluous witness record") is refused.
    """
    try:
        return _read_tx(data, pos, allow_witness)
    except (IndexError, ValueError):
        raise DecodeError("transaction ends early") from None
    except _ShortRead:
        raise DecodeError("transaction ends early") from None


class _ShortRead(Exception):
    pass


def _read_tx(data: bytes, start: int, allow_witness: bool) -> tuple[Tx, int]:
    # Flat and without a Reader: this loop is a fifth of the cost of connecting a block.
    end = len(data)
    if end - start < 10:
        raise _ShortRead
    from_bytes = int.from_bytes
    version = from_bytes(data[start : start + 4], "little", signed=True)
    pos = start + 4
    segwit = allow_witness and data[pos] == 0 and data[pos + 1] != 0
    if segwit:
        if data[pos + 1] != 1:
            raise DecodeError("Unknown transaction optional data")
        pos += 2
    body = pos

    count = data[pos]
    pos += 1
    if count >= 0xFD:
        count, pos = _size(data, pos - 1)
    if count * 41 > end - pos:
        raise _ShortRead
    inputs: list[TxIn] = []
    heads: list[tuple[OutPoint, bytes, int]] = []
    for _ in range(count):
        prevout = OutPoint(data[pos : pos + 36])
        pos += 36
        length = data[pos]
        pos += 1
        if length >= 0xFD:
            length, pos = _size(data, pos - 1)
        script = data[pos : pos + length]
        pos += length
        sequence = from_bytes(data[pos : pos + 4], "little")
        pos += 4
        heads.append((prevout, script, sequence))
    if pos > end:
        raise _ShortRead

    count = data[pos]
    pos += 1
    if count >= 0xFD:
        count, pos = _size(data, pos - 1)
    if count * 9 > end - pos:
        raise _ShortRead
    outputs: list[TxOut] = []
    for _ in range(count):
        amount = from_bytes(data[pos : pos + 8], "little", signed=True)
        pos += 8
        length = data[pos]
        pos += 1
        if length >= 0xFD:
            length, pos = _size(data, pos - 1)
        outputs.append(TxOut(amount, data[pos : pos + length]))
        pos += length
    body_end = pos
    if pos > end:
        raise _ShortRead

    if segwit:
        has_witness = False
        for prevout, script, sequence in heads:
            items = data[pos]
            pos += 1
            if items >= 0xFD:
                items, pos = _size(data, pos - 1)
                if items > end - pos:
                    raise _ShortRead
            if items == 0:
                inputs.append(TxIn(prevout, script, sequence))
                continue
            has_witness = True
            stack: list[bytes] = []
            for _ in range(items):
                length = data[pos]
                pos += 1
                if length >= 0xFD:
                    length, pos = _size(data, pos - 1)
                stack.append(data[pos : pos + length])
                pos += length
            inputs.append(TxIn(prevout, script, sequence, tuple(stack)))
        if not has_witness:
            raise DecodeError("Superfluous witness record")
    else:
        for prevout, script, sequence in heads:
            inputs.append(TxIn(prevout, script, sequence))
    lock_time = from_bytes(data[pos : pos + 4], "little")
    pos += 4
    if pos > end:
        raise _ShortRead

    raw = data[start:pos]
    if segwit:
        base = data[start : start + 4] + data[body:body_end] + data[pos - 4 : pos]
        txid = sha256d(base)
        wtxid = sha256d(raw)
        base_size = len(base)
    else:
        txid = wtxid = sha256d(raw)
        base_size = len(raw)
    return Tx(version, tuple(inputs), tuple(outputs), lock_time, raw, Txid(txid), Wtxid(wtxid), base_size), pos
