"""The process: one per data folder, its pid file, going to the background, where its packages come from."""

import fcntl
import os
import sys
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TextIO

__all__ = ["FolderLock", "StartupError", "check_packages", "go_to_background", "remove_pid", "write_pid"]

PACKAGES: Final = ("gldnode", "payments", "storage", "api")
DISTRIBUTION: Final = "gldnode"


class StartupError(Exception):
    """The node cannot start; the text is for the operator."""


class FolderLock:
    """Holds `.lock` in a folder for as long as the process lives or until `release`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._file: TextIO | None = None

    def acquire(self) -> None:
        """Raises StartupError with Core's sentence when another process holds it."""
        folder = self._path.parent
        try:
            file = self._path.open("a", encoding="ascii")
        except OSError as error:
            raise StartupError(
                f"Cannot write to directory {folder}; check permissions. ({error.strerror})"
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise StartupError(
                f"Cannot obtain a lock on directory {folder}. Gold-Coin node is probably already running."
            ) from None
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def check_packages() -> None:
    """The four packages must be this distribution's own: their names are common, another one may overwrite them.

    Raises StartupError.
    """
    roots: dict[str, Path] = {}
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise StartupError(f"The package {name} is missing: the installation is incomplete.")
        roots[name] = Path(spec.origin).resolve().parent.parent
    own = roots["gldnode"]
    for name, root in roots.items():
        if root != own:
            raise StartupError(_foreign(name, str(root)))
    if own.name in ("site-packages", "dist-packages"):
        owners = packages_distributions()
        for name in PACKAGES:
            strangers = [owner for owner in owners.get(name, []) if owner.lower() != DISTRIBUTION]
            if strangers:
                raise StartupError(_foreign(name, strangers[0]))


def _foreign(name: str, source: str) -> str:
    return (
        f"The package {name} comes from {source}, not from this node. "
        "Install gldnode into a virtual environment of its own."
    )


def go_to_background(wait: bool) -> int | None:
    """Fork. The parent's process gets its exit status and should leave; the daemon gets None.

    With `wait` the parent leaves when `signal_ready` was called in the daemon, or fails with it.
    """
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(write_end)
        if not wait:
            return 0
        with os.fdopen(read_end, "rb") as pipe:
            return 0 if pipe.read(1) == b"1" else 1
    os.close(read_end)
    os.setsid()
    if os.fork():
        os._exit(0)
    _Ready.descriptor = write_end
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    if not wait:
        detach_output()
    return None


class _Ready:
    descriptor: int | None = None


def signal_ready() -> None:
    """Tell a waiting parent that start-up is complete."""
    if _Ready.descriptor is not None:
        os.write(_Ready.descriptor, b"1")
        os.close(_Ready.descriptor)
        _Ready.descriptor = None
        detach_output()


def detach_output() -> None:
    """Let go of the terminal."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)


def write_pid(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{os.getpid()}\n", encoding="ascii")


def remove_pid(path: Path) -> None:
    path.unlink(missing_ok=True)
