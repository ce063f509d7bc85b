"""Whatever a peer sends: a verdict, never another error."""

import contextlib
import random

import pytest

from gldnode.consensus.sizes import sigop_cost
from gldnode.errors import DecodeError, Reject
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.pool import Mempool
from gldnode.mempool.scripts import tx_sigop_cost
from gldnode.primitives.coin import Coin
from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx, outpoint, parse_tx
from gldnode.script.flags import STANDARD_SCRIPT_VERIFY_FLAGS
from gldnode.script.templates import p2pkh_script, p2sh_script, p2tr_script, p2wpkh_script, p2wsh_script
from tests.support.campaign import campaign, campaign_seed
from tests.support.pool import ANYONE, PoolLab, spend_witness


def mutated(rng: random.Random, raw: bytes) -> bytes:
    data = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at : at + rng.randint(1, 4)]
            case _:
                data[at:at] = rng.randbytes(rng.randint(1, 4))
    return bytes(data)


@pytest.mark.parametrize("require_standard", [True, False])
def test_mutated_transactions_get_a_verdict(require_standard: bool) -> None:
    rng = random.Random(campaign_seed("mutated transactions"))
    lab = PoolLab(MempoolOptions(require_standard=require_standard))
    parent = lab.tx(outputs=8)
    lab.mine_exactly(parent)
    sources = [lab.tx(parent.outpoint(vout), version=version) for vout in range(8) for version in (2, 3)]
    verdicts = set()
    for _ in range(campaign(1_500, 300_000)):
        try:
            tx = parse_tx(mutated(rng, rng.choice(sources).raw))
        except DecodeError:
            continue
        verdicts.add(lab.reason(tx))
        lab.pool.submit_package([tx])
    lab.pool.check()
    assert len(verdicts) > 5


def random_script(rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return rng.choice([ANYONE, p2tr_script(rng.randbytes(32)), b"\x51\x02\x4e\x73", b""])
    opcodes = [0x00, 0x01, 0x4C, 0x4D, 0x4E, 0x51, 0x52, 0x60, 0x6A, 0x76, 0xA9, 0xAC, 0xAE, 0xB1, 0xBA, 0xFF]
    return bytes(rng.choice(opcodes) for _ in range(rng.randint(1, 45)))


def offer(pool: Mempool, tx: Tx) -> None:
    with contextlib.suppress(Reject):
        pool.accept(tx)


def test_any_script_can_be_offered_and_spent() -> None:
    rng = random.Random(campaign_seed("random scripts"))
    lab = PoolLab(MempoolOptions(require_standard=False))
    strict = type(lab.pool)(lab.chain, MempoolOptions(), lab.clock)
    for _ in range(campaign(10, 1_000)):
        if not lab.has_funds:
            lab.mine(5)
        parent = lab.tx(scripts=[ANYONE] + [random_script(rng) for _ in range(20)])
        for pool in (strict, lab.pool):
            offer(pool, parent)
        lab.mine()
        for vout in range(1, 21):
            sig, witness = random_script(rng), (random_script(rng),) * rng.randrange(3)
            tx = make_tx(2, [TxIn(parent.outpoint(vout), sig, 0, witness)], [TxOut(1_000, ANYONE)] * 2)
            for pool in (strict, lab.pool):
                offer(pool, tx)
    lab.pool.check()


def test_the_short_way_to_count_signature_operations_agrees_with_the_long_one() -> None:
    rng = random.Random(campaign_seed("sigops"))
    scripts = [
        p2wpkh_script(bytes(20)),
        p2tr_script(bytes(32)),
        p2wsh_script(b"\xac"),
        p2pkh_script(bytes(20)),
        p2sh_script(b"\xac"),
        b"\xae" * 3,
        ANYONE,
    ]
    for _ in range(campaign(300, 10_000)):
        spent = [Coin(1, rng.choice(scripts), 1, False) for _ in range(rng.randint(1, 3))]
        inputs = [
            TxIn(
                outpoint(bytes(32), number),
                rng.choice([b"", b"", b"\x01\xac"]),
                0,
                rng.choice([(), spend_witness(), (b"\xac\xac",)]),
            )
            for number in range(len(spent))
        ]
        tx: Tx = make_tx(2, inputs, [TxOut(1, rng.choice(scripts)) for _ in range(rng.randint(1, 3))])
        assert tx_sigop_cost(tx, spent) == sigop_cost(tx, spent, STANDARD_SCRIPT_VERIFY_FLAGS)
