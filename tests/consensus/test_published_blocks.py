"""Blocks of Bitcoin's networks, by themselves and with their coins."""

import hashlib

import pytest

from gldnode.consensus.check_block import check_block, is_block_mutated
from gldnode.consensus.connect import BlockRules, connect_block, disconnect_block
from gldnode.consensus.deployments import script_flags
from gldnode.consensus.merkle import (
    block_merkle_root,
    merkle_branch,
    root_of_branch,
    witness_commitment,
    witness_commitment_index,
)
from gldnode.errors import Reject
from gldnode.primitives.block import Block, make_block, make_header, parse_block
from gldnode.primitives.coin import Coin
from gldnode.primitives.hashes import sha256d, to_display_hex
from gldnode.primitives.tx import TxIn, TxOut, make_tx
from tests.support.bitcoin_main import BITCOIN_MAIN
from tests.support.chain_coins import read_coin_file
from tests.support.vectors import load_json, read_bytes, read_text

_RAW = [
    "btclib/block_1.bin",
    "btclib/block_170.bin",
    "btclib/block_200000.bin",
    "btclib/block_481824_complete.bin",
    "bcoin/block300025.raw",
    "bcoin/block426884.raw",
    "bcoin/block482683.raw",
    "bcoin/block898352.raw",
    "bcoin/block928816.raw",
    "bcoin/block1087400.raw",
    "rust-bitcoin/mainnet_block_000000000000000000000c835b2adcaedc20fdf6ee440009c249452c726dafae.raw",
    "rust-bitcoin/testnet_block_000000000000045e0b1660b6445b5e5c5ab63c9a4f956be7e1e69be04fa4497b.raw",
    "btcd/wire/block-0000000000000000001602407ac49862a7bca9d00f7f402db20b7be2f5de59d2.blk",
    "btcd/wire/block-00000000000000000021868c2cefc52a480d173c849412fe81c4e5ab806f94ab.blk",
    "bitcoin-core/blocks/block413567.raw",
    "rust-bitcoin/block_13b8a.hex",
    "nbitcoin/block169482.txt",
]


def _load(name: str) -> bytes:
    if name.endswith((".hex", ".txt")):
        return bytes.fromhex(read_text(name).strip())
    return read_bytes(name)


def _check(block: Block) -> None:
    check_block(block, BITCOIN_MAIN)
    assert not is_block_mutated(block, check_witness_root=True)
    assert make_block(block.header, block.txs).raw == block.raw


@pytest.mark.parametrize("name", _RAW, ids=lambda name: name.split("/")[1][:40])
def test_published_block_keeps_all_rules_that_need_no_chain(name: str) -> None:
    block = parse_block(_load(name))
    _check(block)
    for part in name.replace(".", "_").split("_") + name.replace(".", "-").split("-"):
        if len(part) == 64:
            assert to_display_hex(block.hash) == part


def test_blocks_of_electrumx_keep_the_rules_and_have_cores_figures() -> None:
    for name in ("mainnet_951658", "testnet4_40000"):
        golden = load_json(f"electrumx/bitcoin_{name}.json")
        block = parse_block(bytes.fromhex(golden["block"]))
        _check(block)
        assert to_display_hex(block.hash) == golden["hash"]
        assert to_display_hex(block_merkle_root(block)[0]) == golden["merkleroot"]
        figures = {
            "weight": block.weight,
            "size": block.total_size,
            "strippedsize": block.base_size,
            "nTx": len(block.txs),
        }
        assert {key: golden[key] for key in figures if key in golden} == {
            key: value for key, value in figures.items() if key in golden
        }


def test_blocks_of_bitcoinjs_have_their_merkle_roots_and_witness_commitments() -> None:
    committed = 0
    for case in load_json("bitcoinjs-lib/block.json")["valid"]:
        raw = bytes.fromhex(case["hex"])
        if len(raw) == 80:
            continue
        block = parse_block(raw)
        assert to_display_hex(block.hash) == case["id"]
        assert block_merkle_root(block)[0].hex() == case["merkleRoot"]
        if "witnessCommit" in case:
            reserved = block.txs[0].inputs[0].witness[0]
            assert witness_commitment(block, reserved).hex() == case["witnessCommit"]
            assert witness_commitment_index(block) is not None
            committed += 1
    for case in load_json("bitcoinjs-lib/core/blocks.json"):
        block = parse_block(bytes.fromhex(case["hex"]))
        assert to_display_hex(block.hash) == case["id"]
        _check(block)
    assert committed == 1


