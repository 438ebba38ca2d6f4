#!/usr/bin/env bash
# Measures the functions as they are deployed: how large they are, how fast they start and answer, what memory they take.
#
#     scripts/measure-functions.sh [--warn] [FUNCTION...]
#
# All functions unless some are named. They are built for this machine's processor with the profile that `sam build`
# uses, which takes minutes for each, and run against a stand-in of Lambda's runtime API and the stores of
# `musehub backends`. Prints a table, and fails when a function does not answer, or a zip is larger than 3 MB (4 MB of `web`);
# with --warn the second is a warning. Times depend on the machine: one that is over its mark is only marked.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
warn=()
if [ "${1:-}" = --warn ]; then
    warn=(--warn)
    shift
fi
functions=("$@")
if [ $# = 0 ]; then
    for manifest in functions/*/Cargo.toml; do
        functions+=("$(basename "$(dirname "$manifest")")")
    done
fi
# Each in its own folder, as SAM does it, so that it gets the features that it asks for and no other's.
for function in "${functions[@]}"; do
    (cd "functions/$function" && ../../scripts/cargo-lambda.sh build --release --locked --bin "$function")
done
cargo build --locked --bin musehub

python3 scripts/measure-functions.py "${warn[@]}" "$target" "${functions[@]}"
