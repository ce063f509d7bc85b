"""ZeroMQ publishers and the event stream, read by clients of their own."""

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import unpack
from typing import Any

import pytest

from tests.clients.conftest import ADDRESS
from tests.support.daemon import DaemonProcess, run_to_end

zmq = pytest.importorskip("zmq")

TOPICS = ("hashblock", "hashtx", "rawblock", "rawtx", "sequence")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DaemonProcess, str]]:
    folder = tmp_path_factory.mktemp("zmq")
    address = f"ipc://{folder}/pub"
    flags = [f"-zmqpub{topic}={address}" for topic in TOPICS]
    with DaemonProcess(folder / "data", *flags, "-zmqpubrawtxhwm=7", network="btc-regtest") as daemon:
        daemon.call("createwallet", "w")
        daemon.call("generatetoaddress", 101, daemon.call("getnewaddress"))
        yield daemon, address


class Subscriber:
    """All topics of one address."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVTIMEO, 20_000)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(address)
        self.seen: list[tuple[str, bytes, int]] = []

    def until(self, topic: str, payload: bytes) -> list[tuple[str, bytes, int]]:
        """Receive up to this message; all that came."""
        start = len(self.seen)
        while True:
            name, body, counter = self._socket.recv_multipart()
            self.seen.append((name.decode(), body, unpack("<I", counter)[0]))
            if (name.decode(), body) == (topic, payload):
                return self.seen[start:]

    def receives(self, timeout_ms: int) -> bool:
        found = bool(self._socket.poll(timeout_ms))
        if found:
            self._socket.recv_multipart()
        return found

    def close(self) -> None:
        self._socket.close(0)
        self._context.term()


@pytest.fixture
def subscriber(node: tuple[DaemonProcess, str]) -> Iterator[Subscriber]:
    """Joined: a publisher has sent it something."""
    daemon, address = node
    one = Subscriber(address)
    try:
        for _ in range(40):
            block = daemon.call("generatetoaddress", 1, ADDRESS)[0]
            if one.receives(500):
                break
        one.until("sequence", bytes.fromhex(block) + b"C")
        yield one
    finally:
        one.close()


def test_publishers_are_listed(node: tuple[DaemonProcess, str]) -> None:
    daemon, address = node
    listed = daemon.call("getzmqnotifications")
    assert [(one["type"], one["address"]) for one in listed] == [(f"pub{topic}", address) for topic in TOPICS]
    assert {one["type"]: one["hwm"] for one in listed}["pubrawtx"] == 7


def test_transactions_blocks_and_reorganisations_are_published(
    node: tuple[DaemonProcess, str], subscriber: Subscriber
) -> None:
    daemon, _ = node
    txid = daemon.call("sendtoaddress", daemon.call("getnewaddress"), 1)
    raw = bytes.fromhex(daemon.call("getrawtransaction", txid))
    sequence = daemon.call("getrawmempool", False, True)["mempool_sequence"]
    added = subscriber.until("sequence", bytes.fromhex(txid) + b"A" + (sequence - 1).to_bytes(8, "little"))
    assert ("hashtx", bytes.fromhex(txid)) in [one[:2] for one in added]
    assert ("rawtx", raw) in [one[:2] for one in added]

    block = daemon.call("generatetoaddress", 1, ADDRESS)[0]
    mined = [one[:2] for one in subscriber.until("sequence", bytes.fromhex(block) + b"C")]
    whole = bytes.fromhex(daemon.call("getblock", block, 0))
    assert mined[:2] == [("hashblock", bytes.fromhex(block)), ("rawblock", whole)]
    assert mined.count(("rawtx", raw)) == 1
    assert not [one for one in mined if one[0] == "sequence" and one[1].startswith(bytes.fromhex(txid))]

    daemon.call("invalidateblock", block)
    second = daemon.call("generatetoaddress", 2, ADDRESS)
    later = [one[:2] for one in subscriber.until("sequence", bytes.fromhex(second[1]) + b"C")]
    assert [body.hex() for name, body in later if name == "hashblock"] == second
    everything = [one[:2] for one in subscriber.seen]
    assert ("sequence", bytes.fromhex(block) + b"D") in everything


def test_each_publisher_counts_for_itself_without_gaps(
    node: tuple[DaemonProcess, str], subscriber: Subscriber
) -> None:
    daemon, _ = node
    last = daemon.call("generatetoaddress", 3, ADDRESS)[-1]
    subscriber.until("sequence", bytes.fromhex(last) + b"C")
    for topic in TOPICS:
        counters = [counter for name, _, counter in subscriber.seen if name == topic]
        assert counters == list(range(counters[0], counters[0] + len(counters))), topic


def test_a_taken_address_prevents_the_start(node: tuple[DaemonProcess, str], tmp_path: Path) -> None:
    ended = run_to_end(
        tmp_path, "-chain=btc-regtest", "-rpcport=0", "-listen=0", "-zmqpubrawtx=tcp://no-such.invalid:1"
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: Unable to bind -zmqpubrawtx=tcp://no-such.invalid:1")


# --- /events ---


class Stream:
    """A reader of server-sent events."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def next(self) -> tuple[str, dict[str, Any], str]:
        """Event, data, id; comments are skipped."""
        fields: dict[str, str] = {}
        while True:
            line = self._response.readline().decode().rstrip("\n")
            if line == "" and "event" in fields:
                return fields["event"], json.loads(fields["data"]), fields.get("id", "")
            name, _, value = line.partition(": ")
            fields[name] = value


