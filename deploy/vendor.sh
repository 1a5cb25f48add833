#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Write static/vendor from the pinned packages of deploy/vendor/package-lock.json.
#
#   deploy/vendor.sh          write static/vendor
#   deploy/vendor.sh --check  write nothing; fail when static/vendor differs
#
# npm is needed for this script only; nothing at run time comes from it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$here/../static/vendor
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

cp "$here/vendor/package.json" "$here/vendor/package-lock.json" "$build"
(cd "$build" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)

out=$build/vendor
mkdir "$out"
: >"$out/MANIFEST"

# take PACKAGE FILE NAME LICENCE-FILE: copy one file and its licence, and note both.
take() {
    package=$build/node_modules/$1
    version=$(sed -n 's/^ *"version": "\([^"]*\)".*/\1/p' "$package/package.json" | head -n 1)
    licence=$(sed -n 's/^ *"license": "\([^"]*\)".*/\1/p' "$package/package.json" | head -n 1)
    stem=${3%%.*}-$version
    file=$stem.${3#*.}
    # URLs in a head comment name package registries, which aren't needed here.
    sed '1,8s# (https\{0,1\}://[^)]*)##g' "$package/$2" >"$out/$file"
    cp "$package/$4" "$out/$stem.LICENSE"
    for kept in "$file" "$stem.LICENSE"; do
        sum=$(sha256sum "$out/$kept" | cut -d ' ' -f 1)
        printf '%s  %s  %s %s  %s\n' "$sum" "$kept" "$1" "$version" "$licence" >>"$out/MANIFEST"
    done
}

take @picocss/pico css/pico.min.css pico.min.css LICENSE.md
take htmx.org dist/htmx.min.js htmx.min.js LICENSE
take tus-js-client dist/tus.min.js tus.min.js LICENSE
take hash-wasm dist/sha256.umd.min.js sha256.umd.min.js LICENSE

chmod 644 "$out"/*
if [ "${1:-}" = --check ]; then
    diff -r "$out" "$target" || {
        echo "static/vendor differs from what deploy/vendor.sh writes. Run it and check the difference." >&2
        exit 1
    }
    echo "static/vendor is what the pinned packages hold."
else
    rm -rf "$target"
    mv "$out" "$target"
fi
