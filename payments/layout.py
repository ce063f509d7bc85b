"""Where everything is in the payments database.

Integers in keys are big-endian, texts are closed (`storage.keys`). JSON is what a person may want to read,
records are msgpack.

| key                                        | value                                                       |
|--------------------------------------------|-------------------------------------------------------------|
| `C`                                        | record Cursor: last block handled                           |
| `F`                                        | record SafeMode, absent when there is none                  |
| `f`                                        | u32: rivals that forked below this height are acknowledged  |
| `s` store                                  | JSON Store                                                  |
| `j` descriptor id (32)                     | next index of the descriptor, u32                           |
| `k` SHA-256 of an API key                  | JSON ApiKey                                                 |
| `K` key id                                 | the key's SHA-256                                           |
| `i` invoice                                | JSON Invoice, without its payments                          |
| `p` invoice, u32 number                    | record Payment                                              |
| `M` invoice, u32 version                   | metadata JSON of before a change, for events of that time   |
| `A` script                                 | record Watch: whose address it is                           |
| `c` outpoint (36)                          | record ClaimRow: the invoice that this output pays, for ever|
| `l` outpoint (36)                          | record Loose: pays a watched address, but no invoice        |
| `U` store, outpoint                        | empty: the store's loose payments                           |
| `L` script, outpoint                       | empty: loose payments by address                            |
| `t` txid (32)                              | record Tracked: unconfirmed transaction with payments       |
| `n` prevout (36)                           | who spends it: (tracked txid, spender's txid)*; the spender |
|                                            | is the transaction itself or an unconfirmed ancestor        |
| `b` u32 height, outpoint                   | empty: payments in the block at that height                 |
| `d` u32 height, txid                       | empty: tracked transactions that this block's ones conflict |
| `z` u32 height, txid                       | empty: tracked transactions to forget at that height        |
| `r` u32 height, invoice                    | empty: payments that have their confirmations at that height|
| `o` u64 time, invoice                      | empty: when the clock next matters to the invoice           |
| `w` invoice                                | empty: waits for the end of the safe mode                   |
| `m` script, u64 due, u64 monitoring, inv.  | empty: invoices on a fixed address by what was due          |
| `N` store                                  | how many of its invoices are open, u64                      |
| `u` principal                              | how many idempotency rows it has, u64                       |
| `q` store                                  | sequence number of the store's last event, u64              |
| `e` store, u64 sequence                    | record Event                                                |
| `v` invoice, u64 sequence                  | empty: events by invoice                                    |
| `W` store                                  | key of the `T` row up to which abandoned ones were looked for|
| `T` store, u64 created descending, invoice | empty: invoices by time                                     |
| `O` store, order id, u64 desc., invoice    | empty: invoices by order id                                 |
| `S` store, term, invoice                   | empty: invoices by search term                              |
| `Q` store                                  | empty: an invoice of the store has had a callback URL       |
| `h` webhook                                | JSON Webhook                                                |
| `H` store, webhook                         | empty: webhooks by store                                    |
| `y` reader                                 | record ReaderState: position and circuit of an endpoint     |
| `Y` reader, invoice                        | record Lane: an invoice's events held back at an endpoint   |
| `x` reader, u64 sequence                   | record Parked: event that was given up                      |
| `D` reader, u64 descending, delivery       | record DeliveryRow                                          |
| `X` delivery                               | key of its `D` row                                          |
| `R` reader, delivery                       | record Redelivery: asked for by hand, to be made            |
| `g` principal, key                         | record IdempotencyRow                                       |
| `G` u64 time, principal, key               | empty: idempotency rows by age                              |
| `B` store, u32 day (UTC, since 1970)       | record Figures: settled payments and invoices of the day    |
| `acct/user/` user                          | JSON User                                                   |
| `acct/email/` lower-case e-mail            | user id                                                     |
| `acct/member/` store `/` user              | role's name                                                 |
| `acct/stores/` user `/` store              | role's name, the same the other way                         |
| `arequest/item/` request                   | JSON PaymentRequest                                         |
| `arequest/store/` store `/` request        | empty: the store's payment requests                         |
| `arequest/due/` u64 expiry, request        | empty: payment requests that may expire                     |
| `anotice/` user `/` u64 desc. time, hash(8)| JSON Notice                                                 |
| `anoticecount/` user                       | u32: how many notices there may be                          |
| `anoticesettings/` user                    | JSON list: kinds of notices that the user does not want     |

A *reader* is a webhook id, or `callback:` and a store id for the callback URLs of the store's invoices.
"""

from functools import lru_cache
from typing import Final

import msgspec

from storage.keys import key, text, u32, u64, u64_descending

