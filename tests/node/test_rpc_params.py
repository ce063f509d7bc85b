"""Arguments of RPC methods: positions, names, types, and Core's sentences for what is wrong with them."""

from typing import Any

import pytest

from gldnode.rpc.convert import ConvertError, convert_named, convert_positional
from gldnode.rpc.errors import RpcError
from gldnode.rpc.json import JsonNumber
from gldnode.rpc.methods import full_registry
from gldnode.rpc.params import (
    amount_value,
    arr,
    boolean,
    check_arguments,
    hash_value,
    num,
    obj,
    text,
    verbosity,
)

PARAMS = [
    num("height|h", "a number", required=True),
    text("label", "a text", default="none"),
    boolean("flag", "a switch"),
    obj("options", "more", [num("depth", "a number"), text("mode", "a text")], is_options=True),
]


def check(given: Any) -> dict[str, Any]:
    return check_arguments(PARAMS, given, lambda: "HELP")


def failure(given: Any) -> tuple[int, str]:
    with pytest.raises(RpcError) as caught:
        check(given)
    return caught.value.code, caught.value.message


def test_missing_trailing_arguments_and_nulls_take_the_default() -> None:
    expected = {"height": 1, "label": "none", "flag": None, "options": None}
    assert check([1]) == expected
    assert check([1, None, None]) == expected
    assert check({"height": 1}) == expected


def test_names_aliases_and_mixed_arguments() -> None:
    assert check({"h": 2, "flag": True})["height"] == 2
    assert check({"args": [3, "x"], "flag": False})["flag"] is False
    assert check({"args": [3], "depth": 6, "mode": "m"})["options"] == {"depth": 6, "mode": "m"}
    assert check({"height": 3, "options": {"depth": 1}, "mode": "m"})["options"] == {"depth": 1, "mode": "m"}


def test_too_few_and_too_many_arguments_give_the_help() -> None:
    assert failure([]) == (-1, "HELP")
    assert failure(None) == (-1, "HELP")
    assert failure([1, "x", True, {}, 5]) == (-1, "HELP")
    assert failure({"label": "x"}) == (-1, "HELP") or failure({"label": "x"})[0] == -3


def test_wrong_names() -> None:
    assert failure({"height": 1, "wrong": 2}) == (-8, "Unknown named parameter wrong")
    assert failure({"args": [1], "height": 2}) == (
        -8,
        "Parameter height specified twice both as positional and named argument",
    )
    assert failure({"height": 1, "h": 2}) == (-8, "Parameter h specified multiple times")
    assert failure({"height": 1, "options": {"depth": 1}, "depth": 2}) == (
        -8,
        "Parameter depth specified multiple times",
    )


def test_wrong_types_are_listed_by_position() -> None:
    code, message = failure(["1", 5])
    assert code == -3
    assert message == (
        "Wrong type passed:\n{\n"
        '    "Position 1 (height|h)": "JSON value of type string is not of expected type number",\n'
        '    "Position 2 (label)": "JSON value of type number is not of expected type string"\n}'
    )


@pytest.mark.parametrize("value", [JsonNumber("1.5"), JsonNumber("1e3"), 1 << 70, -(1 << 64)])
def test_integers_are_integers(value: Any) -> None:
    assert failure([value]) == (-1, "JSON integer out of range")


@pytest.mark.parametrize(("value", "expected"), [(False, 0), (True, 1), (2, 2), (None, 1)])
def test_verbosity_takes_numbers_and_booleans(value: Any, expected: int) -> None:
    params = [verbosity("verbosity|verbose", "how much", 1)]
    assert check_arguments(params, [value], str)["verbosity"] == expected


@pytest.mark.parametrize(
    ("value", "grains"),
    [
        (1, 100_000_000),
        (JsonNumber("0.00000001"), 1),
        ("1.5", 150_000_000),
        (JsonNumber("1e-05"), 1000),
        (JsonNumber("1.25E2"), 12_500_000_000),
        (JsonNumber("-0"), 0),
    ],
)
def test_amounts_are_exact(value: Any, grains: int) -> None:
    assert amount_value(value) == grains


@pytest.mark.parametrize(
    "value",
    [
        "",
        " 1",
        "1_000",
        "0x10",
        "NaN",
        "Infinity",
        "1e999999999",
        "1e-9",
        "0.000000001",
        "١",
        "1.",
        ".5",
        "+1",
        -1,
        JsonNumber("-0.5"),
        True,
        None,
        [],
        "9" * 400,
    ],
)
def test_what_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(RpcError) as caught:
        amount_value(value)
    assert caught.value.code == -3


def test_amounts_have_a_limit() -> None:
    with pytest.raises(RpcError, match="Amount out of range"):
        amount_value("21000001", 21_000_000 * 100_000_000)


def test_hashes_have_cores_sentences() -> None:
    assert hash_value("00" * 31 + "01", "txid") == b"\x01" + bytes(31)
    with pytest.raises(RpcError, match=r"txid must be of length 64 \(not 3, for 'abc'\)"):
        hash_value("abc", "txid")
    with pytest.raises(RpcError, match=r"txid must be hexadecimal string \(not 'zz"):
        hash_value("zz" * 32, "txid")
    with pytest.raises(RpcError, match="JSON value of type number is not of expected type string"):
        hash_value(5, "txid")


def test_every_method_has_help_with_its_arguments() -> None:
    for method in full_registry().methods():
        text = method.help_text()
        assert text.startswith(method.name)
        assert method.summary.strip() in text
        for param in method.params:
            assert param.hidden or param.names[0] in text


def test_command_line_texts_become_json_by_declaration() -> None:
    params = [text("address", ""), num("count", ""), arr("list", ""), boolean("flag", "")]
    assert convert_positional(params, ["5", "6", "[1.5]", "true"])[:2] == ["5", 6]
    assert convert_named(params, ["count=7", "address=a=b", "x"]) == {"count": 7, "address": "a=b", "args": ["x"]}
    with pytest.raises(ConvertError, match="Error parsing JSON: abc"):
        convert_positional(params, ["a", "abc"])
