"""Addresses and WIF keys against Core's key_io, BIP 173, BIP 350 and base58 vectors."""

import dataclasses
import hashlib
from typing import Any

import pytest

from gldnode.address import AddressError, address_to_script, encode_wif, is_address, parse_wif, script_to_address
from gldnode.errors import DecodeError
from gldnode.params import BTC_REGTEST, MAIN, NETWORKS, REGTEST, ChainParams
from gldnode.primitives.base58 import decode_base58, encode_base58
from gldnode.primitives.bech32 import (
    Bech32Error,
    Encoding,
    convert_bits,
    decode_bech32,
    encode_bech32,
    encode_program,
)
from tests.support.vectors import load_json

BITCOIN = {
    "main": dataclasses.replace(BTC_REGTEST, bech32_hrp="bc", p2pkh_version=0, p2sh_version=5, wif_version=128),
    "test": dataclasses.replace(BTC_REGTEST, bech32_hrp="tb"),
    "testnet4": dataclasses.replace(BTC_REGTEST, bech32_hrp="tb"),
    "signet": dataclasses.replace(BTC_REGTEST, bech32_hrp="tb"),
    "regtest": BTC_REGTEST,
}
INVALID_ADDRESSES = load_json("bips/bip350-bech32m.json")["invalid_addresses"]


@pytest.mark.parametrize("case", load_json("bitcoin-core/key_io_valid.json"), ids=lambda case: case[0][:20])
def test_core_valid_keys_and_addresses_round_trip(case: Any) -> None:
    text, payload, about = case
    params = BITCOIN[about["chain"]]
    if about["isPrivkey"]:
        secret, compressed = parse_wif(text, params)
        assert secret.hex() == payload
        assert compressed == about["isCompressed"]
        assert encode_wif(secret, params, compressed=compressed) == text
        assert not is_address(text, params)
        return
    assert address_to_script(text, params).hex() == payload
    assert script_to_address(bytes.fromhex(payload), params) == text
    with pytest.raises(DecodeError):
        parse_wif(text, params)
    if about.get("tryCaseFlip"):
        assert address_to_script(text.swapcase(), params).hex() == payload
    else:
        assert not is_address(text.swapcase(), params)


@pytest.mark.parametrize("case", load_json("bitcoin-core/key_io_invalid.json"), ids=lambda case: case[0][:20])
def test_core_invalid_keys_and_addresses_are_refused(case: Any) -> None:
    for params in BITCOIN.values():
        assert not is_address(case[0], params)
        with pytest.raises(DecodeError):
            parse_wif(case[0], params)


@pytest.mark.parametrize(("name", "encoding"), [("bip173-bech32", "BECH32"), ("bip350-bech32m", "BECH32M")])
def test_bip173_and_bip350_strings(name: str, encoding: str) -> None:
    vectors = load_json(f"bips/{name}.json")
    for text in vectors["valid_strings"]:
        assert decode_bech32(text)[2] is Encoding[encoding]
    for case in vectors["invalid_strings"]:
        try:
            found = decode_bech32(case["string"])[2]
        except Bech32Error:
            continue
        assert found is not Encoding[encoding]


def test_bip350_valid_addresses() -> None:
    for case in load_json("bips/bip350-bech32m.json")["valid_addresses"]:
        text = case["address"]
        params = BITCOIN["main" if text.lower().startswith("bc") else "test"]
        assert address_to_script(text, params).hex() == case["scriptPubKey"]
        assert script_to_address(bytes.fromhex(case["scriptPubKey"]), params) == text.lower()


def test_bip350_invalid_addresses() -> None:
    for case in INVALID_ADDRESSES:
        text = case["address"] if isinstance(case, dict) and "address" in case else case["string"]
        assert not any(is_address(text, params) for params in BITCOIN.values())


def test_core_base58_round_trips() -> None:
    for data, text in load_json("bitcoin-core/base58_encode_decode.json"):
        assert encode_base58(bytes.fromhex(data)) == text
        assert decode_base58(text, 300) == bytes.fromhex(data)


