"""Answers as bitcoin-cli prints them."""

import sys
from typing import Any, Final

import msgspec

from gldnode.cli_client import Answer
from gldnode.rpc.json import JsonNumber, encode

__all__ = ["pretty", "print_answer", "print_error"]

WALLET_NOT_SPECIFIED: Final = -19


def print_answer(answer: Answer) -> int:
    if answer.error is not None:
        return print_error(answer.error)
    if answer.result is None:
        return 0
    if type(answer.result) is str:
        sys.stdout.write(answer.result + "\n")
    else:
        sys.stdout.write(pretty(answer.result) + "\n")
    sys.stdout.flush()
    return 0


def pretty(value: Any) -> str:
    if type(value) is JsonNumber:
        return str(value)
    return msgspec.json.format(encode(value), indent=2).decode()


def print_error(error: Any) -> int:
    """Core's two lines; the exit status is the code's absolute value, as the shell takes it."""
    if not isinstance(error, dict) or not isinstance(error.get("code"), int):
        sys.stderr.write(f"error: {pretty(error)}\n")
        return 1
    code, message = error["code"], error.get("message")
    sys.stderr.write(f"error code: {code}\n")
    if isinstance(message, str):
        sys.stderr.write(f"error message:\n{message}\n")
    if code == WALLET_NOT_SPECIFIED:
        sys.stderr.write('Try adding "-rpcwallet=<filename>" option to gld-cli command line.\n')
    return abs(code) % 256 or 1
