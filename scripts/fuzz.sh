#!/usr/bin/env bash
# Searches for inputs that break a promise of a fuzz target, led by coverage, on the stable compiler.
#
#     scripts/fuzz.sh TARGET [SECONDS]
#
# The targets are the modules of fuzz/src. Without SECONDS it goes on until it finds something; `all` runs each target for
# SECONDS. What is found is written to fuzz/artifacts/: fix the fault, and keep the file under fuzz/regressions/TARGET, where
# `cargo test` repeats it from then on. cargo-fuzz is installed on first use, under target/; the first build takes minutes,
# because everything is built once more with the instructions that count coverage.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:?which target? One of fuzz/src, or all}
seconds=${2:-0}

built=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
tools=$built/tools
scripts/python-tools.sh fuzz "$tools"
export PATH=$tools/bin:$PATH

# The sanitizers need a nightly compiler, and look for what safe Rust does not have. The optimised profile of the workspace
# would take several times as long to build.
options=(--sanitizer none --dev --target-dir "$built")
cargo fuzz build "${options[@]}"
"$built"/*/debug/seeds

search() {
    mkdir -p "fuzz/corpus/$1" "fuzz/regressions/$1"
    cargo fuzz run "${options[@]}" "$1" "fuzz/corpus/$1" "fuzz/regressions/$1" -- \
        -max_len=65536 -timeout=20 -rss_limit_mb=4096 -max_total_time="$seconds" -print_final_stats=1
}

if [ "$target" = all ]; then
    for program in fuzz/fuzz_targets/*.rs; do
        search "$(basename "$program" .rs)"
    done
else
    search "$target"
fi
