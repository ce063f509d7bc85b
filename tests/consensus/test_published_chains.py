"""Whole chains that others made, connected block by block."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import AcceptStatus, ChainOptions
from gldnode.clock import MockableClock
from gldnode.consensus.subsidy import block_subsidy
from gldnode.params import BTC_REGTEST, ChainParams
from gldnode.primitives.block import Block, parse_block, parse_header
from gldnode.primitives.hashes import to_display_hex
from tests.support.bitcoin_main import BITCOIN_MAIN
from tests.support.vectors import load_json, read_bytes


def _chain(params: ChainParams, now: int) -> Chainstate:
    clock = MockableClock()
    clock.set_mock_time(now)
    return Chainstate.open(params, None, ChainOptions(), clock)


def _framed(data: bytes) -> list[Block]:
    """Blocks of a file in the framing magic, length, block."""
    blocks = []
    pos = 0
    while pos < len(data):
        size = int.from_bytes(data[pos + 4 : pos + 8], "little")
        blocks.append(parse_block(data[pos + 8 : pos + 8 + size]))
        pos += 8 + size
    return blocks


def _stats(chain: Chainstate, block: Block) -> dict[str, Any]:
    """Some of `getblockstats`, from block and undo data."""
    entry = chain.entry(block.hash)
    undo = chain.read_undo(block.hash)
    assert entry is not None
    assert undo is not None
    fees = [
        sum(coin.amount for coin in coins) - sum(output.amount for output in tx.outputs)
        for tx, coins in zip(block.txs[1:], undo, strict=True)
    ]
    return {
        "height": entry.height,
        "time": entry.time,
        "mediantime": entry.median_time_past,
        "txs": len(block.txs),
        "ins": sum(len(tx.inputs) for tx in block.txs[1:]),
        "outs": sum(len(tx.outputs) for tx in block.txs),
        "subsidy": block_subsidy(entry.height, chain.params),
        "totalfee": sum(fees),
        "minfee": min(fees, default=0),
        "maxfee": max(fees, default=0),
        "total_out": sum(output.amount for tx in block.txs[1:] for output in tx.outputs),
        "total_size": sum(tx.total_size for tx in block.txs[1:]),
        "total_weight": sum(tx.weight for tx in block.txs[1:]),
        "swtxs": sum(tx.has_witness for tx in block.txs[1:]),
        "swtotal_size": sum(tx.total_size for tx in block.txs[1:] if tx.has_witness),
    }


def test_the_regtest_chain_of_getblockstats_connects_with_the_expected_figures() -> None:
    vectors = load_json("bitcoin-core/functional-data/rpc_getblockstats.json")
    chain = _chain(BTC_REGTEST, vectors["mocktime"] + 3_600)
    blocks = [parse_block(bytes.fromhex(text)) for text in vectors["blocks"]]
    for block in blocks[1:]:
        assert chain.accept_block(block).status is AcceptStatus.CONNECTED
    assert chain.tip.height == 103
    compared = 0
    for expected in vectors["stats"]:
        block = next(block for block in blocks if to_display_hex(block.hash) == expected["blockhash"])
        for name, value in _stats(chain, block).items():
            assert value == expected[name], name
            compared += 1
    assert compared == 45


def test_the_regtest_chain_of_core_lightning_connects() -> None:
    blocks = [parse_block(bytes.fromhex(text)) for text in load_json("core-lightning/regtest_blocks.json")]
    assert len(blocks) == 168
    chain = _chain(BTC_REGTEST, blocks[-1].header.time + 60)
    for block in blocks:
        chain.accept_block(block)
    assert chain.tip.hash == blocks[-1].hash
    assert chain.verify(4, 0)


def test_2016_blocks_of_the_alternative_main_chain_connect_and_raise_the_difficulty() -> None:
    vectors = load_json("bitcoin-core/extracted/mainnet_alt_blocks.json")
    blocks = [parse_block(bytes.fromhex(text)) for text in vectors["blocks_hex_from_height_1"]]
    # Version 0x20000000 from height 1: the rules of main bind by height only.
    chain = _chain(BITCOIN_MAIN, blocks[-1].header.time)
    for block in blocks:
        chain.accept_block(block)
    assert to_display_hex(chain.tip.hash) == vectors["tip"]
    assert chain.tip_entry.bits == int(vectors["bits_height_2016"], 16)
    assert chain.tip_entry.ancestor(2_015).bits == int(vectors["bits_heights_1_to_2015"], 16)


def test_the_first_256_blocks_of_main_connect() -> None:
    blocks = _framed(read_bytes("btcd/blocks1-256.bz2"))
    chain = _chain(BITCOIN_MAIN, blocks[-1].header.time)
    for block in blocks:
        if block.hash != BITCOIN_MAIN.genesis.hash:
            chain.accept_block(block)
    assert chain.tip.height >= 255
    assert chain.verify(4, 0)


def test_nine_thousand_headers_of_main_are_accepted() -> None:
    headers = [parse_header(bytes.fromhex(text)) for text in load_json("bitcoin-s/block_headers.json")]
    chain = _chain(BITCOIN_MAIN, headers[-1].time)
    last = chain.accept_headers(headers)
    assert last is not None
    assert last.height == 8_999
    assert chain.best_header is last
    assert chain.tip.height == 0


def test_the_reorganisation_set_of_btcd() -> None:
    """0…4, then 3A and 4A, which have less and equal work, then 5A, which has more."""
    params = replace(BITCOIN_MAIN, coinbase_maturity=1)
    main = _framed(read_bytes("btcd/blockchain/blk_0_to_4.dat.bz2"))
    side = [_framed(read_bytes(f"btcd/blockchain/blk_{name}.dat.bz2"))[0] for name in ("3A", "4A", "5A")]
    chain = _chain(params, side[-1].header.time)
    for block in main[1:]:
        assert chain.accept_block(block).status is AcceptStatus.CONNECTED
    assert chain.accept_block(side[0]).status is AcceptStatus.SIDE
    assert chain.accept_block(side[1]).status is AcceptStatus.SIDE
    assert chain.tip.hash == main[4].hash
    assert chain.accept_block(side[2]).status is AcceptStatus.CONNECTED
    assert chain.tip.height == 5
    assert [chain.entry_at(height) for height in (3, 4, 5)] == [chain.entry(block.hash) for block in side]


@pytest.mark.parametrize("params", [BITCOIN_MAIN, BTC_REGTEST], ids=lambda params: params.name)
def test_subsidies_are_cores(params: ChainParams) -> None:
    vectors = load_json("bitcoin-core/extracted/subsidy.json")
    interval = vectors["halving_interval_main" if params is BITCOIN_MAIN else "halving_interval_regtest"]
    assert params.halving_interval == interval
    assert block_subsidy(0, params) == vectors["initial_sat"]
    rewards = [block_subsidy(halving * interval, params) for halving in range(66)]
    for before, after in pairwise(rewards[: vectors["zero_from_halving"]]):
        assert after == before // 2
    assert rewards[vectors["zero_from_halving"] :] == [0, 0]
    for halving in range(1, 64):
        assert block_subsidy(halving * interval - 1, params) == rewards[halving - 1]
    if params is BITCOIN_MAIN:
        total = sum(block_subsidy(height, params) * 1_000 for height in range(0, 14_000_000, 1_000))
        assert total == vectors["sum_heights_0_to_13999000_step_1000_times_1000_sat_main"]
