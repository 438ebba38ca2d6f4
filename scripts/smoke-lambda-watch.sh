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
source scripts/lambda-watch.sh

cargo test --workspace --locked --no-run
scripts/cargo-lambda.sh --version

work=$(mktemp -d)
stores=
watch=
finish() {
    # First the functions, which use the stores.
    # shellcheck disable=SC2086 # where one is not there, it is not named
    end_all $watch $stores
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

PATH=$PWD/scripts/watched:$PATH start_watch "$work/env" "$work/watch" "${first_requests[@]}"

MUSEHUB_URL=$url MUSEHUB_SECRET=$ACCESS_TOKEN_SECRET \
    cargo test --workspace --locked --test contract -- --exact "${tests[@]}" || fail "the functions fail the tests"
