"""Making, loading, backing up and encrypting wallets."""

import asyncio
from pathlib import Path
from typing import Any

from gldnode.errors import DecodeError
from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.json import amount
from gldnode.rpc.params import boolean, num, text
from gldnode.rpc.wallet_access import WalletGroup, manager_of, wallet_of
from gldnode.wallet.backup import write_backup
from gldnode.wallet.wallet import Wallet

__all__ = ["methods"]

methods = WalletGroup("Wallet")

_MAX_SLEEP_S = 100_000_000
MAX_KEYPOOL = 20_000
KEYPOOL_CHUNK = 50
_LOAD_ON_STARTUP = boolean(
    "load_on_startup",
    "Save wallet name to persistent settings and load on startup. True to add wallet to startup list, false to "
    "remove, null to leave unchanged.",
)


@methods.method(
    "createwallet",
    "Creates and loads a new wallet.",
    params=[
        text("wallet_name", "The name for the new wallet.", required=True),
        boolean(
            "disable_private_keys", "Disable the possibility of private keys (only watchonlys).", default=False
        ),
        boolean("blank", "Create a blank wallet. A blank wallet has no keys.", default=False),
        text("passphrase", "Encrypt the wallet with this passphrase."),
        boolean(
            "avoid_reuse", "Keep track of coin reuse, and treat dirty and clean coins differently.", default=False
        ),
        boolean("descriptors", "If set, must be true: only descriptor wallets exist.", default=True),
        _LOAD_ON_STARTUP,
        boolean("external_signer", "Use an external signer such as a hardware wallet.", default=False),
        text(
            "mnemonic",
            "Restore from these BIP 39 words instead of making new ones; the chain is read from its start.",
        ),
    ],
    returns='{"name":"str","warnings":["str",...]}',
    examples=['"testwallet"'],
)
async def createwallet(
    ctx: RpcContext,
    wallet_name: str,
    disable_private_keys: bool,
    blank: bool,
    passphrase: str | None,
    avoid_reuse: bool,
    descriptors: bool,
    load_on_startup: bool | None,
    external_signer: bool,
    mnemonic: str | None,
) -> dict[str, Any]:
    if not descriptors:
        raise RpcError(
            RpcCode.WALLET_ERROR,
            'descriptors argument must be set to "true"; it is no longer possible to create a legacy wallet.',
        )
    if external_signer:
        raise RpcError(
            RpcCode.WALLET_ERROR, "Compiled without external signing support (required for external signing)"
        )
    warnings = []
    if passphrase == "":
        warnings.append("Empty string given as passphrase, wallet will not be encrypted.")
    try:
        wallet = await manager_of(ctx).create(
            wallet_name,
            private_keys=not disable_private_keys,
            blank=blank,
            passphrase=passphrase or "",
            avoid_reuse=avoid_reuse,
            load_on_startup=load_on_startup,
            words=mnemonic,
        )
    except DecodeError as error:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid mnemonic: {error}") from None
    return _loaded(wallet, warnings)


def _loaded(wallet: Wallet, warnings: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": wallet.name}
    if warnings:
        out["warnings"] = warnings
    return out


@methods.method(
    "loadwallet",
    "Loads a wallet from a wallet folder.",
    params=[text("filename", "The wallet's name.", required=True), _LOAD_ON_STARTUP],
    returns='{"name":"str","warnings":["str",...]}',
    examples=['"testwallet"'],
)
async def loadwallet(ctx: RpcContext, filename: str, load_on_startup: bool | None) -> dict[str, Any]:
    return _loaded(await manager_of(ctx).load(filename, load_on_startup=load_on_startup), [])


@methods.method(
    "unloadwallet",
    "Unloads the wallet referenced by the request endpoint, or the wallet_name argument.",
    params=[
        text("wallet_name", "The name of the wallet to unload. If provided both, they must be identical."),
        _LOAD_ON_STARTUP,
    ],
    returns='{"warnings":["str",...]}',
    examples=['"testwallet"'],
)
async def unloadwallet(ctx: RpcContext, wallet_name: str | None, load_on_startup: bool | None) -> dict[str, Any]:
    if ctx.wallet_name is not None and wallet_name is not None and wallet_name != ctx.wallet_name:
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            "The RPC endpoint wallet and the wallet name parameter specify different wallets",
        )
    name = wallet_name if wallet_name is not None else ctx.wallet_name
    if name is None:
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            "Either the RPC endpoint wallet or the wallet name parameter must be provided",
        )
    await manager_of(ctx).unload(name, load_on_startup=load_on_startup)
    return {}


@methods.method("listwallets", "Returns a list of currently loaded wallets.", returns='["str",...]', examples=[""])
async def listwallets(ctx: RpcContext) -> list[str]:
    return manager_of(ctx).names()


