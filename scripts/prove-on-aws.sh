#!/usr/bin/env bash
# Proves on a deployed hub what no test on one machine can: what API Gateway, Lambda, S3 and DynamoDB make of it.
#
#   scripts/prove-on-aws.sh <url> <token> [<stack>]
#
# The URL is the stack's output Url, the token that of any user. It makes a public repository prove-<time> under the user's
# handle, which stays. With the name of the stack it also looks, with the aws command, into the table, the bucket and the
# logs; that needs the right to read them. With the right to write to the bucket it sees too that a damaged answer is cut off, and
# restores it; the alarms of that are sent. It takes a minute or two and moves some 150 MB. Each check prints ok or FAILED.
#
# Needs bash, curl, jq, sha256sum, base64, od and, with a stack, the AWS CLI.
set -euo pipefail

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
url=${1%/} token=$2 stack=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0 passed=0
msgpack="application/x-msgpack"
# As the msgpack client sends it.
accepts_msgpack="$msgpack, application/json"

# ---- Asking ----------------------------------------------------------------------------------------------------------

# The answer of the last request: its status here, its body in $work/body, its header in $work/header.
status=0
ask() { # <method> <path or URL> [curl's options]
    local method=$1 target=$2
    shift 2
    case $target in http*) ;; *) target=$url/$target ;; esac
    : >"$work/body"
    status=$(curl -sS --http1.1 --max-time 120 -X "$method" -o "$work/body" -D "$work/header" -w '%{http_code}' "$@" "$target") || status=0
}
with_token() {
    ask "$@" -H "Authorization: Bearer $token"
}
post() { # <path> <JSON> [curl's options]
    local path=$1 body=$2
    shift 2
    printf '%s' "$body" >"$work/sent"
    with_token POST "$path" -H 'Content-Type: application/json' --data-binary "@$work/sent" "$@"
}
header() {
    tr -d '\r' <"$work/header" | sed -n "s/^$1: //Ip" | tail -n 1
}
body_is() { # <jq expression that has to be true>
    jq -e "$1" <"$work/body" >"$work/jq" 2>&1
}
is_error() { # <status> <code>
    [ "$status" = "$1" ] && body_is ".error == \"$2\" and (.detail | type == \"string\")"
}

check() { # <what> <command>
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        printf 'ok      %s\n' "$what"
    else
        failed=$((failed + 1))
        printf 'FAILED  %s\n' "$what"
        printf '        last answer: %s %s\n' "$status" "$(head -c 300 "$work/body" 2>/dev/null | tr -c '[:print:]' '.')"
    fi
}
note() {
    printf 'note    %s\n' "$1"
}

# ---- Making history --------------------------------------------------------------------------------------------------

hash_of() {
    sha256sum "$@" | cut -c 1-64
}
# The ids are hashes: docs/wire-protocol.md, "Ids are hashes".
commit() { # <path> <object id> <message> -> snapshot id, commit id, in $snapshot and $commit_id
    made_at=2026-01-01T00:00:00Z
    snapshot=$(printf '%s\0%s' "$1" "$2" | hash_of)
    commit_id=$(printf '\0%s\0%s\0%s' "$snapshot" "$3" "$made_at" | hash_of)
}
bundle() { # <path> <object id> <message> <objects as JSON> <branch>; after commit
    jq -cn --arg path "$1" --arg object "$2" --arg message "$3" --argjson objects "$4" --arg branch "$5" \
        --arg snapshot "$snapshot" --arg commit "$commit_id" --arg at "$made_at" '{
            bundle: {
                commits: [{commit_id: $commit, snapshot_id: $snapshot, message: $message, committed_at: $at,
                           parent_commit_id: null, parent2_commit_id: null, branch: $branch, author: "prove"}],
                snapshots: [{snapshot_id: $snapshot, manifest: {($path): $object}, created_at: $at}],
                objects: $objects},
            branch: $branch, force: false}'
}

# ---- The door --------------------------------------------------------------------------------------------------------

