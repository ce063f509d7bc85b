"""The blocks that cost a node most, against what SHA-256 and libsecp256k1 alone need for them in the same run.

Connecting one takes no more than ten times the hashing and the signatures that it demands.

The counts are those of the plain algorithms (each legacy signature hash covers the whole transaction again), so a
detour that grows with the square of anything would show.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from gldnode.consensus.check_block import check_block, contextual_check_block
from gldnode.consensus.connect import BlockRules, connect_block
from gldnode.consensus.deployments import script_flags
from gldnode.crypto.secp256k1 import pubkey_of, sign_ecdsa
from gldnode.params import BTC_REGTEST
from gldnode.primitives.block import parse_block
from gldnode.primitives.coin import Coin
from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx, outpoint, parse_tx, with_witnesses
from gldnode.script.sighash import SighashCache
from tests.consensus.adversary.scripts import KEY, PUBKEY, Leaf, keyhash, multisig, p2wsh, push
from tests.consensus.adversary.workshop import ANYONE, TIP, Bench, base_chain
from tests.support.campaign import campaign
from tests.support.oracle import bip143_digest
from tests.support.vectors import read_bytes
from tests.support.work import cpu_seconds, ecdsa_seconds, schnorr_seconds, sha256_seconds

_LIMIT = 10
_VALUE = 100_000
_HEIGHT = TIP + 1


class Demand(NamedTuple):
    """A transaction, what it spends, and the work that its scripts ask for."""

    tx: Tx
    coins: dict[bytes, Coin]
    hashed: int
    ecdsa: int = 0
    schnorr: int = 0


def _coins(tx: Tx, scripts: Sequence[bytes], amount: int = _VALUE) -> dict[bytes, Coin]:
    return {
        bytes(txin.prevout): Coin(amount, script, 1, False)
        for txin, script in zip(tx.inputs, scripts, strict=True)
    }


def _unsigned(count: int, *outputs: TxOut, sequence: int = 0xFFFFFFFF) -> Tx:
    inputs = [TxIn(outpoint(b"\x77" * 32, n), b"", sequence) for n in range(count)]
    return make_tx(1, inputs, outputs or [TxOut(1, ANYONE)])


def _with_script_sigs(tx: Tx, script_sigs: Sequence[bytes]) -> Tx:
    inputs = [
        TxIn(txin.prevout, script_sig, txin.sequence)
        for txin, script_sig in zip(tx.inputs, script_sigs, strict=True)
    ]
    return make_tx(tx.version, inputs, tx.outputs, tx.lock_time)


def _preimage(tx: Tx, code: int) -> int:
    """Bytes of a legacy SIGHASH_ALL preimage."""
    return 8 + 6 + 41 * len(tx.inputs) + code + sum(9 + len(output.script_pubkey) for output in tx.outputs)


# -- the transactions --


def _published_megatransaction() -> Demand:
    """A million bytes, 5,569 inputs: in 2015 it took nodes 25 seconds."""
    tx = parse_tx(read_bytes("btcd/wire/megatx.bin.bz2"))
    scripts = [keyhash(txin.script_sig[txin.script_sig[0] + 2 :]) for txin in tx.inputs]
    return Demand(tx, _coins(tx, scripts), len(tx.inputs) * _preimage(tx, 25), len(tx.inputs))


def _many_inputs() -> Demand:
    """Legacy inputs only, each with its own SIGHASH_ALL over the whole transaction."""
    count = campaign(800, 6_500)
    tx = _unsigned(count)
    cache = SighashCache(tx)
    signed = [
        push(sign_ecdsa(KEY, cache.legacy(n, keyhash(), 1), grind=False) + b"\x01") + push(PUBKEY)
        for n in range(count)
    ]
    tx = _with_script_sigs(tx, signed)
    return Demand(tx, _coins(tx, [keyhash()] * count), count * _preimage(tx, 25), count)


def _many_verifications() -> Demand:
    """Bare 1-of-20 with the right key tried last: twenty checks for each, none of them counted as sigops here."""
    count = campaign(120, 3_000)
    keys = [pubkey_of((n + 1).to_bytes(32, "big")) for n in range(19)]
    script = multisig(1, [PUBKEY, *keys])  # tried from the end
    tx = _unsigned(count)
    cache = SighashCache(tx)
    signed = [b"\x00" + push(sign_ecdsa(KEY, cache.legacy(n, script, 1)) + b"\x01") for n in range(count)]
    tx = _with_script_sigs(tx, signed)
    return Demand(tx, _coins(tx, [script] * count), count * _preimage(tx, len(script)), 20 * count)


def _many_script_codes() -> Demand:
    """Each check covers another part of the script, so that no two hashes are alike; all of them fail, validly."""
    count, checks = campaign(15, 300), 49
    script = push(PUBKEY) + b"\x6e\xac\x75\xab" * checks + b"\x6d\x51"  # 2DUP CHECKSIG DROP CODESEPARATOR
    tx = _unsigned(count, TxOut(1, b"\x6a" + bytes(campaign(100_000, 900_000))))
    tx = _with_script_sigs(tx, [push(sign_ecdsa(KEY, bytes(32)) + b"\x01")] * count)
    return Demand(tx, _coins(tx, [script] * count), count * checks * _preimage(tx, len(script)), count * checks)


def _deleted_signatures() -> Demand:
    """Signatures that stand in the long script and must be looked for in it, opcode by opcode, before each check.

    SIGHASH_NONE|ANYONECANPAY hashes little but the script itself.
    """
    count, checks = campaign(6, 600), 60
    signatures = [sign_ecdsa(KEY, bytes((n + 1,)) * 32, grind=False) + b"\x82" for n in range(checks)]
    looked_for = b"".join(push(signature) + push(PUBKEY) + b"\xac\x75" for signature in signatures)
    scripts = [
        b"\x00\x63"
        + b"\x02"
        + n.to_bytes(2, "little")
        + b"\x01\x00" * ((9_900 - len(looked_for)) // 2)
        + b"\x68"
        + looked_for
        + b"\x51"
        for n in range(count)
    ]
    tx = _unsigned(count)
    return Demand(tx, _coins(tx, scripts), count * checks * 2 * len(scripts[0]), count * checks)


def _many_hash_types() -> Demand:
    """SINGLE and NONE, alone and with ANYONECANPAY: none shares its hash with another input."""
    count = campaign(420, 4_000)
    script = push(PUBKEY) + b"\xac"
    tx = _unsigned(count, *[TxOut(1, ANYONE)] * count)
    cache = SighashCache(tx)
    kinds = (1, 2, 3, 0x81, 0x82, 0x83)
    signed = [
        push(sign_ecdsa(KEY, cache.legacy(n, script, kinds[n % 6])) + bytes((kinds[n % 6],))) for n in range(count)
    ]
    tx = _with_script_sigs(tx, signed)
    # ALL covers everything, NONE the inputs, SINGLE inputs and n outputs, the others little.
    hashed = count // 6 * (_preimage(tx, 35) + 41 * count + 41 * count + 9 * count // 2 + 9 * count // 2)
    return Demand(tx, _coins(tx, [script] * count), hashed, count)


def _witness_multisigs() -> Demand:
    """The most sigops that witness scripts may hold: 80,000 units, as 1-of-20 with the right key last."""
    count = campaign(100, 4_000)
    keys = [pubkey_of((n + 1).to_bytes(32, "big")) for n in range(19)]
    script = multisig(1, [PUBKEY, *keys])
    tx = _unsigned(count)
    cache = SighashCache(tx)
    witnesses = [
        (b"", sign_ecdsa(KEY, cache.segwit_v0(n, script, _VALUE, 1)) + b"\x01", script) for n in range(count)
    ]
    assert cache.segwit_v0(0, script, _VALUE, 1) == bip143_digest(tx, 0, script, _VALUE, 1)
    tx = with_witnesses(tx, witnesses)
    return Demand(tx, _coins(tx, [p2wsh(script)] * count), count * 20 * (160 + len(script)), 20 * count)


def _tapscript_checks() -> Demand:
    """A signature checked as often as its witness pays for."""
    checks = campaign(2_000, 79_000)
    script = (b"\x76" + push(PUBKEY[1:]) + b"\xad" + b"\x61" * 15) * checks + b"\x75\x51"
    leaf = Leaf(script)
    tx = _unsigned(1)
    coin = (tx.inputs[0].prevout, TxOut(_VALUE, leaf.script_pubkey))
    tx = with_witnesses(tx, [leaf.witness(leaf.sign(tx, coin))])
    return Demand(tx, _coins(tx, [leaf.script_pubkey]), 3 * len(tx.raw) + 300 * checks, schnorr=checks)


def _tapscript_hashing() -> Demand:
    """An element of 520 bytes hashed twice over, again and again."""
    rounds = campaign(50_000, 1_300_000)
    script = b"\x76\xaa\x75" * rounds + b"\x75\x51"  # DUP HASH256 DROP
    leaf = Leaf(script)
    tx = with_witnesses(_unsigned(1), [leaf.witness(bytes(520))])
    return Demand(tx, _coins(tx, [leaf.script_pubkey]), 3 * len(tx.raw) + rounds * (520 + 32 + 2 * 64))


_WORST = {
    "the published megatransaction": _published_megatransaction,
    "many legacy inputs": _many_inputs,
    "many verifications in bare multisigs": _many_verifications,
    "many script codes": _many_script_codes,
    "signatures deleted from long scripts": _deleted_signatures,
    "many hash types": _many_hash_types,
    "witness multisigs": _witness_multisigs,
    "tapscript signature checks": _tapscript_checks,
    "tapscript hashing": _tapscript_hashing,
}


@pytest.mark.parametrize("name", _WORST)
def test_a_worst_block_costs_its_hashing_and_signatures(name: str) -> None:
    demand = _WORST[name]()
    bench = Bench(name, TIP)
    raw = bench.block(demand.tx, fees=0).block.raw
    prev = _Prev()
    flags = script_flags(BTC_REGTEST, _HEIGHT)

    def connect() -> None:
        block = parse_block(raw)
        sigops = check_block(block, BTC_REGTEST)
        contextual_check_block(block, prev, BTC_REGTEST)
        rules = BlockRules(BTC_REGTEST, _HEIGHT, flags, prev.median_time_past, lambda height: 0)
        delta = connect_block(block, demand.coins, rules, sigops)
        assert delta.input_count == len(demand.tx.inputs)

    taken = cpu_seconds(connect, 1 if name.startswith("the published") else 2)
    block_bytes = 4 * len(raw)  # txids, wtxids, and two trees
    needed = (
        sha256_seconds(demand.hashed + block_bytes) + ecdsa_seconds(demand.ecdsa) + schnorr_seconds(demand.schnorr)
    )
    print(f"{name}: {taken:.3f} s of CPU time for {needed:.3f} s of hashing and signatures: {taken / needed:.2f}")
    assert taken < _LIMIT * needed


class _Prev:
    """The base chain's tip, as the rules look at it."""

    def __init__(self) -> None:
        spot = base_chain()[0][TIP]
        self.hash, self.height, self.time, self.bits = spot.block.hash, spot.height, spot.time, 0x207FFFFF
        self.prev = None
        self.median_time_past = spot.median_time

    def ancestor(self, height: int) -> "_Prev":
        raise AssertionError(height)


