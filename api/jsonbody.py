"""JSON from strangers: bounded before it is looked at, exact where it counts.

msgspec alone takes duplicate keys, and its `Decimal` takes what is no amount. So a body is first checked whole
(size, depth, duplicate keys, lone surrogates, number syntax) and then read into a model, whose amounts are
`msgspec.Raw`: the token as it was written, for `parse_amount` and nobody else.
"""

import json
import re
from functools import cache
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import msgspec

from gldnode.errors import DecodeError

__all__ = ["MAX_BODY_BYTES", "MAX_DEPTH", "JsonError", "check_json", "decode_model", "raw_text"]

MAX_BODY_BYTES = 256 * 1024
MAX_DEPTH = 32
_MAX_NUMBER_CHARS = 64

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_JSON_PATH = re.compile(r"^(?P<message>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)

_MISSING = re.compile(r"Object missing required field `([^`]*)`")

M = TypeVar("M")


class JsonError(DecodeError):
    """A body that is not the JSON asked for. `path` is the property's path, "" for the whole."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


def check_json(body: bytes, max_bytes: int = MAX_BODY_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Raises JsonError for what is not one bounded JSON value (RFC 8259) without ambiguities.

    What it returns is for its property names only: numbers are not read.
    """
    if len(body) > max_bytes:
        raise JsonError("", f"The body is larger than {max_bytes} bytes.")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise JsonError("", "The body is not UTF-8.") from error
    if body.count(b"{") + body.count(b"[") > max_depth:
        _check_depth(body, max_depth)
    try:
        value = _scan(text)
    except RecursionError as error:  # pragma: no cover - the depth check comes first
        raise JsonError("", "The JSON is nested too deeply.") from error
    except json.JSONDecodeError as error:
        raise JsonError("", f"The body is not JSON: {error.msg} at position {error.pos}.") from error
    if _SURROGATE.search(body):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise JsonError("", "A string has half of a surrogate pair.") from error
    return value


def decode_model(body: bytes, model: type[M], max_bytes: int = MAX_BODY_BYTES) -> M:
    """`body` as `model`; property names match without regard to case, unknown ones are dropped.

    Raises JsonError.
    """
    value = check_json(body, max_bytes)
    try:
        decoder: msgspec.json.Decoder[M] = _decoder(model)  # type: ignore[arg-type]  # a type can be hashed
        return decoder.decode(body if _is_canonical(value, model) else _canonical(body, model))
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise _as_json_error(error) from error
    except RecursionError as error:  # pragma: no cover - the depth check comes first
        raise JsonError("", "The JSON is nested too deeply.") from error


def _scan(text: str) -> Any:
    """`_SCANNER.decode`, without its two regular expressions where the text is the value and nothing else."""
    try:
        value, end = _SCANNER.raw_decode(text)
    except json.JSONDecodeError:
        end = -1
    return value if end == len(text) else _SCANNER.decode(text)


def raw_text(raw: msgspec.Raw | bytes, path: str) -> str | None:
    """The text of a JSON string or number token, None for null. Raises JsonError for another kind."""
    token = bytes(raw).strip()
    if token == b"null":
        return None
    if token.startswith(b'"'):
        return _TEXT.decode(token)
    if token[:1] in b"-0123456789":
        return token.decode()
    raise JsonError(path, "Expected a number or a string.")


def _check_depth(body: bytes, max_depth: int) -> None:
    depth = 0
    for byte in _STRING.sub(b"", body):
        if byte in b"[{":
            depth += 1
            if depth > max_depth:
                raise JsonError("", f"The JSON is nested more than {max_depth} deep.")
        elif byte in b"]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise JsonError(_printable(name), "The property appears twice.")
            seen.add(name)
    return made


def _printable(name: str) -> str:
    return name[:64].encode("utf-8", "replace").decode()


def _refuse_constant(name: str) -> NoReturn:
    raise JsonError("", f"The body is not JSON: {name} is not a number.")


def _check_number(token: str) -> int:
    if len(token) > _MAX_NUMBER_CHARS:
        raise JsonError("", f"A number has more than {_MAX_NUMBER_CHARS} characters.")
    return 0


_SCANNER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_check_number, parse_float=_check_number
)
_TEXT = msgspec.json.Decoder(str)


@cache
def _decoder(model: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(model)


def _as_json_error(error: Exception) -> JsonError:
    match = _JSON_PATH.match(str(error))
    assert match is not None
    path = (match["path"] or "").removeprefix("$").removeprefix(".")
    missing = _MISSING.match(match["message"])
    if missing is not None:
        return JsonError(f"{path}.{missing[1]}" if path else missing[1], "The property is required.")
    return JsonError(path, match["message"].replace("`", "'"))


@cache
def _names(model: Any) -> tuple[frozenset[str] | None, dict[str, Any]]:
    """A struct's property names as encoded, and those with a struct inside, with it; None: no struct."""
    if not isinstance(model, type) or not issubclass(model, msgspec.Struct):
        return None, {}
    fields = _fields(model).values()
    return frozenset(name for name, _ in fields), {name: inner for name, inner in fields if inner is not None}


@cache
def _fields(model: type) -> dict[str, tuple[str, Any]]:
    """Per lower-case property name: the name as encoded and the struct inside the property's type, if any."""
    return {
        field.encode_name.lower(): (field.encode_name, _struct_in(field.type))
        for field in msgspec.structs.fields(model)
    }


def _struct_in(annotation: Any) -> Any:
    """`S` of S, S | None or `list[S]` of list[S] | None where S is a Struct; otherwise None."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    if get_origin(annotation) is list:
        inner = _struct_in(get_args(annotation)[0])
        return list[inner] if isinstance(inner, type) else None  # type: ignore[valid-type]
    for option in get_args(annotation):
        found = _struct_in(option)
        if found is not None:
            return found
    return None


def _is_canonical(value: Any, model: Any) -> bool:
    """Whether the property names in `value` that the model has, without regard to case, are spelled as in it."""
    if isinstance(value, list):
        items = get_args(model)
        return not items or get_origin(model) is not list or all(_is_canonical(one, items[0]) for one in value)
    if not isinstance(value, dict):
        return True
    names, nested = _names(model)
    if names is None:
        return True
    if not value.keys() <= names:
        fields = _fields(model)
        for name in value.keys() - names:
            if name.lower() in fields:
                return False
    given = nested.keys() & value.keys()
    return not given or all(_is_canonical(value[name], nested[name]) for name in given)


def _canonical(raw: bytes, model: Any) -> bytes:
    """`raw` with the model's own spelling of property names, wherever `raw` has the model's shape."""
    if get_origin(model) is list:
        items = msgspec.json.decode(raw, type=list[msgspec.Raw])
        return msgspec.json.encode([msgspec.Raw(_canonical_inner(item, get_args(model)[0])) for item in items])
    if not (isinstance(model, type) and issubclass(model, msgspec.Struct)):
        return raw
    fields = _fields(model)
    found: dict[str, msgspec.Raw] = {}
    for name, value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items():
        known = fields.get(name.lower())
        if known is None:
            continue
        encoded, inner = known
        if encoded in found:
            raise JsonError(encoded, "The property appears twice.")
        found[encoded] = value if inner is None else msgspec.Raw(_canonical_inner(value, inner))
    return msgspec.json.encode(found)


def _canonical_inner(raw: msgspec.Raw, model: Any) -> bytes:
    try:
        return _canonical(bytes(raw), model)
    except msgspec.ValidationError:  # another shape: the decode of the whole says so, with its path
        return bytes(raw)
