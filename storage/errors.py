"""What can go wrong below: the errors of every engine."""

__all__ = [
    "CommitFailed",
    "DatabaseCorrupt",
    "DatabaseLocked",
    "GuardFailed",
    "SchemaTooNew",
    "StorageError",
    "Unavailable",
]


class StorageError(Exception):
    """The storage did not do what it was asked: disk full, input/output error, damaged or closed database."""


class DatabaseLocked(StorageError):
    """Another process has the folder open."""


class DatabaseCorrupt(StorageError):
    """The bytes on disk, or a record made of them, are not what was written."""


class SchemaTooNew(StorageError):
    """A later version of the software has written this database."""


class Unavailable(StorageError):
    """Not now: a write has failed (a full disk, say), or the database is opened again behind one.

    It goes on by itself once the disk takes writes. What was being read must be read again.
    """


class CommitFailed(Unavailable):
    """The group that a transaction belonged to could not be written; nothing of it is seen by later readers."""


class GuardFailed(StorageError):
    """`Txn.require` found another value than the one demanded, each time the function was run."""

    def __init__(self, key: bytes) -> None:
        super().__init__(f"the value of key {key!r} is not the required one")
        self.key = key
