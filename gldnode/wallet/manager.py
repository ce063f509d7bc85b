"""The wallets of a node: making, loading, unloading, and which of them are loaded at start."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from gldnode.errors import NodeError
from gldnode.ports import NodeHost
from gldnode.wallet.backup import read_backup
from gldnode.wallet.errors import WalletError, WalletFault
from gldnode.wallet.keyed import KeyedWallet
from gldnode.wallet.ledger import WalletTx
from gldnode.wallet.wallet import Wallet
from storage.database import Database
from storage.errors import DatabaseLocked, StorageError

__all__ = ["WalletManager"]

log = logging.getLogger(__name__)

_SETTINGS = "wallets.json"
_UNNAMED = "%"  # quote() writes "%" only with two digits behind it
_MAX_FOLDER_NAME = 200


class WalletManager:
    """All wallets below `wallets_dir`, each in a folder of its own."""

    def __init__(
        self,
        host: NodeHost,
        wallets_dir: Path,
        notify: Callable[[str, Mapping[str, str]], None] | None = None,
    ) -> None:
        """`notify` starts the commands of `-walletnotify` with what their placeholders stand for."""
        self._host = host
        self._dir = wallets_dir
        self._notify = notify
        self._wallets: dict[str, Wallet] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._busy = asyncio.Lock()

    @property
    def wallets_dir(self) -> Path:
        return self._dir

    # --- start and stop ---

    async def start(self) -> None:
        """Load what the settings and `-wallet` name. Raises WalletError for a wallet that cannot be loaded."""
        names = dict.fromkeys((*self._host.options("wallet"), *self._read_settings()))
        for name in names:
            if name in self._wallets:
                continue
            if not self._folder(name).is_dir():
                log.warning("Skipping -wallet path that doesn't exist: %s", name)
                continue
            await self.load(name)

    async def stop(self) -> None:
        for name in list(self._wallets):
            await self._close(name)

    # --- access ---

    def names(self) -> list[str]:
        """Of the loaded wallets."""
        return list(self._wallets)

    def get(self, name: str) -> Wallet | None:
        return self._wallets.get(name)

    def select(self, name: str | None) -> Wallet:
        """The wallet of a request: by name, or the only one. Raises WalletError (-18, -19)."""
        if name is not None:
            wallet = self._wallets.get(name)
            if wallet is None:
                raise WalletError(WalletFault.NOT_FOUND, "Requested wallet does not exist or is not loaded")
            return wallet
        if len(self._wallets) == 1:
            return next(iter(self._wallets.values()))
        if not self._wallets:
            raise WalletError(
                WalletFault.NOT_FOUND,
                "No wallet is loaded. Load a wallet using loadwallet or create a new one with createwallet. "
                "(Note: A default wallet is no longer automatically created)",
            )
        raise WalletError(
            WalletFault.NOT_SPECIFIED,
            "Multiple wallets are loaded. Please select which wallet to use by requesting the RPC through the "
            '/wallet/<walletname> URI path. Or for the CLI, specify the "-rpcwallet=<walletname>" option before '
            'the command (run "gld-cli -h" for help or "gld-cli listwallets" to see which wallets are currently '
            "loaded).",
        )

    def list_dir(self) -> list[str]:
        """Names of the wallets on disk, loaded or not."""
        found = set(self._wallets)
        if self._dir.is_dir():
            for entry in self._dir.iterdir():
                if entry.is_dir() and (entry / "CURRENT").exists():
                    found.add("" if entry.name == _UNNAMED else unquote(entry.name))
        return sorted(found)

    def _folder(self, name: str) -> Path:
        """Where the wallet `name` lives: its name quoted, so that no name leaves the folder."""
        try:
            quoted = quote(name, safe="") if name else _UNNAMED
        except UnicodeEncodeError:
            quoted = ""
        quoted = {".": "%2E", "..": "%2E%2E"}.get(quoted, quoted)
        if not quoted or len(quoted) > _MAX_FOLDER_NAME or any(ord(char) < 32 for char in name):
            raise WalletError(WalletFault.WALLET, "Wallet name is not valid.")
        return self._dir / quoted

    # --- making, loading, unloading ---

    async def create(
        self,
        name: str,
        *,
        private_keys: bool = True,
        blank: bool = False,
        passphrase: str = "",
        avoid_reuse: bool = False,
        load_on_startup: bool | None = None,
        words: str | None = None,
    ) -> Wallet:
        """Make and load a wallet. Raises WalletError; DecodeError for `words` that are no mnemonic."""
        async with self._busy:
            folder = self._folder(name)
            if name in self._wallets or folder.exists():
                raise WalletError(
                    WalletFault.WALLET,
                    f"Wallet file verification failed. Failed to create database path '{folder}'. "
                    "Database already exists.",
                )
            if not private_keys and passphrase:
                raise WalletError(
                    WalletFault.WALLET,
                    "Passphrase provided but private keys are disabled. A passphrase is only used to encrypt "
                    "private keys, so cannot be used for wallets with private keys disabled.",
                )
            self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            database = self._open(folder)
            try:
                wallet = await Wallet.create(
                    name,
                    self._host,
                    database,
                    private_keys=private_keys,
                    blank=blank,
                    passphrase=passphrase,
                    avoid_reuse=avoid_reuse,
                    words=words,
                )
            except BaseException:
                database.close()
                raise
            self._begin(wallet)
            self._note_setting(name, load_on_startup)
            return wallet

    async def load(self, name: str, *, load_on_startup: bool | None = None) -> Wallet:
        """Load a wallet from disk. Raises WalletError."""
        async with self._busy:
            if name in self._wallets:
                raise WalletError(WalletFault.ALREADY_LOADED, f'Wallet "{name}" is already loaded.')
            folder = self._folder(name)
            if not folder.is_dir():
                raise WalletError(
                    WalletFault.NOT_FOUND,
                    f"Wallet file verification failed. Failed to load database path '{folder}'. "
                    "Path does not exist.",
                )
            database = self._open(folder)
            try:
                wallet = await Wallet.load(name, self._host, database)
                cursor = wallet.ledger.cursor
                if cursor is not None and not self._host.chain.has_blocks_after(cursor):
                    raise WalletError(
                        WalletFault.WALLET,
                        "Wallet loading failed. Prune: last wallet synchronisation goes beyond pruned data. You "
                        "need to -reindex (download the whole blockchain again in case of a pruned node)",
                    )
            except BaseException as error:
                database.close()
                if isinstance(error, StorageError):
                    raise WalletError(WalletFault.WALLET, f"Wallet loading failed. {error}") from error
                raise
            self._begin(wallet)
            self._note_setting(name, load_on_startup)
            return wallet

    async def restore(self, name: str, backup: Path, *, load_on_startup: bool | None = None) -> Wallet:
        """A wallet of this name out of a backup file, loaded. Raises WalletError."""
        async with self._busy:
            folder = self._folder(name)
            if name in self._wallets or folder.exists():
                raise WalletError(
                    WalletFault.ALREADY_EXISTS,
                    f"Failed to create database path '{folder}'. Database already exists.",
                )
            self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            database = self._open(folder)
            try:
                await asyncio.to_thread(read_backup, backup, database.kv)
                database.close()
            except BaseException:
                database.close()
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return await self.load(name, load_on_startup=load_on_startup)

    def _open(self, folder: Path) -> Database:
        try:
            return self._host.open_database(folder)
        except DatabaseLocked as error:
            raise WalletError(WalletFault.ALREADY_LOADED, f"Wallet file verification failed. {error}") from error
        except StorageError as error:
            raise WalletError(WalletFault.WALLET, f"Wallet file verification failed. {error}") from error

    def _begin(self, wallet: Wallet) -> None:
        self._wallets[wallet.name] = wallet
        if self._notify is not None:
            wallet.on_changed = self._tell
        task = asyncio.get_running_loop().create_task(wallet.follow(), name=f"wallet {wallet.name}")
        self._tasks[wallet.name] = task
        self._host.spawn(f"wallet {wallet.name}", self._watch(wallet, task))

    def _tell(self, wallet: KeyedWallet, wtx: WalletTx) -> None:
        assert self._notify is not None
        record = wtx.record
        self._notify(
            "walletnotify",
            {
                "s": wtx.txid[::-1].hex(),
                "w": wallet.name,
                "b": record.block[::-1].hex() if record.block else "unconfirmed",
                "h": str(record.height),
            },
        )

    async def _watch(self, wallet: Wallet, task: "asyncio.Task[None]") -> None:
        """Let the node own the follower: its failure is the node's, its end by unloading is not."""
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not wallet.is_closed:  # the node stops
                task.cancel()
                raise

    async def unload(self, name: str, *, load_on_startup: bool | None = None) -> None:
        """Raises WalletError."""
        async with self._busy:
            wallet = self.select(name)
            async with wallet.lock:
                pass  # what is under way ends first
            await self._close(name)
            self._note_setting(name, load_on_startup)

    async def _close(self, name: str) -> None:
        wallet = self._wallets.pop(name)
        task = self._tasks.pop(name)
        wallet.is_closed = True
        task.cancel()
        await asyncio.wait([task])
        wallet.close()

    # --- which wallets are loaded at start ---

    def _read_settings(self) -> Sequence[str]:
        try:
            data = (self._dir / _SETTINGS).read_bytes()
        except FileNotFoundError:
            return ()
        try:
            return msgspec.json.decode(data, type=list[str])
        except msgspec.DecodeError as error:
            raise NodeError(f"{self._dir / _SETTINGS} is not a list of wallet names: {error}") from error

    def _note_setting(self, name: str, load_on_startup: bool | None) -> None:
        if load_on_startup is None:
            return
        names = [other for other in self._read_settings() if other != name]
        if load_on_startup:
            names.append(name)
        path = self._dir / _SETTINGS
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(names))
        fresh.replace(path)
