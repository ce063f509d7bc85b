"""The first key of a regtest network: in a file that only its owner reads; the log has the file's name only."""

import json
import stat
import time
from pathlib import Path

from payments.firstkey import KEY_FILE
from tests.support.daemon import DaemonProcess


def test_a_regtest_node_keeps_a_key_for_scripts(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, f"-paymentsdir={tmp_path / 'money'}") as daemon:
        assert not list(tmp_path.rglob(KEY_FILE))  # a node that only is a node leaves nothing
        daemon.call("createstore", "Shop")
        for _ in range(100):
            found = list(tmp_path.rglob(KEY_FILE))
            if found and found[0].read_text().endswith("\n"):
                break
            time.sleep(0.05)
        key = found[0].read_text().strip()
        assert stat.S_IMODE(found[0].stat().st_mode) == 0o600
        assert str(found[0]) in daemon.log_text
        assert key not in daemon.log_text
        headers = {"Authorization": f"token {key}"}
        status, _, body = daemon.request("", path="/api/v1/stores", method="GET", auth=None, headers=headers)
        assert (status, json.loads(body)[0]["name"]) == (200, "Shop")
        daemon.stop()
        with daemon:
            assert found[0].read_text().strip() == key
            assert [each["label"] for each in daemon.call("listapikeys")] == ["regtest"]
