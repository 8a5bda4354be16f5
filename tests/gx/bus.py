"""A private bus with a simulated site and the agent on it, as processes of their own.

Nothing here speaks D-Bus: the site is asked through its control socket, the agent through its
status file. Everything started ends with its context, and with this process if that is killed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gx.process import STOP_S, Process
from gx.waiting import DeadlineError, wait_until

TESTS = Path(__file__).resolve().parents[1]
AGENT = TESTS.parent / "agent"
PYTHON = os.environ.get("GX_PYTHON", "/usr/bin/python3")

# Venus OS lets every process own and send anything (its recipes-core/dbus/files/system.conf).
_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="*"/>
    <allow user="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
  {limit}
</busconfig>
"""

_MOST_REPLIES = '<limit name="max_replies_per_connection">{}</limit>'

Json = dict[str, Any]

NOTIFICATION = "/Notifications/Inject"


class PrivateBus:
    """A dbus-daemon with Venus' open policy, ready when it says so; `address` is its address.

    With `most_replies` it refuses further calls of a client that waits for so many replies.
    """

    def __init__(self, directory: Path, most_replies: int | None = None) -> None:
        self.address = f"unix:path={directory / 'bus'}"
        self.most_replies = most_replies
        self._directory = directory
        self._process: Process | None = None

    def __enter__(self) -> PrivateBus:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the daemon, at the same address each time."""
        config = self._directory / "bus.conf"
        limit = _MOST_REPLIES.format(self.most_replies) if self.most_replies else ""
        config.write_text(_CONFIG.format(socket=self._directory / "bus", limit=limit))
        command = ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"]
        self._process = Process(command, {}, self._directory / "bus.log", talking=True)
        self._process.first_line()

    def stop(self) -> None:
        """End the daemon: every connection is lost."""
        if self._process:
            self._process.kill()
            self._process = None
        (self._directory / "bus").unlink(missing_ok=True)


class BusClient:
    """Any program on the bus, as tests need it; see `gx.client` for what can be asked."""

    def __init__(self, bus: PrivateBus, log: Path) -> None:
        command = [PYTHON, "-B", "-m", "gx.client", bus.address]
        self._process = Process(command, {"PYTHONPATH": str(TESTS)}, log, talking=True)
        self._process.first_line()

    def __enter__(self) -> BusClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()

    def ask(self, verb: str, **keys: Any) -> Json:
        """Ask for a verb and return its answer."""
        child = self._process.child
        child.stdin.write(json.dumps({"do": verb, **keys}).encode() + b"\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())

    def call(self, service: str, path: str, member: str, *args: tuple[str, Any]) -> Json:
        """Call a method of BusItem with variants, each given as (type, value)."""
        name = service if service.startswith("com.") else f"com.victronenergy.{service}"
        return self.ask("call", service=name, path=path, member=member, args=args)

    def get(self, service: str, path: str) -> Any:
        """Return a path's value, [] for an invalid one."""
        return self.call(service, path, "GetValue")["value"]

    def set(self, service: str, path: str, value: float, kind: str = "d") -> int:
        """Write a path and return the code of SetValue."""
        return self.call(service, path, "SetValue", (kind, value))["value"]


class Control:
    """A client of a site's control socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(STOP_S)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")

    def do(self, verb: str, **keys: Any) -> Json:
        """Ask for a verb and return its answer; raises ValueError with the site's own words."""
        self._socket.sendall(json.dumps({"do": verb, **keys}).encode() + b"\n")
        answer = json.loads(self._lines.readline())
        if not answer.pop("ok"):
            raise ValueError(answer["error"])
        return answer

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()


