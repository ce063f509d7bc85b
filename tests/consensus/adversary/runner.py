"""Runs cases against a node: in process, or a daemon over its RPC."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import AcceptStatus, BlockUnavailable, ChainOptions
from gldnode.clock import MockableClock
from gldnode.consensus.merkle import witness_commitment_index
from gldnode.errors import DecodeError, Reject
from gldnode.params import BTC_REGTEST
from gldnode.primitives.block import Block, make_block, parse_block, parse_header
from gldnode.primitives.tx import with_witnesses
from tests.consensus.adversary.steps import Clock, Decide, GiveBlock, GiveBytes, GiveHeader, LooksLike
from tests.consensus.adversary.workshop import ACTIVATION, NOW, Bench, base_chain
from tests.support.daemon import DaemonProcess, RpcFailure

__all__ = ["UNDECODABLE", "ChainTarget", "DaemonTarget", "Runner", "Target"]

UNDECODABLE = "Block decode failed"


class Target(Protocol):
    """A node under test."""

    def submit(self, raw: bytes) -> str | None:
        """BIP 22: None, a word, or the reject reason; `UNDECODABLE` for bytes that are no block."""
        ...

    def submit_header(self, raw: bytes) -> str | None: ...
    def decide(self, verb: str, block_hash: bytes) -> None:
        """invalidateblock, reconsiderblock, preciousblock. An unknown hash is nothing."""
        ...

    def tip(self) -> bytes: ...
    def tips(self) -> dict[bytes, str]: ...
    def set_clock(self, now: int) -> None: ...


class ChainTarget:
    """A chainstate in memory."""

    def __init__(self) -> None:
        self.clock = MockableClock()
        self.clock.set_mock_time(NOW)
        heights = tuple(ACTIVATION.items())
        self.state = Chainstate.open(BTC_REGTEST, None, ChainOptions(test_activation_heights=heights), self.clock)

    def submit(self, raw: bytes) -> str | None:
        try:
            block = parse_block(raw)
        except DecodeError:
            return UNDECODABLE
        block = self._completed(block)
        try:
            result = self.state.accept_block(block)
        except Reject as error:
            return error.reason
        if result.status is AcceptStatus.DUPLICATE:
            return "duplicate"
        return None if result.status is AcceptStatus.CONNECTED else "inconclusive"

    def _completed(self, block: Block) -> Block:
        """With the commitment's reserved value, as submitblock completes a miner's block."""
        prev = self.state.entry(block.header.prev_hash)
        if (
            prev is None
            or prev.height + 1 < ACTIVATION["segwit"]
            or witness_commitment_index(block) is None
            or block.txs[0].has_witness
        ):
            return block
        first = with_witnesses(block.txs[0], [[bytes(32)]])
        return make_block(block.header, [first, *block.txs[1:]])

    def submit_header(self, raw: bytes) -> str | None:
        try:
            self.state.accept_header(parse_header(raw))
        except Reject as error:
            return error.reason
        return None

    def decide(self, verb: str, block_hash: bytes) -> None:
        act = {
            "invalidateblock": self.state.invalidate,
            "reconsiderblock": self.state.reconsider,
            "preciousblock": self.state.precious,
        }[verb]
        try:
            act(block_hash)
        except BlockUnavailable:
            return

    def tip(self) -> bytes:
        return self.state.tip.hash

    def tips(self) -> dict[bytes, str]:
        return {tip.entry.hash: str(tip.status) for tip in self.state.chain_tips()}

    def set_clock(self, now: int) -> None:
        self.clock.set_mock_time(now)


class DaemonTarget:
    """A daemon over JSON-RPC."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon

    @staticmethod
    def flags() -> tuple[str, ...]:
        heights = (f"-testactivationheight={name}@{height}" for name, height in ACTIVATION.items())
        return ("-nopayments", f"-mocktime={NOW}", *heights)

    def submit(self, raw: bytes) -> str | None:
        try:
            answer = self.daemon.call("submitblock", raw.hex())
        except RpcFailure as error:
            return error.message if error.code == -22 else str(error)
        assert answer is None or isinstance(answer, str)
        return answer

    def submit_header(self, raw: bytes) -> str | None:
        try:
            self.daemon.call("submitheader", raw.hex())
        except RpcFailure as error:
            return error.message if error.code == -25 else str(error)
        return None

    def decide(self, verb: str, block_hash: bytes) -> None:
        try:
            self.daemon.call(verb, block_hash[::-1].hex())
        except RpcFailure as error:
            if error.message != "Block not found":
                raise

    def tip(self) -> bytes:
        return bytes.fromhex(self.daemon.call("getbestblockhash"))[::-1]

    def tips(self) -> dict[bytes, str]:
        return {bytes.fromhex(tip["hash"])[::-1]: tip["status"] for tip in self.daemon.call("getchaintips")}

    def set_clock(self, now: int) -> None:
        self.daemon.call("setmocktime", now)


