"""Scripts as bytes and text: standard forms, asm, numbers, pushes, sigops; the odd published transactions."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gldnode.consensus.check_tx import check_transaction
from gldnode.crypto.der import is_strict_der
from gldnode.errors import DecodeError
from gldnode.primitives.tx import Tx, TxIn, make_tx, parse_tx, read_tx, with_witnesses
from gldnode.script.errors import ERROR_TEXTS, ScriptError, ScriptErrorName
from gldnode.script.flags import MANDATORY_SCRIPT_VERIFY_FLAGS, ScriptFlags
from gldnode.script.number import cast_to_bool, decode_number, encode_number
from gldnode.script.opcodes import op_name
from gldnode.script.script import (
    count_sigops,
    find_and_delete,
    is_minimal_push,
    is_p2sh,
    is_push_only,
    is_unspendable,
    iter_ops,
    last_push,
    p2sh_sigops,
    push_data,
    push_int,
    read_op,
    script_to_asm,
    witness_program,
    witness_serialized_size,
    witness_sigops,
)
from gldnode.script.tapscript import TapLeaf, TapTree, taproot_output
from gldnode.script.templates import (
    ScriptKind,
    multisig_script,
    nulldata_script,
    p2pkh_script,
    p2sh_script,
    p2tr_script,
    p2wpkh_script,
    p2wsh_script,
    solve,
    witness_script,
)
from tests.support.bitcoin_main import BITCOIN_MAIN
from tests.support.campaign import campaign
from tests.support.script_asm import parse_asm, parse_script
from tests.support.vectors import load_json, read_bytes, read_text

_KEY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")


# Text and standard forms


def test_asm_and_type_of_decodescript() -> None:
    cases = load_json("bitcoin-core/functional-data/rpc_decodescript.json")
    assert len(cases) == 10
    for text, expected in cases:
        script = bytes.fromhex(text)
        assert script_to_asm(script) == expected["asm"]
        assert solve(script).kind == expected["type"]


def test_asm_and_type_in_bitcoin_utils_golden_files() -> None:
    checked = 0
    for case in load_json("bitcoin-core/bitcoin-util/bitcoin-util-test.json"):
        name = case.get("output_cmp", "")
        if not name.endswith(".json") or "chainparams" in name:
            continue
        decoded = load_json(f"bitcoin-core/bitcoin-util/{name}")
        if "vout" not in decoded:
            continue
        for txin in decoded["vin"]:
            if "scriptSig" in txin:
                script = bytes.fromhex(txin["scriptSig"]["hex"])
                assert script_to_asm(script, decode_sighash=True) == txin["scriptSig"]["asm"]
                checked += 1
        for output in decoded["vout"]:
            script = bytes.fromhex(output["scriptPubKey"]["hex"])
            assert script_to_asm(script) == output["scriptPubKey"]["asm"]
            assert solve(script).kind == output["scriptPubKey"]["type"]
            checked += 1
    assert checked > 50


def test_scripts_of_bitcoinjs() -> None:
    cases = load_json("bitcoinjs-lib/script.json")
    for case in cases["valid"]:
        script = bytes.fromhex(case["script"])
        if not case.get("nonstandard"):
            assert parse_asm(case["asm"]) == script
        assert list(iter_ops(script)) is not None
    for case in cases["invalid"]["decompile"]:
        with pytest.raises(DecodeError):
            list(iter_ops(bytes.fromhex(case["script"])))
        assert script_to_asm(bytes.fromhex(case["script"])).endswith("[error]")


def test_script_numbers_of_bitcoinjs() -> None:
    cases = load_json("bitcoinjs-lib/script_number.json")
    assert len(cases) == 54
    for case in cases:
        data = bytes.fromhex(case["hex"])
        assert encode_number(case["number"]) == data
        assert decode_number(data, minimal=True, max_size=case.get("bytes", 5)) == case["number"]


def test_signature_encodings_of_bitcoinjs() -> None:
    cases = load_json("bitcoinjs-lib/signature.json")
    for case in cases["valid"]:
        assert is_strict_der(bytes.fromhex(case["hex"]))
    for case in cases["invalid"]:
        assert is_strict_der(bytes.fromhex(case["hex"])) is ("hashType" in case)


def _expected(case: dict[str, Any], name: str) -> Any:
    value = case["expected"].get(name)
    return case["arguments"].get(name) if value is None else value


_JS_KINDS = {
    "p2ms": ScriptKind.MULTISIG,
    "p2pk": ScriptKind.PUBKEY,
    "p2pkh": ScriptKind.PUBKEYHASH,
    "p2sh": ScriptKind.SCRIPTHASH,
    "p2wpkh": ScriptKind.WITNESS_V0_KEYHASH,
    "p2wsh": ScriptKind.WITNESS_V0_SCRIPTHASH,
    "p2tr": ScriptKind.WITNESS_V1_TAPROOT,
    "embed": ScriptKind.NULLDATA,
}


@pytest.mark.parametrize("name", _JS_KINDS)
def test_standard_forms_of_bitcoinjs(name: str) -> None:
    seen = 0
    for case in load_json(f"bitcoinjs-lib/{name}.json")["valid"]:
        text = _expected(case, "output")
        if text is None or case.get("options", {}).get("allowIncomplete"):
            continue
        script = parse_asm(text) if "OP_" in text else bytes.fromhex(text)
        kind, data = solve(script)
        if kind is not _JS_KINDS[name]:
            assert name in ("p2ms", "p2pk"), text  # rows with keys that have no such length
            continue
        if name == "p2ms":
            assert data[0][0] == _expected(case, "m")
            assert [key.hex() for key in data[1:-1]] == _expected(case, "pubkeys")
            assert multisig_script(data[0][0], data[1:-1]) == script
        elif name in ("p2pk", "p2tr"):
            assert data[0].hex() == (_expected(case, "pubkey") or data[0].hex())
        elif name != "embed":
            assert data[0].hex() == (_expected(case, "hash") or data[0].hex())
        seen += 1
    assert seen


def _js_tree(node: Any) -> TapTree:
    if isinstance(node, list):
        return [_js_tree(child) for child in node]
    return TapLeaf(parse_asm(node["output"]), node.get("version", 0xC0))


def test_taproot_trees_of_bitcoinjs() -> None:
    seen = witnesses = 0
    for case in load_json("bitcoinjs-lib/p2tr.json")["valid"]:
        arguments, expected = case["arguments"], case["expected"]
        if "internalPubkey" not in arguments or "scriptTree" not in arguments:
            continue
        tree = arguments["scriptTree"]
        output = taproot_output(bytes.fromhex(arguments["internalPubkey"]), _js_tree(tree))
        assert output.output_xonly.hex() == expected["pubkey"]
        assert output.merkle_root.hex() == expected["hash"]
        assert p2tr_script(output.output_xonly) == parse_asm(expected["output"])
        if expected.get("witness"):
            script, control_block = (bytes.fromhex(item) for item in expected["witness"][-2:])
            assert (script, control_block) in [(leaf.script, block) for leaf, block in output.leaves]
            witnesses += 1
        seen += 1
    assert seen >= 10
    assert witnesses >= 7


def test_odd_scripts_of_the_main_chain() -> None:
    cases = load_json("btclib/unspendable_script_pub_keys.json")
    assert len(cases) == 12
    for case in cases:
        script = bytes.fromhex(case["script"])
        assert solve(script).kind in (ScriptKind.NONSTANDARD, ScriptKind.NULLDATA)
        assert script_to_asm(script)
        count_sigops(script, False)


def test_solve_follows_core_at_the_edges() -> None:
    assert solve(b"") == (ScriptKind.NONSTANDARD, ())
    assert solve(b"\x51\x02\x4e\x73") == (ScriptKind.ANCHOR, ())
    assert solve(witness_script(1, b"\x4e\x74")) == (ScriptKind.WITNESS_UNKNOWN, (b"\x01", b"\x4e\x74"))
    assert solve(witness_script(16, bytes(40))) == (ScriptKind.WITNESS_UNKNOWN, (b"\x10", bytes(40)))
    assert solve(witness_script(0, bytes(21))).kind is ScriptKind.NONSTANDARD
    assert solve(witness_script(1, bytes(41))).kind is ScriptKind.NONSTANDARD
    assert solve(b"\x6a").kind is ScriptKind.NULLDATA
    assert solve(nulldata_script(b"btngpay", b"")).kind is ScriptKind.NULLDATA
    assert solve(b"\x6a\x61").kind is ScriptKind.NONSTANDARD
    assert solve(b"\x6a\x4c").kind is ScriptKind.NONSTANDARD
    assert solve(multisig_script(1, [_KEY] * 20)).kind is ScriptKind.MULTISIG  # 17 and more: pushed numbers
    assert solve(multisig_script(1, [_KEY] * 21)).kind is ScriptKind.NONSTANDARD
    assert solve(multisig_script(3, [_KEY] * 2)).kind is ScriptKind.NONSTANDARD
    assert solve(b"\x00" + multisig_script(1, [_KEY])[1:]).kind is ScriptKind.NONSTANDARD
    assert solve(multisig_script(1, [_KEY])[:-1] + b"\x61\xae").kind is ScriptKind.NONSTANDARD
    assert solve(b"\xae").kind is ScriptKind.NONSTANDARD
    assert solve(push_data(b"\x05" + bytes(32)) + b"\xac").kind is ScriptKind.NONSTANDARD


def test_asm_decodes_hash_types_of_signatures_only() -> None:
    signature = bytes.fromhex(
        "304502207fa7a6d1e0ee81132a269ad84e68d695483745cde8b541e3bf630749894e342a"
        "022100c1f7ab20e13e22fb95281a870f3dcf38d782e53023ee313d741ad0cfbc0c509083"
    )
    assert script_to_asm(push_data(signature), decode_sighash=True) == (
        signature[:-1].hex() + "[SINGLE|ANYONECANPAY]"
    )
    assert script_to_asm(push_data(signature)) == signature.hex()
    assert script_to_asm(b"\x6a" + push_data(signature), decode_sighash=True) == f"OP_RETURN {signature.hex()}"
    assert script_to_asm(push_data(signature[:-1] + b"\x07"), decode_sighash=True).endswith("07")
    assert script_to_asm(b"\x00\x4f\x51\x60\xb1\xb2\xba\xbb\xff\x4c") == (
        "0 -1 1 16 OP_CHECKLOCKTIMEVERIFY OP_CHECKSEQUENCEVERIFY "
        "OP_CHECKSIGADD OP_UNKNOWN OP_INVALIDOPCODE [error]"
    )
    assert op_name(0x4C) == "OP_PUSHDATA1"


# Numbers, pushes, FindAndDelete


def test_numbers_are_minimal_or_refused() -> None:
    for data in (b"\x00", b"\x80", b"\x01\x00", b"\x01\x80", b"\x00\x00", b"\xff\x7f\x00\x00"):
        with pytest.raises(ScriptError):
            decode_number(data, minimal=True)
        decode_number(data, minimal=False)
    assert decode_number(b"\xff\x80", minimal=True) == -255
    with pytest.raises(ScriptError):
        decode_number(bytes(5), minimal=False)


@given(st.integers(-(2**39) + 1, 2**39 - 1))
@settings(max_examples=campaign(200, 20_000))
def test_numbers_survive_the_round_trip(n: int) -> None:
    data = encode_number(n)
    assert decode_number(data, minimal=True, max_size=5) == n
    assert cast_to_bool(data) is (n != 0)
    ((opcode, pushed),) = iter_ops(push_int(n))
    assert is_minimal_push(opcode, pushed) or opcode > 0x4E


def test_truth_of_zeros() -> None:
    assert not any(map(cast_to_bool, (b"", b"\x00", b"\x80", b"\x00\x00\x80", bytes(9))))
    assert all(map(cast_to_bool, (b"\x01", b"\x80\x00", b"\x00\x81", b"\x80\x80")))


@pytest.mark.parametrize("size", [0, 1, 75, 76, 255, 256, 65535, 65536])
def test_pushes_take_the_shortest_length_form(size: int) -> None:
    data = b"\x42" * size
    ((opcode, pushed),) = iter_ops(push_data(data))
    assert pushed == data
    assert is_minimal_push(opcode, data)


@pytest.mark.parametrize(
    ("script", "needle", "expected", "found"),
    [
        ("51 52", "", "51 52", 0),
        ("51 52 53", "52", "51 53", 1),
        ("53 51 53 53 54 53", "53", "51 54", 4),
        ("0302ff03", "0302ff03", "", 1),
        ("0302ff03 0302ff03", "0302ff03", "", 2),
        ("0302ff03 0302ff03", "02", "0302ff03 0302ff03", 0),
        ("0302ff03 0302ff03", "ff", "0302ff03 0302ff03", 0),
        ("0302ff03 0302ff03", "03", "02ff03 02ff03", 2),  # an opcode's beginning, then misread
        ("02feed 51 69", "feed51", "02feed 51 69", 0),
        ("02feed 51 69", "02feed51", "69", 1),
        ("51 6902 feed 51 69", "feed51", "51 6902 feed 51 69", 0),
        ("00 00 51 51", "0051", "00 51", 1),
        ("00 00 51 00 51 51", "0051", "00 51", 2),
        ("0003feed", "03feed", "00", 1),
        ("0003feed", "00", "03feed", 1),
    ],
)
def test_find_and_delete_as_core_tests_it(script: str, needle: str, expected: str, found: int) -> None:
    result = find_and_delete(bytes.fromhex(script), bytes.fromhex(needle))
    assert result == (bytes.fromhex(expected), found)


# Sigops


def _slow_sigops(script: bytes, accurate: bool) -> int:
    count, last, pos = 0, 0xFF, 0
    while pos < len(script):
        step = read_op(script, pos)
        if step is None:
            break
        opcode, _, pos = step
        if opcode in (0xAC, 0xAD):
            count += 1
        elif opcode in (0xAE, 0xAF):
            count += last - 0x50 if accurate and 0x51 <= last <= 0x60 else 20
        last = opcode
    return count


_scripts = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([0xAC, 0xAE, 0xAF, 0x51, 0x60, 0x01, 0x4C, 0x4E, 0x00]), max_size=20).map(bytes),
)


@given(_scripts)
@settings(max_examples=campaign(300, 20_000))
def test_sigops_and_decoders_take_any_bytes(script: bytes) -> None:
    for accurate in (False, True):
        assert count_sigops(script, accurate) == _slow_sigops(script, accurate)
    solve(script)
    is_push_only(script)
    last_push(script)
    witness_program(script)
    script_to_asm(script, decode_sighash=True)
    p2sh_sigops(script, p2sh_script(b""))
    witness_sigops(script, p2sh_script(b""), [script], MANDATORY_SCRIPT_VERIFY_FLAGS)
    witness_sigops(b"", p2wsh_script(b""), [script], MANDATORY_SCRIPT_VERIFY_FLAGS)


def test_sigops_where_core_counts_them() -> None:
    """Core's sigopcount_tests."""
    script = push_int(1) + push_data(bytes(20)) * 2 + push_int(2) + b"\xae"
    assert count_sigops(script, True) == 2
    script = b"\x63\xac\x68" + script  # IF CHECKSIG ENDIF
    assert count_sigops(script, True) == 3
    assert count_sigops(script, False) == 21
    output = p2sh_script(script)
    script_sig = push_int(0) + push_data(script)
    assert p2sh_sigops(script_sig, output) == 3
    assert p2sh_sigops(b"\x61" + script_sig, output) == 0
    assert p2sh_sigops(script_sig, script) == 0

    flags = ScriptFlags.WITNESS | ScriptFlags.P2SH
    assert witness_sigops(b"", p2wpkh_script(bytes(20)), [], flags) == 1
    assert witness_sigops(b"", p2wpkh_script(bytes(20)), [], ScriptFlags.P2SH) == 0
    assert witness_sigops(b"", p2tr_script(bytes(32)), [b"\xac"], flags) == 0
    nested = p2wpkh_script(bytes(20))
    assert witness_sigops(push_data(nested), p2sh_script(nested), [], flags) == 1
    assert witness_sigops(b"\x61" + push_data(nested), p2sh_script(nested), [], flags) == 0
    witness = [b"", b"", script]
    assert witness_sigops(b"", p2wsh_script(script), witness, flags) == 3
    assert witness_sigops(push_data(p2wsh_script(script)), p2sh_script(p2wsh_script(script)), witness, flags) == 3
    assert witness_sigops(b"", p2wsh_script(script), [], flags) == 0


