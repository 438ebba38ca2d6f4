#!/usr/bin/env bash
# Makes what deploys a hub to AWS without a toolchain: OUT/musehub-VERSION-aws.tar.gz, with the template, a zip for each
# function, and the scripts that docs/operate.md and docs/deploy.md name.
#
#     scripts/release/aws.sh OUT
#
# On arm64, like scripts/release/functions.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:?where to?}

folder=$out/musehub-$(python3 scripts/release/version.py)-aws
rm -rf "$folder"
scripts/release/functions.sh "$folder"
mkdir "$folder/scripts" "$folder/docs"
cp scripts/functions.sh scripts/prove-on-aws.sh scripts/restore-table.py "$folder/scripts"
cp docs/*.md "$folder/docs"
cp scripts/requirements/sam.txt "$folder/requirements.txt"
cp LICENSE CHANGELOG.md "$folder"
scripts/release/archive.sh "$folder"
