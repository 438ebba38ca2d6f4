#!/usr/bin/env bash
# Holds scripts/functions.sh to what it says, with a stand-in for the AWS CLI that notes each call: sources are disabled before
# functions are stopped, and enabled after they are started, and no function is stopped while a source may still wake it.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/aws" <<'STAND_IN'
#!/usr/bin/env bash
set -euo pipefail
echo "$*" >>"$NOTES"
case "$*" in
*list-stack-resources*Lambda::Function*) echo refs compact ;;
*list-stack-resources*EventSourceMapping*) echo changes ;;
*get-event-source-mapping*)
    # It is disabled when it is looked at for the second time, or never.
    if [ "${NEVER:-}" != yes ] && [ "$(grep -c get-event-source-mapping "$NOTES")" -gt 1 ]; then echo Disabled; else echo Disabling; fi
    ;;
*get-function-configuration*) echo '{"Variables": {"MUSEHUB_TABLE": "t"}}' ;;
esac
STAND_IN
chmod +x "$work/aws"
export PATH=$work:$PATH NOTES=$work/notes PAUSE=0

calls() { # what is changed, in order
    sed -nE 's/^lambda (update-event-source-mapping|(put|delete)-function-concurrency|update-function-configuration) (.*)$/\1 \3/p' "$NOTES" |
        sed -E 's/--(uuid|function-name) //; s/ --reserved-concurrent-executions/ =/; s/ --environment.*//'
}
expect() { # <command> <calls>
    : >"$NOTES"
    scripts/functions.sh "$1" stack >/dev/null
    if [ "$(calls)" != "$2" ]; then
        printf 'functions.sh %s: it calls\n%s\nand not\n%s\n' "$1" "$(calls)" "$2" >&2
        exit 1
    fi
}
expect stop 'update-event-source-mapping changes --no-enabled
put-function-concurrency refs = 0
put-function-concurrency compact = 0'
expect start 'delete-function-concurrency refs
delete-function-concurrency compact
update-event-source-mapping changes --enabled'
expect restart 'update-function-configuration refs
update-function-configuration compact'
: >"$NOTES"
if NEVER=yes scripts/functions.sh stop stack >/dev/null 2>&1 || grep -q put-function-concurrency "$NOTES"; then
    echo "functions.sh stop: a function is stopped while a source wakes it" >&2
    exit 1
fi
echo "functions.sh: stop, start and restart call what they say"