answers() { # <path>
    ask GET "$1" && [ "$status" = 200 ]
}
check "GET /health answers" answers health
check "GET /openapi.json answers" answers openapi.json

refuses_unknown_path() {
    ask GET no/such/path/here && is_error 404 not_found
}
refuses_unknown_path_with_token() {
    with_token GET no/such/path/here && is_error 404 not_found && ! grep -qF "$token" "$work/body" "$work/header"
}
refuses_method_with_token() {
    with_token DELETE health && is_error 404 not_found && ! grep -qF "$token" "$work/body" "$work/header"
}
refuses_method() {
    ask DELETE health && [ "$status" -ge 404 ] && [ "$status" -le 405 ] && body_is '.error and .detail'
}
check "an unknown path is 404 in the hub's words" refuses_unknown_path
check "an unknown path with a token is 404 in the hub's words, without the token" refuses_unknown_path_with_token
check "and so is a wrong method with a token" refuses_method_with_token
check "a wrong method is 404 or 405 in the hub's words" refuses_method

refuses_bad_token() {
    ask GET no/repo/refs -H 'Authorization: Bearer x.y.z' && is_error 401 unauthorized
}
check "a bad token is 401" refuses_bad_token
if [ -z "$(header www-authenticate)" ]; then
    note "401 comes without WWW-Authenticate ($(header x-amzn-remapped-www-authenticate | sed 's/^/remapped: /'))"
fi

# ---- A user and a repository -----------------------------------------------------------------------------------------

handle=prove-$(date +%s)
has_handle() {
    post api/identities "{\"handle\": \"$handle\"}"
    if [ "$status" = 409 ]; then
        # The user has one already, and the refusal says which.
        handle=$(jq -r .detail <"$work/body" | sed -n "s/.*handle '\([^']*\)'.*/\1/p")
        [ -n "$handle" ]
    else
        [ "$status" = 201 ]
    fi
}
check "the token's user has a handle" has_handle

name=prove-$(date +%s)
repo=$handle/$name
makes_repo() {
    post api/repos "{\"name\": \"$name\", \"is_private\": false}" && [ "$status" = 201 ]
}
clone_url_is_right() {
    body_is ".clone_url == \"$url/$repo\""
}
check "POST /api/repos makes $repo" makes_repo
check "its clone_url is the URL that clients have to use" clone_url_is_right
repo_id=$(jq -r '.repo_id // empty' <"$work/body" 2>/dev/null || true)

# ---- Encodings through the door --------------------------------------------------------------------------------------

first_byte() {
    head -c 1 "$work/body" | od -An -tx1 | tr -d ' \n'
}
# {"want": [], "have": []}
printf '\x82\xa4want\x90\xa4have\x90' >"$work/empty.msgpack"
speaks_msgpack() { # <path>
    ask POST "$repo/$1" -H "Content-Type: $msgpack" -H "Accept: $accepts_msgpack" --data-binary "@$work/empty.msgpack"
    [ "$status" = 200 ] && [ "$(header content-type)" = "$msgpack" ] && [[ $(first_byte) == 8? ]]
}
reads_msgpack() {
    ask GET "$repo/refs" -H "Accept: $accepts_msgpack" && [ "$status" = 200 ] && [[ $(first_byte) == 8? ]]
}
errs_in_json() {
    ask GET "$handle/no-such/refs" -H "Accept: $accepts_msgpack" && is_error 404 repo_not_found
}
check "msgpack in and out, buffered (negotiate)" speaks_msgpack negotiate
check "msgpack in and out, streamed (fetch)" speaks_msgpack fetch
check "msgpack out of a GET (refs)" reads_msgpack
check "an error is JSON for a client of msgpack" errs_in_json
ask GET "$repo/refs" -H "Accept: application/json, $msgpack"
[[ $(first_byte) == 8? ]] || note "a client that names msgpack second gets it as base64: see BinaryMediaTypes"

# ---- A push and a clone ----------------------------------------------------------------------------------------------

