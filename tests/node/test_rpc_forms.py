"""JSON-RPC over HTTP, rule by rule, against a real daemon: each rule breaks a real client when it is not kept."""

import json
import threading
import time
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess


def post(daemon: DaemonProcess, value: Any, **options: Any) -> tuple[int, Any]:
    body = value if isinstance(value, (bytes, str)) else json.dumps(value)
    status, headers, data = daemon.request(body, **options)
    if data:
        assert headers["Content-Type"] == "application/json"
    return status, json.loads(data) if data else None


def test_content_type_is_exact_and_any_request_type_is_taken(daemon: DaemonProcess) -> None:
    for kind in ("application/octet-stream", "application/json-rpc", "application/json", "text/plain"):
        status, headers, _ = daemon.request('{"method":"getblockcount"}', headers={"Content-Type": kind})
        assert status == 200
        assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("version", [{}, {"jsonrpc": "1.0"}, {"jsonrpc": "1.1"}, {"version": "1.1"}])
def test_version_1_answers_carry_result_and_error(daemon: DaemonProcess, version: dict[str, str]) -> None:
    status, reply = post(daemon, {**version, "id": "x", "method": "getblockcount"})
    assert status == 200
    assert reply == {"result": 110, "error": None, "id": "x"}
    status, reply = post(daemon, {**version, "id": 5, "method": "getblockhash", "params": [99999]})
    assert status == 500
    assert reply == {"result": None, "error": {"code": -8, "message": "Block height out of range"}, "id": 5}


def test_version_1_unknown_method_is_404_and_bad_request_400(daemon: DaemonProcess) -> None:
    assert post(daemon, {"id": 1, "method": "getinfo"}) == (
        404,
        {"result": None, "error": {"code": -32601, "message": "Method not found"}, "id": 1},
    )
    status, reply = post(daemon, {"id": 1})
    assert (status, reply["error"]) == (400, {"code": -32600, "message": "Missing method"})
    status, reply = post(daemon, {"id": 1, "method": 7})
    assert (status, reply["error"]) == (400, {"code": -32600, "message": "Method must be a string"})
    status, reply = post(daemon, {"id": 1, "method": "getblockcount", "params": 7})
    assert (status, reply["error"]["message"]) == (400, "Params must be an array or object")


