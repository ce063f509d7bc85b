"""Proofs that transactions are in a block: partial merkle trees (Core: CMerkleBlock, BIP 37's format)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gldnode.errors import DecodeError
from gldnode.primitives.block import HEADER_SIZE, BlockHeader, parse_header
from gldnode.primitives.codec import Reader, compact_size
from gldnode.primitives.hashes import Txid, sha256d
from gldnode.primitives.tx import outpoint
from gldnode.rpc.blocks import known_entry, read_block
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import arr, block_hash, hash_value, hex_data, hex_value, text
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display
from gldnode.rpc.transactions import find_tx

__all__ = ["MerkleProof", "make_proof", "methods", "parse_proof"]

methods = MethodGroup("Rawtransactions")

MAX_TXS = 4_000_000 // 60
"""No block has more: a transaction takes at least 60 bytes."""


@dataclass(frozen=True, slots=True)
class MerkleProof:
    """What a partial merkle tree proves."""

    header: BlockHeader
    tx_count: int
    root: bytes
    matches: tuple[bytes, ...]
    """Txids in block order."""
    positions: tuple[int, ...]
    """Of each of them in the block."""


def _width(count: int, height: int) -> int:
    return (count + (1 << height) - 1) >> height


def _tree_height(count: int) -> int:
    height = 0
    while _width(count, height) > 1:
        height += 1
    return height


def make_proof(header: BlockHeader, txids: Sequence[bytes], wanted: frozenset[bytes]) -> bytes:
    """Header and partial merkle tree of a block with `txids` that prove the `wanted` ones."""
    levels: list[list[bytes]] = [list(txids)]
    marks: list[list[bool]] = [[txid in wanted for txid in txids]]
    while len(levels[-1]) > 1:
        below, marked = levels[-1], marks[-1]
        pairs = range(0, len(below), 2)
        levels.append([sha256d(below[i] + below[min(i + 1, len(below) - 1)]) for i in pairs])
        marks.append([any(marked[i : i + 2]) for i in pairs])
    hashes: list[bytes] = []
    bits: list[bool] = []

    def walk(height: int, position: int) -> None:
        bits.append(marks[height][position])
        if height == 0 or not marks[height][position]:
            hashes.append(levels[height][position])
            return
        walk(height - 1, position * 2)
        if position * 2 + 1 < len(levels[height - 1]):
            walk(height - 1, position * 2 + 1)

    walk(len(levels) - 1, 0)
    packed = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        packed[index // 8] |= bit << (index % 8)
    return b"".join(
        (
            header.serialize(),
            len(txids).to_bytes(4, "little"),
            compact_size(len(hashes)),
            *hashes,
            compact_size(len(packed)),
            bytes(packed),
        )
    )


def parse_proof(data: bytes) -> MerkleProof:
    """Read and check the tree; whether its root is the header's is left to the caller. Raises DecodeError."""
    header = parse_header(data[:HEADER_SIZE])
    reader = Reader(data, HEADER_SIZE)
    count = reader.u32()
    hashes = [reader.take(32) for _ in range(reader.compact_size(MAX_TXS))]
    flags = reader.var_bytes(MAX_TXS)
    reader.expect_end()
    if not 0 < count <= MAX_TXS or len(hashes) > count or len(flags) * 8 < len(hashes):
        raise DecodeError("a partial merkle tree of impossible size")
    walker = _Walker(count, hashes, flags)
    root = walker.walk(_tree_height(count), 0)
    walker.check_used_up()
    return MerkleProof(header, count, root, tuple(walker.matches), tuple(walker.positions))


