"""Where a path leads, found in a dictionary. aiohttp's router would try one pattern after the other.

It is made of the same table as aiohttp's router, which stays behind it: for percent escapes, methods that a path
does not have, `Expect`, pages, and everything that is not found here.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from aiohttp import web

__all__ = ["PathHandler", "RouteIndex"]

PathHandler = Callable[[web.Request, Mapping[str, str]], Awaitable[web.StreamResponse]]

_PARAMETER = re.compile(r"\{(\w+)(?::(.+))?\}")
_ESCAPED = re.compile(r"[%{}]")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One route. The lowest rank wins: aiohttp's order is by the length of the fixed beginning, then as added."""

    rank: tuple[int, int]
    parameters: tuple[tuple[int, str, "re.Pattern[str] | None"], ...]
    """Position in the path, name, and what the value must match."""
    handler: PathHandler

    def values(self, parts: list[str]) -> dict[str, str] | None:
        """The parameters' values, None where one does not match."""
        found = {}
        for position, name, pattern in self.parameters:
            value = parts[position]
            if not value or (pattern is not None and not pattern.fullmatch(value)):
                return None
            found[name] = value
        return found


@dataclass(slots=True)
class _Shape:
    """Routes of one method and number of parts with their fixed parts at the same places."""

    fixed: tuple[int, ...]
    pick: Callable[[list[str]], Any]
    """The fixed parts of a path."""
    entries: dict[Any, list[_Entry]] = field(default_factory=dict)


class RouteIndex:
    """Routes by method and path."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[str, int], list[_Shape]] = {}
        self._count = 0

    def add(self, method: str, path: str, handler: PathHandler) -> None:
        """`path` as aiohttp takes it; parameters fill whole parts."""
        parts = path.split("/")
        matches = [_PARAMETER.fullmatch(part) for part in parts]
        assert all(match or "{" not in part for part, match in zip(parts, matches, strict=True)), path
        rank = (-len(path.partition("{")[0]), self._count)
        self._count += 1
        parameters = tuple(
            (place, match[1], re.compile(match[2]) if match[2] else None)
            for place, match in enumerate(matches)
            if match
        )
        fixed = tuple(place for place, match in enumerate(matches) if not match)
        shapes = self._shapes.setdefault((method, len(parts)), [])
        shape = next((one for one in shapes if one.fixed == fixed), None)
        if shape is None:
            shape = _Shape(fixed, itemgetter(*fixed))  # never none: what stands before the first slash is fixed
            shapes.append(shape)
        shape.entries.setdefault(shape.pick(parts), []).append(_Entry(rank, parameters, handler))

    def find(self, method: str, raw_path: str) -> tuple[PathHandler, Mapping[str, str]] | None:
        """The handler of the path and its parameters' values; None: ask aiohttp's router."""
        if _ESCAPED.search(raw_path):
            return None
        parts = raw_path.split("/")
        best: _Entry | None = None
        best_values: dict[str, str] = {}
        for shape in self._shapes.get((method, len(parts)), ()):
            for entry in shape.entries.get(shape.pick(parts), ()):
                if best is None or entry.rank < best.rank:
                    values = entry.values(parts)
                    if values is not None:
                        best, best_values = entry, values
        return None if best is None else (best.handler, best_values)
