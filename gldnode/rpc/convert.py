"""From the texts of a command line to JSON arguments, by the methods' declarations (Core: rpc/client.cpp)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gldnode.rpc.json import JsonNumber, decode, encode, raw_number
from gldnode.rpc.params import Kind, Param

if TYPE_CHECKING:
    from gldnode.rpc.registry import Method

__all__ = ["ConvertError", "convert_argument", "convert_named", "convert_positional", "curl_params", "split_line"]


class ConvertError(Exception):
    """An argument that should be JSON and is not."""


def convert_argument(param: Param | None, value: str) -> Any:
    """`value` as the JSON that `param` takes: text stays text, everything else is read as JSON.

    Where a parameter takes text too (an amount, a hash or a height), what is no JSON is text.
    """
    if param is None or param.kind is Kind.STR:
        return value
    try:
        return _as_sent(decode(value.encode()))
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        if param.kind in (Kind.ANY, Kind.AMOUNT):
            return value
        raise ConvertError(f"Error parsing JSON: {value}") from None


def _as_sent(value: Any) -> Any:
    """Numbers with a fraction go out with the digits that came in."""
    if isinstance(value, JsonNumber):
        return raw_number(value)
    if isinstance(value, list):
        return [_as_sent(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_sent(item) for key, item in value.items()}
    return value


def convert_positional(params: Sequence[Param] | None, values: Sequence[str]) -> list[Any]:
    """Arguments by position; an unknown method's (`params` None) stay texts."""
    known: Sequence[Param] = params or ()
    return [
        convert_argument(known[index] if index < len(known) else None, value) for index, value in enumerate(values)
    ]


def convert_named(params: Sequence[Param] | None, values: Sequence[str]) -> dict[str, Any]:
    """Arguments as `name=value`; those without `=` are positional, under "args"."""
    by_name: dict[str, Param] = {}
    for param in params or ():
        for member in (*param.inner, param) if param.is_options else (param,):
            by_name.update(dict.fromkeys(member.names, member))
    named: dict[str, Any] = {}
    positional: list[str] = []
    for text in values:
        name, equals, value = text.partition("=")
        if equals:
            named[name] = convert_argument(by_name.get(name), value)
        else:
            positional.append(text)
    if positional:
        named["args"] = convert_positional(params, positional)
    return named


def split_line(line: str) -> list[str]:
    """Words of a shell-like line: blanks separate, single and double quotes hold together."""
    import shlex

    return shlex.split(line)


def curl_params(method: "Method", arguments: str) -> str:
    """The JSON array that `arguments`, typed behind the method on the command line, stands for."""
    return encode(convert_positional(method.params, split_line(arguments))).decode()
