"""The state of a wallet and its keys: addresses handed out, accounts of plug-ins, encryption."""

import asyncio
from collections.abc import Callable
from typing import Final

from gldnode.address import script_to_address
from gldnode.bip32 import ExtendedKey, seed_of_mnemonic
from gldnode.descriptors import Descriptor, parse_descriptor
from gldnode.ports import NodeHost
from gldnode.wallet.crypter import WrongPassphrase, make_encryption, open_key, seal, unseal
from gldnode.wallet.errors import WalletError, WalletFault
from gldnode.wallet.fees import FeePolicy, fee_policy
from gldnode.wallet.keychain import Keychain
from gldnode.wallet.layout import ENCRYPTION, META, WORDS, Encryption, KeychainRecord, Label, Meta, keychain_key
from gldnode.wallet.ledger import Ledger, WalletTx
from storage.database import Database, Txn

__all__ = ["OUTPUT_TYPES", "KeyedWallet"]

OUTPUT_TYPES: Final = {"legacy": 44, "p2sh-segwit": 49, "bech32": 84, "bech32m": 86}
"""Address types by Core's names, and the BIP whose paths each uses."""
_TEMPLATES: Final = {"legacy": "pkh({})", "p2sh-segwit": "sh(wpkh({}))", "bech32": "wpkh({})", "bech32m": "tr({})"}
_DEFAULT_GAP: Final = 100


