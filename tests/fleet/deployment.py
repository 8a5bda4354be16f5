"""A controller for the fleet tests: releases to deploy, playbooks to run and what came of them."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gx.device import Device
from gx.fleet import Fleet
from role import REPOSITORY, load

pin = load("controller/pin.py")

BASE = "venus-export-limiter"
CRASHING = {"run": "#!/bin/sh\nexit 1\n"}
SILENT = {"run": "#!/bin/sh\nexec sleep 1000\n"}
# A dead link is noticed at once, not after half a minute.
HASTE = {
    "ansible_ssh_extra_args": (
        "-o HostKeyAlias={{ inventory_hostname }} -o StrictHostKeyChecking=yes -o LogLevel=ERROR"
        " -o ServerAliveInterval=1 -o ServerAliveCountMax=2"
    ),
}


class Played(NamedTuple):
    """What a playbook came to; `rows` is its JSON report by host."""

    code: int
    text: str
    rows: dict[str, dict[str, Any]]

    @property
    def states(self) -> dict[str, str]:
        """Return each host's state."""
        return {host: row["state"] for host, row in self.rows.items()}


class Repository:
    """A git repository with the agent of this working tree, as it is or with files replaced."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "agent", directory / "agent", ignore=ignored)
        self._git("init", "--quiet")
        self.whole = self.commit({})

    def commit(self, files: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that pin the agent with these files replaced."""
        shutil.rmtree(self.directory / "agent")
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "agent", self.directory / "agent", ignore=ignored)
        for path, text in files.items():
            (self.directory / "agent" / path).write_text(text)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", "x")
        release = pin.build(str(self.directory), pin.head(str(self.directory)))
        return {
            "export_limiter_repository": str(self.directory),
            "export_limiter_commit": release.commit,
            "export_limiter_sha256": release.sha256,
        }

    def _git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        subprocess.run(["git", "-C", self.directory, *identity, *arguments], check=True)


# Every execution of ssh is noted by its host; a test may have something done before the nth.
COUNTING_SSH = """#!/bin/sh
here=${0%/*}
for word in "$@"; do
    case $word in 192.0.2.* | 198.51.100.*) host=$word ;; esac
done
echo "$host" >>"$here/executions"
before=$here/before-$host-$(grep -cx "$host" "$here/executions")
if [ -f "$before" ]; then
    mv "$before" "$before.done"
    sh "$before.done"
fi
exec ssh "$@"
"""

# Runs a command at a terminal of its own; types an answer when it has asked and waits: what is
# typed sooner is thrown away.
TERMINAL = """
import os, pty, select, sys
prompt, answer, *words = sys.argv[1:]
child, terminal = pty.fork()
if not child:
    os.execvp(words[0], words)
said = b""
while True:
    if not select.select([terminal], [], [], 1)[0]:
        if prompt.encode() in said:
            os.write(terminal, answer.encode() + b"\\r")
            said = b""
        continue
    try:
        read = os.read(terminal, 4096)
    except OSError:
        break
    os.write(1, read)
    said += read
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Controller:
    """Runs playbooks on some devices of a fleet, with the limits of the inventory."""

    def __init__(
        self,
        fleet: Fleet,
        repository: Repository,
        workdir: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.fleet = fleet
        self._environment = environment or {}
        self.repository = repository
        self.workdir = workdir
        self.executions = workdir / "executions"
        self.report = workdir / "report.json"
        self._ssh = workdir / "ssh"
        self._ssh.write_text(COUNTING_SSH)
        self._ssh.chmod(0o755)

    def play(
        self,
        playbook: str,
        devices: Iterable[Device],
        *arguments: str,
        **variables: Any,
    ) -> Played:
        """Run a playbook on these devices; variables go before those of the inventory."""
        return self.finish(self.start(playbook, devices, *arguments, **variables))

    def start(
        self,
        playbook: str,
        devices: Iterable[Device],
        *arguments: str,
        cwd: Path = REPOSITORY,
        answering: tuple[str, str] | None = None,
        **variables: object,
    ) -> subprocess.Popen[str]:
        """Start a playbook, in a session of its own; one at a time.

        `answering` is a prompt, and what is typed then; without it there is no terminal.
        """
        self.report.unlink(missing_ok=True)
        self.executions.write_text("")
        given = {
            **self.repository.whole,
            # The load of a simulated device is that of the machine the tests run on.
            "export_limiter_max_load": 1000,
            "export_limiter_report": str(self.report),
            "export_limiter_reports": str(self.workdir / "reports"),
            "ansible_ssh_executable": str(self._ssh),
            **variables,
        }
        names = ",".join(device.spec.name for device in devices)
        at = [sys.executable, "-c", TERMINAL, *answering] if answering else []
        command = [*at, "ansible-playbook", f"playbooks/{playbook}.yml", "--limit", names]
        return subprocess.Popen(
            self.fleet.command(*command, "-e", json.dumps(given), *arguments, cwd=cwd),
            env={**self.fleet.environment(), **self._environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, playing: subprocess.Popen[str]) -> Played:
        """Wait for the end of a playbook that was started."""
        text = playing.communicate()[0]
        told = json.loads(self.report.read_text()) if self.report.exists() else []
        rows = told["devices"] if isinstance(told, dict) else told
        return Played(playing.returncode, text, {row["host"]: row for row in rows})

    @staticmethod
    def kill(playing: subprocess.Popen[str]) -> None:
        """Kill a playbook that was started, with all that it has started."""
        os.killpg(playing.pid, signal.SIGKILL)
        playing.communicate()

    def before(self, device: Device, nth: int, script: str) -> None:
        """Have a script run once, by the controller before the nth execution on a device."""
        (self.workdir / f"before-{device.address}-{nth}").write_text(script)

    def count_executions(self, device: Device | None = None) -> int:
        """Return how often the last playbook ran ssh, on one device or at all."""
        ran = self.executions.read_text().split()
        return ran.count(device.address) if device else len(ran)


def tree(device: Device, *, without: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return every entry of /data with its kind, mode, owner and content."""
    found = {}
    for here, directories, names in os.walk(device.data):
        for path in (Path(here, name) for name in directories + names):
            name = str(path.relative_to(device.data))
            if name.startswith(("lost+found", *without)):
                continue
            about = path.lstat()
            content = ""
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = (oct(about.st_mode), f"{about.st_uid}:{about.st_gid}", content)
    return found


def current(device: Device) -> str:
    """Return the id of the release that is current."""
    return os.readlink(device.data / BASE / "current").removeprefix("releases/")


def config(device: Device) -> dict[str, Any]:
    """Return the configuration that is current."""
    return json.loads(
        (device.data / BASE / "releases" / current(device) / "config.json").read_text()
    )


def status(device: Device) -> dict[str, Any]:
    """Return what the agent last said of itself."""
    return json.loads(device.run(f"cat /run/{BASE}/status.json").stdout)


def agents(device: Device) -> int:
    """Count the running agents."""
    listing = device.run("ps -o args").stdout.splitlines()
    return sum("export_limiter run" in line for line in listing)


def supervisors(device: Device) -> int:
    """Count the processes that supervise the agent, its log apart."""
    listing = device.run("ps -o args").stdout.splitlines()
    return sum(line.startswith(f"supervise {BASE}") for line in listing)
