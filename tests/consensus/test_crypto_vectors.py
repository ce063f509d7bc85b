"""libsecp256k1 as we call it: published signatures, and the reference implementation."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gldnode.crypto import pointadder, reference, secp256k1
from gldnode.crypto.der import compact_of_lax_der, is_strict_der
from gldnode.crypto.secp256k1 import CURVE_ORDER, InvalidKey
from gldnode.script.errors import ScriptError
from gldnode.script.flags import ScriptFlags
from gldnode.script.signatures import check_signature_encoding
from tests.support.campaign import campaign
from tests.support.vectors import load_json, read_text


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(read_text(name))))


def test_bip340_in_both_directions() -> None:
    rows = _rows("bips/bip340-test-vectors.csv")
    assert len(rows) == 19
    for row in rows:
        pubkey, message, signature = (bytes.fromhex(row[name]) for name in ("public key", "message", "signature"))
        valid = row["verification result"] == "TRUE"
        assert secp256k1.verify_schnorr(signature, message, pubkey) is valid
        assert reference.verify_schnorr(signature, message, pubkey) is valid
        if row["secret key"]:
            key, aux = bytes.fromhex(row["secret key"]), bytes.fromhex(row["aux_rand"])
            assert secp256k1.xonly_of(key) == pubkey
            assert secp256k1.sign_schnorr(key, message, aux) == signature
            assert reference.sign_schnorr(key, message, aux) == signature


def _follows_bitcoins_rules(signature: bytes) -> bool:
    """Strict DER and a low S, which consensus leaves to flags."""
    try:
        check_signature_encoding(signature + b"\x01", int(ScriptFlags.DERSIG | ScriptFlags.LOW_S))
    except ScriptError:
        return False
    return bool(signature)


def test_wycheproof_ecdsa_with_bitcoins_rules() -> None:
    groups = load_json("wycheproof/ecdsa_secp256k1_sha256_bitcoin_test.json")["testGroups"]
    count = 0
    for group in groups:
        pubkey = bytes.fromhex(group["publicKey"]["uncompressed"])
        for case in group["tests"]:
            signature = bytes.fromhex(case["sig"])
            digest = sha256(bytes.fromhex(case["msg"])).digest()
            valid = _follows_bitcoins_rules(signature) and secp256k1.verify_ecdsa(signature, digest, pubkey)
            assert valid is (case["result"] == "valid"), case
            if _follows_bitcoins_rules(signature):
                assert reference.verify_ecdsa(signature, digest, pubkey) is valid
            count += 1
    assert count == 463


def test_ellswift_decoding() -> None:
    rows = _rows("bips/bip324-ellswift_decode_test_vectors.csv")
    assert len(rows) == 76
    for row in rows:
        assert secp256k1.ellswift_decode(bytes.fromhex(row["ellswift"]))[1:].hex() == row["x"]


def test_every_ellswift_encoding_of_a_point_decodes_to_it() -> None:
    rows = _rows("bips/bip324-xswiftec_inv_test_vectors.csv")
    assert len(rows) == 32
    checked = 0
    for row in rows:
        for case in range(8):
            if t := row[f"case{case}_t"]:
                assert secp256k1.ellswift_decode(bytes.fromhex(row["u"] + t))[1:].hex() == row["x"]
                checked += 1
    assert checked > 60


def test_rfc6979_signatures_of_bitcoinjs() -> None:
    cases = load_json("bitcoinjs-lib/ecdsa.json")["valid"]["ecdsa"]
    for case in cases:
        key = bytes.fromhex(case["d"].zfill(64))
        digest = sha256(case["message"].encode()).digest()
        compact = compact_of_lax_der(secp256k1.sign_ecdsa(key, digest, grind=False))
        assert compact is not None
        assert compact.hex() == case["signature"]["r"] + case["signature"]["s"]
    assert len(cases) > 5


def test_ellswift_shared_secrets() -> None:
    rows = _rows("bips/bip324-packet_encoding_test_vectors.csv")
    assert len(rows) == 7
    for row in rows:
        ours, theirs = bytes.fromhex(row["in_ellswift_ours"]), bytes.fromhex(row["in_ellswift_theirs"])
        key = bytes.fromhex(row["in_priv_ours"])
        we_initiate = row["in_initiating"] == "1"
        initiator, responder = (ours, theirs) if we_initiate else (theirs, ours)
        secret = secp256k1.ellswift_xdh(initiator, responder, key, we_initiate=we_initiate)
        assert secret.hex() == row["mid_shared_secret"]
        assert secp256k1.ellswift_decode(ours)[1:].hex() == row["mid_x_ours"]
        assert secp256k1.pubkey_of(key)[1:].hex() == row["mid_x_ours"]


_keys = st.integers(1, CURVE_ORDER - 1).map(lambda n: n.to_bytes(32, "big"))
_digests = st.binary(min_size=32, max_size=32)


@settings(max_examples=campaign(20, 1000))
@given(_keys, _digests, st.data())
def test_signatures_agree_with_the_reference(key: bytes, digest: bytes, data: st.DataObject) -> None:
    pubkey = secp256k1.pubkey_of(key)
    assert pubkey == reference.pubkey_of(key)
    der = secp256k1.sign_ecdsa(key, digest)
    assert len(der) <= 70
    assert secp256k1.is_low_der_signature(der)
    assert reference.verify_ecdsa(der, digest, pubkey)
    schnorr = secp256k1.sign_schnorr(key, digest, digest)
    assert schnorr == reference.sign_schnorr(key, digest, digest)

    place = data.draw(st.integers(0, len(der) - 1))
    broken = der[:place] + bytes((der[place] ^ (1 << data.draw(st.integers(0, 7))),)) + der[place + 1 :]
    if is_strict_der(broken + b"\x01"):
        assert secp256k1.verify_ecdsa(broken, digest, pubkey) is reference.verify_ecdsa(broken, digest, pubkey)
    place %= 64
    broken = schnorr[:place] + bytes((schnorr[place] ^ 1,)) + schnorr[place + 1 :]
    assert not secp256k1.verify_schnorr(broken, digest, pubkey[1:])

    compact, recovery_id = secp256k1.sign_recoverable(key, digest)
    assert secp256k1.recover(compact, recovery_id, digest) == pubkey
    root = digest[: data.draw(st.sampled_from([0, 32]))]
    output = secp256k1.tweak_pubkey(pubkey[1:], root)
    assert output == reference.tweak_xonly(pubkey[1:], root)
    assert secp256k1.check_taproot_tweak(*output, pubkey[1:], root)
    assert not secp256k1.check_taproot_tweak(output[0], output[1] ^ 1, pubkey[1:], root)
    assert secp256k1.xonly_of(secp256k1.tweak_seckey(key, root)) == output[0]


@settings(max_examples=campaign(20, 500))
@given(_keys, _keys)
def test_two_parties_share_a_secret(a: bytes, b: bytes) -> None:
    left, right = secp256k1.ellswift_create(a, b), secp256k1.ellswift_create(b, a)
    assert secp256k1.ellswift_decode(left) == secp256k1.pubkey_of(a)
    shared = secp256k1.ellswift_xdh(left, right, a, we_initiate=True)
    assert shared == secp256k1.ellswift_xdh(left, right, b, we_initiate=False)
    assert secp256k1.ecdh(a, secp256k1.pubkey_of(b)) == secp256k1.ecdh(b, secp256k1.pubkey_of(a))


@settings(max_examples=campaign(300, 20000))
@given(st.binary(max_size=80), _digests, st.binary(max_size=70))
def test_no_bytes_break_verification(signature: bytes, digest: bytes, pubkey: bytes) -> None:
    """libsecp256k1 would abort the process on an argument it thinks illegal."""
    assert not secp256k1.verify_ecdsa(signature, digest, pubkey)
    secp256k1.verify_ecdsa(signature, digest, b"\x02" + digest)
    secp256k1.verify_schnorr(signature[:64].ljust(64, b"\x00"), pubkey, digest)
    secp256k1.is_low_der_signature(signature)
    secp256k1.check_taproot_tweak(digest, 1, pubkey[:32], signature)
    secp256k1.recover(signature[:64].ljust(64, b"\x01"), 1, digest)
    secp256k1.recover(signature, 7, digest)
    compact = compact_of_lax_der(signature)
    assert compact is None or len(compact) == 64


@pytest.mark.parametrize(
    "call",
    [
        lambda: secp256k1.pubkey_of(bytes(32)),
        lambda: secp256k1.pubkey_of(CURVE_ORDER.to_bytes(32, "big")),
        lambda: secp256k1.pubkey_of(b"\x01"),
        lambda: secp256k1.sign_ecdsa(bytes(32), bytes(32)),
        lambda: secp256k1.sign_schnorr(bytes(32), bytes(32)),
        lambda: secp256k1.sign_recoverable(bytes(32), bytes(32)),
        lambda: secp256k1.tweak_pubkey(b"\xff" * 32),
        lambda: secp256k1.tweak_pubkey(b""),
        lambda: pointadder.point_adder(secp256k1.pubkey_of(b"\x01" * 32))(b"\xff" * 32),
        lambda: pointadder.point_adder(b"\x02" + b"\xff" * 32),
        lambda: secp256k1.pubkey_tweak_add(b"\x02" + b"\xff" * 32, bytes(32)),
        lambda: secp256k1.pubkey_tweak_add(secp256k1.pubkey_of(b"\x01" * 32), b"\xff" * 32),
        lambda: secp256k1.seckey_tweak_add(b"\x01" * 32, b"\xff" * 32),
        lambda: secp256k1.combine_pubkeys([]),
        lambda: secp256k1.combine_pubkeys([b"\x02" * 5]),
        lambda: secp256k1.combine_pubkeys(
            [b"\x02" + secp256k1.xonly_of(b"\x01" * 32), b"\x03" + secp256k1.xonly_of(b"\x01" * 32)]
        ),
        lambda: secp256k1.ellswift_create(bytes(32), bytes(32)),
        lambda: secp256k1.ellswift_decode(b""),
        lambda: secp256k1.ellswift_xdh(bytes(64), bytes(64), bytes(32), we_initiate=True),
        lambda: secp256k1.ecdh(b"\x01" * 32, b""),
        lambda: secp256k1.serialize_pubkey(b""),
    ],
)
def test_what_is_no_key_is_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(InvalidKey):
        call()


def test_tweaks_add_up() -> None:
    key, tweak = b"\x05" * 32, b"\x06" * 32
    child = secp256k1.seckey_tweak_add(key, tweak)
    assert secp256k1.pubkey_tweak_add(secp256k1.pubkey_of(key), tweak) == secp256k1.pubkey_of(child)
    both = secp256k1.combine_pubkeys([secp256k1.pubkey_of(key), secp256k1.pubkey_of(tweak)])
    assert both == secp256k1.pubkey_of(child)
    full = secp256k1.serialize_pubkey(both, compressed=False)
    assert len(full) == 65
    assert secp256k1.serialize_pubkey(full) == both
    assert secp256k1.is_valid_pubkey(bytes((6 + full[64] % 2,)) + full[1:])
    assert not secp256k1.is_valid_pubkey(bytes((7 - full[64] % 2,)) + full[1:])


def test_lax_signatures_are_read_as_core_reads_them() -> None:
    r, s = 5, 7
    expected = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert compact_of_lax_der(bytes.fromhex("3006020105020107")) == expected
    assert compact_of_lax_der(bytes.fromhex("30810602 01 05 0201 07".replace(" ", ""))) == expected
    assert compact_of_lax_der(bytes.fromhex("30ff")) is None
    assert compact_of_lax_der(bytes.fromhex("300602010502010700ff")) == expected  # rubbish behind
    assert compact_of_lax_der(bytes.fromhex("3000028300000105020107")) == expected  # long lengths
    assert compact_of_lax_der(bytes.fromhex("3000020300000502020007")) == expected  # padding
    assert compact_of_lax_der(bytes.fromhex("30000201 85 020107".replace(" ", ""))) == (
        (0x85).to_bytes(32, "big") + s.to_bytes(32, "big")  # negative: read as unsigned
    )
    assert compact_of_lax_der(b"\x30\x00\x02\x21\x01" + bytes(32) + b"\x02\x01\x07") == bytes(64)  # overflow
    assert compact_of_lax_der(bytes.fromhex("30060201050201")) is None
    assert compact_of_lax_der(b"") is None


def test_a_negative_number_is_the_unsigned_one() -> None:
    """Where the library's own parser would read zero: consensus since before BIP 66."""
    digest = b"\x09" * 32
    for n in range(1, 60):
        key = n.to_bytes(32, "big")
        der = secp256k1.sign_ecdsa(key, digest, grind=False)
        if der[3] != 33:
            continue
        negative = b"\x30" + bytes((der[1] - 1,)) + b"\x02\x20" + der[5:37] + der[37:]
        assert der[4] == 0
        assert not is_strict_der(negative + b"\x01")
        assert secp256k1.verify_ecdsa(negative, digest, secp256k1.pubkey_of(key))
        return
    raise AssertionError("no R with its highest bit set")


