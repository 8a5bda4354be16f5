"""The tree of a Debian with systemd, to be booted: made once, under build/trees."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from trees.debian import BUILD_S, TREES, TreeError, mirror

SUITE = "bookworm"
PACKAGES = "dbus,openssh-server,python3-dbus,python3-gi,sudo,systemd,systemd-sysv"
PROGRAMS = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container"}


def missing() -> str | None:
    """Return what this machine lacks to make and boot the tree, None when it has all."""
    if os.geteuid() != 0:
        return "needs root to boot another Debian"
    lacking = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    return f"needs the Debian packages {' '.join(lacking)}" if lacking else None


def host_tree() -> Path:
    """Return the tree, made before where needed; raises TreeError."""
    place = TREES / f"{SUITE}-systemd"
    TREES.mkdir(parents=True, exist_ok=True)
    with (TREES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            _make(place)
    return place


def _make(place: Path) -> None:
    beside = place.with_name(f"{place.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    words = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(beside)]
    made = subprocess.run(
        [*words, f"deb {mirror()} {SUITE} main"], capture_output=True, text=True, timeout=BUILD_S
    )
    if made.returncode:
        raise TreeError(f"no tree of Debian {SUITE} with systemd: {made.stderr[-500:]}")
    beside.rename(place)
