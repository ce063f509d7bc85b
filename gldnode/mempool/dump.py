"""mempool.dat in Bitcoin Core's format, versions 1 and 2.

u64 version | version 2: CompactSize (8), 8 key bytes; what follows is XORed with them by file position
u64 count | count × (transaction with witness, i64 time, i64 fee delta)
CompactSize n | n × (txid, i64 fee delta) of transactions that are not in the pool
CompactSize n | n × txid that no peer has asked for yet
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from gldnode.errors import DecodeError
from gldnode.primitives.codec import Reader, compact_size
from gldnode.primitives.hashes import Txid
from gldnode.primitives.tx import Tx, read_tx

__all__ = ["DumpedTx", "MempoolDump", "encode_dump", "parse_dump"]

VERSION_PLAIN: Final = 1
VERSION_XOR: Final = 2
KEY_SIZE: Final = 8
MAX_COUNT: Final = 1 << 32

_U64 = Struct("<Q")
_I64 = Struct("<q")


@dataclass(frozen=True, slots=True)
class DumpedTx:
    tx: Tx
    time: int
    """When it was accepted, Unix seconds."""
    fee_delta: int


@dataclass(frozen=True, slots=True)
class MempoolDump:
    """The content of a mempool.dat."""

    txs: Sequence[DumpedTx]
    fee_deltas: Mapping[Txid, int] = field(default_factory=dict)
    unbroadcast: frozenset[Txid] = frozenset()


def _xor(data: bytes, key: bytes, position: int) -> bytes:
    if not data or not any(key):
        return data
    turn = position % len(key)
    turned = key[turn:] + key[:turn]
    mask = (turned * (len(data) // len(key) + 1))[: len(data)]
    return (int.from_bytes(data, "little") ^ int.from_bytes(mask, "little")).to_bytes(len(data), "little")


def encode_dump(dump: MempoolDump, key: bytes | None) -> bytes:
    """The file's bytes; `key` of 8 bytes makes version 2, None version 1."""
    parts = [_U64.pack(len(dump.txs))]
    for one in dump.txs:
        parts += (one.tx.raw, _I64.pack(one.time), _I64.pack(one.fee_delta))
    parts.append(compact_size(len(dump.fee_deltas)))
    for txid in sorted(dump.fee_deltas):
        parts += (txid, _I64.pack(dump.fee_deltas[txid]))
    parts.append(compact_size(len(dump.unbroadcast)))
    parts += sorted(dump.unbroadcast)
    body = b"".join(parts)
    if key is None:
        return _U64.pack(VERSION_PLAIN) + body
    assert len(key) == KEY_SIZE
    head = _U64.pack(VERSION_XOR) + compact_size(KEY_SIZE) + key
    return head + _xor(body, key, len(head))


def parse_dump(data: bytes) -> MempoolDump:
    """The content of a file of either version. Raises DecodeError."""
    reader = Reader(data)
    version = reader.u64()
    if version == VERSION_XOR:
        key = reader.var_bytes(KEY_SIZE)
        if len(key) != KEY_SIZE:
            raise DecodeError("obfuscation key of a wrong size")
        start = reader.pos
        reader = Reader(_xor(data[start:], key, start))
    elif version != VERSION_PLAIN:
        raise DecodeError(f"unknown version {version} of mempool.dat")
    count = reader.u64()
    if count > reader.remaining:
        raise DecodeError("mempool.dat ends early")
    txs = []
    for _ in range(count):
        tx, reader.pos = read_tx(reader.data, reader.pos)
        txs.append(DumpedTx(tx, reader.i64(), reader.i64()))
    deltas = {}
    for _ in range(reader.compact_size(MAX_COUNT)):
        txid = Txid(reader.take(32))
        deltas[txid] = reader.i64()
    unbroadcast = frozenset(Txid(reader.take(32)) for _ in range(reader.compact_size(MAX_COUNT)))
    return MempoolDump(txs, deltas, unbroadcast)
