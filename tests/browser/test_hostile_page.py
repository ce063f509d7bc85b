"""A hostile page in a real browser: another origin, and a name that was pointed at this machine (DNS rebinding).

It tries every RPC method, every REST route and the event stream, with and without the right password. The node
must run none of them, and the page must read nothing.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gldnode.rpc.methods import full_registry
from tests.support.browser import chromium, serve_page
from tests.support.daemon import DaemonProcess

SCRIPT = (Path(__file__).parent / "hostile.js").read_text(encoding="utf-8")
RULES = "--host-resolver-rules=MAP *.example 127.0.0.1"
ADDRESS = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    flags = ("-rest", "-txindex", "-blockfilterindex", "-debug=rpc")
    with DaemonProcess(tmp_path_factory.mktemp("victim"), *flags, network="btc-regtest") as daemon:
        daemon.call("createwallet", "w")
        daemon.call("generatetoaddress", 3, ADDRESS)
        yield daemon


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile"), [RULES]) as driver:
        yield driver


def routes(node: DaemonProcess) -> list[str]:
    best = node.call("getbestblockhash")
    txid = node.call("getblock", best)["tx"][0]
    rest = [
        "chaininfo.json",
        f"block/{best}.json",
        f"block/notxdetails/{best}.json",
        f"blockpart/{best}.hex?offset=0&size=80",
        "blockhashbyheight/1.json",
        f"headers/{best}.json?count=2",
        f"spenttxouts/{best}.json",
        f"tx/{txid}.json",
        "mempool/info.json",
        "mempool/contents.json",
        f"getutxos/{txid}-0.json",
        f"blockfilter/basic/{best}.json",
        f"blockfilterheaders/basic/{best}.json",
        "deploymentinfo.json",
    ]
    return ["/", "/wallet/w", "/events", "/metrics", *(f"/rest/{path}" for path in rest)]


def facts(node: DaemonProcess) -> list[Any]:
    """What a caller could have changed."""
    questions = ("getbestblockhash", "listwallets", "getrawmempool", "listbanned", "getaddednodeinfo", "logging")
    return [node.call(question) for question in questions] + [node.call("getwalletinfo", wallet="w")["txcount"]]


def run_script(
    browser: Any, target: str, methods: list[str], paths: list[str], password: str
) -> list[dict[str, Any]]:
    """Run the hostile script where the browser is; what it could read."""
    call = f"{SCRIPT}; attack(...arguments).then(arguments[arguments.length - 1], arguments[arguments.length - 1])"
    read = browser.execute_async_script(call, target, methods, paths, password)
    assert isinstance(read, list), read
    return read


def assault(node: DaemonProcess, browser: Any, target: str, *, every: int = 1) -> list[dict[str, Any]]:
    """The script against the node, with each or each n-th method. The node must have run none of them."""
    before, log = facts(node), len(node.log_text)
    read = run_script(browser, target, full_registry().names()[::every], routes(node), node.cookie())
    asked = re.findall(r"ThreadRPCServer method=(\w+)", node.log_text[log:])
    assert set(asked) <= {"getbestblockhash", "getblock"}  # our own, for the routes
    assert facts(node) == before
    return read


def shows_nothing(node: DaemonProcess, read: list[dict[str, Any]]) -> None:
    """The node's refusals are all that was read, and there are many."""
    assert len(read) > 60
    for one in read:
        assert one["status"] not in (200, 101), one
        assert node.call("getbestblockhash") not in one["text"], one
        assert '"code":' in one["text"], one


def test_the_hostile_script_does_send(browser: Any) -> None:
    """Against a server without a guard: its attempts arrive, and it reads what it may."""
    seen: list[tuple[str, str, str]] = []
    with serve_page("<!doctype html><title>Victim</title><body>secret", seen) as port:
        browser.get(f"http://evil.example:{port}/")
        assert run_script(browser, f"http://127.0.0.1:{port}", ["stop"], ["/rest/chaininfo.json"], "a:b") == []
        posted = {(method, path) for method, path, body in seen if '"stop"' in body}
        assert posted >= {("POST", "/"), ("POST", "/wallet/w")}
        assert {("GET", "/rest/chaininfo.json"), ("GET", "/events")} <= {one[:2] for one in seen}
        read = run_script(browser, f"http://evil.example:{port}", ["stop"], ["/rest/chaininfo.json"], "a:b")
        assert "secret" in "".join(one["text"] for one in read)


def test_a_page_of_another_origin_reads_and_changes_nothing(node: DaemonProcess, browser: Any) -> None:
    with serve_page("<!doctype html><title>Cats</title><body>") as port:
        browser.get(f"http://evil.example:{port}/")
        assert browser.title == "Cats"
        assert assault(node, browser, f"http://127.0.0.1:{node.port}") == []
        # Another port of the same host is another origin too, though the same site.
        browser.get(f"http://127.0.0.1:{port}/")
        assert assault(node, browser, f"http://127.0.0.1:{node.port}", every=15) == []


def test_a_rebound_name_reads_and_changes_nothing(node: DaemonProcess, browser: Any) -> None:
    """The script is of the node's own origin as the browser sees it: only the Host header tells."""
    browser.get(f"http://rebind.example:{node.port}/api/docs.json")
    assert "unknown-host" in browser.page_source
    shows_nothing(node, assault(node, browser, f"http://rebind.example:{node.port}"))


def test_a_page_of_the_nodes_own_address_is_not_let_at_node_routes(node: DaemonProcess, browser: Any) -> None:
    """A checkout page with somebody's script in it, say: same origin, right Host, and yet a browser."""
    browser.get(f"http://127.0.0.1:{node.port}/health")
    shows_nothing(node, assault(node, browser, f"http://127.0.0.1:{node.port}", every=15))
