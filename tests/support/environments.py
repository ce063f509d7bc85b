"""Environments of other people's software, for tests that run it unmodified.

They are installed once, into `$XDG_CACHE_HOME/gldnode-tests` (else `~/.cache/gldnode-tests`), each in a virtual
environment or npm folder of its own since their pins may clash with ours. What cannot be had skips the test.
"""

import fcntl
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["CACHE", "free_port", "npm_folder", "prepared", "python_with"]

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gldnode-tests"
INSTALL_TIMEOUT_S = 240


def python_with(name: str, *requirements: str) -> Path:
    """The interpreter of the environment `name`, which has `requirements`. Skips where they cannot be had."""
    folder = CACHE / name
    python = folder / "bin" / "python"
    with prepared(folder, requirements) as needed:
        if needed:
            _install([sys.executable, "-m", "venv", str(folder)], name)
            _install([str(python), "-m", "pip", "install", "-q", *requirements], " ".join(requirements))
    return python


def npm_folder(name: str, *packages: str) -> Path:
    """A folder whose `node_modules` has `packages`. Skips where node, npm or they cannot be had."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    folder = CACHE / name
    with prepared(folder, packages) as needed:
        if needed:
            command = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder), *packages]
            _install(command, " ".join(packages))
    return folder


@contextmanager
def prepared(folder: Path, content: Sequence[str]) -> Iterator[bool]:
    """One process at a time prepares a folder; whether there is anything to do."""
    CACHE.mkdir(parents=True, exist_ok=True)
    mark, wanted = folder / ".complete", "\n".join(content)
    with (CACHE / f"{folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mark.is_file() and mark.read_text() == wanted:
            yield False
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield True
        mark.write_text(wanted)


def _install(command: Sequence[str], what: str) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{what} cannot be installed: {error}")
    if done.returncode:
        pytest.skip(f"{what} cannot be installed: {(done.stderr or done.stdout).strip()[-300:]}")


def free_port() -> int:
    """A port of loopback that nobody listens at just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
