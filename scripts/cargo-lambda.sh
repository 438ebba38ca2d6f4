#!/usr/bin/env bash
# cargo-lambda, in the version that deploys the hub: scripts/cargo-lambda.sh build --release, for example.
#
# It is installed under target/, once, with the linker that it brings. Needs Python 3.11 and, the first time, PyPI.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

tools=$root/target/cargo-lambda
pinned=cargo-lambda==1.9.2
if [ "$(cat "$tools/pinned" 2>/dev/null)" != "$pinned" ]; then
    rm -rf "$tools"
    mkdir -p "$root/target"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "$pinned"
    echo "$pinned" >"$tools/pinned"
fi

PATH=$tools/bin:$PATH exec cargo-lambda lambda "$@"
