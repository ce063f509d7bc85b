"""What the mempool takes and why it refuses, by Core's reasons and in Core's order."""

from dataclasses import replace

import pytest

from gldnode.crypto.secp256k1 import pubkey_of, sign_ecdsa
from gldnode.errors import Reject, RejectKind
from gldnode.events import MempoolTxAdded, MempoolTxRefused, MempoolTxRemoved, RemovalReason
from gldnode.mempool.options import MempoolOptions
from gldnode.mempool.results import FeeReject, MissingInputs
from gldnode.primitives.coin import MEMPOOL_HEIGHT
from gldnode.primitives.hashes import hash160
from gldnode.primitives.tx import (
    NULL_OUTPOINT,
    SEQUENCE_FINAL,
    Tx,
    TxIn,
    TxOut,
    make_tx,
    outpoint,
    with_witnesses,
)
from gldnode.script.sighash import SighashCache
from gldnode.script.templates import p2pkh_script, p2sh_script, p2wpkh_script, p2wsh_script
from tests.support.pool import ANYONE, PoolLab

KEY = bytes([7]) * 32
PUBKEY = pubkey_of(KEY)


@pytest.fixture
def lab() -> PoolLab:
    return PoolLab()


def test_a_good_transaction_is_taken_in_and_can_be_found(lab: PoolLab) -> None:
    tx = lab.tx(fee=2_000)
    accepted = lab.accept(tx)
    assert (accepted.fee, accepted.vsize, accepted.txid) == (2_000, tx.vsize, tx.txid)
    assert accepted.effective_includes == (tx.wtxid,)
    entry = lab.pool.get(tx.txid)
    assert entry is not None
    assert entry is lab.pool.get_by_wtxid(tx.wtxid)
    assert lab.pool.spender(tx.inputs[0].prevout) == tx.txid
    coin = lab.pool.coin(tx.outpoint(0))
    assert coin is not None
    assert coin.height == MEMPOOL_HEIGHT
    assert lab.pool.coin(tx.outpoint(1)) is None
    assert lab.events == [MempoolTxAdded(tx, 1)]
    assert lab.pool.sequence == 1
    assert list(lab.pool.txids()) == [tx.txid]


def test_the_rules_of_every_transaction_come_first(lab: PoolLab) -> None:
    assert lab.reason(make_tx(2, [], [TxOut(1, ANYONE)])) == "bad-txns-vin-empty"
    assert lab.reason(make_tx(99, [TxIn(lab.fund(), b"", 0)], [TxOut(-1, ANYONE)])) == "bad-txns-vout-negative"


def test_a_coinbase_is_no_loose_transaction(lab: PoolLab) -> None:
    coinbase = make_tx(1, [TxIn(NULL_OUTPOINT, b"\x51\x51", SEQUENCE_FINAL)], [TxOut(1, ANYONE)])
    assert lab.reason(coinbase) == "coinbase"


def test_nonstandard_transactions_are_taken_only_where_allowed(lab: PoolLab) -> None:
    tx = lab.tx(scripts=[b"\x51"])
    assert lab.reason(tx) == "scriptpubkey"
    free = PoolLab(MempoolOptions(require_standard=False))
    assert free.reason(free.tx(scripts=[b"\x51" * 6], version=9)) == ""


def test_a_transaction_that_could_be_a_merkle_node_is_refused() -> None:
    lab = PoolLab(MempoolOptions(require_standard=False))
    tx = lab.tx(scripts=[b"\x51\x51\x51\x51"])
    assert tx.base_size == 64
    assert lab.reason(tx) == "tx-size-small"
    assert lab.reason(lab.tx(scripts=[b"\x51\x51\x51\x51\x51"])) == ""


def test_lock_times_are_those_of_the_next_block(lab: PoolLab) -> None:
    height = lab.chain.tip.height
    prevout = lab.fund()
    assert lab.reason(lab.tx(prevout, lock_time=height + 1)) == "non-final"
    late = lab.tx(prevout, lock_time=lab.chain.tip.median_time)
    assert lab.reject(late).kind is RejectKind.CONTEXT
    assert lab.reason(lab.tx(prevout, lock_time=height)) == ""
    assert lab.reason(lab.tx(lock_time=height + 1, sequence=SEQUENCE_FINAL)) == ""


def test_relative_lock_times_are_those_of_the_next_block(lab: PoolLab) -> None:
    parent = lab.tx()
    lab.mine_exactly(parent)
    child = lab.tx(parent.outpoint(0), sequence=2)
    assert lab.reason(child) == "non-BIP68-final"
    by_time = lab.tx(parent.outpoint(0), sequence=(1 << 22) | 1)
    assert lab.reason(by_time) == "non-BIP68-final"
    lab.mine()
    assert lab.reason(child) == ""


