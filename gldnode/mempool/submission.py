"""Offers to the mempool, singly and as packages (Core: ProcessTransaction, ProcessNewPackage)."""

from collections.abc import Sequence

from gldnode.errors import Reject, RejectKind
from gldnode.mempool.core import PoolCore
from gldnode.mempool.entry import MempoolEntry, feerate_fee
from gldnode.mempool.judge import PACKAGE_CHILD, PACKAGE_TEST, SINGLE, SINGLE_IN_PACKAGE, Terms, Workspace
from gldnode.mempool.packages import (
    PackageError,
    PackageVerdict,
    check_package,
    is_child_with_parents,
    judge_package,
)
from gldnode.mempool.results import Accepted, FeeReject, MissingInputs, PackageResult, TestResult, TxResult
from gldnode.primitives.hashes import Txid, Wtxid
from gldnode.primitives.tx import Tx

__all__ = ["Submitter"]


class Submitter:
    """Judges offers and admits what passes (validation thread)."""

    def __init__(self, core: PoolCore) -> None:
        self._core = core

    # --- one

    def judge_single(self, tx: Tx, terms: Terms) -> Workspace:
        """All checks of one transaction. Raises Reject."""
        judge, view = self._core.judge, self._core.view
        ws = judge.examine(tx, terms, view)
        if ws.conflicts:
            judge.check_replacement(ws)
        if ws.parents:
            judge.check_ephemeral_spends([tx], view)
        judge.verify_scripts(ws)
        return ws

    @staticmethod
    def accepted(ws: Workspace, replaced: Sequence[Tx] = ()) -> Accepted:
        tx = ws.tx
        feerate = ws.modified_fee * 1000 // ws.vsize
        return Accepted(tx.txid, tx.wtxid, ws.vsize, ws.fee, feerate, (tx.wtxid,), tuple(replaced))

    # --- testmempoolaccept

    def test(self, txs: Sequence[Tx], max_feerate: int | None) -> list[TestResult]:
        if len(txs) == 1:
            (tx,) = txs
            try:
                ws = self.judge_single(tx, SINGLE)
            except Reject as reject:
                return [TestResult(tx, reject=reject)]
            return [self._test_line(ws, max_feerate)]
        try:
            check_package(txs)
        except PackageError as error:
            return [TestResult(tx, package_error=error.reason) for tx in txs]
        verdict = self._judge(txs, PACKAGE_TEST)
        if verdict.error is None:
            lines = []
            for ws in verdict.workspaces:
                line = self._test_line(ws, max_feerate)
                lines.append(line)
                if line.reject is not None:  # the rest is not told, as in Core
                    break
            return lines + [TestResult(tx) for tx in txs[len(lines) :]]
        if verdict.rejects:
            return [TestResult(tx, reject=verdict.rejects.get(tx.wtxid)) for tx in txs]
        return [TestResult(tx, package_error=verdict.error) for tx in txs]

    def _test_line(self, ws: Workspace, max_feerate: int | None) -> TestResult:
        if max_feerate and ws.fee > feerate_fee(max_feerate, ws.vsize):
            return TestResult(ws.tx, reject=Reject("max-fee-exceeded", "", RejectKind.POLICY))
        return TestResult(ws.tx, accepted=self.accepted(ws))

    def _judge(self, txs: Sequence[Tx], terms: Terms, max_feerate: int | None = None) -> PackageVerdict:
        core = self._core
        return judge_package(txs, terms, core.judge, core.graph, core.chain, core.options, max_feerate)

    # --- submitpackage

    def submit(self, txs: Sequence[Tx], max_feerate: int | None) -> PackageResult:
        """Each transaction alone first; those that only lack fees or parents together (AcceptPackage)."""
        try:
            check_package(txs)
            if len(txs) > 1 and not is_child_with_parents(txs):
                raise PackageError("package-not-child-with-parents")
        except PackageError as error:
            return PackageResult(error.reason, {tx.wtxid: TxResult(tx, package_not_validated=True) for tx in txs})
        core = self._core
        results: dict[Wtxid, TxResult] = {}
        replaced: list[Txid] = []
        together: list[Tx] = []
        provisional: dict[Wtxid, TxResult] = {}
        message = "success"
        for tx in txs:
            known = self._known(tx)
            if known is not None:
                results[tx.wtxid] = known
                continue
            try:
                accepted = self._accept_alone(tx, max_feerate)
            except Reject as reject:
                if len(txs) == 1 or not isinstance(reject, FeeReject | MissingInputs):
                    results[tx.wtxid] = TxResult(tx, reject=reject)
                    message = "transaction failed"
                    break
                provisional[tx.wtxid] = TxResult(tx, reject=reject)
                together.append(tx)
            else:
                results[tx.wtxid] = TxResult(tx, accepted=accepted)
                replaced += [one.txid for one in accepted.replaced]
        if together and message == "success":
            message, found, also = self._accept_together(together, max_feerate)
            results |= found
            replaced += also
        core.limit_size()
        for tx in txs:
            line = results.get(tx.wtxid) or provisional.get(tx.wtxid)
            if line is None:
                line = TxResult(tx, package_not_validated=True)
            elif (line.accepted or line.in_mempool) and tx.txid not in core.graph:
                line = TxResult(tx, reject=Reject("mempool full", "", RejectKind.POLICY))
                message = "transaction failed"
            results[tx.wtxid] = line
        return PackageResult(message, results, tuple(replaced))

    def _known(self, tx: Tx) -> TxResult | None:
        entry: MempoolEntry | None = self._core.graph.get(tx.txid)
        if entry is None:
            return None
        if entry.tx.wtxid != tx.wtxid:
            return TxResult(tx, other_wtxid=entry.tx.wtxid)
        feerate = entry.modified_fee * 1000 // entry.vsize
        return TxResult(tx, in_mempool=Accepted(tx.txid, tx.wtxid, entry.vsize, entry.fee, feerate, (tx.wtxid,)))

    def _accept_alone(self, tx: Tx, max_feerate: int | None) -> Accepted:
        core = self._core
        ws = self.judge_single(tx, SINGLE_IN_PACKAGE)
        if max_feerate and ws.fee > feerate_fee(max_feerate, ws.vsize):
            raise Reject("max feerate exceeded", "", RejectKind.POLICY)
        # Not evicted yet: a child further on may make it worth its place.
        replaced = core.admit([ws], SINGLE_IN_PACKAGE, core.clock.now(), keep_size=True)
        return self.accepted(ws, replaced)

    def _accept_together(
        self, txs: Sequence[Tx], max_feerate: int | None
    ) -> tuple[str, dict[Wtxid, TxResult], list[Txid]]:
        core = self._core
        if len(txs) == 1:
            try:
                accepted = self._accept_alone(txs[0], max_feerate)
            except Reject as reject:
                return "transaction failed", {txs[0].wtxid: TxResult(txs[0], reject=reject)}, []
            return (
                "success",
                {txs[0].wtxid: TxResult(txs[0], accepted=accepted)},
                [one.txid for one in accepted.replaced],
            )
        verdict = self._judge(txs, PACKAGE_CHILD, max_feerate)
        if verdict.error is not None:
            by_wtxid = {tx.wtxid: tx for tx in txs}
            failed = {wtxid: TxResult(by_wtxid[wtxid], reject=reject) for wtxid, reject in verdict.rejects.items()}
            return verdict.error, failed, []
        feerate = verdict.total_fee * 1000 // verdict.total_vsize
        includes = tuple(tx.wtxid for tx in txs)
        replaced = core.admit(
            verdict.workspaces, PACKAGE_CHILD, core.clock.now(), replaces=verdict.replaces, keep_size=True
        )
        found = {
            ws.tx.wtxid: TxResult(
                ws.tx,
                accepted=Accepted(ws.tx.txid, ws.tx.wtxid, ws.vsize, ws.fee, feerate, includes),
            )
            for ws in verdict.workspaces
        }
        return "success", found, [tx.txid for tx in replaced]