def test_small_predicates() -> None:
    assert is_p2sh(p2sh_script(b""))
    assert not is_p2sh(p2pkh_script(bytes(20)))
    assert is_unspendable(b"\x6a")
    assert is_unspendable(bytes(10_001))
    assert not is_unspendable(bytes(10_000))
    assert not is_unspendable(b"")
    assert last_push(b"\x51\x02ab") == b"ab"
    assert last_push(b"\x61") is None
    assert witness_serialized_size([b"", bytes(253)]) == 1 + 1 + 3 + 253
    assert witness_program(b"\x51\x01\x00") is None
    assert parse_script("1 0x02 0xabcd 'ab' CHECKSIG") == bytes.fromhex("5102abcd026162ac")


def test_every_error_has_cores_sentence() -> None:
    assert set(ERROR_TEXTS) == set(ScriptErrorName)
    assert len(set(ERROR_TEXTS.values())) == len(ERROR_TEXTS)


# Transactions


def test_transactions_of_bitcoinjs() -> None:
    cases = load_json("bitcoinjs-lib/transaction.json")
    for case in cases["valid"]:
        tx = parse_tx(bytes.fromhex(case["whex"] if case.get("whex") else case["hex"]))
        assert tx.txid[::-1].hex() == case["id"]
        assert tx.stripped().hex() == case["hex"]
        if "weight" in case:
            assert (tx.weight, tx.vsize) == (case["weight"], case["virtualSize"])
        assert tx.is_coinbase is case["coinbase"]
        for txin, wanted in zip(tx.inputs, case["raw"]["ins"], strict=True):
            if "script" in wanted:
                assert txin.script_sig == parse_asm(wanted["script"])
        for output, wanted in zip(tx.outputs, case["raw"]["outs"], strict=True):
            if "script" in wanted:
                assert output.script_pubkey == parse_asm(wanted["script"])
    for case in cases["invalid"]["fromBuffer"]:
        with pytest.raises(DecodeError):
            parse_tx(bytes.fromhex(case["hex"]))


