"""Configuration in Bitcoin Core's conventions: `-key=value` flags and a file of `key=value` lines.

Flags may have one or two dashes; `-key` means `-key=1`, `-nokey` means `-key=0`. The file (`gldnode.conf` in the
data folder, or `-conf`) may have `[network]` sections and `includeconf` lines. Flags win over the file, the
network's section over the lines above the first section. Of a repeated flag the last counts, of a repeated line
the first, unless the key takes many values. What is known is declared in gldnode/options.py.
"""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["CONF_FILENAME", "Config", "ConfigError", "Setting", "load_config", "read_flags"]

CONF_FILENAME: Final = "gldnode.conf"
NETWORK_FLAGS: Final = {"regtest": "regtest", "testnet": "test", "btc-regtest": "btc-regtest"}
"""Short flags that choose a network, besides `-chain=`."""
NETWORK_ONLY: Final = frozenset({"addnode", "bind", "connect", "port", "rpcbind", "rpcport", "wallet"})
"""In the file these count for a network other than main only inside its section."""
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_INT = re.compile(r"\s*[+-]?[0-9]{1,18}")


class ConfigError(Exception):
    """What the operator wrote cannot be followed; the text tells why."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One `key=value`, and where it stands."""

    key: str
    value: str
    where: str
    negated: bool = False


@dataclass(slots=True)
class Config:
    """The settings of one run. `get` and its siblings answer with what counts."""

    network: str
    base_dir: Path
    """`-datadir`: the file and one folder per network."""
    flags: Mapping[str, Sequence[Setting]] = field(default_factory=dict)
    section: Mapping[str, Sequence[Setting]] = field(default_factory=dict)
    """From the network's section of the file."""
    common: Mapping[str, Sequence[Setting]] = field(default_factory=dict)
    """From above the sections."""
    warnings: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    """Unknown keys that `-btc-compat` lets pass."""
    conf_file: Path | None = None

    @property
    def data_dir(self) -> Path:
        """The network's folder."""
        return self.base_dir / self.network

    def get(self, key: str, default: str | None = None) -> str | None:
        """The value that counts; "0" for a negated one."""
        if self.flags.get(key):
            return self.flags[key][-1].value
        for source in self._file_sources(key):
            if source.get(key):
                return source[key][0].value
        return default

    def get_all(self, key: str) -> list[str]:
        """Every value of a key that may be repeated: flags first, then the file. `-nokey` forgets what is before
        it and all that the file has."""
        flags = _after_negation(self.flags.get(key, ()))
        if any(setting.negated for setting in self.flags.get(key, ())):
            return flags
        values = list(flags)
        for source in self._file_sources(key):
            settings = source.get(key, ())
            values += _after_negation(settings)
            if any(setting.negated for setting in settings):
                break
        return values

    def is_set(self, key: str) -> bool:
        return bool(self.flags.get(key)) or any(source.get(key) for source in self._file_sources(key))

    def is_negated(self, key: str) -> bool:
        """Whether what counts is `-nokey`."""
        if self.flags.get(key):
            return self.flags[key][-1].negated
        found = [source[key][0] for source in self._file_sources(key) if source.get(key)]
        return bool(found) and found[0].negated

    def get_bool(self, key: str, default: bool = False) -> bool:
        """Core's reading of a boolean: nothing or a number other than 0 is true."""
        value = self.get(key)
        return default if value is None else interpret_bool(value)

    def get_int(self, key: str, default: int, *, least: int | None = None, most: int | None = None) -> int:
        """Raises ConfigError for what is no integer, or none between `least` and `most`."""
        value = self.get(key)
        if value is None:
            return default
        if not _INT.fullmatch(value):
            raise ConfigError(f"-{key} must be a whole number, not '{value[:80]}'")
        number = int(value)
        if (least is not None and number < least) or (most is not None and number > most):
            low = "-" if least is None else str(least)
            high = "-" if most is None else str(most)
            raise ConfigError(f"-{key} must be between {low} and {high}, not {number}")
        return number

    def get_path(self, key: str, default: str | Path | None = None) -> Path | None:
        """A path, relative ones below the network's folder; None when it is unset, empty or negated."""
        value = self.get(key)
        if value is None:
            return None if default is None else self.data_dir / default
        if value in ("", "0") or self.is_negated(key):
            return None
        return self.data_dir / Path(value).expanduser()

    def settings(self) -> list[Setting]:
        """All settings of flags and file, for the log."""
        return [
            setting
            for source in (self.flags, self.section, self.common)
            for settings in source.values()
            for setting in settings
        ]

    def _file_sources(self, key: str) -> list[Mapping[str, Sequence[Setting]]]:
        if key in NETWORK_ONLY and self.network != "main":
            return [self.section]
        return [self.section, self.common]


