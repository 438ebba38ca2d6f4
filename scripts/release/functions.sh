#!/usr/bin/env bash
# Builds all functions as they are deployed, and what deploys them without a toolchain: OUT/template.yaml, OUT/functions/*.zip.
#
#     scripts/release/functions.sh OUT
#
# On a machine with the processor that the template names, arm64. One run of cargo builds those that ask for the same
# features of their dependencies: their dependencies once, then each function as a whole, as many at a time as there are
# processors.
set -euo pipefail
out=${1:?where to?}
[ "$(uname -m)" = aarch64 ] || {
    echo "functions are released for arm64, and built on it: this machine is $(uname -m). To deploy from here: docs/deploy.md" >&2
    exit 1
}
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root"

# `deliver` alone has the server of hyper, which would come into all others if it were built with them.
packages=()
while read -r function; do
    [ "$function" = deliver ] || packages+=(--package "$function")
done < <(python3 scripts/release/functions.py names)
scripts/cargo-lambda.sh build --release --locked "${packages[@]}"
scripts/cargo-lambda.sh build --release --locked --package deliver

python3 scripts/release/functions.py zip "${CARGO_TARGET_DIR:-target}" "$out"