def test_unconfirmed_inputs_count_as_confirmed_in_the_next_block(lab: PoolLab) -> None:
    parent = lab.add()
    assert lab.reason(lab.tx(parent.outpoint(0), sequence=1)) == "non-BIP68-final"
    assert lab.reason(lab.tx(parent.outpoint(0), sequence=0)) == ""


def test_what_is_here_already_is_told_apart_by_its_witness(lab: PoolLab) -> None:
    tx = lab.add()
    assert lab.reason(tx) == "txn-already-in-mempool"
    other = with_witnesses(tx, [(b"", b"\x51")])
    assert other.txid == tx.txid
    assert lab.reason(other) == "txn-same-nonwitness-data-in-mempool"


def test_unknown_inputs_name_the_missing_parents(lab: PoolLab) -> None:
    missing = make_tx(2, [TxIn(outpoint(b"\x09" * 32, 0), b"", 0, (b"\x51",))], [TxOut(9_000, ANYONE)])
    reject = lab.reject(missing)
    assert isinstance(reject, MissingInputs)
    assert reject.reason == "bad-txns-inputs-missingorspent"
    assert reject.parents == (b"\x09" * 32,)


def test_an_output_number_that_a_parent_lacks_is_a_missing_input(lab: PoolLab) -> None:
    parent = lab.add()
    tx = make_tx(2, [TxIn(parent.outpoint(7), b"", 0, (b"\x51",))], [TxOut(9_000, ANYONE)])
    assert lab.reason(tx) == "bad-txns-inputs-missingorspent"


def test_a_confirmed_transaction_is_known_already(lab: PoolLab) -> None:
    tx = lab.add()
    lab.mine()
    assert lab.reason(tx) == "txn-already-known"


def test_an_immature_coinbase_cannot_be_spent(lab: PoolLab) -> None:
    entry = lab.chain.entry_at(lab.chain.tip.height - 98)
    assert entry is not None
    block = lab.chain.read_block(entry.hash)
    assert block is not None
    tx = lab.tx(block.txs[0].outpoint(0))
    assert lab.reason(tx) == "bad-txns-premature-spend-of-coinbase"
    lab.mine()
    assert lab.reason(tx) == ""


def test_nobody_spends_more_than_there_is(lab: PoolLab) -> None:
    assert lab.reason(lab.tx(fee=-1)) == "bad-txns-in-belowout"


def test_spending_an_unknown_kind_of_output_is_not_standard(lab: PoolLab) -> None:
    parent = lab.tx(scripts=[b"\x51"])
    lab.mine_exactly(parent)
    assert lab.reason(lab.tx(parent.outpoint(0))) == "bad-txns-nonstandard-inputs"


def test_a_bloated_witness_is_not_standard_and_blames_the_witness(lab: PoolLab) -> None:
    tx = lab.tx()
    reject = lab.reject(with_witnesses(tx, [(bytes(81), b"\x75\x51")]))
    assert reject.reason == "bad-witness-nonstandard"
    assert reject.kind is RejectKind.MUTATED


def test_too_many_signature_operations_are_refused() -> None:
    lab = PoolLab(MempoolOptions(require_standard=False))
    tx = lab.tx(scripts=[b"\xae" * 201])
    assert lab.reason(tx) == "bad-txns-too-many-sigops"


def test_signature_operations_count_as_size(lab: PoolLab) -> None:
    lab = PoolLab(MempoolOptions(require_standard=False))
    tx = lab.tx(scripts=[b"\xae" * 10], fee=100_000)
    assert lab.accept(tx).vsize == 10 * 20 * 4 * 20 // 4


def test_too_little_fee_is_refused_but_could_be_paid_by_a_child(lab: PoolLab) -> None:
    tx = lab.tx(fee=9)
    reject = lab.reject(tx)
    assert (reject.reason, reject.detail) == ("min relay fee not met", "9 < 10")
    assert isinstance(reject, FeeReject)
    assert lab.reason(lab.tx(tx.inputs[0].prevout, fee=10)) == ""


def test_a_fee_above_the_callers_bound_is_refused(lab: PoolLab) -> None:
    tx = lab.tx(fee=100_000)
    with pytest.raises(Reject) as caught:
        lab.pool.accept(tx, max_feerate=1_000_000)
    assert caught.value.reason == "max-fee-exceeded"
    assert tx.txid not in lab.pool
    assert lab.pool.accept(tx, max_feerate=0).fee == 100_000


