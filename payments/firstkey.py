"""On regtest networks: a key for everything in a file, so that a script needs no set-up."""

import logging
import os
from pathlib import Path
from typing import Final

__all__ = ["KEY_FILE", "keep_key"]

log = logging.getLogger(__name__)
KEY_FILE: Final = "apikey"


def keep_key(folder: Path, key: str) -> None:
    """Write the key where only its owner reads it; the log names the file, not the key."""
    path = folder / KEY_FILE
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(key + "\n")
    log.info("An API key for everything is in %s (regtest only)", path)
