#!/bin/sh
# Turns a simulated GX device on: the first process of its own mount, process and host name
# namespaces, in the network namespace that the device keeps. Ends by becoming the device's init.
#
#   boot.sh DEVICE HOSTNAME HOSTPROC WITHOUT    prints the host's process number of that init
#
# WITHOUT lists the capabilities that no process of the device may have, for setpriv.
set -eu
read -r pid _ <"$3/self/stat"
cd "$1/root"
hostname "$2"

mount -t proc proc proc
for shared in proc/sys proc/sysrq-trigger; do # the host's own kernel is behind these
    [ -e "$shared" ] || continue
    mount --bind "$shared" "$shared"
    mount -o remount,bind,ro "$shared"
done
mount -t tmpfs -o mode=0755,size=64m tmpfs run
mount -t tmpfs -o mode=0755,size=64m tmpfs var/volatile
mount --bind "$1/data" data
mkdir run/sim
mount --bind "$1/sim" run/sim

mount -t tmpfs -o mode=0755,size=1m tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
mount -t tmpfs -o mode=1777,size=16m tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mknod -m 0666 dev/null c 1 3
mknod -m 0666 dev/zero c 1 5
mknod -m 0666 dev/full c 1 7
mknod -m 0666 dev/random c 1 8
mknod -m 0666 dev/urandom c 1 9
mknod -m 0666 dev/tty c 5 0

echo "$pid"
exec <dev/null >>run/sim/console.log 2>&1

# pivot_root stacks the old root on the new one; the umount uncovers it.
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=linux \
    setpriv "--bounding-set=$4" -- \
    sh -ec 'pivot_root . .; umount -l .; exec chroot . /sbin/init'
