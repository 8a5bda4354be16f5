#!/bin/sh
# The first process of a fleet's namespaces, which live as long as it does. It ends when its
# standard input does, so a dead parent takes everything with it; told to "keep" it stays.
#
#   hold.sh HOSTPROC    where to keep the host's view of processes
set -eu
read -r pid _ </proc/self/stat

mount --bind /proc "$1"
mount -t proc proc /proc
mount -t tmpfs -o mode=0700 controller /run/lock # for the controller's open connections
ip link set lo up
echo "$pid"
exec 3<&0 >/dev/null

# The wait reaps what programs leave behind in this process namespace.
{ read -r word && [ "$word" = keep ] && exec sleep infinity; } <&3 &
wait
