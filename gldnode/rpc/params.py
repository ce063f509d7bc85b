"""Parameters of RPC methods: their declaration, Core's rules for positions and names, and the type checks.

Core's own words (src/rpc/util.cpp, src/rpc/server.cpp) for everything a caller can do wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from gldnode.errors import DecodeError
from gldnode.primitives.amount import AmountError, parse_amount
from gldnode.primitives.hashes import from_display_hex
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import json_type

__all__ = [
    "Kind",
    "Param",
    "amount_value",
    "anything",
    "arr",
    "block_hash",
    "boolean",
    "check_arguments",
    "coin_amount",
    "hash_value",
    "hex_data",
    "hex_value",
    "integer_value",
    "num",
    "obj",
    "text",
    "txid",
    "verbosity",
]

Convert = Callable[[Any], Any]


class Kind(Enum):
    """JSON types that a parameter takes: word in the help, what Core's type error says, names of json_type."""

    STR = ("string", "string", ("string",))
    NUM = ("numeric", "number", ("number",))
    BOOL = ("boolean", "bool", ("bool",))
    AMOUNT = ("numeric or string", "number or string", ("number", "string"))
    RANGE = ("numeric or array", "number or array", ("number", "array"))
    OBJ = ("json object", "object", ("object",))
    ARR = ("json array", "array", ("array",))
    ANY = ("", "", ())
    """Not checked: the handler looks (Core: skip_type_check)."""


_PLAIN_TYPES = {Kind.STR: str, Kind.NUM: int, Kind.BOOL: bool, Kind.OBJ: dict, Kind.ARR: list}
"""What most values of a kind are, in Python."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. Build one with the functions below."""

    name: str
    """`a|b`: the first name is the handler's, the others are taken as well."""
    kind: Kind
    description: str
    required: bool = False
    default: Any = None
    convert: Convert | None = None
    inner: Sequence["Param"] = ()
    """Members of an object or array, for the help; of an `options` object also top-level names."""
    is_options: bool = False
    """An object whose members may be passed by name beside the other parameters (Core: OBJ_NAMED_PARAMS)."""
    hidden: bool = False
    type_word: str = ""
    """What the help says instead of the kind's word."""

    first_name: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "first_name", self.names[0])

    @property
    def names(self) -> list[str]:
        return self.name.split("|")

    def usage(self) -> str:
        first = self.names[0]
        if self.kind is Kind.STR:
            return f'"{first}"'
        if self.kind is Kind.OBJ:
            return "options" if self.is_options else "{...}" if not self.inner else _braces(self)
        if self.kind is Kind.ARR:
            return f"[{','.join(p.usage() for p in self.inner)},...]"
        return first

    def help_text(self, lead: str) -> str:
        word = self.type_word or self.kind.value[0] or "any"
        if self.required:
            state = "required"
        elif self.default is None:
            state = "optional"
        else:
            state = f"optional, default={msgspec.json.encode(self.default).decode()}"
        lines = [f"{lead}{self.names[0]}    ({word}, {state}) {self.description}"]
        for member in self.inner:
            lines.append(member.help_text(" " * (len(lead) + 4)))
        return "\n".join(lines)

    def check(self, value: Any) -> str | None:
        """What is wrong with the JSON type of `value`, None when nothing is."""
        if type(value) is _PLAIN_TYPES.get(self.kind):
            return None
        _, expected, names = self.kind.value
        actual = json_type(value)
        if not names or actual in names:
            return None
        return f"JSON value of type {actual} is not of expected type {expected}"


def _braces(param: Param) -> str:
    return "{" + ",".join(f'"{member.names[0]}":{member.usage()}' for member in param.inner) + "}"


def check_arguments(
    params: Sequence[Param], given: Sequence[Any] | Mapping[str, Any] | None, help_text: Callable[[], str]
) -> dict[str, Any]:
    """The handler's keyword arguments for what the caller gave by position, by name or both. Raises RpcError."""
    values = _plain_values(params, given)
    if values is None:
        values = _checked_values(params, given, help_text)
    arguments = {}
    for param, value in zip(params, values, strict=True):
        if value is None:
            value = param.default
        elif param.convert is not None:
            value = param.convert(value)
        arguments[param.first_name] = value
    return arguments


def _plain_values(
    params: Sequence[Param], given: Sequence[Any] | Mapping[str, Any] | None
) -> Sequence[Any] | None:
    """The values by position, where they were given so and nothing is wrong with them; None: look closely."""
    if given and not isinstance(given, list):
        return None
    positional: list[Any] = given or []  # type: ignore[assignment]
    missing = len(params) - len(positional)
    if missing < 0:
        return None
    values = positional + [None] * missing
    for param, value in zip(params, values, strict=True):
        if param.required if value is None else param.check(value) is not None:
            return None
    return values


