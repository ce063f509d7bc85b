"""From configuration keys to the options of chain and mempool."""

from pathlib import Path

from gldnode.chain.options import ChainOptions
from gldnode.config import Config, ConfigError
from gldnode.consensus.check_tx import MAX_BLOCK_WEIGHT
from gldnode.errors import DecodeError
from gldnode.mempool.options import MempoolOptions
from gldnode.params import ChainParams
from gldnode.primitives.amount import AmountError, parse_amount
from gldnode.primitives.hashes import BlockHash, from_display_hex

__all__ = ["block_limits", "chain_options", "feerate", "mempool_options"]

_ACTIVATIONS = ("segwit", "bip34", "dersig", "cltv", "csv")


def chain_options(config: Config, params: ChainParams) -> ChainOptions:
    """Raises ConfigError."""
    prune = config.get_int("prune", 0)
    if prune < 0:
        raise ConfigError("Prune cannot be configured with a negative value.")
    if 1 < prune < 550:
        raise ConfigError("Prune configured below the minimum of 550 MiB.  Please use a higher number.")
    if prune and config.get_bool("txindex"):
        raise ConfigError("Prune mode is incompatible with -txindex.")
    if prune and config.get_bool("reindex-chainstate"):
        raise ConfigError("Prune mode is incompatible with -reindex-chainstate. Use full -reindex instead.")
    return ChainOptions(
        dbcache_mib=max(4, config.get_int("dbcache", 300)),
        assume_valid=_hash(config, "assumevalid"),
        minimum_chain_work=_work(config),
        checkpoints=config.get_bool("checkpoints", True),
        extra_checkpoints=tuple(_checkpoint(value) for value in config.get_all("checkpoint")),
        blocks_dir=_blocks_dir(config),
        max_block_file_bytes=0x10000 if config.get_bool("fastprune") else 128 << 20,
        min_disk_free_mib=config.get_int("mindiskfree", 50, least=0),
        check_blocks=config.get_int("checkblocks", 6, least=0),
        check_level=min(4, config.get_int("checklevel", 3, least=0)),
        reindex=config.get_bool("reindex"),
        reindex_chainstate=config.get_bool("reindex-chainstate"),
        prune_mib=prune,
        stop_at_height=config.get_int("stopatheight", 0, least=0),
        max_tip_age_s=config.get_int("maxtipage", 24 * 60 * 60, least=0),
        script_threads=_script_threads(config),
        test_activation_heights=_activation_heights(config, params),
    )


def mempool_options(config: Config, params: ChainParams) -> MempoolOptions:
    """Raises ConfigError."""
    if not config.get_bool("acceptnonstdtxn", False) or params.is_regtest:
        require_standard = not config.get_bool("acceptnonstdtxn", False)
    else:
        raise ConfigError(f"acceptnonstdtxn is not currently supported for {params.name} chain")
    usual = MempoolOptions()
    min_relay = feerate(config, "minrelaytxfee", usual.min_relay_feerate, params)
    incremental = feerate(config, "incrementalrelayfee", usual.incremental_relay_feerate, params)
    if not config.is_set("minrelaytxfee"):  # Core: at least the incremental fee
        min_relay = max(min_relay, incremental)
    carrier = config.get_int("datacarriersize", 100_000, least=0) if config.get_bool("datacarrier", True) else None
    return MempoolOptions(
        max_mempool_bytes=config.get_int("maxmempool", 300, least=0) * 1_000_000,
        expiry_s=config.get_int("mempoolexpiry", 336, least=0) * 3600,
        min_relay_feerate=min_relay,
        incremental_relay_feerate=incremental,
        dust_relay_feerate=feerate(config, "dustrelayfee", usual.dust_relay_feerate, params),
        require_standard=require_standard,
        permit_bare_multisig=config.get_bool("permitbaremultisig", True),
        max_datacarrier_bytes=carrier,
        bytes_per_sigop=config.get_int("bytespersigop", usual.bytes_per_sigop, least=0),
        ancestor_count=config.get_int("limitancestorcount", usual.ancestor_count, least=0),
        ancestor_size_vb=config.get_int("limitancestorsize", 101, least=0) * 1000,
        descendant_count=config.get_int("limitdescendantcount", usual.descendant_count, least=0),
        descendant_size_vb=config.get_int("limitdescendantsize", 101, least=0) * 1000,
        max_orphans=config.get_int("maxorphantx", usual.max_orphans, least=0),
        full_rbf=config.get_bool("mempoolfullrbf", True),
        check_ratio=config.get_int("checkmempool", 0, least=0),
    )


