#!/usr/bin/env bash
# Runs a few of the contract tests against the functions by themselves: under `cargo lambda watch`, which runs them as
# Lambda does, over the stores of `musehub backends`. What it shows is that the functions start, that the routes in
# Cargo.toml lead to them, and that their events, environment and streams are right; the rest, the other tests show.
set -euo pipefail
cd "$(dirname "$0")/.."

# No ranges of objects: `cargo lambda watch` sends what is streamed without its Content-Length.
# And no 304: after one of a stream it may close the connection that the function asks for the next request on, which ends it.
tests=(
    round_trips::all_four_pairings_of_encodings_carry_the_same_history
    round_trips::empty_files_and_empty_snapshots_are_kept
    fetch::an_increment_brings_exactly_its_new_files
    push::a_diverged_push_is_refused_in_the_words_that_clients_know
    object::every_object_of_a_history_is_served
    tags::tags_come_back_as_they_were_sent
    pages::every_page_is_safe_whatever_was_pushed
)
# A request for each function that they need, so that none of them waits for the compiler. What it answers is not looked at.
first_requests=(
    "GET /health"
    "POST /api/identities"
    "POST /api/repos"
    "GET /dev/song/refs"
    "POST /dev/song/filter-objects"
    "POST /dev/song/presign"
    "POST /dev/song/push/objects"
    "POST /dev/song/push"
    "POST /dev/song/fetch"
    "GET /o/none"
    "GET /dev/song/tags"
    "POST /dev/song/releases"
    "GET /dev/song/log"
)
# Seconds, for the compiler and everything else.
patience=600

cargo test --workspace --locked --no-run
scripts/cargo-lambda.sh --version

work=$(mktemp -d)
stores=
watch=
finish() {
    # First the functions, which use the stores. A function whose runtime API is gone ends by itself, if it comes to that.
    for process in $watch $stores; do
        kill "$process" 2>/dev/null || true
        for _ in $(seq 100); do
            kill -0 "$process" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$process" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT
fail() {
    echo "$1" >&2
    tail -n 100 "$work/watch" "$work/stores" >&2
    exit 1
}

# Whatever the environment says of hubs and of proxies: these are on this machine.
unset MUSEHUB_IDS MUSEHUB_PUBLIC_URL http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
export ACCESS_TOKEN_SECRET=a-secret-of-this-check-and-of-nothing-else

"${CARGO_TARGET_DIR:-target}/debug/musehub" backends --data "$work/data" --env "$work/env" >"$work/stores" 2>&1 &
stores=$!
for _ in $(seq 200); do
    [ ! -e "$work/env" ] || break
    sleep 0.1
done
[ -e "$work/env" ] || fail "the stores do not start"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
# With the feature that the tests ask for, so that the compiler finds all but the functions themselves done.
scripts/cargo-lambda.sh watch --invoke-address 127.0.0.1 --invoke-port "$port" --env-file "$work/env" \
    --ignore-changes --features tokio/test-util >"$work/watch" 2>&1 &
watch=$!
for request in "${first_requests[@]}"; do
    read -r method path <<<"$request"
    status=$(curl -sS -o /dev/null -w '%{http_code}' --retry 60 --retry-connrefused --retry-delay 1 \
        --max-time "$patience" -X "$method" "$url$path") || fail "$request is not answered"
    [ "$status" -lt 500 ] || fail "$request is answered with $status"
    kill -0 "$watch" 2>/dev/null || fail "cargo lambda watch has ended"
done

MUSEHUB_URL=$url MUSEHUB_SECRET=$ACCESS_TOKEN_SECRET \
    cargo test --workspace --locked --test contract -- --exact "${tests[@]}" || fail "the functions fail the tests"
