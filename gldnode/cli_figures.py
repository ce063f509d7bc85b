"""`gld-cli -stats` and `-revenue`: what the shop took, as tables and bars in the terminal."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.bar import Bar
from rich.console import Console
from rich.table import Table

from gldnode.primitives.amount import COIN

__all__ = ["print_revenue", "print_stats"]

_BAR_WIDTH = 30


def print_stats(console: Console, stores: Sequence[Mapping[str, Any]]) -> None:
    """Answers of getstorestats: a table of stores, then how the invoices stand."""
    table = _table("Store", "Payments", "Total", "Average", "Share by method", "Invoices")
    for stats in stores:
        shares = ", ".join(f"{method['paymentMethodId']} {method['share']}%" for method in stats["methods"])
        invoices = ", ".join(f"{count} {name}" for name, count in stats["invoices"].items())
        unit = stats["currency"]
        table.add_row(
            _plain(stats["name"]),
            str(stats["count"]),
            f"{stats['total']} {unit}",
            f"{stats['average']} {unit}",
            shares or "-",
            invoices or "-",
        )
    if stores:
        first, last = (datetime.fromtimestamp(stores[0][end], UTC) for end in ("from", "to"))
        console.print(f"{first:%Y-%m-%d} to {last:%Y-%m-%d}, UTC")
    console.print(table)


def print_revenue(console: Console, revenue: Mapping[str, Any]) -> None:
    """An answer of getrevenue: a line with a bar for each period that has payments."""
    unit = revenue["currency"]
    table = _table(str(revenue["period"]).capitalize(), "Payments", f"Revenue ({unit})", "")
    amounts = [_grains(row["total"]) for row in revenue["rows"]]
    most = max(amounts, default=0)
    for row, amount in zip(revenue["rows"], amounts, strict=True):
        bar = Bar(most, 0, amount, width=_BAR_WIDTH, color="yellow")
        table.add_row(row["period"], str(row["count"]), row["total"], bar)
    table.add_section()
    table.add_row("Total", str(sum(row["count"] for row in revenue["rows"])), revenue["total"], "")
    console.print(table)


def _table(*names: str) -> Table:
    table = Table(header_style="bold blue")
    for name in names:
        is_figure = name.startswith(("Payments", "Total", "Average", "Revenue"))
        table.add_column(name, justify="right" if is_figure else "left", no_wrap=is_figure)
    return table


def _plain(text: str) -> str:
    """A shop's name without what a terminal or its markup would act on."""
    return "".join(char if char.isprintable() else "?" for char in text).replace("[", "\\[")


def _grains(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole) * COIN + int(fraction.ljust(8, "0"))
