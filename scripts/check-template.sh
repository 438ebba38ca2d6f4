#!/usr/bin/env bash
# Checks template.yaml: against the code, then with the linters of SAM and CloudFormation. Nothing of it talks to AWS.
#
# The tools are installed under target/, once. Needs Python 3.11 and, the first time, PyPI.
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

# A region has to be named. No call is made with it, and nobody is told.
export AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0
"$tools/bin/python" scripts/check-template.py
"$tools/bin/python" scripts/check-template.py --self-test
"$tools/bin/cfn-lint" template.yaml
"$tools/bin/sam" validate --lint --template template.yaml
