#!/usr/bin/env bash
# Installs tools from PyPI under target/, once, as scripts/requirements/WANTED.txt names them, with their hashes:
#
#     scripts/python-tools.sh WANTED FOLDER
#
# Needs Python 3.11 and, the first time, PyPI.
set -euo pipefail
requirements=$(dirname "$0")/requirements/$1.txt
tools=$2

if ! cmp -s "$requirements" "$tools/installed"; then
    rm -rf "$tools"
    mkdir -p "$(dirname "$tools")"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r "$requirements"
    cp "$requirements" "$tools/installed"
fi
