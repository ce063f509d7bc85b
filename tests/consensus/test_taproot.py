"""Taproot: Bitcoin Core's published spends under every set of flags, and BIP 341's trees in both directions."""

from itertools import product
from typing import Any

import pytest

from gldnode.crypto.secp256k1 import tweak_pubkey
from gldnode.primitives.codec import Reader
from gldnode.primitives.tx import Tx, TxIn, TxOut, make_tx, parse_tx
from gldnode.script.checker import TxChecker
from gldnode.script.flags import ScriptFlags
from gldnode.script.sighash import SighashCache
from gldnode.script.tapscript import TapLeaf, TapTree, leaf_hash, taproot_output
from gldnode.script.templates import p2tr_script
from gldnode.script.verify import ScriptError, verify_script
from tests.support.script_asm import is_possible, parse_flags
from tests.support.vectors import load_json

_CONSENSUS = [
    flag
    for bits in product((False, True), repeat=7)
    if is_possible(
        flag := ScriptFlags(
            sum(
                one
                for one, chosen in zip(
                    (
                        ScriptFlags.P2SH,
                        ScriptFlags.DERSIG,
                        ScriptFlags.NULLDUMMY,
                        ScriptFlags.CHECKLOCKTIMEVERIFY,
                        ScriptFlags.CHECKSEQUENCEVERIFY,
                        ScriptFlags.WITNESS,
                        ScriptFlags.TAPROOT,
                    ),
                    bits,
                    strict=True,
                )
                if chosen
            )
        )
    )
]
"""Every set of consensus rules that can be in force together."""

_SHARDS = 4


class _RememberingChecker(TxChecker):
    """Checks the same signature of the same hash once only: the sets of flags repeat them."""

    __slots__ = ("_ecdsa", "_schnorr")

    def __init__(self, cache: SighashCache, index: int, amount: int) -> None:
        super().__init__(cache, index, amount)
        self._ecdsa: dict[tuple[bytes, bytes, bytes], bool] = {}
        self._schnorr: dict[tuple[bytes, bytes, bytes], bool] = {}

    def verify_ecdsa(self, signature: bytes, digest: bytes, pubkey: bytes) -> bool:
        key = (signature, digest, pubkey)
        if key not in self._ecdsa:
            self._ecdsa[key] = super().verify_ecdsa(*key)
        return self._ecdsa[key]

    def verify_schnorr(self, signature: bytes, digest: bytes, xonly: bytes) -> bool:
        key = (signature, digest, xonly)
        if key not in self._schnorr:
            self._schnorr[key] = super().verify_schnorr(*key)
        return self._schnorr[key]


def _tx_out(text: str) -> TxOut:
    reader = Reader(bytes.fromhex(text))
    output = TxOut(reader.i64(), reader.var_bytes())
    reader.expect_end()
    return output


def _with_spend(tx: Tx, index: int, spend: dict[str, Any]) -> Tx:
    inputs = list(tx.inputs)
    witness = tuple(bytes.fromhex(item) for item in spend["witness"])
    old = inputs[index]
    inputs[index] = TxIn(old.prevout, bytes.fromhex(spend["scriptSig"]), old.sequence, witness)
    return make_tx(tx.version, inputs, tx.outputs, tx.lock_time)


def _verdict(tx: Tx, index: int, spent: list[TxOut], checker: TxChecker, flags: ScriptFlags) -> bool:
    txin = tx.inputs[index]
    try:
        verify_script(txin.script_sig, spent[index].script_pubkey, txin.witness, flags, checker)
    except ScriptError:
        return False
    return True


@pytest.mark.parametrize("shard", range(_SHARDS))
def test_published_spends_under_every_set_of_flags(shard: int) -> None:
    cases = load_json("btcd/taproot_ref_third.json")
    assert len(cases) == 920
    assert len(_CONSENSUS) == 64
    for case in cases[shard::_SHARDS]:
        unsigned = parse_tx(bytes.fromhex(case["tx"]))
        spent = [_tx_out(text) for text in case["prevouts"]]
        index = case["index"]
        named = parse_flags(case["flags"])
        for kind in ("success", "failure"):
            if case.get(kind) is None:
                assert kind == "failure"
                continue
            tx = _with_spend(unsigned, index, case[kind])
            checker = _RememberingChecker(SighashCache(tx, spent), index, spent[index].amount)
            for flags in _CONSENSUS:
                if kind == "success":
                    if case.get("final") or flags & named == flags:
                        assert _verdict(tx, index, spent, checker, flags), (case["comment"], flags)
                elif flags & named == named:
                    assert not _verdict(tx, index, spent, checker, flags), (case["comment"], flags)


def _tree(node: Any) -> TapTree:
    if isinstance(node, list):
        return [_tree(child) for child in node]
    return TapLeaf(bytes.fromhex(node["script"]), node["leafVersion"])


def _leaf_ids(node: Any) -> list[int]:
    if isinstance(node, list):
        return [leaf for child in node for leaf in _leaf_ids(child)]
    return [node["id"]]


@pytest.mark.parametrize(
    "name", ["bips/bip341-wallet-test-vectors.json", "bitcoin-core/bip341_wallet_vectors.json"]
)
def test_output_keys_and_control_blocks_of_bip341(name: str) -> None:
    cases = load_json(name)["scriptPubKey"]
    assert len(cases) == 7
    for case in cases:
        given, between, expected = case["given"], case["intermediary"], case["expected"]
        internal = bytes.fromhex(given["internalPubkey"])
        node = given["scriptTree"]
        output = taproot_output(internal, None if node is None else _tree(node))
        assert output.merkle_root.hex() == (between["merkleRoot"] or "")
        assert output.output_xonly.hex() == between["tweakedPubkey"]
        assert tweak_pubkey(internal, output.merkle_root) == (output.output_xonly, output.parity)
        assert p2tr_script(output.output_xonly).hex() == expected["scriptPubKey"]
        if node is None:
            continue
        by_id = dict(zip(_leaf_ids(node), output.leaves, strict=True))
        for number, leaf_digest in enumerate(between["leafHashes"]):
            leaf, control_block = by_id[number]
            assert leaf_hash(leaf.script, leaf.version).hex() == leaf_digest
            assert control_block.hex() == expected["scriptPathControlBlocks"][number]
