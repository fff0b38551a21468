#!/bin/sh
# What VTK needs to render slice views off screen (`make test` only). Root on Debian and Ubuntu: installed.
# Everybody else on Linux: named in one line to paste. macOS brings its own.
set -eu
[ "$(uname -s)" = Linux ] || exit 0

python=${1:-python3}
packages="libegl1 libgl1 libgl1-mesa-dri libx11-6 libxext6 libxrender1 libxcursor1 libxt6"

missing() {
    "$python" - <<'PROBE'
import ctypes

for name in ("libEGL.so.1", "libGL.so.1", "libX11.so.6"):
    try:
        ctypes.CDLL(name)
    except OSError:
        print(name, end=" ")
PROBE
}

lacking=$(missing)
[ -n "$lacking" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing system libraries for off-screen rendering ..." >&2
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # one word per package
    if apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq $packages >/dev/null 2>&1 && [ -z "$(missing)" ]; then
        exit 0
    fi
fi
{
    echo ""
    echo "System libraries for off-screen rendering are missing: $lacking"
    echo "Paste this and run make again (Fedora: mesa-libEGL mesa-libGL mesa-dri-drivers libX11):"
    echo "  sudo apt-get update && sudo apt-get install -y $packages"
} >&2
exit 1
