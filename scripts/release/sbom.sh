#!/usr/bin/env bash
# Lists what a release is made of, as CycloneDX: OUT/musehub-VERSION.cdx.json.
#
#     scripts/release/sbom.sh OUT
#
# It is the list of `musehub`, which has every function in it: no function is linked with a crate that is not there.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "${1:?where to?}"
out=$(realpath "$1")/musehub-$(python3 scripts/release/version.py).cdx.json

tools=$PWD/target/release-tools
scripts/release/cargo-tool.sh cargo-cyclonedx 0.5.9 "$tools"

# It writes a list beside each crate of a workspace, so it gets a copy.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git archive HEAD | tar --extract --directory "$work"
export SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
(cd "$work" && PATH=$tools/bin:$PATH cargo cyclonedx --quiet --manifest-path local/Cargo.toml --format json --spec-version 1.5 \
    --target x86_64-unknown-linux-musl --no-build-deps --override-filename sbom)

python3 - "$work" "$out" <<'PYTHON'
import json, pathlib, sys

work, out = map(pathlib.Path, sys.argv[1:])
text = (work / "local/sbom.json").read_text()


def crates(text):
    return {each["purl"].split("?")[0] for each in json.loads(text)["components"]}


known = crates(text)
for path in (work / "functions").glob("*/sbom.json"):
    if missing := crates(path.read_text()) - known:
        sys.exit(f"{path.parent.name} has what musehub has not: {', '.join(sorted(missing))}")
# Crates of the workspace are named by their folder.
out.write_text(text.replace(str(work), "/musehub"))
PYTHON
