"""Standardness: what is valid in a block and still not wanted in the mempool. Every case by Core's reason."""

from dataclasses import replace

import pytest

from gldnode.crypto.secp256k1 import pubkey_of
from gldnode.errors import Reject
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.policy import (
    check_inputs_standard,
    check_standard_tx,
    check_witness_standard,
    dust_threshold,
    virtual_size,
)
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import hash160
from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx, outpoint
from gldnode.script.templates import (
    multisig_script,
    nulldata_script,
    p2pkh_script,
    p2sh_script,
    p2tr_script,
    p2wpkh_script,
    p2wsh_script,
    witness_script,
)

OPTIONS = MempoolOptions()
KEYS = [pubkey_of(bytes([number]) * 32) for number in range(1, 5)]
P2WPKH = p2wpkh_script(bytes(20))
P2A = bytes.fromhex("51024e73")
OP_RETURN = 0x6A


def make(
    *outputs: TxOut, version: int = 2, script_sig: bytes = b"", witness: tuple[bytes, ...] = (), inputs: int = 1
) -> Tx:
    ins = [TxIn(outpoint(bytes([n + 1]) * 32, 0), script_sig, 0xFFFFFFFF, witness) for n in range(inputs)]
    return make_tx(version, ins, outputs or [TxOut(10_000, P2WPKH)])


def standard_reason(tx: Tx, options: MempoolOptions = OPTIONS) -> str:
    try:
        check_standard_tx(tx, options)
    except Reject as reject:
        return reject.reason
    return ""


@pytest.mark.parametrize(
    ("version", "reason"), [(0, "version"), (1, ""), (2, ""), (3, ""), (4, "version"), (-1, "version")]
)
def test_only_versions_one_to_three_are_standard(version: int, reason: str) -> None:
    assert standard_reason(make(version=version)) == reason


def test_a_transaction_over_the_standard_weight_is_refused() -> None:
    assert standard_reason(make(*[TxOut(10_000, P2WPKH)] * 3_300)) == "tx-size"
    assert standard_reason(make(*[TxOut(10_000, P2WPKH)] * 3_000)) == ""


def test_script_sigs_are_short_and_push_only() -> None:
    assert standard_reason(make(script_sig=b"\x4d\x72\x06" + bytes(1650))) == "scriptsig-size"
    assert standard_reason(make(script_sig=b"\x4d\x6f\x06" + bytes(1647))) == ""
    assert standard_reason(make(script_sig=b"\x61")) == "scriptsig-not-pushonly"
    assert standard_reason(make(script_sig=b"\x05abcd")) == "scriptsig-not-pushonly"


@pytest.mark.parametrize(
    "script",
    [
        P2WPKH,
        p2pkh_script(bytes(20)),
        p2sh_script(b"\x51"),
        p2wsh_script(b"\x51"),
        p2tr_script(bytes(32)),
        P2A,
        witness_script(5, bytes(10)),
        multisig_script(1, KEYS[:3]),
        b"\x21" + KEYS[0] + b"\xac",
        nulldata_script(b"memo"),
    ],
)
def test_known_output_kinds_are_standard(script: bytes) -> None:
    assert standard_reason(make(TxOut(10_000, script))) == ""


@pytest.mark.parametrize(
    "script", [b"", b"\x51", b"\x61\x61", multisig_script(1, KEYS[:4]), b"\x00\x15" + bytes(21)]
)
def test_other_output_scripts_are_refused(script: bytes) -> None:
    assert standard_reason(make(TxOut(10_000, script))) == "scriptpubkey"


def test_bare_multisig_can_be_switched_off() -> None:
    options = replace(OPTIONS, permit_bare_multisig=False)
    assert standard_reason(make(TxOut(10_000, multisig_script(1, KEYS[:2]))), options) == "bare-multisig"


def test_data_outputs_share_one_allowance() -> None:
    options = replace(OPTIONS, max_datacarrier_bytes=83)
    data = nulldata_script(bytes(75))
    assert standard_reason(make(TxOut(0, data)), options) == ""
    assert standard_reason(make(TxOut(0, nulldata_script(bytes(81)))), options) == "datacarrier"
    assert standard_reason(make(TxOut(0, data), TxOut(0, data)), options) == "datacarrier"
    assert standard_reason(make(TxOut(0, data)), replace(OPTIONS, max_datacarrier_bytes=None)) == "datacarrier"
    assert standard_reason(make(TxOut(0, data), TxOut(0, data))) == ""


@pytest.mark.parametrize(
    ("script", "least"),
    [
        (p2pkh_script(bytes(20)), 546),
        (p2sh_script(b"\x51"), 540),
        (P2WPKH, 294),
        (p2wsh_script(b"\x51"), 330),
        (p2tr_script(bytes(32)), 330),
        (P2A, 240),
        (nulldata_script(b"x"), 0),
    ],
)
def test_dust_thresholds_are_those_of_core(script: bytes, least: int) -> None:
    assert dust_threshold(script, 3_000) == least


