#!/usr/bin/env bash
# Install everything the product needs on this machine, once; a second run with nothing to do takes no time.
# Used by `make setup`, by the Dockerfile and by CI.   SETUP_DEV=1 adds what tests and lint need.
set -euo pipefail
cd "$(dirname "$0")/.."

venv="${VENV:-.venv}"
dev="${SETUP_DEV:-0}"
say() { printf '\033[1m%s\033[0m\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo "$@"
    else return 1; fi
}

apt_install() {
    command -v apt-get >/dev/null || return 1
    say "Installing system packages: $*"
    as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

find_python() {
    for name in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"; return
        fi
    done
    return 1
}

python="$(find_python)" || fail "Python 3.11 or newer is needed. On Debian or Ubuntu: apt-get install python3 python3-venv"

# WeasyPrint draws the PDF reports with pango; wheels do not carry it.
if ! "$python" -c 'import ctypes.util as u, sys; sys.exit(not all(map(u.find_library, ("pango-1.0", "pangoft2-1.0", "harfbuzz-subset"))))'; then
    apt_install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core ||
        echo "setup: pango is missing and could not be installed; PDF reports will not work until you install libpango-1.0-0, libpangoft2-1.0-0 and libharfbuzz-subset0." >&2
fi
if [ "$dev" = 1 ] && ! command -v "${CHROMIUM:-chromium}" >/dev/null; then
    apt_install chromium || echo "setup: Chromium is missing; the browser tests will be skipped." >&2
fi

if [ ! -x "$venv/bin/python" ]; then
    say "Making the virtual environment $venv with $python"
    if ! "$python" -m venv "$venv" 2>/dev/null; then
        rm -rf "$venv"
        apt_install python3-venv || fail "python3-venv is missing. Install it and run make setup again."
        "$python" -m venv "$venv"
    fi
fi

files=(requirements.txt requirements-nodeps.txt)
[ "$dev" = 1 ] && files+=(requirements-dev.txt)
wanted="$(cat "${files[@]}" | sha256sum | cut -d' ' -f1)"
stamp="$venv/.installed-$dev"
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    index=()
    # Without a GPU the default torch wheel would bring gigabytes of CUDA; PyTorch's own index has CPU builds.
    if ! command -v nvidia-smi >/dev/null && [ ! -e /proc/driver/nvidia/version ]; then
        cpu_index="https://download.pytorch.org/whl/cpu"
        if "$venv/bin/python" -c "import urllib.request as u; u.urlopen('$cpu_index/torch/', timeout=5).read(1)" 2>/dev/null; then
            index=(--extra-index-url "$cpu_index")
        fi
    fi
    say "Installing Python packages (about a minute, 2 GB)"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check "${index[@]}" -r requirements.txt
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps -r requirements-nodeps.txt
    [ "$dev" = 1 ] && "$venv/bin/python" -m pip install -q --disable-pip-version-check "${index[@]}" -r requirements-dev.txt
    echo "$wanted" > "$stamp"
fi

"$venv/bin/python" -m detection.engine.third_party
