"""Typed reads that a transaction and a read snapshot have in common."""

from collections.abc import Iterator
from typing import TypeVar

from storage.jsondocs import decode_json
from storage.kv import KVReader
from storage.records import decode_record

__all__ = ["DocumentReader"]

T = TypeVar("T")


class DocumentReader(KVReader):
    """Documents and records on top of `get` and `iterate`."""

    __slots__ = ()

    def get_json(self, key: bytes, kind: type[T]) -> T | None:
        """The document under `key`, None where there is none. Raises DatabaseCorrupt."""
        data = self.get(key)
        return None if data is None else decode_json(data, kind)

    def get_record(self, key: bytes, kind: type[T]) -> T | None:
        """The record under `key`, None where there is none. Raises DatabaseCorrupt."""
        data = self.get(key)
        return None if data is None else decode_record(data, kind)

    def iterate_json(
        self,
        prefix: bytes,
        kind: type[T],
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, T]]:
        """`iterate` over documents of one type."""
        for key, data in self.iterate(prefix=prefix, start=start, stop=stop, reverse=reverse):
            yield key, decode_json(data, kind)

    def iterate_records(
        self,
        prefix: bytes,
        kind: type[T],
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, T]]:
        """`iterate` over records of one type."""
        for key, data in self.iterate(prefix=prefix, start=start, stop=stop, reverse=reverse):
            yield key, decode_record(data, kind)
