# shellcheck shell=bash
# A hub that a check starts for itself, on this machine and whatever port is free. To be sourced, not run: it makes the
# folder $work, which goes when the script ends, as does the hub. The environment's settings of hubs and proxies are unset.

work=$(mktemp -d)
hub=
finish() {
    [ -z "$hub" ] || kill "$hub" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap finish EXIT

export ACCESS_TOKEN_SECRET=a-secret-of-this-check-and-of-nothing-else
unset MUSEHUB_IDS MUSEHUB_PUBLIC_URL MUSEHUB_PUSH_TO_CREATE MUSEHUB_ANONYMOUS_READS RUST_LOG
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY

# start_hub MUSEHUB SUBCOMMAND [OPTION...]: returns when it listens, with its process id in $hub and its output in
# $work/out and $work/err.
start_hub() {
    rm -f "$work/out"
    "$@" >"$work/out" 2>"$work/err" &
    hub=$!
    for _ in $(seq 200); do
        ! grep -qs 'Ctrl-C' "$work/out" || return 0
        kill -0 "$hub" 2>/dev/null || break
        sleep 0.1
    done
    echo "$1 $2 has not started in 20 seconds" >&2
    cat "$work/err" >&2
    exit 1
}

# What `serve` prints of itself: where it listens, and its owner's token.
hub_url() {
    grep -om1 'http://127[0-9.:]*' "$work/out"
}
hub_token() {
    grep -om1 'eyJ[A-Za-z0-9_.-]*' "$work/out"
}

# Fails if the hub logged a fault or has ended.
hub_is_sound() {
    local status=0
    if grep -n 'panicked\|ERROR' "$work/err"; then
        echo "the hub logged faults, see above" >&2
        status=1
    fi
    if ! kill -0 "$hub" 2>/dev/null; then
        echo "the hub has ended" >&2
        status=1
    fi
    return "$status"
}
