#!/usr/bin/env bash
# Holds the rights that template.yaml gives to each function to the calls that the end-to-end tests see it make: a call
# without a right fails, and so does a right without a call. Takes as long as those tests.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/template-tools.sh
calls=$(mktemp)
trap 'rm -f "$calls"' EXIT
MUSEHUB_RECORD_CALLS=$calls cargo test --workspace --locked --quiet --test contract --test storage
AWS_DEFAULT_REGION=us-east-1 target/check-template/bin/python scripts/check-template.py --calls "$calls"
