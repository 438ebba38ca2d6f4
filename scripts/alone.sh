#!/usr/bin/env bash
# Runs a command in a network namespace of its own: nothing outside of it reaches what listens there, and nothing in it reaches
# anything outside. For servers that listen on all addresses of the machine and check no client.
#
#     scripts/alone.sh COMMAND [ARGUMENT...]
#
# Where the system makes no namespace, it says so and fails; MUSEHUB_NOT_ALONE=1 runs the command all the same.
set -euo pipefail

# shellcheck disable=SC2016 # the inner shell expands it
inside='ip link set lo up && exec "$@"'
if unshare -n true 2>/dev/null; then
    exec unshare -n sh -c "$inside" sh "$@"
elif unshare -rn sh -c 'ip link set lo up' 2>/dev/null; then
    exec unshare -rn sh -c "$inside" sh "$@"
elif sudo -n unshare -n true 2>/dev/null; then
    # The namespace takes root, and the command does not.
    # shellcheck disable=SC2016
    inside='ip link set lo up && exec setpriv --reuid "$SUDO_UID" --regid "$SUDO_GID" --init-groups "$@"'
    exec sudo -n -E env "PATH=$PATH" unshare -n sh -c "$inside" sh "$@"
elif [ -n "${MUSEHUB_NOT_ALONE:-}" ]; then
    echo "no network namespace: what $1 starts can be reached from outside" >&2
    exec "$@"
fi
echo "this system makes no network namespaces (unshare -n), neither for root nor for $(id -un), and what is to be run would listen on all
addresses of the machine and check no client. MUSEHUB_NOT_ALONE=1 runs it all the same." >&2
exit 1
