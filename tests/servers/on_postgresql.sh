#!/bin/sh
# Run a command against a private PostgreSQL: own directory, loopback, a free port, stopped at the end.
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
if [ -z "$bin" ]; then
    echo "PostgreSQL is not installed (package postgresql): its tests are skipped"
    exit 0
fi
dir=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
as=""
if [ "$(id -u)" = 0 ]; then
    chown postgres "$dir"
    as="setpriv --reuid=postgres --regid=postgres --clear-groups"
fi
stop() {
    (cd / && $as "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1) || true
    rm -rf "$dir"
}
trap stop EXIT
(
    cd /
    $as "$bin/initdb" -D "$dir/data" -A trust -U fcweb >/dev/null
    $as "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/log" \
        -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$dir -c fsync=off" start >/dev/null
)
FCWEB_DATABASE_URL="postgres://fcweb@127.0.0.1:$port/postgres" "$@"