class Runner:
    """Keeps one node on the base chain and lets each case begin and end there."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.base, _ = base_chain()
        self._at = len(self.base) - 1
        self._done: list[tuple[int, bytes]] = []
        """Invalidated branches of cases that are over, with the height that they stand on."""
        for spot in self.base[1:]:
            answer = target.submit(spot.block.raw)
            assert answer is None, (spot.height, answer)

    def stand_at(self, height: int) -> None:
        """Make the base block at `height` the tip."""
        if self._at != height:
            if self._at < len(self.base) - 1:
                self.target.decide("reconsiderblock", self.base[self._at + 1].hash)
                # That has revived what cases built further up.
                self._invalidate(block_hash for below, block_hash in self._done if below > self._at)
            if height < len(self.base) - 1:
                self.target.decide("invalidateblock", self.base[height + 1].hash)
            self._at = height
        assert self.target.tip() == self.base[height].hash

    def _invalidate(self, hashes: Iterable[bytes]) -> None:
        for block_hash in hashes:
            self.target.decide("invalidateblock", block_hash)

    def run(self, bench: Bench) -> None:
        """All steps of a case, then back to the base chain."""
        with self.between(bench):
            for number, step in enumerate(bench.steps):
                self._step(step, f"step {number} of {bench.name!r}")

    @contextmanager
    def between(self, bench: Bench) -> Iterator[None]:
        """The node stands where the case begins; afterwards all that the case built is invalidated."""
        self.stand_at(bench.at.height)
        try:
            yield
        finally:
            heights: dict[bytes, int] = {spot.hash: spot.height for spot in self.base}
            made: dict[bytes, int] = {
                step.block.hash: heights[step.block.header.prev_hash]
                for step in bench.steps
                if isinstance(step, GiveBlock) and step.block.header.prev_hash in heights
            }
            roots = dict.fromkeys(bench.roots)
            self._invalidate(roots)
            self._done += [(made.get(root, bench.at.height), root) for root in roots]
            self.target.set_clock(NOW)

    def _step(self, step: object, where: str) -> None:
        target = self.target
        match step:
            case GiveBlock(block, answer, tip):
                found = target.submit(block.raw)
                assert found == answer, f"{where}: {found}, not {answer}"
                assert target.tip() == tip.hash, f"{where}: another tip after {answer}"
            case GiveBytes(data, tip):
                assert target.submit(data) == UNDECODABLE, where
                assert target.tip() == tip.hash, where
            case GiveHeader(header, answer):
                found = target.submit_header(header.serialize())
                assert found == answer, f"{where}: {found}, not {answer}"
            case Decide(verb, block_hash, tip):
                target.decide(verb, block_hash)
                assert target.tip() == tip.hash, f"{where}: another tip after {verb}"
            case Clock(now):
                target.set_clock(now)
            case LooksLike(status):
                found_tips = target.tips()
                for block_hash, word in status.items():
                    assert found_tips.get(block_hash) == word, f"{where}: {found_tips.get(block_hash)}, not {word}"
            case _:
                raise AssertionError(step)
