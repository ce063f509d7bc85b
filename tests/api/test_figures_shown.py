"""Figures on the command line: tables and bars."""

import io

from rich.console import Console

from gldnode.cli_figures import print_revenue, print_stats


def test_revenue_is_a_table_with_bars() -> None:
    out = io.StringIO()
    rows = [
        {"period": "2026-11-20", "start": 0, "count": 1, "total": "1.5"},
        {"period": "2026-11-21", "start": 0, "count": 2, "total": "3"},
    ]
    answer = {"period": "day", "currency": "GLD", "rows": rows, "total": "4.5"}
    print_revenue(Console(file=out, width=100), answer)
    lines = out.getvalue().splitlines()
    half, full = (next(line for line in lines if day in line).count("█") for day in ("11-20", "11-21"))
    assert (half, full) == (15, 30)
    assert any("Total" in line and "4.5" in line and "3" in line for line in lines)


def test_statistics_are_a_table_of_stores() -> None:
    out = io.StringIO()
    method = {"paymentMethodId": "GLD-CHAIN", "count": 2, "total": "3.75", "average": "1.875", "share": "100"}
    stats = {"name": "[red]Shop\x1b", "from": 0, "to": 86399, "currency": "GLD", "count": 2, "total": "3.75"}
    stats |= {"average": "1.875", "methods": [method], "invoices": {"New": 1, "Settled": 2}}
    print_stats(Console(file=out, width=140), [stats])
    text = out.getvalue()
    for part in ("1970-01-01 to 1970-01-01", "[red]Shop?", "3.75 GLD", "GLD-CHAIN 100%", "1 New, 2 Settled"):
        assert part in text
