"""Proof of work: compact targets, the work of a header, and which target the next block must meet.

Two rules, chosen by `ChainParams.pow`: aserti3-2d (Bitcoin Cash upgrade specification of November 2020,
exact integers) and Bitcoin's retarget every 2,016 blocks (Core: GetNextWorkRequired).
"""

from functools import lru_cache
from typing import Final

from gldnode.consensus.context import HeaderContext
from gldnode.params import AsertParams, ChainParams, RetargetParams

__all__ = [
    "asert_bits",
    "bits_from_target",
    "block_work",
    "has_valid_proof_of_work",
    "next_bits",
    "permits_bits",
    "retarget",
    "target_from_bits",
]

_MAX_256: Final = (1 << 256) - 1
_RADIX_BITS: Final = 16


def target_from_bits(bits: int) -> tuple[int, bool, bool]:
    """The target of a compact form, and whether it is negative or overflows 256 bits (arith_uint256::SetCompact).

    A negative one gives its magnitude; one that overflows gives the bits that fit.
    """
    size = bits >> 24
    word = bits & 0x007FFFFF
    if size <= 3:
        word >>= 8 * (3 - size)
        target = word
    else:
        target = (word << (8 * (size - 3))) & _MAX_256
    negative = word != 0 and bool(bits & 0x00800000)
    overflow = word != 0 and (size > 34 or (word > 0xFF and size > 33) or (word > 0xFFFF and size > 32))
    return target, negative, overflow


def bits_from_target(target: int, *, negative: bool = False) -> int:
    """The compact form of a target, cut to 23 bits of precision (arith_uint256::GetCompact)."""
    size = (target.bit_length() + 7) // 8
    word = target << (8 * (3 - size)) if size <= 3 else target >> (8 * (size - 3))
    if word & 0x00800000:
        # The top bit is the sign: make room.
        word >>= 8
        size += 1
    return word | size << 24 | (0x00800000 if negative and word else 0)


@lru_cache(maxsize=4096)
def _valid_target(bits: int, limit_bits: int) -> int:
    """The target, or -1 where the compact form is negative, zero, too large or above the limit."""
    target, negative, overflow = target_from_bits(bits)
    if negative or overflow or target == 0 or target > target_from_bits(limit_bits)[0]:
        return -1
    return target


def has_valid_proof_of_work(block_hash: bytes, bits: int, params: ChainParams) -> bool:
    """Whether the hash meets the target that the header claims (CheckProofOfWork)."""
    return int.from_bytes(block_hash, "little") <= _valid_target(bits, params.pow_limit_bits)


@lru_cache(maxsize=4096)
def block_work(bits: int) -> int:
    """Expected hashes to meet the target: 2^256 / (target + 1). Zero for an impossible one."""
    target, negative, overflow = target_from_bits(bits)
    if negative or overflow or target == 0:
        return 0
    return (1 << 256) // (target + 1)


def next_bits(prev: HeaderContext, time: int, params: ChainParams) -> int:
    """The compact target that a block with timestamp `time` (Unix seconds) on top of `prev` must claim."""
    rule = params.pow
    if isinstance(rule, AsertParams):
        if rule.allow_limit_after_s is not None and time > prev.time + rule.allow_limit_after_s:
            return params.pow_limit_bits
        return asert_bits(
            rule,
            time_delta=prev.time - rule.anchor_parent_time,
            height_delta=prev.height - rule.anchor_height,
            limit_bits=params.pow_limit_bits,
        )
    if rule.no_retargeting and params.genesis.header.bits == params.pow_limit_bits:
        return params.pow_limit_bits  # what the walk below comes to, whatever the chain
    interval = rule.timespan_s // rule.spacing_s
    if (prev.height + 1) % interval:
        return _bits_between_retargets(prev, time, rule, interval, params.pow_limit_bits)
    if rule.no_retargeting:
        return prev.bits
    # Core's off-by-one, kept by consensus: the span covers interval - 1 block times.
    first = prev.ancestor(prev.height - (interval - 1))
    return retarget(rule, prev.bits, prev.time - first.time, params.pow_limit_bits)


def permits_bits(
    params: ChainParams, *, prev_height: int, prev_time: int, prev_bits: int, time: int, bits: int
) -> bool:
    """Whether `bits` could follow, judged by the block before alone (Core: PermittedDifficultyTransition).

    For header chains that are not kept yet. ASERT needs no more than that block, so its answer is exact.
    """
    rule = params.pow
    if isinstance(rule, AsertParams):
        if rule.allow_limit_after_s is not None and time > prev_time + rule.allow_limit_after_s:
            return bits == params.pow_limit_bits
        return bits == asert_bits(
            rule,
            time_delta=prev_time - rule.anchor_parent_time,
            height_delta=prev_height - rule.anchor_height,
            limit_bits=params.pow_limit_bits,
        )
    if rule.allow_min_difficulty:
        return True
    if (prev_height + 1) % (rule.timespan_s // rule.spacing_s):
        return bits == prev_bits
    easiest = target_from_bits(retarget(rule, prev_bits, rule.timespan_s * 4, params.pow_limit_bits))[0]
    hardest = target_from_bits(retarget(rule, prev_bits, rule.timespan_s // 4, params.pow_limit_bits))[0]
    return hardest <= target_from_bits(bits)[0] <= easiest


def _bits_between_retargets(
    prev: HeaderContext, time: int, rule: RetargetParams, interval: int, limit_bits: int
) -> int:
    if not rule.allow_min_difficulty:
        return prev.bits
    if time > prev.time + rule.spacing_s * 2:
        return limit_bits
    # The last block that was not mined at the limit by the rule above.
    walk = prev
    while walk.prev is not None and walk.height % interval and walk.bits == limit_bits:
        walk = walk.prev
    return walk.bits


def retarget(rule: RetargetParams, bits: int, actual_timespan_s: int, limit_bits: int) -> int:
    """The target after a period that took `actual_timespan_s` (CalculateNextWorkRequired)."""
    span = min(max(actual_timespan_s, rule.timespan_s // 4), rule.timespan_s * 4)
    target = target_from_bits(bits)[0] * span // rule.timespan_s
    return bits_from_target(min(target, target_from_bits(limit_bits)[0]))


def asert_bits(rule: AsertParams, *, time_delta: int, height_delta: int, limit_bits: int) -> int:
    """aserti3-2d: the target for the block after one at `height_delta` behind the anchor.

    `time_delta` is the parent block's time minus the anchor's parent's. The exponent is truncated towards
    zero and split with an arithmetic shift, as the reference implementation's 64-bit integers do.
    """
    anchor = target_from_bits(rule.anchor_bits)[0]
    limit = target_from_bits(limit_bits)[0]
    scaled = (time_delta - rule.spacing_s * (height_delta + 1)) << _RADIX_BITS
    exponent = scaled // rule.half_life_s if scaled >= 0 else -(-scaled // rule.half_life_s)
    shifts = exponent >> _RADIX_BITS
    e = exponent - (shifts << _RADIX_BITS)
    # 2^16 * 2^(e / 2^16), by a cubic polynomial with at most 0.013 % error.
    factor = 65_536 + ((195_766_423_245_049 * e + 971_821_376 * e * e + 5_127 * e * e * e + (1 << 47)) >> 48)
    target = anchor * factor
    shifts -= _RADIX_BITS
    if shifts <= 0:
        target >>= -shifts
    elif shifts > 256:  # only to keep the integer small: an anchor is at least 1
        target = limit
    else:
        target <<= shifts
    return bits_from_target(min(max(target, 1), limit))
