"""Signature hashes: published cases, and the shared, caching code against the plain algorithm."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gldnode.crypto.secp256k1 import sign_ecdsa, sign_schnorr, tweak_seckey, verify_ecdsa, xonly_of
from gldnode.primitives.amount import parse_amount
from gldnode.primitives.codec import Reader
from gldnode.primitives.hashes import sha256d
from gldnode.primitives.tx import OutPoint, Tx, TxIn, TxOut, make_tx, parse_tx
from gldnode.script.checker import ExecutionData
from gldnode.script.script import iter_ops, push_data
from gldnode.script.sighash import SighashCache, legacy_sighash, remove_code_separators, segwit_v0_sighash
from gldnode.script.tapscript import annex_hash, leaf_hash
from tests.support.campaign import campaign
from tests.support.oracle import bip143_digest, bip341_digest, legacy_digest
from tests.support.script_asm import parse_asm
from tests.support.vectors import load_json


def _check_legacy(name: str, count: int) -> None:
    rows = [row for row in load_json(name) if len(row) > 1]
    assert len(rows) == count
    for raw, script, index, hash_type, expected in rows:
        tx = parse_tx(bytes.fromhex(raw))
        digest = legacy_sighash(tx, index, bytes.fromhex(script), hash_type)
        assert digest[::-1].hex() == expected


def test_legacy_hashes_of_bitcoin_core() -> None:
    _check_legacy("bitcoin-core/sighash.json", 500)


def test_legacy_hashes_of_rust_bitcoin() -> None:
    _check_legacy("rust-bitcoin/legacy_sighash.json", 289)


def test_bip143_examples() -> None:
    """Every published preimage hashes to a published digest, and is what we hash for its script code."""
    chapters = load_json("bips/bip143.json")
    assert len(chapters) == 5
    checked = 0
    for chapter in chapters:
        preimages = [bytes.fromhex(text) for text in chapter["hash_preimages"]]
        digests = {bytes.fromhex(text) for text in chapter["sighashes"]}
        txs = [parse_tx(bytes.fromhex(text)) for text in chapter["unsigned_tx"] + chapter["signed_tx"]]
        for preimage in preimages:
            if sha256d(preimage) not in digests:
                continue  # "No FindAndDelete" shows a wrong one as a warning
            reader = Reader(preimage, 68)
            prevout = reader.take(36)
            code, amount = reader.var_bytes(), reader.i64()
            hash_type = int.from_bytes(preimage[-4:], "little")
            found = False
            for tx in txs:
                for index, txin in enumerate(tx.inputs):
                    if txin.prevout == prevout:
                        assert segwit_v0_sighash(tx, index, code, amount, hash_type) == sha256d(preimage)
                        found = True
            assert found
            checked += 1
    assert checked == 13


def test_bip143_signatures_can_be_made_again() -> None:
    """RFC 6979 without grinding, low S: the signatures of the first chapter."""
    chapter = load_json("bips/bip143.json")[0]
    tx = parse_tx(bytes.fromhex(chapter["unsigned_tx"][0]))
    key = bytes.fromhex(chapter["private_keys"][1])
    code = bytes.fromhex("76a9141d0f172a0ecb48aee1be1f2687d2963ae33f71a188ac")
    digest = segwit_v0_sighash(tx, 1, code, int(parse_amount("6", 10**17)), 1)
    assert digest.hex() in chapter["sighashes"]
    signature = sign_ecdsa(key, digest, grind=False) + b"\x01"
    assert any(signature.hex() in text for text in chapter["signed_tx"])


def test_segwit_hashes_of_bitcoinjs() -> None:
    cases = load_json("bitcoinjs-lib/transaction.json")["hashForWitnessV0"]
    assert len(cases) == 8
    for case in cases:
        tx = parse_tx(bytes.fromhex(case["txHex"]))
        script = parse_asm(case["script"])
        digest = segwit_v0_sighash(tx, case["inIndex"], script, case["value"], case["type"])
        assert digest.hex() == case["hash"]


def test_legacy_hashes_of_bitcoinjs() -> None:
    for case in load_json("bitcoinjs-lib/transaction.json")["hashForSignature"]:
        tx = parse_tx(bytes.fromhex(case["txHex"]))
        digest = legacy_sighash(tx, case["inIndex"], parse_asm(case["script"]), case["type"])
        if digest == b"\x01" + bytes(31):
            digest = digest[::-1]  # they write the number one big-endian
        assert digest.hex() == case["hash"]


def test_taproot_signatures_of_bitcoinjs() -> None:
    (case,) = load_json("bitcoinjs-lib/transaction.json")["taprootSigning"]
    tx = parse_tx(bytes.fromhex(case["txHex"]))
    spent = [TxOut(utxo["value"], bytes.fromhex(utxo["scriptHex"])) for utxo in case["utxos"]]
    cache = SighashCache(tx, spent)
    for part in case["cases"]:
        digest = cache.taproot(part["vin"], int(part["typeHex"] or "0", 16))
        assert digest is not None
        assert digest.hex() == part["hash"]


def test_sighash_single_without_its_output_signs_one() -> None:
    tx = make_tx(1, [TxIn(OutPoint(bytes(36)), b"", 0), TxIn(OutPoint(b"1" * 36), b"", 0)], [TxOut(1, b"")])
    assert legacy_sighash(tx, 1, b"", 3) == b"\x01" + bytes(31)
    assert legacy_sighash(tx, 1, b"", 0x83) == b"\x01" + bytes(31)


_bytes = st.binary(max_size=40)
_inputs = st.builds(
    TxIn,
    st.binary(min_size=36, max_size=36).map(OutPoint),
    st.just(b""),
    st.integers(0, 0xFFFFFFFF),
)
_outputs = st.builds(TxOut, st.integers(-1, 2**63 - 1), _bytes)
_txs = st.builds(
    make_tx,
    st.integers(-(2**31), 2**31 - 1),
    st.lists(_inputs, min_size=1, max_size=4),
    st.lists(_outputs, min_size=0, max_size=4),
    st.integers(0, 0xFFFFFFFF),
)
_code = st.one_of(_bytes, st.lists(st.sampled_from([0xAB, 0x51, 0xAC, 0x00]), max_size=12).map(bytes))


def _without_separators(script: bytes) -> bytes | None:
    try:
        ops = list(iter_ops(script))
    except Exception:
        return None
    return b"".join(
        push_data(data) if opcode <= 0x4B else bytes((opcode,)) for opcode, data in ops if opcode != 0xAB
    )


@settings(max_examples=campaign(80, 5000))
@given(_txs, st.data())
def test_shared_hashes_are_those_of_the_plain_algorithm(tx: Tx, data: st.DataObject) -> None:
    spent = [data.draw(_outputs) for _ in tx.inputs]
    cache = SighashCache(tx, spent)
    for _ in range(6):
        index = data.draw(st.integers(0, len(tx.inputs) - 1))
        code = data.draw(_code)
        hash_type = data.draw(st.integers(0, 255))
        plain = remove_code_separators(code)
        assert cache.legacy(index, code, hash_type) == legacy_digest(tx, index, plain, hash_type)
        amount = spent[index].amount
        assert cache.segwit_v0(index, code, amount, hash_type) == bip143_digest(tx, index, code, amount, hash_type)
        annex = data.draw(st.none() | st.binary(min_size=1, max_size=3))
        leaf = (leaf_hash(code), data.draw(st.integers(0, 0xFFFFFFFF)))
        context = ExecutionData(tapleaf_hash=leaf[0])
        context.codeseparator_pos = leaf[1]
        hashed = None if annex is None else annex_hash(annex)
        assert cache.taproot(index, hash_type, hashed) == bip341_digest(tx, index, spent, hash_type, annex)
        assert cache.taproot(index, hash_type, hashed, context) == bip341_digest(
            tx, index, spent, hash_type, annex, leaf
        )


@settings(max_examples=campaign(100, 3000))
@given(st.lists(st.sampled_from([b"\xab", b"\x51", b"\x02\xab\xab", b"\x01\xab", b"\xac"]), max_size=12))
def test_only_separators_that_are_opcodes_are_removed(parts: list[bytes]) -> None:
    assert remove_code_separators(b"".join(parts)) == b"".join(part for part in parts if part != b"\xab")


def test_bip341_key_path_in_both_directions() -> None:
    for name in ("bips/bip341-wallet-test-vectors.json", "bitcoin-core/bip341_wallet_vectors.json"):
        checked = 0
        for case in load_json(name)["keyPathSpending"]:
            tx = parse_tx(bytes.fromhex(case["given"]["rawUnsignedTx"]))
            spent = [
                TxOut(utxo["amountSats"], bytes.fromhex(utxo["scriptPubKey"]))
                for utxo in case["given"]["utxosSpent"]
            ]
            cache = SighashCache(tx, spent)
            hashes = case["intermediary"]
            assert cache.sha_amounts().hex() == hashes["hashAmounts"]
            assert cache.sha_outputs().hex() == hashes["hashOutputs"]
            assert cache.sha_prevouts().hex() == hashes["hashPrevouts"]
            assert cache.sha_script_pubkeys().hex() == hashes["hashScriptPubkeys"]
            assert cache.sha_sequences().hex() == hashes["hashSequences"]
            for spending in case["inputSpending"]:
                given, between = spending["given"], spending["intermediary"]
                index, hash_type = given["txinIndex"], given["hashType"]
                root = bytes.fromhex(given["merkleRoot"] or "")
                key = bytes.fromhex(given["internalPrivkey"])
                assert xonly_of(key).hex() == between["internalPubkey"]
                tweaked = tweak_seckey(key, root)
                assert tweaked.hex() == between["tweakedPrivkey"]
                message = cache.taproot_message(index, hash_type)
                assert message is not None
                assert (b"\x00" + message).hex() == between["sigMsg"]
                digest = cache.taproot(index, hash_type)
                assert digest is not None
                assert digest.hex() == between["sigHash"]
                signature = sign_schnorr(tweaked, digest, bytes(32))
                if hash_type:
                    signature += bytes((hash_type,))
                assert [signature.hex()] == spending["expected"]["witness"]
                checked += 1
        assert checked == 7


def test_verification_takes_what_signing_makes() -> None:
    key, digest = b"\x07" * 32, b"\x08" * 32
    assert verify_ecdsa(sign_ecdsa(key, digest), digest, b"\x02" + xonly_of(key)) or verify_ecdsa(
        sign_ecdsa(key, digest), digest, b"\x03" + xonly_of(key)
    )
