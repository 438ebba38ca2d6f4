#!/usr/bin/env bash
# Counts the instructions of pure work, and compares them with benches/instructions.txt. It fails when a piece of work takes over 2 %
# more than is kept there; and less, so that what is kept stays true.
#
#     scripts/check-instructions.sh             compare
#     scripts/check-instructions.sh --write     keep what is counted now
#
# A count says the same on every run, to some tenths of a percent (hash tables are seeded), on a busy machine too. It depends on the
# compiler, which rust-toolchain.toml fixes, on the profile of tests, and on what the processor can do: the C library is told to copy and
# compare in the same way on all of them, and the rest counts on AVX2. It needs Valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."

kept=benches/instructions.txt
if ! command -v valgrind >/dev/null; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends valgrind
fi
# As the gate builds, or the compiler would cut crates into other units.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=false
# With the tests, so that nothing is compiled for it but its own file.
cargo build --workspace --locked --tests --bin cost
program=${CARGO_TARGET_DIR:-target}/debug/cost

# https://www.gnu.org/software/libc/manual/html_node/Hardware-Capability-Tunables.html
export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-AVX512F,-ERMS,-FSRM,-SSE4_1,-SSE4_2,-SSSE3

# Prints how many instructions a piece of work takes.
count() {
    local said
    said=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='benches::work::counted*' \
        "$program" work "$1" 2>&1 </dev/null) || { printf '%s\n' "$said" >&2 && return 1; }
    sed -n 's/^.*Collected : \([1-9][0-9]*\)$/\1/p' <<<"$said"
}

counted=
while read -r work; do
    instructions=$(count "$work")
    if [ -z "$instructions" ]; then
        echo "$work: nothing was counted"
        exit 1
    fi
    counted+="$work: $instructions"$'\n'
done < <("$program" work)
if [ -z "$counted" ]; then
    echo "there are no pieces of work"
    exit 1
fi
if [ "${1:-}" = --write ]; then
    printf %s "$counted" >"$kept"
    exit
fi
printf %s "$counted" | awk -F ': ' -v kept="$kept" '
    BEGIN { while ((getline line < kept) > 0) { split(line, part, ": "); before[part[1]] = part[2] } }
    !($1 in before) { print $1 ": not in " kept; failed = 1; next }
    {
        percent = 100 * ($2 - before[$1]) / before[$1]
        printf "%-28s %12d instructions, %+.1f %%\n", $1, $2, percent
        if (percent > 2 || percent < -2) failed = 1
        delete before[$1]
    }
    END { for (work in before) { print work ": not counted"; failed = 1 } exit failed }
' || {
    echo "not what $kept says, by more than 2 %. Change what takes more, or keep the new counts in a commit that says why: $0 --write"
    exit 1
}
