"""The screen of `gld-cli -netinfo`: peers, and what the node tells about its connections."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_netinfo"]

_COLUMNS = (
    "<->",
    "type",
    "net",
    "ping ms",
    "sent kB",
    "received kB",
    "blocks",
    "age min",
    "version",
    "id",
    "address",
)


def print_netinfo(console: Console, info: dict[str, Any], peers: list[dict[str, Any]], now: int) -> None:
    """`info` of getnetworkinfo, `peers` of getpeerinfo; `now` in Unix seconds."""
    console.print(f"[bold blue]{escape(str(info['subversion']))}[/] protocol {info['protocolversion']}\n")
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        left = name in ("<->", "type", "net", "version", "address")
        table.add_column(name.replace(",", " "), justify="left" if left else "right", no_wrap=True)
    for peer in sorted(peers, key=lambda one: (not one["inbound"], one["id"])):
        ping = peer.get("pingtime")
        table.add_row(
            "in" if peer["inbound"] else "out",
            escape(str(peer.get("connection_type", ""))),
            escape(str(peer.get("network", ""))),
            "" if ping is None else f"{float(ping) * 1000:.0f}",
            f"{peer['bytessent'] / 1000:.0f}",
            f"{peer['bytesrecv'] / 1000:.0f}",
            str(peer.get("synced_blocks", "")),
            f"{max(0, now - peer['conntime']) // 60}",
            escape(str(peer["subver"])),
            str(peer["id"]),
            escape(str(peer["addr"])),
        )
    if peers:
        console.print(table)
        console.print()
    console.print(
        f"in {info['connections_in']}, out {info['connections_out']}, total [bold]{info['connections']}[/]"
        + ("" if info["networkactive"] else "  [red]network activity is off[/]")
    )
    for address in info["localaddresses"]:
        console.print(f"local address {escape(str(address['address']))} port {address['port']}")
