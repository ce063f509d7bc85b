"""Completion of gld-cli, in each shell that is installed here."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import run_cli

CASES = [
    ("getblockco", {"getblockcount"}),
    ("-rpcport=1 getmempoolcl", {"getmempoolcluster"}),
    ("help getorph", {"getorphantxs"}),
    ("-rpcwait", {"-rpcwait", "-rpcwaittimeout="}),
    ("getblockhash getblock", set()),
    ("getblockhash -rpc", set()),
]

BASH = """\
source "$1"
read -ra COMP_WORDS <<< "gld-cli ${2//=/ = }"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_gld_cli
printf '%s\n' "${COMPREPLY[@]}"
"""
ZSH = """\
compadd() {
    case "$1" in
        -S) shift 2 ;;
    esac
    local word
    for word in ${(P)2}; do [[ "$word" != "$PREFIX"* ]] || print -r -- "$word"; done
}
_files() { : }
compdef() { : }
source "$1"
words=(gld-cli ${=2})
CURRENT=${#words}
PREFIX=${words[-1]}
_gld_cli
"""
ZSH_TYPED = """\
zmodload zsh/zpty
zpty -b typed zsh -f -i
zpty -w typed 'PROMPT=; gld-cli() { print "ran $*." }; source '"$1"
zpty -w -n typed $'gld-cli getblockcoun\t\n'
repeat 100; do
    zpty -r typed line && [[ "$line" == *"ran "* && "$line" != *print* ]] && { print -r -- "$line"; exit }
    sleep 0.1
done
"""


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (apt-get install {name})")
    return found


@pytest.fixture(scope="module", params=["bash", "zsh", "fish"])
def script(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / f"completion.{request.param}"
    path.write_text(run_cli(f"-completion={request.param}").stdout)
    return path


def completions(script: Path, line: str) -> set[str]:
    """What the shell offers for the last word of `gld-cli <line>`; an option's value mark with it."""
    match script.suffix:
        case ".bash":
            command = [shell("bash"), "-c", BASH, "bash", str(script), line]
        case ".zsh":
            command = [shell("zsh"), "-fc", ZSH, "zsh", str(script), line]
        case _:
            command = [shell("fish"), "-Nc", f"source {script}; complete -C 'gld-cli {line}'"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    return {found.partition("\t")[0] for found in done.stdout.splitlines() if found}


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_commands_and_options_are_completed_in_their_places(script: Path, line: str, expected: set[str]) -> None:
    assert completions(script, line) == expected


def test_a_command_typed_at_zsh_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "completion.zsh"
    path.write_text(run_cli("-completion=zsh").stdout)
    done = subprocess.run(
        [shell("zsh"), "-fc", ZSH_TYPED, "zsh", str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert "ran getblockcount" in done.stdout


def test_bash_is_the_default_and_an_unknown_shell_an_error() -> None:
    assert run_cli("-completion").stdout == run_cli("-completion=bash").stdout
    wrong = run_cli("-completion=tcsh")
    assert wrong.returncode == 1
    assert "Valid values: bash, zsh, fish." in wrong.stderr
