#!/usr/bin/env bash
# Runs every test of the workspace. Expects scripts/setup.sh to have run (`make test` does both).
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/simple-analytics/target}

if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --workspace "$@"
fi
echo "cargo-nextest is not installed: running the same tests with cargo test" >&2
exec cargo test --workspace "$@"