@pytest.mark.parametrize("name", ["valid", "invalid"])
def test_bitcoinjs_base58_keys(name: str) -> None:
    for case in load_json(f"bitcoinjs-lib/core/base58_keys_{name}.json"):
        if name == "invalid":
            assert not any(is_address(case[0], params) for params in BITCOIN.values())
            continue
        text, payload, about = case
        params = BITCOIN["test" if about["isTestnet"] else "main"]
        if about["isPrivkey"]:
            assert parse_wif(text, params) == (bytes.fromhex(payload), about["isCompressed"])
        else:
            assert payload in address_to_script(text, params).hex()


def test_core_sentences_say_what_is_wrong() -> None:
    main = BITCOIN["main"]
    cases: list[tuple[ChainParams, str, str, tuple[int, ...]]] = [
        (
            BTC_REGTEST,
            "bcrt1q049edschfnwystcqnsvyfpj23mpsg3jcedq9xv049edschfnwystcqnsvyfpj23mpsg3jcedq9xv049edschfnwystcqnsvyfpj23m",
            "Bech32 string too long",
            tuple(range(90, 108)),
        ),
        (
            BTC_REGTEST,
            "tb1q5nwyfl5vqgdz9z8p8ax4c0y4lq2j0yn0c7ldcd",
            "Invalid or unsupported Segwit (Bech32) or Base58 encoding.",
            (),
        ),
        (
            BTC_REGTEST,
            "bcrt1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqdmchcc",
            "Invalid Bech32m checksum",
            (),
        ),
        (
            BTC_REGTEST,
            "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
            "Invalid Bech32 checksum",
            (),
        ),
        (BTC_REGTEST, "bcrt1q049edschfnwystcqnsvyfpj23mpsg3jcedq9xv!", "Invalid Base 32 character", (44,)),
        (BTC_REGTEST, "BCRT1q049edschfnwystcqnsvyfpj23mpsg3jcedq9xv", "Invalid character or mixed case", ()),
        (BTC_REGTEST, "bcrtq049edschfnwystcqnsvyfpj23mpsg3jcedq9xv", "Missing separator", ()),
        (BTC_REGTEST, "bcrt1q04", "Invalid separator position", (4,)),
        (
            main,
            "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3",
            "Invalid checksum or length for Base58 address (P2PKH or P2SH)",
            (),
        ),
    ]
    for params, text, message, locations in cases:
        with pytest.raises(AddressError) as caught:
            address_to_script(text, params)
        if locations:
            assert caught.value.locations == locations, text
        if "checksum" not in message or "Base58" in message:
            assert str(caught.value) == message


def test_one_and_two_wrong_characters_are_located() -> None:
    good = script_to_address(b"\x00\x14" + bytes(range(20)), REGTEST)
    assert good is not None
    for places in ((10,), (12, 30), (len(good) - 1,)):
        letters = list(good)
        for place in places:
            letters[place] = "q" if letters[place] != "q" else "p"
        with pytest.raises(AddressError) as caught:
            address_to_script("".join(letters), REGTEST)
        assert str(caught.value) == "Invalid Bech32 checksum"
        assert caught.value.locations == places


def test_another_networks_address_is_refused() -> None:
    script = b"\x00\x14" + bytes(20)
    for params in NETWORKS.values():
        text = script_to_address(script, params)
        assert text is not None
        for other in NETWORKS.values():
            assert is_address(text, other) == (other.bech32_hrp == params.bech32_hrp)


def test_main_network_p2pkh_addresses_start_with_g() -> None:
    text = script_to_address(b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", MAIN)
    assert text is not None
    assert text.startswith("g")


@pytest.mark.parametrize(
    "text", ["", " ", "1" * 5_000, "gldrt", "gldrt1", "\ud800", "gldrt1\u0661", "g" * 100_000]
)
def test_odd_text_is_a_decode_error(text: str) -> None:
    with pytest.raises(AddressError):
        address_to_script(text, REGTEST)


@pytest.mark.parametrize("size", range(2, 41))
def test_a_program_is_encoded_as_its_five_bit_values_are(size: int) -> None:
    for version, encoding in ((0, Encoding.BECH32), (1, Encoding.BECH32M), (16, Encoding.BECH32M)):
        program = hashlib.shake_128(b"program").digest(size)
        values = [version, *convert_bits(program, 8, 5, pad=True)]
        assert encode_program("gldrt", version, program, encoding) == encode_bech32("gldrt", values, encoding)
