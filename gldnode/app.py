"""`gldnode`: from the command line to a running node (gldnode/daemon.py).

Whatever prevents a start is one sentence on stderr and exit status 1.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from gldnode import options, process
from gldnode.config import Config, ConfigError, load_config
from gldnode.daemon import Daemon
from gldnode.display import Display, QuietDisplay, TerminalDisplay
from gldnode.errors import NodeError
from gldnode.log import LogOptions, LogSetup, mask_setting, setup_logging
from gldnode.params import NETWORKS, ChainParams
from gldnode.process import FolderLock, StartupError
from storage.errors import StorageError

__all__ = ["default_base_dir", "main", "run"]

log = logging.getLogger("gldnode.app")  # not __name__: `python -m gldnode.app` is __main__


def default_base_dir() -> Path:
    return Path.home() / ".gldnode"


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return run(arguments)
    except (ConfigError, StartupError, StorageError, NodeError, OSError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1


def run(argv: Sequence[str]) -> int:
    """Run a node with these flags until it is told to stop. Raises what prevents the start."""
    process.check_packages()
    if any(word.lstrip("-") in ("h", "help", "?") and word.startswith("-") for word in argv):
        sys.stdout.write(options.help_text())
        return 0
    if any(word in ("-version", "--version") for word in argv):
        sys.stdout.write(f"Gold-Coin node version v{version('gldnode')}\n")
        return 0
    config = load_config(
        argv,
        options.known_keys(),
        NETWORKS,
        default_base=default_base_dir(),
        compat_networks=[name for name, params in NETWORKS.items() if params.is_bitcoin],
    )
    params = NETWORKS[config.network]
    wait = config.get_bool("daemonwait")
    if config.get_bool("daemon", wait):
        sys.stdout.write("Gold-Coin node starting\n")
        status = process.go_to_background(wait)
        if status is not None:
            return status
    os.umask(0o077)
    (config.data_dir / "wallets").mkdir(parents=True, exist_ok=True)
    lock = FolderLock(config.data_dir)
    lock.acquire()
    try:
        return _run_locked(config, params)
    finally:
        lock.release()


def _run_locked(config: Config, params: ChainParams) -> int:
    log_setup = _start_log(config)
    pid = config.get_path("pid", "gldnode.pid")
    display = _make_display(config)
    try:
        if pid is not None:
            process.write_pid(pid)
        _log_start(config, params)
        return _event_loop_run(Daemon(config, params, log_setup, display))
    except Exception as error:
        log.error("Error: %s", error)
        raise
    finally:
        display.close()
        if pid is not None:
            process.remove_pid(pid)
        log_setup.close()


def _event_loop_run(daemon: Daemon) -> int:
    try:
        import uvloop
    except ImportError:  # not on every platform
        return asyncio.run(daemon.run())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(daemon.run())


def _shows_progress(config: Config) -> bool:
    return (
        sys.stdout.isatty()
        and not config.is_set("printtoconsole")
        and not config.get_bool("daemon", config.get_bool("daemonwait"))
    )


def _make_display(config: Config) -> Display:
    return TerminalDisplay() if _shows_progress(config) else QuietDisplay()


def _start_log(config: Config) -> LogSetup:
    daemon = config.get_bool("daemon", config.get_bool("daemonwait"))
    console = config.get_bool("printtoconsole", not daemon and not _shows_progress(config))
    categories = config.get_all("debug")
    try:
        return setup_logging(
            LogOptions(
                file=config.get_path("debuglogfile", "debug.log"),
                console=sys.stdout if console else None,
                categories=tuple(categories),
                excluded=tuple(config.get_all("debugexclude")),
                micros=config.get_bool("logtimemicros"),
                timestamps=config.get_bool("logtimestamps", True),
                thread_names=config.get_bool("logthreadnames"),
                source_locations=config.get_bool("logsourcelocations"),
                json_lines=config.get_bool("logjson"),
                shrink=config.get_bool("shrinkdebugfile", not categories),
            )
        )
    except KeyError as error:
        raise ConfigError(f"Unsupported logging category -debug={error.args[0]}.") from None
    except OSError as error:
        raise StartupError(f"Could not open debug log file: {error}") from None


def _log_start(config: Config, params: ChainParams) -> None:
    log.info("Gold-Coin node version v%s", version("gldnode"))
    log.info("Network %s, genesis %s", params.name, params.genesis.hash[::-1].hex())
    log.info("Using data directory %s", config.data_dir)
    if config.conf_file is not None:
        log.info("Config file: %s", config.conf_file)
    for setting in config.settings():
        log.info("Setting %s=%s (%s)", setting.key, mask_setting(setting.key, setting.value), setting.where)
    for text in config.warnings:
        log.warning("Warning: %s", text)
    if config.ignored:
        log.info("Ignored for compatibility: %s", ", ".join(sorted(set(config.ignored))))


if __name__ == "__main__":
    sys.exit(main())
