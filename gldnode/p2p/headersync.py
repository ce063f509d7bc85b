"""Headers of low work: look before you keep.

A peer can make endless headers of little work for nothing. While the chain that it offers has less work than
the least we accept, its headers are only checked and counted, one salted bit kept of every `COMMIT_EVERY`-th
(PRESYNC); once the work suffices they are asked for again, compared with those bits and only then given to the
header tree (REDOWNLOAD). After Core's HeadersSyncState.
"""

import hashlib
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from gldnode.chain.entry import BlockEntry
from gldnode.consensus.pow import block_work, permits_bits
from gldnode.params import ChainParams
from gldnode.primitives.block import BlockHeader
from gldnode.primitives.hashes import BlockHash

__all__ = ["LowWorkSync", "SyncFailed"]

COMMIT_EVERY: Final = 600
LOOKAHEAD: Final = 14_441
"""Headers held back in REDOWNLOAD, so that enough bits have been compared before the first is kept."""


class SyncFailed(Exception):
    """The peer's chain changed between the two downloads, grew past what time allows, or did not connect."""


class _Phase(Enum):
    PRESYNC = auto()
    REDOWNLOAD = auto()
    DONE = auto()


class LowWorkSync:
    """One peer's header download from `start` on. Proof of work of each header is checked by the caller."""

    def __init__(
        self,
        params: ChainParams,
        start: BlockEntry,
        minimum_work: int,
        salt: bytes,
        max_headers: int,
        *,
        commit_every: int = COMMIT_EVERY,
        lookahead: int = LOOKAHEAD,
    ) -> None:
        """`max_headers`: more than these could not have been mined since `start`."""
        self.start = start
        self._params = params
        self._minimum_work = minimum_work
        self._salt = salt
        self._max_headers = max_headers
        self._commit_every = commit_every
        self._offset = int.from_bytes(salt[:4], "little") % commit_every  # the peer must not know which ones count
        self._lookahead = lookahead
        self._phase = _Phase.PRESYNC
        self._bits = bytearray()
        self._rewind()

    def _rewind(self) -> None:
        self._last_hash = self.start.hash
        self._last_bits = self.start.bits
        self._last_time = self.start.time
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
    def presync_time(self) -> int:
        """Time of the last header seen, Unix seconds."""
        return self._last_time

    @property
    def locator_head(self) -> BlockHash:
        """The hash from which to ask for more."""
        return self._last_hash

    @property
    def memory_bytes(self) -> int:
        """What the bits and the held headers take, roughly."""
        return len(self._bits) + 200 * len(self._held)

    def _bit(self, header: BlockHeader) -> int:
        return hashlib.sha256(self._salt + header.hash).digest()[0] & 1

    def feed(self, headers: Sequence[BlockHeader], *, is_full: bool) -> tuple[Sequence[BlockHeader], bool]:
        """(headers to keep, whether to ask for more). Raises SyncFailed.

        `headers` connect with each other; `is_full` says that the peer has more behind them.
        """
        if headers and headers[0].prev_hash != self._last_hash:
            raise SyncFailed("headers do not continue the low-work chain")
        if self._phase is _Phase.PRESYNC:
            return self._presync(headers, is_full)
        return self._redownload(headers, is_full)

    def _step(self, header: BlockHeader) -> None:
        """Move to the next header."""
        if not permits_bits(
            self._params,
            prev_height=self._height,
            prev_time=self._last_time,
            prev_bits=self._last_bits,
            time=header.time,
            bits=header.bits,
        ):
            raise SyncFailed(f"invalid difficulty transition at height {self._height + 1}")
        self._height += 1
        self._work += block_work(header.bits)
        self._last_hash, self._last_bits, self._last_time = header.hash, header.bits, header.time

    def _presync(self, headers: Sequence[BlockHeader], is_full: bool) -> tuple[Sequence[BlockHeader], bool]:
        for header in headers:
            self._step(header)
            if self._height - self.start.height > self._max_headers:
                raise SyncFailed("more headers than could have been mined in the time")
            if self._height % self._commit_every == self._offset:
                self._bits.append(self._bit(header))
        if self._work >= self._minimum_work:
            self._phase = _Phase.REDOWNLOAD
            self._rewind()
            return (), True
        if not is_full:
            self._phase = _Phase.DONE  # the peer's whole chain has too little work
            return (), False
        return (), True

    def _redownload(self, headers: Sequence[BlockHeader], is_full: bool) -> tuple[Sequence[BlockHeader], bool]:
        for header in headers:
            enough = self._work >= self._minimum_work
            self._step(header)
            if self._height % self._commit_every == self._offset and not enough:
                if self._compared >= len(self._bits) or self._bits[self._compared] != self._bit(header):
                    raise SyncFailed("the peer sent other headers the second time")
                self._compared += 1
            self._held.append(header)
        if self._work >= self._minimum_work:
            self._phase = _Phase.DONE  # what follows goes the ordinary way
            keep, self._held = self._held, []
            return keep, is_full
        if not is_full:
            raise SyncFailed("the peer's chain ends earlier the second time")
        ready = len(self._held) - self._lookahead
        if ready <= 0:
            return (), True
        keep, self._held = self._held[:ready], self._held[ready:]
        return keep, True
