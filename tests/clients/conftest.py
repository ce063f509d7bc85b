"""Daemons for the tests that talk to them as Bitcoin's tools do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.core_framework import KEYS, CoreNode, cache_chain, copy_chain, write_wrapper
from tests.support.daemon import DaemonProcess

ADDRESS = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
CACHE_TIME = 1296688602  # the genesis block's time; the framework's TIME_GENESIS_BLOCK


@pytest.fixture(scope="module")
def bitcoind(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[DaemonProcess]:
    """A node of the module's own; the module's FLAGS are its flags."""
    flags = getattr(request.module, "FLAGS", ())
    with DaemonProcess(tmp_path_factory.mktemp("bitcoind"), *flags, network="btc-regtest") as daemon:
        yield daemon


@pytest.fixture(scope="session")
def wrapper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wrapper(tmp_path_factory.mktemp("wrapper"))


@pytest.fixture(scope="session")
def cached(wrapper: Path, tmp_path_factory: pytest.TempPathFactory) -> CoreNode:
    """The framework's cache: 199 blocks under setmocktime, stopped, stripped to its folders."""
    node = CoreNode(wrapper, tmp_path_factory.mktemp("cache") / "node0").run("-disablewallet")
    try:
        node.rpc("setmocktime", CACHE_TIME + 199 * 600)
        for batch in range(8):  # 25 blocks a call; the last one is mined by each test
            node.rpc("generatetoaddress", 25 if batch != 7 else 24, KEYS[batch % 2])
        info = node.rpc("getblockchaininfo")
        assert (info["blocks"], info["chain"]) == (199, "regtest")
        node.stop()
    finally:
        node.kill()
    cache_chain(node)
    return node


@pytest.fixture(scope="module")
def node(wrapper: Path, cached: CoreNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreNode]:
    """A node on a copy of the cached chain, one more block mined so that it is out of its first download."""
    one = CoreNode(wrapper, tmp_path_factory.mktemp("core") / "node0", head=True)
    copy_chain(cached, one)
    one.run()
    one.rpc("generatetoaddress", 1, KEYS[0])
    yield one
    one.kill()