def interpret_bool(value: str) -> bool:
    """Core's InterpretBool."""
    if value == "":
        return True
    number = re.match(r"\s*[+-]?[0-9]+", value)
    return number is not None and int(number.group()) != 0


def _after_negation(settings: Sequence[Setting]) -> list[str]:
    values: list[str] = []
    for setting in settings:
        if setting.negated:
            values.clear()
        else:
            values.append(setting.value)
    return values


def load_config(
    argv: Sequence[str],
    known: Collection[str],
    networks: Collection[str],
    *,
    default_base: Path,
    compat_networks: Collection[str] = (),
    read_file: bool = True,
) -> Config:
    """The configuration of flags `argv` and the file they lead to. Raises ConfigError.

    `known` are the keys that exist. On `compat_networks`, and with `-btc-compat`, unknown ones are collected in
    `ignored` instead of refused.
    """
    warnings: list[str] = []
    flags = read_flags(argv, warnings)
    if "includeconf" in flags:
        shown = flags["includeconf"][-1].value
        raise ConfigError(f"-includeconf cannot be used from commandline; -includeconf={shown}")
    base_dir = _base_dir(flags, default_base)
    conf_file = _conf_file(flags, base_dir)
    sections: dict[str, dict[str, list[Setting]]] = {"": {}}
    if read_file and conf_file is not None:
        _read_conf_files(conf_file, base_dir, _given_network(flags), sections, warnings)
    network = _choose_network(flags, sections[""], networks)
    config = Config(network, base_dir, flags, sections.get(network, {}), sections[""], warnings)
    config.conf_file = conf_file if conf_file is not None and conf_file.exists() else None
    if "datadir" in sections[""] and "datadir" not in flags:
        config.base_dir = _existing_dir(sections[""]["datadir"][0].value)
    if network in compat_networks and not config.is_set("btc-compat"):
        sections[""]["btc-compat"] = [Setting("btc-compat", "1", f"default on {network}")]
    _check_known(config, known, config.get_bool("btc-compat"))
    _warn_about_sections(config, sections, networks)
    return config


def read_flags(argv: Sequence[str], warnings: list[str] | None = None) -> dict[str, list[Setting]]:
    """The flags of a command line. Raises ConfigError at a word that is none."""
    flags: dict[str, list[Setting]] = {}
    for word in argv:
        if not word.startswith("-") or word in ("-", "--"):
            raise ConfigError(
                f"Command line contains unexpected token '{word[:80]}', see gldnode -h for a list of options."
            )
        key, equals, value = word.lstrip("-").partition("=")
        _add(flags, key, value if equals else "", f"-{key}", warnings)
    return flags


def _add(target: dict[str, list[Setting]], key: str, value: str, where: str, warnings: list[str] | None) -> None:
    negated = key.startswith("no") and len(key) > 2
    if negated:
        key = key[2:]
        if interpret_bool(value):
            value = "0"
        else:  # -nokey=0 says the same as -key=1
            if warnings is not None:
                warnings.append(f"Parsed potentially confusing double-negative -{key}={value}")
            negated, value = False, "1"
    target.setdefault(key, []).append(Setting(key, value, where, negated))


def _base_dir(flags: Mapping[str, Sequence[Setting]], default_base: Path) -> Path:
    if "datadir" not in flags or flags["datadir"][-1].value == "":
        return default_base
    return _existing_dir(flags["datadir"][-1].value)


def _existing_dir(value: str) -> Path:
    path = Path(value).expanduser().absolute()
    if not path.is_dir():
        raise ConfigError(f'Specified data directory "{value}" does not exist.')
    return path


def _conf_file(flags: Mapping[str, Sequence[Setting]], base_dir: Path) -> Path | None:
    if "conf" not in flags:
        return base_dir / CONF_FILENAME
    setting = flags["conf"][-1]
    if setting.negated:
        return None
    path = base_dir / Path(setting.value).expanduser()
    if not path.is_file():
        raise ConfigError(f'specified config file "{setting.value}" could not be opened.')
    return path


