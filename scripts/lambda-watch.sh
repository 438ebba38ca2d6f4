# shellcheck shell=bash
# The functions by themselves, under `cargo lambda watch`, which runs them as Lambda does. To be sourced, not run.

# Seconds, for the compiler and everything else.
patience=600
# A request for each function, so that none of them is asked in earnest before it is compiled. What it answers is not looked at.
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
# Those that the tests of scripts/smoke-lambda-watch.sh do without.
more_requests=(
    "POST /dev/song/negotiate"
    "POST /dev/song/uploads"
    "GET /api/repos/dev/song/branches"
    "GET /api/repos/dev/song/stats"
    "GET /api/repos/dev/song/webhooks"
    "GET /api/tokens"
    "GET /openapi.json"
)

# start_watch ENVIRONMENT-FILE LOG REQUEST...: returns when the functions that these requests lead to have answered, with its process id in
# $watch and its URL in $url.
start_watch() {
    local environment=$1 log=$2 port request method path status
    shift 2
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    url=http://127.0.0.1:$port
    # With a feature that the tests ask for, so that the compiler finds more of the dependencies done.
    scripts/cargo-lambda.sh watch --invoke-address 127.0.0.1 --invoke-port "$port" --env-file "$environment" \
        --ignore-changes --features tokio/test-util >"$log" 2>&1 &
    watch=$!
    for request in "$@"; do
        read -r method path <<<"$request"
        status=$(curl -sS -o /dev/null -w '%{http_code}' --retry 60 --retry-connrefused --retry-delay 1 \
            --max-time "$patience" -X "$method" "$url$path") || fail "$request is not answered"
        [ "$status" -lt 500 ] || fail "$request is answered with $status"
        kill -0 "$watch" 2>/dev/null || fail "cargo lambda watch has ended"
    done
}

# Ends processes, in this order. A function whose runtime API is gone ends by itself, if it comes to that.
end_all() {
    local process
    for process in "$@"; do
        kill "$process" 2>/dev/null || true
        for _ in $(seq 100); do
            kill -0 "$process" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$process" 2>/dev/null || true
    done
}