def test_version_2_answers_carry_one_of_result_and_error_with_status_200(daemon: DaemonProcess) -> None:
    assert post(daemon, {"jsonrpc": "2.0", "id": 1, "method": "getblockcount"}) == (
        200,
        {"jsonrpc": "2.0", "result": 110, "id": 1},
    )
    status, reply = post(daemon, {"jsonrpc": "2.0", "id": 1, "method": "nothing"})
    assert status == 200
    assert reply == {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": 1}


def test_version_2_without_id_is_a_notification(daemon: DaemonProcess) -> None:
    assert post(daemon, {"jsonrpc": "2.0", "method": "getblockcount"}) == (204, None)
    assert post(daemon, {"jsonrpc": "2.0", "id": None, "method": "getblockcount"})[0] == 200


@pytest.mark.parametrize(
    ("version", "message"),
    [("3.0", "JSON-RPC version not supported"), (2, "jsonrpc field must be a string")],
)
def test_other_versions_are_refused(daemon: DaemonProcess, version: Any, message: str) -> None:
    status, reply = post(daemon, {"jsonrpc": version, "id": 1, "method": "getblockcount"})
    assert (status, reply["error"]) == (400, {"code": -32600, "message": message})


def test_batches_are_answered_in_order_each_in_its_own_form(daemon: DaemonProcess) -> None:
    calls: list[Any] = [{"id": n, "method": "getblockhash", "params": [n % 111]} for n in range(1000)]
    status, replies = post(daemon, calls)
    assert status == 200
    assert [reply["id"] for reply in replies] == list(range(1000))
    mixed = [
        {"id": 1, "method": "getblockcount"},
        {"jsonrpc": "2.0", "id": 2, "method": "nothing"},
        {"jsonrpc": "2.0", "method": "getblockcount"},
        7,
        {"id": 3, "method": "nothing"},
    ]
    status, replies = post(daemon, mixed)
    assert status == 200
    assert replies == [
        {"result": 110, "error": None, "id": 1},
        {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": 2},
        {"result": None, "error": {"code": -32600, "message": "Invalid Request object"}, "id": None},
        {"result": None, "error": {"code": -32601, "message": "Method not found"}, "id": 3},
    ]


def test_empty_batch_and_batch_of_notifications(daemon: DaemonProcess) -> None:
    assert post(daemon, []) == (200, [])
    assert post(daemon, [{"jsonrpc": "2.0", "method": "uptime"}]) == (204, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"7",
        b'"x"',
        b"[1] x",
        b"\xff\xfe",
        b"NaN",
        b'{"method":"echo","params":["\\ud800"]}',
        b"[" * 10_000,
        b"[" * 600 + b"]" * 600,
    ],
)
def test_what_is_no_request_gets_a_parse_error(daemon: DaemonProcess, body: bytes) -> None:
    status, reply = post(daemon, body)
    assert status == 500
    assert reply["error"]["code"] == -32700


def test_wrong_password_is_401_after_a_pause(daemon: DaemonProcess) -> None:
    started = time.monotonic()
    status, headers, _ = daemon.request('{"method":"getblockcount"}', auth="alice:wrong")
    assert status == 401
    assert headers["WWW-Authenticate"] == 'Basic realm="jsonrpc"'
    assert time.monotonic() - started >= 0.25
    assert daemon.request('{"method":"getblockcount"}', auth=None)[0] == 401
    assert daemon.request("{}", auth=None, headers={"Authorization": "Basic !!!"})[0] == 401
    assert daemon.request("{}", auth=None, headers={"Authorization": "Bearer x"})[0] == 401


def test_rpcauth_and_whitelist(daemon: DaemonProcess) -> None:
    ask = '{"id":1,"method":"%s"}'
    assert daemon.request(ask % "getblockcount", auth="alice:correct horse")[0] == 200
    assert daemon.request(ask % "getblockcount", auth="bob:battery")[0] == 200
    assert daemon.request(ask % "stop", auth="bob:battery")[0] == 403
    assert daemon.request(f"[{ask % 'uptime'},{ask % 'stop'}]", auth="bob:battery")[0] == 403


def test_only_post_at_root(daemon: DaemonProcess) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert daemon.request("", method=method)[0] == 405


def test_too_large_a_body_is_413(daemon: DaemonProcess) -> None:
    assert daemon.request("x", headers={"Content-Length": str(0x02000001)})[0] == 413


def test_browsers_and_foreign_hosts_are_kept_out(daemon: DaemonProcess) -> None:
    ask = '{"id":1,"method":"getblockcount"}'
    assert daemon.request(ask, headers={"Origin": "http://evil.example"})[0] == 403
    assert daemon.request(ask, headers={"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert daemon.request(ask, headers={"X-Forwarded-For": "10.0.0.1"})[0] == 403
    assert daemon.request(ask, headers={"Host": "evil.example"})[0] == 421


def test_work_queue_is_bounded(tmp_path_factory: pytest.TempPathFactory, daemon: DaemonProcess) -> None:
    """17 of 18 waiting calls fill 16 workers and a queue of 1; checked on the handler's own limit."""
    statuses: list[int] = []
    ask = '{"id":1,"method":"waitfornewblock","params":[1500]}'

    def wait() -> None:
        statuses.append(daemon.request(ask)[0])

    threads = [threading.Thread(target=wait) for _ in range(90)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(503) == 10
    assert statuses.count(200) == 80


def test_amounts_have_8_decimals_and_no_exponent(daemon: DaemonProcess) -> None:
    _, _, data = daemon.request('{"id":1,"method":"getmempoolinfo"}')
    assert b'"minrelaytxfee":0.00000100' in data
    assert b'"total_fee":0.00000000' in data


def test_wallet_path_is_decoded(daemon: DaemonProcess) -> None:
    status, reply = post(daemon, {"id": 1, "method": "getblockcount"}, path="/wallet/a%20b%2Fc")
    assert (status, reply["result"]) == (200, 110)
