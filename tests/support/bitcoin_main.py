"""Bitcoin's main network, for data that was made there. The node itself does not offer it."""

from dataclasses import replace

from gldnode.params import BTC_REGTEST, Deployments, RetargetParams, make_genesis
from gldnode.primitives.hashes import BlockHash, from_display_hex

__all__ = ["BITCOIN_MAIN"]


def _hash(text: str) -> BlockHash:
    return BlockHash(from_display_hex(text))


BITCOIN_MAIN = replace(
    BTC_REGTEST,
    name="bitcoin-main",
    rpc_chain_name="main",
    message_start=bytes.fromhex("f9beb4d9"),
    p2p_port=8333,
    http_port=8332,
    bech32_hrp="bc",
    p2pkh_version=0,
    p2sh_version=5,
    wif_version=128,
    xpub_version=bytes.fromhex("0488b21e"),
    xprv_version=bytes.fromhex("0488ade4"),
    bip44_coin_type=0,
    halving_interval=210_000,
    pow_limit_bits=0x1D00FFFF,
    pow=RetargetParams(1_209_600, 600),
    deployments=Deployments(
        bip16=0, bip34=227_931, bip65=388_381, bip66=363_725, csv=419_328, segwit=481_824, taproot=0
    ),
    genesis=make_genesis(
        b"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks",
        1231006505,
        0x1D00FFFF,
        2083236893,
        50 * 100_000_000,
        bytes.fromhex(
            "4104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb6"
            "49f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac"
        ),
    ),
    is_regtest=False,
    bip30_exceptions=(
        (91_842, _hash("00000000000a4d0a398161ffc163c503763b1f4360639393e0e4c8e300e0caec")),
        (91_880, _hash("00000000000743f190a18c5577a3c2d2a1f610ae9601ac046a38084ccb7cd721")),
    ),
    script_flag_exceptions=(
        (
            _hash("00000000000002dc756eebf4f49723ed8d30cc28a5f108eb94b1ba88ac4f9c22"),
            frozenset({"P2SH", "WITNESS", "TAPROOT"}),
        ),
        (
            _hash("0000000000000000000f14c35b2d841e986ab5441de8c585d5ffe55ea1e395ad"),
            frozenset({"TAPROOT"}),
        ),
    ),
)