def _checked_values(
    params: Sequence[Param], given: Sequence[Any] | Mapping[str, Any] | None, help_text: Callable[[], str]
) -> Sequence[Any]:
    """The values by position, in Core's order of complaints. Raises RpcError."""
    positional = _positions(params, given)
    if len(positional) > len(params):
        raise RpcError(RpcCode.MISC_ERROR, help_text())
    values = positional + [None] * (len(params) - len(positional))
    if any(param.required and value is None for param, value in zip(params, values, strict=True)):
        missing_from = next(i for i, p in enumerate(params) if p.required and values[i] is None)
        if missing_from >= len(positional):
            raise RpcError(RpcCode.MISC_ERROR, help_text())
    wrong = {}
    for position, (param, value) in enumerate(zip(params, values, strict=True), 1):
        if value is None and (not param.required or position > len(positional)):
            continue
        problem = param.check(value)
        if problem:
            wrong[f"Position {position} ({param.name})"] = problem
    if wrong:
        listing = msgspec.json.format(msgspec.json.encode(wrong), indent=4).decode()
        raise RpcError(RpcCode.TYPE_ERROR, f"Wrong type passed:\n{listing}")
    return values


def _positions(params: Sequence[Param], given: Sequence[Any] | Mapping[str, Any] | None) -> list[Any]:
    """The arguments in the declared order (Core: transformNamedArguments)."""
    if given is None:
        return []
    if not isinstance(given, Mapping):
        return list(given)
    named = dict(given)
    args = named.pop("args", [])
    if not isinstance(args, list):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Parameter args must be an array")
    out: list[Any] = list(args)
    for position, param in enumerate(params):
        found = [name for name in param.names if name in named]
        if len(found) > 1:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Parameter {found[1]} specified multiple times")
        value: Any = named.pop(found[0]) if found else None
        present = bool(found)
        if param.is_options:
            value, present = _gather_options(param, value, present, named)
        if not present:
            continue
        if position < len(args):
            label = found[0] if found else param.names[0]
            raise RpcError(
                RpcCode.INVALID_PARAMETER,
                f"Parameter {label} specified twice both as positional and named argument",
            )
        out.extend([None] * (position - len(out)))
        out.append(value)
    if named:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"Unknown named parameter {next(iter(named))}")
    return out


def _gather_options(param: Param, value: Any, present: bool, named: dict[str, Any]) -> tuple[Any, bool]:
    members: dict[str, Any] = {}
    for member in param.inner:
        for name in member.names:
            if name in named:
                if isinstance(value, dict) and name in value:
                    raise RpcError(RpcCode.INVALID_PARAMETER, f"Parameter {name} specified multiple times")
                members[member.names[0]] = named.pop(name)
    if not members:
        return value, present
    return {**(value if isinstance(value, dict) else {}), **members}, True


# --- converters, usable by handlers for members of objects too ---


def integer_value(value: Any) -> int:
    """A JSON integer. Raises RpcError for a fraction or an exponent."""
    if isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 64:
        return value
    raise RpcError(RpcCode.MISC_ERROR, "JSON integer out of range")


def hash_value(value: Any, name: str) -> bytes:
    """A hash in wire order of its reversed hex (Core: ParseHashV)."""
    if json_type(value) != "string":
        raise RpcError(RpcCode.TYPE_ERROR, f"JSON value of type {json_type(value)} is not of expected type string")
    try:
        return from_display_hex(value)
    except DecodeError as error:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"{name} {error}") from None


def hex_value(value: Any, name: str) -> bytes:
    """Bytes of hex (Core: ParseHexV)."""
    if json_type(value) != "string":
        raise RpcError(RpcCode.TYPE_ERROR, f"JSON value of type {json_type(value)} is not of expected type string")
    data = _unhex(value)
    if data is None:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"{name} must be hexadecimal string (not '{value[:200]}')")
    return data


def _unhex(value: str) -> bytes | None:
    if not value.isascii() or len(value) % 2:
        return None
    try:
        data = bytes.fromhex(value)
    except ValueError:
        return None
    return data if len(data) * 2 == len(value) else None  # fromhex skips blanks


_MAX_AMOUNT = 92_233_720_368 * 100_000_000  # signed 64 bits, as Core's ParseFixedPoint


