"""Snapshots of the set of coins: dumptxoutset, loadtxoutset."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from gldnode.chain.entry import BlockEntry
from gldnode.chain.snapshot import (
    CoinItem,
    Metadata,
    SnapshotWritten,
    Unwinding,
    read_coins,
    read_metadata,
    write_snapshot,
)
from gldnode.chain.utxostats import coin_hash_bytes
from gldnode.errors import DecodeError
from gldnode.events import Tip
from gldnode.params import AssumedCoins
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import anything, obj, text
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display
from gldnode.rpc.stats import named_entry

__all__ = ["methods"]

methods = MethodGroup("Blockchain")


@methods.method(
    "dumptxoutset",
    "Write the serialized UTXO set to a file, in Bitcoin Core's format.\n\n"
    "For an earlier block the coins are computed from the present ones and the blocks since; the node goes on "
    "meanwhile.\nThis call may take several minutes. Make sure to use no RPC timeout "
    "(gld-cli -rpcclienttimeout=0)",
    params=[
        text("path", "Path to the output file. If relative, will be prefixed by datadir.", required=True),
        text(
            "type",
            'The type of snapshot to create. Can be "latest" for the current UTXO set or "rollback" for that of a '
            'historical block: the one of the "rollback" option, else the latest that loadtxoutset knows.',
            default="",
        ),
        obj(
            "options",
            "",
            [
                anything(
                    "rollback",
                    "Height or hash of the block of which to make the snapshot.",
                    word="string or numeric",
                )
            ],
            is_options=True,
        ),
    ],
    returns='{"coins_written":n,"base_hash":"hex","base_height":n,"path":"str","txoutset_hash":"hex","nchaintx":n}',
    examples=["utxo.dat latest", "utxo.dat rollback"],
)
async def dumptxoutset(
    ctx: RpcContext, path: str, type: str, options: dict[str, Any] | None
) -> dict[str, Any]:  # the RPC's name
    target = _target(ctx, type, options or {})
    to = ctx.node.data_dir / path
    part = to.parent / f"{to.name}.incomplete"
    with _the_only_one(ctx):  # two would write into the same file
        try:
            if to.exists():
                raise RpcError(
                    RpcCode.INVALID_PARAMETER,
                    f"{to} already exists. If you are sure this is what you want, move it out of the way first",
                )
            file = part.open("wb")
        except (OSError, ValueError):  # ValueError: a NUL character
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Couldn't open file {part} for writing.") from None
        try:
            with file:
                tip, coins = await ctx.validate(ctx.node.chainstate.scan_coins)
                base = _known(ctx, tip.hash) if target is None else target
                written = await ctx.read(lambda: _write(ctx, file, tip, coins, base))
            part.replace(to)
        except OSError as error:
            raise RpcError(RpcCode.MISC_ERROR, f"Unable to write the snapshot: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)
    return {
        "coins_written": written.coins_count,
        "base_hash": display(base.hash),
        "base_height": base.height,
        "path": str(to),
        "txoutset_hash": display(written.hash_serialized),
        "nchaintx": base.chain_tx,
    }


class _Dump:
    """Under way."""


@contextmanager
def _the_only_one(ctx: RpcContext) -> Iterator[None]:
    if ctx.services.get(_Dump) is not None:
        raise RpcError(RpcCode.MISC_ERROR, "Another snapshot is being written")
    ctx.services.add(_Dump())
    try:
        yield
    finally:
        ctx.services.remove(_Dump)


def _target(ctx: RpcContext, kind: str, options: dict[str, Any]) -> BlockEntry | None:
    """The block that is asked for; None for the tip."""
    if options.get("rollback") is not None:
        if kind not in ("", "rollback"):
            raise RpcError(
                RpcCode.INVALID_PARAMETER, f'Invalid snapshot type "{kind[:80]}" specified with rollback option'
            )
        entry = named_entry(ctx, options["rollback"])
    elif kind == "rollback":
        known = ctx.node.params.assumed_coins
        if not known:
            raise RpcError(
                RpcCode.INVALID_PARAMETER, 'This network has no snapshot heights: use the "rollback" option'
            )
        entry = named_entry(ctx, max(one.height for one in known))
    elif kind == "latest":
        return None
    else:
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            f'Invalid snapshot type "{kind[:80]}" specified. Please specify "rollback" or "latest"',
        )
    if not ctx.node.chainstate.is_active(entry):
        raise RpcError(RpcCode.MISC_ERROR, "Could not roll back to requested height.")
    return entry


def _known(ctx: RpcContext, block_hash: bytes) -> BlockEntry:
    entry = ctx.node.chainstate.entry(block_hash)
    assert entry is not None
    return entry


def _write(
    ctx: RpcContext, file: BinaryIO, tip: Tip, coins: Iterator[CoinItem], base: BlockEntry
) -> SnapshotWritten:
    """`coins` are as of `tip`; what is written is as of `base`, below it."""
    unwinding = Unwinding()
    entry = _known(ctx, tip.hash)
    while entry.height > base.height:
        _go_on(ctx)
        block = ctx.node.chainstate.read_block(entry.hash)
        undo = ctx.node.chainstate.read_undo(entry.hash)
        if block is None or undo is None:
            raise RpcError(
                RpcCode.MISC_ERROR,
                "Could not roll back to requested height since necessary block data is already pruned.",
            )
        unwinding.take_back(block, undo)
        assert entry.prev is not None
        entry = entry.prev
    if entry is not base:  # another branch has become the active one since
        raise RpcError(RpcCode.MISC_ERROR, "Could not roll back to requested height.")
    return write_snapshot(file, ctx.node.params.message_start, base.hash, _stoppable(ctx, unwinding.apply(coins)))


def _go_on(ctx: RpcContext) -> None:
    if ctx.node.stop_requested.is_set():
        raise RpcError(RpcCode.CLIENT_NOT_CONNECTED, "Shutting down")


def _stoppable(ctx: RpcContext, coins: Iterator[CoinItem]) -> Iterator[CoinItem]:
    for number, item in enumerate(coins):
        if number % 5000 == 0:
            _go_on(ctx)
        yield item


@methods.method(
    "loadtxoutset",
    "Check a serialized UTXO set from a file against what is known of this network.\n\n"
    "All of Bitcoin Core's checks are made: of the file's head, of the headers chain, of every coin, and of the "
    "hash of the contents. This node always computes its coins from the blocks, so a snapshot that passes is then "
    "refused for that reason.",
    params=[
        text("path", "path to the snapshot file. If relative, will be prefixed by datadir.", required=True),
    ],
    returns="An error -32603, in the words of the first check that fails",
    examples=["utxo.dat"],
)
async def loadtxoutset(ctx: RpcContext, path: str) -> None:
    where = ctx.node.data_dir / path
    problem = await ctx.read(lambda: _problem_with(ctx, where))
    raise RpcError(RpcCode.INTERNAL_ERROR, f"Unable to load UTXO snapshot: {problem}. ({where})")


def _problem_with(ctx: RpcContext, where: Path) -> str:
    try:
        file = where.open("rb")
    except (OSError, ValueError):
        raise RpcError(RpcCode.INVALID_PARAMETER, f"Couldn't open file {where} for reading.") from None
    with file:
        try:
            metadata = read_metadata(file, ctx.node.params.message_start)
        except DecodeError as error:
            raise RpcError(RpcCode.DESERIALIZATION_ERROR, f"Unable to parse metadata: {error}") from None
        return (
            _problem_with_base(ctx, metadata)
            or _problem_with_coins(ctx, file, metadata)
            or "it is valid, but this node computes its coins from the blocks only"
        )


def _assumed(ctx: RpcContext, metadata: Metadata) -> AssumedCoins | None:
    return next((one for one in ctx.node.params.assumed_coins if one.block_hash == metadata.base_hash), None)


def _problem_with_base(ctx: RpcContext, metadata: Metadata) -> str | None:
    """Whether coins as of this block could be used now (Core: ActivateSnapshot)."""
    node, shown = ctx.node, display(metadata.base_hash)
    if _assumed(ctx, metadata) is None:
        heights = ", ".join(str(one.height) for one in node.params.assumed_coins)
        return (
            f"assumeutxo block hash in snapshot metadata not recognized (hash: {shown}). The following snapshot "
            f"heights are available: {heights}"
        )
    entry = node.chainstate.entry(metadata.base_hash)
    if entry is None:
        return (
            f"The base block header ({shown}) must appear in the headers chain. Make sure all headers are "
            "syncing, and call loadtxoutset again"
        )
    if entry.is_failed:
        return f"The base block header ({shown}) is part of an invalid chain"
    if not entry.is_ancestor_of(node.chainstate.best_header):
        return (
            "A forked headers-chain with more work than the chain with the snapshot base block header exists. "
            "Please proceed to sync without AssumeUtxo"
        )
    if len(node.pool):
        return "Can't activate a snapshot when mempool not empty"
    if entry.chain_work <= node.chainstate.tip_entry.chain_work:
        return "Population failed: Work does not exceed active chainstate"
    return None


def _problem_with_coins(ctx: RpcContext, file: BinaryIO, metadata: Metadata) -> str | None:
    """Whether the file has just the coins that are known of its block (Core: PopulateAndValidateSnapshot)."""
    assumed = _assumed(ctx, metadata)
    assert assumed is not None
    digest = sha256()
    try:
        coins = read_coins(file, metadata, assumed.height, ctx.node.params.max_money)
        for prevout, coin in _stoppable(ctx, coins):
            digest.update(coin_hash_bytes(prevout, coin))
    except DecodeError as error:
        return f"Population failed: {error}"
    found = sha256(digest.digest()).digest()
    if found != assumed.hash_serialized:
        return (
            f"Population failed: Bad snapshot content hash: expected {display(assumed.hash_serialized)}, "
            f"got {display(found)}"
        )
    return None
