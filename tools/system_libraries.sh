#!/bin/sh
# What VTK needs to render slice views off screen (`make test` only); macOS brings its own.
set -eu
[ "$(uname -s)" = Linux ] || exit 0

lacking=$("$1" - <<'PROBE'
import ctypes

for name in ("libEGL.so.1", "libGL.so.1"):
    try:
        ctypes.CDLL(name)
    except OSError:
        print(name, end=" ")
PROBE
)
[ -z "$lacking" ] && exit 0
sh "$(dirname "$0")/debian_packages.sh" "The tests render slice views and need $lacking(Fedora: mesa-libEGL mesa-libGL mesa-dri-drivers)." \
    libegl1 libgl1 libgl1-mesa-dri
