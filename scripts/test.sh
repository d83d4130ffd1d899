#!/usr/bin/env bash
# Runs every test of the workspace. Expects scripts/setup.sh to have run (`make test` does both).
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/simple-analytics/target}

packages=(--workspace)
stores=(embedded postgres)
selection=()
if cargo nextest --version >/dev/null 2>&1; then
    run=(cargo nextest run)
    skip() { selection+=(-E "not ($(printf 'test(/^%s/) or ' "$@" | sed 's/ or $//'))"); }
    # By a filter, so that nothing is compiled anew for a smaller choice of packages.
    run_stores=(cargo nextest run --workspace --filterset 'package(store-postgres)')
    run_contract=(cargo nextest run --workspace --filterset 'package(simple-analytics) and test(/^contract::/)')
else
    echo "cargo-nextest is not installed: running the same tests with cargo test" >&2
    run=(cargo test)
    skip() { selection+=(--); for name in "$@"; do selection+=(--skip "$name"); done; }
    run_stores=(cargo test --package store-postgres)
    run_contract=(cargo test --package simple-analytics --test it contract::)
fi
if [ "${POSTGRES_TEST_SKIP:-}" = 1 ]; then
    echo "SKIPPED, because POSTGRES_TEST_SKIP=1: every test that needs PostgreSQL: its stores, the contract on them, same_answers, chaos, moving, replica, doctor, roles." >&2
    packages+=(--exclude store-postgres)
    stores=(embedded)
    [ $# -gt 0 ] || skip chaos:: same_answers:: moving:: replica::
fi
"${run[@]}" "${packages[@]}" "$@" "${selection[@]}"
queues=(embedded redis)
if ! command -v redis-server >/dev/null && ! command -v redis-check-rdb >/dev/null; then
    echo "SKIPPED, because there is no redis-server (scripts/setup.sh --tests installs it): every test that needs Redis." >&2
    queues=(embedded)
fi
# What clients rely on, once more on every other queue and store; not for those who chose tests by arguments.
if [ $# -eq 0 ]; then
    for queue in "${queues[@]}"; do
        for store in "${stores[@]}"; do
            # The first run had this pair.
            [ "$queue-$store" != embedded-embedded ] || continue
            echo "== contract tests: queue $queue, store $store"
            CONTRACT_QUEUE=$queue CONTRACT_STORE=$store "${run_contract[@]}"
        done
    done
fi
# The stores once more on the oldest and the newest PostgreSQL that scripts/fetch-postgres.sh has fetched; above it was the installed one.
if [ "${#stores[@]}" -gt 1 ] && [ $# -eq 0 ]; then
    for directory in .postgres/*/; do
        version=$(basename "$directory")
        [ -x "$directory/bin/initdb" ] || { echo "SKIPPED: no other PostgreSQL than the installed one is here." >&2; continue; }
        echo "== PostgreSQL stores on $version"
        POSTGRES_TEST_VERSION=${version%%.*} "${run_stores[@]}"
    done
fi
