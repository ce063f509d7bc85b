"""Targets, Bitcoin's retarget and aserti3-2d, against published figures."""

import pytest

from gldnode.chain.entry import BlockEntry
from gldnode.consensus.pow import (
    asert_bits,
    bits_from_target,
    block_work,
    has_valid_proof_of_work,
    next_bits,
    retarget,
    target_from_bits,
)
from gldnode.params import BTC_REGTEST, MAIN, REGTEST, TEST, AsertParams, ChainParams, RetargetParams
from gldnode.primitives.block import make_header
from tests.support.bitcoin_main import BITCOIN_MAIN
from tests.support.vectors import load_json, read_text

BITCOIN_LIMIT = 0x1D00FFFF
BCH_SPACING, BCH_HALF_LIFE = 600, 172_800


def test_compact_forms_of_arith_uint256_tests() -> None:
    cases = load_json("bitcoin-core/extracted/compact_bits.json")
    assert len(cases) == 20
    for case in cases:
        target, negative, overflow = target_from_bits(case["compact"])
        assert overflow == case["overflow"]
        if not overflow:
            assert negative == case["negative"]
            assert f"{target:064x}" == case["target_hex"]
            assert bits_from_target(target, negative=negative) == case["recompact"]


def test_work_of_a_target_is_the_expected_number_of_hashes() -> None:
    assert block_work(0x207FFFFF) == 2
    assert block_work(0x1D00FFFF) == 0x100010001
    assert block_work(0x01003456) == 0  # a zero target


@pytest.mark.parametrize("bits", [0x00000000, 0x01800000 | 0x123456, 0xFF123456, 0x1D010000])
def test_no_hash_meets_an_impossible_or_too_easy_target(bits: int) -> None:
    assert not has_valid_proof_of_work(bytes(32), bits, BITCOIN_MAIN)


def test_retargets_of_cores_pow_tests() -> None:
    vectors = load_json("bitcoin-core/extracted/pow_retarget.json")
    rule = BITCOIN_MAIN.pow
    assert isinstance(rule, RetargetParams)
    for case in vectors["cases"]:
        span = case["last_time"] - case["first_time"]
        found = retarget(rule, int(case["last_nbits"], 16), span, BITCOIN_LIMIT)
        assert found == int(case["expected_nbits"], 16), case["name"]


def test_every_real_retarget_of_the_main_network_is_a_step_that_the_rule_allows() -> None:
    """473 targets up to height 953,567: each a compact value within a factor of four of the one before."""
    checkpoints = load_json("electrum/mainnet/checkpoints.json")
    assert len(checkpoints) == 473
    rule = BITCOIN_MAIN.pow
    assert isinstance(rule, RetargetParams)
    before = target_from_bits(BITCOIN_LIMIT)[0]
    for _, target in checkpoints:
        bits = bits_from_target(target)
        assert target_from_bits(bits) == (target, False, False)
        shortest = retarget(rule, bits_from_target(before), 0, BITCOIN_LIMIT)
        longest = retarget(rule, bits_from_target(before), 1 << 40, BITCOIN_LIMIT)
        assert target_from_bits(shortest)[0] <= target <= target_from_bits(longest)[0]
        # Some period length gives exactly this target.
        span = _span_that_gives(rule, before, target)
        assert retarget(rule, bits_from_target(before), span, BITCOIN_LIMIT) == bits
        before = target


def _span_that_gives(rule: RetargetParams, before: int, target: int) -> int:
    low, high = rule.timespan_s // 4, rule.timespan_s * 4
    while low < high:
        middle = (low + high) // 2
        found = target_from_bits(retarget(rule, bits_from_target(before), middle, BITCOIN_LIMIT))[0]
        if found < target:
            low = middle + 1
        else:
            high = middle
    return low


