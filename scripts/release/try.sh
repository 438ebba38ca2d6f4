#!/usr/bin/env bash
# Tries what was built:
#
#     scripts/release/try.sh ARCHIVE      of scripts/release/binary.sh, on the processor that it is for
#     scripts/release/try.sh IMAGE        of scripts/release/image.sh; needs podman
#     scripts/release/try.sh ARCHIVE-aws  of scripts/release/aws.sh, with a target/debug/musehub
#
# Of the first two it starts a hub, with nothing else, and asks it all that scripts/prove-on-aws.sh asks one. The third it hands to
# SAM as `sam deploy` does before it asks CloudFormation, with the embedded S3 in the place of the bucket for zips.
set -euo pipefail
cd "$(dirname "$0")/../.."
built=$(realpath "${1:?what?}")
source scripts/hub.sh

case $built in
*-aws.tar.gz)
    scripts/template-tools.sh
    sam=$PWD/target/check-template/bin/sam
    export AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0
    tar --extract --file "$built" --strip-components 1 --directory "$work"
    start_hub target/debug/musehub backends --data "$work/data" --env "$work/env"
    set -a
    source "$work/env"
    set +a
    cd "$work"
    "$sam" package --template-file template.yaml --s3-bucket "$MUSEHUB_BUCKET" --output-template-file packaged.yaml
    "$sam" validate --template-file packaged.yaml
    # Every function has a zip, which went to the bucket as it is.
    uploaded=$(grep -c 'CodeUri: s3://' packaged.yaml)
    [ "$uploaded" = "$(grep -c 'Type: AWS::Serverless::Function' template.yaml)" ]
    [ "$uploaded" = "$(find functions -name '*.zip' | wc -l)" ]
    hub_is_sound
    echo "$uploaded functions are uploaded from the archive"
    exit
    ;;
*.tar.gz)
    tar --extract --file "$built" --strip-components 1 --directory "$work"
    musehub=("$work/musehub")
    ;;
*)
    # A port of this machine, so that no rule of a firewall is made.
    musehub=(podman run --rm --network host "oci-archive:$built")
    ;;
esac
start_hub "${musehub[@]}" serve --memory --lambda-limits --listen 127.0.0.1:0
scripts/prove-on-aws.sh "$(hub_url)" "$(hub_token)"
hub_is_sound
