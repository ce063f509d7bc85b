"""Stored documents: JSON typed by msgspec, for what a person may want to read in the database."""

from typing import Any, TypeVar

import msgspec

from storage.errors import DatabaseCorrupt

__all__ = ["decode_json", "encode_json"]

T = TypeVar("T")

encode_json = msgspec.json.Encoder().encode


_decoders: dict[Any, "msgspec.json.Decoder[Any]"] = {}


def decode_json(data: bytes, kind: type[T]) -> T:
    """The document of type `kind` that `encode_json` wrote. Raises DatabaseCorrupt."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        document: T = decoder.decode(data)
    except msgspec.DecodeError as error:  # ValidationError is one
        raise DatabaseCorrupt(f"a stored {getattr(kind, '__name__', kind)} cannot be read: {error}") from error
    return document
