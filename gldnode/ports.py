"""The seam between the node and what lives beside it: payments and other plug-ins see only this.

A plug-in is found through the entry-point group `gldnode.plugins`; it gets a `NodeHost` and nothing else.
"""

from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol

from gldnode.clock import Clock
from gldnode.entropy import Entropy
from gldnode.events import ChainStep, Cursor, Hint, Rival, Tip, UnknownCursor
from gldnode.params import ChainParams
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import BlockHash, Txid
from gldnode.primitives.tx import OutPoint, Tx
from storage.database import Database
from storage.kv import KV, WRITE_BUFFER

__all__ = ["ChainView", "HintQueue", "MempoolTxInfo", "MempoolView", "NodeHost", "Plugin", "UnknownCursor"]


class ChainView(Protocol):
    """Reads of the active chain. Any thread; never waits for validation."""

    @property
    def tip(self) -> Tip: ...

    @property
    def is_initial_block_download(self) -> bool: ...

    def block_hash(self, height: int) -> BlockHash | None:
        """Hash of the active chain's block at `height`, None above the tip."""
        ...

    def height_of(self, block_hash: BlockHash) -> int | None:
        """Height of an active-chain block, None for an unknown or stale one."""
        ...

    def rival(self) -> Rival | None:
        """The strongest branch that competes with the active chain: within one block's work of its tip."""
        ...

    def header(self, block_hash: BlockHash) -> bytes | None:
        """The 80 bytes of a known header."""
        ...

    def block_bytes(self, block_hash: BlockHash) -> bytes | None:
        """A stored block, None when unknown or pruned."""
        ...

    def has_blocks_after(self, cursor: Cursor) -> bool:
        """Whether `next_steps` can lead from here to the tip: False where blocks on the way have been pruned."""
        ...

    def coin(self, prevout: OutPoint) -> Coin | None:
        """The unspent confirmed output, without regard to the mempool."""
        ...


class MempoolTxInfo(Protocol):
    """A transaction in the mempool, as of one moment."""

    @property
    def tx(self) -> Tx: ...
    @property
    def fee(self) -> int: ...
    @property
    def vsize(self) -> int: ...
    @property
    def time(self) -> int:
        """When it was accepted, Unix seconds."""
        ...

    @property
    def ancestors(self) -> frozenset[Txid]:
        """Unconfirmed ancestors, without itself."""
        ...

    @property
    def signals_replacement(self) -> bool:
        """BIP 125: it or an unconfirmed ancestor has a sequence below 0xfffffffe."""
        ...


class MempoolView(Protocol):
    """Reads of the mempool. Any thread; never waits for validation."""

    @property
    def sequence(self) -> int: ...

    def get(self, txid: Txid) -> MempoolTxInfo | None: ...

    def txids(self) -> Sequence[Txid]: ...

    def spender(self, prevout: OutPoint) -> Txid | None:
        """The mempool transaction that spends this output."""
        ...

    def min_feerate_per_kvb(self) -> int: ...

    def estimate_feerate_per_kvb(self, conf_target: int) -> int | None: ...


class HintQueue(Protocol):
    """A follower's bounded queue of hints."""

    def __aiter__(self) -> AsyncIterator[Hint]: ...

    async def get(self) -> Hint: ...

    def close(self) -> None: ...


class NodeHost(Protocol):
    """What the node offers to a plug-in."""

    @property
    def params(self) -> ChainParams: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def entropy(self) -> Entropy: ...
    @property
    def chain(self) -> ChainView: ...
    @property
    def mempool(self) -> MempoolView: ...

    @property
    def payments_dir(self) -> Path:
        """The folder that a merchant backs up; made when first needed."""
        ...

    def option(self, name: str) -> str | None:
        """The last value of a configuration key, None when it is not set."""
        ...

    def options(self, name: str) -> Sequence[str]:
        """All values of a repeatable configuration key."""
        ...

    def open_kv(self, path: Path) -> KV: ...

    def open_database(self, path: Path, *, write_buffer_bytes: int = WRITE_BUFFER) -> Database: ...

    async def next_steps(self, cursor: Cursor, limit: int, *, with_undo: bool = False) -> Sequence[ChainStep]:
        """What follows `cursor`: connected blocks in order, or disconnects back to the active chain.

        Waits until there is at least one step. At most `limit` steps and a bounded number of bytes.
        Raises UnknownCursor.
        """
        ...

    async def wait_caught_up(self, cursor: Cursor) -> bool:
        """Whether the cursor is at a tip that is not known to be behind the network."""
        ...

    def hints(self, name: str) -> HintQueue: ...

    async def submit(self, tx: Tx) -> Txid:
        """Offer a transaction to the mempool and relay it. Raises Reject; one already there is a success."""
        ...

    async def rebroadcast(self, tx: Tx) -> None:
        """Offer again a transaction that left the mempool; refusal is not an error."""
        ...

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` as a named task that the node owns: its failure stops the node, its stop cancels it."""
        ...


class Plugin(Protocol):
    """Something that lives in the node's process."""

    @property
    def name(self) -> str: ...

    async def start(self, host: NodeHost) -> None: ...

    async def stop(self) -> None: ...
