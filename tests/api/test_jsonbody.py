"""JSON from strangers, before anything looks at it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import ApiError
from api.fields import amount_text, duration, json_object
from api.jsonbody import JsonError, check_json, decode_model


class Inner(msgspec.Struct, rename="camel"):
    deep_name: int | None = None


class Outer(msgspec.Struct, rename="camel"):
    first_name: str
    inner: Inner | None = None
    items: list[Inner] | None = None
    amount: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def test_names_match_without_case_at_every_level() -> None:
    body = b'{"FIRSTNAME": "a", "Inner": {"DEEPname": 1, "x": 2}, "iTems": [{"deepname": 3}], "unknown": [1]}'
    assert decode_model(body, Outer) == Outer("a", Inner(1), [Inner(3)])


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"{}", "firstName"),
        (b'{"firstName": 5}', "firstName"),
        (b'{"firstName": "a", "inner": {"deepName": "x"}}', "inner.deepName"),
        (b'{"firstName": "a", "inner": 5}', "inner"),
        (b'{"firstName": "a", "items": [{}, {"deepName": "x"}]}', "items[1].deepName"),
        (b'{"firstName": "a", "firstname": "b"}', "firstName"),
        (b'{"firstName": "a", "firstName": "b"}', "firstName"),
        (b'{"firstName": "a", "z": {"q": 1, "q": 2}}', "q"),
        (b"[]", ""),
        (b'"text"', ""),
    ],
)
def test_what_does_not_fit_is_told_with_its_path(body: bytes, path: str) -> None:
    with pytest.raises(JsonError) as caught:
        decode_model(body, Outer)
    assert caught.value.path == path


def test_depth_counts_brackets_outside_strings_only() -> None:
    check_json(b'"' + b"[" * 1000 + b'"')
    check_json(b'{"a\\"[[[": "]]]{{{"}')
    check_json(b"[" * 32 + b"]" * 32)
    with pytest.raises(JsonError):
        check_json(b"[" * 33 + b"]" * 33)


def test_whole_pairs_of_surrogates_are_text() -> None:
    check_json(b'"\\ud83d\\ude00"')
    for half in (b'"\\ud83d"', b'"\\ude00"', b'"\\ude00\\ud83d"', b'{"\\ud83d": 1}', b'["\\uDBFF"]'):
        with pytest.raises(JsonError):
            check_json(half)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_are_json_or_a_json_error(body: bytes) -> None:
    try:
        check_json(body)
    except JsonError:
        return
    msgspec.json.decode(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(JSON)
@settings(max_examples=300)
def test_any_value_in_any_place_is_taken_or_refused(value: object) -> None:
    for body in ({"firstName": value}, {"firstName": "a", "inner": value, "items": value, "amount": value}, value):
        try:
            raw = msgspec.json.encode(body)
        except (ValueError, UnicodeEncodeError):
            continue
        try:
            made = decode_model(raw, Outer)
            amount_text(made.amount, "amount")
            json_object(made.amount, "amount")
            duration(made.amount, "amount")
        except (JsonError, ApiError):
            continue
