#!/usr/bin/env bash
# Runs the hub on LocalStack, from nothing: without Docker, without an account, without the AWS CLI. Three parts, each of which may be named:
#
#     scripts/try-localstack.sh              all three
#     scripts/try-localstack.sh template     template.yaml, translated and deployed; what stands there, and what the stream says
#     scripts/try-localstack.sh serve        the contract tests over `musehub serve --stores env`, and over hubs of their own
#     scripts/try-localstack.sh watch        the same over the functions by themselves, under `cargo lambda watch`
#
# Further arguments behind a part that runs tests are names of tests, as cargo test takes them: only those are run.
#
# Needs Python 3.13, and installs everything else under target/: scripts/localstack.sh says what. What LocalStack does otherwise than AWS
# is in scripts/localstack/expected-failures.txt, and a LocalStack that gets better fails here, so that it is noticed.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" != --inside ]; then
    case ${1:-all} in
        all | template | serve | watch) ;;
        *) echo "usage: $0 [template | serve [TEST...] | watch [TEST...]]" >&2; exit 2 ;;
    esac
    cargo test --workspace --locked --no-run
    scripts/cargo-lambda.sh --version
    exec scripts/localstack.sh "$0" --inside "$@"
fi
shift
part=${1:-all}
[ $# = 0 ] || shift
only=("$@")

source scripts/lambda-watch.sh
work=$(mktemp -d)
hub=
watch=
finish() {
    # shellcheck disable=SC2086 # where one is not there, it is not named
    end_all $watch $hub
    rm -rf "$work"
}
trap finish EXIT
fail() {
    echo "$1" >&2
    tail -n 50 "$work"/*.log >&2
    exit 1
}

unset MUSEHUB_IDS MUSEHUB_PUBLIC_URL MUSEHUB_PUSH_TO_CREATE MUSEHUB_ANONYMOUS_READS MUSEHUB_RECORD_CALLS RUST_LOG
musehub=$(realpath "${CARGO_TARGET_DIR:-target}/debug/musehub")
export MUSEHUB_TABLE=musehub MUSEHUB_BUCKET=musehub
export ACCESS_TOKEN_SECRET=a-secret-of-this-check-and-of-nothing-else

# serve: a hub over LocalStack's stores; its process id in $hub, its URL in $url.
serve() {
    rm -f "$work/out"
    "$musehub" serve --stores env --make-stores --listen 127.0.0.1:0 --private-webhooks >"$work/out" 2>"$work/serve.log" &
    hub=$!
    for _ in $(seq 300); do
        ! grep -qs Ctrl-C "$work/out" || break
        kill -0 "$hub" 2>/dev/null || fail "the hub has ended"
        sleep 0.1
    done
    url=$(grep -om1 'http://127[0-9.:]*' "$work/out") || fail "the hub has not started"
}

# contract NAME [OPTION...]: the contract tests over the hub at $url. Which of them fail is what is expected of this NAME, or it fails.
contract() {
    local name=$1 log=$work/$1.tests what
    shift
    # Hubs of the tests' own have tables and buckets of their own.
    env -u AWS_ENDPOINT_URL -u MUSEHUB_TABLE -u MUSEHUB_BUCKET -u ACCESS_TOKEN_SECRET \
        MUSEHUB_URL="$url" MUSEHUB_SECRET="$ACCESS_TOKEN_SECRET" \
        MUSEHUB_TEST_DYNAMODB="$AWS_ENDPOINT_URL" MUSEHUB_TEST_S3="$AWS_ENDPOINT_URL" \
        cargo test --workspace --locked --test contract -- "${only[@]}" "$@" 2>&1 | tee "$log" || true
    grep -q '^test result: ' "$log" || fail "the tests did not run"
    sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | sort >"$work/failed"
    sed -n 's/^test \(.*\) \.\.\. ok$/\1/p' "$log" | sort >"$work/passed"
    sed -n "s/^$name //p" scripts/localstack/expected-failures.txt | sort >"$work/expected"
    what=$(comm -23 "$work/failed" "$work/expected")
    [ -z "$what" ] || { printf 'these fail over LocalStack, %s, and should not:\n%s\n' "$name" "$what" >&2; status=1; }
    what=$(comm -12 "$work/passed" "$work/expected")
    [ -z "$what" ] || { printf 'these pass over LocalStack, %s: take them out of scripts/localstack/expected-failures.txt:\n%s\n' "$name" "$what" >&2; status=1; }
    echo "$name: $(wc -l <"$work/passed") passed, $(wc -l <"$work/failed") failed, of which $(comm -12 "$work/failed" "$work/expected" | wc -l) as expected"
}

status=0
case $part in template | all)
    "${CARGO_TARGET_DIR:-target}/localstack/venv/bin/python" scripts/localstack/template.py "$musehub" || status=1
    ;;
esac
case $part in serve | all)
    serve
    contract serve
    end_all "$hub"
    ;;
esac
case $part in watch | all)
    # The table, the bucket and the user.
    serve
    end_all "$hub"
    (
        umask 077
        env | grep '^AWS_' >"$work/env"
        printf '%s\n' "MUSEHUB_TABLE=$MUSEHUB_TABLE" "MUSEHUB_BUCKET=$MUSEHUB_BUCKET" \
            MUSEHUB_PUSH_TO_CREATE=public "ACCESS_TOKEN_SECRET=$ACCESS_TOKEN_SECRET" >>"$work/env"
    )
    start_watch "$work/env" "$work/watch.log" "${first_requests[@]}" "${more_requests[@]}"
    # What has hubs of its own, or needs none, has run.
    skipped=()
    for module in compaction deployment documentation elsewhere hostile house lenient proxy; do
        skipped+=(--skip "$module::")
    done
    # `cargo lambda watch` sends what is streamed without its Content-Length, so no ranges of objects; and after a 304 of a stream it may
    # close the connection that the function asks for the next request on, which ends the function, and so every test behind it.
    skipped+=(--skip object:: --skip http:: --skip pages::raw_files_run_nothing)
    # It runs a function once, which has one request at a time. A clone that nobody reads holds up all others there, for ever; on Lambda
    # each has a process.
    skipped+=(--skip crowds::more_clones_of_which_nothing_is_read_than_may_read_the_storage_hold_up_no_other)
    contract watch "${skipped[@]}"
    ;;
esac
exit "$status"