def test_dust_needs_a_transaction_without_fee(lab: PoolLab) -> None:
    assert lab.reason(lab.tx(extra=[TxOut(100, ANYONE)])) == "dust"


def signed_spend(lab: PoolLab, *, kind: str) -> tuple[Tx, Tx]:
    """A parent in a block, and a transaction that spends its one output with the test's key."""
    script = {"p2wpkh": p2wpkh_script(hash160(PUBKEY)), "p2pkh": p2pkh_script(hash160(PUBKEY))}[kind]
    parent = lab.tx(scripts=[script])
    lab.mine_exactly(parent)
    spent = lab.coin(parent.outpoint(0))
    bare = make_tx(2, [TxIn(parent.outpoint(0), b"", 0)], [TxOut(spent.amount - 2_000, ANYONE)])
    cache = SighashCache(bare, [spent])
    code = p2pkh_script(hash160(PUBKEY))
    if kind == "p2wpkh":
        signature = sign_ecdsa(KEY, cache.segwit_v0(0, code, spent.amount, 1)) + b"\x01"
        return parent, with_witnesses(bare, [(signature, PUBKEY)])
    signature = sign_ecdsa(KEY, cache.legacy(0, code, 1)) + b"\x01"
    script_sig = bytes((len(signature),)) + signature + bytes((len(PUBKEY),)) + PUBKEY
    return parent, make_tx(2, [TxIn(parent.outpoint(0), script_sig, 0)], bare.outputs)


@pytest.mark.parametrize("kind", ["p2wpkh", "p2pkh"])
def test_signatures_are_verified(lab: PoolLab, kind: str) -> None:
    _, good = signed_spend(lab, kind=kind)
    bad = make_tx(2, good.inputs, [TxOut(good.outputs[0].amount - 1, ANYONE)])
    reject = lab.reject(bad)
    assert reject.reason == (
        "mempool-script-verify-flag-failed (Signature must be zero for failed CHECK(MULTI)SIG operation)"
    )
    assert reject.detail == (
        f"input 0 of {bad.txid[::-1].hex()} (wtxid {bad.wtxid[::-1].hex()}), spending {bad.inputs[0].prevout!r}"
    )
    assert lab.reason(good) == ""


def test_a_stripped_witness_says_nothing_about_the_transaction(lab: PoolLab) -> None:
    _, good = signed_spend(lab, kind="p2wpkh")
    reject = lab.reject(with_witnesses(good, [()]))
    assert reject.reason == "mempool-script-verify-flag-failed (Witness program hash mismatch)"
    assert reject.kind is RejectKind.MUTATED
    assert lab.reason(good) == ""


def test_a_script_that_fails_names_why(lab: PoolLab) -> None:
    parent = lab.tx(scripts=[p2wsh_script(b"\x00")])
    lab.mine_exactly(parent)
    tx = with_witnesses(lab.tx(parent.outpoint(0)), [(b"\x00",)])
    assert lab.reason(tx) == (
        "mempool-script-verify-flag-failed"
        " (Script evaluated without error but finished with a false/empty top stack element)"
    )


def test_rules_of_policy_alone_fail_in_the_mempool_and_pass_in_a_block(lab: PoolLab) -> None:
    nop = b"\xb9\x51"  # OP_NOP10: reserved for an upgrade
    parent = lab.tx(scripts=[p2wsh_script(nop)])
    lab.mine_exactly(parent)
    tx = with_witnesses(lab.tx(parent.outpoint(0)), [(nop,)])
    assert lab.reason(tx) == "mempool-script-verify-flag-failed (NOPx reserved for soft-fork upgrades)"
    lab.mine_exactly(tx)


def test_p2sh_is_spent_through_the_mempool(lab: PoolLab) -> None:
    parent = lab.tx(scripts=[p2sh_script(b"\x51")])
    lab.mine_exactly(parent)
    spend = lab.tx(parent.outpoint(0))
    tx = make_tx(2, [TxIn(parent.outpoint(0), b"\x01\x51", 0)], spend.outputs)
    assert lab.reason(tx) == ""


def test_a_block_does_not_verify_again_what_the_mempool_verified(lab: PoolLab) -> None:
    _, tx = signed_spend(lab, kind="p2wpkh")
    lab.accept(tx)
    from gldnode.script.flags import MANDATORY_SCRIPT_VERIFY_FLAGS

    is_verified = lab.chain.script_cache.checker(MANDATORY_SCRIPT_VERIFY_FLAGS)
    assert is_verified is not None
    assert is_verified(tx)
    assert not is_verified(make_tx(2, tx.inputs, [TxOut(1_000, ANYONE)]))


