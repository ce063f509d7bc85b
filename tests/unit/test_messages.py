"""Signed messages against BIP 322's vectors, and the legacy form there and back."""

import dataclasses
from typing import Any

import pytest

from gldnode.address import address_to_script, parse_wif
from gldnode.messages import (
    MessageFault,
    bip322_hash,
    bip322_to_sign,
    bip322_to_spend,
    check_signature,
    encode_simple,
    sign_message,
    verify_bip322,
    verify_message,
)
from gldnode.params import BTC_REGTEST
from gldnode.primitives.hashes import hash160
from gldnode.script.sighash import SighashCache
from gldnode.script.templates import p2pkh_script
from gldnode.wallet.signing import SigningKeys, sign_input
from tests.support.vectors import load_json

BITCOIN = dataclasses.replace(BTC_REGTEST, bech32_hrp="bc", p2pkh_version=0, p2sh_version=5, wif_version=128)
BASIC = load_json("bips/bip322-basic-test-vectors.json")
GENERATED = load_json("bips/bip322-generated-test-vectors.json")
FULL = GENERATED["full"]
SIMPLE = BASIC["simple"] + GENERATED["simple"]
ERRORS = BASIC["error"] + GENERATED["error"]


@pytest.mark.parametrize("case", BASIC["tx_hashes"], ids=lambda case: case["message"][:10] or "empty")
def test_virtual_transactions(case: Any) -> None:
    script, message = address_to_script(case["address"], BITCOIN), case["message"].encode()
    assert bip322_hash(message).hex() == case["message_hash"]
    assert bip322_to_spend(script, message).txid[::-1].hex() == case["to_spend_tx_hash"]
    assert bip322_to_sign(script, message).txid[::-1].hex() == case["to_sign_tx_hash"]


@pytest.mark.parametrize("case", SIMPLE + FULL, ids=lambda case: f"{case['type']}-{case['message'][:6]}")
def test_published_signatures_hold(case: Any) -> None:
    script = address_to_script(case["address"], BITCOIN)
    for signature in case["bip322_signatures"]:
        found = verify_bip322(script, case["message"].encode(), signature)
        assert found is not None
        assert found.lock_time == case.get("lock_time", 0)
        assert found.sequence == case.get("sequence", 0)
        assert found.is_unconditional != ("lock_time" in case)
        assert verify_bip322(script, b"another message", signature) is None


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case["description"][:50])
def test_published_wrong_signatures_are_refused(case: Any) -> None:
    script = address_to_script(case["address"], BITCOIN)
    try:
        assert verify_bip322(script, case["message"].encode(), case["signature"]) is None
    except MessageFault:
        return


@pytest.mark.parametrize("case", SIMPLE, ids=lambda case: f"{case['type']}-{case['message'][:6]}")
def test_we_sign_what_we_verify(case: Any) -> None:
    script, message = address_to_script(case["address"], BITCOIN), case["message"].encode()
    keys = SigningKeys()
    for wif in case["private_keys"]:
        keys.add_secret(*parse_wif(wif, BITCOIN)[:1])
    if case["witness_script"]:
        keys.add_script(bytes.fromhex(case["witness_script"]))
    to_sign = bip322_to_sign(script, message)
    signed = sign_input(SighashCache(to_sign, bip322_to_spend(script, message).outputs), 0, keys)
    assert signed.is_complete
    signature = encode_simple(signed.witness)
    assert check_signature(script, case["message"], signature) is not None


@pytest.mark.parametrize("compressed", [True, False])
def test_legacy_signature_there_and_back(compressed: bool) -> None:
    secret = bytes(31) + b"\x07"
    keys = SigningKeys()
    keys.add_secret(secret, compressed=compressed)
    script = p2pkh_script(hash160(next(iter(keys.pubkeys.values()))))
    signature = sign_message(secret, "I paid this", compressed=compressed)
    assert verify_message(script, signature, "I paid this")
    assert check_signature(script, "I paid this", signature) is not None
    assert not verify_message(script, signature, "I paid that")
    assert not verify_message(p2pkh_script(bytes(20)), signature, "I paid this")


@pytest.mark.parametrize(
    "signature", ["", "!", "AAAA", "ful", "fulAAAA", "pofAAAA", "smp" + "A" * 200_000, "\ud800"]
)
def test_odd_signatures_raise_nothing_else(signature: str) -> None:
    script = b"\x00\x14" + bytes(20)
    try:
        assert verify_bip322(script, b"", signature) is None
    except MessageFault:
        return
