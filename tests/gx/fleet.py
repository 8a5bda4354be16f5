"""A fleet of simulated GX devices with the controller's network, as a library.

with Fleet.create(specs, workdir) as fleet:
    fleet.run("ansible-playbook", "playbooks/deploy.yml")
    fleet.devices["harbour"].reboot()
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

from gx import inventory, rootfs
from gx.device import Device, DeviceSpec
from gx.namespaces import Namespaces, SimulationError, kill_and_wait, namespaces_permitted
from gx.network import FIRST_HOST, LAST_HOST, Network
from gx.waiting import wait_until

PARALLEL = 4
DOWN_S = 10.0


class Fleet:
    """Devices that run, and the place a controller reaches them from.

    A fleet that this process made ends with it, unless `keep` is called; whoever comes next can
    `attach` to one that was kept.
    """

    def __init__(self, workdir: Path, namespaces: Namespaces) -> None:
        self.workdir = workdir
        self.namespaces = namespaces
        self.network = Network(namespaces)
        self.devices: dict[str, Device] = {}
        self._authorized_key = ""
        self._kept = False
        self._next_host = FIRST_HOST

    @classmethod
    def create(cls, specs: Iterable[DeviceSpec], workdir: Path) -> "Fleet":
        """Make a fleet in a directory of its own and turn every device on.

        Raises SimulationError when one is up there already, or where no device can run.
        """
        if reason := namespaces_permitted():
            raise SimulationError(reason)
        workdir = workdir.resolve()
        lock = _claim(workdir)
        try:
            _remove_all_but_lock(workdir)
            namespaces = Namespaces.start(workdir, inherited=[lock.fileno()])
        finally:
            lock.close()
        fleet = cls(workdir, namespaces)
        try:
            fleet._build(list(specs))
        except BaseException:
            fleet.close()
            raise
        return fleet

    @classmethod
    def attach(cls, workdir: Path) -> "Fleet":
        """Return the fleet that was kept in a directory; raises SimulationError if none is up."""
        workdir = workdir.resolve()
        if not is_up(workdir):
            raise SimulationError(f"no fleet is up in {workdir}")
        state = json.loads((workdir / "state.json").read_text())
        fleet = cls(workdir, Namespaces(state["pid"], workdir))
        fleet._authorized_key = state["authorized_key"]
        for entry in state["devices"]:
            fleet._place(DeviceSpec(**entry["spec"]), entry["host"])
        return fleet

    def keep(self) -> None:
        """Let the fleet outlive this process, and the `with` that it was made in."""
        self.namespaces.keep()
        self._kept = True

    def add(self, spec: DeviceSpec) -> Device:
        """Make one more device and turn it on."""
        return self.add_all([spec])[0]

    def add_all(self, specs: Iterable[DeviceSpec], kind: type[Device] = Device) -> list[Device]:
        """Make more devices, or hosts of another kind, and turn them on, some at a time."""
        devices = [self._place(spec, kind=kind) for spec in specs]
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(self._create, devices))
            self._publish()
            list(pool.map(lambda device: device.start(), devices))
        return devices

    def remove(self, device: Device) -> None:
        """Turn a device off and forget it."""
        device.destroy()
        del self.devices[device.spec.name]
        self._publish()

    def command(self, *command: str | Path, cwd: Path = inventory.REPOSITORY) -> list[str]:
        """Return the command that runs another one in the controller's network."""
        return [*self.namespaces.entering(cwd=cwd), *map(str, command)]

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the controller in the repository; raises CalledProcessError."""
        return subprocess.run(
            self.command(*command),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=check,
        )

    def environment(self) -> dict[str, str]:
        """Return the environment of the controller's commands."""
        return inventory.environment(self.workdir)

    def device(self, name: str) -> Device:
        """Return a device by name; raises SimulationError for an unknown one."""
        try:
            return self.devices[name]
        except KeyError:
            known = ", ".join(self.devices)
            raise SimulationError(f"no device {name}: there are {known}") from None

    def close(self) -> None:
        """End every process of the fleet; the kernel undoes the rest. Files stay for a look."""
        self.namespaces.close()

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            self.close()

    def _build(self, specs: list[DeviceSpec]) -> None:
        self.network.create()
        (self.workdir / "devices").mkdir()
        rootfs.build(self.workdir / "base", self.namespaces)
        self._authorized_key = inventory.make_login_key(self.workdir)
        self.add_all(specs)

    def _create(self, device: Device) -> None:
        device.create(self.workdir / "base", self._authorized_key)

    def _place(
        self, spec: DeviceSpec, host: int | None = None, kind: type[Device] = Device
    ) -> Device:
        """Give a device its name and an address.

        A new device does not get the address of the last one that was removed: the controller may
        keep a connection to that one.
        """
        if spec.name in self.devices:
            raise SimulationError(f"the fleet has a device {spec.name} already")
        taken = {device.host for device in self.devices.values()}
        if host is None:
            later = [*range(self._next_host, LAST_HOST + 1), *range(FIRST_HOST, self._next_host)]
            host = next(number for number in later if number not in taken)
        self._next_host = host + 1
        device = kind(spec, self.workdir / "devices", self.network, host)
        self.devices[spec.name] = device
        return device

    def _publish(self) -> None:
        """Write what a controller, and who attaches later, must know."""
        inventory.write(self.workdir, self.devices.values())
        state = {
            "pid": self.namespaces.pid,
            "authorized_key": self._authorized_key,
            "devices": [
                {"host": device.host, "spec": device.spec._asdict()}
                for device in self.devices.values()
            ],
        }
        (self.workdir / "state.json").write_text(json.dumps(state, indent=2))


def is_up(workdir: Path) -> bool:
    """Say whether a fleet is up in a directory, or is being made there."""
    try:
        with (workdir / "lock").open() as lock:
            return not _locked(lock)
    except FileNotFoundError:
        return False


def down(workdir: Path) -> bool:
    """End the fleet of a directory and remove its files; False when there was none."""
    workdir = workdir.resolve()
    if was_up := is_up(workdir):
        try:
            pid = json.loads((workdir / "state.json").read_text())["pid"]
        except FileNotFoundError:
            raise SimulationError(f"a fleet is just being made in {workdir}") from None
        kill_and_wait(pid)
        wait_until(lambda: not is_up(workdir), "the fleet to end", DOWN_S)
    if workdir.is_dir():
        _remove_all_but_lock(workdir)
    return was_up


def _claim(workdir: Path) -> TextIO:
    """Take the directory's lock; whoever inherits it holds it until the fleet has ended."""
    workdir.mkdir(parents=True, exist_ok=True)
    lock = (workdir / "lock").open("w")
    if not _locked(lock):
        lock.close()
        raise SimulationError(f"a fleet is up already in {workdir}")
    return lock


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_all_but_lock(workdir: Path) -> None:
    for entry in os.scandir(workdir):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry)
        elif entry.name != "lock":
            os.unlink(entry)


if __name__ == "__main__":
    from gx.command import main

    sys.exit(main())
