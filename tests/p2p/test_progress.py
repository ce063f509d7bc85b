"""The download as an operator sees it: how far the headers are, and what a full disk does to it."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from gldnode.chain.options import ChainOptions
from gldnode.chain.space import DiskSpace
from gldnode.display import TerminalDisplay
from gldnode.p2p.messages import MAX_HEADERS, Headers
from gldnode.p2p.peer import ConnectionType
from gldnode.primitives.block import BlockHeader
from tests.support.simnet import SIM_PARAMS, SimNetwork
from tests.support.wire import Lab, header_chain

LENGTH = 3_500


def sync_lab(*, minimum_blocks: int = 0) -> tuple[Lab, list[BlockHeader]]:
    """A node of a network whose blocks have a rhythm, and a chain for it."""
    lab = Lab(
        params=replace(SIM_PARAMS, is_regtest=False),
        options=ChainOptions(minimum_chain_work=2 * minimum_blocks),
    )
    lab.clock.ms += 20 * 86_400_000
    genesis = lab.params.genesis
    return lab, header_chain(lab.params, genesis.hash, genesis.header.time, LENGTH)


def test_headers_show_how_far_they_are_while_more_are_to_come() -> None:
    lab, headers = sync_lab()
    notices: list[str] = []
    lab.node.processing.notice = notices.append
    sync = lab.node.processing.headers
    peer = lab.peer(ConnectionType.OUTBOUND_FULL_RELAY)
    peer.send("headers", Headers(headers[:MAX_HEADERS]).encode())
    progress = sync.progress
    assert progress is not None
    assert not progress.is_presync
    assert progress.height == lab.node.chain.best_header.height == MAX_HEADERS
    to_come = (lab.clock.now() - headers[MAX_HEADERS - 1].time) // lab.params.block_interval_s
    assert progress.expected == MAX_HEADERS + to_come
    assert 0 < progress.percent < 100
    assert notices[0].startswith("Synchronizing blockheaders, height: 2000 (~")
    peer.send("headers", Headers(headers[MAX_HEADERS:]).encode())
    assert sync.progress is None
    assert lab.node.chain.best_header.height == LENGTH


def test_headers_that_are_only_counted_are_shown_as_such() -> None:
    lab, headers = sync_lab(minimum_blocks=3_000)
    sync = lab.node.processing.headers
    peer = lab.peer(ConnectionType.OUTBOUND_FULL_RELAY)
    peer.send("headers", Headers(headers[:MAX_HEADERS]).encode())
    progress = sync.progress
    assert progress is not None
    assert progress.is_presync
    assert str(progress).startswith("Pre-synchronizing blockheaders, height: 2000 (~")
    assert peer.state.low_work.presync_height == MAX_HEADERS
    assert lab.node.chain.best_header.height == 0


def test_a_peer_that_does_not_go_on_is_no_progress() -> None:
    lab, headers = sync_lab()
    peer = lab.peer(ConnectionType.OUTBOUND_FULL_RELAY)
    peer.send("headers", Headers(headers[:MAX_HEADERS]).encode())
    lab.run(121)
    assert lab.node.processing.headers.progress is None


def test_the_terminal_says_what_comes_in() -> None:
    terminal = io.StringIO()
    display = TerminalDisplay(Console(file=terminal, force_terminal=True, width=150))
    seen = []
    steps: list[Callable[[], None]] = [
        lambda: display.headers(500, 2_000, is_presync=True, blocks=0, peers=3),
        lambda: display.headers(1_500, 2_000, is_presync=False, blocks=7, peers=3),
        lambda: display.chain(900, 2_000, 0, 3),
        lambda: display.chain(2_000, 2_000, 5, 3),
    ]
    for step in steps:
        step()
        display.refresh()
        seen.append(terminal.getvalue().splitlines()[-1])
        terminal.truncate(0)
    display.close()
    for line, expected in zip(
        seen,
        (
            ("Pre-synchronizing headers (~25.0 %)", "500/2000", "blocks 0, peers 3"),
            ("Synchronizing headers (~75.0 %)", "1500/2000", "blocks 7, peers 3"),
            ("Synchronizing blocks", "900/2000", "mempool 0, peers 3"),
            ("Running", "2000/2000", "mempool 5, peers 3"),
        ),
        strict=True,
    ):
        assert all(part in line for part in expected), line


def test_download_pauses_while_the_disk_is_full_and_goes_on_by_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    net = SimNetwork(12, 2)
    source, sink = net.nodes
    source.mine(120)
    free = {"mib": 100}
    monkeypatch.setattr(
        "gldnode.chain.space.shutil.disk_usage", lambda folder: SimpleNamespace(free=free["mib"] << 20)
    )
    monkeypatch.setattr(sink.chain, "_space", DiskSpace(tmp_path, 50))
    net.connect(sink, source)
    assert net.run_until(lambda: sink.chain.tip.height > 20, 60)
    free["mib"] = 49
    net.run(5)
    reached = sink.chain.tip.height
    assert reached < 120
    (state,) = sink.processing.peers.values()
    asked = state.peer.sent_per_message["getdata"]
    net.run(4)
    assert not state.in_flight
    assert not sink.processing.blocks.in_flight
    assert state.peer.sent_per_message["getdata"] == asked, "nothing is asked for that could not be kept"
    net.run(300)  # it tries from time to time, a little, and blames nobody
    assert sink.chain.tip.height == reached
    assert state.peer.sent_per_message["getdata"] - asked < 40 * 61
    assert not sink.discouraged
    assert list(sink.processing.peers.values()) == [state]
    free["mib"] = 51
    assert net.run_until(net.agree, 60)
    assert sink.chain.tip.height == 120