def test_targets_of_the_history_agree_with_those_of_electrum() -> None:
    checkpoints = load_json("electrum/mainnet/checkpoints.json")
    rows = [line.split(",") for line in read_text("nbitcoin/targethistory.csv").split()]
    compared = 0
    for height, target in rows[1:] if not rows[0][0].isdigit() else rows:
        period = int(height) // 2016
        if period:
            assert int(target) == checkpoints[period - 1][1]
            compared += 1
    assert compared > 2_000


# -- Bitcoin's rule for the test networks --


def _chain(params: ChainParams, times: list[int], bits: list[int] | None = None) -> BlockEntry:
    """Entries behind genesis at `times` (Unix seconds), claiming `bits` or what the rule asks."""
    entry = BlockEntry(params.genesis.header, None, 1)
    for number, time in enumerate(times):
        claimed = next_bits(entry, time, params) if bits is None else bits[number]
        header = make_header(4, entry.hash, bytes(32), time, claimed, number)
        entry = BlockEntry(header, entry, block_work(claimed))
    return entry


def test_a_block_twenty_minutes_late_may_use_the_limit_and_the_next_one_may_not() -> None:
    rule = RetargetParams(1_209_600, 600, allow_min_difficulty=True)
    params = ChainParams(**{f: getattr(BITCOIN_MAIN, f) for f in BITCOIN_MAIN.__slots__} | {"pow": rule})
    start = params.genesis.header.time
    hard = 0x1C00FFFF
    tip = _chain(params, [start + 600], [hard])
    assert next_bits(tip, tip.time + 1_200, params) == hard
    assert next_bits(tip, tip.time + 1_201, params) == BITCOIN_LIMIT
    late = _chain(params, [start + 600, start + 600 + 1_201], [hard, BITCOIN_LIMIT])
    assert next_bits(late, late.time + 600, params) == hard


def test_regtest_never_retargets() -> None:
    for params in (REGTEST, BTC_REGTEST):
        start = params.genesis.header.time
        tip = _chain(params, [start + n for n in range(1, 2020)])
        assert {entry.bits for entry in tip.walk_back()} == {0x207FFFFF}


# -- aserti3-2d --


def _bch(anchor_height: int, anchor_parent_time: int, anchor_bits: int, height: int, time: int) -> int:
    rule = AsertParams(anchor_height, anchor_parent_time, anchor_bits, BCH_SPACING, BCH_HALF_LIFE)
    return asert_bits(
        rule,
        time_delta=time - anchor_parent_time,
        height_delta=height - anchor_height,
        limit_bits=BITCOIN_LIMIT,
    )


@pytest.mark.parametrize("bits", [BITCOIN_LIMIT, 0x1A2B3C4D, 0x01010000])
def test_asert_vectors_steady_blocks_keep_the_target(bits: int) -> None:
    """Runs 1 to 3: a block every 600 s; the target stays, at the limit, in the middle and at the minimum."""
    for number in range(10):
        assert _bch(1, 0, bits, 2 + number, 1_200 + 600 * number) == bits


def test_asert_vectors_doubling_from_the_minimum_to_the_limit() -> None:
    """Run 4: each block one half-life behind schedule doubles the target."""
    for number in range(1, 226):
        expected = min(1 << number, target_from_bits(BITCOIN_LIMIT)[0])
        time = 174_000 + 173_400 * (number - 1)
        assert _bch(1, 0, 0x01010000, 1 + number, time) == bits_from_target(expected)


def test_asert_vectors_halving_from_the_limit_to_the_minimum() -> None:
    """Run 5: 288 blocks a step without any time between them."""
    found = [_bch(1, 0, BITCOIN_LIMIT, 2 + 288 * number, 0) for number in range(225)]
    assert found[:9] == [
        0x1D00FEC5,
        0x1C7F62C0,
        0x1C3FB160,
        0x1C1FD8B0,
        0x1C0FEC58,
        0x1C07F62C,
        0x1C03FB16,
        0x1C01FD8B,
        0x1C00FEC5,
    ]
    for step in range(9, 209):  # eight halvings are one byte
        assert found[step] == found[step - 8] - 0x01000000
    assert found[209:] == [
        0x027F6200,
        0x023FB100,
        0x021FD800,
        0x020FEC00,
        0x0207F600,
        0x0203FB00,
        0x0201FD00,
        0x0200FE00,
        0x017F0000,
        0x013F0000,
        0x011F0000,
        0x010F0000,
        0x01070000,
        0x01030000,
        0x01010000,
        0x01010000,
    ]


