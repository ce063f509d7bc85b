"""Completion of gld-cli's options and commands in shells, from its help and its table of methods."""

import re
from typing import Final

from gldnode.cli_options import HELP
from gldnode.rpc.argtypes import method_names

__all__ = ["SHELLS", "completion_script"]

_NETWORKS: Final = {"-btc-regtest": "Bitcoin's regtest", "-regtest": "Regtest", "-testnet": "The test network"}
_OPTION: Final = re.compile(r"^  (-[a-z]+)(=?)\S* +(\S.*)$", re.MULTILINE)

_BASH: Final = """\
# bash completion for gld-cli: eval "$(gld-cli -completion)"
_gld_cli() {
    local word="${COMP_WORDS[COMP_CWORD]}" command="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${COMP_WORDS[i]}" in
            -*) ;;
            =) ((i++)) ;;
            *) command="${COMP_WORDS[i]}"; break ;;
        esac
    done
    COMPREPLY=()
    if [[ -n "$command" && "$command" != help ]]; then
        return
    elif [[ -z "$command" && "$word" == -* ]]; then
        COMPREPLY=($(compgen -W "@OPTIONS@" -- "$word"))
        [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace 2>/dev/null
    else
        COMPREPLY=($(compgen -W "@METHODS@" -- "$word"))
    fi
    return 0
}
complete -o default -F _gld_cli gld-cli
"""
_ZSH: Final = """\
#compdef gld-cli
# zsh completion for gld-cli: eval "$(gld-cli -completion=zsh)", or this text as _gld-cli in a folder of $fpath
_gld_cli() {
    local -a options values methods
    local word command=""
    options=(@FLAGS@)
    values=(@VALUES@)
    methods=(@METHODS@)
    for word in "${(@)words[2,CURRENT-1]}"; do
        [[ "$word" == -* ]] || { command="$word"; break }
    done
    if [[ -n "$command" && "$command" != help ]]; then
        _files
    elif [[ -z "$command" && "$PREFIX" == -* ]]; then
        compadd -a options
        compadd -S '' -a values
    else
        compadd -a methods
    fi
}
if [[ "$funcstack[1]" == _gld-cli ]]; then
    _gld_cli "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _gld_cli gld-cli
fi
"""
_FISH: Final = """\
# fish completion for gld-cli: gld-cli -completion=fish | source, or > ~/.config/fish/completions/gld-cli.fish
function __gld_cli_command
    for word in (commandline -opc)[2..-1]
        if not string match -q -- '-*' $word
            echo $word
            return
        end
    end
end
complete -c gld-cli -n 'test -z "$(__gld_cli_command)"' -f -a '@METHODS@'
complete -c gld-cli -n 'test "$(__gld_cli_command)" = help' -f -a '@METHODS@'
@OPTIONS@
"""
_TEMPLATES: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
SHELLS: Final = tuple(_TEMPLATES)


def _options() -> dict[str, str]:
    """What each option is for; one that takes a value ends in `=`."""
    found = {name + equals: text for name, equals, text in _OPTION.findall(HELP)}
    return dict(sorted((found | _NETWORKS).items()))


def completion_script(shell: str) -> str:
    """What the shell is to evaluate; one of SHELLS."""
    options = _options()
    words = " ".join(options)
    if shell == "fish":
        words = "\n".join(
            f"""complete -c gld-cli -n 'test -z "$(__gld_cli_command)"' -f -a '{name}' -d '{_quoted(text)}'"""
            for name, text in options.items()
        )
    filled = {
        "@OPTIONS@": words,
        "@FLAGS@": " ".join(name for name in options if not name.endswith("=")),
        "@VALUES@": " ".join(f"'{name}'" for name in options if name.endswith("=")),
        "@METHODS@": " ".join(method_names()),
    }
    script = _TEMPLATES[shell]
    for mark, text in filled.items():
        script = script.replace(mark, text)
    return script


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