def _read_conf_files(
    conf_file: Path,
    base_dir: Path,
    network: str | None,
    sections: dict[str, dict[str, list[Setting]]],
    warnings: list[str],
) -> None:
    _read_conf_file(conf_file, sections, warnings)
    if "conf" in sections[""]:
        raise ConfigError(
            "conf cannot be set in the configuration file; use includeconf= if you want to include additional "
            "config files"
        )
    if network is None:
        network = _file_network(sections[""])
    included = [*sections.get(network or "", {}).get("includeconf", []), *sections[""].get("includeconf", [])]
    seen = {id(setting) for setting in included}
    for setting in included:
        path = base_dir / Path(setting.value).expanduser()
        if not path.is_file():
            raise ConfigError(f"Failed to include configuration file {setting.value}")
        _read_conf_file(path, sections, warnings)
    for section in sections.values():
        for setting in section.get("includeconf", []):
            if id(setting) not in seen:
                warnings.append(
                    f"-includeconf cannot be used from included files; ignoring -includeconf={setting.value}"
                )


def _read_conf_file(path: Path, sections: dict[str, dict[str, list[Setting]]], warnings: list[str]) -> None:
    """Add the file's lines to `sections` ("" holds what stands above the first one)."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Error reading configuration file {path}: {error}") from None
    section = ""
    for number, raw in enumerate(lines, 1):
        line, hash_mark, _ = raw.partition("#")
        line = line.strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
            sections.setdefault(section, {})
            continue
        name, value = _split_line(path, number, line)
        if name.startswith("rpcpassword") and hash_mark:
            raise _bad_line(path, number, "using # in rpcpassword can be ambiguous and should be avoided")
        into = section
        head, dot, tail = name.partition(".")
        if dot and not section and head in ("main", *NETWORK_FLAGS.values()):  # regtest.port=1 at the top level
            into, name = head, tail
        _add(sections.setdefault(into, {}), name, value, f"{path.name}, line {number}", warnings)


def _split_line(path: Path, number: int, line: str) -> tuple[str, str]:
    if line.startswith("-"):
        raise _bad_line(path, number, f"{line}, options in configuration file must be specified without leading -")
    name, equals, value = line.partition("=")
    name = name.strip()
    if not equals:
        hint = f", if you intended to specify a negated option, use {line}=1 instead" if line[:2] == "no" else ""
        raise _bad_line(path, number, f"{line}{hint}")
    if not _NAME.fullmatch(name):
        raise _bad_line(path, number, line)
    return name, value.strip()


def _bad_line(path: Path, number: int, problem: str) -> ConfigError:
    return ConfigError(f"Error reading configuration file {path}: parse error on line {number}: {problem}")


def _given_network(flags: Mapping[str, Sequence[Setting]]) -> str | None:
    chosen = [
        name for flag, name in NETWORK_FLAGS.items() if flags.get(flag) and interpret_bool(flags[flag][-1].value)
    ]
    if flags.get("chain"):
        chosen.append(flags["chain"][-1].value)
    if len(chosen) > 1:
        raise ConfigError(
            "Invalid combination of -regtest, -testnet, -btc-regtest and -chain. Can use at most one."
        )
    return chosen[0] if chosen else None


def _file_network(common: Mapping[str, Sequence[Setting]]) -> str | None:
    return _given_network({key: list(reversed(settings)) for key, settings in common.items()})


def _choose_network(
    flags: Mapping[str, Sequence[Setting]],
    common: Mapping[str, Sequence[Setting]],
    networks: Collection[str],
) -> str:
    network = _given_network(flags) or _file_network(common) or "main"
    if network not in networks:
        raise ConfigError(f"Unknown chain {network[:80]}. One of: {', '.join(networks)}.")
    return network


def _check_known(config: Config, known: Collection[str], compat: bool) -> None:
    for source in (config.flags, config.section, config.common):
        for key, settings in source.items():
            if key in known:
                continue
            setting = settings[0]
            if compat:
                config.ignored.append(key)
                continue
            near = difflib.get_close_matches(key, known, 1, 0.7)
            hint = f" Did you mean {near[0]}?" if near else ""
            if source is config.flags:
                raise ConfigError(
                    f"Error parsing command line arguments: Invalid parameter {setting.where}.{hint}"
                )
            raise ConfigError(
                f"Error reading configuration file: Unknown configuration key {key} ({setting.where}).{hint}"
            )


def _warn_about_sections(
    config: Config, sections: Mapping[str, Mapping[str, Sequence[Setting]]], networks: Collection[str]
) -> None:
    for name in sections:
        if name and name not in networks:
            config.warnings.append(f"Section [{name}] is not recognized.")
    if config.network == "main":
        return
    for key in NETWORK_ONLY:
        if config.common.get(key) and not config.section.get(key) and not config.flags.get(key):
            config.warnings.append(
                f"Config setting for -{key} only applied on {config.network} network when in "
                f"[{config.network}] section."
            )