_RUN_6 = """
2 1200 1802aee8/3 1310 1802ad91/4 1327 1802abf8/5 1739 1802ab73/6 2219 1802ab20/7 2604 1802aa89/8 2746 1802a94b
9 7099 1802b39c/10 7099 1802b1f2/11 7657 1802b1d4/12 8626 1802b2db/13 8816 1802b1b7/14 9632 1802b252
15 10804 1802b3e7/16 11727 1802b4ce/17 11761 1802b33c/18 13000 1802b501/19 14144 1802b686/20 15302 1802b816
22 18902 1802bed6/30 22170 1802ba85/40 30824 1802c203/55 38049 1802bcfe/82 48206 1802ac2f/126 77005 1802b2cb
153 89154 1802a7ac/171 99835 1802a75a/188 115789 1802b735/247 157840 1802ca0d/305 195282 1802d1a9
389 239765 1802c0b6/430 261956 1802b9ec/552 338121 1802c249/575 358636 1802d597/600 369787 1802ca76
"""


def test_asert_vectors_random_solve_times() -> None:
    """Lines of run 6: `height time bits`; ahead of schedule exponents are negative."""
    lines = _RUN_6.replace("/", "\n").split("\n")
    checked = 0
    for line in filter(None, lines):
        height, time, bits = line.split()
        assert _bch(1, 0, 0x1802AEE8, int(height), int(time)) == int(bits, 16), line
        checked += 1
    assert checked == 35


def test_asert_vectors_beyond_64_bit_heights_and_32_bit_times() -> None:
    """Run 10."""
    expected = [
        0x1802AFBB,
        0x1802B08F,
        0x1802B166,
        0x1802B23A,
        0x1802B30E,
        0x1802B3E5,
        0x1802B4BB,
        0x1802B592,
        0x1802B669,
        0x1802B73D,
    ]
    anchor = 9_223_372_036_854_775_802
    for number, bits in enumerate(expected):
        time = 2_147_484_547 + 900 * number
        assert _bch(anchor, 2_147_483_047, 0x1802AEE8, anchor + 1 + number, time) == bits


# -- aserti3-2d with the network's own parameters --


def test_heights_zero_and_one_by_hand() -> None:
    """Block 1 sees a genesis exactly on schedule, so its target is the anchor's; a late block 1 eases block 2.

    Anchor parent time = genesis − 150. For block 1: 150 − 150·(0+1) = 0, 2^0 = 1: the anchor's target.
    Block 1 came 43,200 s late: 150 + 150 + 43,200 − 150·2 = 43,200 = one half-life: the limit.
    Block 1 came at once (1 s): 151 − 300 = −149; −149·65,536 / 43,200 = −226 (truncated), so shifts = −1,
    e = 65,310; the factor is that of the specification's formula.
    """
    genesis = BlockEntry(MAIN.genesis.header, None, 1)
    limit = MAIN.pow_limit_bits
    assert next_bits(genesis, genesis.time + 150, MAIN) == limit
    assert next_bits(genesis, genesis.time + 10**6, MAIN) == limit  # only the parent's time counts
    late = _chain(MAIN, [genesis.time + 150 + 43_200])
    assert next_bits(late, late.time + 1, MAIN) == limit
    early = _chain(MAIN, [genesis.time + 1])
    e = 65_536 - 226
    factor = 65_536 + ((195_766_423_245_049 * e + 971_821_376 * e**2 + 5_127 * e**3 + 2**47) >> 48)
    expected = (target_from_bits(limit)[0] * factor) >> 17
    assert next_bits(early, early.time + 1, MAIN) == bits_from_target(expected) == 0x1E0FF63F


