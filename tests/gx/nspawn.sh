#!/bin/sh
# Boots a host with systemd in its directory and in the network that it keeps.
#
#   nspawn.sh DIRECTORY NAME
#
# Its control groups are below one of its own, which the caller removes when it is off.
set -eu
for groups in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -e "$groups/cgroup.procs" ] || continue
    mkdir -p "$groups/gx-$2"
    echo $$ >"$groups/gx-$2/cgroup.procs"
done
mount -t tmpfs tmpfs /run # systemd-nspawn's own notes

exec systemd-nspawn --quiet --register=no --keep-unit --boot --console=read-only \
    --machine="$2" --directory="$1/root" --network-namespace-path="$1/net" \
    --bind="$1/data:/data" --bind="$1/sim:/run/sim" \
    --resolv-conf=off --timezone=off --link-journal=no
