"""One function for each thing that reads what strangers send.

It takes any bytes. It returns where they were read or refused with the declared error, and raises whatever else
happens: another exception, or a value that does not survive being written and read again.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from api.jsonbody import JsonError, check_json, decode_model, raw_text
from api.models.btngpay import ClaimRequest, CreateRequest
from gldnode.address import address_to_script, parse_wif, script_to_address
from gldnode.bip32 import ExtendedKey
from gldnode.chain.undo import encode_undo, parse_undo
from gldnode.consensus.check_block import check_block, is_block_mutated
from gldnode.consensus.check_tx import check_transaction
from gldnode.consensus.sizes import legacy_sigops
from gldnode.descriptors import infer_descriptor, parse_descriptors
from gldnode.errors import DecodeError, NodeError, Reject
from gldnode.messages import MessageFault, check_signature
from gldnode.p2p import messages
from gldnode.p2p.framing import Deframer, FramingError, Message, encode_frame
from gldnode.p2p.v2transport import V2Transport
from gldnode.params import BTC_REGTEST, NETWORKS, REGTEST
from gldnode.primitives.amount import AmountError, format_amount, parse_amount
from gldnode.primitives.bech32 import decode_bech32, encode_bech32
from gldnode.primitives.block import make_block, parse_block, parse_header
from gldnode.primitives.tx import SEQUENCE_FINAL, TxIn, TxOut, make_tx, outpoint, parse_tx
from gldnode.psbt import decode_psbt, parse_psbt
from gldnode.rpc.convert import ConvertError, convert_argument
from gldnode.rpc.errors import RpcError
from gldnode.rpc.params import Param, check_arguments
from gldnode.rpc.protocol import Call, parse_body, parse_call, reply_error
from gldnode.script.errors import ScriptError
from gldnode.script.flags import MANDATORY_SCRIPT_VERIFY_FLAGS, STANDARD_SCRIPT_VERIFY_FLAGS, ScriptFlags
from gldnode.script.script import script_to_asm
from gldnode.script.templates import solve
from gldnode.script.verify import verify_input
from payments.errors import ValidationError
from payments.money import parse_percent, parse_price, parse_rate
from payments.outgoing import check_url
from payments.rules import RuleError, evaluate, parse_rule
from tests.fuzz import seeds
from tests.support.wire import Lab

__all__ = ["TARGETS", "Target"]

_MAGIC = BTC_REGTEST.message_start


@dataclass(frozen=True)
class Target:
    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    """Good examples, which the fuzzers change."""


TARGETS: dict[str, Target] = {}


def target(
    name: str, good: Callable[[], Sequence[bytes]]
) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    def register(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
        TARGETS[name] = Target(run, good)
        return run

    return register


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# -- blocks and transactions --


@target("tx", seeds.transactions)
def _tx(data: bytes) -> None:
    for allow_witness in (True, False):
        with suppress(DecodeError):
            tx = parse_tx(data, allow_witness=allow_witness)
            assert tx.raw == data
            rebuilt = make_tx(tx.version, tx.inputs, tx.outputs, tx.lock_time)
            assert (rebuilt.raw, rebuilt.txid, rebuilt.wtxid) == (tx.raw, tx.txid, tx.wtxid)
            assert tx.weight == 3 * len(tx.stripped()) + len(data)
            legacy_sigops(tx)
            with suppress(Reject):
                check_transaction(tx, BTC_REGTEST)


@target("block", seeds.blocks)
def _block(data: bytes) -> None:
    try:
        block = parse_block(data)
    except DecodeError:
        return
    assert make_block(block.header, block.txs).raw == data
    is_block_mutated(block, check_witness_root=True)
    with suppress(Reject):
        check_block(block, BTC_REGTEST, check_pow=False)


@target("header", lambda: [block[:80] for block in seeds.blocks()])
def _header(data: bytes) -> None:
    with suppress(DecodeError):
        assert parse_header(data).serialize() == data


@target("undo", seeds.undo)
def _undo(data: bytes) -> None:
    with suppress(DecodeError):
        assert encode_undo(parse_undo(data)) == data


# -- scripts --


@target("script", seeds.scripts)
def _script(data: bytes) -> None:
    """Flags (3 bytes), how many bytes of input script, how many witness elements; then all of them."""
    if len(data) < 6:
        return
    bits = int.from_bytes(data[:3], "little")
    flags = ScriptFlags(bits & int(STANDARD_SCRIPT_VERIFY_FLAGS | MANDATORY_SCRIPT_VERIFY_FLAGS))
    if flags & (ScriptFlags.WITNESS | ScriptFlags.CLEANSTACK):
        flags |= ScriptFlags.P2SH
    if flags & ScriptFlags.CLEANSTACK:
        flags |= ScriptFlags.WITNESS
    size, count = data[3], data[4] & 7
    script_sig, rest = data[5 : 5 + size], data[5 + size :]
    witness = []
    for _ in range(count):
        if rest:
            item, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
            witness.append(item)
    txin = TxIn(outpoint(bytes(32), 0), script_sig, SEQUENCE_FINAL, tuple(witness))
    tx = make_tx(2, [txin], [TxOut(1, b"")])
    with suppress(ScriptError):
        verify_input(tx, 0, [TxOut(5, rest)], flags)
    with suppress(ScriptError):
        verify_input(tx, 0, [TxOut(5, rest)], MANDATORY_SCRIPT_VERIFY_FLAGS)
    script_to_asm(rest, decode_sighash=True)
    solve(rest)
    for params in NETWORKS.values():
        address = script_to_address(rest, params)
        assert address is None or address_to_script(address, params) == rest


@target("descriptor", seeds.descriptors)
def _descriptor(data: bytes) -> None:
    try:
        found = parse_descriptors(_text(data), REGTEST)
    except DecodeError:
        return
    for descriptor in found:
        text = descriptor.to_text()
        (again,) = parse_descriptors(text, REGTEST)
        assert again.to_text() == text
        with suppress(DecodeError):
            assert again.expand(7).scripts == descriptor.expand(7).scripts or descriptor.has_private_keys


@target("inferred descriptor", seeds.scripts)
def _infer(data: bytes) -> None:
    text = infer_descriptor(data or b"\x51", REGTEST)  # raw() of nothing is no descriptor, in Core neither
    (descriptor,) = parse_descriptors(text, REGTEST)
    assert descriptor.expand().scripts[0] == (data or b"\x51")


@target("address", seeds.addresses)
def _address(data: bytes) -> None:
    text = _text(data)
    for params in NETWORKS.values():
        with suppress(DecodeError):
            script = address_to_script(text, params)
            written = script_to_address(script, params)
            assert written is not None
            assert written.lower() == text.lower() or written == text
        with suppress(DecodeError):
            parse_wif(text, params)
    with suppress(DecodeError):
        hrp, values, encoding = decode_bech32(text)
        assert encode_bech32(hrp, values, encoding) == text.lower()
    with suppress(NodeError):
        ExtendedKey.parse(text, REGTEST)


@target("psbt", seeds.psbts)
def _psbt(data: bytes) -> None:
    with suppress(DecodeError):
        psbt = decode_psbt(data)
        again = decode_psbt(psbt.serialize())
        assert again.serialize() == psbt.serialize()
        with suppress(DecodeError):
            psbt.unsigned_tx()
    with suppress(DecodeError):
        parse_psbt(_text(data))


@target("signed message", seeds.signatures)
def _signed(data: bytes) -> None:
    script, _, rest = data.partition(b"|")
    message, _, signature = _text(rest).partition("|")
    with suppress(MessageFault):
        check_signature(script, message, signature)


# -- peers --

_MESSAGES: dict[str, Callable[[bytes], object]] = {
    "version": messages.Version.decode,
    "ping": messages.Ping.decode,
    "inv": messages.Inventory.decode,
    "getheaders": messages.Locator.decode,
    "headers": messages.Headers.decode,
    "feefilter": messages.FeeFilter.decode,
    "sendcmpct": messages.SendCompact.decode,
    "addr": messages.Addr.decode,
    "addrv2": messages.AddrV2.decode,
    "cmpctblock": messages.CompactBlock.decode,
    "getblocktxn": messages.GetBlockTxn.decode,
    "blocktxn": messages.BlockTxn.decode,
}


@target("p2p messages", seeds.payloads)
def _messages(data: bytes) -> None:
    """One byte chooses the message, the rest is its payload."""
    if data:
        decode = list(_MESSAGES.values())[data[0] % len(_MESSAGES)]
        with suppress(DecodeError):
            decode(data[1:])


_COMMANDS = (
    *_MESSAGES,
    *("tx", "block", "getdata", "notfound", "getblocks", "mempool", "getaddr", "verack", "wtxidrelay"),
    *("sendaddrv2", "sendheaders", "pong", "filterload", "filteradd", "filterclear", "getcfilters"),
    *("getcfheaders", "getcfcheckpt", "sendtxrcncl", "merkleblock", "feature", "unknown"),
)


@cache
def _lab() -> Lab:
    return Lab(blocks=5)


@target("peer", seeds.conversations)
def _peer(data: bytes) -> None:
    """A connected peer says: command (1 byte), length (2 bytes), payload; again and again."""
    lab = _lab()
    end = lab.peer()
    at = 0
    while at + 3 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 3], "little")
        end.send(_COMMANDS[data[at] % len(_COMMANDS)], data[at + 3 : at + 3 + size])
        at += 3 + size
    lab.run(1)
    if end.closed is None:
        lab.node.processing.peers[end.peer.id].peer.disconnect("the run is over")
        lab.collect(lab.node)
    assert end.peer.id not in lab.node.processing.peers


@target("frames", lambda: [encode_frame(_MAGIC, "ping", bytes(8)), encode_frame(_MAGIC, "verack", b"")])
def _frames(data: bytes) -> None:
    whole, whole_end = _fed([data])
    split, split_end = _fed([data[at : at + 1] for at in range(len(data))])
    assert split_end == whole_end
    assert split == whole


def _fed(chunks: Sequence[bytes]) -> tuple[list[Message], str]:
    """The messages that come out, and why the connection ended."""
    deframer = Deframer(_MAGIC)
    found: list[Message] = []
    try:
        for chunk in chunks:
            found.extend(deframer.feed(chunk))
    except FramingError as error:
        return found, str(error)
    return found, ""


@target("v2 transport", seeds.v2_streams)
def _v2(data: bytes) -> None:
    for initiating in (False, True):
        secret = b"\x03" * 32
        side = V2Transport(_MAGIC, initiating=initiating, secret=secret, key_entropy=secret, garbage=b"")
        side.handshake()
        with suppress(FramingError):
            list(side.feed(data))


# -- JSON and words --


@target("api json", seeds.json_bodies)
def _json(data: bytes) -> None:
    with suppress(JsonError):
        check_json(data)
    for model in (CreateRequest, ClaimRequest):
        with suppress(JsonError):
            body = decode_model(data, model)
            if isinstance(body, CreateRequest):
                raw_text(body.amount, "amount")


@cache
def _declared() -> list[tuple[str, Sequence[Param]]]:
    from gldnode.rpc.methods import full_registry  # all of the node: only for those who need it

    registry = full_registry()
    methods = [(name, registry.get(name)) for name in sorted(registry.names())]
    return [(name, method.params) for name, method in methods if method is not None]


@target("rpc", seeds.rpc_bodies)
def _rpc(data: bytes) -> None:
    try:
        value = parse_body(data)
    except RpcError:
        return
    declared = dict(_declared())
    for one in value if isinstance(value, list) else [value]:
        call = Call()
        try:
            call = parse_call(one)
            params = declared.get(call.method)
            if params is not None:
                check_arguments(params, call.params, lambda: "help")
        except RpcError as error:
            reply_error(call, error)


@target("rpc arguments", seeds.words)
def _arguments(data: bytes) -> None:
    """One byte chooses the method, the rest are words of a command line."""
    if not data:
        return
    _, params = _declared()[data[0] % len(_declared())]
    words = _text(data[1:]).split("\0")
    with suppress(ConvertError, RpcError):
        values = [convert_argument(p, word) for p, word in zip(params, words, strict=False)]
        check_arguments(params, values, lambda: "help")


@target("rate rule", seeds.rules)
def _rule(data: bytes) -> None:
    text = _text(data)
    with suppress(RuleError):
        parse_rule(text)
    for rate in (Fraction(0), Fraction(7, 3)):
        with suppress(RuleError):
            evaluate(text, lambda pair, rate=rate: rate)  # type: ignore[misc]
    with suppress(RuleError):
        evaluate(text, lambda pair: "no rate")


@target("amounts", seeds.amounts)
def _amounts(data: bytes) -> None:
    text = _text(data)
    with suppress(AmountError):
        amount = parse_amount(text, REGTEST.max_money)
        assert parse_amount(format_amount(amount), REGTEST.max_money) == amount
    for parse in (lambda words: parse_price(words, 10**15), parse_rate, parse_percent):
        with suppress(NodeError, ValidationError):
            parse(text)


@target("url", seeds.urls)
def _url(data: bytes) -> None:
    for params in (REGTEST, NETWORKS["main"]):
        with suppress(ValidationError):
            check_url(_text(data), params, "url")