def _odd_transactions() -> list[bytes]:
    raws = [bytes.fromhex(read_text("rust-bitcoin/huge_witness.hex").strip())]
    raws.append(read_bytes("btclib/d4f3c2c3c218be868c77ae31bedb497e2f908d6ee5bbbe91e4933e6da680c970.bin"))
    raws += [read_bytes(f"bcoin/tx{n}.raw") for n in range(1, 11)]
    return raws


def test_odd_transactions_survive_the_round_trip() -> None:
    raws = _odd_transactions()
    assert len(raws) == 12
    for raw in raws:
        check_transaction(_round_trip(raw), BITCOIN_MAIN)


def test_the_transaction_of_many_inputs_survives_the_round_trip() -> None:
    """The file goes on behind the transaction (it was made for a chain with longer ones)."""
    data = bytes.fromhex(read_text("btcd/many_inputs_tx.hex").strip())
    tx, end = read_tx(data)
    assert (len(tx.inputs), end) == (89, 3682)
    _round_trip(data[:end])
    with pytest.raises(DecodeError):
        parse_tx(data)


def test_the_megatransaction_survives_the_round_trip() -> None:
    """1 MB in one transaction: the block of 2015 that took 25 seconds to verify with quadratic hashing."""
    raw = read_bytes("btcd/wire/megatx.bin.bz2")
    tx = _round_trip(raw)
    check_transaction(tx, BITCOIN_MAIN)
    assert len(raw) == 999_657
    assert len(tx.inputs) == 5569