def test_a_segwit_block_without_its_witnesses_is_told_from_the_whole_one() -> None:
    whole = parse_block(read_bytes("btclib/block_481824_complete.bin"))
    stripped = parse_block(read_bytes("btclib/block_481824.bin"))
    assert whole.hash == stripped.hash
    assert not is_block_mutated(whole, check_witness_root=True)
    assert is_block_mutated(stripped, check_witness_root=True)


def test_branches_lead_to_the_root() -> None:
    block = parse_block(read_bytes("bcoin/block300025.raw"))
    hashes = [tx.txid for tx in block.txs]
    for position in (0, 1, len(hashes) // 2, len(hashes) - 1):
        branch = merkle_branch(hashes, position)
        assert root_of_branch(hashes[position], branch, position) == block.header.merkle_root


def test_a_repeated_tail_of_transactions_is_mutated_and_not_the_block_s_fault() -> None:
    """CVE-2012-2459: 1 2 3 and 1 2 3 3 have one root."""
    block = parse_block(_load("rust-bitcoin/block_13b8a.hex"))
    assert len(block.txs) % 2 == 1
    longer = make_block(block.header, [*block.txs, block.txs[-1]])
    assert block_merkle_root(longer) == (block.header.merkle_root, True)
    with pytest.raises(Reject, match="bad-txns-duplicate") as caught:
        check_block(longer, BITCOIN_MAIN)
    assert caught.value.kind.value == "mutated"


def test_a_64_byte_transaction_in_place_of_a_coinbase_is_mutated() -> None:
    """CVE-2017-12842: two hashes of the tree read as one transaction."""
    block = parse_block(_load("rust-bitcoin/block_13b8a.hex"))
    small = make_tx(1, [TxIn(block.txs[1].inputs[0].prevout, b"\x00\x00\x00\x00", 0)], [TxOut(0, b"")])
    assert small.base_size == 64
    old = block.header
    header = make_header(old.version, old.prev_hash, small.txid, old.time, old.bits, old.nonce)
    assert is_block_mutated(make_block(header, [small]), check_witness_root=False)


class _Coins:
    def __init__(self, coins: dict[bytes, Coin]) -> None:
        self.coins = coins

    def get(self, prevout: bytes, /) -> Coin | None:
        return self.coins.get(prevout)


@pytest.fixture(scope="module")
def block_277647() -> tuple[Block, dict[bytes, Coin]]:
    data = read_bytes("btcd/blockchain/277647.dat.bz2")
    size = int.from_bytes(data[4:8], "little")
    block = parse_block(data[8 : 8 + size])
    coins = read_coin_file(read_bytes("btcd/blockchain/277647.utxostore.bz2"))
    made_here = {tx.txid for tx in block.txs}  # the file has these, too
    return block, {prevout: coin for prevout, coin in coins.items() if prevout[:32] not in made_here}


def _rules(height: int) -> BlockRules:
    return BlockRules(BITCOIN_MAIN, height, script_flags(BITCOIN_MAIN, height), 0, lambda _: 0)


def test_block_277647_connects_with_its_coins_and_comes_off_again(
    block_277647: tuple[Block, dict[bytes, Coin]],
) -> None:
    block, coins = block_277647
    check_block(block, BITCOIN_MAIN)
    delta = connect_block(block, _Coins(coins), _rules(277_647))
    assert delta.input_count == sum(len(tx.inputs) for tx in block.txs[1:])
    back = disconnect_block(block, delta.undo)
    after = {key: coin for key, coin in coins.items() if key not in set(delta.spent)} | delta.created
    restored = {key: coin for key, coin in after.items() if key not in set(back.spent)} | back.created
    assert restored == coins


def test_block_277647_with_a_bit_changed_in_a_signature_fails(
    block_277647: tuple[Block, dict[bytes, Coin]],
) -> None:
    block, coins = block_277647
    raw = bytearray(block.raw)
    at = block.raw.index(block.txs[5].inputs[0].script_sig) + 20
    raw[at] ^= 1
    broken = parse_block(bytes(raw))
    assert hashlib.sha256(broken.raw).digest() != hashlib.sha256(block.raw).digest()
    assert sha256d(broken.raw[:80]) == block.hash
    with pytest.raises(Reject, match="block-script-verify-flag-failed") as caught:
        connect_block(broken, _Coins(coins), _rules(277_647))
    assert to_display_hex(broken.txs[5].txid) in caught.value.detail


def test_block_277647_lacks_what_is_spent_already(block_277647: tuple[Block, dict[bytes, Coin]]) -> None:
    block, coins = block_277647
    fewer = dict(coins)
    del fewer[block.txs[7].inputs[0].prevout]
    with pytest.raises(Reject, match="bad-txns-inputs-missingorspent"):
        connect_block(block, _Coins(fewer), _rules(277_647))