@contextmanager
def stream(daemon: DaemonProcess, query: str = "", headers: dict[str, str] | None = None) -> Iterator[Stream]:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    credentials = base64.b64encode(daemon.cookie().encode()).decode()
    connection.request(
        "GET", f"/events{query}", headers={"Authorization": f"Basic {credentials}", **(headers or {})}
    )
    response = connection.getresponse()
    try:
        assert response.status == 200, response.read()
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Stream(response)
    finally:
        response.close()
        connection.close()


def test_event_stream_tells_blocks_and_transactions(node: tuple[DaemonProcess, str]) -> None:
    daemon, _ = node
    with stream(daemon) as events:
        txid = daemon.call("sendtoaddress", daemon.call("getnewaddress"), 1)
        assert events.next() == ("hashtx", {"txid": txid}, "")
        name, data, _ = events.next()
        assert (name, data["txid"], data["type"]) == ("sequence", txid, "A")
        block = daemon.call("generatetoaddress", 1, ADDRESS)[0]
        height = daemon.call("getblockcount")
        told = [events.next() for _ in range(4)]
        assert ("hashtx", {"txid": txid, "blockhash": block}, "") in told
        assert told[-2:] == [
            ("hashblock", {"hash": block, "height": height}, ""),
            ("sequence", {"hash": block, "type": "C", "height": height}, block),
        ]


def test_event_stream_goes_on_where_the_client_was_through_a_reorganisation(
    node: tuple[DaemonProcess, str],
) -> None:
    daemon, _ = node
    left = daemon.call("generatetoaddress", 2, ADDRESS)
    height = daemon.call("getblockcount")
    daemon.call("invalidateblock", left[0])
    new = daemon.call("generatetoaddress", 1, daemon.call("getnewaddress"))[0]
    with stream(daemon, "?topics=sequence", {"Last-Event-ID": left[1]}) as events:
        told = [(data["type"], data["hash"], data["height"]) for _, data, _ in (events.next() for _ in range(3))]
    assert told == [("D", left[1], height), ("D", left[0], height - 1), ("C", new, height - 1)]


def test_event_stream_wants_the_password_and_no_browser(node: tuple[DaemonProcess, str]) -> None:
    daemon, _ = node
    assert daemon.request("", path="/events", method="GET", auth=None)[0] == 401
    assert daemon.request("", path="/events", method="GET", auth="a:b")[0] == 401
    refused = daemon.request("", path="/events", method="GET", headers={"Origin": "https://evil.example"})
    assert refused[0] == 403
    assert daemon.request("", path="/events?topics=nonsense", method="GET")[0] == 400
    assert daemon.request("", path="/events?after=zz", method="GET")[0] == 400


def test_the_node_stops_while_someone_listens(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, network="btc-regtest") as daemon, stream(daemon):
        assert daemon.terminate() == 0
