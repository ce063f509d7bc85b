"""`gld-cli`: a work-alike of bitcoin-cli for this node, and for any other with Core's RPC.

Exit status: 0; 1 when the node cannot be reached or the command line is wrong; N for the RPC error -N. A string
result is printed bare, null as nothing, everything else as indented JSON.
"""

import base64
import getpass
import http.client
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from gldnode.config import Config, ConfigError, load_config
from gldnode.options import known_keys
from gldnode.params import NETWORKS
from gldnode.rpc.argtypes import declared_params, method_names
from gldnode.rpc.convert import ConvertError, convert_named, convert_positional
from gldnode.rpc.json import JsonNumber, decode, encode

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["main"]

IN_WARMUP: Final = -28
WALLET_NOT_SPECIFIED: Final = -19
CLI_KEYS: Final = frozenset(
    {
        "anchor",
        "color",
        "completion",
        "generate",
        "getinfo",
        "headers",
        "named",
        "netinfo",
        "revenue",
        "rpcclienttimeout",
        "rpcconnect",
        "rpcwait",
        "rpcwaittimeout",
        "rpcwallet",
        "stats",
        "stdin",
        "stdinrpcpass",
        "stdinwalletpassphrase",
    }
)
HELP: Final = """\
Usage:  gld-cli [options] <command> [params]  Send command to the node
or:     gld-cli [options] -named <command> [name=value]...  Send command with named arguments
or:     gld-cli [options] help                List commands
or:     gld-cli [options] help <command>      Get help for a command

Options:

  -anchor=<height:hash>  A block you trust, with which -headers begins (default: genesis)
  -chain=<name>          main, test, regtest or btc-regtest (default: main); also -regtest, -testnet, -btc-regtest
  -color=<when>          Colour of -getinfo, -netinfo, -revenue, -stats: always, auto, never (default: auto)
  -completion            Print a completion script for bash
  -conf=<file>           Configuration file (default: gldnode.conf in the data folder)
  -datadir=<dir>         Data folder (default: ~/.gldnode)
  -generate              Mine to a new address of the wallet: -generate [nblocks] [maxtries]
  -getinfo               Get general information from the node
  -headers=<file>        Check a receipt without a node: verifyreceipt FILE against these headers
  -netinfo               Show the node's connections
  -named                 Pass named instead of positional arguments (default: 0)
  -revenue               Show what the shops took: -revenue [day|week|month] [days] [storeid]
  -rpcclienttimeout=<n>  Timeout in seconds of a request, 0 for none (default: 900)
  -rpcconnect=<ip>       Send commands to the node at this address (default: 127.0.0.1)
  -rpccookiefile=<file>  Location of the authentication cookie
  -rpcpassword=<pw>      Password for RPC
  -rpcport=<port>        The node's HTTP port
  -rpcuser=<user>        User name for RPC
  -rpcwait               Wait for the node to start
  -rpcwaittimeout=<n>    Seconds that -rpcwait waits, 0 for ever (default: 0)
  -rpcwallet=<name>      Send RPC to this wallet
  -stats                 Show payment statistics of every store, or one: -stats [days] [storeid]
  -stdin                 Read extra arguments from standard input, one a line, until EOF
  -stdinrpcpass          Read the RPC password from standard input, one line
  -stdinwalletpassphrase Read the wallet passphrase from standard input, one line
"""
COMPLETION: Final = """\
# bash completion for gld-cli: eval "$(gld-cli -completion)"
_gld_cli() {
    local word="${COMP_WORDS[COMP_CWORD]}"
    if [[ "$word" == -* ]]; then
        COMPREPLY=($(compgen -W "@OPTIONS@" -- "$word"))
    else
        COMPREPLY=($(compgen -W "@METHODS@" -- "$word"))
    fi
}
complete -o default -F _gld_cli gld-cli
"""


class CliError(Exception):
    """Why the command could not be carried out; exit status 1."""


class NotConnected(CliError):
    """The node does not answer (yet): with -rpcwait tried again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One JSON-RPC answer."""

    result: Any
    error: Any