printf 'hello from %s\n' "$name" >"$work/small"
small=$(hash_of "$work/small")
commit hello.txt "$small" first
first=$commit_id
push_small=$(bundle hello.txt "$small" first "[{\"object_id\": \"$small\", \"content_b64\": \"$(base64 -w0 "$work/small")\"}]" main)
pushes() {
    post "$repo/push" "$push_small" && [ "$status" = 200 ] && body_is ".ok and .branch_heads.main == \"$first\""
}
clones() {
    ask POST "$repo/fetch" -H 'Content-Type: application/json' -d "{\"want\": [\"$first\"], \"have\": []}"
    [ "$status" = 200 ] && body_is "(.commits | length) == 1 and .objects[0].object_id == \"$small\"" &&
        jq -r '.objects[0].content_b64' <"$work/body" | base64 -d | cmp -s - "$work/small"
}
check "a push lands" pushes
check "the same push again gets the same answer" pushes
check "a clone without a token brings it back" clones

commit hello.txt "$small" left
left=$(bundle hello.txt "$small" left '[]' main | sed 's/"force":false/"force":true/')
race() { # two forced pushes and eight to branches of their own, at the same time; all have to land
    local pids=() each
    for each in 1 2 3 4 5 6 7 8; do
        jq -c ".branch = \"b$each\"" <<<"$push_small" >"$work/race.$each"
    done
    printf '%s' "$left" >"$work/race.9"
    cp "$work/race.9" "$work/race.10"
    for each in 1 2 3 4 5 6 7 8 9 10; do
        curl -sS --max-time 120 -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" \
            -H 'Content-Type: application/json' --data-binary "@$work/race.$each" "$url/$repo/push" >"$work/raced.$each" &
        pids+=($!)
    done
    for each in "${pids[@]}"; do wait "$each" || return 1; done
    for each in 1 2 3 4 5 6 7 8 9 10; do [ "$(cat "$work/raced.$each")" = 200 ] || return 1; done
}
check "ten pushes at once land" race

# ---- Large objects: presigned, copied by S3 with their hash, streamed --------------------------------------------------

large_bytes=$((20 * 1024 * 1024))
head -c "$large_bytes" /dev/urandom >"$work/large"
large=$(hash_of "$work/large")
wrong=$(printf 'something else' | hash_of)
presigned=
presigns() {
    post "$repo/presign" "{\"object_ids\": [\"$large\", \"$wrong\"], \"direction\": \"put\", \"ttl_seconds\": 600}"
    presigned=$(jq -r ".presigned[\"$large\"] // empty" <"$work/body")
    wrong_url=$(jq -r ".presigned[\"$wrong\"] // empty" <"$work/body")
    [ "$status" = 200 ] && [ -n "$presigned" ] && [ -n "$wrong_url" ]
}
put() { # <URL> <file> [curl's options], with the headers of a muse client and no others
    local to=$1 file=$2
    shift 2
    ask PUT "$to" -H 'Accept:' -H 'User-Agent:' -H 'Expect:' -H 'Content-Type: application/x-www-form-urlencoded' \
        --data-binary "@$file" "$@"
}
uploads() {
    put "$presigned" "$work/large" && [ "$status" = 200 ]
}
refuses_unsigned_header() {
    put "$presigned" "$work/small" -H "x-amz-copy-source: /any/key" && [ "$status" = 403 ]
}
uploads_wrong() {
    put "$wrong_url" "$work/small" && [ "$status" = 200 ]
}
verifies() {
    post "$repo/filter-objects" "{\"object_ids\": [\"$large\", \"$wrong\"]}"
    [ "$status" = 200 ] && body_is ".missing == [\"$wrong\"]"
}
check "presign gives URLs" presigns
check "a presigned URL refuses x-amz headers that were not signed" refuses_unsigned_header
check "20 MB go straight to S3" uploads
check "so do bytes that are not what they are said to be" uploads_wrong
check "filter-objects has the first verified, and refuses the second" verifies

commit large.bin "$large" large
push_large=$(bundle large.bin "$large" large '[]' large)
pushes_large() {
    post "$repo/push" "$push_large" && [ "$status" = 200 ]
}
check "a push that names the large object lands" pushes_large

