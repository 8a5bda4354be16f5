"""The root file system of a simulated device: of Debian's programs those that Venus OS has."""

import shutil
import subprocess
from pathlib import Path

from gx.namespaces import HERE, PATH, Namespaces
from gx.profiles import sitecustomize

IMAGE = HERE / "image"
PYTHON = "/usr/bin/python3"
SIMULATION = "usr/libexec/simulation"  # where the device finds the package gx

# OpenEmbedded's configuration of busybox and Venus' additions, as far as Debian's busybox has
# them. Not in it: install, timeout, getopt, split, base64, ionice, taskset, lsof.
APPLETS = """
[ [[ ash awk basename bunzip2 bzcat cat chgrp chmod chown chroot clear cmp cp cpio cut date dc dd df
dirname dmesg dnsdomainname du echo egrep env expr false fgrep find free fstrim grep groups gunzip
gzip halt head hexdump hostname hwclock id ifconfig init ip kill killall klogd less ln logger login
logname logread losetup ls lsmod md5sum microcom mkdir mkfifo mknod mkswap mktemp modprobe more
mount mv nc netstat nproc nslookup od openvt patch pidof ping pivot_root poweroff printf ps pwd
rdate readlink realpath renice reset rev rm rmdir rmmod route run-parts sed seq setsid sha1sum
sha256sum shuf sleep sort start-stop-daemon stat strings stty sulogin swapoff swapon switch_root
sync sysctl syslogd tail tar tee telnet test time top touch tr traceroute true truncate tty udhcpc
umount uname uniq unlink unzip uptime usleep vi watch wc wget which who whoami xargs yes zcat
"""
# Applets of Venus' busybox that Debian's lacks, then what Venus has beside busybox.
PROGRAMS = """
flock mountpoint nohup pgrep pkill
bash curl openssl rsync zip
dbus-daemon dbus-monitor dbus-send
multilog setuidgid softlimit supervise svc svok svscan svstat tai64nlocal
scp sftp ssh ssh-keygen sshd
"""
PACKAGES = ("dbus", "_dbus_bindings*", "_dbus_glib_bindings*", "gi", "lxml")
DIRECTORIES = """
data dev etc home mnt opt proc run service sys usr/bin usr/lib usr/libexec usr/sbin var/volatile
"""
LINKS = {
    "bin": "usr/bin",
    "home/root": "/data/home/root",
    "lib": "usr/lib",
    "media": "/run/media",
    "sbin": "usr/sbin",
    "tmp": "var/tmp",
    "usr/bin/python": "python3",
    "usr/sbin/init": "../bin/init",
    "var/lib": "volatile/lib",
    "var/log": "/data/log",
    "var/run": "/run",
    "var/tmp": "volatile/tmp",
}


def build(base: Path, inside: Namespaces) -> None:
    """Make in `base`/root, and mount, what the roots of all devices of a fleet share."""
    root = base / "root"
    for name in DIRECTORIES.split():
        (root / name).mkdir(parents=True)
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    shutil.copytree(IMAGE / "usr", root / "usr", dirs_exist_ok=True)
    _programs(root)
    _simulation(root / SIMULATION)
    _packages(base / "packages")
    _libraries(root, base / "packages", inside)


def dress(device: Path, *, version: str, machine: str, profile: str) -> None:
    """Make what a firmware brings and differs between devices: their /etc and /opt."""
    for name in ("etc", "opt"):
        place = device / name
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        shutil.copytree(IMAGE / name, place, dirs_exist_ok=True)

    stamp = f"{version}\nVictron Energy\n20251124120000\n"
    (device / "opt/victronenergy/version").write_text(stamp)
    etc = device / "etc"
    (etc / "venus").mkdir()
    (etc / "venus/machine").write_text(f"{machine}\n")
    (etc / "venus/image-type").write_text("large\n" if profile == "large" else "normal\n")
    (etc / "venus/swu-name").write_text("venus-swu\n")
    (etc / "hostname").write_text(f"{machine}\n")
    customize = Path(f"/usr/lib/{_python().name}/sitecustomize.py").resolve()
    hidden = etc / customize.relative_to("/etc")
    hidden.parent.mkdir()
    hidden.write_text(sitecustomize(profile))


def _programs(root: Path) -> None:
    binaries = root / "usr/bin"
    busybox = _copy("busybox", binaries)
    for applet in APPLETS.split():
        (binaries / applet).symlink_to("busybox")
    if _runs_hidden_applets(busybox):
        _copy("dash", binaries)
        (binaries / "sh").symlink_to("dash")
    else:
        (binaries / "sh").symlink_to("busybox")
    for program in PROGRAMS.split():
        _copy(program, root / "usr/sbin" if program == "sshd" else binaries)
    shutil.copy2(_python(), binaries / "python3")
    shutil.copy2("/usr/lib/openssh/sftp-server", root / "usr/libexec")


def _runs_hidden_applets(busybox: Path) -> bool:
    """Say whether this busybox' shell runs its applets even where they are not in PATH.

    That of Debian's busybox-static does, and would offer what the device must not have.
    """
    asked = subprocess.run(
        [busybox, "sh", "-c", "command -v timeout"], env={"PATH": ""}, stdout=subprocess.DEVNULL
    )
    return asked.returncode == 0


def _copy(program: str, directory: Path) -> Path | None:
    """Copy a program of the host; one that the host lacks is lacking on the device too."""
    found = shutil.which(program, path=PATH)
    return Path(shutil.copy2(found, directory / program)) if found else None


def _python() -> Path:
    return Path(PYTHON).resolve()


def _simulation(place: Path) -> None:
    shutil.copytree(HERE, place / "gx", ignore=shutil.ignore_patterns("__pycache__", "image"))
    subprocess.run([PYTHON, "-m", "compileall", "-q", place], check=True)


def _packages(place: Path) -> None:
    """Copy those of Debian's Python packages that Venus has, and no other."""
    place.mkdir()
    for pattern in PACKAGES:
        for found in Path("/usr/lib/python3/dist-packages").glob(pattern):
            if found.is_dir():
                shutil.copytree(found, place / found.name)
            else:
                shutil.copy2(found, place)


def _libraries(root: Path, packages: Path, inside: Namespaces) -> None:
    """Show the host's libraries, with the packages chosen for the device."""
    for name in ("lib", "lib32", "lib64", "libx32"):
        if Path("/usr", name).is_dir():
            (root / "usr" / name).mkdir(exist_ok=True)
            inside.run("mount", "-o", "bind,ro", Path("/usr", name), root / "usr" / name)
            if name != "lib":
                (root / name).symlink_to(f"usr/{name}")
    inside.run("mount", "-o", "bind,ro", packages, root / "usr/lib/python3/dist-packages")