def test_testing_takes_nothing_in(lab: PoolLab) -> None:
    tx = lab.tx()
    (line,) = lab.pool.test_accept([tx])
    assert line.allowed is True
    assert line.accepted is not None
    assert line.accepted.vsize == tx.vsize
    assert len(lab.pool) == 0
    assert lab.events == []
    (line,) = lab.pool.test_accept([lab.tx(fee=1)])
    assert line.allowed is False
    assert line.reject is not None
    assert line.reject.reason == "min relay fee not met"
    (line,) = lab.pool.test_accept([tx], max_feerate=10)
    assert line.reject is not None
    assert line.reject.reason == "max-fee-exceeded"


def test_prioritisation_moves_the_modified_fee_and_waits_for_its_transaction(lab: PoolLab) -> None:
    tx = lab.tx(fee=5)
    lab.pool.prioritise(tx.txid, 10_000)
    lab.accept(tx)
    entry = lab.pool.get(tx.txid)
    assert entry is not None
    assert (entry.fee, entry.modified_fee) == (5, 10_005)
    lab.pool.prioritise(tx.txid, -10_000)
    assert lab.pool.prioritised() == {}
    entry = lab.pool.get(tx.txid)
    assert entry is not None
    assert entry.modified_fee == 5
    lab.pool.check()


def test_confirmation_forgets_the_prioritisation(lab: PoolLab) -> None:
    tx = lab.tx()
    lab.pool.prioritise(tx.txid, 500)
    lab.accept(tx)
    lab.mine()
    assert lab.pool.prioritised() == {}


def test_a_refused_double_spend_is_reported(lab: PoolLab) -> None:
    first = lab.add(fee=50_000)
    second = lab.tx(first.inputs[0].prevout, fee=50_001)
    assert lab.reason(second) == "insufficient fee"
    assert lab.events[-1] == MempoolTxRefused(second, (first.txid,))


def test_a_double_spend_with_a_bad_script_is_not_reported(lab: PoolLab) -> None:
    first = lab.add(fee=50_000)
    second = with_witnesses(lab.tx(first.inputs[0].prevout, fee=50_001), [(b"\x00",)])
    assert lab.reason(second) == "insufficient fee"
    assert not any(isinstance(event, MempoolTxRefused) for event in lab.events)


def test_refused_double_spends_are_looked_at_a_few_times_only(lab: PoolLab) -> None:
    first = lab.add(fee=50_000)
    for fee in range(40_001, 40_020):
        lab.reason(lab.tx(first.inputs[0].prevout, fee=fee))
    assert sum(isinstance(event, MempoolTxRefused) for event in lab.events) == 3


def test_every_event_has_the_next_number(lab: PoolLab) -> None:
    tx = lab.add(fee=1_000)
    lab.add(tx.outpoint(0))
    lab.add(tx.inputs[0].prevout, fee=90_000)
    lab.mine()
    numbered = [event for event in lab.events if not isinstance(event, MempoolTxRefused)]
    assert [event.sequence for event in numbered] == list(range(1, len(numbered) + 1))
    assert [event.reason for event in numbered if isinstance(event, MempoolTxRemoved)] == [
        RemovalReason.REPLACED,
        RemovalReason.REPLACED,
        RemovalReason.BLOCK,
    ]


def test_what_waits_for_a_peer_to_ask_is_remembered_while_it_is_here(lab: PoolLab) -> None:
    tx, other = lab.add(), lab.add()
    lab.pool.set_unbroadcast(tx.txid)
    lab.pool.set_unbroadcast(other.txid)
    lab.pool.set_unbroadcast(lab.tx().txid)
    assert lab.pool.unbroadcast() == {tx.txid, other.txid}
    lab.pool.clear_unbroadcast(other.txid)
    assert lab.pool.info().unbroadcast_count == 1
    lab.mine()
    assert lab.pool.unbroadcast() == frozenset()


def test_conflicts_follow_the_signals_where_full_replacement_is_off() -> None:
    lab = PoolLab(replace(MempoolOptions(), full_rbf=False))
    final = lab.tx(sequence=SEQUENCE_FINAL)
    lab.accept(final)
    assert lab.reason(lab.tx(final.inputs[0].prevout, fee=90_000)) == "txn-mempool-conflict"
    signalling = lab.add()
    assert lab.reason(lab.tx(signalling.inputs[0].prevout, fee=90_000)) == ""