@pytest.fixture(scope="module")
def complete_table() -> pointadder._Table:
    table = pointadder._Table()
    while not table.is_complete:
        table.make_row()
    return table


@pytest.mark.parametrize("is_complete", [False, True])
def test_adding_to_a_point_again_and_again_is_the_tweak(
    is_complete: bool, complete_table: pointadder._Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pointadder, "_table", complete_table if is_complete else pointadder._Table())
    point = secp256k1.pubkey_of(b"\x01" * 32)
    add = pointadder.point_adder(point)
    for number in range(200):  # the table is begun and completed on the way
        tweak = sha256(b"%d" % number).digest()
        assert add(tweak) == secp256k1.pubkey_tweak_add(point, tweak)
    for value in (0, 1, 255, 256, 256**31, CURVE_ORDER - 1, CURVE_ORDER - 2, 2**255):
        assert add(value.to_bytes(32)) == secp256k1.pubkey_tweak_add(point, value.to_bytes(32))
    for value in (CURVE_ORDER - int.from_bytes(b"\x01" * 32), CURVE_ORDER, 2**256 - 1):  # infinity, and no tweaks
        with pytest.raises(InvalidKey):
            add(value.to_bytes(32))
    for wrong in (b"", bytes(31), bytes(33)):
        with pytest.raises(InvalidKey):
            add(wrong)
    assert pointadder._table.is_complete