class KeyedWallet:
    """What a wallet is without its following the chain: see `wallet.Wallet`."""

    def __init__(self, name: str, host: NodeHost, database: Database) -> None:
        self.name = name
        self.host = host
        self.database = database
        self.lock = asyncio.Lock()
        self.ledger = Ledger(host.params)
        self.meta = Meta(created_at=host.clock.now())
        self.encryption: Encryption | None = None
        self.words: str | None = None
        """The mnemonic, while it is open."""
        self.unlocked_until = 0.0
        """On the monotonic clock."""
        self.fees: FeePolicy = fee_policy(host.option, host.params)
        self.scanning: tuple[int, int] | None = None
        """First and last height of a rescan under way."""
        self.scanned_height = 0
        self.abort_scan = False
        self.is_closed = False
        self.on_changed: Callable[[KeyedWallet, WalletTx], None] | None = None
        """Told of each transaction that came or changed, once that is durable."""
        self._key: bytes | None = None
        self._progress = asyncio.Event()
        gap = host.option("keypool")
        if gap is not None and gap.isascii() and gap.isdigit():
            self.ledger.gap = max(1, min(int(gap), 100_000))
        else:
            self.ledger.gap = _DEFAULT_GAP

    # --- writing ---

    async def save(self) -> None:
        """Write what has changed, durably."""
        self.meta.next_order = self.ledger.next_order
        self.ledger.put(META, self.meta)
        await self.write(sync=True)

    async def write(self, *, sync: bool) -> None:
        writes = self.ledger.take_writes()
        if not writes:
            return

        def write(txn: Txn) -> None:
            for key, value in writes.items():
                if value is None:
                    txn.delete(key)
                else:
                    txn.put(key, value)

        changed = dict.fromkeys(self.ledger.take_changed())
        await self.database.transact(write, sync=sync)
        if self.on_changed is not None:
            for txid in changed:
                wtx = self.ledger.txs.get(txid)
                if wtx is not None:
                    self.on_changed(self, wtx)

    # --- keys ---

    def add_seed(self, words: str) -> None:
        """Take the mnemonic as the wallet's seed and derive the descriptors of all address types."""
        master = ExtendedKey.from_seed(seed_of_mnemonic(words))
        self.words = words
        self.ledger.put_raw(WORDS, self._sealed(words.encode(), WORDS))
        for output_type in OUTPUT_TYPES:
            for is_internal in (False, True):
                self.add_keychain(
                    self._derived(master, output_type, 0, is_internal), is_internal=is_internal, is_active=True
                )

    def _derived(self, master: ExtendedKey, output_type: str, account: int, is_internal: bool) -> Descriptor:
        params = self.host.params
        path = f"{OUTPUT_TYPES[output_type]}h/{params.bip44_coin_type}h/{account}h/{int(is_internal)}/*"
        return parse_descriptor(_TEMPLATES[output_type].format(f"{master.to_text(params)}/{path}"), params)

    def add_keychain(
        self,
        descriptor: Descriptor,
        *,
        is_internal: bool = False,
        is_active: bool = False,
        account: str = "",
        first_index: int = 0,
        next_index: int = 0,
        end_index: int = 0,
        label: str = "",
    ) -> Keychain:
        """Take a descriptor into the wallet; with private keys where it has them. `save` afterwards."""
        number = self.meta.next_keychain
        self.meta.next_keychain += 1
        record = KeychainRecord(
            descriptor.normalized().to_text(),
            is_internal=is_internal,
            is_active=is_active,
            account=account,
            first_index=first_index,
            next_index=next_index,
            end_index=first_index,
            created_at=self.host.clock.now(),
            label=label,
        )
        keychain = Keychain(number, record, self.host.params)
        if descriptor.has_private_keys:
            text = descriptor.to_text(private=True)
            record.private = self._sealed(text.encode(), keychain_key(number))
            keychain.unlock(text)
        if is_active:
            for other in self.ledger.keychains.values():
                same = other.output_type == keychain.output_type and other.record.is_internal == is_internal
                if other.record.is_active and same:
                    other.record.is_active = False
                    self.ledger.put(keychain_key(other.number), other.record)
        self.ledger.add_keychain(keychain)
        if end_index:
            self.ledger.top_up(keychain, end_index)
        self.meta.is_blank = False
        return keychain

    def active_keychain(self, output_type: str, *, is_internal: bool) -> Keychain | None:
        for keychain in self.ledger.keychains.values():
            record = keychain.record
            if record.is_active and record.is_internal == is_internal and keychain.output_type == output_type:
                return keychain
        return None

    def _take_script(self, keychain: Keychain) -> bytes:
        """The next script of a keychain, handed out."""
        index = keychain.record.next_index
        self.ledger.top_up(keychain)
        if keychain.record.end_index <= index:
            raise WalletError(
                WalletFault.KEYPOOL_RAN_OUT, "Error: Keypool ran out, please call keypoolrefill first"
            )
        script = keychain.expand(index).scripts[0]
        self.ledger.use_index(keychain, index)
        return script

    async def new_script(self, output_type: str, *, is_internal: bool = False, label: str = "") -> bytes:
        """A fresh receiving (or change) script. Raises WalletError. The caller does not hold `lock`."""
        async with self.lock:
            script = self.take_script(output_type, is_internal=is_internal)
            if not is_internal:
                self.ledger.set_label(script, Label(label))
            await self.save()
        return script

    def take_script(self, output_type: str, *, is_internal: bool) -> bytes:
        """As `new_script`, for callers that hold `lock` and `save` later."""
        keychain = self.active_keychain(output_type, is_internal=is_internal)
        if keychain is None:
            if not self.has_active_keychain:
                raise WalletError(WalletFault.WALLET, "Error: This wallet has no available keys")
            raise WalletError(WalletFault.KEYPOOL_RAN_OUT, f"Error: No {output_type} addresses available.")
        return self._take_script(keychain)

    @property
    def has_active_keychain(self) -> bool:
        return any(keychain.record.is_active for keychain in self.ledger.keychains.values())

    def address(self, script: bytes) -> str | None:
        return script_to_address(script, self.host.params)

    # --- accounts of plug-ins: no RPC hands out from them ---

    async def open_account(self, name: str, output_type: str = "bech32") -> Keychain:
        """The receiving keychain of a plug-in's account, made at first: BIP 44 account 1, 2, …

        `keychain.descriptor.to_text()` may be shown; scripts come from `account_script`. Raises WalletError.
        """
        async with self.lock:
            for keychain in self.ledger.keychains.values():
                if keychain.record.account == name and not keychain.record.is_internal:
                    return keychain
            if self.words is None:
                if self.encryption is not None:
                    raise self.locked_error()
                raise WalletError(WalletFault.WALLET, "Error: This wallet has no seed to derive an account from")
            number = self.meta.next_account
            self.meta.next_account += 1
            master = ExtendedKey.from_seed(seed_of_mnemonic(self.words))
            keychain = self.add_keychain(self._derived(master, output_type, number, False), account=name)
            await self.save()
            return keychain

    async def account_script(self, keychain: Keychain, index: int) -> bytes:
        """The account's script at `index`, watched from now on together with the gap behind it."""
        if index >= keychain.record.next_index:
            async with self.lock:
                self.ledger.use_index(keychain, index)
                await self.save()
        return keychain.expand(index).scripts[0]

    # --- encryption ---

    @property
    def is_locked(self) -> bool:
        """Encrypted, and the passphrase is not open."""
        if self.encryption is None:
            return False
        if self._key is not None and self.host.clock.monotonic() >= self.unlocked_until:
            self.lock_keys()
        return self._key is None

    def locked_error(self) -> WalletError:
        return WalletError(
            WalletFault.UNLOCK_NEEDED, "Error: Please enter the wallet passphrase with walletpassphrase first."
        )

    def require_unlocked(self) -> None:
        if self.is_locked:
            raise self.locked_error()

    def _sealed(self, data: bytes, about: bytes) -> bytes:
        if self.encryption is None:
            return data
        if self._key is None:
            raise self.locked_error()
        return seal(self._key, data, about, self.host.entropy)

    def _begin_encryption(self, passphrase: str) -> None:
        key = self.host.entropy.bytes(32)
        self.encryption = make_encryption(passphrase, key, self.host.entropy)
        self._key = key
        self.unlocked_until = float("inf")
        self.ledger.put(ENCRYPTION, self.encryption)

    async def encrypt(self, passphrase: str) -> None:
        """Seal all secrets with a passphrase, and lock."""
        async with self.lock:
            self._begin_encryption(passphrase)
            if self.words is not None:
                self.ledger.put_raw(WORDS, self._sealed(self.words.encode(), WORDS))
            for keychain in self.ledger.keychains.values():
                if keychain.record.private:
                    key = keychain_key(keychain.number)
                    keychain.record.private = self._sealed(keychain.record.private, key)
                    self.ledger.put(key, keychain.record)
            await self.save()
            self.lock_keys()

    def lock_keys(self) -> None:
        self._key = None
        self.words = None
        for keychain in self.ledger.keychains.values():
            keychain.lock()

    def unlock_keys(self, passphrase: str, seconds: float) -> None:
        """Open the secrets for a while. Raises WalletError(PASSPHRASE_INCORRECT)."""
        assert self.encryption is not None
        try:
            key = open_key(passphrase, self.encryption)
            for keychain in self.ledger.keychains.values():
                if keychain.record.private:
                    about = keychain_key(keychain.number)
                    keychain.unlock(unseal(key, keychain.record.private, about).decode())
            sealed = self.database.kv.get(WORDS)
            self.words = unseal(key, sealed, WORDS).decode() if sealed else None
        except WrongPassphrase:
            raise WalletError(
                WalletFault.PASSPHRASE_INCORRECT, "Error: The wallet passphrase entered was incorrect."
            ) from None
        self._key = key
        self.unlocked_until = self.host.clock.monotonic() + seconds
        asyncio.get_running_loop().call_later(seconds + 0.01, lambda: self.is_locked)  # looking locks

    async def change_passphrase(self, old: str, new: str) -> None:
        """Raises WalletError(PASSPHRASE_INCORRECT)."""
        assert self.encryption is not None
        try:
            key = open_key(old, self.encryption)
        except WrongPassphrase:
            raise WalletError(
                WalletFault.PASSPHRASE_INCORRECT, "Error: The wallet passphrase entered was incorrect."
            ) from None
        async with self.lock:
            self.encryption = make_encryption(new, key, self.host.entropy)
            self.ledger.put(ENCRYPTION, self.encryption)
            await self.save()
