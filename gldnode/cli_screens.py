"""Commands of gld-cli that make several calls: -generate, -getinfo, -netinfo, -stats, -revenue."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gldnode.cli_client import Answer, Client, CliError, call_when_ready
from gldnode.cli_output import pretty, print_error
from gldnode.config import Config
from gldnode.rpc.argtypes import declared_params
from gldnode.rpc.convert import convert_positional

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["show"]


def show(name: str, client: Client, config: Config, words: Sequence[str]) -> int:
    """The screen of an option, with the words behind it; the exit status. Raises CliError."""
    match name:
        case "generate":
            return _generate(client, config, words)
        case "stats":
            return _stats(client, config, words)
        case "revenue":
            return _revenue(client, config, words)
        case "netinfo":
            return _netinfo(client, config)
    if words:
        raise CliError("-getinfo takes no arguments")
    return _getinfo(client, config)


def _generate(client: Client, config: Config, words: Sequence[str]) -> int:
    """Mine blocks to a new address of the wallet: `-generate [nblocks] [maxtries]`."""
    if len(words) > 2:
        raise CliError("too many arguments (maximum 2 for nblocks and maxtries)")
    address = call_when_ready(client, config, "getnewaddress", [])
    if address.error is not None:
        return print_error(address.error)
    texts = [*(words[:1] or ["1"]), address.result, *words[1:]]
    mined = client.call("generatetoaddress", convert_positional(declared_params("generatetoaddress"), texts))
    if mined.error is not None:
        return print_error(mined.error)
    sys.stdout.write(pretty({"address": address.result, "blocks": mined.result}) + "\n")
    return 0


def _getinfo(client: Client, config: Config) -> int:
    """A screen of the node's state, from several calls."""
    chain = call_when_ready(client, config, "getblockchaininfo", [])
    if chain.error is not None:
        return print_error(chain.error)
    network = client.call("getnetworkinfo", [])
    mempool = client.call("getmempoolinfo", [])
    wallet = client.call("getwalletinfo", [])
    balances = client.call("getbalances", [])
    rows: list[tuple[str, list[tuple[str, str]]]] = []
    info = chain.result
    rows.append(
        (
            f"Chain: {info['chain']}",
            [
                ("Blocks", str(info["blocks"])),
                ("Headers", str(info["headers"])),
                ("Verification progress", f"{float(info['verificationprogress']) * 100:.4f}%"),
                ("Difficulty", str(info["difficulty"])),
            ],
        )
    )
    if isinstance(network.result, dict):
        net = network.result
        connections = (
            f"in {net.get('connections_in', 0)}, out {net.get('connections_out', 0)}, total {net['connections']}"
        )
        rows.append(
            (
                "",
                [
                    ("Network", connections),
                    ("Version", str(net["version"])),
                    ("Time offset (s)", str(net.get("timeoffset", 0))),
                    ("Min tx relay fee rate (/kvB)", str(net.get("relayfee", ""))),
                ],
            )
        )
    if isinstance(mempool.result, dict):
        rows.append(("", [("Mempool transactions", str(mempool.result["size"]))]))
    if isinstance(wallet.result, dict):
        details = [
            ("Keypool size", str(wallet.result.get("keypoolsize", ""))),
            ("Transactions", str(wallet.result.get("txcount", ""))),
        ]
        if isinstance(balances.result, dict):
            details.append(("Balance", str(balances.result["mine"]["trusted"])))
        rows.append((f"Wallet: {wallet.result.get('walletname') or '(default)'}", details))
    warnings = info.get("warnings") or []
    rows.append(("", [("Warnings", "; ".join(warnings) if isinstance(warnings, list) else str(warnings))]))
    _print_table(rows, config.get("color") or "auto")
    return 0


def _netinfo(client: Client, config: Config) -> int:
    """A screen of the node's connections."""
    info = call_when_ready(client, config, "getnetworkinfo", [])
    peers = client.call("getpeerinfo", []) if info.error is None else info
    if peers.error is not None:
        return print_error(peers.error)
    from gldnode.cli_netinfo import print_netinfo

    print_netinfo(_console(config.get("color") or "auto"), info.result, peers.result, int(time.time()))
    return 0


def _stats(client: Client, config: Config, words: Sequence[str]) -> int:
    """Payment statistics: `-stats [days] [storeid]`."""
    if len(words) > 2:
        raise CliError("too many arguments (maximum 2 for days and storeid)")
    days = words[0] if words else "30"
    names = list(words[1:])
    if not names:
        stores = call_when_ready(client, config, "liststores", [])
        if stores.error is not None:
            return print_error(stores.error)
        names = [store["storeId"] for store in stores.result]
    found = []
    for name in names:
        answer = _ask(client, config, "getstorestats", name, days)
        if answer.error is not None:
            return print_error(answer.error)
        found.append(answer.result)
    from gldnode.cli_figures import print_stats

    print_stats(_console(config.get("color") or "auto"), found)
    return 0


def _revenue(client: Client, config: Config, words: Sequence[str]) -> int:
    """Revenue over time: `-revenue [period] [days] [storeid]`."""
    if len(words) > 3:
        raise CliError("too many arguments (maximum 3 for period, days and storeid)")
    answer = _ask(client, config, "getrevenue", *words)
    if answer.error is not None:
        return print_error(answer.error)
    from gldnode.cli_figures import print_revenue

    print_revenue(_console(config.get("color") or "auto"), answer.result)
    return 0


def _console(when: str) -> "Console":
    if when not in ("always", "auto", "never"):
        raise CliError("Invalid value for -color option. Valid values: always, auto, never.")
    from rich.console import Console

    return Console(
        highlight=False,
        force_terminal=True if when == "always" else None,
        no_color=when == "never",
        soft_wrap=True,
    )


def _print_table(rows: Sequence[tuple[str, Sequence[tuple[str, str]]]], when: str) -> None:
    console = _console(when)
    from rich.markup import escape

    for heading, details in rows:
        if heading:
            console.print(f"[bold blue]{escape(heading)}[/]")
        for name, value in details:
            console.print(f"[green]{escape(name)}[/]: {escape(value) or '(none)'}")
        console.print()


def _ask(client: Client, config: Config, method: str, *texts: str) -> Answer:
    return call_when_ready(client, config, method, convert_positional(declared_params(method), texts))