streams() {
    local times
    times=$(curl -sS --http1.1 --max-time 120 -o "$work/body" -D "$work/header" -w '%{http_code} %{time_starttransfer} %{time_total}' \
        -H 'Content-Type: application/json' -d "{\"want\": [\"$commit_id\"], \"have\": []}" "$url/$repo/fetch") || return 1
    status=${times%% *}
    note "27 MB of JSON: first byte and last byte after ${times#* } seconds"
    [ "$status" = 200 ] && jq -r '.objects[0].content_b64' <"$work/body" | base64 -d | cmp -s - "$work/large"
}
gives_object() {
    ask GET "o/$large?repo_id=$repo_id" && [ "$status" = 200 ] && [ "$(header etag)" = "\"$large\"" ] &&
        [ "$(header cache-control)" = 'public, max-age=31536000, immutable' ] && cmp -s "$work/body" "$work/large"
}
gives_part() {
    ask GET "o/$large?repo_id=$repo_id" -H 'Range: bytes=1000-1999' && [ "$status" = 206 ] &&
        [ "$(header content-range)" = "bytes 1000-1999/$large_bytes" ] &&
        cmp -s "$work/body" <(tail -c +1001 "$work/large" | head -c 1000)
}
knows_etag() {
    ask GET "o/$large?repo_id=$repo_id" -H "If-None-Match: \"$large\"" && [ "$status" = 304 ] && [ ! -s "$work/body" ]
}
gives_url() {
    post "$repo/presign" "{\"object_ids\": [\"$large\"], \"direction\": \"get\"}" && [ "$status" = 200 ] &&
        ask GET "$(jq -r ".presigned[\"$large\"]" <"$work/body")" && [ "$status" = 200 ] && cmp -s "$work/body" "$work/large"
}
check "fetch streams more than 10 MB, whole" streams
check "GET /o/ streams the object, as bytes" gives_object
check "GET /o/ gives a part" gives_part
check "GET /o/ answers 304 to who has it" knows_etag
check "a presigned GET leads to it" gives_url

# ---- Requests that are too big ---------------------------------------------------------------------------------------

padded() { # <MB>: a fetch with a field that no hub reads
    printf '{"want": ["%s"], "have": [], "padding": "' "$first"
    head -c "${1}000000" /dev/zero | tr '\0' x
    printf '"}'
}
refuses_large() { # <MB>
    padded "$1" >"$work/sent"
    with_token POST "$repo/fetch" -H 'Content-Type: application/json' -H 'Expect:' --data-binary "@$work/sent"
    is_error 413 payload_too_large
}
check "a request of 7 MB, too large for Lambda, is 413 in the hub's words" refuses_large 7
check "a request of 11 MB, too large for API Gateway, is 413 in the hub's words" refuses_large 11

upload=
makes_room() {
    with_token POST "$repo/uploads" && [ "$status" = 200 ]
    upload=$(jq -r '.upload_id // empty' <"$work/body") upload_url=$(jq -r '.url // empty' <"$work/body")
    [ -n "$upload" ] && [ -n "$upload_url" ]
}
by_reference() {
    with_token POST "$repo/fetch" -H 'Content-Type: application/json' -H "Muse-Body-Upload: $upload"
}
refuses_early() {
    # The function has to tell a key that is not there from one that it may not read, or this is a 500.
    by_reference && is_error 422 unknown_upload
}
puts_body() {
    padded 30 >"$work/sent"
    put "$upload_url" "$work/sent" && [ "$status" = 200 ]
}
takes_body() {
    by_reference && [ "$status" = 200 ] && body_is '(.commits | length) == 1'
}
check "POST /uploads makes room for a body" makes_room
check "a body that no client has uploaded is 422" refuses_early
check "30 MB go there" puts_body
check "and are taken as the request's body" takes_body
check "once" refuses_early

# ---- Path parameters ---------------------------------------------------------------------------------------------------

