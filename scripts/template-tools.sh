#!/usr/bin/env bash
# Installs what checks template.yaml under target/, once.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/python-tools.sh sam target/check-template
