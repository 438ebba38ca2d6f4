#!/usr/bin/env bash
# Looks up the known faults of what is linked, in RustSec's list, which is fetched from GitHub:
#
#     scripts/advisories.sh              of this commit
#     scripts/advisories.sh BINARY...    of what was published: scripts/release/binary.sh puts the list of its crates into it
#
# Both tools read the same list. cargo-deny looks at what is linked where hubs run, and at yanked versions; cargo-audit at all of
# Cargo.lock, what other systems and tests would link too, and it alone reads binaries.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=${CARGO_TARGET_DIR:-$PWD/target}
scripts/python-tools.sh files "$tools/check-files"
scripts/python-tools.sh audit "$tools/audit"
if [ $# = 0 ]; then
    PATH=$tools/check-files/bin:$PATH cargo deny --locked check advisories
    PATH=$tools/audit/bin:$PATH cargo audit --deny warnings
else
    # Bytes. By itself it refuses a file of over 100 MB; 0 is not "unlimited", as its help has it.
    PATH=$tools/audit/bin:$PATH cargo audit --deny warnings bin --max-binary-size 1000000000 "$@"
fi
