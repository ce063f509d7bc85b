"""Descriptors against the vectors of BIP 380 to 389, bcoin and btclib."""

import dataclasses
from typing import Any

import pytest

from gldnode.bip32 import ExtendedKey, seed_of_mnemonic
from gldnode.descriptors import (
    DescriptorError,
    add_checksum,
    descriptor_checksum,
    parse_descriptor,
    parse_descriptors,
)
from gldnode.keyexpr import KeyUse, parse_key
from gldnode.params import BTC_REGTEST
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
BIPS = load_json("bips/bip380-389-descriptors.json")
FUNCTION = ("pk(", "pkh(", "sh(", "wsh(", "wpkh(", "multi(", "sortedmulti(", "combo(", "raw(", "addr(", "tr(")


def _items(*, valid: bool) -> list[Any]:
    found = []
    for bip in ("bip381", "bip382", "bip383", "bip384", "bip385", "bip386", "bip389"):
        for section in BIPS[bip]:
            if section["section"].lower().startswith("valid") == valid:
                for item in section["items"]:
                    texts = [v for v in item["values"] if v.startswith(FUNCTION) and not v.endswith("()")]
                    found += [(bip, text, item["children"]) for text in texts]
    return found


def test_bip380_checksums() -> None:
    valid, none, *wrong = (item["values"][0] for item in BIPS["bip380"][0]["items"])
    assert parse_descriptor(valid, BITCOIN, require_checksum=True).to_text() == valid
    assert parse_descriptor(none, BITCOIN).expand().scripts == (bytes.fromhex("deadbeef"),)
    for text in (none, *wrong):
        with pytest.raises(DescriptorError):
            parse_descriptor(text, BITCOIN, require_checksum=True)


def test_bip380_key_expressions() -> None:
    _checksums, _about, valid, invalid = BIPS["bip380"]
    for item in valid["items"]:
        assert len(parse_key(item["values"][-1], KeyUse.LEGACY, BITCOIN)) == 1
    for item in invalid["items"]:
        with pytest.raises(DescriptorError):
            parse_key(item["values"][-1], KeyUse.LEGACY, BITCOIN)


def _expected(children: list[Any]) -> list[str]:
    return [value for child in children for value in child["values"]]


@pytest.mark.parametrize(("bip", "text", "children"), _items(valid=True))
def test_bip_valid_descriptors(bip: str, text: str, children: list[Any]) -> None:
    branches = parse_descriptors(text, BITCOIN)
    if bip == "bip389":
        for branch, expected in zip(branches, _expected(children), strict=True):
            assert branch.to_text(private=True) == add_checksum(expected)
        return
    (descriptor,) = branches
    # keys in tr() are written x-only
    assert descriptor.to_text(private=True) == add_checksum(text.replace("pk(02df12", "pk(df12"))
    nested = [_expected(child["children"]) for child in children if child["children"]]
    if nested:
        assert [[s.hex() for s in descriptor.expand(i).scripts] for i in range(len(nested))] == nested
    elif descriptor.is_range:
        expected = _expected(children)
        assert [descriptor.expand(i).scripts[0].hex() for i in range(len(expected))] == expected
    elif children:
        assert [script.hex() for script in descriptor.expand().scripts] == _expected(children)
    if not any(key.needs_private for key in descriptor.key_expressions):
        assert descriptor.to_public().expand(3).scripts == descriptor.expand(3).scripts
    if "*h" not in text and "*'" not in text:
        assert descriptor.normalized().expand(3).scripts == descriptor.expand(3).scripts
        assert not descriptor.normalized().has_private_keys


@pytest.mark.parametrize(("bip", "text", "children"), _items(valid=False))
def test_bip_invalid_descriptors(bip: str, text: str, children: list[Any]) -> None:
    with pytest.raises(DescriptorError):
        parse_descriptors(text, BITCOIN)


def test_btclib_checksums() -> None:
    for case in load_json("btclib/descriptor_checksums.json"):
        assert descriptor_checksum(case["desc"]) == case["checksum"]


def _with_h(text: str) -> str:
    return text.split("#")[0].replace("'", "h")


@pytest.mark.parametrize("kind", load_json("bcoin/descriptors/desc-valid.json"))
def test_bcoin_valid_descriptors(kind: str) -> None:
    for case in load_json("bcoin/descriptors/desc-valid.json")[kind]:
        params = BITCOIN if case.get("network", "main") == "main" else BTC_REGTEST
        descriptor = parse_descriptor(case["input"], params)
        # bcoin rewrites some marks, Core keeps them
        assert _with_h(descriptor.to_text()) == _with_h(case["descriptor"])
        assert descriptor_checksum(case["input"].split("#")[0]) == case["checksum"]
        assert descriptor.is_range == case["isrange"]
        assert descriptor.is_solvable == case["issolvable"]
        assert descriptor.has_private_keys == case["hasprivatekeys"]


@pytest.mark.parametrize(
    "case", load_json("bcoin/descriptors/desc-invalid.json"), ids=lambda case: case["input"][:30]
)
def test_bcoin_invalid_descriptors(case: Any) -> None:
    params = BITCOIN if case.get("network", "main") == "main" else BTC_REGTEST
    with pytest.raises(DescriptorError):
        parse_descriptor(case["input"], params, require_checksum=case.get("requirechecksum", False))


