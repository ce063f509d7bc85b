"""The fast paths against the plain interpreter: same verdict, same input, same error, with and without threads."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from gldnode.consensus.connect import BlockDelta, BlockRules, CoinsView, connect_block
from gldnode.consensus.deployments import script_flags
from gldnode.crypto.der import compact_of_lax_der, is_strict_der
from gldnode.crypto.secp256k1 import (
    CURVE_ORDER,
    is_low_der_signature,
    pubkey_of,
    sign_ecdsa,
    sign_schnorr,
    strict_ecdsa_verifier,
    tweak_pubkey,
    tweak_seckey,
    verify_ecdsa,
)
from gldnode.errors import Reject
from gldnode.params import REGTEST
from gldnode.primitives.block import Block, make_block
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import hash160
from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx, outpoint
from gldnode.script import batch
from gldnode.script.batch import Failure, Job, verify_inputs
from gldnode.script.flags import MANDATORY_SCRIPT_VERIFY_FLAGS, STANDARD_SCRIPT_VERIFY_FLAGS, ScriptFlags
from gldnode.script.script import push_data
from gldnode.script.sighash import SighashCache
from gldnode.script.templates import (
    multisig_script,
    p2pk_script,
    p2pkh_script,
    p2sh_script,
    p2tr_script,
    p2wpkh_script,
    p2wsh_script,
)
from gldnode.script.verify import ScriptError, verify_input
from tests.support.campaign import campaign, campaign_seed
from tests.support.chain import make_coinbase
from tests.support.script_asm import ALL_FLAGS, fill_flags, trim_flags

FAST = ("p2wpkh", "p2sh-p2wpkh", "p2pkh", "p2pkh-uncompressed", "p2tr")
KINDS = (*FAST, "p2pkh-hybrid", "p2pk", "p2wsh-multisig", "anyone")
_KEYS = [bytes((n,)) * 32 for n in range(1, 9)]
_HASH_TYPES = (0x01, 0x02, 0x03, 0x81, 0x82, 0x83)
_ODD_HASH_TYPES = (0x00, 0x04, 0x41, 0x80, 0xC1, 0xFF)

Spend = tuple[Tx, list[TxOut]]


def _pubkey(kind: str, key: bytes) -> bytes:
    if kind not in ("p2pkh-uncompressed", "p2pkh-hybrid"):
        return pubkey_of(key)
    full = pubkey_of(key, compressed=False)
    return full if kind == "p2pkh-uncompressed" else bytes((6 + full[64] % 2,)) + full[1:]


def _output_script(kind: str, key: bytes) -> bytes:
    pubkey = _pubkey(kind, key)
    match kind:
        case "p2wpkh":
            return p2wpkh_script(hash160(pubkey))
        case "p2sh-p2wpkh":
            return p2sh_script(p2wpkh_script(hash160(pubkey)))
        case "p2pkh" | "p2pkh-uncompressed" | "p2pkh-hybrid":
            return p2pkh_script(hash160(pubkey))
        case "p2tr":
            return p2tr_script(tweak_pubkey(pubkey[1:])[0])
        case "p2pk":
            return p2pk_script(pubkey)
        case "p2wsh-multisig":
            return p2wsh_script(multisig_script(1, [pubkey]))
        case _:
            return b"\x51"


def _sign(
    kind: str, owner: bytes, key: bytes, cache: SighashCache, index: int, amount: int, hash_type: int
) -> tuple[bytes, tuple[bytes, ...]]:
    """scriptSig and witness that spend the output of `owner` with the signature of `key`."""
    pubkey = _pubkey(kind, key)
    owner_hash = hash160(_pubkey(kind, owner))
    tail = bytes((hash_type,))
    match kind:
        case "p2wpkh" | "p2sh-p2wpkh":
            digest = cache.segwit_v0(index, p2pkh_script(owner_hash), amount, hash_type)
            script_sig = push_data(p2wpkh_script(owner_hash)) if kind == "p2sh-p2wpkh" else b""
            return script_sig, (sign_ecdsa(key, digest) + tail, pubkey)
        case "p2pkh" | "p2pkh-uncompressed" | "p2pkh-hybrid":
            digest = cache.legacy(index, p2pkh_script(owner_hash), hash_type)
            return push_data(sign_ecdsa(key, digest) + tail) + push_data(pubkey), ()
        case "p2tr":
            taproot = cache.taproot(index, hash_type) or bytes(32)
            signature = sign_schnorr(tweak_seckey(key), taproot)
            return b"", (signature + (tail if hash_type else b""),)
        case "p2pk":
            return push_data(sign_ecdsa(key, cache.legacy(index, p2pk_script(pubkey), hash_type)) + tail), ()
        case "p2wsh-multisig":
            script = multisig_script(1, [pubkey])
            digest = cache.segwit_v0(index, script, amount, hash_type)
            return b"", (b"", sign_ecdsa(key, digest) + tail, script)
        case _:
            return b"", ()


def _spend(
    rng: Random, kinds: list[str], hash_types: tuple[int, ...] = _HASH_TYPES, strangers: float = 0.0
) -> Spend:
    """A signed transaction with an input of each kind; `strangers` is how often somebody else signs."""
    keys = [rng.choice(_KEYS) for _ in kinds]
    spent = [
        TxOut(rng.randrange(1 << 40), _output_script(kind, key)) for kind, key in zip(kinds, keys, strict=True)
    ]
    inputs = [TxIn(outpoint(rng.randbytes(32), n), b"", rng.choice((0, 0xFFFFFFFF))) for n in range(len(kinds))]
    outputs = [TxOut(rng.randrange(1 << 30), p2wpkh_script(rng.randbytes(20))) for _ in range(rng.randint(1, 3))]
    unsigned = make_tx(rng.choice((1, 2)), inputs, outputs, rng.choice((0, 500)))
    cache = SighashCache(unsigned, spent)
    signed = []
    for index, (kind, key) in enumerate(zip(kinds, keys, strict=True)):
        hash_type = 0 if kind == "p2tr" and rng.random() < 0.4 else rng.choice(hash_types)
        signer = rng.choice(_KEYS) if rng.random() < strangers else key
        script_sig, witness = _sign(kind, key, signer, cache, index, spent[index].amount, hash_type)
        signed.append(TxIn(inputs[index].prevout, script_sig, inputs[index].sequence, witness))
    return make_tx(unsigned.version, signed, outputs, unsigned.lock_time), spent


def _flip(rng: Random, data: bytes) -> bytes:
    if not data:
        return rng.randbytes(rng.randint(1, 40))
    place = rng.randrange(len(data))
    return data[:place] + bytes((data[place] ^ (1 << rng.randrange(8)),)) + data[place + 1 :]


def _der(r: int, s: int) -> bytes:
    def integer(n: int) -> bytes:
        data = n.to_bytes(n.bit_length() // 8 + 1, "big")
        return b"\x02" + bytes((len(data),)) + data

    body = integer(r) + integer(s)
    return b"\x30" + bytes((len(body),)) + body


def _high_s(rng: Random, signature: bytes) -> bytes:
    """The other signature of the same key and message; valid where LOW_S does not bind."""
    compact = compact_of_lax_der(signature[:-1]) if signature else None
    if compact is None or not any(compact):
        return signature
    r, s = int.from_bytes(compact[:32], "big"), int.from_bytes(compact[32:], "big")
    return _der(r, (CURVE_ORDER - s) % CURVE_ORDER) + signature[-1:]


def _padded(rng: Random, signature: bytes) -> bytes:
    """The same numbers in laxer DER; valid where DERSIG does not bind."""
    if len(signature) < 9 or 0xFF in (signature[1], signature[3]):
        return signature
    r_size = signature[3]
    return (
        b"\x30" + bytes((signature[1] + 1, 2, r_size + 1, 0)) + signature[4 : 4 + r_size] + signature[4 + r_size :]
    )


def _other_hash_type(rng: Random, signature: bytes) -> bytes:
    return signature[:-1] + bytes((rng.choice(_HASH_TYPES + _ODD_HASH_TYPES),))


def _schnorr_with_type(rng: Random, signature: bytes) -> bytes:
    return signature[:64] + bytes((rng.choice(_HASH_TYPES + _ODD_HASH_TYPES),))


def _hybrid(rng: Random, pubkey: bytes) -> bytes:
    if len(pubkey) == 65:
        return bytes((rng.choice((6, 7)),)) + pubkey[1:]
    return bytes((rng.choice((2, 3, 4)),)) + pubkey[1:]


_ITEM_CHANGES: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flip,
    _high_s,
    _padded,
    _other_hash_type,
    _schnorr_with_type,
    _hybrid,
    lambda rng, item: b"",
    lambda rng, item: item + b"\x00",
    lambda rng, item: item[:-1],
    lambda rng, item: pubkey_of(_KEYS[0], compressed=False),
)


def _pushes(script: bytes) -> list[bytes]:
    items = []
    pos = 0
    while pos < len(script):
        items.append(script[pos + 1 : pos + 1 + script[pos]])
        pos += 1 + script[pos]
    return items


def _mutate(rng: Random, spend: Spend) -> Spend:
    """The spend with one thing changed that signatures may or may not cover."""
    tx, spent = spend
    index = rng.randrange(len(tx.inputs))
    inputs, outputs, spent = list(tx.inputs), list(tx.outputs), list(spent)
    txin, output = inputs[index], spent[index]
    script_sig, witness, sequence = txin.script_sig, list(txin.witness), txin.sequence
    version, lock_time = tx.version, tx.lock_time
    match rng.randrange(12):
        case 0 | 1 | 2 | 3 if witness:
            place = rng.randrange(len(witness))
            witness[place] = rng.choice(_ITEM_CHANGES)(rng, witness[place])
        case 0 | 1 | 2 | 3 | 4 if script_sig:
            items = _pushes(script_sig)
            place = rng.randrange(len(items))
            items[place] = rng.choice(_ITEM_CHANGES)(rng, items[place])
            script_sig = b"".join(map(push_data, items))
        case 5:
            script_sig = rng.choice((script_sig + b"\x51", b"\x61" + script_sig, _flip(rng, script_sig), b""))
        case 6:
            witness = rng.choice((witness[:-1], [*witness, b"\x50"], [b"", *witness], witness[::-1], [b"\x01"]))
        case 7:
            spent[index] = TxOut(output.amount, _flip(rng, output.script_pubkey))
        case 8:
            spent[index] = TxOut(output.amount + 1, output.script_pubkey)
        case 9:
            place = rng.randrange(len(outputs))
            outputs[place] = TxOut(outputs[place].amount ^ 1, outputs[place].script_pubkey)
        case 10:
            sequence ^= 1
        case _:
            version, lock_time = rng.choice(((version ^ 3, lock_time), (version, lock_time + 1)))
    inputs[index] = TxIn(txin.prevout, script_sig, sequence, tuple(witness))
    return make_tx(version, inputs, outputs, lock_time), spent


def _plain(jobs: Sequence[Job], flags: ScriptFlags) -> tuple[int, int, str] | None:
    return _named(_plain_verify(jobs, flags))


def _named(failure: Failure | None) -> tuple[int, int, str] | None:
    return failure and (failure.job, failure.input_index, failure.error.name)


def _random_flags(rng: Random) -> ScriptFlags:
    chosen = rng.randrange(4)
    if chosen == 0:
        return MANDATORY_SCRIPT_VERIFY_FLAGS
    if chosen == 1:
        return STANDARD_SCRIPT_VERIFY_FLAGS
    flags = ScriptFlags(rng.randrange(int(ALL_FLAGS) + 1))
    return trim_flags(flags) if chosen == 2 else fill_flags(flags)


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def test_fast_paths_agree_with_the_interpreter(pool: ThreadPoolExecutor) -> None:
    rng = Random(campaign_seed("fast paths"))
    accepted = refused = 0
    for _ in range(campaign(800, 100_000)):
        kinds = [rng.choice(KINDS) for _ in range(rng.randint(1, 3))]
        types = _HASH_TYPES if rng.random() < 0.8 else _HASH_TYPES + _ODD_HASH_TYPES
        spend = _spend(rng, kinds, types, strangers=0.1)
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            spend = _mutate(rng, spend)
        flags = _random_flags(rng)
        expected = _plain([spend], flags)
        assert _named(verify_inputs([spend], flags)) == expected, (kinds, flags)
        assert _named(verify_inputs([spend], flags, pool)) == expected
        accepted += expected is None
        refused += expected is not None
    assert accepted > 100
    assert refused > 100


def _plain_verify(jobs: Sequence[Job], flags: ScriptFlags, pool: object = None) -> Failure | None:
    """`verify_inputs`, by the interpreter alone."""
    for number, (tx, spent) in enumerate(jobs):
        for index in range(len(tx.inputs)):
            try:
                verify_input(tx, index, spent, flags)
            except ScriptError as error:
                return Failure(number, index, error)
    return None


def _verdict(block: Block, view: CoinsView, rules: BlockRules) -> BlockDelta | tuple[str, str]:
    try:
        return connect_block(block, view, rules)
    except Reject as error:
        return error.reason, error.detail


def test_blocks_connect_alike_with_and_without_the_fast_paths(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdict, reason, the input that is blamed, undo data and coins."""
    rng = Random(campaign_seed("blocks by fast paths"))
    taken = refused = 0
    flags = script_flags(REGTEST, 300, bytes(32))
    for _ in range(campaign(60, 3_000)):
        count = rng.randint(2, 10)
        spends = [_spend(rng, [rng.choice(KINDS) for _ in range(rng.randint(1, 4))]) for _ in range(count)]
        if rng.random() < 0.5:
            place = rng.randrange(count)
            spends[place] = _mutate(rng, spends[place])
        view: dict[bytes, Coin] = {
            txin.prevout: Coin(output.amount, output.script_pubkey, 5, False)
            for tx, spent in spends
            for txin, output in zip(tx.inputs, spent, strict=True)
        }
        coinbase = make_coinbase(300, 0)
        block = make_block(REGTEST.genesis.header, [coinbase, *(tx for tx, _ in spends)])
        plain, fast, pooled = (
            BlockRules(REGTEST, 300, flags, 1 << 30, lambda height: 0, pool=threads)
            for threads in (None, None, pool)
        )
        with monkeypatch.context() as patch:
            patch.setattr("gldnode.consensus.connect.verify_inputs", _plain_verify)
            expected = _verdict(block, view, plain)
        assert _verdict(block, view, fast) == expected
        assert _verdict(block, view, pooled) == expected
        taken += isinstance(expected, BlockDelta)
        refused += isinstance(expected, tuple) and expected[0].startswith("block-script-verify-flag-failed")
    assert taken > 10
    assert refused > 5


