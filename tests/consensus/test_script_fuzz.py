"""Any bytes as scripts: a verdict or a ScriptError, nothing else; and no input whose cost explodes."""

import hashlib
import time
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from gldnode.crypto.secp256k1 import ecdsa_verifier, pubkey_of, sign_ecdsa
from gldnode.primitives.hashes import hash160
from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx, outpoint
from gldnode.script.batch import verify_inputs
from gldnode.script.checker import ExecutionData, SignatureChecker, SigVersion
from gldnode.script.flags import MANDATORY_SCRIPT_VERIFY_FLAGS, ScriptFlags
from gldnode.script.interpreter import eval_script
from gldnode.script.script import push_data
from gldnode.script.sighash import SighashCache
from gldnode.script.tapscript import TapLeaf, taproot_output
from gldnode.script.templates import p2pkh_script, p2sh_script, p2tr_script, p2wsh_script
from gldnode.script.verify import ScriptError, verify_input
from tests.support.campaign import campaign, campaign_seed
from tests.support.script_asm import ALL_FLAGS, fill_flags, parse_script, trim_flags
from tests.support.vectors import load_json

_KEY = b"\x01" * 32
_XONLY = pubkey_of(_KEY)[1:]

_opcodes = st.integers(0x4F, 0xBA).map(lambda n: bytes((n,)))
_pushes = st.binary(max_size=6).map(push_data)
_items = st.one_of(
    st.binary(max_size=70), st.sampled_from([b"", b"\x01", b"\x80", pubkey_of(_KEY), _XONLY, bytes(64)])
)
_scripts = st.one_of(
    st.lists(st.one_of(_opcodes, _opcodes, _pushes), max_size=30).map(b"".join),
    st.binary(max_size=80),
)
_flags = st.integers(0, int(ALL_FLAGS)).map(ScriptFlags)


def _verdict(script_sig: bytes, script_pubkey: bytes, witness: tuple[bytes, ...], flags: ScriptFlags) -> str:
    tx = make_tx(2, [TxIn(outpoint(bytes(32), 0), script_sig, 5, witness)], [TxOut(1, b"")], 7)
    try:
        verify_input(tx, 0, [TxOut(9, script_pubkey)], flags)
    except ScriptError as error:
        return error.name
    return "OK"


@given(_scripts, _scripts, st.lists(_items, max_size=4), _flags, st.sampled_from(["bare", "p2sh", "p2wsh", "tap"]))
@settings(max_examples=campaign(400, 100_000))
def test_any_script_ends_in_a_verdict_that_more_rules_only_worsen(
    script: bytes, unlocking: bytes, witness: list[bytes], flags: ScriptFlags, wrapping: str
) -> None:
    match wrapping:
        case "bare":
            spend = (unlocking, script, tuple(witness))
        case "p2sh":
            spend = (unlocking + push_data(script), p2sh_script(script), tuple(witness))
        case "p2wsh":
            spend = (b"", p2wsh_script(script), (*witness, script))
        case _:
            output = taproot_output(_XONLY, TapLeaf(script))
            spend = (b"", p2tr_script(output.output_xonly), (*witness, script, output.leaves[0][1]))
    flags = trim_flags(flags)
    if _verdict(*spend, flags) == "OK":
        assert _verdict(*spend, trim_flags(flags & MANDATORY_SCRIPT_VERIFY_FLAGS)) == "OK"
    else:
        assert _verdict(*spend, fill_flags(ALL_FLAGS)) != "OK"


@given(st.lists(_items, max_size=6), _scripts, _flags, st.sampled_from(list(SigVersion)))
@settings(max_examples=campaign(200, 50_000))
def test_the_interpreter_raises_nothing_but_script_errors(
    stack: list[bytes], script: bytes, flags: ScriptFlags, version: SigVersion
) -> None:
    stack = list(stack)
    try:
        eval_script(stack, script, int(flags), SignatureChecker(), version, ExecutionData(weight=100))
    except ScriptError:
        return
    assert len(stack) <= 1000


def test_published_scripts_with_flipped_bits_end_in_a_verdict() -> None:
    rng = Random(campaign_seed("flipped scripts"))
    rows = [row for row in load_json("bitcoin-core/script_tests.json") if len(row) > 1 and isinstance(row[0], str)]
    for _ in range(campaign(1500, 200_000)):
        row = rng.choice(rows)
        scripts = [bytearray(parse_script(row[0])), bytearray(parse_script(row[1]))]
        for _ in range(rng.randint(1, 3)):
            script = rng.choice(scripts)
            if script:
                script[rng.randrange(len(script))] = rng.randrange(256)
        _verdict(bytes(scripts[0]), bytes(scripts[1]), (), trim_flags(ScriptFlags(rng.randrange(1 << 21))))


# Cost: within ten times what the signatures and the bytes hashed cost by themselves


def _floor_s(signatures: int, hashed_bytes: int) -> float:
    """Seconds that libsecp256k1 and SHA-256 alone need, measured now."""
    digest = b"\x05" * 32
    der, pubkey, verify = sign_ecdsa(_KEY, digest), pubkey_of(_KEY), ecdsa_verifier()
    data = bytes(1 << 20)
    started = time.process_time()
    for _ in range(100):
        verify(der, digest, pubkey)
    per_signature = (time.process_time() - started) / 100
    started = time.process_time()
    for _ in range(8):
        hashlib.sha256(data).digest()
    per_byte = (time.process_time() - started) / (8 * len(data))
    return signatures * per_signature + hashed_bytes * per_byte


