#!/usr/bin/env bash
# Holds the rights that template.yaml gives to each function to the calls that the end-to-end tests see it make: a call
# without a right fails, and so does a right without a call.
#
#     scripts/check-rights.sh          runs those tests
#     scripts/check-rights.sh FILE     takes the calls that a run of all tests has recorded in FILE, by MUSEHUB_RECORD_CALLS
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/template-tools.sh
calls=${1:-}
if [[ -z $calls ]]; then
    calls=$(mktemp)
    trap 'rm -f "$calls"' EXIT
    MUSEHUB_RECORD_CALLS=$calls cargo test --workspace --locked --quiet --test contract --test storage
fi
AWS_DEFAULT_REGION=us-east-1 target/check-template/bin/python scripts/check-template.py --calls "$calls"
