"""The four networks, each one frozen `ChainParams`, passed in and never global.

Three are Gold-Coin's (main, test, regtest). `btc-regtest` has exactly Bitcoin's regtest parameters, so that
Bitcoin's own software can talk to the node unmodified and its published vectors apply.
"""

from dataclasses import dataclass, replace
from typing import Final

from gldnode.primitives.amount import COIN, Amount
from gldnode.primitives.block import Block, make_block, make_header
from gldnode.primitives.hashes import BlockHash
from gldnode.primitives.tx import NULL_OUTPOINT, SEQUENCE_FINAL, Tx, TxIn, TxOut, make_tx

__all__ = [
    "BTC_REGTEST",
    "MAIN",
    "NETWORKS",
    "REGTEST",
    "TEST",
    "AsertParams",
    "AssumedCoins",
    "ChainParams",
    "Deployments",
    "RetargetParams",
    "make_genesis",
]

ALWAYS: Final = 0


@dataclass(frozen=True, slots=True)
class AsertParams:
    """aserti3-2d: each block's target follows from the anchor, the time and the height alone."""

    anchor_height: int
    anchor_parent_time: int
    """Unix seconds of the anchor's parent; for a genesis anchor its own time minus one spacing."""
    anchor_bits: int
    spacing_s: int
    half_life_s: int
    allow_limit_after_s: int | None = None
    """A block more than this many seconds after its parent may use the limit (test network)."""


@dataclass(frozen=True, slots=True)
class RetargetParams:
    """Bitcoin's rule: a new target every `timespan_s / spacing_s` blocks (2,016)."""

    timespan_s: int
    spacing_s: int
    allow_min_difficulty: bool = False
    """A block more than two spacings after its parent may use the limit (Core: fPowAllowMinDifficultyBlocks)."""
    no_retargeting: bool = False
    """The target never changes (Core: fPowNoRetargeting)."""


@dataclass(frozen=True, slots=True)
class Deployments:
    """The height from which each buried rule binds; `-testactivationheight` replaces one."""

    bip16: int = ALWAYS
    bip34: int = ALWAYS
    bip65: int = ALWAYS
    bip66: int = ALWAYS
    csv: int = ALWAYS
    """BIP 68, 112 and 113."""
    segwit: int = ALWAYS
    """BIP 141, 143 and 147."""
    taproot: int = ALWAYS
    """BIP 341 and 342."""


@dataclass(frozen=True, slots=True)
class ChainParams:
    """All that makes one network differ from another."""

    name: str
    """As `-chain=` takes it, and the name of the data folder."""
    rpc_chain_name: str
    """`getblockchaininfo.chain`: Core's own name where Core's tools must recognise it."""
    unit: str
    uri_scheme: str
    max_money: Amount
    message_start: bytes
    p2p_port: int
    http_port: int
    bech32_hrp: str
    p2pkh_version: int
    p2sh_version: int
    wif_version: int
    xpub_version: bytes
    xprv_version: bytes
    bip44_coin_type: int
    block_interval_s: int
    initial_subsidy: Amount
    halving_interval: int
    pow_limit_bits: int
    pow: AsertParams | RetargetParams
    deployments: Deployments
    genesis: Block
    is_regtest: bool
    """Blocks on demand, `setmocktime`, relaxed start-up gates."""
    is_bitcoin: bool = False
    """Bitcoin's own parameters: announce and behave as Bitcoin's tools expect by default."""
    is_preview: bool = False
    """The genesis is not the launch one; the node says so at start."""
    dns_seeds: tuple[str, ...] = ()
    minimum_chain_work: int = 0
    assume_valid: BlockHash | None = None
    checkpoints: tuple[tuple[int, BlockHash], ...] = ()
    bip30_exceptions: tuple[tuple[int, BlockHash], ...] = ()
    """Blocks that may overwrite an unspent coinbase (Bitcoin main 91842 and 91880)."""
    script_flag_exceptions: tuple[tuple[BlockHash, frozenset[str]], ...] = ()
    """Blocks verified with fewer rules than their height demands."""
    coinbase_maturity: int = 100
    assumed_coins: tuple["AssumedCoins", ...] = ()
    """Sets of coins that a snapshot file may be loaded as, by rising height."""


