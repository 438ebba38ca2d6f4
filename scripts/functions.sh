#!/usr/bin/env bash
# Stops, restarts and starts all functions of a stack: for when a secret or the table is changed under them.
#
#   scripts/functions.sh stop <stack>       let no function run; requests are refused until they are started
#   scripts/functions.sh restart <stack>    have the next requests answered by new processes, which remember nothing
#   scripts/functions.sh start <stack>      let them run again, without a limit of their own
#
# A request that is under way is not cut off: it has the time-out of its function, at most 15 minutes.
# Needs the AWS CLI and jq.
set -euo pipefail

if [ $# -ne 2 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
stack=$2

functions=$(aws cloudformation list-stack-resources --stack-name "$stack" --output text \
    --query "StackResourceSummaries[?ResourceType=='AWS::Lambda::Function'].PhysicalResourceId")
if [ -z "$functions" ]; then
    echo "the stack $stack has no functions" >&2
    exit 1
fi

for function in $functions; do
    case $1 in
    stop)
        aws lambda put-function-concurrency --function-name "$function" --reserved-concurrent-executions 0 >/dev/null
        ;;
    restart)
        # A process never sees a new environment: it is replaced. The next deployment takes the variable away.
        environment=$(aws lambda get-function-configuration --function-name "$function" --query Environment --output json |
            jq -c --arg now "$(date -u +%FT%TZ)" '{Variables: (.Variables // {} | .RESTARTED_AT = $now)}')
        aws lambda update-function-configuration --function-name "$function" --environment "$environment" >/dev/null
        aws lambda wait function-updated --function-name "$function"
        ;;
    start)
        aws lambda delete-function-concurrency --function-name "$function"
        ;;
    *)
        echo "stop, restart or start, and not $1" >&2
        exit 2
        ;;
    esac
    echo "$1 $function"
done
