"""Blocks with random changes: parsed or not, refused with a reason or taken, and never anything else."""

import random
from collections.abc import Sequence

import pytest

from gldnode.chain.options import AcceptStatus
from gldnode.chain.utxostats import HashKind
from gldnode.consensus.merkle import merkle_root
from gldnode.errors import DecodeError, Reject
from gldnode.params import REGTEST
from gldnode.primitives.block import Block, make_block, parse_block
from gldnode.primitives.tx import TxOut
from tests.support.campaign import campaign, campaign_seed
from tests.support.chain import ANYONE, Key, RegtestChain, mine_header, spend


def _changed(raw: bytes, rng: random.Random) -> bytes:
    """One to four random edits behind the header."""
    data = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(80, len(data))
        match rng.randrange(5):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice((0, 1, 0x51, 0x7F, 0x80, 0xFD, 0xFE, 0xFF))
            case 2:
                del data[at : at + rng.randint(1, 40)]
            case 3:
                data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 40)))
            case _:
                size = rng.randint(1, 40)
                source = rng.randrange(80, len(data))
                data[at : at + size] = data[source : source + size]
        if len(data) <= 81:
            break
    return bytes(data)


def _with_work(block: Block) -> Block:
    """The same transactions under a header that commits to them."""
    header = block.header
    root, _ = merkle_root([tx.txid for tx in block.txs])
    mined = mine_header(REGTEST, header.version, header.prev_hash, root, header.time, header.bits)
    return make_block(mined, block.txs)


@pytest.fixture(scope="module")
def prepared() -> tuple[RegtestChain, Sequence[Block]]:
    chain = RegtestChain()
    key = Key(5)
    blocks = [*chain.mine(3), *chain.mine(2, script=key.script)]
    chain.mine(100)
    coins = [(block.txs[0].outpoint(0), block.txs[0].outputs[0]) for block in blocks]
    first = spend(coins[:2], [TxOut(10_000, ANYONE), TxOut(0, b"\x6a\x01\x00")])
    second = spend([(first.outpoint(0), first.outputs[0]), coins[2]], [TxOut(500, key.script)])
    signed = spend([coins[3]], [TxOut(20_000, ANYONE)], key)
    return chain, [
        chain.block([first, second]),
        chain.block([signed, first]),
        chain.block(),
    ]


def test_changed_blocks_are_refused_with_a_reason_or_taken(
    prepared: tuple[RegtestChain, Sequence[Block]],
) -> None:
    chain, blocks = prepared
    rng = random.Random(campaign_seed("changed blocks"))
    before = chain.state.coin_stats(HashKind.MUHASH)
    outcomes: dict[str, int] = {}
    for _ in range(campaign(400, 40_000)):
        try:
            block = parse_block(_changed(rng.choice(blocks).raw, rng))
            if rng.random() < 0.9 and block.txs:
                block = _with_work(block)
            status = chain.accept(block).status
        except DecodeError:
            outcome = "does not parse"
        except Reject as error:
            outcome = error.reason.split(" ")[0]
        else:
            outcome = str(status)
            if status is AcceptStatus.CONNECTED:
                chain.state.invalidate(block.hash)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(outcomes)
    assert len(outcomes) > 8
    assert chain.state.coin_stats(HashKind.MUHASH) == before