@given(st.integers(1, CURVE_ORDER - 1), st.integers(0, CURVE_ORDER - 1))
def test_the_sum_by_table_is_the_oracles(complete_table: pointadder._Table, secret: int, tweak: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pointadder, "_table", complete_table)
        add = pointadder.point_adder(secp256k1.pubkey_of(secret.to_bytes(32)))
        if (secret + tweak) % CURVE_ORDER:
            assert add(tweak.to_bytes(32)) == secp256k1.pubkey_of(((secret + tweak) % CURVE_ORDER).to_bytes(32))


def test_the_point_that_the_table_is_off_by(
    complete_table: pointadder._Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pointadder, "_table", complete_table)
    offset = pointadder._OFFSET % CURVE_ORDER
    for secret in (offset, CURVE_ORDER - offset, offset + 1):
        point = secp256k1.pubkey_of(secret.to_bytes(32))
        add = pointadder.point_adder(point)
        for value in (0, 1, 2, 3, CURVE_ORDER - 1, offset, 2 * offset):
            tweak = value.to_bytes(32)
            if (secret + value) % CURVE_ORDER:
                assert add(tweak) == secp256k1.pubkey_tweak_add(point, tweak)
            else:
                with pytest.raises(InvalidKey):
                    add(tweak)


def test_threads_add_at_the_same_time(complete_table: pointadder._Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointadder, "_table", complete_table)
    point = secp256k1.pubkey_of(b"\x02" * 32)
    add = pointadder.point_adder(point)
    tweaks = [sha256(b"%d" % number).digest() for number in range(500)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: [add(tweak) for tweak in tweaks], range(4)))
    expected = [secp256k1.pubkey_tweak_add(point, tweak) for tweak in tweaks]
    assert together == [expected] * 4
