"""Where the published test cases are: `$GLD_VECTORS`, or `../shared/vectors` beside the project."""

import bz2
import json
import os
from pathlib import Path
from typing import Any

import pytest

__all__ = ["load_json", "read_bytes", "read_text", "vectors_dir", "vectors_path"]

_PROJECT = Path(__file__).resolve().parents[2]


def vectors_path() -> Path:
    """Where the vectors' folder is looked for; it need not exist."""
    named = os.environ.get("GLD_VECTORS")
    return Path(named) if named else _PROJECT.parent / "shared" / "vectors"


def vectors_dir() -> Path:
    """The vectors' folder; skips the test where there is none, fails it where `CI` is set."""
    folder = vectors_path()
    if folder.is_dir():
        return folder
    message = f"published vectors not found at {folder}: set GLD_VECTORS to their folder"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def load_json(name: str) -> Any:
    """The JSON vectors of the file `name` below the folder."""
    return json.loads(read_text(name))


def read_text(name: str) -> str:
    return (vectors_dir() / name).read_text(encoding="utf-8")


def read_bytes(name: str) -> bytes:
    """The file's bytes, decompressed where it ends in .bz2."""
    data = (vectors_dir() / name).read_bytes()
    return bz2.decompress(data) if name.endswith(".bz2") else data