# -- costs that no library bounds: they grow with the block and no faster --


def _tapscript_of(opcodes: bytes, times: int, ending: bytes = b"\x51") -> Demand:
    leaf = Leaf(opcodes * times + ending)
    tx = with_witnesses(_unsigned(1), [leaf.witness()])
    return Demand(tx, _coins(tx, [leaf.script_pubkey]), 0)


def _outputs(count: int) -> Demand:
    tx = _unsigned(1, *[TxOut(0, b"")] * count)
    return Demand(tx, _coins(tx, [ANYONE]), 0)


def _inputs(count: int) -> Demand:
    tx = _unsigned(count)
    return Demand(tx, _coins(tx, [ANYONE] * count), 0)


def _witness_items(count: int) -> Demand:
    tx = with_witnesses(_unsigned(1), [[b""] * count])
    return Demand(tx, _coins(tx, [b"\x60\x02\x01\x01"]), 0)


_GROWING = {
    "opcodes": lambda n: _tapscript_of(b"\x61", 60_000 * n),
    "nested conditions": lambda n: _tapscript_of(b"\x51\x63", 10_000 * n, b"\x68" * (10_000 * n) + b"\x51"),
    "code separators": lambda n: _tapscript_of(b"\xab", 60_000 * n),
    "elements rolled from the bottom": lambda n: _tapscript_of(
        b"\x02\xe6\x03\x7a", 10_000 * n, b"\x6d" * 499 + b"\x75\x51"
    ),
    "outputs": lambda n: _outputs(12_000 * n),
    "inputs": lambda n: _inputs(3_000 * n),
    "empty witness elements": lambda n: _witness_items(50_000 * n),
}


