"""How large inputs become when they are signed: the fee is paid for the signed transaction (Core: spend.cpp)."""

from collections.abc import Sequence

from gldnode.descriptors import Expansion
from gldnode.primitives.codec import compact_size
from gldnode.primitives.tx import TxOut, serialize_tx_out
from gldnode.script.script import push_data
from gldnode.script.templates import ScriptKind, solve

__all__ = ["input_weight", "transaction_weight"]

_SIGNATURE = 71  # DER with low R and S, and the hash type
_SCHNORR = 64


def _var(size: int) -> int:
    return len(compact_size(size)) + size


def _push(size: int) -> int:
    return len(push_data(bytes(size)))


def _stack(script: bytes, known: dict[bytes, bytes]) -> list[int] | None:
    """Sizes of what satisfies `script`; `known` are public keys by hash."""
    kind, data = solve(script)
    match kind:
        case ScriptKind.PUBKEY:
            return [_SIGNATURE]
        case ScriptKind.PUBKEYHASH | ScriptKind.WITNESS_V0_KEYHASH:
            return [_SIGNATURE, len(known.get(data[0], bytes(33)))]
        case ScriptKind.MULTISIG:
            return [0] + [_SIGNATURE] * data[0][0]
    return None


def input_weight(script: bytes, expansion: Expansion | None, key_hashes: dict[bytes, bytes]) -> int | None:
    """Weight of a signed input that spends `script`; None where the wallet cannot tell.

    expansion: how the script came from its descriptor; key_hashes: its public keys by hash160.
    """
    script_sig = 0
    witness: list[int] | None = None
    inner = {s: s for s in expansion.inner_scripts} if expansion else {}
    kind, _data = solve(script)
    target = script
    if kind is ScriptKind.SCRIPTHASH:
        redeem = next((s for s in reversed(list(inner)) if solve(s).kind is not ScriptKind.NONSTANDARD), None)
        if redeem is None:
            return None
        script_sig = _push(len(redeem))
        target = redeem
        kind = solve(redeem).kind
    if kind is ScriptKind.WITNESS_V0_KEYHASH:
        witness = [_SIGNATURE, 33]
    elif kind is ScriptKind.WITNESS_V0_SCRIPTHASH:
        witness_script = next(iter(inner), None)
        stack = _stack(witness_script, key_hashes) if witness_script is not None else None
        if stack is None or witness_script is None:
            return None
        witness = [*stack, len(witness_script)]
    elif kind is ScriptKind.WITNESS_V1_TAPROOT:
        witness = [_SCHNORR]
    elif kind is not ScriptKind.ANCHOR:
        stack = _stack(target, key_hashes)
        if stack is None:
            return None
        script_sig += sum(_push(size) if size else 1 for size in stack)
    base = 32 + 4 + _var(script_sig) + 4
    # The witness is counted with its item count; where there is none, one zero byte stands in segwit transactions.
    total = 1 if witness is None else len(compact_size(len(witness))) + sum(map(_var, witness))
    return base * 4 + total


def transaction_weight(input_weights: Sequence[int], outputs: Sequence[TxOut], *, has_witness: bool) -> int:
    """Weight of the whole signed transaction."""
    head = 4 + len(compact_size(len(input_weights))) + len(compact_size(len(outputs))) + 4
    body = sum(len(serialize_tx_out(output)) for output in outputs)
    if has_witness:
        return (head + body) * 4 + 2 + sum(input_weights)
    return (head + body) * 4 + sum(weight - 1 for weight in input_weights)
