#!/usr/bin/env bash
# Builds a tool of cargo's from crates.io, once:
#
#     scripts/release/cargo-tool.sh CRATE VERSION FOLDER
set -euo pipefail
built=$3/$1-$2

if [ ! -e "$built" ]; then
    RUSTFLAGS='' cargo install --quiet --locked --force --root "$3" "$1@$2"
    touch "$built"
fi
