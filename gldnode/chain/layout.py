"""Keys and records of the two chain databases.

`blocks/index` (integers of the records are little-endian):

prefix | key              | value
------ | ---------------- | -----
`b`    | block hash (32)  | header (80), height u32, status u32, transactions u32, file i32, data position u32,
       |                  | undo position u32, sequence i64
`t`    |                  | hash of the active tip, as of the last commit: what followers may have seen
`R`    |                  | u32 while a reindex is under way: how far it has come (reindex.py)
`P`    |                  | u32: height below which block files have been pruned

`chainstate`:

prefix | key              | value
------ | ---------------- | -----
`B`    |                  | hash of the block that the coins are as of
`C`    | outpoint (36)    | height·2 + coinbase u32, amount u64, script

Both have the schema number of `storage.schema`.
"""

from struct import Struct as Packer
from typing import Final

__all__ = [
    "BEST_BLOCK_KEY",
    "CHAINSTATE_SCHEMA",
    "COIN_PREFIX",
    "ENTRY_PREFIX",
    "ENTRY_RECORD",
    "INDEX_SCHEMA",
    "PRUNED_KEY",
    "REINDEX_KEY",
    "TIP_KEY",
]

INDEX_SCHEMA: Final = 1
CHAINSTATE_SCHEMA: Final = 1

ENTRY_PREFIX: Final = b"b"
TIP_KEY: Final = b"t"
REINDEX_KEY: Final = b"R"
PRUNED_KEY: Final = b"P"
ENTRY_RECORD: Final = Packer("<80sIIIiIIq")

BEST_BLOCK_KEY: Final = b"B"
COIN_PREFIX: Final = b"C"
