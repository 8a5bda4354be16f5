"""One simulated GX device: real sshd, daemontools and D-Bus on a root that looks like Venus OS.

The device outlives its own reboots: it keeps /data, its network and its cable while it is off.
"""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gx import rootfs
from gx.bus import Control
from gx.disk import Disk
from gx.keys import give_keys
from gx.namespaces import HERE, SimulationError, kill_and_wait
from gx.network import Network
from gx.waiting import DeadlineError, wait_until

SSH_PORT = 22
READY_S = 20.0
TERM_S = 5.0
# What reaches the host's own clock, kernel or disks is not a device's to do, root or not.
WITHOUT = "-sys_time,-sys_module,-sys_rawio,-syslog,-mknod"
PATH = "/usr/bin:/bin:/usr/sbin:/sbin"


class DeviceSpec(NamedTuple):
    """What is fixed about a device; `site` is the simulated site's description.

    `variables` are the inventory's for this host. `data_mb` is the size of /data: 32 is a CCGX,
    about 1100 a Cerbo GX.
    """

    name: str
    portal_id: str
    site: Mapping[str, object]
    machine: str = "einstein"
    version: str = "v3.67"
    profile: str = "py312-v360"
    data_mb: int = 256
    variables: Mapping[str, object] = {}


class Device:
    """A device in its own directory, plugged into a network; `start` turns it on.

    `data` is where the host finds its /data, also while it is off. An absolute link in there
    means the host's file, not the device's.
    """

    def __init__(self, spec: DeviceSpec, workdir: Path, network: Network, host: int) -> None:
        self.spec = spec
        self.directory = workdir / spec.name
        self.host = host
        self.address = network.address(host)
        self.ssh_address = (self.address, SSH_PORT)
        self.sim = self.directory / "sim"
        self.control = self.sim / "control"
        self._network = network
        self._inside = network.namespaces
        self.data = self._inside.path(self.directory / "data")
        self._disk = Disk(self.directory / "data", self._inside)
        self._boot: subprocess.Popen[str] | None = None

    def create(self, base: Path, authorized_key: str) -> None:
        """Make the device, turned off, with the root shared in `base` and a fresh /data."""
        for name in ("root", "data", "sim"):
            (self.directory / name).mkdir(parents=True)
        self._dress(self.spec.version, self.spec.profile)
        self._inside.run("sh", HERE / "assemble.sh", base, self.directory)
        self._disk.create(self.spec.data_mb)
        self._fill_data(authorized_key)
        self._write_site()
        self._network.plug(self.directory / "net", self.host, self.spec.portal_id)

    def destroy(self) -> None:
        """Turn it off and remove every trace of it."""
        self._kill()
        self._network.unplug(self.directory / "net")
        self._inside.run("umount", "--recursive", self.directory / "root")
        self._disk.unmount()
        shutil.rmtree(self.directory)

    def start(self, *, wait: bool = True) -> None:
        """Turn it on; return when it is ready, or at once with `wait` False."""
        if self.pid:
            raise SimulationError(f"{self.spec.name} is on already")
        self._disk.make_writable()
        self._forget_last_run()
        isolate = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        boot = subprocess.Popen(
            [
                *self._inside.entering(net=self.directory / "net"),
                *[*isolate, "sh", HERE / "boot.sh", self.directory, self.spec.machine],
                self._inside.workdir / "hostproc",
                WITHOUT,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert boot.stdout
        answer = boot.stdout.readline().strip()
        if not answer.isdecimal():
            raise SimulationError(f"{self.spec.name} does not boot: {answer}")
        (self.directory / "pid").write_text(answer)
        self._boot = boot
        if wait:
            self.wait_ready()

    def wait_ready(self, deadline_s: float = READY_S) -> None:
        """Wait until it has booted, sshd greets and the simulated site is on its bus."""
        name = self.spec.name
        wait_until(self._booted, f"{name} to boot", deadline_s)
        wait_until(self._greets, f"sshd of {name}", deadline_s)
        wait_until(self._site_ready, f"the site of {name} (see {self.sim}/site.log)", deadline_s)

    @property
    def pid(self) -> int | None:
        """The host's process number of the device's init, None while it is off."""
        try:
            pid = int((self.directory / "pid").read_text())
            network = os.stat(f"/proc/{pid}/ns/net")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The number may have gone to another process since.
        own = os.stat(self._inside.path(self.directory / "net"))
        return pid if os.path.samestat(network, own) else None

    @property
    def root(self) -> Path:
        """Where the host finds its whole file system while it is on."""
        if not (pid := self.pid):
            raise SimulationError(f"{self.spec.name} is off")
        return Path(f"/proc/{pid}/root")

    def power_cut(self) -> None:
        """Turn it off without a word to anybody: what was not yet written to /data is lost."""
        self._kill()
        self._disk.lose_unwritten()

    def stop(self) -> None:
        """Shut it down: every process is asked to end and has 5 s, then the power goes."""
        if self.pid:
            self.run("kill -TERM -1")
            with contextlib.suppress(DeadlineError):
                wait_until(lambda: self.processes() == 1, "the processes to end", TERM_S)
        self._kill()

    def reboot(self, *, wait: bool = True) -> None:
        """Shut it down and turn it on again; only /data is kept."""
        self.stop()
        self.start(wait=wait)

    def firmware_update(self, version: str, profile: str) -> None:
        """Replace the root by another version's, with its Python library, and reboot."""
        self.stop()
        self._dress(version, profile)
        self.start()

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the device without SSH, for a test to look at it."""
        words = self.command("sh", "-c", f"cd; {command}")
        done = subprocess.run(words, capture_output=True, text=True)
        if check and done.returncode:
            raise SimulationError(f"{self.spec.name}: {command}: {done.stderr.strip()}")
        return done

    def command(self, *words: str) -> list[str]:
        """Return the host's command that runs another one on the device, with a login's rights."""
        enter = ["nsenter", "-t", self.root.parent.name, "--mount", "--uts", "--ipc", "--net"]
        bounded = ["setpriv", f"--bounding-set={WITHOUT}", "--"]
        clean = ["env", "-i", f"PATH={PATH}", "HOME=/home/root", "USER=root"]
        return [*bounded, *enter, "--pid", "--", *clean, *words]

    def processes(self) -> int:
        """Count its processes, the init among them."""
        return sum(_alive(entry) for entry in (self.root / "proc").glob("[0-9]*"))

    def ask(self, do: str, **keys: object) -> dict[str, Any]:
        """Ask its site for a verb, as `ask("load", w=41000)`; raises ValueError in its words.

        Through a file descriptor of the directory: a socket's path may have 107 bytes only.
        """
        if not self.pid:
            raise SimulationError(f"{self.spec.name} is off")
        directory = os.open(self.sim, os.O_PATH)
        try:
            control = Control(Path(f"/proc/self/fd/{directory}/{self.control.name}"))
        finally:
            os.close(directory)
        try:
            return control.do(do, **keys)
        finally:
            control.close()

    def _kill(self) -> None:
        if pid := self.pid:
            kill_and_wait(pid)
        (self.directory / "pid").unlink(missing_ok=True)
        if self._boot:
            self._boot.communicate()
            self._boot = None

    def _write_site(self) -> None:
        site = {**self.spec.site, "portal_id": self.spec.portal_id}
        (self.sim / "site.json").write_text(json.dumps(site, indent=2))

    def _forget_last_run(self) -> None:
        for left in ("booted", "control", "site.log"):
            (self.sim / left).unlink(missing_ok=True)

    def _dress(self, version: str, profile: str) -> None:
        rootfs.dress(self.directory, version=version, machine=self.spec.machine, profile=profile)

    def _fill_data(self, authorized_key: str) -> None:
        give_keys(self.data, authorized_key)
        (self.data / "venus").mkdir()
        (self.data / "venus/unique-id").write_text(f"{self.spec.portal_id}\n")
        # A device in the field has had these for long: no power cut takes them back.
        subprocess.run(["sync", "--file-system", self.data], check=True)

    def _booted(self) -> bool:
        if not self.pid:
            raise SimulationError(f"{self.spec.name} went off (see {self.sim}/console.log)")
        return (self.sim / "booted").exists()

    def _greets(self) -> bool:
        try:
            with self._network.connect(*self.ssh_address) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _site_ready(self) -> bool:
        try:
            return "ready" in (self.sim / "site.log").read_text().splitlines()
        except FileNotFoundError:
            return False


def _alive(entry: Path) -> bool:
    """Say whether a process of /proc runs: neither gone nor a zombie that waits for its parent."""
    try:
        state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
