"""The errors that cross module borders.

`Reject` carries the field's own reason strings (Bitcoin Core's `TxValidationState`/`BlockValidationState`
reject reasons), so that RPC answers, logs and published vectors agree word for word.
"""

from enum import Enum

__all__ = ["DecodeError", "NodeError", "Reject", "RejectKind"]


class NodeError(Exception):
    """Base of every error that this software raises on purpose."""


class DecodeError(NodeError):
    """Bytes or text that do not parse."""


class RejectKind(Enum):
    """Who is to blame and whether the verdict can change (Core's TxValidationResult/BlockValidationResult)."""

    CONSENSUS = "consensus"  # invalid for ever
    MUTATED = "mutated"  # the bytes may have been altered in transit: the hash itself is not at fault
    POLICY = "policy"  # valid in a block, not wanted in the mempool
    CONTEXT = "context"  # may become valid: missing inputs, too early, unknown parent
    HEADER = "header"  # invalid header
    CONFLICT = "conflict"  # another transaction spends the same output


class Reject(NodeError):
    """A transaction or block broke a rule.

    `reason` is Core's reject reason (`bad-txns-inputs-missingorspent`); `detail` is free text for debug output.
    """

    def __init__(self, reason: str, detail: str = "", kind: RejectKind = RejectKind.CONSENSUS) -> None:
        super().__init__(f"{reason}, {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.kind = kind