def test_one_dust_output_may_be_ephemeral_two_are_refused() -> None:
    assert standard_reason(make(TxOut(293, P2WPKH))) == ""
    assert standard_reason(make(TxOut(293, P2WPKH), TxOut(0, P2WPKH))) == "dust"


def test_signature_operations_enlarge_the_virtual_size() -> None:
    assert virtual_size(400, 0, 20) == 100
    assert virtual_size(401, 0, 20) == 101
    assert virtual_size(400, 80, 20) == 400


def inputs_reason(script_sig: bytes, script_pubkey: bytes, count: int = 1) -> str:
    tx = make(script_sig=script_sig, inputs=count)
    try:
        check_inputs_standard(tx, [Coin(1_000, script_pubkey, 1, False)] * count)
    except Reject as reject:
        return reject.reason
    return ""


def test_spent_outputs_are_of_known_kinds() -> None:
    assert inputs_reason(b"", P2WPKH) == ""
    assert inputs_reason(b"", p2tr_script(bytes(32))) == ""
    assert inputs_reason(b"", b"\x51") == "bad-txns-nonstandard-inputs"
    assert inputs_reason(b"", witness_script(2, bytes(32))) == "bad-txns-nonstandard-inputs"


def test_p2sh_spends_reveal_a_script_with_few_signature_checks() -> None:
    def push(script: bytes) -> bytes:
        return bytes((len(script),)) + script

    assert inputs_reason(push(b"\x51"), p2sh_script(b"\x51")) == ""
    assert inputs_reason(b"", p2sh_script(b"\x51")) == "bad-txns-nonstandard-inputs"
    assert inputs_reason(push(b"\xac" * 15), p2sh_script(b"\x51")) == ""
    assert inputs_reason(push(b"\xac" * 16), p2sh_script(b"\x51")) == "bad-txns-nonstandard-inputs"


def test_signature_checks_outside_witnesses_are_bounded_for_a_transaction() -> None:
    push = b"\x0f" + b"\xac" * 15
    assert inputs_reason(push, p2sh_script(b"\x51"), count=166) == ""
    assert inputs_reason(push, p2sh_script(b"\x51"), count=167) == "bad-txns-nonstandard-inputs"


def witness_reason(witness: tuple[bytes, ...], script_pubkey: bytes, script_sig: bytes = b"") -> str:
    tx = make(witness=witness, script_sig=script_sig)
    try:
        check_witness_standard(tx, [Coin(1_000, script_pubkey, 1, False)])
    except Reject as reject:
        return reject.reason
    return ""


BAD_WITNESS = "bad-witness-nonstandard"
TAPROOT = p2tr_script(bytes(32))
CONTROL = b"\xc0" + bytes(32)


@pytest.mark.parametrize(
    ("witness", "script", "reason"),
    [
        ((bytes(72), KEYS[0]), p2wpkh_script(hash160(KEYS[0])), ""),
        ((b"x",), p2pkh_script(bytes(20)), BAD_WITNESS),
        ((b"x",), P2A, BAD_WITNESS),
        ((b"\x51",), p2wsh_script(b"\x51"), ""),
        ((bytes(3_601),), p2wsh_script(b""), BAD_WITNESS),
        ((*[b""] * 100, b"\x51"), p2wsh_script(b""), ""),
        ((*[b""] * 101, b"\x51"), p2wsh_script(b""), BAD_WITNESS),
        ((bytes(80), b"\x51"), p2wsh_script(b""), ""),
        ((bytes(81), b"\x51"), p2wsh_script(b""), BAD_WITNESS),
        ((bytes(64),), TAPROOT, ""),
        ((bytes(64), b"\x50annex"), TAPROOT, BAD_WITNESS),
        ((bytes(80), b"\x51", CONTROL), TAPROOT, ""),
        ((bytes(81), b"\x51", CONTROL), TAPROOT, BAD_WITNESS),
        ((bytes(81), b"\x51", b"\xc2" + bytes(32)), TAPROOT, ""),
        ((b"\x51", b""), TAPROOT, BAD_WITNESS),
    ],
)
def test_witnesses_keep_their_limits(witness: tuple[bytes, ...], script: bytes, reason: str) -> None:
    assert witness_reason(witness, script) == reason


def test_a_witness_behind_p2sh_is_judged_by_the_program_it_reveals() -> None:
    program = p2wsh_script(b"\x51")
    script_sig = bytes((len(program),)) + program
    assert witness_reason((b"\x51",), p2sh_script(program), script_sig) == ""
    assert witness_reason((bytes(81), b"\x51"), p2sh_script(program), script_sig) == BAD_WITNESS
    assert witness_reason((b"\x51",), p2sh_script(program), b"") == BAD_WITNESS
    assert witness_reason((b"\x51",), p2sh_script(b"\x51"), b"\x01\x51") == BAD_WITNESS
