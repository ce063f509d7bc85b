"""What a wallet refuses, with the codes and sentences that Bitcoin Core's RPC has for it."""

from enum import IntEnum

from gldnode.errors import NodeError

__all__ = ["WalletError", "WalletFault"]


class WalletFault(IntEnum):
    """Core's RPC_WALLET_* codes, and the general ones that wallet calls use."""

    MISC = -1
    TYPE = -3
    WALLET = -4
    INVALID_ADDRESS_OR_KEY = -5
    INSUFFICIENT_FUNDS = -6
    INVALID_PARAMETER = -8
    KEYPOOL_RAN_OUT = -12
    UNLOCK_NEEDED = -13
    PASSPHRASE_INCORRECT = -14
    WRONG_ENC_STATE = -15
    ENCRYPTION_FAILED = -16
    NOT_FOUND = -18
    NOT_SPECIFIED = -19
    ALREADY_LOADED = -35
    ALREADY_EXISTS = -36


class WalletError(NodeError):
    """A request that this wallet cannot do."""

    def __init__(self, fault: WalletFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
