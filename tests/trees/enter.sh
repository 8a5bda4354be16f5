#!/bin/sh
# Becomes a command for which /usr is that of a tree; everything else is the machine's. Started in
# a mount namespace of its own, `unshare --mount`.
#
#   enter.sh TREE COMMAND...
set -eu
mount --bind "$1/usr" /usr
shift
exec "$@"