__all__ = [
    "ACKNOWLEDGED",
    "CURSOR",
    "SAFE_MODE",
    "SCHEMA_VERSION",
    "ClaimRow",
    "CursorRow",
    "DeliveryRow",
    "IdempotencyRow",
    "Lane",
    "Loose",
    "Parked",
    "ReaderState",
    "Redelivery",
    "SafeMode",
    "Tracked",
    "Watch",
    "callback_reader",
]

SCHEMA_VERSION: Final = 3

CURSOR: Final = b"C"
SAFE_MODE: Final = b"F"
ACKNOWLEDGED: Final = b"f"


class CursorRow(msgspec.Struct, frozen=True, array_like=True):
    hash: bytes
    height: int


class SafeMode(msgspec.Struct, frozen=True, array_like=True):
    """Settlement pauses after a deep reorganisation, and while two branches are nearly equal."""

    since: int
    depth: int
    """Blocks that were taken back, or that the competing branch has."""
    until_height: int
    contested: bool = False
    """Nothing was taken back, but a branch within one block's work of the tip may do so."""


class Watch(msgspec.Struct, frozen=True, array_like=True):
    """A watched address: an invoice's own, or a merchant's fixed one."""

    invoice_id: str = ""
    """Empty for a fixed address."""
    store_id: str = ""
    """Whose fixed address it is."""


class ClaimRow(msgspec.Struct, frozen=True, array_like=True):
    invoice_id: str
    number: int
    """The payment's number at the invoice."""


class Loose(msgspec.Struct, frozen=True, array_like=True):
    """An output to a fixed address that names no invoice."""

    script: bytes
    amount: int
    received_at: int
    height: int = -1
    block_hash: bytes = b""
    is_coinbase: bool = False
    input_scripts: tuple[bytes, ...] = ()
    """What the transaction's inputs were paid to, where known: who can prove that he paid."""
    conflicted: bool = False
    in_mempool: bool = False


class Tracked(msgspec.Struct, frozen=True, array_like=True):
    """An unconfirmed transaction with payments; rebroadcast from here when it leaves the mempool."""

    raw: bytes
    vouts: tuple[int, ...]
    """Its watched outputs."""
    in_mempool: bool
    conflict_height: int = -1
    """Of the block that has a conflicting transaction."""
    ancestors: tuple[bytes, ...] = ()
    """Inputs of its unconfirmed ancestors: the output spent (36) and the ancestor (32)."""


class IdempotencyRow(msgspec.Struct, frozen=True, array_like=True):
    route: str
    body_hash: bytes
    invoice_id: str
    answer: bytes
    at: int


class ReaderState(msgspec.Struct, frozen=True, array_like=True):
    """How far an endpoint has come in its store's log."""

    store_id: str
    position: int
    """Everything up to here is delivered, held back in a lane, or parked."""
    failures: int = 0
    """In a row."""
    closed_until: int = 0
    """The circuit: nothing is tried before this time."""


class Lane(msgspec.Struct, frozen=True, array_like=True):
    """One invoice's events at one endpoint, held back behind one that failed."""

    next_seq: int
    original_id: str
    """Of the first delivery of that event."""
    attempts: int
    next_at: int
    first_failed_at: int


class Parked(msgspec.Struct, frozen=True, array_like=True):
    """An event that was given up."""

    original_id: str
    at: int
    error: str


class DeliveryRow(msgspec.Struct, frozen=True, array_like=True):
    """One attempt."""

    id: str
    original_id: str
    seq: int
    at_ms: int
    http_code: int = 0
    """0 when there was no answer."""
    error: str = ""


class Redelivery(msgspec.Struct, frozen=True, array_like=True):
    seq: int
    original_id: str


def callback_reader(store_id: str) -> str:
    """The reader that serves the callback URLs of a store's invoices."""
    return f"callback:{store_id}"


def redelivery_key(reader: str, delivery_id: str = "") -> bytes:
    return b"R" + text(reader) + delivery_id.encode()


_store_part = lru_cache(maxsize=4096)(text)
"""A store's id within a key: the same one in a dozen keys of every invoice."""


def store_key(store_id: str) -> bytes:
    return b"s" + store_id.encode()


def descriptor_key(descriptor_id: bytes) -> bytes:
    return b"j" + descriptor_id


def api_key_key(digest: bytes) -> bytes:
    return b"k" + digest


def api_key_id_key(key_id: str) -> bytes:
    return b"K" + key_id.encode()


def invoice_key(invoice_id: str) -> bytes:
    return b"i" + invoice_id.encode()


def payment_key(invoice_id: str, number: int) -> bytes:
    return b"p" + text(invoice_id) + u32(number)


def metadata_key(invoice_id: str, version: int) -> bytes:
    return b"M" + text(invoice_id) + u32(version)


