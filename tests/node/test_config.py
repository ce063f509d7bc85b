"""Flags and configuration file by Core's conventions."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from gldnode.address import encode_wif
from gldnode.config import Config, ConfigError, load_config
from gldnode.log import mask_arguments, mask_params, mask_setting, mask_text
from gldnode.options import OPTIONS, help_text, known_keys
from gldnode.params import BTC_REGTEST, MAIN, NETWORKS, REGTEST, TEST, ChainParams
from gldnode.rpc.methods import full_registry
from gldnode.settings import chain_options, mempool_options

KNOWN = known_keys()


def load(base: Path, *flags: str, conf: str | None = None) -> Config:
    if conf is not None:
        (base / "gldnode.conf").write_text(conf)
    return load_config(
        [f"-datadir={base}", *flags], KNOWN, NETWORKS, default_base=base, compat_networks=["btc-regtest"]
    )


def failure(base: Path, *flags: str, conf: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(base, *flags, conf=conf)
    return str(caught.value)


def test_one_and_two_dashes_bare_and_negated_flags(tmp_path: Path) -> None:
    config = load(
        tmp_path, "-regtest", "--txindex", "-nolisten", "--rpcport=1", "-rpcport=2", "-debug=a", "-debug=b"
    )
    assert config.network == "regtest"
    assert config.get_bool("txindex") is True
    assert config.get_bool("listen", True) is False
    assert config.is_negated("listen")
    assert config.get_int("rpcport", 0) == 2
    assert config.get_all("debug") == ["a", "b"]
    assert config.data_dir == tmp_path / "regtest"


@pytest.mark.parametrize(("text", "expected"), [("", True), ("1", True), ("0", False), ("2", True), ("no", False)])
def test_booleans_are_read_as_core_reads_them(tmp_path: Path, text: str, expected: bool) -> None:
    assert load(tmp_path, f"-txindex={text}").get_bool("txindex", False) is expected


def test_double_negative_is_taken_with_a_warning(tmp_path: Path) -> None:
    config = load(tmp_path, "-nolisten=0")
    assert config.get_bool("listen") is True
    assert "double-negative" in config.warnings[0]


def test_flags_win_over_the_file_and_sections_over_what_is_above(tmp_path: Path) -> None:
    conf = "regtest=1\nmaxmempool=5\ndbcache=10\ndebug=net\n# comment\n[regtest]\nmaxmempool=6 # six\nrpcport=7\n"
    config = load(tmp_path, "-dbcache=20", "-debug=rpc", conf=conf)
    assert config.network == "regtest"
    assert config.get_int("maxmempool", 0) == 6
    assert config.get_int("dbcache", 0) == 20
    assert config.get_int("rpcport", 0) == 7
    assert config.get_all("debug") == ["rpc", "net"]


def test_in_the_file_the_first_value_counts(tmp_path: Path) -> None:
    assert load(tmp_path, conf="dbcache=1\ndbcache=2\n").get_int("dbcache", 0) == 1


def test_network_keys_above_the_sections_count_for_main_only(tmp_path: Path) -> None:
    conf = "rpcport=5000\naddnode=1.2.3.4\n"
    assert load(tmp_path, conf=conf).get_int("rpcport", 0) == 5000
    config = load(tmp_path, "-regtest", conf=conf)
    assert config.get("rpcport") is None
    assert any("-rpcport only applied on regtest network when in [regtest]" in text for text in config.warnings)
    assert load(tmp_path, "-regtest", conf="regtest.rpcport=5001\n").get_int("rpcport", 0) == 5001


def test_negation_forgets_what_is_before_it_and_the_file(tmp_path: Path) -> None:
    conf = "debug=net\n"
    assert load(tmp_path, "-debug=rpc", "-nodebug", "-debug=zmq", conf=conf).get_all("debug") == ["zmq"]
    assert load(tmp_path, "-nodebug", conf=conf).get_all("debug") == []
    assert load(tmp_path, conf="nolisten=1\n").get_bool("listen", True) is False


def test_included_files(tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("dbcache=33\n[regtest]\nmaxmempool=44\n")
    config = load(tmp_path, "-regtest", conf="includeconf=more.conf\n")
    assert config.get_int("dbcache", 0) == 33
    assert config.get_int("maxmempool", 0) == 44
    assert "Failed to include configuration file gone.conf" in failure(tmp_path, conf="includeconf=gone.conf\n")
    assert "cannot be used from commandline" in failure(tmp_path, "-includeconf=more.conf")
    (tmp_path / "more.conf").write_text("includeconf=deeper.conf\n")
    config = load(tmp_path, conf="includeconf=more.conf\n")
    assert "cannot be used from included files" in config.warnings[0]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ("-dbcache=1\n", "options in configuration file must be specified without leading -"),
        ("nolisten\n", "if you intended to specify a negated option, use nolisten=1 instead"),
        ("dbcache\n", "parse error on line 1: dbcache"),
        ("rpcpassword=a#b\n", "using # in rpcpassword can be ambiguous"),
        ("conf=other\n", "conf cannot be set in the configuration file"),
        ("dbcach=1\n", "Unknown configuration key dbcach (gldnode.conf, line 1). Did you mean dbcache?"),
        ("chain=moon\n", "Unknown chain moon"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, conf: str, message: str) -> None:
    assert message in failure(tmp_path, conf=conf)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-txindx"], "Error parsing command line arguments: Invalid parameter -txindx. Did you mean txindex?"),
        (["word"], "Command line contains unexpected token 'word'"),
        (["-regtest", "-testnet"], "Invalid combination"),
        (["-conf=gone.conf"], 'specified config file "gone.conf" could not be opened'),
        (["-datadir=/nowhere/at/all"], 'Specified data directory "/nowhere/at/all" does not exist.'),
    ],
)
def test_mistakes_on_the_command_line_are_named(tmp_path: Path, flags: Sequence[str], message: str) -> None:
    assert message in failure(tmp_path, *flags)


def test_unknown_keys_pass_under_btc_compat(tmp_path: Path) -> None:
    config = load(tmp_path, "-chain=btc-regtest", "-unsafething=1", conf="[btc-regtest]\nodd=1\n")
    assert sorted(config.ignored) == ["odd", "unsafething"]
    assert load(tmp_path, "-regtest", "-btc-compat", "-odd", conf="").ignored == ["odd"]
    assert "Invalid parameter -odd" in failure(tmp_path, "-chain=btc-regtest", "-nobtc-compat", "-odd", conf="")


def test_numbers_have_bounds(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="-rpcport must be a whole number"):
        load(tmp_path, "-rpcport=x").get_int("rpcport", 0)
    with pytest.raises(ConfigError, match="must be between 1 and 9"):
        load(tmp_path, "-rpcport=10").get_int("rpcport", 0, least=1, most=9)


def test_options_of_chain_and_mempool(tmp_path: Path) -> None:
    config = load(
        tmp_path, "-regtest", "-minrelaytxfee=0.00002", "-testactivationheight=segwit@5", "-maxmempool=7"
    )
    assert mempool_options(config, REGTEST).min_relay_feerate == 2000
    assert mempool_options(config, REGTEST).max_mempool_bytes == 7_000_000
    assert chain_options(config, REGTEST).test_activation_heights == (("segwit", 5),)
    for flags, params, message in (
        (["-prune=100"], MAIN, "below the minimum of 550 MiB"),
        (["-prune=-1"], MAIN, "negative value"),
        (["-prune=550", "-txindex"], MAIN, "incompatible with -txindex"),
        (["-testactivationheight=x@1"], BTC_REGTEST, "Invalid name"),
        (["-testactivationheight=segwit@-1"], BTC_REGTEST, "Invalid height value"),
        (["-assumevalid=zz"], MAIN, "Invalid assumevalid block hash"),
        (["-minimumchainwork=xyz"], MAIN, "Invalid minimum work"),
    ):
        with pytest.raises(ConfigError, match=message):
            chain_options(load(tmp_path, *flags), params)
    with pytest.raises(ConfigError, match="Invalid amount for -minrelaytxfee=<amount>: 'x'"):
        mempool_options(load(tmp_path, "-minrelaytxfee=x"), MAIN)


def test_help_names_every_option() -> None:
    text = help_text()
    assert all(f"-{option.name}" in text for group in OPTIONS.values() for option in group)


def test_secrets_are_masked_wherever_they_stand() -> None:
    assert mask_setting("rpcpassword", "hunter2") == "****"
    assert mask_setting("dbcache", "5") == "5"
    assert mask_params(["x", {"passphrase": "p", "deep": [{"mnemonic": "m"}]}]) == [
        "x",
        {"passphrase": "****", "deep": [{"mnemonic": "****"}]},
    ]
    xprv = (
        "tprv8ZgxMBicQKsPdKj5DKaL4oUeurPkLLvqS9Jcs26ENqfjoJURMYRtSRJ2PCTmqUV4UXNATFpbYAukL1xoQykVqWQCuc9nsFPX5xEx"
    )
    assert "tprv" not in mask_text(f"wpkh({xprv}/0/*)")
    wif = "cVpF924EspNh8KjYsfhgY96mmxvT6DgdWiTYMtMjuM74hJaU5psW"
    assert wif not in str(mask_params([f"pk({wif})"]))


def test_arguments_by_position_are_hidden_by_their_parameters_names() -> None:
    names = ["passphrase", "timeout"]
    assert mask_arguments(["open sesame", 60], names) == ["****", 60]
    assert mask_arguments({"args": ["open sesame"], "timeout": 60}, names) == {"args": ["****"], "timeout": 60}
    assert mask_arguments({"passphrase": "open sesame"}, names) == {"passphrase": "****"}
    assert mask_arguments(["one", 2, "too many"], names)[2] == "****"
    assert mask_arguments(["a mistyped method's secret"], None) == ["****"]
    assert mask_arguments(["txid", True], ["txid", "verbose"]) == ["txid", True]


def test_every_parameter_that_takes_a_secret_has_a_name_that_is_hidden() -> None:
    taking = {
        param.names[0]
        for method in full_registry().methods()
        for param in method.params
        if any(word in param.name for word in ("passphrase", "privkey", "mnemonic"))
    }
    assert {"passphrase", "newpassphrase", "privkeys", "mnemonic"} <= taking
    assert [mask_arguments(["x"], [name]) for name in taking] == [["****"]] * len(taking)


@pytest.mark.parametrize("params", [MAIN, TEST, REGTEST])
@pytest.mark.parametrize("compressed", [True, False])
def test_the_keys_of_every_network_are_masked(params: ChainParams, compressed: bool) -> None:
    for number in range(1, 50):
        wif = encode_wif(number.to_bytes(2, "big") * 16, params, compressed=compressed)
        assert wif not in str(mask_params([{"desc": f"wpkh({wif})#00000000"}]))
        assert wif not in str(mask_params({"privatekey": [wif]}))
