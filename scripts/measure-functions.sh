#!/usr/bin/env bash
# Measures the functions as they are deployed: how large they are, how fast they start and answer, what memory they take.
#
#     scripts/measure-functions.sh [FUNCTION...]
#     scripts/measure-functions.sh --built
#
# All functions unless some are named. They are built for this machine's processor with the profile that `sam build`
# uses, which takes minutes for each, and run against a stand-in of Lambda's runtime API and the stores of
# `musehub backends`. Prints a table, and fails when a function does not answer, or a zip is larger than 3.6 MB (4 MB of `web`).
# With --built it takes what scripts/release/functions.sh has built, and a zip that is too large is a warning. Times depend on
# the machine: one that is over its mark is only marked.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
built=()
functions=("$@")
if [ "${1:-}" = --built ]; then
    built=(--warn)
    functions=()
fi
if [ ${#functions[@]} = 0 ]; then
    for manifest in functions/*/Cargo.toml; do
        functions+=("$(basename "$(dirname "$manifest")")")
    done
fi
if [ ${#built[@]} = 0 ]; then
    # Each in its own folder, as SAM does it, so that it gets the features that it asks for and no other's.
    for function in "${functions[@]}"; do
        (cd "functions/$function" && ../../scripts/cargo-lambda.sh build --release --locked --bin "$function")
    done
fi
cargo build --locked --bin musehub

python3 scripts/measure-functions.py "${built[@]}" "$target" "${functions[@]}"
