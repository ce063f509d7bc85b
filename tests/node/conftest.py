"""One daemon for the tests that only read from it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A btc-regtest node with some blocks, a whitelisted and a plain second user, all indexes."""
    import hmac

    base: Path = tmp_path_factory.mktemp("daemon")

    def auth(user: str, password: str) -> str:
        salt = "5c7e1a3b"
        return f"-rpcauth={user}:{salt}${hmac.new(salt.encode(), password.encode(), 'sha256').hexdigest()}"

    flags = (
        auth("alice", "correct horse"),
        auth("bob", "battery"),
        "-rpcwhitelist=bob:getblockcount,uptime",
        "-rpcwhitelistdefault=0",
        "-txindex",
        "-rest",
        "-txospenderindex",
        "-blockfilterindex",
        "-coinstatsindex",
        "-uacomment=testnode0",
        "-unknownflag=7",
    )
    process = DaemonProcess(base, *flags, network="btc-regtest").start()
    try:
        process.call("generatetoaddress", 110, ADDRESS)
        yield process
    finally:
        process.stop()


ADDRESS = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
