"""Which valid transactions the mempool wants: standardness, dust, sizes (Core: policy/policy.cpp).

The limits are named as in Core. Every check raises Reject with RejectKind.POLICY.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from gldnode.errors import Reject, RejectKind
from gldnode.mempool.entry import feerate_fee
from gldnode.mempool.options import MempoolOptions
from gldnode.primitives.codec import compact_size
from gldnode.primitives.coin import Coin
from gldnode.primitives.tx import WITNESS_SCALE_FACTOR, Tx, TxIn
from gldnode.script.script import (
    count_sigops,
    is_p2sh,
    is_pay_to_anchor,
    is_push_only,
    is_unspendable,
    last_push,
    witness_program,
)
from gldnode.script.templates import ScriptKind, solve

__all__ = [
    "MAX_STANDARD_TX_SIGOPS_COST",
    "MAX_STANDARD_TX_WEIGHT",
    "TRUC_VERSION",
    "check_inputs_standard",
    "check_standard_tx",
    "check_witness_standard",
    "dust_outputs",
    "dust_threshold",
    "is_dust",
    "spends_only_keyhashes",
    "virtual_size",
]

TX_MIN_STANDARD_VERSION: Final = 1
TX_MAX_STANDARD_VERSION: Final = 3
TRUC_VERSION: Final = 3
MAX_STANDARD_TX_WEIGHT: Final = 400_000
MIN_STANDARD_TX_NONWITNESS_SIZE: Final = 65
MAX_STANDARD_SCRIPTSIG_SIZE: Final = 1650
MAX_STANDARD_TX_SIGOPS_COST: Final = 16_000
MAX_P2SH_SIGOPS: Final = 15
MAX_TX_LEGACY_SIGOPS: Final = 2_500
MAX_DUST_OUTPUTS_PER_TX: Final = 1
MAX_STANDARD_P2WSH_STACK_ITEMS: Final = 100
MAX_STANDARD_P2WSH_STACK_ITEM_SIZE: Final = 80
MAX_STANDARD_TAPSCRIPT_STACK_ITEM_SIZE: Final = 80
MAX_STANDARD_P2WSH_SCRIPT_SIZE: Final = 3600
TAPROOT_LEAF_MASK: Final = 0xFE
TAPROOT_LEAF_TAPSCRIPT: Final = 0xC0
ANNEX_TAG: Final = 0x50


def _policy(reason: str, detail: str = "") -> Reject:
    return Reject(reason, detail, RejectKind.POLICY)


def virtual_size(weight: int, sigop_cost: int, bytes_per_sigop: int) -> int:
    """Virtual bytes; a transaction with many signature operations counts as if it were larger."""
    return (max(weight, sigop_cost * bytes_per_sigop) + WITNESS_SCALE_FACTOR - 1) // WITNESS_SCALE_FACTOR


@lru_cache(maxsize=512)
def _dust_threshold(script_length: int, is_witness: bool, dust_feerate: int) -> int:
    size = 8 + len(compact_size(script_length)) + script_length
    # Of the input that will spend it: 107 bytes of signature and key, discounted in a witness.
    size += 32 + 4 + 1 + (107 // WITNESS_SCALE_FACTOR if is_witness else 107) + 4
    return feerate_fee(dust_feerate, size)


def dust_threshold(script_pubkey: bytes, dust_feerate: int) -> int:
    """The least amount that is not dust: spending it would cost more than it is worth. Grains per kvB."""
    if is_unspendable(script_pubkey):
        return 0
    return _dust_threshold(len(script_pubkey), witness_program(script_pubkey) is not None, dust_feerate)


def is_dust(amount: int, script_pubkey: bytes, dust_feerate: int) -> bool:
    return amount < dust_threshold(script_pubkey, dust_feerate)


def dust_outputs(tx: Tx, dust_feerate: int) -> list[int]:
    """Indexes of the outputs that are dust."""
    return [
        vout
        for vout, output in enumerate(tx.outputs)
        if output.amount < dust_threshold(output.script_pubkey, dust_feerate)
    ]


def check_standard_tx(tx: Tx, options: MempoolOptions) -> int:
    """What can be said of the transaction alone (IsStandardTx); how many outputs are dust. Raises Reject."""
    # 1. Version and size.
    if not TX_MIN_STANDARD_VERSION <= tx.version <= TX_MAX_STANDARD_VERSION:
        raise _policy("version")
    if tx.weight > MAX_STANDARD_TX_WEIGHT:
        raise _policy("tx-size")
    # 2. Inputs: a script that only pushes, not larger than a 15-of-15 P2SH spend.
    for txin in tx.inputs:
        script_sig = txin.script_sig
        if script_sig:
            if len(script_sig) > MAX_STANDARD_SCRIPTSIG_SIZE:
                raise _policy("scriptsig-size")
            if not is_push_only(script_sig):
                raise _policy("scriptsig-not-pushonly")
    # 3. Outputs: known templates, data within its allowance.
    data_left = options.max_datacarrier_bytes or 0
    dust_feerate = options.dust_relay_feerate
    dust = 0
    for output in tx.outputs:
        script = output.script_pubkey
        size = len(script)
        if (size == 22 and script[:2] == b"\x00\x14") or (
            size == 34 and script[:2] in (b"\x51\x20", b"\x00\x20")
        ):  # the common kinds need no more looks
            least = _dust_threshold(size, True, dust_feerate)
        else:
            kind, _ = solve(script)
            if kind == ScriptKind.NONSTANDARD:
                raise _policy("scriptpubkey")
            if kind == ScriptKind.NULLDATA:
                if size > data_left:
                    raise _policy("datacarrier")
                data_left -= size
                continue
            if kind == ScriptKind.MULTISIG:
                required, keys = script[0] - 0x50, script[-2] - 0x50
                if not (1 <= keys <= 3 and 1 <= required <= keys):
                    raise _policy("scriptpubkey")
                if not options.permit_bare_multisig:
                    raise _policy("bare-multisig")
            least = dust_threshold(script, dust_feerate)
        if output.amount < least:
            dust += 1
    # 4. One dust output at most; it has to be ephemeral.
    if dust > MAX_DUST_OUTPUTS_PER_TX:
        raise _policy("dust")
    return dust


def spends_only_keyhashes(tx: Tx, coins: Sequence[Coin]) -> bool:
    """Whether all that is spent is P2WPKH: standard whatever the witness, one signature operation each."""
    for txin, coin in zip(tx.inputs, coins, strict=True):
        script = coin.script_pubkey
        if len(script) != 22 or script[:2] != b"\x00\x14" or txin.script_sig:
            return False
    return True


def check_inputs_standard(tx: Tx, coins: Sequence[Coin]) -> None:
    """Only known kinds of outputs are spent, without a crowd of signature checks (AreInputsStandard)."""
    sigops = 0
    for index, (txin, coin) in enumerate(zip(tx.inputs, coins, strict=True)):
        script = coin.script_pubkey
        size = len(script)
        if not txin.script_sig and (
            (size == 22 and script[:2] == b"\x00\x14") or (size == 34 and script[:2] in (b"\x51\x20", b"\x00\x20"))
        ):
            continue
        # BIP 54: signature operations outside of witnesses are bounded for each transaction.
        sigops += count_sigops(txin.script_sig, True) + count_sigops(script, True)
        kind, _ = solve(script)
        if kind == ScriptKind.NONSTANDARD:
            raise _policy("bad-txns-nonstandard-inputs", f"input {index} script unknown")
        if kind == ScriptKind.WITNESS_UNKNOWN:
            raise _policy("bad-txns-nonstandard-inputs", f"input {index} witness program is undefined")
        if kind == ScriptKind.SCRIPTHASH:
            redeem_script = _redeem_script(txin.script_sig)
            if redeem_script is None:
                raise _policy("bad-txns-nonstandard-inputs", f"input {index} P2SH redeemscript missing")
            count = count_sigops(redeem_script, True)
            sigops += count
            if count > MAX_P2SH_SIGOPS:
                raise _policy(
                    "bad-txns-nonstandard-inputs",
                    f"p2sh redeemscript sigops exceed limit (input {index}: {count} > {MAX_P2SH_SIGOPS})",
                )
        if sigops > MAX_TX_LEGACY_SIGOPS:
            raise _policy("bad-txns-nonstandard-inputs", "non-witness sigops exceed bip54 limit")


def check_witness_standard(tx: Tx, coins: Sequence[Coin]) -> None:
    """Witnesses within their limits, and none where none belongs (IsWitnessStandard)."""
    for txin, coin in zip(tx.inputs, coins, strict=True):
        if txin.witness and not _is_standard_witness(txin, coin.script_pubkey):
            # Another witness may do: the transaction itself is not at fault.
            raise Reject("bad-witness-nonstandard", "", RejectKind.MUTATED)


def _is_standard_witness(txin: TxIn, script: bytes) -> bool:
    if script[:2] == b"\x00\x14" and len(script) == 22:
        return True
    if is_pay_to_anchor(script):
        return False
    nested = is_p2sh(script)
    if nested:
        redeem_script = _redeem_script(txin.script_sig)
        if redeem_script is None:
            return False
        script = redeem_script
    found = witness_program(script)
    if found is None:
        return False
    version, program = found
    stack = txin.witness
    if version == 0 and len(program) == 32:
        if len(stack[-1]) > MAX_STANDARD_P2WSH_SCRIPT_SIZE or len(stack) - 1 > MAX_STANDARD_P2WSH_STACK_ITEMS:
            return False
        return all(len(item) <= MAX_STANDARD_P2WSH_STACK_ITEM_SIZE for item in stack[:-1])
    if version == 1 and len(program) == 32 and not nested:
        if len(stack) >= 2 and stack[-1][:1] == bytes((ANNEX_TAG,)):
            return False  # an annex has no meaning yet
        if len(stack) >= 2:
            control = stack[-1]
            if not control:
                return False
            if control[0] & TAPROOT_LEAF_MASK == TAPROOT_LEAF_TAPSCRIPT:
                return all(len(item) <= MAX_STANDARD_TAPSCRIPT_STACK_ITEM_SIZE for item in stack[:-2])
    return True


def _redeem_script(script_sig: bytes) -> bytes | None:
    """What a P2SH input reveals; None when it reveals nothing or does more than push."""
    return last_push(script_sig) if script_sig else None
