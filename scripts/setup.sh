#!/usr/bin/env bash
# Installs what building and testing need, then fetches the run-time files. Says what it does; does nothing twice.
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
# For the tests alone. The tools' package has the server's program, and unlike the server's own it starts no service that stays.
need redis-server || need redis-check-rdb || missing+=(redis-tools)
if [ ${#missing[@]} -gt 0 ]; then
    if ! need apt-get; then
        echo "Please install: ${missing[*]}" >&2
        exit 1
    fi
    root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    echo "installing ${missing[*]} (apt-get)" >&2
    "${root[@]}" apt-get update -qq
    "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" libc6-dev >/dev/null
fi
scripts/fetch-runtime.sh
