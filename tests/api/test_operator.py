"""What an operator has of a shop without writing a line: the first key in a file, figures on the command line."""

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from payments.firstkey import KEY_FILE
from tests.support.campaign import is_long
from tests.support.daemon import DaemonProcess


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    base = tmp_path_factory.mktemp("operator")
    with DaemonProcess(base, f"-paymentsdir={base / 'money'}") as running:
        assert not list(base.rglob(KEY_FILE))  # a node that only is a node leaves nothing
        yield running


def first_key(base: Path) -> Path:
    for _ in range(100):
        found = list(base.rglob(KEY_FILE))
        if found and found[0].read_text().endswith("\n"):
            return found[0]
        time.sleep(0.05)
    raise AssertionError("no key was made")


def test_the_command_line_shows_what_the_shop_took(daemon: DaemonProcess) -> None:
    store = daemon.call("createstore", "Corner shop")["storeId"]
    done = daemon.cli("-stats")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Corner shop" in done.stdout
    assert "0 GLD" in done.stdout
    done = daemon.cli("-revenue", "week", "90", store)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Week" in done.stdout
    assert daemon.cli("-revenue", "year").returncode == 8
    assert daemon.cli("-stats", "7", "nobody").returncode == 5
    assert daemon.cli("listinvoices", store, "5", "true").stdout.split() == ["[]"]


def test_a_regtest_node_keeps_a_key_for_scripts(daemon: DaemonProcess) -> None:
    store = daemon.call("createstore", "Another shop")["storeId"]
    path = first_key(daemon.base)
    key = path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert str(path) in daemon.log_text
    assert key not in daemon.log_text
    headers = {"Authorization": f"token {key}"}
    status, _, body = daemon.request("", path="/api/v1/stores", method="GET", auth=None, headers=headers)
    assert status == 200
    assert store in [each["id"] for each in json.loads(body)]
    if is_long():
        daemon.stop()
        daemon.start()
        assert path.read_text().strip() == key
        assert [each["label"] for each in daemon.call("listapikeys")] == ["regtest"]
