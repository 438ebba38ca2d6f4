#!/usr/bin/env bash
# Stops, restarts and starts all functions of a stack: for when a secret or the table is changed under them.
#
#   scripts/functions.sh stop <stack>       let no function run; requests are refused until they are started
#   scripts/functions.sh restart <stack>    have the next requests answered by new processes, which remember nothing
#   scripts/functions.sh start <stack>      let them run again, without a limit of their own
#
# A request that is under way is not cut off: it has the time-out of its function, at most 15 minutes. While they are stopped,
# the table's stream and the queues wake none, and what is in them waits: for 24 hours in the stream, for 14 days in a queue.
# Needs the AWS CLI and jq.
set -euo pipefail

if [ $# -ne 2 ]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
what=$1 stack=$2

resources() { # <type>
    aws cloudformation list-stack-resources --stack-name "$stack" --output text \
        --query "StackResourceSummaries[?ResourceType=='$1'].PhysicalResourceId"
}
functions=$(resources AWS::Lambda::Function)
if [ -z "$functions" ]; then
    echo "the stack $stack has no functions" >&2
    exit 1
fi
sources=$(resources AWS::Lambda::EventSourceMapping)

# A source that goes on while its function may not run tries each batch as often as it may, and gives it up.
sources() { # --enabled or --no-enabled
    for source in $sources; do
        aws lambda update-event-source-mapping --uuid "$source" "$1" >/dev/null
        echo "$what $source"
    done
}
# A change of a mapping takes a while, and until then it wakes its function.
await_sources() {
    for source in $sources; do
        for _ in $(seq 60); do
            state=$(aws lambda get-event-source-mapping --uuid "$source" --query State --output text)
            [ "$state" = Disabled ] && continue 2
            sleep "${PAUSE:-5}"
        done
        echo "$source is $state after five minutes: the functions were not stopped" >&2
        exit 1
    done
}
each_function() {
    for function in $functions; do
        "$@" "$function"
        echo "$what $function"
    done
}
stop() {
    aws lambda put-function-concurrency --function-name "$1" --reserved-concurrent-executions 0 >/dev/null
}
start() {
    aws lambda delete-function-concurrency --function-name "$1"
}
restart() {
    # A process never sees a new environment: it is replaced. The next deployment takes the variable away.
    local environment
    environment=$(aws lambda get-function-configuration --function-name "$1" --query Environment --output json |
        jq -c --arg now "$(date -u +%FT%TZ)" '{Variables: (.Variables // {} | .RESTARTED_AT = $now)}')
    aws lambda update-function-configuration --function-name "$1" --environment "$environment" >/dev/null
    aws lambda wait function-updated --function-name "$1"
}

case $what in
stop)
    sources --no-enabled
    await_sources
    each_function stop
    ;;
restart)
    each_function restart
    ;;
start)
    each_function start
    sources --enabled
    ;;
*)
    echo "stop, restart or start, and not $what" >&2
    exit 2
    ;;
esac
