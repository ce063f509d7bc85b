"""The PSBT codec against the vectors of BIP 174, 370, 371 and Core."""

from contextlib import suppress
from typing import Any

import pytest

from gldnode.address import address_to_script, parse_wif
from gldnode.params import BTC_REGTEST
from gldnode.primitives.tx import TxIn, TxOut, make_tx, outpoint
from gldnode.psbt import PsbtError, create_psbt, decode_psbt, parse_psbt
from gldnode.psbt_fields import In
from gldnode.wallet.psbts import combine, extract, finalize_input, sign_psbt_input
from gldnode.wallet.signing import SigningKeys
from tests.support.vectors import load_json

CORE = load_json("bitcoin-core/functional-data/rpc_psbt.json")
CASES = [case for bip in ("bip174", "bip370", "bip371") for case in load_json(f"bips/{bip}.json")["cases"]]
INVALID = [case for case in CASES if "invalid" in case["section"]]
LOCK_TIMES = [case for case in CASES if "timelock" in case["section"]]
VALID = [case for case in CASES if "invalid" not in case["section"] and "timelock" not in case["section"]]


def _id(case: Any) -> str:
    return str(case["case"])[-60:]


@pytest.mark.parametrize("case", VALID, ids=_id)
def test_bip_valid_psbts_round_trip(case: Any) -> None:
    psbt = parse_psbt(case["base64"])
    again = decode_psbt(psbt.serialize())
    assert (again.globals, again.inputs, again.outputs) == (psbt.globals, psbt.inputs, psbt.outputs)
    assert len(psbt.serialize()) * 2 == len(case["hex"])
    psbt.unsigned_tx()


@pytest.mark.parametrize("case", INVALID, ids=_id)
def test_bip_invalid_psbts_are_refused(case: Any) -> None:
    with pytest.raises(PsbtError):
        parse_psbt(case["base64"])


@pytest.mark.parametrize("case", LOCK_TIMES, ids=_id)
def test_bip370_lock_times(case: Any) -> None:
    psbt = parse_psbt(case["base64"])
    if "cannot" in case["section"]:
        with pytest.raises(PsbtError):
            psbt.lock_time()
        return
    words = case["section"].replace(":", "").split()
    expected = [int(word) for word in words if word.isdigit()]
    assert psbt.lock_time() in expected if expected else psbt.lock_time() >= 0
    assert psbt.unsigned_tx().lock_time == psbt.lock_time()


@pytest.mark.parametrize("text", CORE["invalid"], ids=range(len(CORE["invalid"])))
def test_core_invalid_psbts_are_refused(text: str) -> None:
    with pytest.raises(PsbtError):
        parse_psbt(text)


@pytest.mark.parametrize(("text", "message"), CORE["invalid_with_msg"], ids=range(len(CORE["invalid_with_msg"])))
def test_core_says_why(text: str, message: str) -> None:
    with pytest.raises(PsbtError) as caught:
        parse_psbt(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", CORE["valid"], ids=range(len(CORE["valid"])))
def test_core_valid_psbts(text: str) -> None:
    psbt = parse_psbt(text)
    again = decode_psbt(psbt.serialize())
    assert (again.globals, again.inputs, again.outputs) == (psbt.globals, psbt.inputs, psbt.outputs)


@pytest.mark.parametrize("data", [b"", b"psbt\xff", b"psbt\xff\x00", b"psbt\xff" + b"\xff" * 9, b"\x00" * 100])
def test_odd_bytes_are_a_psbt_error(data: bytes) -> None:
    with pytest.raises(PsbtError):
        decode_psbt(data)


def test_cut_off_psbts_are_a_psbt_error() -> None:
    whole = parse_psbt(CORE["valid"][0]).serialize()
    for length in range(len(whole)):
        with pytest.raises(PsbtError):
            decode_psbt(whole[:length])


def _wifs(keys: list[str]) -> SigningKeys:
    found = SigningKeys()
    for wif in keys:
        secret, compressed = parse_wif(wif.split()[0], BTC_REGTEST)
        found.add_secret(secret, compressed=compressed)
    return found


@pytest.mark.parametrize("case", CORE["signer"], ids=range(len(CORE["signer"])))
def test_core_signer(case: Any) -> None:
    psbt = parse_psbt(case["psbt"])
    keys = _wifs(case["privkeys"])
    for index in range(len(psbt.inputs)):
        with suppress(PsbtError):  # what a signer must refuse stays unsigned
            sign_psbt_input(psbt, index, keys)
    expected = parse_psbt(case["result"])
    for mine, theirs in zip(psbt.inputs, expected.inputs, strict=True):
        signed = {name: value for name, value in mine.items() if name[0] == In.PARTIAL_SIG}
        wanted = {name: value for name, value in theirs.items() if name[0] == In.PARTIAL_SIG}
        assert signed.keys() == wanted.keys()


def test_core_combiner_finalizer_extractor() -> None:
    (case,) = CORE["combiner"]
    assert combine([parse_psbt(text) for text in case["combine"]]).to_base64() == case["result"]
    (case,) = CORE["finalizer"]
    psbt = parse_psbt(case["finalize"])
    assert all(finalize_input(psbt, index) for index in range(len(psbt.inputs)))
    assert psbt.to_base64() == case["result"]
    (case,) = CORE["extractor"]
    tx = extract(parse_psbt(case["extract"]))
    assert tx is not None
    assert tx.raw.hex() == case["result"]


@pytest.mark.parametrize("case", [case for case in CASES if "Signer" in case["section"]], ids=_id)
def test_bip174_signer_refuses(case: Any) -> None:
    psbt = parse_psbt(case["base64"])
    refused = 0
    for index in range(len(psbt.inputs)):
        try:
            sign_psbt_input(psbt, index, SigningKeys())
        except PsbtError:
            refused += 1
    assert refused


def test_core_creator() -> None:
    (case,) = CORE["creator"]
    inputs = [
        TxIn(outpoint(bytes.fromhex(one["txid"])[::-1], one["vout"]), b"", 0xFFFFFFFF) for one in case["inputs"]
    ]
    outputs = [
        TxOut(round(value * 100_000_000), address_to_script(address, BTC_REGTEST))
        for one in case["outputs"]
        for address, value in one.items()
    ]
    tx = make_tx(2, inputs, outputs)
    assert create_psbt(tx).to_base64() == case["result"]
    version_2 = create_psbt(tx, 2)
    assert decode_psbt(version_2.serialize()).unsigned_tx().txid == tx.txid
