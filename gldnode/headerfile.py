"""Headers in a file, for checking a receipt where there is no node: 80 bytes each, from genesis or an anchor on.

From genesis every rule of headers is checked, the difficulty's too. From an anchor, a block that the user trusts,
the links and the proof of work at each header's own difficulty are.
"""

from collections.abc import Callable, Sequence

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import ChainOptions
from gldnode.clock import MockableClock
from gldnode.consensus.pow import has_valid_proof_of_work
from gldnode.errors import DecodeError, NodeError, Reject
from gldnode.params import ChainParams
from gldnode.primitives.block import BlockHeader, parse_header
from gldnode.primitives.hashes import from_display_hex, to_display_hex

__all__ = ["Anchor", "HeaderChain", "HeadersFault", "parse_anchor", "read_headers"]

SIZE = 80
Anchor = tuple[int, bytes]
"""Height and hash of a trusted block."""


class HeadersFault(NodeError):
    """Why a file of headers is no chain."""


class HeaderChain:
    """Heights of the blocks in a file of headers."""

    def __init__(self, heights: dict[bytes, int]) -> None:
        self._heights = heights
        self.tip_height = max(heights.values())

    @property
    def height_of(self) -> Callable[[bytes], int | None]:
        return self._heights.get


def parse_anchor(text: str) -> Anchor:
    """`height:hash`. Raises HeadersFault."""
    height, _, block_hash = text.partition(":")
    try:
        if not height.isascii() or not height.isdecimal() or len(height) > 10:
            raise DecodeError("no height")
        return int(height), from_display_hex(block_hash)
    except DecodeError:
        raise HeadersFault("An anchor is the height and hash of a block you trust: 800000:0000…") from None


def read_headers(data: bytes, params: ChainParams, anchor: Anchor | None = None) -> HeaderChain:
    """Raises HeadersFault where the headers are no chain from genesis or the anchor."""
    if not data or len(data) % SIZE:
        raise HeadersFault("A headers file has 80 bytes for each block, and nothing else")
    try:
        headers = [parse_header(data[at : at + SIZE]) for at in range(0, len(data), SIZE)]
    except DecodeError as error:
        raise HeadersFault(f"The headers file cannot be read: {error}") from None
    if anchor is not None:
        return HeaderChain(_from_anchor(headers, params, anchor))
    if headers[0].hash != params.genesis.hash:
        raise HeadersFault(f"The headers begin with {to_display_hex(headers[0].hash)}, not with the genesis block")
    return HeaderChain(_from_genesis(headers, params))


def _from_genesis(headers: Sequence[BlockHeader], params: ChainParams) -> dict[bytes, int]:
    clock = MockableClock()
    clock.set_mock_time(
        max(header.time for header in headers)
    )  # no header is too new: the file is of some past day
    chain = Chainstate.open(params, None, ChainOptions(), clock)
    heights = {bytes(headers[0].hash): 0}
    try:
        for header in headers[1:]:
            entry = chain.accept_header(header)
            if entry.height != len(heights):
                raise HeadersFault("The headers file has more than one branch")
            heights[bytes(header.hash)] = entry.height
    except Reject as error:
        raise HeadersFault(f"Header {len(heights)} breaks a rule: {error.reason}") from None
    finally:
        chain.close()
    return heights


def _from_anchor(headers: Sequence[BlockHeader], params: ChainParams, anchor: Anchor) -> dict[bytes, int]:
    height, block_hash = anchor
    if headers[0].hash != block_hash:
        raise HeadersFault("The headers do not begin with the anchor")
    heights: dict[bytes, int] = {}
    before = headers[0].prev_hash
    for place, header in enumerate(headers):
        if header.prev_hash != before:
            raise HeadersFault(f"Header {height + place} does not follow the one before it")
        if not has_valid_proof_of_work(header.hash, header.bits, params):
            raise HeadersFault(f"Header {height + place} has no proof of work")
        before = header.hash
        heights[bytes(header.hash)] = height + place
    return heights
