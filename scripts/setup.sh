#!/usr/bin/env bash
# Installs what building (with --tests: and testing) needs, then fetches the run-time files. Says what it does; does nothing twice.
set -euo pipefail
cd "$(dirname "$0")/.."

need() { command -v "$1" >/dev/null 2>&1; }

if ! need cargo; then
    echo "Rust is missing: install it from https://rustup.rs (1.95 or newer), then run this again." >&2
    exit 1
fi

# command:package, as Debian and Ubuntu name them.
missing=()
for pair in make:make cc:gcc npm:npm openssl:openssl tar:tar; do
    need "${pair%%:*}" || missing+=("${pair##*:}")
done
# Tests start a PostgreSQL of their own; building and running need none. POSTGRES_TEST_SKIP=1 leaves those tests out (scripts/test.sh).
if [ "${1:-}" = --tests ] && [ "${POSTGRES_TEST_SKIP:-}" != 1 ] && ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
    missing+=(postgresql)
fi
# The tools' package has Redis' program, and unlike the server's own it starts no service that stays.
if [ "${1:-}" = --tests ] && ! need redis-server && ! need redis-check-rdb; then
    missing+=(redis-tools)
fi
if [ ${#missing[@]} -gt 0 ]; then
    if ! need apt-get; then
        echo "Please install: ${missing[*]}" >&2
        exit 1
    fi
    root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    echo "installing ${missing[*]} (apt-get)" >&2
    "${root[@]}" apt-get update -qq
    # The run level keeps the package from starting a server: tests start theirs.
    "${root[@]}" env RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" libc6-dev >/dev/null
fi
scripts/fetch-runtime.sh
if [ "${1:-}" = --tests ] && [ "${POSTGRES_TEST_SKIP:-}" != 1 ]; then
    scripts/fetch-postgres.sh
fi
