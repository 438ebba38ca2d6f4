#!/usr/bin/env bash
# Checks a hub against its OpenAPI document: draws requests from the document, such as it allows and such as it does not,
# and looks at every answer. The same requests every time, on this machine alone, in about a minute.
#
#     scripts/schemathesis.sh [BINARY [OPTION...]]
#
# BINARY is target/debug/musehub unless given; the options go to `schemathesis run`. OPENAPI_DOCUMENT may name a file to
# check the hub against, in the place of the document that it gives. MUSEHUB_TEST_CASES=all draws three times as many requests,
# as by night. What is needed is installed on first use, under target/.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
binary=${1:-$target/debug/musehub}
shift || true
here=$PWD/scripts/openapi
mkdir -p "$target"
venv=$(cd "$target" && pwd)/schemathesis

install() {
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        local as_root=()
        [ "$(id -u)" = 0 ] || as_root=(sudo)
        "${as_root[@]}" apt-get update -qq
        "${as_root[@]}" apt-get install -qq -y python3 python3-venv
    fi
    python3 -c 'import sys; sys.version_info >= (3, 11) or sys.exit("this needs Python 3.11 or newer")'
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
}
cmp -s "$here/requirements.txt" "$venv/installed.txt" || install

source scripts/hub.sh
start_hub "$binary" serve --memory --listen 127.0.0.1:0
url=$(hub_url)
owner=$(hub_token)
other=$("$binary" token --user user-ada)

document=$url/openapi.json
[ -z "${OPENAPI_DOCUMENT:-}" ] || document=$(realpath "$OPENAPI_DOCUMENT")

# Without a seed Python iterates over sets as it likes.
export PYTHONHASHSEED=0
export MUSEHUB_STATE=$work/state.json MUSEHUB_SEEN=$work/seen PYTHONPATH=$here SCHEMATHESIS_HOOKS=hooks
"$venv/bin/python" "$here/state.py" "$url" "$owner" "$other" >"$MUSEHUB_STATE"

# ask NAME EXAMPLES [OPTION...]: one run, as one caller.
failed=0
end=$((SECONDS + 360))
less=$([ "${MUSEHUB_TEST_CASES:-}" = all ] && echo 1 || echo 3)
ask() {
    local name=$1 examples=$((($2 + less - 1) / less)) status=0
    shift 2
    echo "--- asked by $name"
    # In a folder of its own, because it leaves files where it runs.
    (
        cd "$work"
        timeout "$((end > SECONDS ? end - SECONDS : 1))" \
            "$venv/bin/schemathesis" --config-file "$here/schemathesis.toml" run "$document" \
            --url "$url" --warnings off --max-examples "$examples" "$@"
    ) || status=$?
    [ "$status" = 0 ] || failed=1
    [ "$status" != 124 ] || echo "this takes more than six minutes, and is given up" >&2
}
ask 'the owner' 50 --header "Authorization: Bearer $owner" "$@"
ask 'a user who may only read' 15 --header "Authorization: Bearer $other" "$@"
ask 'a client without a token' 15 "$@"
ask 'a client with a bad token' 1 --header 'Authorization: Bearer bad' --phases examples "$@"

if [ $# = 0 ]; then
    "$venv/bin/python" "$here/seen.py" "$document" "$MUSEHUB_SEEN" || failed=1
fi
hub_is_sound || failed=1
exit "$failed"
