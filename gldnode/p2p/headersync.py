"""Headers of low work: look before you keep.

A peer can make endless headers of little work for nothing. While the chain that it offers has less work than
the least we accept, its headers are only checked and counted, one salted bit kept of every `COMMIT_EVERY`-th
(PRESYNC); once the work suffices they are asked for again, compared with those bits and only then given to the
header tree (REDOWNLOAD). After Core's HeadersSyncState.
"""

import hashlib
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final

from gldnode.chain.entry import BlockEntry
from gldnode.primitives.block import BlockHeader
from gldnode.primitives.hashes import BlockHash

__all__ = ["LowWorkSync", "SyncFailed"]

COMMIT_EVERY: Final = 600
LOOKAHEAD: Final = 14_441
"""Headers held back in REDOWNLOAD, so that enough bits have been compared before the first is kept."""


WorkOf = Callable[[BlockHeader], int]
"""Proof of work of one header."""


class SyncFailed(Exception):
    """The peer's chain changed between the two downloads, grew past what time allows, or did not connect."""


class _Phase(Enum):
    PRESYNC = auto()
    REDOWNLOAD = auto()
    DONE = auto()


class LowWorkSync:
    """One peer's header download from `start` on. Proof of work of each header is checked by the caller."""

    def __init__(self, start: BlockEntry, minimum_work: int, salt: bytes, max_headers: int) -> None:
        self.start = start
        self._minimum_work = minimum_work
        self._salt = salt
        self._max_headers = max_headers
        self._phase = _Phase.PRESYNC
        self._bits: list[bool] = []
        self._rewind()

    def _rewind(self) -> None:
        self._last_hash = self.start.hash
        self._height = self.start.height
        self._work = self.start.chain_work
        self._held: list[BlockHeader] = []
        self._compared = 0

    @property
    def is_done(self) -> bool:
        return self._phase is _Phase.DONE

    @property
    def presync_height(self) -> int:
        """How far the first download has come, -1 when it is over."""
        return self._height if self._phase is _Phase.PRESYNC else -1

    @property
    def locator_head(self) -> BlockHash:
        """The hash from which to ask for more."""
        return self._last_hash

    def _bit(self, header: BlockHeader) -> bool:
        return bool(hashlib.sha256(self._salt + header.hash).digest()[0] & 1)

    def feed(
        self, headers: Sequence[BlockHeader], work_of: WorkOf, *, is_full: bool
    ) -> tuple[Sequence[BlockHeader], bool]:
        """(headers to keep, whether to ask for more). Raises SyncFailed.

        `headers` connect with each other; `is_full` says that the peer has more behind them.
        """
        if headers and headers[0].prev_hash != self._last_hash:
            raise SyncFailed("headers do not continue the low-work chain")
        if self._phase is _Phase.PRESYNC:
            return self._presync(headers, work_of, is_full)
        return self._redownload(headers, work_of, is_full)

    def _presync(
        self, headers: Sequence[BlockHeader], work_of: WorkOf, is_full: bool
    ) -> tuple[Sequence[BlockHeader], bool]:
        for header in headers:
            self._height += 1
            if self._height - self.start.height > self._max_headers:
                raise SyncFailed("more headers than could have been mined in the time")
            if self._height % COMMIT_EVERY == 0:
                self._bits.append(self._bit(header))
            self._work += work_of(header)
            self._last_hash = header.hash
        if self._work >= self._minimum_work:
            self._phase = _Phase.REDOWNLOAD
            self._rewind()
            return (), True
        if not is_full:
            self._phase = _Phase.DONE  # the peer's whole chain has too little work
            return (), False
        return (), True

    def _redownload(
        self, headers: Sequence[BlockHeader], work_of: WorkOf, is_full: bool
    ) -> tuple[Sequence[BlockHeader], bool]:
        for header in headers:
            self._height += 1
            if self._height % COMMIT_EVERY == 0 and self._work < self._minimum_work:
                if self._compared >= len(self._bits) or self._bits[self._compared] != self._bit(header):
                    raise SyncFailed("the peer sent other headers the second time")
                self._compared += 1
            self._work += work_of(header)
            self._last_hash = header.hash
            self._held.append(header)
        if self._work >= self._minimum_work:
            self._phase = _Phase.DONE  # what follows goes the ordinary way
            keep, self._held = self._held, []
            return keep, is_full
        if not is_full:
            raise SyncFailed("the peer's chain ends earlier the second time")
        ready = len(self._held) - LOOKAHEAD
        if ready <= 0:
            return (), True
        keep, self._held = self._held[:ready], self._held[ready:]
        return keep, True
