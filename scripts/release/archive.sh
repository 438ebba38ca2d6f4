#!/usr/bin/env bash
# Packs a folder into an archive of its name, <folder>.tar.gz beside it, and deletes it:
#
#     scripts/release/archive.sh FOLDER
#
# The same files of the same commit give the same bytes.
set -euo pipefail
folder=${1:?which folder?}
when=$(git -C "$(dirname "$0")" log -1 --format=%ct)

tar --create --directory "$(dirname "$folder")" --sort=name --mtime "@$when" --owner 0 --group 0 --numeric-owner \
    --mode 'u=rwX,go=rX' "$(basename "$folder")" | gzip -9 --no-name >"$folder.tar.gz"
rm -r "$folder"
