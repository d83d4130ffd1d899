#!/usr/bin/env bash
# Fetches what the server needs at run time but does not compile: DuckDB's shared library, the user-agent
# rules and the address-to-country table. Each is a package of the npm registry, pinned by version and checksum.
# Result: .runtime/{lib,share} in the checkout, a link into the cache. Idempotent; prints only what it does.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/.." && pwd)
cache=${SIMPLE_ANALYTICS_CACHE:-$HOME/.cache/simple-analytics}
case "$(uname -s)-$(uname -m)" in
Linux-x86_64)
    duckdb_package=@duckdb/node-bindings-linux-x64
    duckdb_sha512=IXcrZJE6kEqM0Z4wwdVnGBHX/frOS33VPNAwDXQ/Q+Fs84b058Qe94chrCCIcNJlG8Y3UHIUU4eBeCQxW5mN1Q==
    ;;
*)
    echo "No pinned DuckDB library for $(uname -s)-$(uname -m) yet." >&2
    echo "Build with the bundled library instead: cargo build --release -p simple-analytics --features bundled (about 45 CPU-minutes)." >&2
    exit 1
    ;;
esac
duckdb_version=1.5.6-r.1
agents_version=0.18.0
agents_sha512=Eh5pSzisem1e0wyG7b6qggehroFJNw+H6RdBkCX+4DjTfP9IbAw/zMiDfMZnCghyyRk1lkQZF8e6BRnRAQRr0w==
countries_version=2.3.2026061719
countries_sha512=xemBDNQl4mCYDuVbqe3jKGKsVDykZGkfvebhtOh/3VGLadq8vsp7t7ontpMUt3hH7sAGT0eLDyJ99SV+0waxZg==

runtime=$cache/runtime-duckdb-$duckdb_version-agents-$agents_version-countries-$countries_version
if [ ! -e "$runtime/complete" ]; then
    command -v npm >/dev/null || { echo "npm is needed to fetch DuckDB's library (Debian: apt-get install npm)." >&2; exit 1; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # fetch PACKAGE VERSION SHA512: unpacks the package into $work/package.
    fetch() {
        echo "fetching $1 $2" >&2
        rm -rf "$work/package"
        (cd "$work" && npm pack --silent "$1@$2" >packed 2>/dev/null) || { echo "npm could not fetch $1@$2" >&2; exit 1; }
        file=$work/$(tail -n 1 "$work/packed")
        found=$(openssl dgst -sha512 -binary "$file" | openssl base64 -A)
        [ "$found" = "$3" ] || { echo "checksum of $1@$2 differs from the pinned one: $found" >&2; exit 1; }
        tar -xzf "$file" -C "$work"
    }
    rm -rf "$runtime"
    mkdir -p "$runtime/lib" "$runtime/share"
    fetch "$duckdb_package" "$duckdb_version" "$duckdb_sha512"
    cp "$work"/package/libduckdb.so "$runtime/lib/"
    fetch uap-core "$agents_version" "$agents_sha512"
    cp "$work"/package/regexes.yaml "$runtime/share/user-agents.yaml"
    fetch @ip-location-db/geo-whois-asn-country-mmdb "$countries_version" "$countries_sha512"
    cp "$work"/package/geo-whois-asn-country.mmdb "$runtime/share/countries.mmdb"
    touch "$runtime/complete"
fi
ln -sfn "$runtime" "$checkout/.runtime"