def amount_value(value: Any, limit: int | None = None) -> int:
    """Grains of an amount given as number or string (Core: AmountFromValue). `limit`: the network's max_money."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise RpcError(RpcCode.TYPE_ERROR, "Amount is not a number or string")
    token = _plain_decimal(str(value))
    if token.startswith("-") and token.strip("-0.") != "":
        raise RpcError(RpcCode.TYPE_ERROR, "Amount out of range")
    try:
        grains = parse_amount(token.removeprefix("-"), _MAX_AMOUNT)
    except AmountError:
        raise RpcError(RpcCode.TYPE_ERROR, "Invalid amount") from None
    if limit is not None and grains > limit:
        raise RpcError(RpcCode.TYPE_ERROR, "Amount out of range")
    return int(grains)


def _plain_decimal(token: str) -> str:
    """`token` without its exponent, when it has one that a client's float printer would write (1e-05)."""
    mantissa, mark, exponent = token.lower().partition("e")
    if not mark:
        return token
    digits = exponent.lstrip("+-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 2 or len(mantissa) > 24:
        return token
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    if not (whole + fraction).isascii() or not (whole + fraction).isdigit():
        return token
    shift = -int(digits) if exponent.startswith("-") else int(digits)
    all_digits, point = whole + fraction, len(whole) + shift
    if point <= 0:
        all_digits, point = "0" * (1 - point) + all_digits, 1
    all_digits = all_digits.ljust(point, "0")
    fraction = all_digits[point:].rstrip("0")
    sign = "-" if token.startswith("-") else ""
    return f"{sign}{all_digits[:point].lstrip('0') or '0'}" + (f".{fraction}" if fraction else "")


# --- declarations ---


def num(
    name: str, description: str, *, required: bool = False, default: Any = None, hidden: bool = False
) -> Param:
    """An integer."""
    return Param(name, Kind.NUM, description, required, default, integer_value, hidden=hidden)


def text(
    name: str, description: str, *, required: bool = False, default: Any = None, hidden: bool = False
) -> Param:
    """A string."""
    return Param(name, Kind.STR, description, required, default, hidden=hidden)


def boolean(name: str, description: str, *, required: bool = False, default: Any = None) -> Param:
    return Param(name, Kind.BOOL, description, required, default)


def _hash_param(name: str, label: str, description: str, required: bool) -> Param:
    return Param(name, Kind.STR, description, required, None, lambda value: hash_value(value, label))


def block_hash(name: str, description: str, *, required: bool = False) -> Param:
    """A block hash; the handler gets wire order."""
    return _hash_param(name, name.split("|")[0], description, required)


def txid(name: str, description: str, *, required: bool = False) -> Param:
    """A transaction id; the handler gets wire order."""
    return _hash_param(name, name.split("|")[0], description, required)


def hex_data(name: str, description: str, *, required: bool = False) -> Param:
    """Bytes as hex, passed on as text: methods have their own sentence for bad hex (`hex_value` has Core's)."""
    return Param(name, Kind.STR, description, required)


def coin_amount(name: str, description: str, *, required: bool = False, default: Any = None) -> Param:
    """An amount of coins; the handler gets grains."""
    return Param(name, Kind.AMOUNT, description, required, default, amount_value)


def obj(
    name: str,
    description: str,
    inner: Sequence[Param] = (),
    *,
    required: bool = False,
    is_options: bool = False,
) -> Param:
    """An object, passed as a dict of unread JSON. `is_options`: its members may stand beside the parameters."""
    return Param(name, Kind.OBJ, description, required, None, None, tuple(inner), is_options)


def arr(name: str, description: str, inner: Sequence[Param] = (), *, required: bool = False) -> Param:
    """An array, passed as a list of unread JSON."""
    return Param(name, Kind.ARR, description, required, None, None, tuple(inner))


def anything(name: str, description: str, *, required: bool = False, default: Any = None, word: str = "") -> Param:
    """A value of more than one type, checked by the handler."""
    return Param(name, Kind.ANY, description, required, default, type_word=word)


def verbosity(name: str, description: str, default: int, *, allow_bool: bool = True) -> Param:
    """Core's verbosity: a small number, or false/true for 0/1 (ParseVerbosity)."""

    def convert(value: Any) -> int:
        if isinstance(value, bool):
            if not allow_bool:
                raise RpcError(RpcCode.TYPE_ERROR, "Verbosity was boolean but only integer allowed")
            return int(value)
        if not isinstance(value, int):
            kind = json_type(value)
            if kind == "number":
                raise RpcError(RpcCode.MISC_ERROR, "JSON integer out of range")
            raise RpcError(RpcCode.TYPE_ERROR, f"JSON value of type {kind} is not of expected type number")
        return integer_value(value)

    return Param(name, Kind.ANY, description, False, default, convert, type_word="numeric")
