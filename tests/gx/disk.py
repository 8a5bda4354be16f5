"""A simulated device's /data: a real file system of its own size, that a power cut can reach."""

import subprocess
import sys
from pathlib import Path

from gx.namespaces import Namespaces, SimulationError

# EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: nothing more is written, not even the journal.
SHUTDOWN = """
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))
"""


class Disk:
    """A file system in a file beside `mountpoint`, mounted inside the fleet's namespaces.

    Where no loop device is permitted it is a tmpfs of that size, which loses nothing at a power
    cut; `real` says which.
    """

    def __init__(self, mountpoint: Path, inside: Namespaces) -> None:
        self._mountpoint = mountpoint
        self._image = mountpoint.with_suffix(".ext4")
        self._inside = inside

    @property
    def real(self) -> bool:
        """Whether it is a file system on a loop device."""
        return self._image.exists()

    def create(self, size_mb: int) -> None:
        """Make it, empty, and mount it."""
        with self._image.open("wb") as file:
            file.truncate(size_mb * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", self._image], check=True)
        try:
            self._mount()
        except SimulationError:
            self._image.unlink()
            options = f"mode=0755,size={size_mb}m"
            self._inside.run("mount", "-t", "tmpfs", "-o", options, "tmpfs", self._mountpoint)

    def unmount(self) -> None:
        """Unmount it; a device that was just turned off may hold it for a moment."""
        self._inside.run("umount", self._mountpoint)

    def make_writable(self) -> None:
        """Undo a read-only remount, as a boot does."""
        self._inside.run("mount", "-o", "remount,rw", self._mountpoint)

    def lose_unwritten(self) -> None:
        """Replace it by what has reached the disk: file systems write late, unless told to sync.

        No write reaches the disk any more as the copy is begun, else it would be of two moments;
        mounting replays the journal.
        """
        if not self.real:
            return
        self._inside.run(sys.executable, "-c", SHUTDOWN, self._mountpoint)
        kept = self._image.with_suffix(".kept")
        subprocess.run(["cp", "--sparse=always", self._image, kept], check=True)
        self.unmount()
        kept.replace(self._image)
        self._mount()

    def _mount(self) -> None:
        self._inside.run("mount", "-o", "loop,noatime", self._image, self._mountpoint)
