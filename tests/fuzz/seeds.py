"""Good examples for each fuzz target; small ones, and of every form."""

import json
from collections.abc import Sequence
from functools import cache

from gldnode.address import script_to_address
from gldnode.chain.undo import encode_undo
from gldnode.p2p import messages
from gldnode.p2p.netaddress import NetAddress, Network
from gldnode.p2p.v2transport import V2Transport
from gldnode.params import BTC_REGTEST, NETWORKS
from gldnode.primitives.block import parse_block
from gldnode.primitives.coin import Coin
from gldnode.psbt import create_psbt
from tests.consensus.adversary.scripts import PUBKEY, Leaf, keyhash, multisig, p2sh, p2wpkh, p2wsh, push
from tests.consensus.adversary.workshop import TIP, Bench
from tests.support.wire import version_message

__all__ = [
    "addresses",
    "amounts",
    "blocks",
    "conversations",
    "descriptors",
    "json_bodies",
    "payloads",
    "psbts",
    "rpc_bodies",
    "rules",
    "scripts",
    "signatures",
    "transactions",
    "undo",
    "urls",
    "v2_streams",
    "words",
]

_XPUB = (
    "tpubD6NzVbkrYhZ4WaWSyoBvQwbpLkojyoTZPRsgXELWz3Popb3qkjcJyJUGLnL4qHHoQvao8ESaAstxYSnhyswJ76uZPStJRJCTKvos"
    "UCJZL5B"
)
_KEY = PUBKEY.hex()


@cache
def blocks() -> Sequence[bytes]:
    bench = Bench("fuzz", TIP)
    funding = bench.make(b"\x60\x02\x01\x01")
    witness = bench.pay(coins=[bench.out(funding)], witness=[b"a", b"b" * 60])
    return [
        bench.block().block.raw,
        bench.block(bench.pay()).block.raw,
        bench.block(funding, witness).block.raw,
        NETWORKS["main"].genesis.raw,
    ]


@cache
def transactions() -> Sequence[bytes]:
    return [tx.raw for raw in blocks() for tx in parse_block(raw).txs]


def undo() -> Sequence[bytes]:
    coin = Coin(5_000, keyhash(), 7, True)
    return [encode_undo(()), encode_undo(((coin,),)), encode_undo(((coin, coin), (coin,)))]


@cache
def scripts() -> Sequence[bytes]:
    bare = [
        keyhash(),
        p2sh(b"\x51"),
        p2wpkh(),
        p2wsh(b"\x51"),
        multisig(1, [PUBKEY, PUBKEY]),
        push(PUBKEY) + b"\xac",
        b"\x6a\x04data",
        b"\x63\x51\x67\x00\x68",
        b"\x76\xaa\x7c\x82\x93\xa5\xb1\xb2",
    ]
    leaf = Leaf(push(PUBKEY[1:]) + b"\xac")
    items = b"".join(bytes((len(item),)) + item for item in leaf.witness(bytes(64)))
    whole = [b"\xff\xff\x1f" + bytes((0, 3)) + items + leaf.script_pubkey]
    return [*bare, *whole, *(b"\xff\xff\x1f" + bytes((1, 0)) + b"\x51" + script for script in bare)]


def descriptors() -> Sequence[bytes]:
    texts = [
        f"pk({_KEY})",
        f"pkh({_XPUB}/0/*)",
        f"wpkh([d34db33f/84h/1h/0h]{_XPUB}/<0;1>/*)",
        f"sh(wsh(multi(2,{_KEY},{_KEY})))",
        f"sortedmulti(1,{_KEY},{_XPUB}/1)",
        f"tr({_KEY[2:]},{{pk({_KEY[2:]}),pk({_XPUB}/*)}})",
        f"combo({_KEY})",
        f"rawtr({_KEY[2:]})",
        "raw(6a)",
        "addr(bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080)",
    ]
    return [text.encode() for text in texts]


def addresses() -> Sequence[bytes]:
    found = [
        script_to_address(script, params)
        for params in NETWORKS.values()
        for script in (keyhash(), p2sh(b"\x51"), p2wpkh(), p2wsh(b"\x51"), b"\x51\x20" + PUBKEY[1:], b"\x52\x02ab")
    ]
    return [address.encode() for address in found if address] + [_XPUB.encode()]