@methods.method(
    "listwalletdir",
    "Returns a list of wallets in the wallet directory.",
    returns='{"wallets":[{"name":"str"},...]}',
)
async def listwalletdir(ctx: RpcContext) -> dict[str, Any]:
    return {"wallets": [{"name": name, "warnings": []} for name in manager_of(ctx).list_dir()]}


@methods.method("getwalletinfo", "Returns an object containing various wallet state info.", returns="{...}")
async def getwalletinfo(ctx: RpcContext) -> dict[str, Any]:
    wallet = wallet_of(ctx)
    await wallet.synced()
    ledger = wallet.ledger
    pools = [0, 0]
    for keychain in ledger.keychains.values():
        if keychain.record.is_active and keychain.is_range:
            pools[keychain.record.is_internal] += keychain.record.end_index - keychain.record.next_index
    out: dict[str, Any] = {
        "walletname": wallet.name,
        "walletversion": 169900,
        "format": "leveldb",
        "txcount": len(ledger.txs),
        "keypoolsize": pools[0],
        "keypoolsize_hd_internal": pools[1],
    }
    if wallet.encryption is not None:
        left = 0
        if not wallet.is_locked:
            left = max(0, int(wallet.unlocked_until - ctx.node.clock.monotonic()))
        out["unlocked_until"] = ctx.node.clock.now() + left if left else 0
    out["paytxfee"] = amount(wallet.fees.pay_feerate)
    out["private_keys_enabled"] = wallet.meta.has_private_keys
    out["avoid_reuse"] = wallet.meta.avoid_reuse
    out["scanning"] = _scanning(wallet)
    out["descriptors"] = True
    out["external_signer"] = False
    out["blank"] = not ledger.keychains
    out["birthtime"] = wallet.meta.birth_time
    out["flags"] = ["descriptor_wallet", "last_hardened_xpub_cached"] + (
        [] if wallet.meta.has_private_keys else ["disable_private_keys"]
    )
    if ledger.cursor is not None:
        out["lastprocessedblock"] = {"hash": ledger.cursor.hash[::-1].hex(), "height": ledger.cursor.height}
    return out


def _scanning(wallet: Wallet) -> Any:
    if wallet.scanning is None:
        return False
    first, last = wallet.scanning
    done = wallet.scanned_height - first
    share = done * 10_000 // max(1, last - first + 1)
    return {"duration": 0, "progress": share / 10_000}


@methods.method(
    "encryptwallet",
    "Encrypts the wallet with 'passphrase'. Afterwards, any calls that interact with private keys such as sending "
    "or signing will require the passphrase to be set prior to making these calls (walletpassphrase).",
    params=[text("passphrase", "The pass phrase to encrypt the wallet with.", required=True)],
    returns='"str"    (string) A string with further instructions',
    examples=['"my pass phrase"'],
)
async def encryptwallet(ctx: RpcContext, passphrase: str) -> str:
    wallet = wallet_of(ctx)
    if not wallet.meta.has_private_keys:
        raise RpcError(
            RpcCode.WALLET_ENCRYPTION_FAILED,
            "Error: wallet does not contain private keys, nothing to encrypt.",
        )
    if wallet.encryption is not None:
        raise RpcError(
            RpcCode.WALLET_WRONG_ENC_STATE,
            "Error: running with an encrypted wallet, but encryptwallet was called.",
        )
    if not passphrase:
        raise RpcError(RpcCode.INVALID_PARAMETER, "passphrase cannot be empty")
    await wallet.encrypt(passphrase)
    return (
        "wallet encrypted; The keypool has been flushed and a new HD seed was not generated: words written down "
        "before remain valid. You need to make a new backup with the backupwallet RPC."
    )


@methods.method(
    "walletpassphrase",
    "Stores the wallet decryption key in memory for 'timeout' seconds. This is needed prior to performing "
    "transactions related to private keys such as sending coins.",
    params=[
        text("passphrase", "The wallet passphrase", required=True),
        num("timeout", "The time to keep the decryption key in seconds; capped at 100000000.", required=True),
    ],
    returns="null",
    examples=['"my pass phrase" 60'],
)
async def walletpassphrase(ctx: RpcContext, passphrase: str, timeout: int) -> None:  # noqa: ASYNC109
    wallet = wallet_of(ctx)
    if wallet.encryption is None:
        raise RpcError(
            RpcCode.WALLET_WRONG_ENC_STATE,
            "Error: running with an unencrypted wallet, but walletpassphrase was called.",
        )
    if timeout < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Timeout cannot be negative.")
    if not passphrase:
        raise RpcError(RpcCode.INVALID_PARAMETER, "passphrase cannot be empty")
    wallet.unlock_keys(passphrase, min(timeout, _MAX_SLEEP_S))