@dataclass(frozen=True, slots=True)
class AssumedCoins:
    """What the coins are as of one block (Core: AssumeutxoData)."""

    height: int
    block_hash: BlockHash
    hash_serialized: bytes
    """As `gettxoutsetinfo` has it (hash_serialized_3), in wire order."""
    chain_tx_count: int


def make_genesis(
    coinbase_text: bytes,
    time: int,
    bits: int,
    nonce: int,
    subsidy: int,
    output_script: bytes,
    *,
    script_prefix: bytes = bytes.fromhex("04ffff001d0104"),
    version: int = 1,
) -> Block:
    """A genesis block: one coinbase with `coinbase_text`, in the shape of Bitcoin's.

    Its output is never a coin (Core does not add it to the chainstate).
    """
    push = bytes((len(coinbase_text),)) if len(coinbase_text) < 76 else bytes((0x4C, len(coinbase_text)))
    script_sig = script_prefix + push + coinbase_text
    coinbase: Tx = make_tx(
        1, [TxIn(NULL_OUTPOINT, script_sig, SEQUENCE_FINAL)], [TxOut(subsidy, output_script)], 0
    )
    header = make_header(version, bytes(32), coinbase.txid, time, bits, nonce)
    return make_block(header, [coinbase])


_SATOSHI_SCRIPT = bytes.fromhex(
    "4104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de"
    "5c384df7ba0b8d578a4c702b6bf11d5fac"
)
_UNSPENDABLE = bytes.fromhex("6a03474c44")  # OP_RETURN "GLD"
_HEADLINE = b"Gold-Coin preview 21/Nov/2026: a node that takes its own payments"

_GLD_MAX_MONEY = Amount(100_000_000 * COIN)
_SUBSIDY = Amount(50 * COIN)
_SPACING_S = 150
_HALF_LIFE_S = 43_200
_GLD_LIMIT_BITS = 0x1E0FFFFF
_REGTEST_LIMIT_BITS = 0x207FFFFF
_GENESIS_TIME = 1795219200  # 2026-11-21 00:00:00 UTC

_MAIN_GENESIS = make_genesis(
    _HEADLINE + b" (main)", _GENESIS_TIME, _GLD_LIMIT_BITS, 3_248_944, _SUBSIDY, _UNSPENDABLE
)
_TEST_GENESIS = make_genesis(
    _HEADLINE + b" (test)", _GENESIS_TIME, _GLD_LIMIT_BITS, 1_342_684, _SUBSIDY, _UNSPENDABLE
)
_REGTEST_GENESIS = make_genesis(
    _HEADLINE + b" (regtest)", _GENESIS_TIME, _REGTEST_LIMIT_BITS, 0, _SUBSIDY, _UNSPENDABLE
)


def _asert(genesis: Block, allow_limit_after_s: int | None = None) -> AsertParams:
    return AsertParams(
        anchor_height=0,
        anchor_parent_time=genesis.header.time - _SPACING_S,
        anchor_bits=genesis.header.bits,
        spacing_s=_SPACING_S,
        half_life_s=_HALF_LIFE_S,
        allow_limit_after_s=allow_limit_after_s,
    )


MAIN: Final = ChainParams(
    name="main",
    rpc_chain_name="main",
    unit="GLD",
    uri_scheme="gld",
    max_money=_GLD_MAX_MONEY,
    message_start=bytes.fromhex("f9474c44"),
    p2p_port=4653,
    http_port=8080,
    bech32_hrp="gld",
    p2pkh_version=97,
    p2sh_version=98,
    wif_version=225,
    xpub_version=bytes.fromhex("0488b21e"),
    xprv_version=bytes.fromhex("0488ade4"),
    bip44_coin_type=4672580,
    block_interval_s=_SPACING_S,
    initial_subsidy=_SUBSIDY,
    halving_interval=1_000_000,
    pow_limit_bits=_GLD_LIMIT_BITS,
    pow=_asert(_MAIN_GENESIS),
    deployments=Deployments(),
    genesis=_MAIN_GENESIS,
    is_regtest=False,
    is_preview=True,
)

