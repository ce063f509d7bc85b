"""Taking descriptors into a wallet (Core: importdescriptors)."""

from dataclasses import dataclass, field

from gldnode.descriptors import Descriptor, DescriptorError, parse_descriptors
from gldnode.script.templates import ScriptKind, solve
from gldnode.wallet.errors import WalletError, WalletFault
from gldnode.wallet.keychain import Keychain
from gldnode.wallet.layout import Label, keychain_key
from gldnode.wallet.wallet import Wallet

__all__ = ["ImportRequest", "first_height_since", "import_descriptor"]

TIMESTAMP_WINDOW_S = 7200
"""Block times may be this far before the real time."""


@dataclass(slots=True)
class ImportRequest:
    """One descriptor to import; `range_` is first and last index."""

    text: str
    timestamp: int
    is_active: bool = False
    is_internal: bool = False
    label: str | None = None
    range_: tuple[int, int] | None = None
    next_index: int | None = None
    warnings: list[str] = field(default_factory=list)


def import_descriptor(wallet: Wallet, request: ImportRequest) -> None:
    """Add the descriptor, or each branch of a multipath one. The caller holds the lock, saves and rescans.

    Raises WalletError.
    """
    try:
        branches = parse_descriptors(request.text, wallet.host.params, require_checksum=True)
    except DescriptorError as error:
        raise WalletError(WalletFault.INVALID_ADDRESS_OR_KEY, str(error)) from None
    if len(branches) > 1:
        if request.is_internal:
            raise WalletError(
                WalletFault.INVALID_ADDRESS_OR_KEY,
                "Cannot have multipath descriptor while also specifying 'internal'",
            )
        if request.label is not None:
            raise WalletError(WalletFault.INVALID_PARAMETER, "Multipath descriptors should not have a label")
    for number, descriptor in enumerate(branches):
        is_internal = request.is_internal if len(branches) == 1 else number == 1
        _import_one(wallet, descriptor, request, is_internal)


def _import_one(wallet: Wallet, descriptor: Descriptor, request: ImportRequest, is_internal: bool) -> None:
    low, high, next_index = _range(wallet, descriptor, request)
    _check(wallet, descriptor, request, is_internal)
    if not descriptor.has_private_keys and any(key.needs_private for key in descriptor.key_expressions):
        raise WalletError(
            WalletFault.WALLET,
            "Cannot expand descriptor. Probably because of hardened derivations without private keys provided",
        )
    if wallet.meta.has_private_keys and descriptor.has_private_keys and not descriptor.has_all_private_keys:
        request.warnings.append(
            "Not all private keys provided. Some wallet functionality may return unexpected errors"
        )
    keychain = _existing(wallet, descriptor)
    if keychain is None:
        keychain = wallet.add_keychain(
            descriptor,
            is_internal=is_internal,
            is_active=request.is_active,
            first_index=low,
            next_index=next_index,
            end_index=high + 1,
            label=request.label or "",
        )
    else:
        _update(wallet, keychain, descriptor, request, is_internal, high, next_index)
    keychain.record.created_at = min(keychain.record.created_at, max(1, request.timestamp))
    wallet.ledger.put(keychain_key(keychain.number), keychain.record)
    if not descriptor.is_range and not is_internal and (request.label is not None or not request.is_active):
        for script in keychain.expand(0).scripts:
            if solve(script).kind is not ScriptKind.PUBKEY:
                wallet.ledger.set_label(script, Label(request.label or ""))


def _range(wallet: Wallet, descriptor: Descriptor, request: ImportRequest) -> tuple[int, int, int]:
    if not descriptor.is_range:
        if request.range_ is not None:
            raise WalletError(
                WalletFault.INVALID_PARAMETER, "Range should not be specified for an un-ranged descriptor"
            )
        return 0, 0, 0
    if request.range_ is None:
        request.warnings.append("Range not given, using default keypool range")
        low, high = 0, wallet.ledger.gap - 1
    else:
        low, high = request.range_
    next_index = low if request.next_index is None else request.next_index
    if not low <= next_index <= high:
        raise WalletError(WalletFault.INVALID_PARAMETER, "next_index is out of range")
    return low, high, next_index


def _check(wallet: Wallet, descriptor: Descriptor, request: ImportRequest, is_internal: bool) -> None:
    if request.is_active and not descriptor.is_range:
        raise WalletError(WalletFault.INVALID_PARAMETER, "Active descriptors must be ranged")
    if descriptor.is_range and request.label is not None:
        raise WalletError(WalletFault.INVALID_PARAMETER, "Ranged descriptors should not have a label")
    if is_internal and request.label is not None:
        raise WalletError(WalletFault.INVALID_PARAMETER, "Internal addresses should not have a label")
    if request.is_active and not descriptor.is_single_type:
        raise WalletError(WalletFault.WALLET, "Combo descriptors cannot be set to active")
    if request.is_active and descriptor.output_type is None:
        raise WalletError(WalletFault.WALLET, "Descriptor cannot be set to active: it has no address type")
    if not wallet.meta.has_private_keys and descriptor.has_private_keys:
        raise WalletError(WalletFault.WALLET, "Cannot import private keys to a wallet with private keys disabled")
    if wallet.meta.has_private_keys and not descriptor.has_private_keys:
        raise WalletError(
            WalletFault.WALLET,
            "Cannot import descriptor without private keys to a wallet with private keys enabled",
        )


def _existing(wallet: Wallet, descriptor: Descriptor) -> Keychain | None:
    text = descriptor.normalized().to_text()
    for keychain in wallet.ledger.keychains.values():
        if keychain.record.descriptor == text:
            return keychain
    return None


def _update(
    wallet: Wallet,
    keychain: Keychain,
    descriptor: Descriptor,
    request: ImportRequest,
    is_internal: bool,
    high: int,
    next_index: int,
) -> None:
    """Import again what is there: a wider range, activation."""
    record = keychain.record
    if keychain.private is None and descriptor.has_private_keys:
        keychain.unlock(descriptor.to_text(private=True))
    record.next_index = max(record.next_index, next_index)
    record.is_internal = is_internal
    if request.is_active:
        for other in wallet.ledger.keychains.values():
            same = other.output_type == keychain.output_type and other.record.is_internal == is_internal
            if other is not keychain and other.record.is_active and same:
                other.record.is_active = False
                wallet.ledger.put(keychain_key(other.number), other.record)
    record.is_active = request.is_active
    wallet.ledger.top_up(keychain, high + 1)


def first_height_since(wallet: Wallet, timestamp: int) -> int:
    """The first block that may be as young as `timestamp`, Unix seconds."""
    chain = wallet.host.chain
    assert wallet.ledger.cursor is not None
    wanted = timestamp - TIMESTAMP_WINDOW_S
    low, high = 0, wallet.ledger.cursor.height + 1
    # Block times are not in order, but by no more than the window: two hours back is on the safe side.
    while low < high:
        middle = (low + high) // 2
        block_hash = chain.block_hash(middle)
        header = None if block_hash is None else chain.header(block_hash)
        time = int.from_bytes(header[68:72], "little") if header is not None else timestamp
        if time < wanted:
            low = middle + 1
        else:
            high = middle
    return max(0, low - 12)
