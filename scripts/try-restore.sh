#!/usr/bin/env bash
# Tries out on the embedded stores what docs/operate.md says of restoring: an earlier table over the bucket of today, a pack
# that was deleted and comes back, scripts/restore-table.py, another token secret. Prints ok or FAILED for each.
#
#   scripts/try-restore.sh [<musehub>]
#
# The program is target/debug/musehub unless it is named. Versions of a bucket are not tried: the embedded S3 has none.
# Needs bash, curl, jq and sha256sum, and for boto3 what scripts/check-template.sh installs.
set -euo pipefail
cd "$(dirname "$0")/.."

musehub=$(realpath "${1:-target/debug/musehub}")
python=$PWD/target/check-template/bin/python
restore_table=$PWD/scripts/restore-table.py
source scripts/hub.sh
unset ACCESS_TOKEN_SECRET
data=$work/data
failed=0

# ---- Running ---------------------------------------------------------------------------------------------------------

run() { # <subcommand and options>
    start_hub "$musehub" "$@" --data "$data"
}
stop() {
    kill "$hub"
    wait "$hub" || true
    hub=
}
serve() {
    run serve --listen 127.0.0.1:0
    url=$(hub_url)
    token=$(hub_token)
}
check() { # <what> <command>
    local what=$1
    shift
    if "$@"; then
        printf 'ok      %s\n' "$what"
    else
        failed=1
        printf 'FAILED  %s\n' "$what"
    fi
}

# ---- Pushing and cloning ---------------------------------------------------------------------------------------------

hash_of() {
    sha256sum | cut -c 1-64
}
push() { # <what the one file holds, and the commit's message> <parent or nothing>; the commit in $commit
    local object snapshot at=2026-01-01T00:00:00Z
    object=$(printf %s "$1" | hash_of)
    snapshot=$(printf 'a.txt\0%s' "$object" | hash_of)
    commit=$(printf '%s\0%s\0%s\0%s' "$2" "$snapshot" "$1" "$at" | hash_of)
    jq -cn --arg text "$1" --arg object "$object" --arg snapshot "$snapshot" --arg commit "$commit" --arg parent "$2" \
        --arg at "$at" '{
            bundle: {
                commits: [{commit_id: $commit, snapshot_id: $snapshot, message: $text, committed_at: $at, branch: "main",
                           parent_commit_id: (if $parent == "" then null else $parent end), parent2_commit_id: null}],
                snapshots: [{snapshot_id: $snapshot, manifest: {"a.txt": $object}, created_at: $at}],
                objects: [{object_id: $object, content_b64: ($text | @base64)}]},
            branch: "main", force: false}' |
        curl -fsS -o "$work/pushed" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
            --data-binary @- "$url/dev/${repo:-song}/push"
}
clone() { # all commits and all objects
    local head
    head=$(curl -fsS "$url/dev/${repo:-song}/refs" | jq -r '.branch_heads.main // empty')
    curl -sS -H 'Content-Type: application/json' -d "{\"want\": [\"$head\"], \"have\": []}" "$url/dev/${repo:-song}/fetch" |
        jq -cS '.error // [[.commits[].message], [.objects[].content_b64 | @base64d]]'
}
clones() { # <what it has to be>
    [ "$(clone)" = "$1" ]
}

# ---- An earlier table, the bucket of today ---------------------------------------------------------------------------

serve
push one ''
push two "$commit"
second=$commit
two='[["one","two"],["one","two"]]'
check "a clone has two commits" clones "$two"
stop
cp "$data/dynamodb.sqlite" "$work/earlier.sqlite"

serve
push three "$second"
check "a push later it has three" clones '[["one","two","three"],["one","two","three"]]'
stop

cp "$work/earlier.sqlite" "$data/dynamodb.sqlite"
serve
check "with the table of before, a clone is what it was before" clones "$two"
push four "$second"
four='[["one","two","four"],["one","two","four"]]'
check "and another push lands on it" clones "$four"
stop

# ---- A pack that is deleted and comes back ---------------------------------------------------------------------------

