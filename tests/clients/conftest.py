"""One btc-regtest daemon for the tests that talk to it as Bitcoin's tools do."""

from collections.abc import Iterator

import pytest

from tests.support.daemon import DaemonProcess

ADDRESS = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"


@pytest.fixture(scope="module")
def bitcoind(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[DaemonProcess]:
    """A node of the module's own; the module's FLAGS are its flags."""
    flags = getattr(request.module, "FLAGS", ())
    with DaemonProcess(tmp_path_factory.mktemp("bitcoind"), *flags, network="btc-regtest") as daemon:
        yield daemon