class Client:
    """Calls a node over HTTP."""

    def __init__(self, config: Config, password: str | None) -> None:
        self._config = config
        self._password = password
        self._host, self._port = _endpoint(config)
        timeout = config.get_int("rpcclienttimeout", 900, least=0)
        self._timeout = timeout or None

    def call(self, method: str, params: Any) -> Answer:
        """Raises NotConnected, CliError."""
        body = encode({"jsonrpc": "1.0", "id": 1, "method": method, "params": params})
        path = "/"
        wallet = self._config.get("rpcwallet")
        if wallet is not None and not self._config.is_negated("rpcwallet"):
            path = f"/wallet/{quote(wallet, safe='')}"
        headers = {
            "Content-Type": "application/json",
            "Authorization": "Basic " + base64.b64encode(self._credentials().encode()).decode(),
        }
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NotConnected(
                f"Could not connect to the server {self._host}:{self._port}\n\n"
                "Make sure the gldnode server is running and that you are connecting to the correct RPC port.\n"
                f'Use "gld-cli -help" for more info. ({error or type(error).__name__})'
            ) from None
        finally:
            connection.close()
        return self._read(response.status, data)

    def _read(self, status: int, data: bytes) -> Answer:
        if status == 401:
            if self._password is None and not self._config.get("rpcpassword") and not self._cookie().is_file():
                raise NotConnected(
                    "Could not locate RPC credentials. No authentication cookie could be found, and RPC "
                    "password is "
                    f"not set.  See -rpcpassword and -stdinrpcpass.  Configuration file: "
                    f"({self._config.conf_file})"
                )
            raise CliError("Authorization failed: Incorrect rpcuser or rpcpassword")
        if status == 503:
            raise CliError(f"Server response: {data.decode(errors='replace')}")
        if status >= 400 and status not in (400, 404, 500):
            raise CliError(f"server returned HTTP error {status}")
        if not data:
            raise CliError("no response from server")
        try:
            reply = decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise CliError("couldn't parse reply from server") from None
        if not isinstance(reply, dict) or "result" not in reply:
            raise CliError("expected reply to have result, error and id properties")
        return Answer(reply.get("result"), reply.get("error"))

    def _cookie(self) -> Path:
        return self._config.get_path("rpccookiefile", ".cookie") or self._config.data_dir / ".cookie"

    def _credentials(self) -> str:
        password = self._password if self._password is not None else self._config.get("rpcpassword")
        if password:
            return f"{self._config.get('rpcuser') or ''}:{password}"
        try:
            return self._cookie().read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return ":"  # the node answers 401, or is not there at all