def _round_trip(raw: bytes) -> Tx:
    tx = parse_tx(raw)
    assert tx.raw == raw
    rebuilt = make_tx(tx.version, tx.inputs, tx.outputs, tx.lock_time)
    assert rebuilt.raw == raw
    assert (rebuilt.txid, rebuilt.wtxid, rebuilt.base_size) == (tx.txid, tx.wtxid, tx.base_size)
    if tx.has_witness:
        bare = with_witnesses(tx, [()] * len(tx.inputs))
        assert bare.raw == tx.stripped()
        assert bare.txid == tx.txid
    assert all(isinstance(txin, TxIn) for txin in tx.inputs)
    return tx


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [b"\x00", b"\xab", b"\xac", b"\x02ab", b"\x4c\x01\x00", b"\x4d\x02\x00ab", b"\x03\x00\xabx"]
            ),
            st.binary(max_size=3),
        ),
        max_size=14,
    ).map(b"".join),
    st.sampled_from([b"\x00", b"\xab", b"\x02ab", b"\x4c\x01\x00"]),
)
def test_an_opcode_is_deleted_wherever_a_walk_finds_it(script: bytes, needle: bytes) -> None:
    kept, found, pos = [], 0, 0
    while pos < len(script) and (step := read_op(script, pos)) is not None:
        if script[pos : step[2]] == needle:
            found += 1
        else:
            kept.append(script[pos : step[2]])
        pos = step[2]
    assert find_and_delete(script, needle) == (b"".join(kept) + script[pos:], found)
