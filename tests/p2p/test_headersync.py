"""Low-work header chains: counted first, kept when they have shown their work twice."""

from dataclasses import replace

import pytest

from gldnode.chain.entry import BlockEntry
from gldnode.consensus.pow import block_work, next_bits, permits_bits
from gldnode.p2p.headersync import LowWorkSync, SyncFailed
from gldnode.params import MAIN, REGTEST, ChainParams, RetargetParams
from gldnode.primitives.block import BlockHeader, make_header

BITCOIN_LIKE = replace(REGTEST, pow=RetargetParams(1_209_600, 600), pow_limit_bits=0x1D00FFFF)


def start_of(params: ChainParams) -> BlockEntry:
    return BlockEntry(params.genesis.header, None, block_work(params.genesis.header.bits))


def chain(params: ChainParams, count: int, salt: int = 0, spacing: int = 150) -> list[BlockHeader]:
    """Headers with the right targets; proof of work is not this module's business."""
    entry, found = start_of(params), []
    for _ in range(count):
        time = entry.time + spacing
        header = make_header(4, entry.hash, salt.to_bytes(32, "big"), time, next_bits(entry, time, params), 0)
        entry = BlockEntry(header, entry, block_work(header.bits))
        found.append(header)
    return found


def feed_all(sync: LowWorkSync, headers: list[BlockHeader], part: int = 200) -> list[BlockHeader]:
    kept: list[BlockHeader] = []
    for at in range(0, len(headers), part):
        keep, more = sync.feed(headers[at : at + part], is_full=at + part < len(headers))
        kept += keep
        if not more or sync.locator_head == sync.start.hash:
            break
    return kept


def make(params: ChainParams, work: int, *, most: int = 10_000) -> LowWorkSync:
    return LowWorkSync(params, start_of(params), work, b"\5" * 16, most, commit_every=20, lookahead=500)


@pytest.mark.parametrize("params", [REGTEST, MAIN])
def test_enough_work_is_given_out_in_order_behind_the_look_ahead(params: ChainParams) -> None:
    headers = chain(params, 2_000)
    enough = start_of(params).chain_work + sum(block_work(header.bits) for header in headers[:1_800])
    sync = make(params, enough)
    assert feed_all(sync, headers) == []
    assert sync.presync_height == -1
    assert sync.memory_bytes < 200
    first, _ = sync.feed(headers[:1_000], is_full=True)
    assert list(first) == headers[:500]
    rest, more = sync.feed(headers[1_000:], is_full=False)
    assert list(rest) == headers[500:]
    assert sync.is_done
    assert not more


def test_too_little_work_ends_without_a_verdict() -> None:
    sync = make(REGTEST, 1 << 60)
    assert feed_all(sync, chain(REGTEST, 900)) == []
    assert sync.is_done


def test_another_chain_the_second_time_is_found_out() -> None:
    headers = chain(REGTEST, 1_000)
    sync = make(REGTEST, 2 * 900)
    feed_all(sync, headers)
    with pytest.raises(SyncFailed, match="other headers"):
        feed_all(sync, chain(REGTEST, 1_000, salt=1))
    sync = make(REGTEST, 2 * 900)
    feed_all(sync, headers)
    with pytest.raises(SyncFailed, match="ends earlier"):
        sync.feed(headers[:100], is_full=False)


def test_more_headers_than_time_allows_and_gaps_are_refused() -> None:
    with pytest.raises(SyncFailed, match="mined in the time"):
        feed_all(make(REGTEST, 1 << 60, most=300), chain(REGTEST, 900))
    sync = make(REGTEST, 1 << 60)
    with pytest.raises(SyncFailed, match="do not continue"):
        sync.feed(chain(REGTEST, 10)[5:], is_full=True)


def test_an_asert_target_is_checked_exactly() -> None:
    headers = chain(MAIN, 30, spacing=20)
    easier = make_header(4, headers[-1].hash, bytes(32), headers[-1].time + 20, MAIN.pow_limit_bits, 0)
    assert headers[-1].bits != MAIN.pow_limit_bits
    with pytest.raises(SyncFailed, match="difficulty"):
        make(MAIN, 1 << 80).feed([*headers, easier], is_full=True)


def test_bitcoins_targets_may_move_by_four_at_a_retarget_only() -> None:
    def permitted(height: int, old: int, new: int) -> bool:
        return permits_bits(BITCOIN_LIKE, prev_height=height, prev_time=0, prev_bits=old, time=600, bits=new)

    assert permitted(100, 0x1C05A3F4, 0x1C05A3F4)
    assert not permitted(100, 0x1C05A3F4, 0x1C05A3F5)
    # Core's own cases: 32,255 and 68,543 are the last blocks of their periods
    assert permitted(32_255, 0x1D00FFFF, 0x1D00D86A)
    assert permitted(68_543, 0x1C05A3F4, 0x1C0168FD)
    assert not permitted(68_543, 0x1C05A3F4, 0x1C0168FC)
    assert permitted(46_367, 0x1C387F6F, 0x1D00E1FD)
    assert not permitted(46_367, 0x1C387F6F, 0x1D00E1FE)
