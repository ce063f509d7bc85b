"""kill -9 of the real daemon at random moments, while it mines, takes payments and sends webhooks.

Afterwards its payments are compared with its own chain: every output that pays an invoice is credited exactly
once, no webhook is lost to an endpoint that answers, and each invoice's events arrive in their order.
"""

import contextlib
import http.client
import http.server
import json
import random
import socket
import threading
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from payments.events import EventType
from tests.support.campaign import campaign, campaign_seed
from tests.support.daemon import DaemonProcess, RpcFailure

OUTAGES = (OSError, http.client.HTTPException, RpcFailure, ValueError)
"""What a client sees of a daemon that dies under it."""

EVERY_EVENT = [str(kind) for kind in EventType if kind is not EventType.TEST]


class Endpoint(http.server.ThreadingHTTPServer):
    """A webhook receiver in a thread; refuses while `is_failing`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.arrived: list[dict[str, Any]] = []
        self.is_failing = False
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Endpoint)
        refused = self.server.is_failing
        if not refused:
            self.server.arrived.append(body)
        self.send_response(503 if refused else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the daemon was killed
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


class Shop:
    """The daemon with its stores, and what the outside world has seen of it."""

    def __init__(self, base: Path, rng: random.Random) -> None:
        self.rng = rng
        self.daemon = DaemonProcess(base)
        self.invoices: dict[str, dict[str, Any]] = {}
        self.unanswered: list[tuple[str, dict[str, Any]]] = []
        self.made = 0
        self.killing = threading.Event()

    def set_up(self, hooks: list[str]) -> None:
        call = self.daemon.call
        for name in ("shop", "customer"):  # the last word: loaded at every start
            call("createwallet", name, False, False, "", False, True, True)
        self.miner = call("getnewaddress", wallet="customer")
        call("generatetoaddress", 125, self.miner)
        self.merchant = call("getnewaddress", wallet="shop")
        descriptors = call("listdescriptors", wallet="shop")["descriptors"]
        external = next(d["desc"] for d in descriptors if d["desc"].startswith("wpkh(") and not d["internal"])
        self.stores = [call("createstore", "fixed", self.merchant)["storeId"]]
        self.stores.append(call("createstore", "fresh", external)["storeId"])
        self.keys = [call("createapikey", "till", store)["apiKey"] for store in self.stores]
        for store, key in zip(self.stores, self.keys, strict=True):
            for url in hooks:
                wish = {"everything": False, "specificEvents": EVERY_EVENT}
                hook = {"url": url, "authorizedEvents": wish}
                self.http("POST", f"/api/v1/stores/{store}/webhooks", key, hook)

    def http(self, method: str, path: str, key: str, body: Any = None, idempotency_key: str = "") -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=20)
        headers = {"Authorization": f"token {key}", "Content-Type": "application/json"}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise ValueError(f"{method} {path}: {response.status} {data[:300]!r}")
        return json.loads(data, parse_float=Decimal) if data else None

    # -- what goes on while the axe falls --

    def create(self) -> None:
        self.made += 1
        which = self.rng.randrange(2)
        amount = f"{self.rng.randrange(1, 300_000_000) / 100_000_000:.8f}"
        body = {
            "merchant": self.merchant if which == 0 else self.stores[1],
            "amount": amount,
            "ttlSeconds": 86_400,
        }
        self._create(f"order-{self.made}", body)

    def _create(self, order: str, body: dict[str, Any]) -> None:
        key = self.keys[0 if body["merchant"] == self.merchant else 1]
        self.unanswered.append((order, body))
        invoice = self.http("POST", "/api/btngpay/invoice", key, body, order)
        self.unanswered.remove((order, body))
        assert self.invoices.get(invoice["invoiceId"], invoice)["address"] == invoice["address"]
        self.invoices[invoice["invoiceId"]] = {**invoice, "key": key}

    def pay(self) -> None:
        if not self.invoices:
            return
        invoice = self.rng.choice(list(self.invoices.values()))
        amount = Decimal(str(invoice["amountText"])) * self.rng.choice(
            [Decimal("0.5"), Decimal(1), Decimal(1), Decimal(1), Decimal(2)]
        )
        outputs = [{invoice["address"]: str(amount.quantize(Decimal("0.00000001")))}]
        if invoice["address"] == self.merchant:
            outputs.append({"data": invoice["invoiceId"].encode().hex()})
        self.daemon.call("send", outputs, wallet="customer")

    def mine(self) -> None:
        self.daemon.call("generatetoaddress", 1, self.miner)

    def reorganise(self) -> None:
        height = self.daemon.call("getblockcount")
        depth = self.rng.randrange(1, 3)
        self.daemon.call("invalidateblock", self.daemon.call("getblockhash", height - depth + 1))
        self.daemon.call("generatetoaddress", depth + 1, self.miner)

    def work(self, seed: int) -> None:
        """Random business until the daemon dies."""
        rng = random.Random(seed)
        while not self.killing.is_set():
            deed = rng.choice([self.create, self.create, self.pay, self.pay, self.pay, self.mine])
            if rng.random() < 0.02:
                deed = self.reorganise
            try:
                deed()
            except OUTAGES:
                if not self.killing.is_set():
                    time.sleep(0.02)

    def round(self, seed: int) -> None:
        """Work, then kill -9, then start again and repeat what was not answered."""
        self.killing.clear()
        workers = [threading.Thread(target=self.work, args=(seed + i,)) for i in range(3)]
        for worker in workers:
            worker.start()
        time.sleep(self.rng.random() * 1.5)
        self.killing.set()
        self.daemon.kill()
        for worker in workers:
            worker.join(30)
            assert not worker.is_alive()
        self.daemon.start()
        for order, body in list(self.unanswered):
            self.unanswered.remove((order, body))
            self._create(order, body)

    # -- afterwards --

    def paid_on_chain(self) -> dict[str, set[tuple[str, int]]]:
        """The outputs of the daemon's own chain that pay an invoice, by the rules of matching."""
        by_address = {
            invoice["address"]: name
            for name, invoice in self.invoices.items()
            if invoice["address"] != self.merchant
        }
        found: dict[str, set[tuple[str, int]]] = defaultdict(set)
        for height in range(1, self.daemon.call("getblockcount") + 1):
            block = self.daemon.call("getblock", self.daemon.call("getblockhash", height), 2)
            for tx in block["tx"]:
                memos = [
                    out["scriptPubKey"]["hex"] for out in tx["vout"] if out["scriptPubKey"]["type"] == "nulldata"
                ]
                memo = bytes.fromhex(memos[0])[2:].decode(errors="replace") if len(memos) == 1 else ""
                for out in tx["vout"]:
                    address = out["scriptPubKey"].get("address", "")
                    name = by_address.get(address) or (memo if address == self.merchant else None)
                    if name in self.invoices:
                        found[name].add((tx["txid"], out["n"]))
        return found

    def events(self, which: int) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        while True:
            after = events[-1]["sequence"] if events else 0
            answer = self.http(
                "GET", f"/api/v1/stores/{self.stores[which]}/events?after={after}&limit=1000", self.keys[which]
            )
            page = answer["events"]
            if not page:
                return events
            events += page


