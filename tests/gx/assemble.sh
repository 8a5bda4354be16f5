#!/bin/sh
# Puts a device's read-only root together inside the fleet's mount namespace: the part all devices
# share, then the device's own /etc and /opt, then its /data.
#
#   assemble.sh BASE DEVICE DATA_MB
set -eu
mount --rbind "$1/root" "$2/root"
mount -o remount,bind,ro "$2/root"
mount -o bind,ro "$2/etc" "$2/root/etc"
mount -o bind,ro "$2/opt" "$2/root/opt"

# A file system of its own size, as on the device. Without loop devices a tmpfs of that size.
if mount -o loop,noatime "$2/data.ext4" "$2/data" 2>"$2/loop.error"; then
    rm "$2/loop.error"
else
    mount -t tmpfs -o "mode=0755,size=$3m" tmpfs "$2/data"
fi
