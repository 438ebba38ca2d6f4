#!/usr/bin/env bash
# Starts LocalStack, without Docker and without an account, and runs a command beside it. It ends with the command.
#
#     scripts/localstack.sh COMMAND [ARGUMENT...]
#
# The command finds the environment set that leads the AWS CLI, the SDKs and the hub there, and `aws` on its PATH. Both are in a network
# namespace of their own (scripts/alone.sh), because the DynamoDB listens on all addresses of the machine: a browser or a client outside
# reaches neither. What is needed is installed under target/localstack, once, but for Python 3.13, which has to be there.
#
# Functions are made and not run: that takes Docker. What LocalStack logged is in target/localstack/log then.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
tools=${CARGO_TARGET_DIR:-$root/target}/localstack

if [ "${1:-}" != --inside ]; then
    [ $# != 0 ] || { echo "usage: $0 COMMAND [ARGUMENT...]" >&2; exit 2; }
    pinned=$root/scripts/localstack/requirements.txt
    if ! cmp -s "$pinned" "$tools/installed"; then
        python=
        for candidate in python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3.13; do
            # A name on PATH may be one that only says how it could be had.
            if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then
                python=$candidate
                break
            fi
        done
        if [ -z "$python" ]; then
            echo "LocalStack 4.14.0 needs Python 3.13, and none is here: with 3.12 each call of its DynamoDB is an error. Debian 13 has it
(apt-get install python3.13-venv), so have pyenv (pyenv install 3.13), uv (uv python install 3.13) and GitHub's setup-python. Put
python3.13 on the PATH." >&2
            exit 1
        fi
        rm -rf "$tools"
        "$python" -m venv "$tools/venv"
        "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$pinned"
        mkdir "$tools/bin"
        ln -s ../venv/bin/aws "$tools/bin/aws"
        cp "$pinned" "$tools/installed"
    fi
    "$root/scripts/dynamodb-local.sh" >/dev/null
    # Nothing outside can be reached from there.
    CARGO_NET_OFFLINE=true exec "$root/scripts/alone.sh" "$0" --inside "$@"
fi
shift

unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
work=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

# Where it would install them, it finds its DynamoDB and its Java: the machine's own, without an agent that is not here.
lib=$work/var/lib/localstack/lib
mkdir -p "$lib/dynamodb-local" "$lib/java/21/bin"
ln -s "$("$root/scripts/dynamodb-local.sh")" "$lib/dynamodb-local/2"
cat >"$lib/java/21/bin/java" <<JAVA
#!/bin/bash
arguments=()
for argument in "\$@"; do
    case \$argument in
        -javaagent:*) ;;
        *) arguments+=("\$argument") ;;
    esac
done
exec $(readlink -f "$(command -v java)") "\${arguments[@]}"
JAVA
chmod +x "$lib/java/21/bin/java"

# The providers of version 2: with the others a table that has a stream is refused.
OVERRIDE_IN_DOCKER=0 FILESYSTEM_ROOT=$work GATEWAY_LISTEN=127.0.0.1:4566 SKIP_SSL_CERT_DOWNLOAD=1 DISABLE_EVENTS=1 DNS_ADDRESS=0 \
    EAGER_SERVICE_LOADING=0 DYNAMODB_IN_MEMORY=1 PROVIDER_OVERRIDE_DYNAMODB=v2 PROVIDER_OVERRIDE_DYNAMODBSTREAMS=v2 \
    "$tools/venv/bin/python" "$root/scripts/localstack/start.py" >"$work/log" 2>&1 &
server=$!
url=http://127.0.0.1:4566
if ! curl -sS -o "$work/health" --retry 60 --retry-connrefused --retry-delay 1 --retry-max-time 60 "$url/_localstack/health" 2>/dev/null; then
    echo "LocalStack has not started in a minute:" >&2
    tail -n 50 "$work/log" >&2
    exit 1
fi

export AWS_ENDPOINT_URL=$url AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
status=0
PATH=$tools/bin:$PATH "$@" || status=$?
cp "$work/log" "$tools/log"
exit "$status"
