"""The service's part for stores, how they are paid, and API keys."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from msgspec.structs import replace

from gldnode.crypto.secp256k1 import is_valid_seckey, xonly_of
from gldnode.ports import NodeHost
from payments import apikeys, layout
from payments.accounts import Accounts
from payments.engine import Engine
from payments.errors import FieldProblem, ValidationError, not_found
from payments.ids import new_short_id, new_store_id
from payments.invoice import ZeroConf
from payments.layout import ReaderState, Watch, callback_reader
from payments.methods import chain_method_id, derived_addresses, parse_chain_method
from payments.notices import Notices
from payments.quotas import Quotas
from payments.requests import PaymentRequests
from payments.stores import SETTING_NAMES, ApiKey, ChainMethod, Store, StoreSettings
from payments.usage import storage_used
from payments.vault import Vault
from storage.database import ABSENT, Database, Txn

__all__ = ["StoreBook"]

MAX_NAME = 50
MAX_PREVIEW = 1000
MAX_KEYS_KEPT = 10_000


class StoreBook:
    """Stores and keys over the vault."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._stores: dict[str, Store] = {}
        self._keys: dict[str, ApiKey] = {}
        """Keys in clear that were looked up before; a creating shop asks thousands of times with one."""

    @property
    def _host(self) -> NodeHost:
        return self._vault.host

    @property
    def engine(self) -> Engine:
        """What follows the node. Raises PaymentError before the first store."""
        return self._vault.engine

    @property
    def database(self) -> Database:
        """The records, for tools and tests. Raises PaymentError before the first store."""
        return self._vault.database

    @cached_property
    def quotas(self) -> Quotas:
        """What a store may hold. Raises ValueError for a wrong setting."""
        return Quotas.of_host(self._host)

    @property
    def unit(self) -> str:
        """The chain's currency code: GLD (BTC on btc-regtest)."""
        return self._host.params.unit

    @property
    def method_id(self) -> str:
        """GLD-CHAIN."""
        return chain_method_id(self._host.params)

    @cached_property
    def accounts(self) -> Accounts:
        """Users and their roles in stores."""
        return Accounts(self._vault, self._host.clock, self._host.entropy)

    @cached_property
    def requests(self) -> PaymentRequests:
        """Bills that may be paid by several invoices."""
        return PaymentRequests(self._vault, self.quotas.payment_requests)

    @cached_property
    def notices(self) -> Notices:
        """What people are told of."""
        return Notices(self._vault)

    def storage_used(self) -> dict[str, int]:
        """Bytes on the disk by kind of record, with `total`."""
        return storage_used(self._vault.database) if self._vault.is_open else {"total": 0}

    def open_invoices(self) -> int:
        """Of all stores: not yet settled, expired or invalid."""
        with self._vault.reading() as reader:
            if reader is None:
                return 0
            return sum(int.from_bytes(count, "big") for _, count in reader.iterate(prefix=b"N"))

    # Stores

    async def create_store(self, settings: StoreSettings, *, owner: str = "", chain: str | None = None) -> Store:
        """A new store; `chain` is an address, xpub or descriptor (see set_chain_method)."""
        _check_settings(settings)
        params, entropy = self._host.params, self._host.entropy
        method = parse_chain_method(chain, params) if chain is not None else None
        if params.name != "main" and settings.zero_conf == ZeroConf():
            settings = replace(settings, zero_conf=ZeroConf(max_amount=params.max_money))
        secret = entropy.bytes(32)
        while not is_valid_seckey(secret):
            secret = entropy.bytes(32)
        store = Store(
            new_store_id(entropy),
            self._host.clock.now(),
            settings,
            secret,
            xonly_of(secret),
            new_short_id(entropy),
            method,
            owner,
        )
        reader = callback_reader(store.id)

        def put(txn: Txn) -> None:
            txn.require(layout.store_key(store.id), ABSENT)
            txn.put_json(layout.store_key(store.id), store)
            txn.put_record(layout.reader_key(reader), ReaderState(store.id, 0))
            _watch_fixed(txn, store, None)

        self._vault.open()
        await self._vault.transact(put)
        self._stores[store.id] = store
        self._vault.reader_added(reader)
        return store

    async def update_store(self, store_id: str, changes: Mapping[str, object]) -> Store:
        """Merges typed `changes` (names of StoreSettings fields). 404 store-not-found, 422."""
        unknown = set(changes) - SETTING_NAMES
        assert not unknown, f"not settings of a store: {unknown}"

        def change(txn: Txn) -> Store:
            store = _require_store(txn, store_id)
            settings = replace(store.settings, **changes)
            _check_settings(settings)
            return _put_store(txn, replace(store, settings=settings))

        return await self._write_store(change)

    async def _write_store(self, change: Callable[[Txn], Store]) -> Store:
        store = await self._vault.transact(change)
        self._stores[store.id] = store
        return store

    def store(self, store_id: str) -> Store | None:
        known = self._stores.get(store_id)
        if known is not None:
            return known
        with self._vault.reading() as reader:
            found = reader.get_json(layout.store_key(store_id), Store) if reader is not None else None
        if found is not None:
            # Every write goes through this object, so what was read once stays true.
            self._stores[store_id] = found
        return found

    def stores(self) -> Sequence[Store]:
        with self._vault.reading() as reader:
            return [store for _, store in reader.iterate_json(b"s", Store)] if reader is not None else []

    def merchant_store(self, address: str) -> Store | None:
        """The store whose fixed address this is."""
        try:
            method = parse_chain_method(address, self._host.params)
        except ValidationError:
            return None
        if method.kind != "address":
            return None
        with self._vault.reading() as reader:
            watch = reader.get_record(layout.watch_key(method.script), Watch) if reader is not None else None
        return self.store(watch.store_id) if watch is not None and watch.store_id else None

    async def set_chain_method(
        self,
        store_id: str,
        config: str | None,
        *,
        enabled: bool = True,
        label: str = "",
        account_key_path: str = "",
    ) -> ChainMethod:
        """Sets how the store is paid: address, xpub (-[legacy|p2sh|taproot]) or descriptor; None keeps it. 422."""
        params = self._host.params
        parsed = (
            parse_chain_method(config, params, enabled=enabled, label=label, account_key_path=account_key_path)
            if config is not None
            else None
        )

        def change(txn: Txn) -> Store:
            store = _require_store(txn, store_id)
            method = parsed
            if method is None:
                if store.chain is None:
                    raise not_found("paymentmethod")
                method = replace(store.chain, enabled=enabled, label=label or store.chain.label)
            changed = replace(store, chain=method)
            _watch_fixed(txn, changed, store.chain)
            return _put_store(txn, changed)

        store = await self._write_store(change)
        assert store.chain is not None
        return store.chain

    async def remove_chain_method(self, store_id: str) -> None:
        """Payments to what was handed out are found all the same."""

        def change(txn: Txn) -> Store:
            return _put_store(txn, replace(_require_store(txn, store_id), chain=None))

        await self._write_store(change)

    def preview_addresses(self, config: str, offset: int, count: int) -> Sequence[tuple[int, str]]:
        """(index, address) of a descriptor or xpub. 422."""
        params = self._host.params
        method = parse_chain_method(config, params)
        if not 0 <= offset < 1 << 31 or not 0 <= count <= MAX_PREVIEW:
            raise ValidationError(FieldProblem("count", f"At most {MAX_PREVIEW} addresses"))
        if method.kind == "address":
            return [(0, method.text)]
        return list(derived_addresses(method, offset, count, params))

    # API keys

    async def create_api_key(
        self,
        label: str,
        permissions: Sequence[str],
        *,
        user_id: str = "",
        allowed_ips: Sequence[str] = (),
        application: str = "",
    ) -> tuple[str, ApiKey]:
        """The key in clear, for the one time it can be shown, and its record. 422 for an unknown permission."""
        text, record = apikeys.new_key(
            self._host.entropy,
            self._host.clock,
            label,
            permissions,
            user_id=user_id,
            allowed_ips=allowed_ips,
            application=application,
        )
        self._vault.open()
        await self._vault.transact(lambda txn: apikeys.put_key(txn, record))
        return text, record

    def authenticate(self, key: str) -> ApiKey | None:
        """The key's record, None for an unknown one."""
        known = self._keys.get(key)
        if known is not None:
            return known
        with self._vault.reading() as reader:
            found = apikeys.find_key(reader, key) if reader is not None else None
        if found is not None:
            if len(self._keys) >= MAX_KEYS_KEPT:
                self._keys.clear()
            self._keys[key] = found
        return found

    def api_keys(self, user_id: str | None = None) -> Sequence[ApiKey]:
        """All keys, or a user's."""
        with self._vault.reading() as reader:
            found = apikeys.list_keys(reader) if reader is not None else []
        return [key for key in found if user_id is None or key.user_id == user_id]

    async def revoke_api_key(self, key_id: str) -> bool:
        """Whether there was such a key."""
        self._vault.open()
        self._keys.clear()
        try:
            return await self._vault.transact(lambda txn: apikeys.revoke_key(txn, key_id))
        finally:
            self._keys.clear()  # what was looked up while the revocation was on its way to the disk