def watch_key(script: bytes) -> bytes:
    return b"A" + script


def claim_key(outpoint: bytes) -> bytes:
    return b"c" + outpoint


def loose_key(outpoint: bytes) -> bytes:
    return b"l" + outpoint


def loose_by_script_key(script: bytes, outpoint: bytes = b"") -> bytes:
    return b"L" + key(u32(len(script)), script) + outpoint


def loose_by_store_key(store_id: str, outpoint: bytes = b"") -> bytes:
    return b"U" + text(store_id) + outpoint


def tracked_key(txid: bytes) -> bytes:
    return b"t" + txid


def spends_key(prevout: bytes) -> bytes:
    return b"n" + prevout


def in_block_key(height: int, outpoint: bytes = b"") -> bytes:
    return b"b" + u32(height) + outpoint


def clash_key(height: int, txid: bytes = b"") -> bytes:
    return b"d" + u32(height) + txid


def forget_key(height: int, txid: bytes = b"") -> bytes:
    return b"z" + u32(height) + txid


def ripe_key(height: int, invoice_id: str = "") -> bytes:
    return b"r" + u32(height) + invoice_id.encode()


def timer_key(at: int, invoice_id: str = "") -> bytes:
    return b"o" + u64(at) + invoice_id.encode()


def waiting_key(invoice_id: str = "") -> bytes:
    return b"w" + invoice_id.encode()


def by_due_key(script: bytes, due: int, monitoring_ends_at: int | None = None, invoice_id: str = "") -> bytes:
    start = b"m" + key(u32(len(script)), script, u64(due))
    return start if monitoring_ends_at is None else start + u64(monitoring_ends_at) + invoice_id.encode()


def open_count_key(store_id: str) -> bytes:
    return b"N" + store_id.encode()


def answer_count_key(principal: str) -> bytes:
    return b"u" + principal.encode()


def sequence_key(store_id: str) -> bytes:
    return b"q" + store_id.encode()


def event_key(store_id: str, seq: int | None = None) -> bytes:
    return b"e" + _store_part(store_id) + (b"" if seq is None else u64(seq))


def invoice_event_key(invoice_id: str, seq: int | None = None) -> bytes:
    return b"v" + text(invoice_id) + (b"" if seq is None else u64(seq))


def by_time_key(store_id: str, created_at: int | None = None, invoice_id: str = "") -> bytes:
    start = b"T" + _store_part(store_id)
    return start if created_at is None else start + u64_descending(created_at) + invoice_id.encode()


def shrunk_to_key(store_id: str) -> bytes:
    return b"W" + store_id.encode()


def callbacks_key(store_id: str) -> bytes:
    return b"Q" + store_id.encode()


def by_order_key(store_id: str, order_id: str, created_at: int | None = None, invoice_id: str = "") -> bytes:
    start = b"O" + _store_part(store_id) + text(order_id)
    return start if created_at is None else start + u64_descending(created_at) + invoice_id.encode()


def by_term_key(store_id: str, term: str, invoice_id: str = "") -> bytes:
    return b"S" + _store_part(store_id) + text(term) + invoice_id.encode()


def term_prefix(store_id: str, start: str) -> bytes:
    """All terms that begin with `start`."""
    return b"S" + _store_part(store_id) + start.encode()


def webhook_key(webhook_id: str) -> bytes:
    return b"h" + webhook_id.encode()


def webhook_by_store_key(store_id: str, webhook_id: str = "") -> bytes:
    return b"H" + text(store_id) + webhook_id.encode()


def reader_key(reader: str) -> bytes:
    return b"y" + reader.encode()


def lane_key(reader: str, invoice_id: str = "") -> bytes:
    return b"Y" + text(reader) + invoice_id.encode()


def parked_key(reader: str, seq: int | None = None) -> bytes:
    return b"x" + text(reader) + (b"" if seq is None else u64(seq))


def delivery_key(reader: str, at_ms: int | None = None, delivery_id: str = "") -> bytes:
    start = b"D" + text(reader)
    return start if at_ms is None else start + u64_descending(at_ms) + delivery_id.encode()


def delivery_id_key(delivery_id: str) -> bytes:
    return b"X" + delivery_id.encode()


def idempotency_key(principal: str, name: str) -> bytes:
    return b"g" + key(principal, name)


def idempotency_age_key(at: int, principal: str = "", name: str = "") -> bytes:
    return b"G" + u64(at) + (key(principal, name) if principal or name else b"")


def figures_key(store_id: str | None = None, day: int | None = None) -> bytes:
    start = b"B" if store_id is None else b"B" + text(store_id)
    return start if day is None else start + u32(day)
