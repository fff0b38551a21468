#!/bin/sh
# A PostgreSQL server's programs for the tests of the event store, when root on Debian or Ubuntu. The tests start their
# own server in a temporary folder as an unprivileged user; without one they skip and say so, hence never an error here.
set -eu
for folder in /usr/lib/postgresql/*/bin; do
    [ -x "$folder/initdb" ] && exit 0
done
command -v initdb >/dev/null 2>&1 && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || exit 0

# The package would set up and start a cluster of its own on this computer.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
fi
sh "$(dirname "$0")/debian_packages.sh" "The tests of the event store use a PostgreSQL server." postgresql || exit 0
