#!/usr/bin/env bash
# Runs every test of the workspace. Expects scripts/setup.sh to have run (`make test` does both).
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/simple-analytics/target}

packages=(--workspace)
on_postgres=true
if [ "${POSTGRES_TEST_SKIP:-}" = 1 ]; then
    echo "SKIPPED, because POSTGRES_TEST_SKIP=1: every test of the PostgreSQL stores, and the contract tests on PostgreSQL." >&2
    packages+=(--exclude store-postgres)
    on_postgres=false
fi
if cargo nextest --version >/dev/null 2>&1; then
    run=(cargo nextest run)
    # By a filter, so that nothing is compiled anew for a smaller choice of packages.
    run_stores=(cargo nextest run --workspace --filterset 'package(store-postgres)')
else
    echo "cargo-nextest is not installed: running the same tests with cargo test" >&2
    run=(cargo test)
    run_stores=(cargo test --package store-postgres)
fi
"${run[@]}" "${packages[@]}" "$@"
# What clients rely on, once more on the other stores; not for those who chose tests by arguments.
if $on_postgres && [ $# -eq 0 ]; then
    echo "== contract tests on PostgreSQL"
    CONTRACT_STORE=postgres "${run[@]}" --package simple-analytics --test it contract::
fi
# The stores once more on the oldest and the newest PostgreSQL that scripts/fetch-postgres.sh has fetched; above it was the installed one.
if $on_postgres && [ $# -eq 0 ]; then
    for directory in .postgres/*/; do
        version=$(basename "$directory")
        [ -x "$directory/bin/initdb" ] || { echo "SKIPPED: no other PostgreSQL than the installed one is here." >&2; continue; }
        echo "== PostgreSQL stores on $version"
        POSTGRES_TEST_VERSION=${version%%.*} "${run_stores[@]}"
    done
fi
