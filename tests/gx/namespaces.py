"""The namespaces of a simulated fleet: its mounts, its processes and its network.

One process holds them. When it ends, the kernel kills everything inside and undoes every mount,
network interface and loop device: nothing has to be remembered to be cleaned up.
"""

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from gx.waiting import wait_until

HERE = Path(__file__).parent
PROGRAMS = {
    "busybox": "busybox",
    "dbus-daemon": "dbus",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "svscan": "daemontools",
    "unshare": "util-linux",
}
KILL_DEADLINE_S = 10.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SimulationError(Exception):
    """The simulation can't do what was asked; the message is one line for a person."""


def namespaces_permitted() -> str | None:
    """Return why no simulated device can run here, or None when it can."""
    if os.geteuid() != 0:
        return "simulated devices need root"
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        packages = sorted({PROGRAMS[name] for name in missing})
        return f"missing {', '.join(missing)}: apt-get install {' '.join(packages)}"
    probe = (
        "mount -t proc proc /proc; mount -t tmpfs tmpfs /mnt;"
        "ip link add gx type bridge; ip link add gx1 type veth peer name gx2"
    )
    made = subprocess.run(
        ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "sh", "-ec", probe],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        said = made.stderr.strip().splitlines() or ["no reason given"]
        return f"namespaces are not permitted here ({said[0]})"
    return None


class Namespaces:
    """Mount, process and network namespaces, alive as long as the process `pid`."""

    def __init__(
        self, pid: int, workdir: Path, holder: subprocess.Popen[str] | None = None
    ) -> None:
        self.pid = pid
        self.workdir = workdir
        self._holder = holder
        self._closed = False

    @classmethod
    def start(cls, workdir: Path, inherited: Sequence[int] = ()) -> "Namespaces":
        """Make them; the open files `inherited` stay open until they end.

        They end with this process, however it ends, unless `keep` is called.
        """
        hostproc = workdir / "hostproc"
        hostproc.mkdir(exist_ok=True)
        isolate = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child"]
        holder = subprocess.Popen(
            [*isolate, "sh", str(HERE / "hold.sh"), str(hostproc)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=inherited,
        )
        assert holder.stdout
        assert holder.stderr
        answer = holder.stdout.readline().strip()
        if not answer:
            raise SimulationError(f"no namespaces: {holder.stderr.read().strip()}")
        return cls(int(answer), workdir, holder)

    def keep(self) -> None:
        """Let them outlive this process."""
        assert self._holder
        assert self._holder.stdin
        self._holder.stdin.write("keep\n")
        self._holder.stdin.close()

    def path(self, path: Path) -> Path:
        """Return where the host finds what is mounted at `path` inside."""
        return Path(f"/proc/{self.pid}/root{path}")

    def entering(self, net: Path | None = None, cwd: Path = Path("/")) -> list[str]:
        """Return the command that runs another one inside, or in the network kept at `net`."""
        network = self.path(net) if net else Path(f"/proc/{self.pid}/ns/net")
        enter = ["nsenter", "-t", str(self.pid), "--mount", "--pid", f"--net={network}"]
        return [*enter, f"--wdns={cwd}", "--"]

    def run(self, *command: str | Path, net: Path | None = None) -> str:
        """Run a command inside; return what it printed, raise SimulationError when it fails."""
        done = subprocess.run(
            [*self.entering(net), *map(str, command)], capture_output=True, text=True
        )
        if done.returncode:
            raise SimulationError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
        return done.stdout

    def close(self) -> None:
        """End every process inside and wait until the kernel has undone the mounts; once."""
        if self._closed:  # the number may be another process's by now
            return
        self._closed = True
        kill_and_wait(self.pid)
        if self._holder:
            self._holder.communicate()
        wait_until(lambda: not loop_devices(self.workdir), "the loop devices to be free")


def kill_and_wait(pid: int) -> None:
    """Kill a process and wait until it is gone; one that is gone already is fine."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [], KILL_DEADLINE_S)
    finally:
        os.close(handle)


def loop_devices(below: Path) -> list[str]:
    """Return the loop devices whose files lie below a directory."""
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if backing.read_text().startswith(f"{below}/"):
                found.append(backing.parts[3])
        except OSError:  # went away while we looked
            continue
    return found