class _Walker:
    """Depth first through a partial tree (Core: TraverseAndExtract)."""

    def __init__(self, count: int, hashes: Sequence[bytes], flags: bytes) -> None:
        self._count = count
        self._hashes = hashes
        self._flags = flags
        self._used_hashes = self._used_bits = 0
        self.matches: list[bytes] = []
        self.positions: list[int] = []

    def walk(self, height: int, position: int) -> bytes:
        if self._used_bits >= len(self._flags) * 8:
            raise DecodeError("a partial merkle tree with too few bits")
        parent = bool(self._flags[self._used_bits // 8] >> (self._used_bits % 8) & 1)
        self._used_bits += 1
        if height == 0 or not parent:
            if self._used_hashes >= len(self._hashes):
                raise DecodeError("a partial merkle tree with too few hashes")
            found = self._hashes[self._used_hashes]
            self._used_hashes += 1
            if height == 0 and parent:
                self.matches.append(found)
                self.positions.append(position)
            return found
        left = self.walk(height - 1, position * 2)
        right = left
        if position * 2 + 1 < _width(self._count, height - 1):
            right = self.walk(height - 1, position * 2 + 1)
            if right == left:  # the same branch twice would prove what is not there (CVE-2012-2459)
                raise DecodeError("a partial merkle tree with two equal branches")
        return sha256d(left + right)

    def check_used_up(self) -> None:
        if (self._used_bits + 7) // 8 != len(self._flags) or self._used_hashes != len(self._hashes):
            raise DecodeError("a partial merkle tree with something left over")


@methods.method(
    "gettxoutproof",
    'Returns a hex-encoded proof that "txid" was included in a block.\n\nNOTE: By default this function only '
    "works "
    "sometimes: when there is an unspent output in the utxo for this transaction. To make it always work, "
    "maintain a "
    "transaction index (-txindex) or specify the block by its hash.",
    params=[
        arr("txids", "The txids to filter", [text("txid", "A transaction hash")], required=True),
        block_hash("blockhash", "If specified, looks for txid in the block with this hash"),
    ],
    returns='"str"    (string) A string that is a serialized, hex-encoded data for the proof.',
    examples=["'[\"mytxid\"]'"],
)
async def gettxoutproof(ctx: RpcContext, txids: list[Any], blockhash: bytes | None) -> str:
    if not txids:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Parameter 'txids' cannot be empty")
    wanted: set[bytes] = set()
    for item in txids:
        one = hash_value(item, "txid")
        if one in wanted:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid parameter, duplicated txid: {item}")
        wanted.add(one)

    def prove() -> str:
        chainstate = ctx.node.chainstate
        entry = known_entry(ctx, blockhash) if blockhash is not None else _entry_of(ctx, sorted(wanted))
        block = read_block(chainstate, entry)
        ids = [tx.txid for tx in block.txs]
        if not wanted <= set(ids):
            raise RpcError(
                RpcCode.INVALID_ADDRESS_OR_KEY, "Not all transactions found in specified or retrieved block"
            )
        return make_proof(block.header, ids, frozenset(wanted)).hex()

    return await ctx.read(prove)


def _entry_of(ctx: RpcContext, wanted: Sequence[bytes]) -> Any:
    """The block that has one of `wanted`: by an unspent output of it, else by the index."""
    chainstate = ctx.node.chainstate
    for one in wanted:
        for vout in range(20):
            coin = chainstate.coin(outpoint(one, vout))
            if coin is not None:
                return chainstate.entry_at(coin.height)
    try:
        found = find_tx(ctx, Txid(wanted[0]))
    except RpcError:
        found = None
    if found is None or found.block_hash is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Transaction not yet in block")
    return known_entry(ctx, found.block_hash)


@methods.method(
    "verifytxoutproof",
    "Verifies that a proof points to a transaction in a block, returning the transaction it commits to and "
    "throwing "
    "an RPC error if the block is not in our best chain",
    params=[hex_data("proof", "The hex-encoded proof generated by gettxoutproof", required=True)],
    returns='["hex",...]    (json array) The txid(s) which the proof commits to, or empty array if it is not '
    "valid",
    examples=['"proof"'],
)
async def verifytxoutproof(ctx: RpcContext, proof: str) -> list[str]:
    try:
        found = parse_proof(hex_value(proof, "proof"))
    except DecodeError as error:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, f"Proof decode failed: {error}") from None
    if found.root != found.header.merkle_root:
        return []
    entry = ctx.node.chainstate.entry(found.header.hash)
    if entry is None or not ctx.node.chainstate.is_active(entry) or entry.n_tx == 0:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block not found in chain")
    if entry.n_tx != found.tx_count:  # an inner node passed off as a transaction
        return []
    return [display(one) for one in found.matches]