TEST: Final = ChainParams(
    name="test",
    rpc_chain_name="test",
    unit="GLD",
    uri_scheme="gld",
    max_money=_GLD_MAX_MONEY,
    message_start=bytes.fromhex("fa474c44"),
    p2p_port=14653,
    http_port=18080,
    bech32_hrp="tgld",
    p2pkh_version=111,
    p2sh_version=196,
    wif_version=239,
    xpub_version=bytes.fromhex("043587cf"),
    xprv_version=bytes.fromhex("04358394"),
    bip44_coin_type=1,
    block_interval_s=_SPACING_S,
    initial_subsidy=_SUBSIDY,
    halving_interval=1_000_000,
    pow_limit_bits=_GLD_LIMIT_BITS,
    pow=_asert(_TEST_GENESIS, allow_limit_after_s=1_200),
    deployments=Deployments(),
    genesis=_TEST_GENESIS,
    is_regtest=False,
    is_preview=True,
)

REGTEST: Final = replace(
    TEST,
    name="regtest",
    rpc_chain_name="regtest",
    message_start=bytes.fromhex("fb474c44"),
    p2p_port=24653,
    http_port=8080,
    bech32_hrp="gldrt",
    halving_interval=150,
    pow_limit_bits=_REGTEST_LIMIT_BITS,
    pow=RetargetParams(1_209_600, _SPACING_S, allow_min_difficulty=True, no_retargeting=True),
    genesis=_REGTEST_GENESIS,
    is_regtest=True,
    is_preview=False,
)


def _assumed(height: int, block_hash: str, hash_serialized: str, chain_tx_count: int) -> AssumedCoins:
    coins_hash = bytes.fromhex(hash_serialized)[::-1]
    return AssumedCoins(height, BlockHash(bytes.fromhex(block_hash)[::-1]), coins_hash, chain_tx_count)


_CORE_TEST_COINS = (
    _assumed(
        110,
        "6affe030b7965ab538f820a56ef56c8149b7dc1d1c144af57113be080db7c397",
        "b952555c8ab81fec46f3d4253b7af256d766ceb39fb7752b9d18cdf4a0141327",
        111,
    ),
    _assumed(
        200,
        "385901ccbd69dff6bbd00065d01fb8a9e464dede7cfe0372443884f9b1dcf6b9",
        "17dcc016d188d16068907cdeb38b75691a118d43053b8cd6a25969419381d13a",
        201,
    ),
    _assumed(
        299,
        "7cc695046fec709f8c9394b6f928f81e81fd3ac20977bb68760fa1faa7916ea2",
        "d2b051ff5e8eef46520350776f4100dd710a63447a8e01d917e92e79751a63e2",
        334,
    ),
)
"""Of the chains that Core's own tests build."""

BTC_REGTEST: Final = replace(
    REGTEST,
    name="btc-regtest",
    unit="BTC",
    uri_scheme="bitcoin",
    max_money=Amount(21_000_000 * COIN),
    assumed_coins=_CORE_TEST_COINS,
    message_start=bytes.fromhex("fabfb5da"),
    p2p_port=18444,
    http_port=18443,
    bech32_hrp="bcrt",
    block_interval_s=600,
    pow=RetargetParams(1_209_600, 600, allow_min_difficulty=True, no_retargeting=True),
    deployments=Deployments(bip34=1, bip65=1, bip66=1, csv=1, segwit=0, taproot=0),
    genesis=make_genesis(
        b"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks",
        1296688602,
        _REGTEST_LIMIT_BITS,
        2,
        50 * COIN,
        _SATOSHI_SCRIPT,
    ),
    is_bitcoin=True,
)

NETWORKS: Final = {params.name: params for params in (MAIN, TEST, REGTEST, BTC_REGTEST)}