def feerate(config: Config, key: str, default: int, params: ChainParams) -> int:
    """A feerate given in coins per kvB, as grains. Raises ConfigError with Core's sentence."""
    value = config.get(key)
    if value is None:
        return default
    try:
        return int(parse_amount(value, params.max_money))
    except AmountError:
        raise ConfigError(f"Invalid amount for -{key}=<amount>: '{value[:80]}'") from None


def block_limits(config: Config, params: ChainParams) -> tuple[int, int]:
    """What a block of ours may have: `-blockmaxweight`, and `-blockmintxfee` in grains per kvB.

    Raises ConfigError.
    """
    max_weight = config.get_int("blockmaxweight", MAX_BLOCK_WEIGHT)
    return min(max(max_weight, 8_000), MAX_BLOCK_WEIGHT), feerate(config, "blockmintxfee", 1, params)


def _script_threads(config: Config) -> int:
    """`-par` as Core reads it: 0 all cores, negative leaves that many free; at most 15."""
    import os

    wanted = config.get_int("par", 0)
    if wanted <= 0:
        wanted += os.cpu_count() or 1
    return max(1, min(wanted, 15))


def _hash(config: Config, key: str) -> BlockHash | None:
    value = config.get(key)
    if value is None:
        return None
    if value == "0":
        return BlockHash(bytes(32))
    try:
        return BlockHash(from_display_hex(value.removeprefix("0x").rjust(64, "0")))
    except DecodeError:
        raise ConfigError(
            f"Invalid {key} block hash specified ({value[:80]}), must be up to 64 hex digits"
        ) from None


def _checkpoint(value: str) -> tuple[int, BlockHash]:
    height, colon, block_hash = value.partition(":")
    try:
        if not colon or not (height.isascii() and height.isdigit()) or len(height) > 9 or len(block_hash) != 64:
            raise DecodeError(value)
        return int(height), BlockHash(from_display_hex(block_hash))
    except DecodeError:
        raise ConfigError(f"Invalid -checkpoint={value[:80]}: it is height:hash") from None


def _blocks_dir(config: Config) -> Path | None:
    """Where `-blocksdir` has this network's block files."""
    value = config.get("blocksdir")
    if not value:
        return None
    folder = Path(value).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError(f'Specified blocks directory "{value}" does not exist.')
    return folder / config.network / "blocks"


def _work(config: Config) -> int | None:
    value = config.get("minimumchainwork")
    if value is None:
        return None
    digits = value.removeprefix("0x")
    if len(digits) > 64 or not digits.isascii() or not digits.isalnum():
        digits = "?"
    try:
        return int(digits, 16)
    except ValueError:
        raise ConfigError(f"Invalid minimum work specified ({value[:80]}), must be up to 64 hex digits") from None


def _activation_heights(config: Config, params: ChainParams) -> tuple[tuple[str, int], ...]:
    heights = []
    for value in config.get_all("testactivationheight"):
        name, at, height = value.partition("@")
        if not params.is_regtest:
            raise ConfigError("-testactivationheight is for the regtest networks only")
        if not at:
            raise ConfigError(f"Invalid format ({value}) for -testactivationheight=name@height.")
        if name not in _ACTIVATIONS:
            raise ConfigError(f"Invalid name ({value}) for -testactivationheight=name@height.")
        if not height.isascii() or not height.isdigit() or int(height) >= (1 << 31) - 1:
            raise ConfigError(f"Invalid height value ({value}) for -testactivationheight=name@height.")
        heights.append((name, int(height)))
    return tuple(heights)
