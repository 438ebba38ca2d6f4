#!/usr/bin/env bash
# cargo-lambda, in the version that deploys the hub: scripts/cargo-lambda.sh build --release, for example.
#
# It is installed under target/, once, with the linker that it brings.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

"$root/scripts/python-tools.sh" cargo-lambda "$root/target/cargo-lambda"
# Functions under `cargo lambda watch` are not optimised, and the frames of a request come near to the two mebibytes that a thread has by
# itself. What is not used takes no memory.
export RUST_MIN_STACK=${RUST_MIN_STACK:-8388608}
PATH=$root/target/cargo-lambda/bin:$PATH exec cargo-lambda lambda "$@"
