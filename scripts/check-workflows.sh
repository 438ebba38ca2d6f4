#!/usr/bin/env bash
# Checks the workflows under .github/: that GitHub can read them, that every action is pinned by its commit and no job has
# more rights than it needs (zizmor), and what scripts/check-workflows.py says. Nothing of it talks to GitHub.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=target/check-workflows
scripts/python-tools.sh workflows "$tools"

"$tools/bin/python" scripts/check-workflows.py
"$tools/bin/python" scripts/check-workflows.py --self-test
python3 scripts/release/functions.py --self-test
python3 scripts/release/version.py --self-test