tag='v1/rc 100% ü+1'
releases() {
    post "$repo/releases" "$(jq -cn --arg tag "$tag" --arg commit "$first" '{tag: $tag, commit_id: $commit, title: "t"}')"
    [ "$status" = 201 ]
}
retracts() {
    with_token DELETE "$repo/releases/$(jq -rn --arg tag "$tag" '$tag | @uri')"
    [ "$status" = 200 ] && [ "$(jq -r .retracted <"$work/body")" = "$tag" ]
}
check "a release with / % + and ü in its tag" releases
check "is retracted by the tag in the path, percent-encoded" retracts

# ---- Inside: only with a stack -----------------------------------------------------------------------------------------

if [ -n "$stack" ]; then
    output() {
        aws cloudformation describe-stacks --stack-name "$stack" --output text \
            --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue"
    }
    table=$(output Table) bucket=$(output Bucket) function_logs=$(output FunctionLogs) access_logs=$(output AccessLogs)
    printf '{}' >"$work/body"
    status=aws

    has_checksum() {
        local key
        key=$(aws s3api list-objects-v2 --bucket "$bucket" --prefix "objects/$repo_id/" --query 'Contents[0].Key' --output text)
        aws s3api head-object --bucket "$bucket" --key "$key" --checksum-mode ENABLED >"$work/body"
        # In hex, as the object's id; and of all bytes, not of parts.
        [ "$(jq -r .ChecksumSHA256 <"$work/body" | base64 -d | od -An -v -tx1 | tr -d ' \n')" = "$large" ] &&
            body_is '.ChecksumType == "FULL_OBJECT"'
    }
    holds_nothing_under() {
        aws s3api list-objects-v2 --bucket "$bucket" --prefix "$1" >"$work/body" && body_is '(.Contents // []) | length == 0'
    }
    refuses_plain_http() {
        ask GET "http://$bucket.s3.amazonaws.com/" && [ "$status" = 403 ]
    }
    is_closed() {
        aws s3api get-public-access-block --bucket "$bucket" >"$work/body" && body_is '.PublicAccessBlockConfiguration | all'
    }
    keeps_versions() {
        aws s3api get-bucket-versioning --bucket "$bucket" >"$work/body" && body_is '.Status == "Enabled"'
    }
    can_be_restored() {
        aws dynamodb describe-continuous-backups --table-name "$table" >"$work/body" &&
            body_is '.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus == "ENABLED"'
    }
    expires() {
        aws dynamodb describe-time-to-live --table-name "$table" >"$work/body" &&
            body_is '.TimeToLiveDescription | .TimeToLiveStatus == "ENABLED" and .AttributeName == "expires_at"'
    }
    since=$((($(date +%s) - 900) * 1000))
    logs() { # <group> <pattern>
        aws logs filter-log-events --log-group-name "$1" --start-time "$since" --filter-pattern "$2" >"$work/body"
    }
    no_secret_in() { # <group>; the tokens of the hub are JWTs
        logs "$1" '"eyJ"' && body_is '.events | length == 0'
    }
    no_query_in_access_log() {
        logs "$access_logs" '"repo_id="' && body_is '.events | length == 0'
    }
    has_access_log() {
        logs "$access_logs" "\"$name\"" && body_is '.events | length > 0' &&
            body_is '[.events[].message | fromjson | has("status") and has("route")] | all'
    }
    has_request_log() { # with how the door passed the answer on, and when it began
        logs "$function_logs" '{ ($.kind = "request") && ($.transfer = "streamed") && ($.first_byte_ms >= 0) }' && body_is '.events | length > 0'
    }
    no_fault() {
        logs "$function_logs" '{ ($.type = "platform.report") && ($.record.status != "success") }' && body_is '.events | length == 0'
    }
    starts_fast() { # process start to first poll, as Lambda measured it
        logs "$function_logs" '{ ($.type = "platform.report") && ($.record.metrics.initDurationMs > 0) }' || return 1
        note "cold starts in ms: $(jq -c '[.events[].message | fromjson.record.metrics.initDurationMs | round] | sort' <"$work/body")"
        body_is '[.events[].message | fromjson.record.metrics.initDurationMs] | length > 0 and max < 200'
    }
    check "S3 knows the SHA-256 of the whole object that it copied" has_checksum
    check "the verified and the refused upload are deleted" holds_nothing_under "uploads/$repo_id/"
    check "and so is the body that was used" holds_nothing_under "uploads/bodies/$upload"
    check "the bucket refuses plain HTTP" refuses_plain_http
    check "the bucket is closed to the public" is_closed
    check "the bucket keeps versions" keeps_versions
    check "the table can be restored to any second" can_be_restored
    check "the table's items expire" expires
    # Pushes are transactions: if those had no partition key to compare, all pushes above were refused.
    has_bounded_rights() {
        local role
        role=$(aws cloudformation describe-stack-resource --stack-name "$stack" --logical-resource-id PushRole --output text \
            --query StackResourceDetail.PhysicalResourceId)
        aws iam list-role-policies --role-name "$role" >"$work/body" &&
            aws iam get-role-policy --role-name "$role" --policy-name "$(jq -r '.PolicyNames[0]' <"$work/body")" >"$work/body" &&
            body_is '[.PolicyDocument.Statement[] | select(.Action | tostring | test("dynamodb")) |
                .Condition.Null["dynamodb:LeadingKeys"] == "false"] | length > 0 and all'
    }
    check "the role of push is bounded to partition keys, and its transactions went through" has_bounded_rights
    # Logs come late.
    for _ in 1 2 3 4 5 6; do
        has_access_log && break
        sleep 10
    done
    check "the access log has the requests, as JSON" has_access_log
    check "no token is in the access log" no_secret_in "$access_logs"
    check "no query is in the access log" no_query_in_access_log
    check "no token is in the functions' log" no_secret_in "$function_logs"
    check "the functions' log says how answers were passed on, and when they began" has_request_log
    check "no function crashed or took too long" no_fault
    check "cold starts take less than 200 ms" starts_fast

    # Last, because a function ends with it. The object's file is overwritten with other bytes, and restored from its older
    # version by deleting the newer one.
    damaged=
    damages() {
        large_key=$(aws s3api list-objects-v2 --bucket "$bucket" --prefix "objects/$repo_id/" --query 'Contents[0].Key' --output text)
        head -c "$large_bytes" /dev/zero >"$work/damage"
        damaged=$(aws s3api put-object --bucket "$bucket" --key "$large_key" --body "$work/damage" --query VersionId --output text)
    }
    restores() {
        aws s3api delete-object --bucket "$bucket" --key "$large_key" --version-id "$damaged" >"$work/body" && gives_object
    }
    # No less than a failed transfer: 18 is one that was cut short, 56 a connection that was reset, 92 a stream of HTTP/2.
    is_cut_off() { # <URL> [curl's options]
        local code=0
        curl -sS --max-time 120 -o "$work/body" "$@" 2>"$work/curl" || code=$?
        status="curl $code"
        note "curl ends with $code after $(wc -c <"$work/body") bytes: $(head -c 200 "$work/curl")"
        [ "$code" = 18 ] || [ "$code" = 56 ] || [ "$code" = 92 ]
    }
    cuts_off_object() {
        is_cut_off --http1.1 "$url/o/$large?repo_id=$repo_id"
    }
    cuts_off_object_over_http2() {
        is_cut_off --http2 "$url/o/$large?repo_id=$repo_id"
    }
    cuts_off_fetch() {
        is_cut_off --http1.1 -H 'Content-Type: application/json' -d "{\"want\": [\"$commit_id\"], \"have\": []}" "$url/$repo/fetch"
    }
    if damages 2>"$work/curl"; then
        check "an object whose bytes are not its own is cut off" cuts_off_object
        check "over HTTP/2 too" cuts_off_object_over_http2
        check "and so is a fetch that needs it" cuts_off_fetch
        check "when they are back, it is whole" restores
    else
        note "whether an answer is cut off was not tried: that needs the right to put and delete objects of the bucket"
    fi
fi

printf '\n%s ok, %s FAILED\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