@pytest.mark.parametrize("days", [1, 30, 365])
def test_a_genesis_in_the_past_gives_the_limit_until_the_schedule_is_caught_up(days: int) -> None:
    start = MAIN.genesis.header.time + days * 86_400
    behind = days * 86_400 // 150  # blocks that the schedule is ahead
    tip = _chain(MAIN, [start + n for n in range(min(behind, 3_000))])
    assert {entry.bits for entry in tip.walk_back()} == {MAIN.pow_limit_bits}
    if behind < 3_000:
        # Blocks of one second each: caught up, and from there on harder.
        for number in range(600):
            header = make_header(4, tip.hash, bytes(32), tip.time + 1, next_bits(tip, tip.time + 1, MAIN), number)
            tip = BlockEntry(header, tip, block_work(header.bits))
        assert target_from_bits(tip.bits)[0] < target_from_bits(MAIN.pow_limit_bits)[0] // 3


def test_blocks_one_second_apart_halve_the_target_every_290_blocks() -> None:
    start = MAIN.genesis.header.time
    tip = _chain(MAIN, [start + n for n in range(1, 2_900)])
    ratio = target_from_bits(tip.ancestor(2_000).bits)[0] / target_from_bits(tip.ancestor(2_290).bits)[0]
    assert 1.99 < ratio < 2.01  # 290 · 149 s = one half-life


def test_timestamps_at_the_two_hour_limit_ease_once_and_no_further() -> None:
    start = MAIN.genesis.header.time
    honest = _chain(MAIN, [start + 75 * n for n in range(1, 2_000)])
    skewed = _chain(MAIN, [start + 75 * n + 7_200 for n in range(1, 2_000)])
    ratio = target_from_bits(skewed.bits)[0] / target_from_bits(honest.bits)[0]
    assert 1.10 < ratio < 1.14  # 2^(7,200 / 43,200) = 1.122, whatever the number of blocks


@pytest.mark.parametrize("factor", [100, 0.01])
def test_a_hundredfold_change_of_hash_rate_is_followed_within_days(factor: float) -> None:
    """Expected solve times for 288 blocks after the jump, then the rate goes back."""
    time = float(MAIN.genesis.header.time)
    tip = BlockEntry(MAIN.genesis.header, None, 1)
    rate = 1e6 / 150 * 1_000  # far from the limit
    for number in range(9_000):
        now_rate = rate * factor if 6_000 <= number < 6_288 else rate
        bits = next_bits(tip, int(time), MAIN)
        time += max(block_work(bits) / now_rate, 1)
        tip = BlockEntry(make_header(4, tip.hash, bytes(32), int(time), bits, number), tip, block_work(bits))
        if number == 5_999:
            before = target_from_bits(bits)[0]
        if number == 6_287:
            after = target_from_bits(bits)[0]
    change = before / after
    assert (1.5 < change < 100) if factor > 1 else (0.01 < change < 0.2)
    spacing = (tip.time - tip.ancestor(tip.height - 144).time) / 144
    assert 75 < spacing < 300


def test_a_late_block_may_use_the_limit_on_the_test_network_only() -> None:
    start = TEST.genesis.header.time
    hard = _chain(TEST, [start + n for n in range(1, 600)])
    assert next_bits(hard, hard.time + 1_200, TEST) != TEST.pow_limit_bits
    assert next_bits(hard, hard.time + 1_201, TEST) == TEST.pow_limit_bits
    main = _chain(MAIN, [MAIN.genesis.header.time + n for n in range(1, 600)])
    assert next_bits(main, main.time + 10**6, MAIN) != MAIN.pow_limit_bits