def _endpoint(config: Config) -> tuple[str, int]:
    """Where the node is: a port in -rpcconnect, then -rpcport, then the network's."""
    port = config.get_int("rpcport", NETWORKS[config.network].http_port, least=1, most=65535)
    host = config.get("rpcconnect") or "127.0.0.1"
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        given = rest.removeprefix(":")
    elif host.count(":") == 1:
        host, _, given = host.partition(":")
    else:
        given = ""
    if given:
        if not given.isascii() or not given.isdigit() or not 0 < int(given) < 65536:
            raise CliError(f"Invalid port provided in -rpcconnect: {config.get('rpcconnect')}")
        port = int(given)
    return host, port


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    flags = _leading_flags(arguments)
    try:
        return _run(flags, arguments[len(flags) :])
    except (CliError, ConfigError, ConvertError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _leading_flags(arguments: Sequence[str]) -> list[str]:
    flags = []
    for word in arguments:
        if not word.startswith("-") or word in ("-", "--"):
            break
        flags.append(word)
    return flags


def _run(flags: Sequence[str], words: Sequence[str]) -> int:
    names = {flag.lstrip("-").partition("=")[0] for flag in flags}
    if names & {"help", "h", "?"} or (not words and not names & (CLI_KEYS | {"version"})):
        sys.stdout.write(HELP)
        return 0 if names & {"help", "h", "?"} else _too_few()
    if "version" in names:
        from importlib.metadata import version

        sys.stdout.write(f"Gold-Coin RPC client version v{version('gldnode')}\n")
        return 0
    if "completion" in names:
        sys.stdout.write(_completion())
        return 0
    config = load_config(
        flags,
        known_keys() | CLI_KEYS,
        NETWORKS,
        default_base=Path.home() / ".gldnode",
        compat_networks=[name for name, params in NETWORKS.items() if params.is_bitcoin],
    )
    mistyped = sorted(config.flags.keys() & set(config.ignored))
    if mistyped:  # only a bitcoin.conf may hold what means nothing here
        raise ConfigError(f"Error parsing command line arguments: Invalid parameter -{mistyped[0]}")
    password = None
    if config.get_bool("stdinrpcpass"):
        password = _secret_line("RPC password> ")
    arguments = list(words)
    if config.get_bool("stdinwalletpassphrase"):
        if not arguments or not arguments[0].startswith("walletpassphrase"):
            raise CliError("-stdinwalletpassphrase is only applicable for walletpassphrase(change)")
        arguments.insert(1, _secret_line("Wallet passphrase> "))
    if config.get_bool("stdin"):
        arguments += [line.rstrip("\r\n") for line in sys.stdin]
    client = Client(config, password)
    if config.get_bool("getinfo"):
        if arguments:
            raise CliError("-getinfo takes no arguments")
        return _getinfo(client, config)
    if config.get_bool("netinfo"):
        return _netinfo(client, config)
    if config.get_bool("generate"):
        return _generate(client, config, arguments)
    if config.get_bool("stats"):
        return _stats(client, config, arguments)
    if config.get_bool("revenue"):
        return _revenue(client, config, arguments)
    if not arguments:
        raise CliError("too few parameters (need at least command)")
    if arguments[0] == "verifyreceipt":
        arguments, headers, anchor = _receipt_options(arguments, config)
        if headers is not None:
            return _verify_offline(arguments, config, headers, anchor)
    return _print_answer(_call(client, config, arguments))


def _too_few() -> int:
    sys.stderr.write("error: too few parameters (need at least command)\n")
    return 1


def _secret_line(prompt: str) -> str:
    """One line of standard input, not shown at a terminal."""
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    line = sys.stdin.readline()
    if not line:
        raise CliError("specified to read a secret from standard input, but failed to read it")
    return line.rstrip("\r\n")


def _call(client: Client, config: Config, words: Sequence[str]) -> Answer:
    method, texts = words[0], list(words[1:])
    if method == "verifyreceipt" and texts and not config.get_bool("named"):
        texts[0] = _receipt_text(texts[0])
    declared = declared_params(method)
    named = config.get_bool("named")
    params = convert_named(declared, texts) if named else convert_positional(declared, texts)
    return _wait(client, config, method, params)


def _wait(client: Client, config: Config, method: str, params: Any) -> Answer:
    """Call; with -rpcwait until the node answers and has loaded."""
    wait = config.get_bool("rpcwait")
    limit = config.get_int("rpcwaittimeout", 0, least=0)
    end = time.monotonic() + limit if limit else None
    while True:
        try:
            answer = client.call(method, params)
            if not wait or not isinstance(answer.error, dict) or answer.error.get("code") != IN_WARMUP:
                return answer
            if end is not None and time.monotonic() >= end:
                return answer
        except NotConnected as error:
            if not wait:
                raise
            if end is not None and time.monotonic() >= end:
                raise CliError(f"timeout on transient error: {error}") from None
        time.sleep(0.2)


def _print_answer(answer: Answer) -> int:
    if answer.error is not None:
        return _print_error(answer.error)
    if answer.result is None:
        return 0
    if type(answer.result) is str:
        sys.stdout.write(answer.result + "\n")
    else:
        sys.stdout.write(_pretty(answer.result) + "\n")
    sys.stdout.flush()
    return 0


def _pretty(value: Any) -> str:
    if type(value) is JsonNumber:
        return str(value)
    return msgspec.json.format(encode(value), indent=2).decode()


def _print_error(error: Any) -> int:
    """Core's two lines; the exit status is the code's absolute value, as the shell takes it."""
    if not isinstance(error, dict) or not isinstance(error.get("code"), int):
        sys.stderr.write(f"error: {_pretty(error)}\n")
        return 1
    code, message = error["code"], error.get("message")
    sys.stderr.write(f"error code: {code}\n")
    if isinstance(message, str):
        sys.stderr.write(f"error message:\n{message}\n")
    if code == WALLET_NOT_SPECIFIED:
        sys.stderr.write('Try adding "-rpcwallet=<filename>" option to gld-cli command line.\n')
    return abs(code) % 256 or 1


# --- receipts ---


def _receipt_options(words: list[str], config: Config) -> tuple[list[str], str | None, str | None]:
    """`verifyreceipt FILE` with -headers and -anchor, which may stand behind the file too."""
    found: dict[str, str | None] = {"headers": config.get("headers"), "anchor": config.get("anchor")}
    kept: list[str] = []
    waiting = iter(words)
    for word in waiting:
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or name not in found:
            kept.append(word)
            continue
        found[name] = value if equals else next(waiting, "")
    return kept, found["headers"], found["anchor"]


def _receipt_text(name: str) -> str:
    """What the file has; a receipt given as text stays."""
    if name.lstrip().startswith("{"):
        return name
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"the receipt cannot be read: {error}") from None


