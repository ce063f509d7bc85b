"""The running node: every part started in order, and stopped in reverse order.

The HTTP port opens before the chain is loaded: until the node is ready every call is answered with -28 and what
the node is doing.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from api.app import Sites, build_sites
from gldnode import process
from gldnode.chain.entry import BlockEntry
from gldnode.chain.importing import import_steps
from gldnode.chain.options import DiskSpaceLow
from gldnode.chain.progress import Interrupted
from gldnode.clock import MockableClock
from gldnode.config import Config, ConfigError
from gldnode.display import Display
from gldnode.errors import DecodeError
from gldnode.indexes import (
    AddressIndex,
    BlockFilterIndex,
    CoinStatsIndex,
    Index,
    IndexFollower,
    TxIndex,
    TxoSpenderIndex,
    open_index,
)
from gldnode.log import LogSetup
from gldnode.networking import Networking
from gldnode.node import Node
from gldnode.notify import Notifier
from gldnode.params import ChainParams
from gldnode.ports import Plugin
from gldnode.process import StartupError
from gldnode.rpc.auth import RpcAuth, cookie_path, remove_cookie, write_cookie
from gldnode.rpc.context import RpcContext, Services
from gldnode.rpc.methods import build_registry
from gldnode.rpc.registry import MethodGroup, Registry
from gldnode.rpc.rest import rest_routes
from gldnode.rpc.server import RpcHttp, ServerState
from gldnode.rpc.stream import event_routes
from gldnode.settings import chain_options, mempool_options
from gldnode.wallet.manager import WalletManager
from gldnode.zmqpub import ZmqPublishers, publications

__all__ = ["Daemon", "chosen_indexes"]

log = logging.getLogger(__name__)

STOP_TIMEOUT_S: Final = 15
TICK_S: Final = 1.0
PROGRESS_S: Final = 0.25
PROGRESS_LOG_S: Final = 2.0
FEES_FILE: Final = "fee_estimates.dat"

_COLLECTIONS = (10_000, 20, 20)
"""When garbage is looked for. Requests under way make many objects, few of them in cycles."""


class Daemon:
    """One run of the node: `run` until asked to stop."""

    def __init__(self, config: Config, params: ChainParams, log_setup: LogSetup, display: Display) -> None:
        self.config = config
        self.params = params
        self.display = display
        self.clock = MockableClock()
        self.node = Node(
            params, config, clock=self.clock, reader_threads=config.get_int("rpcthreads", 4, least=1, most=64)
        )
        self.services = Services()
        self.services.add(log_setup)
        self.services.add(self.clock)
        self.notifier = Notifier(config)
        self.services.add(self.notifier)
        log_file = config.get_path("debuglogfile", "debug.log")
        self.state = ServerState(self.clock.monotonic(), log_path=str(log_file or ""))
        self.sites: Sites | None = None
        self.registry: Registry | None = None
        self._undo: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._progress_of = ""
        self._progress_due = self._progress_log_due = 0.0

    async def run(self) -> int:
        """Start, wait for the end, stop. The process's exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.node.request_stop)
        started = asyncio.create_task(self._start(), name="start-up")
        stop = asyncio.create_task(self.node.stop_requested.wait(), name="stop requested")
        try:
            await asyncio.wait((started, stop), return_when=asyncio.FIRST_COMPLETED)
            if not started.done():
                started.cancel()
            with contextlib.suppress(asyncio.CancelledError, Interrupted):
                await started
                await stop
        finally:
            stop.cancel()
            await self._stop()
        if self.node.failure is not None:
            raise StartupError(f"A fatal internal error occurred, see debug.log for details: {self.node.failure}")
        return 0

    async def _start(self) -> None:
        """Every part in order; what was started is noted in `_undo`."""
        chain, pool = chain_options(self.config, self.params), mempool_options(self.config, self.params)
        mocktime = self.config.get_int("mocktime", 0, least=0)
        if mocktime and self.params.is_regtest:
            self.clock.set_mock_time(mocktime)
        self._start_publishers()
        self._undo.append(("the node", self.node.stop))
        if self.config.get_bool("server", True):
            await self._open_sites()
        self._stage("Loading block index…")
        await self.node.start(chain, pool, self._show_progress)
        self._undo.append(("the mempool", self._dump_mempool))
        self.node.spawn("watch", self._watch())
        await self._start_parts()
        self._stage("Starting payments…")
        await self._start_plugins()
        self._load_mempool()
        self._load_blocks()
        await self._start_networking()
        self.state.warmup = None
        self._announce()
        process.signal_ready()
        self.notifier.notify("startupnotify")

    async def _open_sites(self) -> None:
        auth = RpcAuth.from_config(self.config)
        cookie = cookie_path(self.config)
        if cookie is not None and not auth.has_password:
            password = write_cookie(cookie, self.node.entropy, self.config.get("rpccookieperms") or "owner")
            auth.add_user("__cookie__", password)

            async def forget_cookie() -> None:
                remove_cookie(cookie, password)

            self._undo.append(("the cookie", forget_cookie))
        self.registry = build_registry(self.params, with_wallet=not self.config.get_bool("disablewallet"))
        rpc = RpcHttp(
            self.node,
            self.registry,
            self.services,
            auth,
            self.state,
            work_queue=self.config.get_int("rpcworkqueue", 64, least=1),
        )
        try:
            self.sites = build_sites(
                self.node,
                rpc.handle,
                None,
                node_routes=[
                    *event_routes(self.node, auth, lambda: self.state.warmup),
                    *(self._rest_routes() if self.config.get_bool("rest") else ()),
                ],
                with_payments=self.config.get_bool("payments", True),
            )
            await self.sites.start()
        except ValueError as error:
            raise StartupError(str(error)) from error
        except OSError as error:
            raise StartupError(f"Unable to start HTTP server: {error.strerror or error}") from error
        for host, port in self.sites.addresses:
            log.info("Binding RPC on address %s port %d", host, port)

    def _start_publishers(self) -> None:
        """ZeroMQ; closed behind the node, whose validation thread sends."""
        wanted = publications(self.config)
        if not wanted:
            return
        publishers = ZmqPublishers(wanted, lambda: self.node.chainstate.is_initial_block_download)
        self.services.add(publishers)
        self.node.add_step_listener(publishers.on_step)
        self.node.add_mempool_listener(publishers.on_mempool_event)

        async def close() -> None:
            publishers.close()

        self._undo.append(("the ZeroMQ publishers", close))

    def _rest_routes(self) -> Sequence[web.RouteDef]:
        registry = self.registry
        assert registry is not None
        return rest_routes(
            lambda: RpcContext(self.node, self.services, registry, self.state), lambda: self.state.warmup
        )

    async def _start_parts(self) -> None:
        """Indexes, wallets, peers: each is told to stop in reverse order."""
        self._start_indexes()
        if not self.config.get_bool("disablewallet"):
            self._stage("Loading wallet…")
            wallets = WalletManager(
                self.node,
                self.config.get_path("walletdir") or self.config.data_dir / "wallets",
                self.notifier.notify,
            )
            self.services.add(wallets)
            self._undo.append(("the wallets", wallets.stop))
            await wallets.start()

    def _start_indexes(self) -> None:
        wanted = chosen_indexes(self.config, self.params)
        indexes = [
            open_index(kind, self.config.data_dir / "indexes", self.node.open_kv, self.params) for kind in wanted
        ]
        follower = IndexFollower(self.node, indexes)
        for index in indexes:
            self.services.add(index)
        self.services.add(follower)
        follower.start()

        async def stop() -> None:
            await asyncio.get_running_loop().run_in_executor(None, follower.close)

        self.node.add_closer(stop)

    async def _start_plugins(self) -> None:
        for entry in sorted(entry_points(group="gldnode.plugins"), key=lambda found: found.name):
            if not self.config.get_bool(entry.name, True):
                log.info("Plug-in %s is switched off", entry.name)
                continue
            try:
                plugin: Plugin = entry.load()()
            except ImportError as error:
                raise StartupError(f"The plug-in {entry.name} cannot be loaded: {error}") from error
            await plugin.start(self.node)
            self._undo.append((f"plug-in {plugin.name}", plugin.stop))
            methods: MethodGroup | None = getattr(plugin, "rpc_methods", None)
            if methods is not None and self.registry is not None:
                self.registry.add(methods)
            service: Any = getattr(plugin, "service", None)
            if service is not None:
                self.services.add(service)
            if service is not None and self.sites is not None:
                self.sites.attach_service(service)

    async def _start_networking(self) -> None:
        self._stage("Starting network threads…")
        try:
            networking = await Networking.start(self.node, self.config, self.services.get(BlockFilterIndex))
        except OSError as error:
            raise StartupError(
                f"Unable to bind to the peer-to-peer port on this computer: {error.strerror or error}. "
                "Another node may be running: choose another -port or -bind, or -listen=0."
            ) from error
        self.services.add(networking)
        self._undo.append(("the peers", networking.stop))

    def _show_progress(self, what: str, done: int, total: int) -> None:
        """Of opening the chain; called often, and in the validation thread."""
        now = self.clock.monotonic()
        is_new = what != self._progress_of
        if now < self._progress_due and not is_new:
            return
        self._progress_due = now + PROGRESS_S
        text = f"{what} ({done * 100 // total}%)…" if total else f"{what} ({done:,})…"
        self.state.warmup = text
        self.display.stage(text)
        if is_new or now >= self._progress_log_due:
            self._progress_of, self._progress_log_due = what, now + PROGRESS_LOG_S
            log.info("%s", text)

    def _stage(self, text: str) -> None:
        log.info("init message: %s", text)
        self.state.warmup = text
        self.display.stage(text)

    def _announce(self) -> None:
        # What the start has made stays: a full collection that walks it stops every request for 50 to 100 ms.
        gc.freeze()
        gc.set_threshold(*_COLLECTIONS)
        self._stage("Done loading")
        self.state.warmup = None
        tip = self.node.chain.tip
        log.info("block tree tip: height %d, %s", tip.height, tip.hash[::-1].hex())
        facts = [("network", self.params.name), ("data folder", str(self.config.data_dir))]
        if self.sites is not None:
            facts += [("HTTP", f"http://{_host(host)}:{port}") for host, port in self.sites.addresses[:1]]
        facts.append(("height", str(tip.height)))
        if self.params.is_preview:
            text = "This network's genesis block is a preview, not the launch one: coins here have no future."
            log.warning(text)
            facts.append(("note", text))
        self.display.ready(facts)

    # --- the mempool's files ---

    def _mempool_file(self) -> Path | None:
        return self.config.data_dir / "mempool.dat" if self.config.get_bool("persistmempool", True) else None

    def _load_mempool(self) -> None:
        """In the background: reading many transactions takes a while. A damaged file is left out, not fatal."""
        file, fees, pool = self._mempool_file(), self.config.data_dir / FEES_FILE, self.node.pool

        async def load() -> None:
            await self.node.run_in_validation(lambda: pool.load_fees(fees))
            if file is None:
                pool.mark_loaded()
                return
            taken: int | None = 0
            try:
                steps = pool.load_steps(file)
                while taken is not None:  # in pieces: blocks and requests get their turn in between
                    count, taken = taken, await self.node.run_in_validation(lambda: next(steps, None))
            except (DecodeError, OSError) as error:
                log.warning("The mempool's file is left out: %s", error)
            else:
                log.info("Imported mempool transactions from file: %d succeeded", count)

        self.node.spawn("load the mempool", load())

    def _load_blocks(self) -> None:
        """-loadblock, in the background."""
        node, paths = self.node, [Path(value).expanduser() for value in self.config.get_all("loadblock")]

        async def load() -> None:
            for path in paths:
                progress: tuple[int, int] | None = (0, 0)
                log.info("Importing blocks file %s...", path)
                try:
                    steps = import_steps(node.chainstate, path)
                    while progress is not None:
                        (read, taken) = progress
                        progress = await node.run_in_validation(partial(next, steps, None))
                except (OSError, DiskSpaceLow) as error:
                    log.warning("Could not import blocks file %s: %s", path, error)
                else:
                    log.info("Imported %d of %d blocks of %s", taken, read, path)

        if paths:
            self.node.spawn("load blocks", load())

    async def _dump_mempool(self) -> None:
        file, pool = self._mempool_file(), self.node.pool
        if self.node.failure is not None or not pool.loaded:
            return
        await self.node.run_in_validation(lambda: pool.dump_fees(self.config.data_dir / FEES_FILE))
        if file is not None:
            await self.node.run_in_validation(lambda: pool.dump(file))

    # --- while it runs ---

    def _notify_blocks(self, last: BlockEntry, tip: BlockEntry) -> None:
        """-blocknotify for every block that has been the best one since `last`."""
        better = list(itertools.takewhile(lambda entry: entry.chain_work > last.chain_work, tip.walk_back()))
        for entry in reversed(better or [tip]):  # after invalidateblock the new tip is no better one
            self.notifier.notify("blocknotify", {"s": entry.hash[::-1].hex()})

    async def _watch(self) -> None:
        """Notify commands, -stopatheight, and the terminal."""
        chainstate = self.node.chainstate
        last = chainstate.tip_entry
        warned: list[str] = []
        while True:
            changed = self.node.change
            tip = chainstate.tip_entry
            if tip is not last:
                if not chainstate.is_initial_block_download or self.params.is_regtest:
                    self._notify_blocks(last, tip)
                last = tip
            if chainstate.stop_requested:
                log.info("Stopping at height %d, as -stopatheight says", tip.height)
                self.node.request_stop()
            warned = self._alert(chainstate.warnings, warned)
            if warned:
                await self.node.run_in_validation(chainstate.retry)
            self._show_chain()
            try:
                async with asyncio.timeout(TICK_S):
                    await changed.wait()
            except TimeoutError:
                continue

    def _show_chain(self) -> None:
        chainstate = self.node.chainstate
        networking = self.services.get(Networking)
        peers = 0 if networking is None else sum(networking.manager.connection_count)
        headers = networking.processing.headers.progress if networking is not None else None
        if headers is None:
            best = chainstate.best_header
            self.display.chain(chainstate.tip.height, best.height, len(self.node.pool), peers)
        else:
            self.display.headers(
                headers.height,
                headers.expected,
                is_presync=headers.is_presync,
                blocks=chainstate.tip.height,
                peers=peers,
            )

    def _alert(self, warnings: list[str], before: list[str]) -> list[str]:
        """Run -alertnotify for what was not said yet."""
        for text in warnings:
            if text not in before:
                log.warning("Warning: %s", text)
                self.notifier.notify("alertnotify", {"s": text})
        return warnings

    async def _stop(self) -> None:
        log.info("Shutdown: In progress...")
        self.display.stage("Stopping")
        self.node.stop_requested.set()
        self.node.wake_waiters()
        if self.state.warmup is None:
            self.notifier.notify("shutdownnotify")
        if self.sites is not None:  # first of all: no request may find a part that has stopped
            self._undo.append(("the HTTP sites", self.sites.stop))
        while self._undo:
            name, undo = self._undo.pop()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S if name != "the node" else None):
                    await undo()
            except Exception:  # the rest must be stopped all the same
                log.exception("stopping %s", name)
        await self.notifier.finish()
        log.info("Shutdown: done")


def chosen_indexes(config: Config, params: ChainParams) -> list[type[Index]]:
    """The indexes that the configuration asks for. Raises ConfigError."""
    chosen: list[type[Index]] = []
    if config.get_bool("txindex"):
        chosen.append(TxIndex)
    if config.get_bool("txospenderindex"):
        chosen.append(TxoSpenderIndex)
    kind = config.get("blockfilterindex") or "1" if config.is_set("blockfilterindex") else "0"
    if kind not in ("0", "1", "basic"):
        raise ConfigError(f"Unknown -blockfilterindex value {kind[:80]}.")
    if kind != "0":
        chosen.append(BlockFilterIndex)
    elif config.get_bool("peerblockfilters"):
        raise ConfigError("Cannot set -peerblockfilters without -blockfilterindex.")
    if config.get_bool("coinstatsindex"):
        chosen.append(CoinStatsIndex)
    if config.get_bool("addressindex", params.is_regtest and not params.is_bitcoin):
        chosen.append(AddressIndex)
    return chosen


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
