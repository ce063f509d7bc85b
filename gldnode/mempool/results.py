"""What the mempool answers to who offers it transactions."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from gldnode.errors import Reject, RejectKind
from gldnode.primitives.hashes import Txid, Wtxid
from gldnode.primitives.tx import Tx

__all__ = [
    "Accepted",
    "FeeReject",
    "MempoolInfo",
    "MissingInputs",
    "PackageResult",
    "TestResult",
    "TxResult",
]


class FeeReject(Reject):
    """Pays too little alone; together with a child that pays more it may be taken (Core: TX_RECONSIDERABLE)."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail, RejectKind.POLICY)


class MissingInputs(Reject):
    """It spends outputs that are unknown here: an orphan whose parents may come, or a double spend."""

    def __init__(self, parents: tuple[Txid, ...]) -> None:
        super().__init__("bad-txns-inputs-missingorspent", "", RejectKind.CONTEXT)
        self.parents = parents
        """Transactions whose outputs are missing."""


class Accepted(msgspec.Struct, frozen=True):
    """A transaction is in the mempool now (or would be)."""

    txid: Txid
    wtxid: Wtxid
    vsize: int
    """Virtual bytes, adjusted for signature operations."""
    fee: int
    """Base fee in grains, without prioritisation."""
    effective_feerate_per_kvb: int
    """Of the transactions that were judged together, prioritisation included."""
    effective_includes: tuple[Wtxid, ...]
    """Which were judged together."""
    replaced: tuple[Tx, ...] = ()
    """What it replaced, descendants included."""


@dataclass(frozen=True, slots=True)
class TestResult:
    """One line of `testmempoolaccept`. With neither: it was not judged, because another one failed."""

    tx: Tx
    accepted: Accepted | None = None
    reject: Reject | None = None
    package_error: str | None = None

    @property
    def allowed(self) -> bool | None:
        if self.accepted is not None:
            return True
        return False if self.reject is not None else None


@dataclass(frozen=True, slots=True)
class TxResult:
    """One transaction of `submitpackage`."""

    tx: Tx
    accepted: Accepted | None = None
    """New in the mempool."""
    in_mempool: Accepted | None = None
    """Was there before."""
    other_wtxid: Wtxid | None = None
    """The same txid with this other witness was there before."""
    reject: Reject | None = None
    package_not_validated: bool = False
    """Nothing was judged because the package itself is malformed."""


@dataclass(frozen=True, slots=True)
class PackageResult:
    """`submitpackage`: `message` is "success", "transaction failed" or the reason about the package."""

    message: str
    results: Mapping[Wtxid, TxResult]
    replaced: tuple[Txid, ...] = ()


@dataclass(frozen=True, slots=True)
class MempoolInfo:
    """The numbers of `getmempoolinfo`. Feerates in grains per 1,000 virtual bytes."""

    loaded: bool
    size: int
    """Transactions."""
    bytes: int
    """Virtual bytes."""
    usage: int
    """Bytes of memory."""
    total_fee: int
    max_mempool: int
    min_feerate: int
    """`mempoolminfee`: the larger of the rolling minimum and the relay fee."""
    min_relay_feerate: int
    incremental_relay_feerate: int
    unbroadcast_count: int
    full_rbf: bool
