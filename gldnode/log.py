"""The log: debug.log with categories and rotation, the console, and the one place where secrets are masked.

Modules log through `logging.getLogger(__name__)`. INFO and above always reach the log; DEBUG only for categories
switched on with `-debug=` or the `logging` RPC. A category is a name of Core's for a part of the tree.
"""

import json
import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, TextIO

__all__ = [
    "CATEGORIES",
    "LogOptions",
    "LogSetup",
    "mask_arguments",
    "mask_params",
    "mask_setting",
    "mask_text",
    "setup_logging",
]

CATEGORIES: Final[Mapping[str, tuple[str, ...]]] = {
    "addrman": ("gldnode.p2p.addrman",),
    "bench": ("gldnode.bench",),
    "blockstorage": ("gldnode.chain.blockfiles",),
    "cmpctblock": ("gldnode.cmpctblock",),
    "coindb": ("gldnode.chain.coins",),
    "estimatefee": ("gldnode.mempool.fees",),
    "http": ("api", "aiohttp"),
    "i2p": ("gldnode.i2p",),
    "index": ("gldnode.indexes",),
    "ipc": ("gldnode.ipc",),
    "kernel": ("gldnode.kernel",),
    "leveldb": ("storage",),
    "lock": ("gldnode.lock",),
    "mempool": ("gldnode.mempool",),
    "mempoolrej": ("gldnode.mempoolrej",),
    "net": ("gldnode.p2p",),
    "payments": ("payments",),
    "proxy": ("gldnode.proxy",),
    "prune": ("gldnode.chain.prune",),
    "qt": ("gldnode.qt",),
    "rand": ("gldnode.rand",),
    "reindex": ("gldnode.reindex",),
    "rpc": ("gldnode.rpc",),
    "scan": ("gldnode.scan",),
    "selectcoins": ("gldnode.wallet.coinselect",),
    "tor": ("gldnode.tor",),
    "txpackages": ("gldnode.mempool.package",),
    "txreconciliation": ("gldnode.txreconciliation",),
    "validation": ("gldnode.chain", "gldnode.consensus"),
    "walletdb": ("gldnode.wallet",),
    "zmq": ("gldnode.zmqpub",),
}
_COMPAT: Final = frozenset({"libevent", "privatebroadcast", "threadpool"})
"""Names of Core's without a counterpart: taken, and nothing is behind them."""
_ROOTS: Final = ("gldnode", "payments", "storage", "api")
_MAX_BYTES: Final = 50_000_000
_BACKUPS: Final = 3
_SHRINK_ABOVE: Final = 11_000_000
_SHRINK_TO: Final = 10_000_000

_SECRET_NAMES: Final = frozenset(
    {
        "hexkey",
        "key",
        "keys",
        "macaroon",
        "mnemonic",
        "newpassphrase",
        "oldpassphrase",
        "passphrase",
        "privatekey",
        "privkey",
        "privkeys",
        "rpcauth",
        "rpcpassword",
        "rpcuser",
        "seed",
        "sethdseed",
        "token",
        "torpassword",
        "walletpassphrase",
    }
)
_SECRET_TEXT: Final = re.compile(  # WIF keys by their first characters: ours, then Bitcoin's
    r"\b(?:[xtuvyzUVYZ]prv[1-9A-HJ-NP-Za-km-z]{20,}|[a8c9KL5][1-9A-HJ-NP-Za-km-z]{50,51})\b"
    r"|(?<=__cookie__:)[0-9a-f]+"
)
_MASK: Final = "****"


def mask_text(text: str) -> str:
    """`text` without extended private keys, WIF keys and cookie passwords in it."""
    return _SECRET_TEXT.sub(_MASK, text)


def mask_setting(key: str, value: str) -> str:
    """A configuration value as a log may show it."""
    return _MASK if key in _SECRET_NAMES else mask_text(value)


def mask_arguments(params: Any, names: Sequence[str] | None) -> Any:
    """A call's arguments as a log may show them; `names` of the method's parameters, None for an unknown method.

    Arguments by position are hidden by their parameters' names; what has none is hidden whatever it is, for
    a mistyped method may well have been given a passphrase.
    """
    if isinstance(params, dict):
        shown = mask_params({name: value for name, value in params.items() if name != "args"})
        if "args" in params:
            shown["args"] = mask_arguments(params["args"], names)
        return shown
    if not isinstance(params, list):
        return mask_params(params)
    known = list(names or ())
    known += [""] * (len(params) - len(known))
    pairs = zip(known, params, strict=False)
    return [_MASK if not name or name.lower() in _SECRET_NAMES else mask_params(value) for name, value in pairs]


