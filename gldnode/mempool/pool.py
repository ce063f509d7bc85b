"""The mempool: transactions that wait for a block.

Only the validation thread writes. Reads may come from any thread: entries are immutable and replaced whole,
collections are copied in one step of the interpreter, and nothing iterates over a live dictionary.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gldnode.clock import Clock
from gldnode.errors import Reject
from gldnode.events import ChainStep, MempoolTxAdded, MempoolTxRefused, MempoolTxRemoved
from gldnode.mempool.entry import MempoolEntry
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.results import Accepted, MempoolInfo, PackageResult, TestResult
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import Txid, Wtxid
from gldnode.primitives.tx import OutPoint, Tx

MempoolEvent = MempoolTxAdded | MempoolTxRemoved | MempoolTxRefused


class Mempool:
    """Transactions valid in the next block, and the node's policy about them."""

    def __init__(self, chain: object, options: MempoolOptions, clock: Clock) -> None: ...

    # offers (validation thread)
    def accept(
        self, tx: Tx, *, now: int | None = None, max_feerate: int | None = None, bypass_limits: bool = False
    ) -> Accepted:
        """Take `tx` in. Raises Reject (`max-fee-exceeded` above `max_feerate`, grains per kvB)."""
        ...

    def test_accept(self, txs: Sequence[Tx], *, max_feerate: int | None = None) -> list[TestResult]:
        """What `accept` would say, without taking anything in; several are judged as one package."""
        ...

    def submit_package(self, txs: Sequence[Tx], *, max_feerate: int | None = None) -> PackageResult:
        """Take in a child with its unconfirmed parents, the child paying for them (CPFP)."""
        ...

    # the chain moves (validation thread)
    def apply(self, step: ChainStep) -> None:
        """Chainstate listener: a block was connected or disconnected."""
        ...

    def finish_reorg(self) -> None:
        """After the last step of one activation: re-add what disconnected blocks had, drop what is not valid now."""
        ...

    # reads (any thread)
    def get(self, txid: Txid) -> MempoolEntry | None: ...
    def get_by_wtxid(self, wtxid: Wtxid) -> MempoolEntry | None: ...
    def __contains__(self, txid: object) -> bool: ...
    def __len__(self) -> int: ...
    def txids(self) -> Sequence[Txid]: ...
    def entries(self) -> Sequence[MempoolEntry]: ...
    def spender(self, prevout: OutPoint) -> Txid | None: ...
    def coin(self, prevout: OutPoint) -> Coin | None:
        """The output from the mempool or the chain, whether or not a mempool transaction spends it."""
        ...

    def info(self) -> MempoolInfo: ...
    @property
    def sequence(self) -> int:
        """Number of the last event; entries added or removed later have larger ones."""
        ...

    @property
    def loaded(self) -> bool: ...
    def descendants(self, txid: Txid) -> frozenset[Txid]:
        """Unconfirmed descendants without itself."""
        ...

    def min_feerate_per_kvb(self) -> int: ...
    def estimate_feerate_per_kvb(self, conf_target: int) -> int | None: ...
    def on_event(self, fn: Callable[[MempoolEvent], None]) -> None:
        """Call `fn` in the validation thread for every event."""
        ...

    # operator
    def prioritise(self, txid: Txid, fee_delta: int) -> None: ...
    def prioritised(self) -> dict[Txid, int]:
        """Accumulated fee deltas of transactions, in the mempool or not."""
        ...

    def load(self, path: Path) -> int:
        """Offer the transactions of a mempool.dat (Core's format); how many were taken. Missing file: 0."""
        ...

    def dump(self, path: Path) -> int:
        """Write mempool.dat (Core's format), atomically; how many transactions."""
        ...

    # relay
    def set_unbroadcast(self, txid: Txid) -> None: ...
    def clear_unbroadcast(self, txid: Txid) -> None: ...
    def unbroadcast(self) -> frozenset[Txid]: ...


__all__ = ["Accepted", "Mempool", "MempoolEntry", "MempoolEvent", "MempoolOptions", "Reject", "Iterable"]
