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

work=$(mktemp -d)
hub=
finish() {
    [ -z "$hub" ] || kill "$hub" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap finish EXIT

export ACCESS_TOKEN_SECRET=a-secret-of-this-check-and-of-nothing-else
# Whatever the environment says of hubs and of proxies: this hub is as it comes, and on this machine.
unset MUSEHUB_IDS MUSEHUB_PUBLIC_URL MUSEHUB_PUSH_TO_CREATE MUSEHUB_ANONYMOUS_READS RUST_LOG
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
# The port is another each time, and pictures are to be the same.
[ -z "$screenshots" ] || export MUSEHUB_PUBLIC_URL=http://127.0.0.1:8787
CHROMIUM=$(command -v chromium)
export CHROMIUM PAGES_PACKAGES=$packages

"$MUSEHUB" serve --data "$work/data" --listen 127.0.0.1:0 >"$work/out" 2>"$work/err" &
hub=$!
for _ in $(seq 200); do
    grep -q 'Ctrl-C' "$work/out" && break
    if ! kill -0 "$hub" 2>/dev/null; then
        cat "$work/err" >&2
        exit 1
    fi
    sleep 0.1
done
if ! grep -q 'Ctrl-C' "$work/out"; then
    echo "the hub has not started in 20 seconds" >&2
    exit 1
fi
url=$(grep -om1 'http://127[0-9.:]*' "$work/out")
owner=$(grep -om1 'eyJ[A-Za-z0-9_.-]*' "$work/out")
other=$("$MUSEHUB" token --user user-ada)

failed=0
node scripts/pages/try.mjs "$url" "$owner" "$other" tests/samples ${screenshots:+"$screenshots"} || failed=1
if grep -n 'panicked\|ERROR' "$work/err"; then
    echo "the hub logged faults, see above" >&2
    failed=1
fi
if ! kill -0 "$hub" 2>/dev/null; then
    echo "the hub has ended" >&2
    failed=1
fi
exit "$failed"
