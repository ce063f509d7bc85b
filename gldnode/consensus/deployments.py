"""Which rules bind at which height: buried deployments, replaceable with `-testactivationheight`."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from gldnode.errors import NodeError
from gldnode.params import ChainParams
from gldnode.script.flags import ScriptFlags

__all__ = ["ACTIVATION_NAMES", "ActivationHeightError", "script_flags", "with_activation_heights"]

ACTIVATION_NAMES: Final = {
    "segwit": "segwit",
    "bip34": "bip34",
    "dersig": "bip66",
    "cltv": "bip65",
    "csv": "csv",
}
"""Core's names of the deployments, and ours."""

_MAX_HEIGHT: Final = 0x7FFFFFFF


class ActivationHeightError(NodeError):
    """`-testactivationheight` does not parse or names an unknown deployment."""


def with_activation_heights(params: ChainParams, heights: Iterable[tuple[str, int]]) -> ChainParams:
    """`params` with some deployments moved to another height. Raises ActivationHeightError."""
    changed: dict[str, int] = {}
    for name, height in heights:
        field = ACTIVATION_NAMES.get(name)
        if field is None:
            raise ActivationHeightError(f"Invalid name ({name}@{height}) for -testactivationheight=name@height.")
        if not 0 <= height < _MAX_HEIGHT:
            raise ActivationHeightError(
                f"Invalid height value ({name}@{height}) for -testactivationheight=name@height."
            )
        changed[field] = height
    if not changed:
        return params
    return replace(params, deployments=replace(params.deployments, **changed))


def script_flags(params: ChainParams, height: int, block_hash: bytes = b"") -> ScriptFlags:
    """The script rules of a block at `height` (Core: GetBlockScriptFlags).

    Like Core, witness programs are verified whatever the segwit height: no earlier block may hold a witness,
    so the only effect is that such outputs cannot be taken before.
    """
    deployments = params.deployments
    flags = ScriptFlags.NONE
    if height >= deployments.bip16:
        flags |= ScriptFlags.P2SH | ScriptFlags.WITNESS
        if height >= deployments.taproot:
            flags |= ScriptFlags.TAPROOT
    for exempt_hash, left_out in params.script_flag_exceptions:
        if exempt_hash == block_hash:
            for name in left_out:
                flags &= ~ScriptFlags[name]
    if height >= deployments.bip66:
        flags |= ScriptFlags.DERSIG
    if height >= deployments.bip65:
        flags |= ScriptFlags.CHECKLOCKTIMEVERIFY
    if height >= deployments.csv:
        flags |= ScriptFlags.CHECKSEQUENCEVERIFY
    if height >= deployments.segwit:
        flags |= ScriptFlags.NULLDUMMY
    return flags
