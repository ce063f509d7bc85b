"""A wallet in one file: its records as they are, sealed secrets sealed, with a checksum."""

import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from gldnode.primitives.hashes import sha256
from gldnode.wallet.errors import WalletError, WalletFault
from storage.database import ReadSnapshot
from storage.kv import KV, WriteBatch

__all__ = ["read_backup", "write_backup"]

_MAGIC: Final = b"gldwallet1\n"
_MAX_SIZE: Final = 1 << 31


def write_backup(snapshot: ReadSnapshot, destination: Path, name: str) -> None:
    """Write all records to a file (into a folder: named after the wallet). Raises OSError."""
    path = destination / f"{quote(name, safe='') or 'wallet'}.gldwallet" if destination.is_dir() else destination
    body = msgspec.msgpack.encode(list(snapshot.iterate()))
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_MAGIC + sha256(body) + body)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read_backup(path: Path, kv: KV) -> None:
    """Fill an empty database from a backup. Raises WalletError."""
    try:
        if path.stat().st_size > _MAX_SIZE:
            raise WalletError(WalletFault.WALLET, "Backup file is too large.")
        data = path.read_bytes()
    except OSError as error:
        raise WalletError(WalletFault.WALLET, f"Backup file cannot be read: {error.strerror}") from None
    head = len(_MAGIC)
    body = data[head + 32 :]
    if not data.startswith(_MAGIC) or sha256(body) != data[head : head + 32]:
        raise WalletError(WalletFault.WALLET, "Wallet file verification failed. Data is not in recognized format.")
    try:
        records = msgspec.msgpack.decode(body, type=list[tuple[bytes, bytes]])
    except msgspec.DecodeError:
        raise WalletError(
            WalletFault.WALLET, "Wallet file verification failed. Data is not in recognized format."
        ) from None
    batch = WriteBatch()
    for key, value in records:
        batch.put(key, value)
    kv.write(batch, sync=True)
