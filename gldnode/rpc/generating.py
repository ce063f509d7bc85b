"""Blocks on demand, for the regtest networks."""

from typing import Any, Final

from gldnode.address import address_to_script
from gldnode.descriptors import parse_descriptor
from gldnode.errors import DecodeError, Reject
from gldnode.mining.generate import generate_block, generate_blocks
from gldnode.primitives.block import Block
from gldnode.primitives.hashes import Txid, from_display_hex
from gldnode.primitives.tx import Tx
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import json_type
from gldnode.rpc.params import arr, boolean, num, text
from gldnode.rpc.rawtx import decode_tx
from gldnode.rpc.registry import MethodGroup
from gldnode.rpc.render import display
from gldnode.settings import block_limits

__all__ = ["methods"]

methods = MethodGroup("Generating")

CHUNK: Final = 20
"""Blocks mined in one piece of validation work, so that others get their turn."""
MAX_TRIES = num("maxtries", "How many iterations to try.", default=1_000_000)


async def _generate(ctx: RpcContext, count: int, script: bytes, tries: int) -> list[str]:
    """Mine `count` blocks; stops early when the node does."""
    mined: list[str] = []
    node = ctx.node
    max_weight, min_feerate = block_limits(node.config, node.params)
    while len(mined) < count and not node.stop_requested.is_set():
        chunk = min(CHUNK, count - len(mined))
        found = await ctx.validate(
            lambda chunk=chunk: generate_blocks(  # type: ignore[misc]  # mypy cannot infer a default's type
                node.chainstate,
                node.pool,
                node.clock,
                chunk,
                script,
                max_tries=tries,
                max_weight=max_weight,
                min_feerate=min_feerate,
            )
        )
        mined += [display(one) for one in found]
        if len(found) < chunk:
            break
    return mined


@methods.method(
    "generatetoaddress",
    "Mine to a specified address and return the block hashes.",
    params=[
        num("nblocks", "How many blocks are generated.", required=True),
        text("address", "The address to send the newly generated coins to.", required=True),
        MAX_TRIES,
    ],
    returns='["hex",...]    (json array) hashes of blocks generated',
    examples=['11 "myaddress"'],
)
async def generatetoaddress(ctx: RpcContext, nblocks: int, address: str, maxtries: int) -> list[str]:
    try:
        script = address_to_script(address, ctx.node.params)
    except DecodeError:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Error: Invalid address") from None
    return await _generate(ctx, nblocks, script, maxtries)


def _descriptor_script(ctx: RpcContext, descriptor: str) -> bytes:
    """The one script that a descriptor stands for. Raises RpcError."""
    try:
        parsed = parse_descriptor(descriptor, ctx.node.params)
    except DecodeError as error:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, str(error)) from None
    if parsed.is_range:
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            "Ranged descriptor not accepted. Maybe pass through deriveaddresses first?",
        )
    scripts = parsed.expand(0).scripts
    # A combo() has several: Core mines to its P2PK for an uncompressed key, else to its P2WPKH.
    return scripts[0] if len(scripts) != 4 else scripts[2]


@methods.method(
    "generatetodescriptor",
    "Mine to a specified descriptor and return the block hashes.",
    params=[
        num("num_blocks", "How many blocks are generated.", required=True),
        text("descriptor", "The descriptor to send the newly generated coins to.", required=True),
        MAX_TRIES,
    ],
    returns='["hex",...]    (json array) hashes of blocks generated',
    examples=['11 "mydesc"'],
)
async def generatetodescriptor(ctx: RpcContext, num_blocks: int, descriptor: str, maxtries: int) -> list[str]:
    return await _generate(ctx, num_blocks, _descriptor_script(ctx, descriptor), maxtries)


@methods.method(
    "generateblock",
    "Mine a set of ordered transactions to a specified address or descriptor and return the block hash.\n\n"
    "Transaction fees are not collected in the block reward.",
    params=[
        text("output", "The address or descriptor to send the newly generated coins to.", required=True),
        arr(
            "transactions",
            "Hex strings which are either txids or raw transactions; txids must be in the mempool.",
            [text("rawtx/txid", "")],
            required=True,
        ),
        boolean("submit", "Whether to submit the block before the RPC call returns", default=True),
    ],
    returns='{"hash":"hex","hex":"hex"}',
    examples=['"myaddress" "[\\"rawtx\\", \\"mempool_txid\\"]"'],
)
async def generateblock(ctx: RpcContext, output: str, transactions: list[Any], submit: bool) -> dict[str, str]:
    node = ctx.node
    try:
        script = address_to_script(output, node.params)
    except DecodeError:
        try:
            script = _descriptor_script(ctx, output)
        except RpcError as error:
            if error.code != RpcCode.INVALID_ADDRESS_OR_KEY:
                raise
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Error: Invalid address or descriptor") from None
    txs = [_named_tx(ctx, item) for item in transactions]

    def mine() -> Block | None:
        try:
            return generate_block(node.chainstate, node.clock, script, txs, submit=submit)
        except Reject as reject:
            raise RpcError(RpcCode.VERIFY_ERROR, f"TestBlockValidity failed: {reject}") from None

    block = await ctx.validate(mine)
    if block is None:
        raise RpcError(RpcCode.MISC_ERROR, "Failed to make block.")
    out = {"hash": display(block.hash)}
    if not submit:
        out["hex"] = block.raw.hex()
    return out


def _named_tx(ctx: RpcContext, item: Any) -> Tx:
    if json_type(item) != "string":
        raise RpcError(RpcCode.TYPE_ERROR, f"JSON value of type {json_type(item)} is not of expected type string")
    try:
        wanted = from_display_hex(item)
    except DecodeError:
        return decode_tx(
            item,
            message=f"Transaction decode failed for {item[:64]}. Make sure the tx has at least one input.",
        )
    entry = ctx.node.pool.get(Txid(wanted))
    if entry is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f"Transaction {item} not in mempool.")
    return entry.tx


@methods.method(
    "generate",
    "has been replaced by generatetoaddress.",
    hidden=True,
)
async def generate(ctx: RpcContext) -> None:
    raise RpcError(
        RpcCode.METHOD_NOT_FOUND, "generate\n\nhas been replaced by generatetoaddress. See help generatetoaddress."
    )
