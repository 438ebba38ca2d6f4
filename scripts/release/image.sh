#!/usr/bin/env bash
# Makes an image of `musehub serve` for both processors: OUT/musehub-VERSION-image.tar, an OCI archive with a manifest list.
#
#     scripts/release/image.sh OUT
#
# OUT has the archives of scripts/release/binary.sh already. Nothing of the image runs while it is made, so that one
# machine makes it for all processors. Needs buildah, and the certificates of this machine (Debian's ca-certificates).
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:?where to?}
version=$(python3 scripts/release/version.py)

work=$(mktemp -d)
export STORAGE_DRIVER=vfs
image=localhost/musehub:$version
finish() {
    buildah manifest rm "$image" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

# Whom to trust when it calls other hubs and webhooks, a folder for bodies that are on their way, and nothing else.
mkdir -p "$work/root/etc/ssl/certs" "$work/data"
mkdir --mode 1777 "$work/root/tmp"
cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs"
platforms=()
for pair in amd64:x86_64 arm64:aarch64; do
    for archive in "$out/musehub-$version-${pair#*:}"-*.tar.gz; do
        [ -e "$archive" ] || continue
        mkdir "$work/${pair%:*}"
        tar --extract --file "$archive" --strip-components 1 --directory "$work/${pair%:*}"
        platforms+=("linux/${pair%:*}")
    done
done
[ ${#platforms[@]} -gt 0 ] || {
    echo "$out has no archive of scripts/release/binary.sh" >&2
    exit 1
}

labels=(
    --label "org.opencontainers.image.title=musehub"
    --label "org.opencontainers.image.description=A hub for Muse repositories"
    --label "org.opencontainers.image.licenses=MIT"
    --label "org.opencontainers.image.version=$version"
    --label "org.opencontainers.image.revision=$(git rev-parse HEAD)"
)
# By this GitHub shows the image beside the repository.
[ -z "${GITHUB_REPOSITORY:-}" ] || labels+=(--label "org.opencontainers.image.source=https://github.com/$GITHUB_REPOSITORY")

# The same files of the same commit give the same image.
for platform in "${platforms[@]}"; do
    buildah build --isolation chroot --platform "$platform" --timestamp "$(git log -1 --format=%ct)" --manifest "$image" \
        --file scripts/release/Dockerfile "${labels[@]}" "$work"
done
rm -f "$out/musehub-$version-image.tar"
buildah manifest push --all "$image" "oci-archive:$out/musehub-$version-image.tar:$version"
