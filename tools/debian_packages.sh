#!/bin/sh
# Installs Debian packages when root on Debian or Ubuntu; names them in one line to paste otherwise.
# `tools/debian_packages.sh "why they are needed" package...`; ends with 1 when they were not installed.
set -eu
reason=$1
shift

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing $* ..." >&2
    export DEBIAN_FRONTEND=noninteractive
    if apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1; then
        exit 0
    fi
fi
{
    echo ""
    echo "$reason On Debian and Ubuntu, paste this and run make again:"
    echo "  sudo apt-get update && sudo apt-get install -y $*"
} >&2
exit 1
