"""Clients of BTCPay's Greenfield API, unmodified, at a daemon: from an empty server to a paid invoice."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gldnode.bip32 import ExtendedKey
from gldnode.params import REGTEST
from tests.support.daemon import DaemonProcess
from tests.support.environments import npm_folder, python_with

PROGRAMS = Path(__file__).parent / "programs"
XPUB = ExtendedKey.from_seed(b"a shop of other people's software").to_public().to_text(REGTEST)


@dataclass
class Market:
    """A daemon with a store, a key, and a wallet that pays."""

    daemon: DaemonProcess
    store: str
    key: str

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.daemon.port}"

    def pay(self, address: str, amount: str) -> None:
        self.daemon.call("sendtoaddress", address, amount, wallet="payer")
        self.daemon.call("generatetoaddress", 1, self.daemon.call("getnewaddress", wallet="payer"))


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with DaemonProcess(tmp_path_factory.mktemp("market")) as daemon:
        daemon.call("createwallet", "payer")
        daemon.call("generatetoaddress", 101, daemon.call("getnewaddress", wallet="payer"))
        store = daemon.call("createstore", "Market", XPUB)["storeId"]
        key = daemon.call("createapikey", "clients")["apiKey"]
        yield Market(daemon, store, key)


def run(command: list[str], **environment: str) -> dict[str, Any]:
    """What the program prints as JSON."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=90, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return dict(json.loads(done.stdout))


def settled(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The program's second look, once the invoice is settled."""
    for _ in range(20):
        out = look()
        if out["invoice"]["status"] == "Settled":
            return out
        time.sleep(0.3)
    raise AssertionError(out)


def test_the_npm_client_makes_a_store_and_gets_paid(market: Market) -> None:
    folder = npm_folder("greenfield-npm", "btcpay-greenfield-node-client@1.7.0")
    modules = str(folder / "node_modules")

    def node(phase: str, *values: str) -> dict[str, Any]:
        command = ["node", str(PROGRAMS / "greenfield.js"), phase, market.base, market.key, *values]
        return run(command, MODULES=modules, XPUB=XPUB)

    out = node("setup")
    assert out["health"] == {"synchronized": True}
    assert out["info"]["supportedPaymentMethods"] == ["GLD-CHAIN"]
    assert out["key"]["apiKey"] == market.key
    assert out["languages"]
    assert (out["store"]["name"], out["store"]["speedPolicy"]) == ("Renamed", "HighSpeed")
    store = out["store"]["id"]
    assert {store, market.store} <= set(out["stores"])
    assert out["preview"]["addresses"][0]["address"].startswith("gldrt1")
    assert out["methodRead"]["paymentMethodId"] == "GLD-CHAIN"
    assert out["hook"]["secret"]
    assert out["hookChanged"]["enabled"] is False
    assert out["deliveries"] == []
    assert (out["noHook"]["status"], out["noHook"]["body"]["code"]) == (404, "webhook-not-found")
    assert out["bills"][0]["title"] == "Rent"
    assert out["invoice"]["amount"] == "1.50"
    assert out["methods"][0]["destination"] == out["preview"]["addresses"][0]["address"]
    assert out["updated"]["metadata"] == {"orderId": "node-2"}
    assert (out["marked"]["status"], out["marked"]["additionalStatus"]) == ("Invalid", "Marked")
    assert out["listed"] == [out["invoice"]["id"]]
    assert out["unarchived"]["archived"] is False
    assert (out["bad"]["status"], out["bad"]["body"][0]["path"]) == (422, "Amount")
    assert out["foreign"]["status"] == 403
    market.pay(out["methods"][0]["destination"], out["methods"][0]["due"])
    paid = settled(lambda: node("look", store, out["invoice"]["id"]))
    assert paid["methods"][0]["payments"][0]["status"] == "Settled"
    assert Decimal(paid["methods"][0]["due"]) == 0


def test_the_python_sdk_gets_paid(market: Market) -> None:
    python = python_with("greenfield-sdk", "btcpay-python-sdk==0.1.0")

    def sdk(phase: str, invoice_id: str = "") -> dict[str, Any]:
        program = str(PROGRAMS / "greenfield_sdk.py")
        return run([str(python), program, phase, market.base, market.key, market.store, invoice_id])

    out = sdk("setup")
    assert out["invoice"]["id"] in out["listed"]
    assert out["updated"]["metadata"] == {"orderId": "sdk-2"}
    assert out["marked"]["status"] == "Invalid"
    assert out["unarchived"]["archived"] is False
    assert out["pulls"] == []
    assert (out["bad"]["status"], out["bad"]["body"][0]["path"]) == (422, "Amount")
    assert (out["unknown"]["status"], out["unknown"]["body"]["code"]) == (404, "invoice-not-found")
    market.pay(out["methods"][0]["destination"], "1.5")
    assert settled(lambda: sdk("look", out["invoice"]["id"]))["methods"][0]["totalPaid"] == "1.5"
