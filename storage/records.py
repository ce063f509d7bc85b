"""Stored records: msgpack typed by msgspec, for what is small, frequent or binary."""

from typing import Any, TypeVar

import msgspec

from storage.errors import DatabaseCorrupt

__all__ = ["decode_record", "encode_record"]

T = TypeVar("T")

encode_record = msgspec.msgpack.Encoder().encode


_decoders: dict[Any, "msgspec.msgpack.Decoder[Any]"] = {}


def decode_record(data: bytes, kind: type[T]) -> T:
    """The record of type `kind` that `encode_record` wrote. Raises DatabaseCorrupt."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    try:
        record: T = decoder.decode(data)
    except msgspec.DecodeError as error:  # ValidationError is one
        raise DatabaseCorrupt(f"a stored {getattr(kind, '__name__', kind)} cannot be read: {error}") from error
    return record
