#!/bin/sh
# Sets up .venv for the Makefile: `tools/setup_environment.sh demo|test|lint|docs [folder]`.
# Plain sh, so that it runs with nothing but a base system; every failure says what to do next.
set -eu
cd "$(dirname "$0")/.."

purpose=$1
venv=${2:-.venv}
log=$venv/setup.log
stamp=$venv/.ready-$purpose

say() { printf '%s\n' "$*" >&2; }
stop() {
    say ""
    say "$1"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}

# A stamp holds the checksum of what it was made from: an edited pyproject.toml sets up again, nothing else does.
wanted=$(cat pyproject.toml tools/setup_environment.sh | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$venv/bin/python" -c 'import flairseg' 2>/dev/null; then
    exit 0
fi

# --- Python -----------------------------------------------------------------------------------------------------------
usable() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        if usable "$PYTHON"; then printf '%s' "$PYTHON"; fi
        return
    fi
    for candidate in python3 python3.12 python3.13 python3.11 python3.10 python3.14; do
        if usable "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
}

if [ ! -x "$venv/bin/python" ] || ! usable "$venv/bin/python"; then
    python=$(find_python)
    if [ -z "$python" ]; then
        found=$("${PYTHON:-python3}" --version 2>&1 || true)
        stop "FlairSeg needs Python 3.10 to 3.14; found: ${found:-none}. Install one, or name yours:" \
            "Debian, Ubuntu:  sudo apt-get update && sudo apt-get install -y python3 python3-venv" \
            "macOS:           brew install python@3.12" \
            "elsewhere:       make demo PYTHON=/path/to/python3.12"
    fi
    say "Setting up $venv with $("$python" --version 2>&1) ..."
    rm -rf "$venv"
    if ! message=$("$python" -m venv "$venv" 2>&1); then
        # Debian ships Python without ensurepip, in which case a half-made folder stays behind.
        rm -rf "$venv"
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        reason="Python could not make a virtual environment ($(printf '%s' "$message" | tail -n 1))."
        sh tools/debian_packages.sh "$reason" python3-venv "python$version-venv" || exit 1
        "$python" -m venv "$venv" || exit 1
    fi
fi

# --- Packages ---------------------------------------------------------------------------------------------------------
# pip prints addresses with their passwords where it cannot read them; the log is attached to reports.
hide_passwords() {
    sed -E -e 's#://[^[:space:]]*@#://****@#g' -e 's#(Failed to parse: |to integer value as ).*#\1****#' "$log" >"$log.part"
    mv "$log.part" "$log"
}

# Without --no-input, pip would ask for the password of an index in the log, where nobody sees it, and wait.
pip_install() {
    if ! "$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check "$@" >>"$log" 2>&1; then
        hide_passwords
        say ""
        grep -iE 'error:|could not|no matching|certificate|proxy|space left' "$log" | sort -u | head -n 5 | cut -c 1-200 >&2
        stop "pip could not install $* (whole output: $log). What helps, by cause:" \
            "behind a proxy:          export HTTPS_PROXY=http://user:password@proxy:port  and run make again" \
            "  special characters as %XX: @ %40, # %23, / %2F, : %3A" \
            "proxy re-signs TLS:      export PIP_CERT=/path/to/the/hospital-ca.pem       and run make again" \
            "own package index:       export PIP_INDEX_URL=https://mirror/simple          and run make again" \
            "no network at all:       docs/install.md, \"Without a network\""
    fi
}

# On Linux the plain torch wheel brings gigabytes of CUDA along. PyTorch's own index has the CPU build: it is used where
# it answers within five seconds, and the package index alone does otherwise.
install_training() {
    set -- -e '.[training]'
    if [ "$(uname -s)" = Linux ] && "$venv/bin/python" - <<'PROBE' 2>/dev/null; then
import urllib.request

urllib.request.urlopen("https://download.pytorch.org/whl/cpu/torch/", timeout=5).close()
PROBE
        set -- "$@" --extra-index-url https://download.pytorch.org/whl/cpu
    fi
    pip_install "$@"
}

: >"$log"
case $purpose in
demo)
    say "Installing FlairSeg and its libraries (about 150 MB, once) ..."
    pip_install -e .
    ;;
test)
    say "Installing FlairSeg and what its tests need (PyTorch among them: minutes, once) ..."
    pip_install -e '.[slicer,test]'
    install_training
    # nnU-Net's networks; what they declare beside PyTorch (timm, torchvision) serves others of their networks.
    pip_install --no-deps 'dynamic-network-architectures==0.4.4'
    # MONAI's surface distances, to compare ours with; it needs NumPy and PyTorch alone.
    pip_install --no-deps 'monai>=1.5'
    ;;
lint)
    say "Installing FlairSeg, the linters and the libraries whose types are checked ..."
    pip_install -e '.[dev,dicom,postgres,report,review,study]'
    ;;
docs)
    say "Installing FlairSeg and what its documentation needs ..."
    pip_install -e '.[docs]'
    ;;
*) stop "Unknown purpose '$purpose': demo, test, lint or docs." ;;
esac
printf '%s\n' "$wanted" >"$stamp"
