#!/usr/bin/env bash
# Checks template.yaml: against the code, then with the linters of SAM and CloudFormation. Nothing of it talks to AWS.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/template-tools.sh
tools=target/check-template

# A region has to be named. No call is made with it, and nothing is sent.
export AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0
"$tools/bin/python" scripts/check-template.py
"$tools/bin/python" scripts/check-template.py --self-test
scripts/check-functions.sh
"$tools/bin/cfn-lint" template.yaml waf.yaml
"$tools/bin/sam" validate --lint --template template.yaml
