"""gld-cli against a real daemon: output forms and exit statuses that bitcoin-cli's users rely on."""

import json

import pytest

from gldnode.rpc.argtypes import TABLE, describe
from gldnode.rpc.methods import full_registry
from payments.plugin import PaymentsPlugin
from tests.support.daemon import DaemonProcess, run_cli


def test_the_table_of_arguments_is_what_the_methods_declare() -> None:
    registry = full_registry()
    registry.add(PaymentsPlugin.rpc_methods)
    for name, line in TABLE.items():
        method = registry.get(name)
        assert method is not None, f"{name} is in gldnode/rpc/argtypes.py only"
        assert line == describe(method)


def test_text_is_bare_objects_are_json_null_is_nothing(daemon: DaemonProcess) -> None:
    done = daemon.cli("getblockhash", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206\n"
    done = daemon.cli("getmempoolinfo")
    assert json.loads(done.stdout)["size"] == 0
    assert '  "minrelaytxfee": 0.00000100,\n' in done.stdout
    done = daemon.cli("gettxout", "00" * 32, "0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["getblockhash", "99999"], 8, "error code: -8\nerror message:\nBlock height out of range\n"),
        (["getblock", "00" * 32], 5, "error code: -5\nerror message:\nBlock not found\n"),
        (["nothing"], (32601 % 256), "error code: -32601\nerror message:\nMethod not found\n"),
        (["sendrawtransaction", "00"], 22, "error code: -22\nerror message:\nTX decode failed."),
    ],
)
def test_rpc_errors_are_the_exit_status(
    daemon: DaemonProcess, words: list[str], status: int, message: str
) -> None:
    done = daemon.cli(*words)
    assert done.returncode == status
    assert done.stdout == ""
    assert done.stderr.startswith(message)


def test_named_stdin_and_mixed_arguments(daemon: DaemonProcess) -> None:
    genesis = daemon.call("getblockhash", 0)
    assert daemon.cli("-named", "getblockhash", "height=0").stdout.strip() == genesis
    assert daemon.cli("-named", "getblockheader", genesis, "verbose=false").stdout.startswith("01000000")
    assert daemon.cli("-stdin", "getblockhash", stdin="0\n").stdout.strip() == genesis
    assert daemon.cli("-stdin", "getblock", stdin=f"{genesis}\n0\n").stdout.startswith("01000000")


def test_password_from_stdin(daemon: DaemonProcess) -> None:
    words = ("-rpcuser=alice", "-stdinrpcpass", "-stdin", "getblockhash")
    assert daemon.cli(*words, stdin="correct horse\n0\n").returncode == 0
    wrong = daemon.cli(*words, stdin="wrong\n0\n")
    assert wrong.returncode == 1
    assert "incorrect rpcuser or rpcpassword" in wrong.stderr.lower()


def test_unreachable_node_is_status_1(tmp_path: object) -> None:
    done = run_cli("-regtest", f"-datadir={tmp_path}", "-rpcport=1", "-rpcwait", "-rpcwaittimeout=1", "uptime")
    assert done.returncode == 1
    assert "Could not connect to the server 127.0.0.1:1" in done.stderr


def test_wrong_command_lines_are_status_1(daemon: DaemonProcess) -> None:
    assert run_cli().returncode == 1
    assert "Invalid parameter -bogus" in daemon.cli("-bogus", "uptime").stderr
    done = daemon.cli("getblockhash", "abc")
    assert (done.returncode, done.stderr) == (1, "error: Error parsing JSON: abc\n")


def test_getinfo(daemon: DaemonProcess) -> None:
    done = daemon.cli("-getinfo", "-color=always")
    assert done.returncode == 0
    assert "Blocks" in done.stdout
    assert "\x1b[" in done.stdout
    assert "\x1b[" not in daemon.cli("-getinfo").stdout
    assert run_cli("-version").stdout.startswith("Gold-Coin RPC client version")
    assert "-rpcwait" in run_cli("-help").stdout