def _verify_offline(words: Sequence[str], config: Config, headers: str, anchor: str | None) -> int:
    """Against a file of headers alone; exit status 1 for a receipt that proves nothing."""
    from gldnode.headerfile import HeadersFault, parse_anchor, read_headers
    from payments.receipts import ReceiptError, parse_receipt, verify_receipt

    if len(words) != 2:
        raise CliError("verifyreceipt takes the receipt's file")
    params = NETWORKS[config.network]
    receipt = _receipt_text(words[1]).encode()
    try:
        chain = read_headers(Path(headers).read_bytes(), params, parse_anchor(anchor) if anchor else None)
        findings = list(verify_receipt(parse_receipt(receipt), params, chain.height_of, chain.tip_height))
    except OSError as error:
        raise CliError(f"the headers cannot be read: {error}") from None
    except (ReceiptError, HeadersFault) as error:
        sys.stdout.write(_pretty({"valid": False, "findings": [str(error)]}) + "\n")
        return 1
    sys.stdout.write(_pretty({"valid": True, "findings": findings}) + "\n")
    return 0


# --- -generate, -getinfo, -stats, -revenue and -completion ---


def _generate(client: Client, config: Config, words: Sequence[str]) -> int:
    """Mine blocks to a new address of the wallet: `-generate [nblocks] [maxtries]`."""
    if len(words) > 2:
        raise CliError("too many arguments (maximum 2 for nblocks and maxtries)")
    address = _wait(client, config, "getnewaddress", [])
    if address.error is not None:
        return _print_error(address.error)
    texts = [*(words[:1] or ["1"]), address.result, *words[1:]]
    mined = client.call("generatetoaddress", convert_positional(declared_params("generatetoaddress"), texts))
    if mined.error is not None:
        return _print_error(mined.error)
    sys.stdout.write(_pretty({"address": address.result, "blocks": mined.result}) + "\n")
    return 0


def _getinfo(client: Client, config: Config) -> int:
    """A screen of the node's state, from several calls."""
    chain = _wait(client, config, "getblockchaininfo", [])
    if chain.error is not None:
        return _print_error(chain.error)
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
    info = _wait(client, config, "getnetworkinfo", [])
    peers = client.call("getpeerinfo", []) if info.error is None else info
    if peers.error is not None:
        return _print_error(peers.error)
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
        stores = _wait(client, config, "liststores", [])
        if stores.error is not None:
            return _print_error(stores.error)
        names = [store["storeId"] for store in stores.result]
    found = []
    for name in names:
        answer = _call(client, config, ["getstorestats", name, days])
        if answer.error is not None:
            return _print_error(answer.error)
        found.append(answer.result)
    from gldnode.cli_figures import print_stats

    print_stats(_console(config.get("color") or "auto"), found)
    return 0


def _revenue(client: Client, config: Config, words: Sequence[str]) -> int:
    """Revenue over time: `-revenue [period] [days] [storeid]`."""
    if len(words) > 3:
        raise CliError("too many arguments (maximum 3 for period, days and storeid)")
    answer = _call(client, config, ["getrevenue", *words])
    if answer.error is not None:
        return _print_error(answer.error)
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


def _completion() -> str:
    options = " ".join(
        sorted(f"-{key}" for key in CLI_KEYS | {"regtest", "testnet", "chain=", "datadir=", "rpcport="})
    )
    return COMPLETION.replace("@OPTIONS@", options).replace("@METHODS@", " ".join(method_names()))


if __name__ == "__main__":
    sys.exit(main())
