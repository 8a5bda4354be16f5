"""A host with systemd that runs Venus' programs: a Debian tree, booted by systemd-nspawn.

It is on the network of the simulated devices and has the same simulated site on its bus, but a
login of its own with sudo, and neither daemontools nor anything of Venus OS.
"""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from gx.device import Device
from gx.keys import HOST_KEYS
from gx.namespaces import HERE, SimulationError, kill_and_wait
from gx.rootfs import IMAGE, SIMULATION
from gx.waiting import DeadlineError, wait_until

LOGIN = "installer"
STOP_S = 30.0
BOOT_S = 60.0

# What is put into the tree, by path; the mode is 0644, or that of a directory's default.
FILES = {
    "etc/dbus-1/system.d/victron.conf": """<busconfig>
  <policy context="default">
    <allow own_prefix="com.victronenergy"/>
    <allow send_destination="*"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
""",
    "etc/systemd/system/site.service": """[Unit]
After=dbus.service
[Service]
ExecStart=/usr/libexec/simulation/run
[Install]
WantedBy=multi-user.target
""",
    f"etc/sudoers.d/{LOGIN}": f"{LOGIN} ALL=(ALL) NOPASSWD: ALL\n",
    "etc/ssh/sshd_config.d/keys.conf": "".join(
        f"HostKey /data/keys/ssh_host_{kind}_key\n" for kind in HOST_KEYS
    ),
    "etc/hostname": "workshop\n",
}


class SystemdHost(Device):
    """Such a host, to be used as a device is; its `spec` names no image and no firmware.

    `tree` is the Debian tree, which stays as it is.
    """

    tree: Path

    def create(self, base: Path, authorized_key: str) -> None:
        """Make the host, turned off, on a copy of the tree that takes only what is changed."""
        for name in ("root", "changes", "work", "data", "sim"):
            (self.directory / name).mkdir(parents=True)
        layers = f"upperdir={self.directory}/changes,workdir={self.directory}/work"
        options = f"lowerdir={self.tree},{layers}"
        self._inside.run("mount", "-t", "overlay", "-o", options, "overlay", self._system)
        self._disk.create(self.spec.data_mb)
        self._fill_data(authorized_key)
        self._furnish(authorized_key)
        self._write_site()
        self._network.plug(self.directory / "net", self.host, self.spec.portal_id)

    def start(self, *, wait: bool = True) -> None:
        """Boot it."""
        if self.pid:
            raise SimulationError(f"{self.spec.name} is on already")
        self._disk.make_writable()
        self._forget_last_run()
        console = (self.sim / "console.log").open("ab")
        with console:
            self._boot = subprocess.Popen(
                [
                    *self._inside.entering(),
                    *("unshare", "--mount", "sh", str(HERE / "nspawn.sh")),
                    *(str(self.directory), self.spec.name),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                text=True,
                start_new_session=True,
            )
        init = wait_until(self._find_init, f"{self.spec.name} to start its systemd", BOOT_S)
        (self.directory / "pid").write_text(str(init))
        if wait:
            self.wait_ready(BOOT_S)

    def stop(self) -> None:
        """Shut it down."""
        if self.pid:
            self.run("systemctl poweroff", check=False)
            with contextlib.suppress(DeadlineError):
                wait_until(lambda: self._boot.poll() is not None, "the shutdown", STOP_S)
        self._kill()

    def destroy(self) -> None:
        """Turn it off and remove every trace of it."""
        self._kill()
        self._network.unplug(self.directory / "net")
        self._inside.run("umount", self._system)
        self._disk.unmount()
        for group in Path("/sys/fs/cgroup").glob(f"**/gx-{self.spec.name}"):
            for below in sorted(group.glob("**/"), reverse=True):
                below.rmdir()
        shutil.rmtree(self.directory)

    def _booted(self) -> bool:
        return True

    @property
    def _system(self) -> Path:
        return self.directory / "root"

    def _furnish(self, authorized_key: str) -> None:
        root = self._inside.path(self._system)
        for name, text in FILES.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        wanted = root / "etc/systemd/system/multi-user.target.wants/site.service"
        wanted.symlink_to("../site.service")
        ignored = shutil.ignore_patterns("__pycache__", "image")
        simulation = root / SIMULATION
        shutil.copytree(HERE, simulation / "gx", ignore=ignored)
        shutil.copy2(IMAGE / "opt/victronenergy/service/site/run", simulation)
        self._inside.run("chroot", self._system, "useradd", "--create-home", LOGIN)
        keys = root / "home" / LOGIN / ".ssh"
        keys.mkdir(mode=0o700)
        (keys / "authorized_keys").write_text(f"{authorized_key}\n")
        self._inside.run("chroot", self._system, "chown", "-R", LOGIN, f"/home/{LOGIN}/.ssh")

    def _find_init(self) -> int | None:
        """Return the first process of its own process namespace in its network."""
        assert self._boot
        if self._boot.poll() is not None:
            raise SimulationError(f"{self.spec.name} does not boot (see {self.sim}/console.log)")
        network = os.stat(self._inside.path(self.directory / "net"))
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):  # it is gone, or none of ours
                own = next(li for li in status.read_text().splitlines() if li[:6] == "NSpid:")
                here = os.stat(status.parent / "ns/net")
                if own.split()[-1] == "1" and os.path.samestat(here, network):
                    return int(status.parent.name)
        return None

    def _kill(self) -> None:
        if pid := self.pid:
            kill_and_wait(pid)
        if self._boot:
            self._boot.wait()
            self._boot = None
        (self.directory / "pid").unlink(missing_ok=True)