def mask_params(params: Any) -> Any:
    """A value as a log may show it: what stands under secret names is hidden at any depth."""
    if isinstance(params, dict):
        return {
            name: _MASK if str(name).lower() in _SECRET_NAMES else mask_params(value)
            for name, value in params.items()
        }
    if isinstance(params, list):
        return [mask_params(item) for item in params]
    return mask_text(params) if isinstance(params, str) else params


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Where the log goes and what a line has."""

    file: Path | None
    console: TextIO | None = None
    categories: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    micros: bool = False
    timestamps: bool = True
    thread_names: bool = False
    source_locations: bool = False
    json_lines: bool = False
    shrink: bool = True


class _Formatter(logging.Formatter):
    """`2026-11-21T18:00:00Z [thread] [category] message`, Core's shape."""

    def __init__(self, options: LogOptions) -> None:
        super().__init__()
        self._options = options

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        message = mask_text(message)
        if self._options.json_lines:
            return json.dumps(
                {
                    "time": self._stamp(record),
                    "level": record.levelname.lower(),
                    "logger": record.name,
                    "thread": record.threadName,
                    "message": message,
                },
                ensure_ascii=False,
            )
        parts = [self._stamp(record)] if self._options.timestamps else []
        if self._options.thread_names:
            parts.append(f"[{record.threadName}]")
        if self._options.source_locations:
            parts.append(f"[{record.filename}:{record.lineno}] [{record.funcName}]")
        if record.levelno == logging.DEBUG:
            parts.append(f"[{_category_of(record.name)}]")
        elif record.levelno >= logging.WARNING:
            parts.append(f"[{record.levelname.lower()}]")
        return " ".join([*parts, message.replace("\n", "\n  ")])

    def _stamp(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{stamp}.{int(record.created % 1 * 1_000_000):06d}Z" if self._options.micros else f"{stamp}Z"


def _category_of(logger: str) -> str:
    best, best_len = logger.rpartition(".")[2], 0
    for category, names in CATEGORIES.items():
        for name in names:
            if (logger == name or logger.startswith(name + ".")) and len(name) > best_len:
                best, best_len = category, len(name)
    return best


class LogSetup:
    """The running log: handlers and which categories are on."""

    def __init__(self, handlers: list[logging.Handler]) -> None:
        self._handlers = handlers
        self._active: set[str] = set()

    @property
    def active(self) -> dict[str, bool]:
        """Every category and whether it is on."""
        return {category: category in self._active for category in sorted(CATEGORIES)}

    def switch(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        """Turn categories on, then others off; `all` and `1`: every one. Raises KeyError for an unknown name."""
        for names, add in ((include, True), (exclude, False)):
            for name in names:
                chosen = _expand(name)
                self._active = self._active | chosen if add else self._active - chosen
        for category, loggers in CATEGORIES.items():
            for logger in loggers:
                logging.getLogger(logger).setLevel(logging.DEBUG if category in self._active else logging.INFO)

    def close(self) -> None:
        root = logging.getLogger()
        for handler in self._handlers:
            root.removeHandler(handler)
            handler.close()


def _expand(name: str) -> set[str]:
    if name in ("1", "all", ""):
        return set(CATEGORIES)
    if name in ("0", "none") or name in _COMPAT:
        return set()
    if name not in CATEGORIES:
        raise KeyError(name)
    return {name}


def setup_logging(options: LogOptions) -> LogSetup:
    """Start the log. Raises KeyError for an unknown category, OSError when the file cannot be written."""
    handlers: list[logging.Handler] = []
    if options.file is not None:
        if options.shrink:
            _shrink(options.file)
        handlers.append(
            RotatingFileHandler(options.file, maxBytes=_MAX_BYTES, backupCount=_BACKUPS, encoding="utf-8")
        )
    if options.console is not None:
        handlers.append(logging.StreamHandler(options.console))
    formatter = _Formatter(options)
    root = logging.getLogger()
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
    for name in _ROOTS:
        logging.getLogger(name).setLevel(logging.INFO)
    setup = LogSetup(handlers)
    setup.switch(options.categories, options.excluded)
    return setup


def _shrink(path: Path) -> None:
    """Keep the last part of a log that grew large (Core: ShrinkDebugFile)."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return
    if size <= _SHRINK_ABOVE:
        return
    with path.open("rb") as file:
        file.seek(size - _SHRINK_TO)
        tail = file.read()
    path.write_bytes(tail[tail.find(b"\n") + 1 :])
