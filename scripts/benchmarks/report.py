"""Figures with their limits, printed as a table and as JSON lines."""

import json
import sys
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

__all__ = ["Figure", "print_figures"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement; `limit` is what the machine can do at best, measured in the same run."""

    name: str
    value: float
    unit: str
    limit_name: str = ""
    limit: float | None = None

    @property
    def ratio(self) -> float | None:
        """value / limit; for a duration (unit in seconds) limit / value."""
        if not self.limit or not self.value:
            return None
        return self.limit / self.value if self.unit in {"s", "ms"} else self.value / self.limit


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.2f}" if value < 100 else f"{value:,.1f}"


def print_figures(title: str, figures: list[Figure]) -> None:
    table = Table(title=title, title_justify="left")
    for column in ("figure", "measured", "unit", "limit in the same run", "share"):
        table.add_column(column, justify="right" if column in {"measured", "share"} else "left")
    for figure in figures:
        limit = f"{figure.limit_name} {_number(figure.limit)}" if figure.limit is not None else "–"
        share = f"{figure.ratio:.0%}" if figure.ratio is not None else "–"
        table.add_row(figure.name, _number(figure.value), figure.unit, limit, share)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    for figure in figures:
        print(json.dumps({"bench": title, **asdict(figure), "share": figure.ratio}))
