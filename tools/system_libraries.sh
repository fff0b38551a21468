#!/bin/sh
# What `make test` needs beyond Python packages: VTK renders slice views off screen, Qt draws the panel, off screen and
# on a virtual X server, with a font. macOS brings its own. dciodvfy (dicom3tools) holds DICOM objects against the
# standard: the tests that want it skip where it is not to be had.
set -eu
[ "$(uname -s)" = Linux ] || exit 0

lacking=$("$1" - <<'PROBE'
import ctypes
import pathlib
import shutil

LIBRARIES = """
    libEGL.so.1 libGL.so.1
    libdbus-1.so.3 libfontconfig.so.1 libfreetype.so.6 libglib-2.0.so.0 libxkbcommon.so.0
    libX11-xcb.so.1 libxcb-cursor.so.0 libxcb-icccm.so.4 libxcb-image.so.0 libxcb-keysyms.so.1 libxcb-randr.so.0
    libxcb-render-util.so.0 libxcb-shape.so.0 libxcb-shm.so.0 libxcb-sync.so.1 libxcb-xfixes.so.0 libxcb-xkb.so.1
    libxkbcommon-x11.so.0
"""
for name in LIBRARIES.split():
    try:
        ctypes.CDLL(name)
    except OSError:
        print(name, end=" ")
if shutil.which("Xvfb") is None:
    print("Xvfb", end=" ")
if not any(pathlib.Path("/usr/share/fonts").rglob("DejaVuSans.ttf")):
    print("DejaVuSans.ttf", end=" ")
PROBE
)
if ! command -v dciodvfy >/dev/null 2>&1; then
    sh "$(dirname "$0")/debian_packages.sh" "The tests check DICOM objects with dciodvfy, or skip that." dicom3tools || true
fi
[ -z "$lacking" ] && exit 0
sh "$(dirname "$0")/debian_packages.sh" "The tests draw slice views and the panel, and need $lacking(Fedora: mesa-libEGL mesa-libGL mesa-dri-drivers xorg-x11-server-Xvfb xcb-util-cursor xcb-util-wm xcb-util-image xcb-util-keysyms xcb-util-renderutil libxkbcommon-x11 dejavu-sans-fonts)." \
    libegl1 libgl1 libgl1-mesa-dri \
    libdbus-1-3 libfontconfig1 libfreetype6 libglib2.0-0 libxkbcommon0 \
    libx11-xcb1 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 \
    libxcb-render-util0 libxcb-shape0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0 libxcb-xkb1 libxkbcommon-x11-0 \
    xvfb fonts-dejavu-core