def _require_store(txn: Txn, store_id: str) -> Store:
    store = txn.get_json(layout.store_key(store_id), Store)
    if store is None:
        raise not_found("store")
    return store


def _put_store(txn: Txn, store: Store) -> Store:
    txn.put_json(layout.store_key(store.id), store)
    return store


def _watch_fixed(txn: Txn, store: Store, before: ChainMethod | None) -> None:
    """Watch the store's fixed address for ever. It belongs to one store."""
    method = store.chain
    if method is None or method.kind != "address" or (before is not None and before.script == method.script):
        return
    row = layout.watch_key(method.script)
    watch = txn.get_record(row, Watch)
    if watch is not None and watch.store_id != store.id:
        raise ValidationError(FieldProblem("config", "Invalid configuration (the address is already in use here)"))
    txn.put_record(row, Watch(store_id=store.id))


def _check_settings(settings: StoreSettings) -> None:
    problems = []
    if not settings.name.strip():
        problems.append(FieldProblem("Name", "Name is missing"))
    elif len(settings.name) > MAX_NAME:
        problems.append(FieldProblem("Name", f"Name can only be between 1 and {MAX_NAME} characters"))
    for name, seconds in (
        ("InvoiceExpiration", settings.invoice_expiration),
        ("DisplayExpirationTimer", settings.display_expiration_timer),
        ("MonitoringExpiration", settings.monitoring_expiration),
    ):
        if not 60 <= seconds <= 24 * 86_400:
            problems.append(FieldProblem(name, f"{name} can only be between 1 and 34560 mins"))
    if not 0 <= settings.payment_tolerance <= 100 * 10**8:
        problems.append(FieldProblem("PaymentTolerance", "PaymentTolerance can only be between 0 and 100 percent"))
    if problems:
        raise ValidationError(problems)
