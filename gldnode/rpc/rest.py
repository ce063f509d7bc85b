"""The REST interface (`-rest`): reads without a password, for indexers. Core's paths, formats and sentences.

`/rest/…/<name>.<format>` with the formats bin, hex and json. The guard in front refuses browsers and proxies,
and addresses other than loopback and -rpcallowip.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiohttp import web

from gldnode.chain.entry import BlockEntry
from gldnode.errors import DecodeError
from gldnode.indexes import BlockFilterIndex
from gldnode.primitives.codec import compact_size
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import from_display_hex
from gldnode.primitives.tx import OutPoint, TxOut, outpoint, serialize_tx_out
from gldnode.rpc import blocks, chain, mempool, mempool_entries
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount, encode
from gldnode.rpc.render import display, header_json, script_json, tx_json
from gldnode.rpc.transactions import find_tx

__all__ = ["rest_routes"]

MAX_HEADERS: Final = 2000
MAX_OUTPOINTS: Final = 15
_TYPES: Final = {"bin": "application/octet-stream", "hex": "text/plain", "json": "application/json"}


class RestError(Exception):
    """Answered as a line of text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


Handler = Callable[[RpcContext, web.Request, str, str], Awaitable[web.Response]]


def rest_routes(
    make_context: Callable[[], RpcContext], is_warm: Callable[[], str | None]
) -> Sequence[web.RouteDef]:
    """The routes; `is_warm` tells what the node is doing while it loads."""

    def route(path: str, handler: Handler, method: str = "GET") -> web.RouteDef:
        async def handle(request: web.Request) -> web.StreamResponse:
            loading = is_warm()
            try:
                if loading is not None:
                    raise RestError(503, f"Service temporarily unavailable: {loading}")
                name, _, form = request.match_info["name"].rpartition(".")
                return await handler(make_context(), request, name, form)
            except RestError as error:
                return web.Response(status=error.status, text=f"{error.message}\r\n")
            except RpcError as error:
                status = 404 if error.code in (RpcCode.INVALID_ADDRESS_OR_KEY, RpcCode.MISC_ERROR) else 400
                return web.Response(status=status, text=f"{error.message}\r\n")

        return web.route(method, path, handle)

    return [
        route("/rest/{name:chaininfo\\.[a-z]+}", _chain_info),
        route("/rest/block/notxdetails/{name}", _block_without_details),
        route("/rest/block/{name}", _block),
        route("/rest/blockpart/{name}", _block_part),
        route("/rest/blockhashbyheight/{name}", _block_hash),
        route("/rest/headers/{name}", _headers),
        route("/rest/headers/{count}/{name}", _headers),
        route("/rest/spenttxouts/{name}", _spent),
        route("/rest/tx/{name}", _tx),
        route("/rest/mempool/{name}", _mempool),
        route("/rest/getutxos/{name:.*}", _coins),
        route("/rest/blockfilter/{kind}/{name}", _filter),
        route("/rest/blockfilterheaders/{kind}/{name}", _filter_headers),
        route("/rest/blockfilterheaders/{kind}/{count}/{name}", _filter_headers),
        route("/rest/deploymentinfo/{name}", _deployments),
        route("/rest/{name:deploymentinfo\\.[a-z]+}", _deployments),
    ]


def _respond(form: str, data: bytes | None, value: Any = None, *, with_json: bool = True) -> web.Response:
    """`data` as bytes or hex, `value` as JSON. Raises RestError for another format."""
    if form == "bin" and data is not None:
        body = data
    elif form == "hex" and data is not None:
        body = data.hex().encode() + b"\n"
    elif form == "json" and with_json:
        body = encode(value) + b"\n"
    else:
        forms = [name for name in ("bin", "hex") if data is not None] + ["json"] * with_json
        raise RestError(404, f"output format not found (available: {', '.join('.' + one for one in forms)})")
    return web.Response(body=body, headers={"Content-Type": _TYPES[form]})


def _entry(ctx: RpcContext, text: str) -> BlockEntry:
    try:
        wanted = from_display_hex(text)
    except DecodeError:
        raise RestError(400, f"Invalid hash: {text[:80]}") from None
    entry = ctx.node.chainstate.entry(wanted)
    if entry is None:
        raise RestError(404, f"{text} not found")
    return entry


