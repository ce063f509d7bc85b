"""Published outputs of Bitcoin Core, compared value for value."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gldnode.chain.entry import BlockEntry
from gldnode.consensus.pow import block_work
from gldnode.consensus.subsidy import block_subsidy
from gldnode.params import BTC_REGTEST, ChainParams
from gldnode.primitives.block import Block, parse_block
from gldnode.rpc.blocks import coinbase_json
from gldnode.rpc.json import encode
from gldnode.rpc.proofs import make_proof, parse_proof
from gldnode.rpc.rawtx import decode_tx
from gldnode.rpc.render import header_json, tx_json
from gldnode.rpc.stats import block_stats
from gldnode.rpc.transactions import decode_script
from tests.support.bitcoin_main import BITCOIN_MAIN
from tests.support.daemon import DaemonProcess
from tests.support.vectors import load_json, read_text, vectors_dir

# The published outputs were made with a main network of its own prefixes, or with test network ones.
BITCOIN_TEST = replace(BITCOIN_MAIN, name="bitcoin-test", bech32_hrp="tb", p2pkh_version=111, p2sh_version=196)


def as_json(value: Any) -> Any:
    return json.loads(encode(value), parse_float=Decimal)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("bitcoin_mainnet_951658", BITCOIN_MAIN),
        ("bitcoin_testnet4_40000", BITCOIN_TEST),
        ("bitcoin_signet_31500", BITCOIN_TEST),
    ],
)
def test_getblock_of_published_blocks(name: str, params: ChainParams) -> None:
    golden = json.loads(read_text(f"electrumx/{name}.json"), parse_float=Decimal)
    block = parse_block(bytes.fromhex(golden["block"]))
    entry = BlockEntry(block.header, None, block_work(block.header.bits))
    entry.height = golden["height"]
    entry.n_tx = len(block.txs)
    out = as_json(header_json(entry, golden.get("confirmations", 1), None))
    out["strippedsize"], out["size"], out["weight"] = block.base_size, block.total_size, block.weight
    out["coinbase_tx"] = as_json(coinbase_json(block.txs[0]))
    out["tx"] = [tx.txid[::-1].hex() for tx in block.txs]
    # What the block alone does not tell: its place in the chain.
    chain_facts = ("confirmations", "mediantime", "chainwork", "previousblockhash", "nextblockhash", "block")
    for key, value in golden.items():
        if key == "previousblockhash":
            assert block.header.prev_hash[::-1].hex() == value
        elif key not in chain_facts:
            assert out[key] == value, key


def test_getblockstats_of_the_published_chain() -> None:
    golden = load_json("bitcoin-core/functional-data/rpc_getblockstats.json")
    blocks = [parse_block(bytes.fromhex(text)) for text in golden["blocks"]]
    entries: list[BlockEntry] = []
    for block in blocks:
        entries.append(BlockEntry(block.header, entries[-1] if entries else None, block_work(block.header.bits)))
    for expected in golden["stats"]:
        height = expected["height"]
        undo = tuple(tuple(_coin_of(blocks, txin.prevout) for txin in tx.inputs) for tx in blocks[height].txs[1:])
        found = block_stats(blocks[height], undo, entries[height], block_subsidy(height, BTC_REGTEST))
        assert found == expected


def _coin_of(blocks: list[Block], prevout: Any) -> Any:
    from gldnode.primitives.coin import Coin

    for height, block in enumerate(blocks):
        for tx in block.txs:
            if tx.txid == prevout.txid:
                output = tx.outputs[prevout.vout]
                return Coin(output.amount, output.script_pubkey, height, tx.is_coinbase)
    raise AssertionError("an input from nowhere")


def test_decodescript_of_the_published_scripts() -> None:
    for script, expected in load_json("bitcoin-core/functional-data/rpc_decodescript.json"):
        assert as_json(decode_script(bytes.fromhex(script), BTC_REGTEST)) == expected, script


def _util_cases() -> list[Any]:
    folder = vectors_dir() / "bitcoin-core" / "bitcoin-util"
    cases = {}
    for case in json.loads((folder / "bitcoin-util-test.json").read_text()):
        output = case.get("output_cmp", "")
        if case["exec"] == "./bitcoin-tx" and output.endswith(".json"):
            cases[output] = pytest.param(folder / output, "-regtest" in case["args"], id=output)
    return list(cases.values())


@pytest.mark.parametrize(("output", "regtest"), _util_cases())
def test_decoderawtransaction_of_published_transactions(output: Path, regtest: bool) -> None:
    golden = json.loads(output.read_text(), parse_float=Decimal)
    tx = decode_tx(golden["hex"]) if golden["vin"] else decode_tx(golden["hex"], witness=False)
    assert as_json(tx_json(tx, BTC_REGTEST if regtest else BITCOIN_MAIN)) == golden


def test_merkle_proofs_prove_what_they_should() -> None:
    golden = json.loads(read_text("electrumx/bitcoin_mainnet_951658.json"))
    block = parse_block(bytes.fromhex(golden["block"]))
    ids = [tx.txid for tx in block.txs]
    for wanted in (frozenset(ids[:1]), frozenset(ids[-1:]), frozenset(ids[3::50]), frozenset(ids)):
        proof = parse_proof(make_proof(block.header, ids, wanted))
        assert proof.root == block.header.merkle_root
        assert frozenset(proof.matches) == wanted


def test_published_merkle_block_is_read() -> None:
    raw = (vectors_dir() / "bcoin" / "merkle300025.raw").read_bytes()
    proof = parse_proof(raw)
    assert proof.root == proof.header.merkle_root
    assert len(proof.matches) > 0


def test_getblockfilter_and_indexes_answer(daemon: DaemonProcess) -> None:
    tip = daemon.call("getbestblockhash")
    assert set(daemon.call("getblockfilter", tip)) == {"filter", "header"}
    info = daemon.call("getindexinfo")
    assert {"txindex", "txospenderindex", "basic block filter index", "coinstatsindex"} <= set(info)
    assert daemon.call("getindexinfo", "txindex") == {"txindex": {"synced": True, "best_block_height": 110}}
