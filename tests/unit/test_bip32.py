"""BIP 32 keys and BIP 39 seeds against the BIPs' vectors."""

import dataclasses
import unicodedata
from typing import Any

import pytest

from gldnode.address import encode_wif, script_to_address
from gldnode.bip32 import ExtendedKey, format_path, mnemonic_of, parse_path, seed_of_mnemonic
from gldnode.errors import DecodeError
from gldnode.params import BTC_REGTEST
from gldnode.primitives.hashes import hash160
from tests.support.vectors import load_json

BITCOIN = dataclasses.replace(
    BTC_REGTEST,
    bech32_hrp="bc",
    p2pkh_version=0,
    p2sh_version=5,
    wif_version=128,
    xpub_version=bytes.fromhex("0488b21e"),
    xprv_version=bytes.fromhex("0488ade4"),
)


@pytest.mark.parametrize("case", load_json("bips/bip32.json")["valid"], ids=lambda case: case["seed"][:8])
def test_bip32_chains(case: Any) -> None:
    master = ExtendedKey.from_seed(bytes.fromhex(case["seed"]))
    for node in case["chains"]:
        path = parse_path(step.replace("H", "h") for step in node["path"].split("/")[1:])
        key = master.derive(path)
        assert key.to_text(BITCOIN) == node["xprv"]
        assert key.to_public().to_text(BITCOIN) == node["xpub"]
        assert ExtendedKey.parse(node["xprv"], BITCOIN).pubkey == ExtendedKey.parse(node["xpub"], BITCOIN).pubkey
        if path and path[-1] < 1 << 31:
            assert master.derive(path[:-1]).to_public().child(path[-1]).to_text(BITCOIN) == node["xpub"]


@pytest.mark.parametrize("case", load_json("bips/bip32.json")["invalid"], ids=lambda case: case["reason"][:40])
def test_bip32_invalid_keys_are_refused(case: Any) -> None:
    with pytest.raises(DecodeError):
        ExtendedKey.parse(case["key"], BITCOIN)


def test_public_key_has_no_hardened_children() -> None:
    with pytest.raises(DecodeError):
        ExtendedKey.from_seed(bytes(16)).to_public().child(1 << 31)


@pytest.mark.parametrize("element", ["", "1H", "-1", "+1", " 1", "1a", "4294967296", "2147483648", "٣", "1''"])
def test_odd_path_elements_are_refused(element: str) -> None:
    with pytest.raises(DecodeError):
        parse_path([element])


def test_path_text_round_trips() -> None:
    assert format_path(parse_path(["84h", "0'", "7"])) == "/84h/0h/7"


@pytest.mark.parametrize("language", load_json("python-mnemonic/bip39_vectors.json"))
def test_bip39_vectors(language: str) -> None:
    for entropy, mnemonic, seed, xprv in load_json("python-mnemonic/bip39_vectors.json")[language]:
        english = language == "english"
        if english:
            assert mnemonic_of(bytes.fromhex(entropy)) == mnemonic
        assert seed_of_mnemonic(mnemonic, "TREZOR", check_english=english).hex() == seed
        assert ExtendedKey.from_seed(bytes.fromhex(seed)).to_text(BITCOIN) == xprv


def test_bip39_japanese_passphrases_are_normalised() -> None:
    for _entropy, mnemonic, passphrase, seed, *_rest in load_json("bcoin/mnemonic-japanese.json"):
        for form in ("NFC", "NFKD"):
            words = unicodedata.normalize(form, mnemonic)
            assert seed_of_mnemonic(words, passphrase, check_english=False).hex() == seed


@pytest.mark.parametrize("words", ["", "abandon", "abandon " * 12, "zoo " * 11 + "xyzzy", "\ud800 " * 12])
def test_wrong_mnemonics_are_refused(words: str) -> None:
    with pytest.raises(DecodeError):
        seed_of_mnemonic(words)


def test_bip84_first_addresses() -> None:
    blocks = load_json("bips/bip84.json")
    master = ExtendedKey.from_seed(seed_of_mnemonic(blocks[0]["values"]["mnemonic"]))
    account = master.derive(parse_path(["84h", "0h", "0h"]))
    for block, path in ((blocks[2], (0, 0)), (blocks[3], (0, 1)), (blocks[4], (1, 0))):
        key = account.derive(path)
        values = block["values"]
        assert key.pubkey.hex() == values["pubkey"]
        assert encode_wif(key.secret, BITCOIN) == values["privkey"]
        assert script_to_address(b"\x00\x14" + hash160(key.pubkey), BITCOIN) == values["address"]


def test_bip49_first_key() -> None:
    blocks = load_json("bips/bip49.json")
    master = ExtendedKey.from_seed(seed_of_mnemonic(blocks[0]["values"]["masterseedWords"]))
    key = master.derive(parse_path(["49h", "1h", "0h", "0", "0"]))
    assert "0x" + key.pubkey.hex() == blocks[2]["values"]["account0recvPublicKeyHex"]
    assert encode_wif(key.secret, BTC_REGTEST) == blocks[2]["values"]["account0recvPrivateKey"]
