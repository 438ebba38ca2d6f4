#!/usr/bin/env bash
# Installs what checks template.yaml under target/, once. Needs Python 3.11 and, the first time, PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=target/check-template
pinned="aws-sam-cli==1.170.0 aws-sam-translator==1.115.0 cfn-lint==1.58.0"
if [ "$(cat "$tools/pinned" 2>/dev/null)" != "$pinned" ]; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    # shellcheck disable=SC2086 # they are several
    "$tools/bin/pip" install --quiet --disable-pip-version-check $pinned
    echo "$pinned" >"$tools/pinned"
fi