def _seconds(jobs: list[tuple[Tx, list[TxOut]]]) -> float:
    started = time.process_time()
    assert verify_inputs(jobs, MANDATORY_SCRIPT_VERIFY_FLAGS) is None
    return time.process_time() - started


def test_many_legacy_inputs_cost_their_hashing_and_no_more() -> None:
    count = campaign(400, 5000)
    script = p2pkh_script(hash160(pubkey_of(_KEY)))
    spent = [TxOut(1, script)] * count
    inputs = [TxIn(outpoint(n.to_bytes(32, "big"), 0), b"", 0) for n in range(count)]
    unsigned = make_tx(1, inputs, [TxOut(1, script)], 0)
    cache = SighashCache(unsigned)
    signed = [
        TxIn(
            txin.prevout,
            push_data(sign_ecdsa(_KEY, cache.legacy(n, script, 1), grind=False) + b"\x01")
            + push_data(pubkey_of(_KEY)),
            0,
        )
        for n, txin in enumerate(inputs)
    ]
    tx = make_tx(1, signed, unsigned.outputs, 0)
    assert _seconds([(tx, spent)]) < 10 * _floor_s(count, count * len(unsigned.raw))


def _big_spend(script: bytes, *, valid: bool) -> tuple[Tx, list[TxOut]]:
    """A transaction of 200 kB that spends the bare `script` with one signature."""
    outputs = [TxOut(1, bytes(10_000))] * 20
    prevout = outpoint(bytes(32), 0)
    unsigned = make_tx(1, [TxIn(prevout, b"", 0)], outputs, 0)
    digest = SighashCache(unsigned).legacy(0, script, 1) if valid else bytes(32)
    script_sig = push_data(sign_ecdsa(_KEY, digest) + b"\x01")
    return make_tx(1, [TxIn(prevout, script_sig, 0)], outputs, 0), [TxOut(1, script)]


def test_checks_of_one_script_code_hash_a_big_transaction_once() -> None:
    """Without memory each OP_CHECKSIG hashes the whole transaction again."""
    script = push_data(pubkey_of(_KEY)) + b"\x6e\xad" * 60 + b"\xac"  # 2DUP CHECKSIGVERIFY …
    tx, spent = _big_spend(script, valid=True)
    assert _seconds([(tx, spent)]) < 10 * _floor_s(61, len(tx.raw))


def test_checks_of_many_script_codes_cost_their_hashing_and_no_more() -> None:
    script = push_data(pubkey_of(_KEY)) + b"\x6e\xac\x75\xab" * 48 + b"\x6d\x51"  # 2DUP CHECKSIG DROP SEPARATOR
    tx, spent = _big_spend(script, valid=False)
    assert _seconds([(tx, spent)]) < 10 * _floor_s(48, 48 * len(tx.raw))


def test_a_tapscript_of_conditionals_is_linear() -> None:
    """A list of open IFs searched at each opcode would make this quadratic."""

    def seconds(count: int) -> float:
        script = b"\x51\x63" * count + b"\x68" * count + b"\x51"
        started = time.process_time()
        eval_script([], script, 0, SignatureChecker(), SigVersion.TAPSCRIPT, ExecutionData())
        return time.process_time() - started

    assert seconds(80_000) < 40 * max(seconds(8_000), 0.001)


def test_deep_stacks_and_long_scripts_are_refused_at_their_limits() -> None:
    def run(script: bytes, version: SigVersion = SigVersion.BASE, stack: list[bytes] | None = None) -> str:
        try:
            eval_script(stack or [], script, 0, SignatureChecker(), version, ExecutionData())
        except ScriptError as error:
            return error.name
        return "OK"

    assert run(b"\x51" * 1000) == "OK"
    assert run(b"\x51" * 1001) == "STACK_SIZE"
    assert run(b"\x51" * 500 + b"\x6b" * 200 + b"\x51" * 500) == "OK"
    assert run(b"\x51" * 500 + b"\x6b" * 200 + b"\x51" * 501) == "STACK_SIZE"
    assert run(b"\x61" * 201) == "OK"
    assert run(b"\x61" * 202) == "OP_COUNT"
    assert run(b"\x61" * 202, SigVersion.TAPSCRIPT) == "OK"
    assert run(b"\x4d\x08\x02" + bytes(520)) == "OK"
    assert run(b"\x4d\x09\x02" + bytes(521)) == "PUSH_SIZE"
    assert run(b"\x00\x63\x4d\x09\x02" + bytes(521) + b"\x68") == "PUSH_SIZE"
    assert run(b"\x00" * 10_001) == "SCRIPT_SIZE"
    assert run(b"\x61" * 10_001, SigVersion.TAPSCRIPT) == "OK"
    assert run(b"\x00\x63\x7e\x68") == "DISABLED_OPCODE"
    assert run(b"\x00\x63\x50\x68") == "OK"  # OP_RESERVED where not executed
    assert run(b"\x00\x63\x65\x68") == "BAD_OPCODE"  # OP_VERIF even there
    assert run(b"", stack=[b""] * 2000) == "OK"
    assert run(b"\x61", stack=[b""] * 1001) == "STACK_SIZE"
