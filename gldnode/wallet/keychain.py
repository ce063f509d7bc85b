"""A descriptor of the wallet: its scripts so far, and its keys while they are not sealed."""

from collections.abc import Iterator

from gldnode.descriptors import Descriptor, DescriptorError, Expansion, parse_descriptor
from gldnode.params import ChainParams
from gldnode.wallet.layout import KeychainRecord

__all__ = ["Keychain"]


class Keychain:
    """One descriptor with its record. The scripts below `record.end_index` are known."""

    def __init__(self, number: int, record: KeychainRecord, params: ChainParams) -> None:
        self.number = number
        self.record = record
        self.descriptor = parse_descriptor(record.descriptor, params, require_checksum=True)
        self.private: Descriptor | None = None
        """With private keys; None while the wallet is locked and in wallets without."""

    def unlock(self, private_text: str) -> None:
        self.private = parse_descriptor(private_text, self.descriptor.params)

    def lock(self) -> None:
        self.private = None

    @property
    def output_type(self) -> str | None:
        return self.descriptor.output_type

    @property
    def is_range(self) -> bool:
        return self.descriptor.is_range

    def expand(self, index: int) -> Expansion:
        """Public keys and scripts at `index`. Raises DescriptorError where only the locked private key derives."""
        try:
            return self.descriptor.expand(index)
        except DescriptorError:
            if self.private is None:
                raise
            return self.private.expand(index)

    def signing_expansion(self, index: int) -> Expansion:
        """With secrets where they are at hand."""
        return (self.private or self.descriptor).expand(index)

    def extend(self, end: int) -> Iterator[tuple[int, tuple[bytes, ...]]]:
        """Scripts from the present end up to `end`, moving it. Stops where a private key is missing."""
        if not self.is_range:
            end = min(end, self.record.first_index + 1)
        while self.record.end_index < end:
            index = self.record.end_index
            try:
                scripts = self.expand(index).scripts
            except DescriptorError:
                return
            self.record.end_index = index + 1
            yield index, scripts

    def use(self, index: int) -> bool:
        """Note that `index` has been handed out or paid; whether that moved `next_index`."""
        if index < self.record.next_index:
            return False
        self.record.next_index = index + 1
        return True