@pytest.mark.parametrize("name", _GROWING)
def test_cost_grows_no_faster_than_the_block(name: str) -> None:
    flags = script_flags(BTC_REGTEST, _HEIGHT)
    prev = _Prev()

    def seconds(size: int) -> float:
        demand = _GROWING[name](size)
        if name == "elements rolled from the bottom":
            demand = _with_deep_stack(demand)
        raw = Bench(name, TIP).block(demand.tx).block.raw

        def connect() -> None:
            block = parse_block(raw)
            sigops = check_block(block, BTC_REGTEST)
            contextual_check_block(block, prev, BTC_REGTEST)
            rules = BlockRules(BTC_REGTEST, _HEIGHT, flags, prev.median_time_past, lambda height: 0)
            connect_block(block, demand.coins, rules, sigops)

        return cpu_seconds(connect, 2)

    small, large = seconds(1), seconds(4)
    print(f"{name}: {small:.3f} s, four times as much {large:.3f} s")
    assert large < 12 * max(small, 0.005)  # 4 where it is linear, 16 where it is quadratic


def _with_deep_stack(demand: Demand) -> Demand:
    *_, script, control = demand.tx.inputs[0].witness
    tx = with_witnesses(demand.tx, [[*[b"\x01"] * 999, script, control]])
    return demand._replace(tx=tx)
