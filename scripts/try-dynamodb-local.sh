#!/usr/bin/env bash
# Runs the tests in which a DynamoDB may show that it is another over AWS's own DynamoDB Local, in the place of the embedded one.
#
#     scripts/try-dynamodb-local.sh          those named below, in half a minute
#     scripts/try-dynamodb-local.sh all      all storage tests, in some ten minutes
#
# It listens on all addresses of the machine and checks no client, so it runs in a network namespace of its own (scripts/alone.sh).
set -euo pipefail
cd "$(dirname "$0")/.."

tests=(
    # Conditions and transactions: pushes, names and branches that race, of which one wins; answers that are lost, and what is read
    # back then.
    races:: names:: staged:: turns:: domain::
    # What is there for one user and not for another, by the same calls; what calls are counted as.
    privacy:: observe:: stats:: health::
    # Items that are queried in pages: 10,000 branches, which are more than 1 MB.
    branches::a_repo_takes_10_000_branches
    # Items that are updated, and what a stream would say of them.
    events::
)
# Over HTTP: the largest items, cursors of webhooks of up to 330 KB of 400; a table that is made, that is not there, or is another's.
over_http=(elsewhere:: more_than_fits_in_a_line)
# Faults in front of the DynamoDB, in each call of each request: the same for any DynamoDB.
without=(tags_are_stored_through_any_fault for_every_failure)

if [ "${1:-}" != --inside ]; then
    cargo test --workspace --locked --no-run --quiet
    scripts/dynamodb-local.sh >/dev/null
    # What is needed is there, and nothing outside can be reached from there.
    CARGO_NET_OFFLINE=true exec scripts/alone.sh "$0" --inside "${1:-}"
fi

work=$(mktemp -d)
dynamodb=
finish() {
    [ -z "$dynamodb" ] || kill "$dynamodb" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap finish EXIT

unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY MUSEHUB_URL MUSEHUB_RECORD_CALLS
folder=$(scripts/dynamodb-local.sh)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
# One database for all access keys and regions.
java -Djava.library.path="$folder/DynamoDBLocal_lib" -jar "$folder/DynamoDBLocal.jar" \
    -inMemory -sharedDb -disableTelemetry -port "$port" >"$work/dynamodb" 2>&1 &
dynamodb=$!
# It answers a GET with 400.
if ! curl -sS -o /dev/null --retry 30 --retry-connrefused --retry-delay 1 --retry-max-time 30 "$url" 2>"$work/curl"; then
    echo "DynamoDB Local has not started in 30 seconds" >&2
    cat "$work/dynamodb" >&2
    exit 1
fi

export MUSEHUB_TEST_DYNAMODB=$url
if [ "${2:-}" = all ]; then
    cargo test --workspace --locked --test storage
    exit
fi
skipped=()
for name in "${without[@]}"; do
    skipped+=(--skip "$name")
done
cargo test --workspace --locked --quiet --test storage -- "${tests[@]}" "${skipped[@]}"
cargo test --workspace --locked --quiet --test contract -- "${over_http[@]}"
