#!/usr/bin/env bash
# Builds `musehub` as it is published: one file that needs no library, with the list of the crates in it and no symbols.
#
#     scripts/release/binary.sh TARGET OUT
#
# TARGET is x86_64-unknown-linux-musl or aarch64-unknown-linux-musl, on a machine of that processor with musl-gcc (Debian's
# musl-tools). Writes OUT/musehub-VERSION-TARGET.tar.gz, where `cargo binstall` looks for it (local/Cargo.toml).
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${1:?which target?} out=${2:?where to?}

# With the list `cargo audit bin` looks faults up in a file that was published long ago.
tools=$PWD/target/release-tools
scripts/release/cargo-tool.sh cargo-auditable 0.7.7 "$tools"
export PATH=$tools/bin:$PATH

case $target in
*-musl)
    rustup target add "$target"
    # SQLite, zstd and ring are C.
    export "CC_${target//-/_}=musl-gcc"
    ;;
esac
# What `cargo build --release` keeps beside that, lines for backtraces, is nine tenths of the file.
export CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_STRIP=symbols
export RUSTFLAGS="-C target-feature=+crt-static"
cargo auditable build --release --locked --package local --target "$target"
binary=${CARGO_TARGET_DIR:-target}/$target/release/musehub

if readelf --program-headers "$binary" | grep -q INTERP; then
    echo "$binary needs libraries of the system" >&2
    exit 1
fi

folder=$out/musehub-$(python3 scripts/release/version.py)-$target
rm -rf "$folder"
mkdir -p "$folder"
cp "$binary" LICENSE CHANGELOG.md README.md "$folder"
scripts/release/archive.sh "$folder"
