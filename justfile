# What a developer runs. `just` lists it; https://just.systems says how to get `just`, or `pip install rust-just`.

[private]
default:
    @just --list --unsorted

# A hub on http://127.0.0.1:8787, with its data in .musehub.
serve *options:
    cargo run -- serve {{ options }}

# Compiles everything, tests and benchmarks too: the shortest way to see whether a change fits.
check:
    cargo check --workspace --all-targets --locked

# Formats, and lints as the gate does.
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Runs the tests whose names match, or all: `just test plan`.
test *names:
    cargo test --workspace --locked {{ names }}

# Spelling, licences, versions.
files:
    scripts/check-files.sh

# The workflows, and what they release.
workflows:
    scripts/check-workflows.sh

# Documentation with its links checked, as the gate does.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Takes what snapshots show now: look at the diff before it is committed.
snapshots *names:
    INSTA_UPDATE=always cargo test --workspace --locked {{ names }}

# Searches for inputs that break a promise: `just fuzz pack 300`, or `all` for each target in turn.
fuzz target seconds="60":
    scripts/fuzz.sh {{ target }} {{ seconds }}

# Times graph, packs and encodings: `just bench graph`. Say what changed with `-- --save-baseline` and `-- --baseline`.
bench *options:
    cargo bench -p benches {{ if options == "" { "" } else { "--bench " + options } }}

# Plays this number of seeds, each of several hubs and many clients in one thread.
simulate seeds="100":
    cargo run -p simulation -- --seeds {{ seeds }}

# Everything that has to pass before a change lands.
gate:
    .ci/run
