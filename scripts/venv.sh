# Sourced by the scripts beside it: makes .venv with this project in it, once per change of pyproject.toml.
# Usage: ensure_venv [extra]      sets $PYTHON to the interpreter of the virtual environment.

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV="$PROJECT/.venv"

find_python() {
    # plyvel has wheels for 3.11 and 3.12: prefer those, in either order of installation.
    local candidate version
    for candidate in python3.12 python3.11 python3 python; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        version=$("$candidate" -c 'import sys; print("%d%02d" % sys.version_info[:2])' 2>/dev/null) || continue
        case "$version" in 311 | 312) echo "$candidate"; return 0 ;; esac
    done
    for candidate in python3 python3.15 python3.14 python3.13; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        version=$("$candidate" -c 'import sys; print("%d%02d" % sys.version_info[:2])' 2>/dev/null) || continue
        [ "$version" -ge 313 ] || continue
        if [ -e /usr/include/leveldb/db.h ] && command -v g++ >/dev/null 2>&1; then
            echo "$candidate"
            return 0
        fi
        echo "Python $("$candidate" -V 2>&1 | cut -d' ' -f2) needs plyvel built from source. Install what builds it, then run this again:" >&2
        echo "    sudo apt-get install -y build-essential libleveldb-dev python3-dev" >&2
        return 1
    done
    echo "Python 3.11 or 3.12 is needed and was not found. On Debian 12 or Ubuntu 24.04:" >&2
    echo "    sudo apt-get install -y python3 python3-venv" >&2
    return 1
}

ensure_venv() {
    local extra=${1:-} python wanted stamp
    PYTHON="$VENV/bin/python"
    stamp="$VENV/.installed${extra:+-$extra}"
    wanted=$(cksum <"$PROJECT/pyproject.toml")
    if [ -x "$PYTHON" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && "$PYTHON" -c '' 2>/dev/null; then
        return 0
    fi
    if ! { [ -x "$PYTHON" ] && "$PYTHON" -m pip --version >/dev/null 2>&1; }; then
        python=$(find_python) || return 1
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$python cannot make virtual environments. On Debian or Ubuntu:" >&2
            echo "    sudo apt-get install -y $("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2
            return 1
        fi
        echo "making .venv with $("$python" -V)"
        "$python" -m venv --clear "$VENV" || return 1
    fi
    echo "installing Gold-Coin${extra:+ with the $extra extra} into .venv (the first time takes a minute)"
    PYTHONWARNINGS=ignore "$PYTHON" -m pip install --quiet --disable-pip-version-check --editable "$PROJECT${extra:+[$extra]}" || return 1
    # The extra contains everything the plain install has.
    echo "$wanted" >"$stamp"
    [ -z "$extra" ] || echo "$wanted" >"$VENV/.installed"
}
