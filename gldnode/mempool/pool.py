"""The mempool: transactions that wait for a block.

Only the validation thread writes. Reads may come from any thread: entries are immutable and replaced whole,
collections are copied in one step of the interpreter, and nothing iterates over a live dictionary.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gldnode.clock import Clock
from gldnode.entropy import Entropy, SystemEntropy
from gldnode.errors import DecodeError, Reject, RejectKind
from gldnode.events import BlockConnected, ChainStep, MempoolTxRefused
from gldnode.mempool.core import MempoolEvent, PoolCore
from gldnode.mempool.dump import DumpedTx, MempoolDump, encode_dump, parse_dump
from gldnode.mempool.entry import MempoolEntry, feerate_fee
from gldnode.mempool.fees import FeeEstimate, FeeEstimator
from gldnode.mempool.follow import ChainFollower
from gldnode.mempool.judge import SINGLE, Terms, Workspace
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.results import Accepted, MempoolInfo, PackageResult, TestResult
from gldnode.mempool.submission import Submitter
from gldnode.mempool.view import PoolChain
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import Txid, Wtxid
from gldnode.primitives.tx import OutPoint, Tx

__all__ = ["Mempool"]

_REFUSALS_VERIFIED = 3
_FROM_BLOCK = Terms(bypass_limits=True)


class Mempool:
    """Transactions valid in the next block, and the node's policy about them."""

    def __init__(
        self,
        chain: PoolChain,
        options: MempoolOptions,
        clock: Clock,
        *,
        entropy: Entropy | None = None,
    ) -> None:
        self._core = PoolCore(chain, options, clock)
        self._core.estimator.start_at(chain.tip.height)
        self._follower = ChainFollower(self._core)
        self._submitter = Submitter(self._core)
        self._entropy = entropy or SystemEntropy()
        self._loaded = False
        self._refusals: dict[Txid, int] = {}

    # --- offers (validation thread)

    def accept(
        self, tx: Tx, *, now: int | None = None, max_feerate: int | None = None, bypass_limits: bool = False
    ) -> Accepted:
        """Take `tx` in. `max_feerate`: grains per kvB, None or 0 for no bound.

        Raises Reject: MissingInputs for an orphan, FeeReject where a child could help, else with Core's reason.
        """
        self.finish_reorg()
        core = self._core
        terms = _FROM_BLOCK if bypass_limits else SINGLE
        try:
            ws = self._submitter.judge_single(tx, terms)
        except Reject as reject:
            self._report_refusal(tx, reject)
            raise
        self._check_max_feerate(ws, max_feerate)
        replaced = core.admit([ws], terms, core.clock.now() if now is None else now)
        core.check_sometimes()
        return self._submitter.accepted(ws, replaced)

    @staticmethod
    def _check_max_feerate(ws: Workspace, max_feerate: int | None) -> None:
        if max_feerate and ws.fee > feerate_fee(max_feerate, ws.vsize):
            raise Reject(
                "max-fee-exceeded",
                "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)",
                RejectKind.POLICY,
            )

    def _report_refusal(self, tx: Tx, reject: Reject) -> None:
        """Tell of a double spend that policy refused: who waits for the other transaction wants to know.

        Only if its scripts are valid, and that is looked at a few times for each transaction in the pool, so that
        refused transactions cannot be used to keep this thread busy.
        """
        core = self._core
        if reject.kind is not RejectKind.POLICY or tx.txid in core.graph:
            return
        spenders = (core.graph.spender(txin.prevout) for txin in tx.inputs)
        conflicts = tuple(dict.fromkeys(txid for txid in spenders if txid is not None))
        if not conflicts or all(self._refusals.get(one, 0) >= _REFUSALS_VERIFIED for one in conflicts):
            return
        if len(self._refusals) > 2 * len(core.graph) + 100:
            self._refusals = {txid: count for txid, count in self._refusals.items() if txid in core.graph}
        for one in conflicts:
            self._refusals[one] = self._refusals.get(one, 0) + 1
        coins = [core.view.coin(txin.prevout) for txin in tx.inputs]
        known = [coin for coin in coins if coin is not None]
        if len(known) != len(coins):
            return
        try:
            core.scripts.verify(tx, known)
        except Reject:
            return
        core.publish(MempoolTxRefused(tx, conflicts))

    def test_accept(self, txs: Sequence[Tx], *, max_feerate: int | None = None) -> list[TestResult]:
        """What `accept` would say, without taking anything in; several are judged as one package."""
        self.finish_reorg()
        return self._submitter.test(txs, max_feerate)

    def submit_package(self, txs: Sequence[Tx], *, max_feerate: int | None = None) -> PackageResult:
        """Take in a child with its unconfirmed parents, the child paying for them (CPFP)."""
        self.finish_reorg()
        result = self._submitter.submit(txs, max_feerate)
        self._core.check_sometimes()
        return result

    # --- the chain moves (validation thread)

    def apply(self, step: ChainStep) -> None:
        """Chainstate listener: a block was connected or disconnected."""
        if isinstance(step, BlockConnected):
            self._follower.connected(step)
            if not self._follower.is_reorganising:
                self._core.check_sometimes()
        else:
            self._follower.disconnected(step)

    def finish_reorg(self) -> None:
        """After the last step of an activation: re-add what left blocks had, drop what is not valid now.

        Does nothing when no block was disconnected. Offers call it themselves.
        """
        self._follower.finish_reorg()

    # --- reads (any thread)

    def get(self, txid: Txid) -> MempoolEntry | None:
        return self._core.graph.get(txid)

    def get_by_wtxid(self, wtxid: Wtxid) -> MempoolEntry | None:
        txid = self._core.graph.txid_of(wtxid)
        return self._core.graph.get(txid) if txid is not None else None

    def __contains__(self, txid: object) -> bool:
        return txid in self._core.graph

    def __len__(self) -> int:
        return len(self._core.graph)

    def txids(self) -> Sequence[Txid]:
        return self._core.graph.txids()

    def entries(self) -> Sequence[MempoolEntry]:
        return self._core.graph.entries()

    def spender(self, prevout: OutPoint) -> Txid | None:
        """The mempool transaction that spends this output."""
        return self._core.graph.spender(prevout)

    def coin(self, prevout: OutPoint) -> Coin | None:
        """The output from the mempool or the chain, whether or not a mempool transaction spends it."""
        return self._core.view.coin(prevout)

    def descendants(self, txid: Txid) -> frozenset[Txid]:
        """Unconfirmed descendants without itself."""
        return frozenset(self._core.graph.with_descendants([txid])) - {txid}

    @property
    def sequence(self) -> int:
        """Number of the last event; what is added or removed later has a larger one."""
        return self._core.sequence

    @property
    def loaded(self) -> bool:
        """Whether mempool.dat was read, or it was decided not to (`mark_loaded`)."""
        return self._loaded

    @property
    def options(self) -> MempoolOptions:
        return self._core.options

    def info(self) -> MempoolInfo:
        graph, options = self._core.graph, self._core.options
        return MempoolInfo(
            loaded=self._loaded,
            size=len(graph),
            bytes=graph.total_vsize,
            usage=graph.memory,
            total_fee=graph.total_fee,
            max_mempool=options.max_mempool_bytes,
            min_feerate=self.min_feerate_per_kvb(),
            min_relay_feerate=options.min_relay_feerate,
            incremental_relay_feerate=options.incremental_relay_feerate,
            unbroadcast_count=len(self._core.unbroadcast),
            full_rbf=options.full_rbf,
        )

    def min_feerate_per_kvb(self) -> int:
        """What a transaction must pay now: the rolling minimum or the relay fee."""
        return max(self._core.floor.min_feerate(), self._core.options.min_relay_feerate)

    def on_event(self, fn: Callable[[MempoolEvent], None]) -> None:
        """Call `fn` in the validation thread for every event."""
        self._core.listen(fn)

    # --- fees (any thread)

    @property
    def fees(self) -> FeeEstimator:
        return self._core.estimator

    def smart_fee(self, conf_target: int, *, conservative: bool = False) -> FeeEstimate:
        """`estimatesmartfee`: the target is clamped to 1–1,008; never below what this pool asks for."""
        estimator = self._core.estimator
        target = min(max(conf_target, 1), estimator.highest_target())
        estimate = estimator.smart_fee(target, conservative=conservative)
        if estimate.feerate_per_kvb is None:
            return estimate
        return FeeEstimate(max(estimate.feerate_per_kvb, self.min_feerate_per_kvb()), estimate.blocks)

    def estimate_feerate_per_kvb(self, conf_target: int) -> int | None:
        """Grains per kvB to confirm within `conf_target` blocks; None without enough history."""
        return self.smart_fee(conf_target).feerate_per_kvb

    def load_fees(self, path: Path) -> bool:
        """Read stored statistics (validation thread, at start); whether there were usable ones."""
        try:
            estimator = FeeEstimator.decode(path.read_bytes())
        except (OSError, DecodeError):
            return False
        estimator.start_at(self._core.chain.tip.height)
        self._core.estimator = estimator
        return True

    def dump_fees(self, path: Path) -> None:
        _write_atomically(path, self._core.estimator.encode())

    # --- operator (validation thread)

    def prioritise(self, txid: Txid, fee_delta: int) -> None:
        """Let `txid` count as if it paid `fee_delta` grains more; adds up, and waits for it if it is not here."""
        self._core.prioritise(txid, fee_delta)

    def prioritised(self) -> dict[Txid, int]:
        """Accumulated fee deltas of transactions, in the mempool or not."""
        return dict(self._core.deltas)

    def mark_loaded(self) -> None:
        """`-persistmempool=0`: there is nothing to load."""
        self._loaded = True

    def load(self, path: Path, *, use_current_time: bool = False, apply_unbroadcast: bool = True) -> int:
        """Offer the transactions of a mempool.dat (Core's format, version 1 or 2); how many were taken.

        A missing file counts as an empty one. Raises DecodeError, OSError.
        """
        *_, taken = self.load_steps(path, use_current_time=use_current_time, apply_unbroadcast=apply_unbroadcast)
        return taken

    def load_steps(
        self,
        path: Path,
        *,
        batch: int = 200,
        use_current_time: bool = False,
        apply_unbroadcast: bool = True,
        apply_fee_deltas: bool = True,
    ) -> Iterator[int]:
        """`load` in steps, so that other work of the validation thread gets its turn in between.

        Gives how many were taken so far, after each `batch` and at the end. Raises DecodeError, OSError.
        """
        taken = 0
        try:
            dump = parse_dump(path.read_bytes()) if path.exists() else MempoolDump(())
            for number, one in enumerate(dump.txs, 1):
                if one.fee_delta and apply_fee_deltas:
                    self.prioritise(one.tx.txid, one.fee_delta)
                taken += self._load_one(one, use_current_time)
                if number % batch == 0:
                    yield taken
            for txid, delta in dump.fee_deltas.items() if apply_fee_deltas else ():
                self.prioritise(txid, delta)
            if apply_unbroadcast:
                for txid in dump.unbroadcast:
                    self.set_unbroadcast(txid)
        finally:
            self._loaded = True
        yield taken

    def _load_one(self, one: DumpedTx, use_current_time: bool) -> bool:
        now = self._core.clock.now()
        time = now if use_current_time else one.time
        if time <= now - self._core.options.expiry_s:
            return False
        try:
            self.accept(one.tx, now=time)
        except Reject:
            return False
        return True

    def dump(self, path: Path, *, version: int = 2) -> int:
        """Write mempool.dat in Core's format, atomically; how many transactions. Raises OSError."""
        entries = sorted(self.entries(), key=lambda one: (one.ancestor_count, one.sequence))
        deltas = self.prioritised()
        txs = [DumpedTx(one.tx, one.time, deltas.pop(one.tx.txid, 0)) for one in entries]
        key = self._entropy.bytes(8) if version == 2 else None
        _write_atomically(path, encode_dump(MempoolDump(txs, deltas, self.unbroadcast()), key))
        return len(txs)

    # --- relay (validation thread)

    def set_unbroadcast(self, txid: Txid) -> None:
        """Submitted here and not yet asked for by any peer: to be announced again."""
        if txid in self._core.graph:
            self._core.unbroadcast.add(txid)

    def clear_unbroadcast(self, txid: Txid) -> None:
        self._core.unbroadcast.discard(txid)

    def is_unbroadcast(self, txid: Txid) -> bool:
        """Whether no peer has asked for it yet (any thread)."""
        return txid in self._core.unbroadcast

    def unbroadcast(self) -> frozenset[Txid]:
        """A copy, in one step of the interpreter (any thread)."""
        return frozenset(self._core.unbroadcast)

    def check(self) -> None:
        """Assert the pool's invariants (Core: -checkmempool)."""
        self._core.check()


def _write_atomically(path: Path, data: bytes) -> None:
    """All or nothing: a new file, durable, put in the place of the old one."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