def test_bcoin_addresses() -> None:
    networks = {"main": BITCOIN, "regtest": BTC_REGTEST}
    for kind, cases in load_json("bcoin/descriptors/desc-addresses.json").items():
        for case in cases:
            if "error" in case or case.get("network", "main") not in networks:
                continue
            descriptor = parse_descriptor(case["input"], networks[case.get("network", "main")])
            low, high = case.get("range") or (0, 0)
            expected = case.get("expected") or case.get("addresses")
            found = [address for index in range(low, high + 1) for address in descriptor.addresses(index)]
            if kind == "pk":  # bcoin gives bare keys the address of their hash, Core none
                assert found == []
            elif kind == "combo":
                assert set(found) == set(expected)
            else:
                assert found[: len(expected)] == expected


def test_multi_a_in_a_tapleaf() -> None:
    internal = "a34b99f22c790c4e36b2b3c2c35a36db06226e41c692fc82b8b56ac1c540c5bd"
    other = "669b8afcec803a0d323e9a17f3ea8e68e8abe5a278020a929adbec52421adbd0"
    tree = parse_descriptor(f"tr({internal},multi_a(2,{internal},{other}))", BITCOIN).expand().taproot
    assert tree is not None
    assert tree.leaves[0][0].hex() == f"20{internal}ac20{other}ba529c"
    ordered = parse_descriptor(f"tr({internal},sortedmulti_a(1,{internal},{other}))", BITCOIN).expand().taproot
    assert ordered is not None
    assert ordered.leaves[0][0].hex() == f"20{other}ac20{internal}ba519c"


def test_miniscript_in_wsh_and_tapleaf() -> None:
    xpub = ExtendedKey.from_seed(bytes(16)).to_public().to_text(BITCOIN)
    key = f"[d34db33f/84h/0h/0h]{xpub}/0/*"
    for text in (f"wsh(and_v(v:pk({key}),older(144)))", f"tr({key},and_v(v:pk({key}),older(9)))"):
        descriptor = parse_descriptor(text, BITCOIN)
        assert descriptor.to_text() == add_checksum(text)
        assert descriptor.expand(1).scripts != descriptor.expand(2).scripts


@pytest.mark.parametrize(
    "text", ["", "(", ")", "sh(" * 2_000, "tr(" + "{" * 500, "wsh(older(-1))", "raw(ü)", "a" * 100_000, "wsh({0})"]
)
def test_odd_text_is_a_descriptor_error(text: str) -> None:
    with pytest.raises(DescriptorError):
        parse_descriptors(text, BITCOIN)


def test_bip86_addresses_through_descriptors() -> None:
    blocks = load_json("bips/bip86.json")
    master = blocks[0]["values"]["rootpriv"]
    private = parse_descriptor(f"tr({master}/86h/0h/0h/0/*)", BITCOIN)
    public = private.normalized()
    change = parse_descriptor(f"tr({blocks[1]['values']['xpub']}/1/*)", BITCOIN)
    for descriptor, index, block in (
        (private, 0, 2),
        (public, 0, 2),
        (private, 1, 3),
        (public, 1, 3),
        (change, 0, 4),
    ):
        expanded = descriptor.expand(index)
        values = blocks[block]["values"]
        assert expanded.scripts[0].hex() == values["scriptPubKey"]
        assert expanded.keys[0].xonly.hex() == values["internal_key"]
        assert descriptor.addresses(index) == [values["address"]]
    assert public.to_text().startswith("tr([73c5da0a/86h/0h/0h]xpub")


def test_bip49_and_bip84_addresses_through_descriptors() -> None:
    seed = seed_of_mnemonic(load_json("bips/bip84.json")[0]["values"]["mnemonic"])
    master = ExtendedKey.from_seed(seed)
    segwit = parse_descriptor(f"wpkh({master.to_text(BITCOIN)}/84h/0h/0h/0/*)", BITCOIN)
    blocks = load_json("bips/bip84.json")
    assert [segwit.addresses(index)[0] for index in (0, 1)] == [blocks[i]["values"]["address"] for i in (2, 3)]
    nested = parse_descriptor(f"sh(wpkh({master.to_text(BTC_REGTEST)}/49h/1h/0h/0/*))", BTC_REGTEST)
    assert nested.addresses(0) == ["2Mww8dCYPUpKHofjgcXcBCEGmniw9CoaiD2"]


def test_a_wrong_checksum_says_which_would_be_right() -> None:
    with pytest.raises(DescriptorError) as caught:
        parse_descriptor("raw(deadbeef)#89f8spxx", BITCOIN)
    assert str(caught.value) == "Provided checksum '89f8spxx' does not match computed checksum '89f8spxm'"


@pytest.mark.parametrize("shape", ["wpkh({})", "pkh({})", "sh(wpkh({}))", "tr({})", "wsh(pk({}))", "sh(pk({}))"])
def test_the_short_way_to_a_script_leads_to_the_same(shape: str) -> None:
    key = ExtendedKey.from_seed(b"the short way")
    for text in (key.to_text(BTC_REGTEST), key.to_public().to_text(BTC_REGTEST)):
        descriptor = parse_descriptor(shape.format(f"{text}/7/*"), BTC_REGTEST)
        for index in (0, 1, 2**31 - 1):
            assert descriptor.script(index) == descriptor.expand(index).scripts[0]
