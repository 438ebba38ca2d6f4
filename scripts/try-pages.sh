#!/usr/bin/env bash
# Looks at the web pages of a hub in a headless Chromium: fills a hub of its own with the histories of tests/samples, with one
# of 10,000 commits and with one that tries to be markup, and clicks through everything, with and without JavaScript.
#
#     scripts/try-pages.sh [--screenshots FOLDER]
#
# MUSEHUB names the binary to run; without it, it is built. Screenshots are PNG files of every page, 1280 pixels wide
# in light and dark, and 360 in light. What is needed is installed on first use: Chromium and Node.js by apt-get, two packages of npm under
# target/. PAGES_TIMES=1 says how long each part takes.
set -euo pipefail

screenshots=
if [ "${1:-}" = --screenshots ] && [ $# = 2 ]; then
    mkdir -p "$2"
    screenshots=$(realpath "$2")
elif [ $# != 0 ]; then
    echo "usage: $0 [--screenshots FOLDER]" >&2
    exit 2
fi
[ -z "${MUSEHUB:-}" ] || MUSEHUB=$(realpath "$MUSEHUB")
cd "$(dirname "$0")/.."

# What a machine has already is left alone.
missing=()
command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if [ ${#missing[@]} != 0 ]; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
node -e 'process.exit(process.versions.node.split(".")[0] >= 18 ? 0 : 1)' || { echo "this needs Node.js 18 or newer" >&2; exit 1; }

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
packages=$(cd "$target" && pwd)/try-pages
if ! cmp -s scripts/pages/package-lock.json "$packages/installed.json"; then
    rm -rf "$packages"
    mkdir -p "$packages"
    cp scripts/pages/package.json scripts/pages/package-lock.json "$packages/"
    npm ci --prefix "$packages" --ignore-scripts --no-audit --no-fund --loglevel=error
    cp scripts/pages/package-lock.json "$packages/installed.json"
fi

if [ -z "${MUSEHUB:-}" ]; then
    cargo build --workspace --bin musehub --locked
    MUSEHUB=$target/debug/musehub
fi

source scripts/hub.sh
# The port is another each time, and pictures are to be the same.
[ -z "$screenshots" ] || export MUSEHUB_PUBLIC_URL=http://127.0.0.1:8787
CHROMIUM=$(command -v chromium)
export CHROMIUM PAGES_PACKAGES=$packages

start_hub "$MUSEHUB" serve --data "$work/data" --listen 127.0.0.1:0
url=$(hub_url)
owner=$(hub_token)
other=$("$MUSEHUB" token --user user-ada)

failed=0
node scripts/pages/try.mjs "$url" "$owner" "$other" tests/samples ${screenshots:+"$screenshots"} || failed=1
hub_is_sound || failed=1
exit "$failed"
