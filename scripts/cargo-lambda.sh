#!/usr/bin/env bash
# cargo-lambda, in the version that deploys the hub: scripts/cargo-lambda.sh build --release, for example.
#
# It is installed under target/, once, with the linker that it brings.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

"$root/scripts/python-tools.sh" cargo-lambda "$root/target/cargo-lambda"
PATH=$root/target/cargo-lambda/bin:$PATH exec cargo-lambda lambda "$@"