@pytest.fixture
def black_hole() -> Any:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hook"


def test_nothing_is_lost_when_the_daemon_is_killed(tmp_path: Path, black_hole: str) -> None:
    seed = campaign_seed("kill rounds")
    shop = Shop(tmp_path, random.Random(seed))
    good, flaky = Endpoint(), Endpoint()
    flaky.is_failing = True
    shop.daemon.start()
    try:
        shop.set_up([good.url, flaky.url, black_hole])
        rounds = campaign(10, 200)
        for number in range(rounds):
            flaky.is_failing = number < rounds // 2
            shop.round(seed + 10 * number)
        shop.daemon.call("generatetoaddress", 3, shop.miner)
        compare(shop, good)
    finally:
        with contextlib.suppress(Exception):
            shop.daemon.stop()
        shop.daemon.kill()
        good.close()
        flaky.close()
    assert "Traceback" not in (tmp_path / "output.txt").read_text()


def compare(shop: Shop, good: Endpoint) -> None:
    """Payments equal the chain; every event has reached the good endpoint, each invoice's in order."""
    assert shop.invoices
    expected = shop.paid_on_chain()
    assert expected
    end = time.monotonic() + 60
    while (difference := unlike(shop, expected)) and time.monotonic() < end:
        time.sleep(0.5)
    assert not difference
    addresses = [i["address"] for i in shop.invoices.values() if i["address"] != shop.merchant]
    assert len(set(addresses)) == len(addresses)
    for which in range(2):
        wanted = {event["eventId"]: f"{event['type']} {event.get('invoiceId')}" for event in shop.events(which)}
        while missing(wanted, good) and time.monotonic() < end:
            time.sleep(0.2)
        assert not missing(wanted, good), f"not delivered of {len(wanted)} events"
    last: dict[tuple[str, str], int] = defaultdict(int)
    seen: set[str] = set()
    for event in list(good.arrived):
        if event["eventId"] in seen:
            continue  # sent again after a kill between delivery and its record: allowed
        seen.add(event["eventId"])
        place = (event["storeId"], event.get("invoiceId", ""))
        assert event["sequence"] > last[place], event
        last[place] = event["sequence"]


def missing(wanted: dict[str, str], good: Endpoint) -> dict[str, str]:
    """Events that the endpoint has not had."""
    had = {event["eventId"] for event in list(good.arrived)}
    return {event_id: about for event_id, about in wanted.items() if event_id not in had}


def unlike(shop: Shop, expected: dict[str, set[tuple[str, int]]]) -> list[str]:
    """Invoices whose confirmed payments are not what the chain has."""
    wrong = []
    for name, invoice in shop.invoices.items():
        shown = shop.http("GET", f"/api/btngpay/invoice/{name}", invoice["key"])
        confirmed = [(p["txId"], p["vout"]) for p in shown["payments"] if p["confirmations"] > 0]
        if len(set(confirmed)) != len(confirmed) or set(confirmed) != expected.get(name, set()):
            wrong.append(f"{name}: shown {sorted(confirmed)}, chain {sorted(expected.get(name, set()))}")
    return wrong