@cache
def psbts() -> Sequence[bytes]:
    tx = Bench("fuzz", TIP).pay()
    made = [create_psbt(tx, version).serialize() for version in (0, 2)]
    return [*made, *(b"cHNidP8=",)]


def signatures() -> Sequence[bytes]:
    return [
        p2wpkh() + b"|words|AkcwRAIgM2gBAQqvZX15ZiysmKmQpDrG83avLIT492QBzLnQIxYCIBaTpOaD20qRlEylyxFSeEA2ba9YOixp"
    ]


def payloads() -> Sequence[bytes]:
    address = NetAddress(Network.IPV4, b"\x05\x06\x07\x08", 18444)
    timed = messages.TimedAddress(1_700_000_000, 9, address)
    header = parse_block(blocks()[0]).header
    items = [messages.InvItem(1, bytes(32)), messages.InvItem(2, b"\x01" * 32)]
    made = [
        version_message(),
        messages.Ping(5).encode(),
        messages.Inventory(items).encode(),
        messages.Locator([header.hash], bytes(32)).encode(),
        messages.Headers([header]).encode(),
        messages.FeeFilter(1_000).encode(),
        messages.SendCompact(True, 2).encode(),
        messages.Addr([timed]).encode(),
        messages.AddrV2([timed]).encode(),
        messages.CompactBlock(header, 5, [b"\x01" * 6], [(0, parse_block(blocks()[0]).txs[0])]).encode(),
        messages.GetBlockTxn(header.hash, [0, 2]).encode(),
        messages.BlockTxn(header.hash, list(parse_block(blocks()[1]).txs)).encode(),
    ]
    return [bytes((number,)) + payload for number, payload in enumerate(made)]


def conversations() -> Sequence[bytes]:
    said = [payload[:1] + len(payload[1:]).to_bytes(2, "little") + payload[1:] for payload in payloads()]
    block, tx = blocks()[1], transactions()[1]
    said.append(b"\x0c" + len(tx).to_bytes(2, "little") + tx)
    said.append(b"\x0d" + len(block).to_bytes(2, "little") + block)
    return [*said, b"".join(said[1:6])]


def v2_streams() -> Sequence[bytes]:
    secret = b"\x04" * 32
    side = V2Transport(
        BTC_REGTEST.message_start, initiating=True, secret=secret, key_entropy=secret, garbage=b"g" * 9
    )
    return [side.handshake(), BTC_REGTEST.message_start + b"version\0\0\0\0\0" + bytes(60)]


def json_bodies() -> Sequence[bytes]:
    return [
        b'{"merchant": "gldrt1", "amount": 1.50000000, "memo": "caf\xc3\xa9", "ttlSeconds": 60}',
        b'{"invoiceId": "btngpay_x", "txId": "' + b"ab" * 32 + b'", "from": null, "proof": "\\ud83d\\ude00"}',
        b'{"a": [[[{"b": 1e5}]]], "A": true}',
    ]


def rpc_bodies() -> Sequence[bytes]:
    def call(method: str, *params: object, **named: object) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": named or params}).encode()

    return [
        call("getblock", "ab" * 32, 2),
        call("sendtoaddress", "gldrt1", 0.1, "", "", True),
        call("listunspent", minconf=1, addresses=["x"], args=[1]),
        call("createrawtransaction", [{"txid": "cd" * 32, "vout": 1}], [{"data": "00"}, {"addr": "0.1"}], 0),
        b'[{"method": "uptime"}, {"method": "stop", "id": null}, 5]',
    ]


def words() -> Sequence[bytes]:
    return [b"\x05\x31\x00true\x00[1,2]\x00{}", b"\x10abc\x000.1\x00null", b"\x40-1\x00\x00\x00"]


def rules() -> Sequence[bytes]:
    return [b"kraken(XAU_USD) / 31.1034768", b"(GLD_USD + 2) * 1.05 - fixed(EUR_USD)", b"((((1))))/0"]


def amounts() -> Sequence[bytes]:
    return [b"12.5", b"0.00000001", b"100000000", b"1e5", b"-1", b"10%"]


def urls() -> Sequence[bytes]:
    return [b"https://shop.example/hook?x=1", b"http://[::1]:80/", b"https://user:pw@example.org", b"//x"]