def _every_change(rng: Random, spend: Spend) -> Iterator[Spend]:
    """The one-input spend with each change made to each of its parts."""
    tx, spent = spend
    (txin,) = tx.inputs

    def with_input(script_sig: bytes, witness: tuple[bytes, ...]) -> Spend:
        changed = TxIn(txin.prevout, script_sig, txin.sequence, witness)
        return make_tx(tx.version, [changed], tx.outputs, tx.lock_time), spent

    items = _pushes(txin.script_sig)
    for change in _ITEM_CHANGES:
        for place, item in enumerate(txin.witness):
            stack = (*txin.witness[:place], change(rng, item), *txin.witness[place + 1 :])
            yield with_input(txin.script_sig, stack)
        for place, item in enumerate(items):
            pushed = [*items[:place], change(rng, item), *items[place + 1 :]]
            yield with_input(b"".join(map(push_data, pushed)), txin.witness)
    stack = txin.witness
    for other in (stack[:-1], (*stack, b"\x50"), (*stack, b""), (b"", *stack), stack[::-1], (b"\x01",)):
        yield with_input(txin.script_sig, other)
    for script_sig in (b"", b"\x51", b"\x00", txin.script_sig + b"\x51", b"\x51" + txin.script_sig):
        yield with_input(script_sig, stack)
    long_form = b"".join(b"\x4c" + bytes((len(item),)) + item for item in items)
    yield with_input(long_form, stack)
    script = spent[0].script_pubkey
    for place in range(len(script)):
        yield tx, [TxOut(spent[0].amount, script[:place] + bytes((script[place] ^ 1,)) + script[place + 1 :])]
    yield tx, [TxOut(spent[0].amount, script + b"\x61")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_change_of_a_spend_is_judged_alike(kind: str) -> None:
    rng = Random(kind)
    for hash_type in (0x01, 0x83):
        for changed in _every_change(rng, _spend(rng, [kind], (hash_type,))):
            for flags in (ScriptFlags.NONE, MANDATORY_SCRIPT_VERIFY_FLAGS, STANDARD_SCRIPT_VERIFY_FLAGS):
                assert _named(verify_inputs([changed], flags)) == _plain([changed], flags), (kind, flags)


@pytest.mark.parametrize("kind", FAST)
@pytest.mark.parametrize("flags", [MANDATORY_SCRIPT_VERIFY_FLAGS, STANDARD_SCRIPT_VERIFY_FLAGS])
def test_valid_spends_never_reach_the_interpreter(
    kind: str, flags: ScriptFlags, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend = _spend(Random(kind), [kind] * 4, (0x01, 0x02, 0x81, 0x82))

    def unexpected(*args: object) -> None:
        raise AssertionError("interpreted")

    monkeypatch.setattr(batch, "verify_input", unexpected)
    assert verify_inputs([spend], flags) is None


@pytest.mark.parametrize("threads", [0, 2])
def test_the_first_failure_is_named_whatever_thread_finds_it(pool: ThreadPoolExecutor, threads: int) -> None:
    rng = Random(7)
    jobs = [_spend(rng, ["p2wpkh", "p2pkh", "p2wsh-multisig"]) for _ in range(60)]
    assert verify_inputs(jobs, MANDATORY_SCRIPT_VERIFY_FLAGS, pool if threads else None) is None
    for bad in (40, 41, 59, 12):
        tx, spent = jobs[bad]
        jobs[bad] = (tx, [*spent[:2], TxOut(spent[2].amount + 1, spent[2].script_pubkey)])
    expected = _plain(jobs, MANDATORY_SCRIPT_VERIFY_FLAGS)
    assert expected is not None
    assert expected[0] == 12
    assert _named(verify_inputs(jobs, MANDATORY_SCRIPT_VERIFY_FLAGS, pool if threads else None)) == expected


def test_the_strict_verifier_says_yes_only_where_every_rule_does() -> None:
    rng = Random(campaign_seed("strict verifier"))
    strict = strict_ecdsa_verifier()
    accepted = 0
    key, digest, signature = _KEYS[0], bytes(32), b""
    for number in range(campaign(1500, 200_000)):
        if number % 50 == 0:
            key, digest = rng.choice(_KEYS), rng.randbytes(32)
            signature = sign_ecdsa(key, digest, grind=False)
        changed = signature
        for _ in range(rng.randrange(3)):
            changed = rng.choice((_high_s, _flip, _padded))(rng, changed + b"\x01")[:-1]
        every_rule = is_strict_der(changed + b"\x01") and is_low_der_signature(changed)
        expected = every_rule and verify_ecdsa(changed, digest, pubkey_of(key))
        assert strict(changed, digest, pubkey_of(key)) is expected
        accepted += expected
    assert accepted > 100
