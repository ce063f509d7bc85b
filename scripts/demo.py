"""The demonstration: a node, two wallets, a store, an invoice, a payment, a block, the webhooks."""

import argparse
import hashlib
import hmac
import http.server
import json
import os
import queue
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import segno
from rich.console import Console
from rich.markup import escape

BIN = Path(sys.executable).parent
out = Console(highlight=False)


class Failed(Exception):
    """A step went wrong; the message says which and how."""


class Receiver(http.server.ThreadingHTTPServer):
    """The shop's end of the webhooks: keeps what arrives with its signature header."""

    daemon_threads = True

    def __init__(self) -> None:
        self.arrived: queue.Queue[tuple[bytes, str]] = queue.Queue()
        super().__init__(("127.0.0.1", 0), _ReceiverHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/webhook"


class _ReceiverHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), 1_000_000))
        assert isinstance(self.server, Receiver)
        self.server.arrived.put((body, self.headers.get("BTCPay-Sig", "")))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the demonstration prints what arrives itself."""


def free_port(preferred: int) -> int:
    """`preferred` when nothing listens there, else a free one."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Failed("no free port on 127.0.0.1")


class Demo:
    """One run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port(8080)
        self.base = f"http://127.0.0.1:{self.port}"
        self.flags = ["-regtest", f"-datadir={folder}", f"-rpcport={self.port}"]
        self.node: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(BIN / "gldnode"), *self.flags, f"-port={free_port(24653)}", "-printtoconsole=0"]
        out.print(f"[bold]$ gldnode {escape(' '.join(self.flags))}[/bold]")
        errors = (self.folder / "stderr.txt").open("wb")
        self.node = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
        errors.close()
        with out.status("starting the node") as status:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                if self.node.poll() is not None:
                    raise Failed(f"the node ended: {(self.folder / 'stderr.txt').read_text().strip()}")
                done = self._try_cli("getblockcount")
                if done.returncode == 0:
                    return
                if message := done.stderr.strip().splitlines()[-1:]:
                    status.update(f"starting the node: {escape(message[0][:70])}")
                time.sleep(0.2)
        raise Failed("the node did not answer within 60 seconds")

    def stop(self) -> None:
        """End the node and wait for it."""
        if self.node is None:
            return
        if self.node.poll() is None:
            self.node.send_signal(signal.SIGTERM)
        try:
            code = self.node.wait(30)
        except subprocess.TimeoutExpired:
            self.node.kill()
            raise Failed("the node did not stop within 30 seconds") from None
        if code:
            raise Failed(f"the node ended with status {code}")

    def _try_cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(BIN / "gld-cli"), *self.flags, *arguments], capture_output=True, text=True)

    def cli(self, *arguments: str, show: bool = True) -> str:
        """`gld-cli` with these arguments; what it prints."""
        if show:
            out.print(f"[bold]$ gld-cli -regtest {escape(shlex.join(arguments))}[/bold]", soft_wrap=True)
        done = self._try_cli(*arguments)
        if done.returncode:
            raise Failed(f"gld-cli {shlex.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def http(self, method: str, path: str, key: str = "", body: Any = None, *, show: bool = True) -> Any:
        """A call as curl would make it, printed as curl; made with curl where it is installed."""
        url = self.base + path
        command = ["curl", "-s", "-X", method, url]
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key:
            headers["Authorization"] = f"token {key}"
        for name, value in headers.items():
            command += ["-H", f"{name}: {value}"]
        text = json.dumps(body) if body is not None else None
        if text is not None:
            command += ["-d", text]
        if show:
            shown = shlex.join(command).replace(key, key[:7] + "…") if key else shlex.join(command)
            out.print(f"[bold]$ {escape(shown)}[/bold]", soft_wrap=True)
        if shutil.which("curl"):
            answer = subprocess.run(command, capture_output=True, check=True).stdout
        else:
            request = urllib.request.Request(url, text.encode() if text else None, headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    answer = response.read()
            except urllib.error.HTTPError as error:
                answer = error.read()
        value = json.loads(answer) if answer else None
        if isinstance(value, dict) and "code" in value and "message" in value:
            raise Failed(f"{method} {path}: {value['code']}: {value['message']}")
        return value

    def status(self, invoice_id: str, wanted: str) -> dict[str, Any]:
        """Poll the invoice until it is `wanted`."""
        end = time.monotonic() + 20
        while True:
            invoice: dict[str, Any] = self.http("GET", f"/api/btngpay/invoice/{invoice_id}", show=False)
            if invoice["status"] == wanted:
                return invoice
            if time.monotonic() > end:
                raise Failed(f"the invoice is {invoice['status']}, not {wanted}")
            time.sleep(0.1)


def show_webhooks(receiver: Receiver, secrets: dict[str, str], until: str) -> None:
    """Print what arrives, signatures checked, up to the event or status `until`."""
    end = time.monotonic() + 20
    while True:
        try:
            body, signature = receiver.arrived.get(timeout=max(0.1, end - time.monotonic()))
        except queue.Empty:
            raise Failed(f"no webhook {until} within 20 seconds") from None
        event = json.loads(body)
        expected = {
            name: "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            for name, secret in secrets.items()
        }
        signer = next((name for name, value in expected.items() if hmac.compare_digest(value, signature)), None)
        if signer is None:
            raise Failed(f"a webhook came with a wrong signature: {signature!r}")
        name = event.get("type") or event.get("status")
        verdict = f"signature by the {signer}'s secret: [green]valid[/green]"
        out.print(f"   [green]webhook[/green] {name:<26} {signature[:22]}…  {verdict}", soft_wrap=True)
        if name == until:
            return


def run(demo: Demo, receiver: Receiver, keep: bool) -> None:
    """The story."""
    out.rule("a node")
    demo.start()
    for wallet in ("shop", "customer"):
        demo.cli("createwallet", wallet)
    miner = demo.cli("-rpcwallet=customer", "getnewaddress")
    with out.status("mining 101 blocks, so that the customer has coins to spend"):
        demo.cli("generatetoaddress", "101", miner)
    out.print(f"the customer has {demo.cli('-rpcwallet=customer', 'getbalance', show=False)} GLD")

    out.rule("a store")
    merchant = demo.cli("-rpcwallet=shop", "getnewaddress")
    store = json.loads(demo.cli("createstore", "Corner shop", merchant))
    key = json.loads(demo.cli("createapikey", "till", store["storeId"]))["apiKey"]
    hook = demo.http(
        "POST", f"/api/v1/stores/{store['storeId']}/webhooks", key, {"url": receiver.url, "enabled": True}
    )
    secrets = {"webhook": hook["secret"], "store": store["callbackSecret"]}

    out.rule("an invoice")
    body = {
        "merchant": merchant,
        "amount": 12.5,
        "currency": "GLD",
        "memo": "Two coffees and a gold bar",
        "ttlSeconds": 900,
    }
    invoice = demo.http("POST", "/api/btngpay/invoice", key, body)
    invoice_id, uri = invoice["invoiceId"], invoice["uri"]
    out.print(f"invoice {invoice_id}, {invoice['amountText']} GLD, {invoice['status']}")
    out.print(f"pay to  [bold]{escape(uri)}[/bold]", soft_wrap=True)
    segno.make(uri, error="m").terminal(compact=True, border=2)

    out.rule("a payment")
    memo = invoice_id.encode().hex()
    paid = demo.cli(
        "-rpcwallet=customer", "-named", "send", f'outputs=[{{"{merchant}":12.5}},{{"data":"{memo}"}}]'
    )
    txid = json.loads(paid)["txid"]
    demo.status(invoice_id, "pending")
    show_webhooks(receiver, secrets, "InvoiceProcessing")
    out.print("the invoice is [yellow]pending[/yellow]: seen in the mempool, waiting for a block")
    demo.http("POST", "/api/btngpay/pay", key, {"invoiceId": invoice_id, "from": miner, "txId": txid})

    out.rule("a block")
    demo.cli("generatetoaddress", "1", miner)
    demo.status(invoice_id, "paid")
    show_webhooks(receiver, secrets, "InvoiceSettled")
    out.print("the invoice is [bold green]paid[/bold green]")
    if keep:
        out.rule("what next")
        demo.http("DELETE", f"/api/v1/stores/{store['storeId']}/webhooks/{hook['id']}", key, show=False)
        print_next(demo, key, store["storeId"], invoice_id, miner)


def print_next(demo: Demo, key: str, store_id: str, invoice_id: str, miner: str) -> None:
    """What a developer would do with the running node."""
    cli = f"{BIN / 'gld-cli'} {' '.join(demo.flags)}"
    for line in (
        f"checkout page    {demo.base}/i/{invoice_id}",
        f"API documents    {demo.base}/docs",
        f"API key          {key}",
        f"store            {store_id}",
        f"command line     {cli} getblockchaininfo",
        f"mine a block     {cli} generatetoaddress 1 {miner}",
        f"stop             {cli} stop",
        f"data folder      {demo.folder}",
    ):
        out.print(escape(line), soft_wrap=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the node running and say what to try next")
    keep = parser.parse_args().keep
    folder = Path(tempfile.mkdtemp(prefix="gld-demo-"))
    os.environ.pop("PYTHONWARNINGS", None)
    demo, receiver = Demo(folder), Receiver()
    begun, code = time.monotonic(), 1
    try:
        run(demo, receiver, keep)
        code = 0
    except Failed as error:
        out.print(f"[bold red]failed:[/bold red] {escape(str(error))}")
        log = folder / "regtest" / "debug.log"
        if log.exists():
            out.print(escape("\n".join(log.read_text(errors="replace").splitlines()[-15:])))
    except KeyboardInterrupt:
        out.print("interrupted")
    finally:
        if not (keep and code == 0):
            try:
                demo.stop()
            except Failed as error:
                out.print(f"[bold red]failed:[/bold red] {escape(str(error))}")
                code = 1
    if keep and code == 0:
        return code
    if code == 0:
        shutil.rmtree(folder, ignore_errors=True)
        seconds = f"{time.monotonic() - begun:.0f}"
        out.print(f"\nnode stopped; {seconds} seconds in all. [bold]scripts/demo --keep[/bold] leaves it running.")
    else:
        out.print(f"the data folder is kept: {folder}")
    return code


if __name__ == "__main__":
    sys.exit(main())