@methods.method(
    "walletlock",
    "Removes the wallet encryption key from memory, locking the wallet.",
    returns="null",
)
async def walletlock(ctx: RpcContext) -> None:
    wallet = wallet_of(ctx)
    if wallet.encryption is None:
        raise RpcError(
            RpcCode.WALLET_WRONG_ENC_STATE, "Error: running with an unencrypted wallet, but walletlock was called."
        )
    wallet.lock_keys()


@methods.method(
    "walletpassphrasechange",
    "Changes the wallet passphrase from 'oldpassphrase' to 'newpassphrase'.",
    params=[
        text("oldpassphrase", "The current passphrase", required=True),
        text("newpassphrase", "The new passphrase", required=True),
    ],
    returns="null",
    examples=['"old one" "new one"'],
)
async def walletpassphrasechange(ctx: RpcContext, oldpassphrase: str, newpassphrase: str) -> None:
    wallet = wallet_of(ctx)
    if wallet.encryption is None:
        raise RpcError(
            RpcCode.WALLET_WRONG_ENC_STATE,
            "Error: running with an unencrypted wallet, but walletpassphrasechange was called.",
        )
    if not oldpassphrase or not newpassphrase:
        raise RpcError(RpcCode.INVALID_PARAMETER, "passphrase cannot be empty")
    await wallet.change_passphrase(oldpassphrase, newpassphrase)


@methods.method(
    "backupwallet",
    "Safely copies the current wallet to the specified destination, which can be a directory or a path with a "
    "filename.",
    params=[text("destination", "The destination directory or file", required=True)],
    returns="null",
    examples=['"/home/me/backup.gldwallet"'],
)
async def backupwallet(ctx: RpcContext, destination: str) -> None:
    wallet = wallet_of(ctx)
    await wallet.synced()
    path = Path(destination)
    if not destination or "\0" in destination:
        raise RpcError(RpcCode.WALLET_ERROR, "Error: Wallet backup failed!")
    async with wallet.lock:
        snapshot = wallet.database.reader()
    try:
        await asyncio.to_thread(write_backup, snapshot, path, wallet.name)
    except (OSError, ValueError):
        raise RpcError(RpcCode.WALLET_ERROR, "Error: Wallet backup failed!") from None
    finally:
        snapshot.close()


@methods.method(
    "restorewallet",
    "Restores and loads a wallet from backup.",
    params=[
        text("wallet_name", "The name that will be applied to the restored wallet", required=True),
        text("backup_file", "The backup file that will be used to restore the wallet.", required=True),
        _LOAD_ON_STARTUP,
    ],
    returns='{"name":"str"}',
    examples=['"testwallet" "/home/me/backup.gldwallet"'],
)
async def restorewallet(
    ctx: RpcContext, wallet_name: str, backup_file: str, load_on_startup: bool | None
) -> dict[str, Any]:
    if "\0" in backup_file or not await asyncio.to_thread(Path(backup_file).is_file):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Backup file does not exist")
    wallet = await manager_of(ctx).restore(wallet_name, Path(backup_file), load_on_startup=load_on_startup)
    return _loaded(wallet, [])


@methods.method(
    "getwalletmnemonic",
    "Returns the BIP 39 words from which the wallet's keys are derived. Whoever has them has the coins.",
    returns='{"mnemonic":"str"}',
)
async def getwalletmnemonic(ctx: RpcContext) -> dict[str, Any]:
    wallet = wallet_of(ctx)
    wallet.require_unlocked()
    if wallet.words is None:
        raise RpcError(RpcCode.WALLET_ERROR, "Error: This wallet has no mnemonic")
    return {"mnemonic": wallet.words}


@methods.method(
    "keypoolrefill",
    "Fills the keypool.",
    params=[num("newsize", "The new keypool size")],
    returns="null",
)
async def keypoolrefill(ctx: RpcContext, newsize: int | None) -> None:
    wallet = wallet_of(ctx)
    if newsize is not None and newsize < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, expected valid size.")
    wallet.require_unlocked()
    async with wallet.lock:
        for keychain in wallet.ledger.keychains.values():
            if keychain.record.is_active:
                size = min(newsize if newsize is not None else wallet.ledger.gap, MAX_KEYPOOL)
                for done in range(0, size, KEYPOOL_CHUNK):  # others get their turn on the event loop
                    ahead = min(done + KEYPOOL_CHUNK, size)
                    wallet.ledger.top_up(keychain, keychain.record.next_index + ahead)
                    await asyncio.sleep(0)
        await wallet.save()