pack=$(find "$data/s3/buckets" -name 'packs*' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-)
mv "$pack" "$work/deleted.pack"
serve
check "without one of its packs, a clone is an error and not less than it was" clones '"internal_error"'
stop
mv "$work/deleted.pack" "$pack"
serve
check "with the pack back, it is what it was" clones "$four"
repo=other push five ''
stop

# ---- restore-table.py ------------------------------------------------------------------------------------------------

tables() { # <command>; with the environment that leads to the stores
    run backends --env "$work/env"
    (
        # AWS_REGION for restore-table.py, and AWS_DEFAULT_REGION for boto3 by itself.
        set -a
        # shellcheck disable=SC1091 # it is written above
        . "$work/env"
        AWS_DEFAULT_REGION=$AWS_REGION
        "$@"
    )
    stop
}
copy_table() {
    "$python" - "$MUSEHUB_TABLE" <<'PYTHON'
import sys
import boto3
dynamodb = boto3.client("dynamodb")
keys = [("pk", "HASH"), ("sk", "RANGE")]
dynamodb.create_table(
    TableName="restored",
    BillingMode="PAY_PER_REQUEST",
    AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
    KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
)
for page in dynamodb.get_paginator("scan").paginate(TableName=sys.argv[1]):
    for item in page["Items"]:
        dynamodb.put_item(TableName="restored", Item=item)
secret = {"pk": "SECRET", "sk": "TOKENS", "secret": "one that was given up"}
dynamodb.put_item(TableName="restored", Item={name: {"S": value} for name, value in secret.items()})
PYTHON
}
restore() {
    "$python" "$restore_table" --from restored --table "$MUSEHUB_TABLE" --bucket "$MUSEHUB_BUCKET" "$@" >"$work/said"
}
says() { # <line>
    grep -qx "$1" "$work/said"
}
push_more() {
    push six "$(curl -fsS "$url/dev/song/refs" | jq -r .branch_heads.main)"
    repo=other push seven "$(curl -fsS "$url/dev/other/refs" | jq -r .branch_heads.main)"
    repo=new push eight ''
}

tables copy_table
serve
push_more
stop

tables restore --repo dev/song
# Of one push: the branch to put back, the pack and the line of the log to delete.
check "one repository differs by its last push" says "1 items to put back, 2 to delete"
serve
check "nothing is changed without --write" clones '[["one","two","four","six"],["one","two","four","six"]]'
stop
tables restore --repo dev/song --write
serve
check "one repository is what it was" clones "$four"
repo=other check "and others are as they are" clones '[["five","seven"],["five","seven"]]'
push six "$(curl -fsS "$url/dev/song/refs" | jq -r .branch_heads.main)"
check "the push that was undone can be made again" clones '[["one","two","four","six"],["one","two","four","six"]]'
stop

tables restore
# The branches of two repositories; two packs, two lines of the log, and six items of the new repository.
check "of the whole table all pushes since then differ, and the secret of the copy stays out" \
    says "2 items to put back, 10 to delete"
tables restore --write
serve
check "then the whole table is" clones "$four"
repo=other check "with all its repositories" clones '[["five"],["five"]]'
is_gone() {
    [ "$(curl -sS -o "$work/body" -w '%{http_code}' "$url/dev/new/refs")" = 404 ]
}
check "a repository that was made since is gone" is_gone
stop
tables restore
check "and there is nothing left to do" says "0 items to put back, 0 to delete"

# ---- Another token secret --------------------------------------------------------------------------------------------

answers() { # <token> <status>
    [ "$(curl -sS -o "$work/body" -w '%{http_code}' -H "Authorization: Bearer $1" "$url/dev/song/refs")" = "$2" ]
}
serve
old=$token
check "a token is good" answers "$old" 200
stop
"$musehub" secret rotate --data "$data"
serve
check "still when there is another secret before it" answers "$old" 200
check "and a new one is too" answers "$token" 200
stop
"$musehub" secret drop --data "$data"
serve
check "not any more when its secret is dropped" answers "$old" 401
old=$token
stop
rm "$data/secret"
serve
check "not any more when the secret is another" answers "$old" 401
check "and a new one is" answers "$token" 200
stop

exit "$failed"
