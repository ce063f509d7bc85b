"""`gld-cli`: a work-alike of bitcoin-cli for this node, and for any other with Core's RPC.

Exit status: 0; 1 when the node cannot be reached or the command line is wrong; N for the RPC error -N. A string
result is printed bare, null as nothing, everything else as indented JSON.
"""

import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gldnode.cli_client import Answer, Client, CliError, call_when_ready
from gldnode.cli_options import CLI_KEYS, HELP
from gldnode.cli_output import print_answer
from gldnode.config import Config, ConfigError, load_config
from gldnode.options import known_keys
from gldnode.params import NETWORKS
from gldnode.rpc.argtypes import declared_params
from gldnode.rpc.convert import ConvertError, convert_named, convert_positional

__all__ = ["main"]

SCREENS: Final = ("getinfo", "netinfo", "generate", "stats", "revenue")


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
        return _print_completion(next(flag for flag in flags if flag.lstrip("-").startswith("completion")))
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
    screen = next((name for name in SCREENS if config.get_bool(name)), None)
    if screen is not None:
        from gldnode.cli_screens import show

        return show(screen, client, config, arguments)
    if not arguments:
        raise CliError("too few parameters (need at least command)")
    if arguments[0] == "verifyreceipt":
        from gldnode.cli_receipts import receipt_options, verify_offline

        arguments, headers, anchor = receipt_options(arguments, config)
        if headers is not None:
            return verify_offline(arguments, config, headers, anchor)
    return print_answer(_call(client, config, arguments))


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
        from gldnode.cli_receipts import receipt_text

        texts[0] = receipt_text(texts[0])
    declared = declared_params(method)
    named = config.get_bool("named")
    params = convert_named(declared, texts) if named else convert_positional(declared, texts)
    return call_when_ready(client, config, method, params)


def _print_completion(flag: str) -> int:
    from gldnode.cli_completion import SHELLS, completion_script

    shell = flag.partition("=")[2] or "bash"
    if shell not in SHELLS:
        raise CliError(f"Invalid value for -completion option. Valid values: {', '.join(SHELLS)}.")
    sys.stdout.write(completion_script(shell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
