"""Trees of Debian releases: their Python with their dbus-python, unpacked and not installed.

A tree is made once, under build/trees, with the mirror that this machine's own packages come from.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
TREES = HERE.parents[1] / "build" / "trees"
PACKAGES = "python3-dbus,python3-gi"
# Then /lib is in /usr, as on this machine: one mount shows all of a tree.
MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
# What an agent imports, compiled when the tree is made: else each start takes seconds.
IMPORTS = """
import argparse, dbus.mainloop.glib, dbus.service, json, logging, traceback, typing
from gi.repository import GLib
"""
QEMU = "/usr/bin/qemu-arm-static"
BUILD_S = 600


class TreeError(Exception):
    """A tree can't be had here; the message says why."""


class Tree(NamedTuple):
    """The Python of a Debian release."""

    name: str
    suite: str
    architecture: str = "amd64"

    @property
    def foreign(self) -> bool:
        """Whether this machine's processor is emulated away."""
        return self.architecture == "armhf"

    def command(self) -> tuple[str, ...]:
        """Return the command that is its Python, the tree made before where needed.

        Raises TreeError.
        """
        return _python(self, _tree(self))


OTHER_PYTHONS = (Tree("python3.9", "bullseye"), Tree("python3.13", "trixie"))
ARM = Tree("armhf", "bookworm", "armhf")  # as old as this machine's: only the processor differs

_refused: dict[Tree, TreeError] = {}  # what can't be had is asked for once


def missing(tree: Tree) -> str | None:
    """Return what this machine lacks to make and enter a tree, None when it has all."""
    if os.geteuid() != 0:
        return "needs root to enter another Debian's tree"
    if not Path(MERGED_USR).exists():
        return "needs the Debian package mmdebstrap"
    if tree.foreign and not Path(QEMU).exists():
        return "needs the Debian package qemu-user-static"
    return None


def _tree(tree: Tree) -> Path:
    place = TREES / f"{tree.suite}-{tree.architecture}"
    TREES.mkdir(parents=True, exist_ok=True)
    with (TREES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several tests ask for their first tree at once
        if tree in _refused:
            raise _refused[tree]
        if not place.exists():
            try:
                _make(tree, place)
            except TreeError as error:
                _refused[tree] = error
                raise
    return place


def _make(tree: Tree, place: Path) -> None:
    beside = place.with_name(f"{place.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    command = ["mmdebstrap", "--variant=extract", f"--hook-dir={MERGED_USR}"]
    command += [f"--architectures={tree.architecture}", f"--include={PACKAGES}"]
    command += [tree.suite, str(beside), f"deb {mirror()} {tree.suite} main"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S)
    if made.returncode:
        faults = [line for line in made.stderr.splitlines() if line.startswith("E:")]
        raise TreeError(f"no tree of Debian {tree.suite}: {' '.join(faults) or made.stderr[-500:]}")
    if tree.foreign:
        shutil.copy2(QEMU, beside / QEMU.lstrip("/"))
    subprocess.run([*_python(tree, beside), "-c", IMPORTS], check=True)
    beside.rename(place)


def _python(tree: Tree, place: Path) -> tuple[str, ...]:
    emulator = [QEMU] if tree.foreign else []
    enter = str(HERE / "enter.sh")
    return ("unshare", "--mount", "sh", enter, str(place), *emulator, "/usr/bin/python3")


def mirror() -> str:
    """Return where apt takes this machine's own Debian packages from."""
    wanted = ["Created-By: Packages", "Label: Debian", "Component: main"]
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted]
    mirrors = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    if not mirrors:
        raise TreeError("apt knows no mirror of Debian; run apt-get update")
    return mirrors[0]
