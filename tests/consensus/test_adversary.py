"""Every adversarial case against the chainstate in process, and against a daemon over its RPC and its P2P port."""

from collections.abc import Iterator

import pytest

from gldnode.chain.utxostats import HashKind
from tests.consensus.adversary import CASES
from tests.consensus.adversary.runner import ChainTarget, DaemonTarget, Runner
from tests.consensus.adversary.steps import GiveBlock
from tests.consensus.adversary.wire import WireTarget
from tests.consensus.adversary.workshop import TIP, Bench
from tests.support.btcd import free_port
from tests.support.daemon import DaemonProcess

_OVER_P2P = (
    "no proof of work",
    "bits just below what is asked",
    "time at the median",
    "time two hours and a second ahead",
    "version 0",
    "unknown parent",
    "coinbase missing",
    "two coinbases",
    "coinbase script of 101 bytes",
    "coinbase of the height before",
    "coinbase one unit above the subsidy",
    "coinbase spent at depth 99",
    "merkle root of zeros",
    "CVE-2012-2459: the last of three repeated, then the true block",
    "an inner node of the tree as transaction: 64 bytes and no coinbase",
    "a witness without commitment",
    "a stripped witness, then the block as it was mined",
    "a million bytes and one",
    "exactly four million units of weight",
    "sigops: OP_CHECKSIG, one too many",
    "sigops: P2WSH OP_CHECKSIG, exactly full",
    "an output spent twice by one transaction (CVE-2018-17144)",
    "value made out of nothing: one unit",
    "relative height short by one",
    "script: signature with a byte too many at BIP 66",
    "tapscript: signature budget short by one byte",
    "of equal work the first seen stays",
    "an invalid block on the tip, and what builds on it",
)
"""Cases whose every block is worth storing unasked."""


@pytest.fixture(scope="module")
def in_process() -> Iterator[Runner]:
    target = ChainTarget()
    yield Runner(target)
    target.state.close()


class _Network:
    """The daemon, its RPC runner, and a connection to its P2P port when one is needed."""

    def __init__(self, daemon: DaemonProcess, port: int) -> None:
        self.daemon, self.port = daemon, port
        self.runner = Runner(DaemonTarget(daemon))
        self._peer: WireTarget | None = None

    @property
    def peer(self) -> WireTarget:
        if self._peer is None:
            self._peer = WireTarget(self.daemon, self.port)
        return self._peer

    def close(self) -> None:
        if self._peer is not None:
            self._peer.close()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Network]:
    port = free_port()
    flags = ("-listen=1", f"-bind=127.0.0.1:{port}", "-whitelist=noban@127.0.0.1", "-debug=net")
    base = tmp_path_factory.mktemp("adversary")
    with DaemonProcess(base, *DaemonTarget.flags(), *flags, network="btc-regtest") as daemon:
        network = _Network(daemon, port)
        yield network
        network.close()
        assert daemon.stop() == 0


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 130


@pytest.mark.parametrize("name", CASES)
def test_chainstate_answers_as_expected(name: str, in_process: Runner) -> None:
    in_process.run(CASES[name].bench())


@pytest.mark.parametrize("name", CASES)
def test_daemon_answers_as_expected(name: str, network: _Network) -> None:
    network.runner.run(CASES[name].bench())


@pytest.mark.parametrize("name", _OVER_P2P)
def test_a_peer_s_block_is_judged_alike(name: str, network: _Network) -> None:
    """The tip is what it should be, and the log tells why a block was refused."""
    bench = Bench(f"{name} (P2P)", CASES[name].at)
    CASES[name].build(bench)
    with network.runner.between(bench):
        for step in bench.steps:
            if not isinstance(step, GiveBlock):
                continue
            log = network.peer.give(step.block.raw)
            if step.answer not in (None, "inconclusive", "duplicate"):
                assert f"block {step.block.hash[::-1].hex()} from peer=" in log
                assert f": {step.answer}" in log
            assert network.runner.target.tip() == step.tip.hash


def test_what_all_cases_leave_behind_is_the_base_chain(in_process: Runner, network: _Network) -> None:
    """Whatever came and went, on both nodes: the coins of a node that has seen nothing else."""
    fresh = ChainTarget()
    Runner(fresh)
    expected = fresh.state.coin_stats(HashKind.MUHASH).hash
    assert expected is not None
    for runner in (in_process, network.runner):
        runner.stand_at(TIP)
    assert isinstance(in_process.target, ChainTarget)
    state = in_process.target.state
    assert state.coin_stats(HashKind.MUHASH).hash == expected
    assert state.verify(4, 0)
    assert network.daemon.call("gettxoutsetinfo", "muhash")["muhash"] == expected[::-1].hex()
    assert network.daemon.call("verifychain", 4, 0) is True
    fresh.state.close()
