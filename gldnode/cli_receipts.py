"""`gld-cli verifyreceipt`: the receipt's file, and the check without a node."""

import sys
from collections.abc import Sequence
from pathlib import Path

from gldnode.cli_client import CliError
from gldnode.cli_output import pretty
from gldnode.config import Config
from gldnode.params import NETWORKS

__all__ = ["receipt_options", "receipt_text", "verify_offline"]


def receipt_options(words: list[str], config: Config) -> tuple[list[str], str | None, str | None]:
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


def receipt_text(name: str) -> str:
    """What the file has; a receipt given as text stays."""
    if name.lstrip().startswith("{"):
        return name
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"the receipt cannot be read: {error}") from None


def verify_offline(words: Sequence[str], config: Config, headers: str, anchor: str | None) -> int:
    """Against a file of headers alone; exit status 1 for a receipt that proves nothing."""
    from gldnode.headerfile import HeadersFault, parse_anchor, read_headers
    from payments.receipts import ReceiptError, parse_receipt, verify_receipt

    if len(words) != 2:
        raise CliError("verifyreceipt takes the receipt's file")
    params = NETWORKS[config.network]
    receipt = receipt_text(words[1]).encode()
    try:
        chain = read_headers(Path(headers).read_bytes(), params, parse_anchor(anchor) if anchor else None)
        findings = list(verify_receipt(parse_receipt(receipt), params, chain.height_of, chain.tip_height))
    except OSError as error:
        raise CliError(f"the headers cannot be read: {error}") from None
    except (ReceiptError, HeadersFault) as error:
        sys.stdout.write(pretty({"valid": False, "findings": [str(error)]}) + "\n")
        return 1
    sys.stdout.write(pretty({"valid": True, "findings": findings}) + "\n")
    return 0