class Site:
    """The simulated services of one site on a bus; `spec` is its site file."""

    def __init__(
        self, bus: PrivateBus, spec: Json, directory: Path, arguments: Sequence[str] = ()
    ) -> None:
        self._bus = bus
        self._spec = spec
        self._directory = directory
        self._arguments = arguments
        self.record = directory / "record.csv"
        self.log = directory / "site.log"

    def __enter__(self) -> Site:
        site, control = self._directory / "site.json", self._directory / "control"
        site.write_text(json.dumps(self._spec))
        command = [PYTHON, "-B", "-m", "gx.services", "--bus", self._bus.address]
        command += ["--site", str(site), "--control", str(control), "--record", str(self.record)]
        env = {"PYTHONPATH": str(TESTS)}
        self.process = Process([*command, *self._arguments], env, self.log, talking=True)
        try:
            self.process.first_line()
            self._control = Control(control)
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self.process.kill()

    def do(self, verb: str, **keys: Any) -> Json:
        """Ask the site for a verb, see `gx.verbs`; raises ValueError with its own words."""
        return self._control.do(verb, **keys)

    def state(self) -> Json:
        """Return the truth of the plant and what was written."""
        return self.do("state")

    def get(self, service: str, path: str) -> Any:
        """Return what a path holds, None for an invalid value."""
        return self.do("get", service=service, path=path)["value"]

    def wait_until(
        self, condition: Callable[[Json], object], what: str, deadline_s: float = 10.0
    ) -> Json:
        """Return the first state that meets the condition."""
        return wait_until(lambda: _if(condition, self.state()), what, deadline_s)

    def let_pass(self, seconds: float) -> Json:
        """Return the state once so many of the site's seconds have passed."""
        end_s = self.state()["t"] + seconds
        return self.wait_until(lambda state: state["t"] >= end_s, f"{seconds:g} s", 60 + seconds)

    def writes(self, path: str | None = None) -> list[Json]:
        """Return what programs wrote over D-Bus, oldest first; those made by `write` left out.

        Without a path: all but notifications, which are for people and limit nothing.
        """
        written = [each for each in self.state()["writes"] if each["sender"] != "other"]
        if path is None:
            return [each for each in written if each["path"] != NOTIFICATION]
        return [each for each in written if path == each["path"]]


class AgentProcess:
    """The agent from the working tree, on a bus, with its own runtime and state directories.

    With a `speed` other than 1 its clock runs as that of a site started with the same `--speed`.
    `python` is the command that runs it.
    """

    def __init__(
        self,
        bus: PrivateBus,
        config: Json,
        directory: Path,
        arguments: Sequence[str] = (),
        speed: float = 1.0,
        python: Sequence[str] = (PYTHON,),
    ) -> None:
        self.runtime, self.state = directory / "run", directory / "state"
        self.log = directory / "agent.log"
        self.config = directory / "config.json"
        self.config.write_text(json.dumps(config, sort_keys=True, indent=2) + "\n")
        self.environment = {
            "PYTHONPATH": str(AGENT) if speed == 1 else f"{AGENT}:{TESTS}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "DBUS_SYSTEM_BUS_ADDRESS": bus.address,
        }
        self.arguments = ["--runtime-dir", str(self.runtime), "--state-dir", str(self.state)]
        self._more = list(arguments)
        self._python = python
        self._program = ["export_limiter"] if speed == 1 else ["gx.faster", str(speed)]
        for each in (self.runtime, self.state):
            each.mkdir(exist_ok=True)

    def __enter__(self) -> AgentProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the agent."""
        self.process = Process(
            self.command("run", "--config", str(self.config), *self._more),
            self.environment,
            self.log,
            cwd=AGENT,
        )

    def command(self, verb: str, *arguments: str) -> list[str]:
        """Return the command line of one of the agent's verbs."""
        return [*self._python, "-m", *self._program, verb, *self.arguments, *arguments]

    def call(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end."""
        return subprocess.run(
            self.command(verb, *arguments),
            env={**os.environ, **self.environment},
            cwd=AGENT,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit status."""
        return self.process.kill(number)

    def status(self) -> Json | None:
        """Return the status file, None before there is one."""
        try:
            return json.loads((self.runtime / "status.json").read_text())
        except FileNotFoundError:
            return None

    def wait_for(self, deadline_s: float = 20.0, **fields: object) -> Json:
        """Return the first status whose fields have these values, e.g. `state="limiting"`.

        A value may be a function, which is then asked. Raises DeadlineError with the last status.
        """

        def met() -> Json | None:
            status = self.status()
            if self.process.ended:
                raise DeadlineError(f"the agent ended:\n{self.log.read_text()}")
            return status if status and _matches(status, fields) else None

        try:
            return wait_until(met, f"{fields}", deadline_s)
        except DeadlineError as error:
            raise DeadlineError(f"{error}; last: {self.status()}") from error


def _matches(status: Json, fields: Mapping[str, object]) -> bool:
    for name, wanted in fields.items():
        value = status.get(name)
        if not (wanted(value) if callable(wanted) else value == wanted):
            return False
    return True


def _if(condition: Callable[[Json], object], state: Json) -> Json | None:
    return state if condition(state) else None
