#!/bin/sh
# Puts a device's read-only root together inside the fleet's mount namespace: the part all devices
# share, then the device's own /etc and /opt.
#
#   assemble.sh BASE DEVICE
set -eu
mount --rbind "$1/root" "$2/root"
mount -o remount,bind,ro "$2/root"
mount -o bind,ro "$2/etc" "$2/root/etc"
mount -o bind,ro "$2/opt" "$2/root/opt"