def _number(text: str | None, what: str, least: int, most: int) -> int:
    if text is None or not text.isascii() or not text.isdigit() or not least <= int(text[:12]) <= most:
        raise RestError(400, f"{what} is invalid or out of range")
    return int(text)


async def _chain_info(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    return _respond(form, None, await blocks.getblockchaininfo(ctx))


async def _deployments(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    wanted = None if name in ("", "deploymentinfo") else _entry(ctx, name).hash
    return _respond(form, None, await chain.getdeploymentinfo(ctx, wanted))


async def _block(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    return await _block_form(ctx, name, form, 3)


async def _block_without_details(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    return await _block_form(ctx, name, form, 1)


async def _block_form(ctx: RpcContext, name: str, form: str, detail: int) -> web.Response:
    entry = _entry(ctx, name)
    chainstate = ctx.node.chainstate
    if form == "json":
        value = await ctx.read(lambda: blocks.block_json(ctx, entry, blocks.read_block(chainstate, entry), detail))
        return _respond(form, b"", value)
    return _respond(form, await ctx.read(lambda: blocks.block_bytes(chainstate, entry)))


async def _block_part(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    entry = _entry(ctx, name)
    data = await ctx.read(lambda: blocks.block_bytes(ctx.node.chainstate, entry))
    offset = _number(request.query.get("offset"), "Block part offset", 0, len(data))
    size = _number(request.query.get("size"), "Block part size", 1, len(data) - offset)
    return _respond(form, data[offset : offset + size], with_json=False)


async def _block_hash(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    height = _number(name, f"Height {name[:20]}", 0, 1 << 31)
    entry = ctx.node.chainstate.entry_at(height)
    if entry is None:
        raise RestError(404, "Block height out of range")
    if form == "hex":
        return web.Response(body=display(entry.hash).encode() + b"\n", headers={"Content-Type": "text/plain"})
    return _respond(form, entry.hash, {"blockhash": display(entry.hash)})


def _following(ctx: RpcContext, request: web.Request, name: str) -> list[BlockEntry]:
    """As many blocks of the active chain as are asked for, from the named one on; none for a stale one."""
    text = request.match_info.get("count") or request.query.get("count", "5")
    count = _number(text, "Header count", 1, MAX_HEADERS)
    chainstate = ctx.node.chainstate
    found: list[BlockEntry] = []
    entry: BlockEntry | None = _entry(ctx, name)
    while entry is not None and len(found) < count and chainstate.is_active(entry):
        found.append(entry)
        entry = chainstate.next_in_chain(entry)
    return found


async def _headers(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    chainstate = ctx.node.chainstate
    found = _following(ctx, request, name)

    def following(one: BlockEntry) -> bytes | None:
        after = chainstate.next_in_chain(one)
        return None if after is None else after.hash

    if form != "json":
        return _respond(form, b"".join(one.header_bytes for one in found))
    return _respond(
        form, b"", [header_json(one, blocks.confirmations_of(chainstate, one), following(one)) for one in found]
    )


async def _spent(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    """What a block spends: for each transaction its inputs' outputs, none for the coinbase."""
    entry = _entry(ctx, name)
    undo = await ctx.read(lambda: blocks.read_undo(ctx.node.chainstate, entry))
    params = ctx.node.params
    if form == "json":
        value = [
            [
                {"value": amount(coin.amount), "scriptPubKey": script_json(coin.script_pubkey, params)}
                for coin in coins
            ]
            for coins in ((), *undo)
        ]
        return _respond(form, b"", value)
    parts = [compact_size(len(undo) + 1), compact_size(0)]
    for coins in undo:
        parts.append(compact_size(len(coins)))
        parts += [serialize_tx_out(TxOut(coin.amount, coin.script_pubkey)) for coin in coins]
    return _respond(form, b"".join(parts))


async def _tx(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    try:
        wanted = from_display_hex(name)
    except DecodeError:
        raise RestError(400, f"Invalid hash: {name[:80]}") from None
    try:
        found = await ctx.read(lambda: find_tx(ctx, wanted))
    except RpcError:
        raise RestError(404, f"{name} not found") from None
    value = tx_json(found.tx, ctx.node.params, block_hash=found.block_hash) if form == "json" else None
    return _respond(form, found.tx.raw, value)


async def _mempool(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    if name == "info":
        return _respond(form, None, await mempool.getmempoolinfo(ctx))
    if name != "contents":
        raise RestError(400, "Invalid URI format. Expected /rest/mempool/<info|contents>.json")
    flags = []
    for key, default in (("verbose", "true"), ("mempool_sequence", "false")):
        text = request.query.get(key, default)
        if text not in ("true", "false"):
            raise RestError(400, f'The "{key}" query parameter must be either "true" or "false".')
        flags.append(text == "true")
    if all(flags):
        raise RestError(400, 'Verbose results cannot contain mempool sequence values. (hint: set "verbose=false")')
    return _respond(form, None, await mempool_entries.getrawmempool(ctx, *flags))


def _check_filter_kind(ctx: RpcContext, request: web.Request) -> None:
    kind = request.match_info["kind"]
    if kind != "basic":
        raise RestError(400, f"Unknown filtertype {kind[:80]}")
    if ctx.services.get(BlockFilterIndex) is None:
        raise RestError(400, f"Index is not enabled for filtertype {kind}")


async def _filter(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    _check_filter_kind(ctx, request)
    found = await chain.getblockfilter(ctx, _entry(ctx, name).hash, "basic")
    data = bytes.fromhex(found["filter"])
    wire = b"\x00" + _entry(ctx, name).hash + compact_size(len(data)) + data
    return _respond(form, wire, {"filter": found["filter"]})


async def _filter_headers(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    _check_filter_kind(ctx, request)
    found = []
    for entry in _following(ctx, request, name):
        found.append((await chain.getblockfilter(ctx, entry.hash, "basic"))["header"])
    return _respond(form, b"".join(from_display_hex(header) for header in found), found)


async def _coins(ctx: RpcContext, request: web.Request, name: str, form: str) -> web.Response:
    """BIP 64: which of these outputs are unspent."""
    words = [word for word in name.split("/") if word]
    check_mempool = bool(words) and words[0] == "checkmempool"
    prevouts = [_outpoint(word) for word in words[check_mempool:]]
    if not prevouts:
        raise RestError(400, "Error: empty request")
    if len(prevouts) > MAX_OUTPOINTS:
        raise RestError(400, f"Error: max outpoints exceeded (max: {MAX_OUTPOINTS}, tried: {len(prevouts)})")
    node = ctx.node

    def coin_of(prevout: OutPoint) -> Coin | None:
        if not check_mempool:
            return node.chainstate.coin(prevout)
        return None if node.pool.spender(prevout) is not None else node.pool.coin(prevout)

    tip = node.chainstate.tip
    coins = [coin_of(prevout) for prevout in prevouts]
    hits = [coin is not None for coin in coins]
    found = [coin for coin in coins if coin is not None]
    bitmap = bytes(
        sum(hits[i + bit] << bit for bit in range(min(8, len(hits) - i))) for i in range(0, len(hits), 8)
    )
    parts = [
        tip.height.to_bytes(4, "little"),
        tip.hash,
        compact_size(len(bitmap)),
        bitmap,
        compact_size(len(found)),
    ]
    for coin in found:
        parts += [bytes(4), coin.height.to_bytes(4, "little")]
        parts.append(serialize_tx_out(TxOut(coin.amount, coin.script_pubkey)))
    value = {
        "chainHeight": tip.height,
        "chaintipHash": display(tip.hash),
        "bitmap": "".join("1" if hit else "0" for hit in hits),
        "utxos": [
            {
                "height": coin.height,
                "value": amount(coin.amount),
                "scriptPubKey": script_json(coin.script_pubkey, node.params),
            }
            for coin in found
        ],
    }
    return _respond(form, b"".join(parts), value)


def _outpoint(word: str) -> OutPoint:
    txid, dash, number = word.partition("-")
    try:
        wanted = from_display_hex(txid)
    except DecodeError:
        dash = ""
    if not dash or not number.isascii() or not number.isdigit() or int(number[:12]) > 0xFFFFFFFF:
        raise RestError(400, "Parse error")
    return outpoint(wanted, int(number))
