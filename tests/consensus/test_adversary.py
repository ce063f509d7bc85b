"""Every adversarial case against the chainstate in process, and against a daemon over its RPC."""

from collections.abc import Iterator

import pytest

from tests.consensus.adversary import CASES
from tests.consensus.adversary.runner import ChainTarget, DaemonTarget, Runner
from tests.support.daemon import DaemonProcess


@pytest.fixture(scope="module")
def in_process() -> Iterator[Runner]:
    target = ChainTarget()
    yield Runner(target)
    target.state.close()


@pytest.fixture(scope="module")
def over_rpc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with DaemonProcess(
        tmp_path_factory.mktemp("adversary"), *DaemonTarget.flags(), network="btc-regtest"
    ) as daemon:
        yield Runner(DaemonTarget(daemon))
        assert daemon.stop() == 0


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 130


@pytest.mark.parametrize("name", CASES)
def test_chainstate_answers_as_expected(name: str, in_process: Runner) -> None:
    in_process.run(CASES[name].bench())


@pytest.mark.parametrize("name", CASES)
def test_daemon_answers_as_expected(name: str, over_rpc: Runner) -> None:
    over_rpc.run(CASES[name].bench())
