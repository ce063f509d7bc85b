"""The REST interface of a real daemon, against its RPC."""

import json
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess


def get(daemon: DaemonProcess, path: str) -> tuple[int, str, bytes]:
    status, headers, body = daemon.request("", path=f"/rest/{path}", method="GET", auth=None)
    return status, headers.get("Content-Type", ""), body


def get_json(daemon: DaemonProcess, path: str) -> Any:
    status, kind, body = get(daemon, path)
    assert (status, kind) == (200, "application/json"), body
    return json.loads(body)


def test_chain_and_blocks(daemon: DaemonProcess) -> None:
    tip, first = daemon.call("getbestblockhash"), daemon.call("getblockhash", 1)
    raw = bytes.fromhex(daemon.call("getblock", first, 0))
    assert get_json(daemon, "chaininfo.json")["bestblockhash"] == tip
    assert get_json(daemon, f"block/notxdetails/{first}.json")["tx"] == daemon.call("getblock", first)["tx"]
    assert get_json(daemon, f"block/{first}.json")["tx"][0]["txid"] == daemon.call("getblock", first)["tx"][0]
    assert get(daemon, f"block/{first}.bin") == (200, "application/octet-stream", raw)
    assert get(daemon, f"block/{first}.hex")[2] == raw.hex().encode() + b"\n"
    assert get(daemon, f"blockpart/{first}.bin?offset=4&size=32")[2] == raw[4:36]
    assert get(daemon, f"blockpart/{first}.bin?offset=4&size=999999")[0] == 400
    assert get_json(daemon, "blockhashbyheight/1.json") == {"blockhash": first}
    assert len(get(daemon, f"headers/{first}.bin?count=3")[2]) == 240
    assert [one["height"] for one in get_json(daemon, f"headers/2/{first}.json")] == [1, 2]
    assert get_json(daemon, f"spenttxouts/{first}.json") == [[]]
    assert get(daemon, f"spenttxouts/{first}.bin")[2] == b"\x01\x00"
    assert get_json(daemon, "deploymentinfo.json")["deployments"]["taproot"]["active"] is True


def test_filters_and_their_headers(daemon: DaemonProcess) -> None:
    tip, first = daemon.call("getbestblockhash"), daemon.call("getblockhash", 1)
    found = daemon.call("getblockfilter", tip)
    assert get_json(daemon, f"blockfilter/basic/{tip}.json") == {"filter": found["filter"]}
    assert get(daemon, f"blockfilter/basic/{tip}.hex")[2].decode().strip().endswith(found["filter"])
    headers = [daemon.call("getblockfilter", daemon.call("getblockhash", height))["header"] for height in (1, 2)]
    assert get_json(daemon, f"blockfilterheaders/basic/{first}.json?count=2") == headers
    assert get_json(daemon, f"blockfilterheaders/basic/2/{first}.json") == headers
    assert len(get_json(daemon, f"blockfilterheaders/basic/{first}.json")) == 5
    assert get_json(daemon, f"blockfilterheaders/basic/{tip}.json") == [found["header"]]
    wire = bytes.fromhex(headers[0])[::-1] + bytes.fromhex(headers[1])[::-1]
    assert get(daemon, f"blockfilterheaders/basic/{first}.bin?count=2")[2] == wire
    refused = get(daemon, f"blockfilter/odd/{tip}.json")
    assert (refused[0], refused[2]) == (400, b"Unknown filtertype odd\r\n")


def test_transactions_mempool_and_coins(daemon: DaemonProcess) -> None:
    coinbase = daemon.call("getblock", daemon.call("getblockhash", 1))["tx"][0]
    assert get_json(daemon, f"tx/{coinbase}.json")["txid"] == coinbase
    assert get_json(daemon, "mempool/info.json")["size"] == 0
    assert get_json(daemon, "mempool/contents.json?verbose=false") == []
    found = get_json(daemon, f"getutxos/checkmempool/{coinbase}-0/{coinbase}-7.json")
    assert (found["bitmap"], len(found["utxos"])) == ("10", 1)
    assert get(daemon, f"getutxos/{coinbase}-0.bin")[2][36:39] == b"\x01\x01\x01"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("block/abc.json", 400),
        ("block/" + "11" * 32 + ".json", 404),
        ("block/" + "11" * 32 + ".exe", 404),
        ("tx/" + "11" * 32 + ".json", 404),
        ("headers/zz.bin", 400),
        ("blockhashbyheight/-1.json", 400),
        ("blockhashbyheight/99999.json", 404),
        ("getutxos/x-1.json", 400),
        ("getutxos/.json", 400),
        ("mempool/odd.json", 400),
        ("mempool/contents.json?verbose=1", 400),
        ("blockfilterheaders/odd/" + "11" * 32 + ".json", 400),
        ("blockfilterheaders/basic/" + "11" * 32 + ".json", 404),
        ("blockfilterheaders/basic/2001/" + "11" * 32 + ".json", 400),
        ("nothing", 404),
    ],
)
def test_bad_paths_get_a_status_and_a_line(daemon: DaemonProcess, path: str, status: int) -> None:
    assert get(daemon, path)[0] == status
