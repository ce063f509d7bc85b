"""The four networks."""

import pytest

from gldnode.consensus.check_block import check_block
from gldnode.consensus.deployments import ActivationHeightError, script_flags, with_activation_heights
from gldnode.params import BTC_REGTEST, MAIN, NETWORKS, REGTEST, TEST, ChainParams
from gldnode.primitives.amount import COIN
from gldnode.primitives.hashes import to_display_hex
from gldnode.script.flags import MANDATORY_SCRIPT_VERIFY_FLAGS, ScriptFlags
from tests.support.bitcoin_main import BITCOIN_MAIN


@pytest.mark.parametrize(
    ("params", "block_hash"),
    [
        (MAIN, "000002137c4a035de0e95f4ac8aab9f05b14190d856a0fd7b43609cafbe40fda"),
        (TEST, "00000128ec3ef8f91575d2884f674e3f844067aa5970b1132f0042fa69cdaf29"),
        (REGTEST, "62ba09d08d009f124b754ff64cb08a9d93cc049532b3d4c00f7e79a5264fdff0"),
        (BTC_REGTEST, "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"),
        (BITCOIN_MAIN, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"),
    ],
    ids=lambda value: value.name if isinstance(value, ChainParams) else "",
)
def test_genesis_block_has_its_hash_and_keeps_the_rules(params: ChainParams, block_hash: str) -> None:
    assert to_display_hex(params.genesis.hash) == block_hash
    check_block(params.genesis, params)


def test_networks_cannot_be_taken_for_each_other() -> None:
    for field in ("name", "message_start", "bech32_hrp", "p2p_port"):
        assert len({getattr(params, field) for params in NETWORKS.values()}) == len(NETWORKS)


def test_all_subsidies_together_stay_below_the_maximum() -> None:
    for params in NETWORKS.values():
        total = sum(params.halving_interval * (params.initial_subsidy >> n) for n in range(64))
        assert total <= params.max_money
    assert MAIN.max_money == 100_000_000 * COIN


def test_gold_coin_binds_all_rules_from_genesis() -> None:
    for params in (MAIN, TEST, REGTEST):
        assert script_flags(params, 1) == MANDATORY_SCRIPT_VERIFY_FLAGS


def test_activation_heights_move_single_rules() -> None:
    moved = with_activation_heights(BTC_REGTEST, [("cltv", 100), ("segwit", 50)])
    assert moved.deployments.bip65 == 100
    assert moved.deployments.bip66 == BTC_REGTEST.deployments.bip66
    assert not script_flags(moved, 99) & ScriptFlags.CHECKLOCKTIMEVERIFY
    assert script_flags(moved, 100) & ScriptFlags.CHECKLOCKTIMEVERIFY
    assert not script_flags(moved, 49) & ScriptFlags.NULLDUMMY
    assert script_flags(moved, 50) & ScriptFlags.NULLDUMMY


@pytest.mark.parametrize("setting", [("taproot", 1), ("", 1), ("segwit", -1), ("segwit", 1 << 31)])
def test_activation_heights_refuse_what_core_refuses(setting: tuple[str, int]) -> None:
    with pytest.raises(ActivationHeightError):
        with_activation_heights(REGTEST, [setting])


def test_bitcoins_exception_blocks_have_fewer_rules() -> None:
    block_hash = BITCOIN_MAIN.script_flag_exceptions[0][0]
    assert not script_flags(BITCOIN_MAIN, 170_060, block_hash) & ScriptFlags.P2SH
    assert script_flags(BITCOIN_MAIN, 170_060) & ScriptFlags.P2SH
