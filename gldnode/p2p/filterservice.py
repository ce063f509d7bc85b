"""Compact block filters for light clients (BIP 157), out of the filter index."""

from collections.abc import Iterable
from typing import Final, Protocol

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.entry import BlockEntry
from gldnode.errors import DecodeError
from gldnode.primitives.codec import Reader, compact_size, var_bytes
from gldnode.primitives.hashes import ZERO_HASH, BlockHash

__all__ = ["FilterIndex", "FilterService"]

BASIC: Final = 0
MAX_FILTERS: Final = 1_000
MAX_HEADERS: Final = 2_000
CHECKPOINT_INTERVAL: Final = 1_000


class StoredFilter(Protocol):
    """A filter as it travels."""

    @property
    def data(self) -> bytes: ...


class FilterIndex(Protocol):
    """The part of the filter index that is served; None for a block that it has not come to."""

    def find(self, block_hash: BlockHash, /) -> StoredFilter | None: ...
    def filter_hash(self, block_hash: BlockHash, /) -> bytes | None: ...
    def header(self, block_hash: BlockHash, /) -> bytes | None: ...


class FilterService:
    """Answers `getcfilters`, `getcfheaders` and `getcfcheckpt`."""

    def __init__(self, chain: Chainstate, index: FilterIndex) -> None:
        self._chain = chain
        self._index = index

    def answer(self, command: str, payload: bytes) -> Iterable[tuple[str, bytes]] | None:
        """The messages of the answer; None for a request that ends the connection (Core does so too).

        Raises DecodeError.
        """
        reader = Reader(payload)
        kind = reader.u8()
        start = 0 if command == "getcfcheckpt" else reader.u32()
        stop = self._chain.entry(reader.take(32))
        if kind != BASIC or stop is None or not self._chain.is_active(stop) or start > stop.height:
            return None
        match command:
            case "getcfilters":
                return self._filters(start, stop) if stop.height - start < MAX_FILTERS else None
            case "getcfheaders":
                return self._headers(start, stop) if stop.height - start < MAX_HEADERS else None
            case "getcfcheckpt":
                return self._checkpoints(stop)
            case _:
                raise DecodeError(f"not a filter request: {command}")

    def _filters(self, start: int, stop: BlockEntry) -> list[tuple[str, bytes]]:
        found = []
        for entry in _range(start, stop):
            stored = self._index.find(entry.hash)
            if stored is None:
                return []  # the index has not come so far: no answer is no lie
            found.append(("cfilter", bytes((BASIC,)) + entry.hash + var_bytes(stored.data)))
        return found

    def _headers(self, start: int, stop: BlockEntry) -> list[tuple[str, bytes]]:
        before = self._index.header(stop.ancestor(start - 1).hash) if start else ZERO_HASH
        hashes = [self._index.filter_hash(entry.hash) for entry in _range(start, stop)]
        if before is None or any(one is None for one in hashes):
            return []
        known = [one for one in hashes if one is not None]
        return [("cfheaders", b"".join((bytes((BASIC,)), stop.hash, before, compact_size(len(known)), *known)))]

    def _checkpoints(self, stop: BlockEntry) -> list[tuple[str, bytes]]:
        heights = range(CHECKPOINT_INTERVAL, stop.height + 1, CHECKPOINT_INTERVAL)
        headers = [self._index.header(stop.ancestor(height).hash) for height in heights]
        known = [one for one in headers if one is not None]
        if len(known) < len(headers):
            return []
        return [("cfcheckpt", b"".join((bytes((BASIC,)), stop.hash, compact_size(len(known)), *known)))]


def _range(start: int, stop: BlockEntry) -> list[BlockEntry]:
    """The blocks from that height up to `stop`, lowest first."""
    found = []
    for entry in stop.walk_back():
        if entry.height < start:
            break
        found.append(entry)
    return found[::-1]
