"""The command line of the simulated fleet: `python3 -m gx.fleet ...`."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from gx import inventory
from gx.fleet import Fleet, down
from gx.namespaces import SimulationError
from gx.sites import SITES
from gx.waiting import DeadlineError

TESTS = inventory.REPOSITORY / "tests"
WORKDIR = inventory.REPOSITORY / ".fleet"


def main() -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="gx.fleet", description="A fleet of simulated GX devices, for a person to try."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, about in (
        ("up", "start two devices, harbour and cabin, and leave them running"),
        ("down", "stop everything and remove its files"),
        ("status", "show the devices"),
        ("exec", "run a command where the controller is"),
        ("ssh", "log in to a device, or run a command there"),
        ("off", "turn a device off"),
        ("on", "turn it on again"),
        ("reboot", "reboot a device"),
        ("ask", "send a request to a device's simulated site, as do=load w=41000"),
    ):
        options = verbs.add_parser(verb, help=about)
        options.add_argument("--dir", type=Path, default=WORKDIR, help="where its files are")
        if verb not in ("up", "down", "status", "exec"):
            options.add_argument("device")
        if verb in ("exec", "ask", "ssh"):
            options.add_argument("words", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if "words" in given:
        given.words = given.words[given.words[:1] == ["--"] :]
        if not given.words and given.verb != "ssh":
            parser.error(f"{given.verb}: what?")
    try:
        return _do(given)
    except KeyboardInterrupt:
        print("fleet: interrupted", file=sys.stderr)
        return 130
    except (SimulationError, DeadlineError, ValueError) as stopped:
        print(f"fleet: {stopped}", file=sys.stderr)
        return 1


def _do(given: argparse.Namespace) -> int:
    if given.verb == "up":
        return _up(given.dir)
    if given.verb == "down":
        print("fleet: stopped" if down(given.dir) else "fleet: none was up")
        return 0
    fleet = Fleet.attach(given.dir)
    if given.verb == "status":
        return _status(fleet)
    if given.verb == "exec":
        _become(fleet, *given.words)
    device = fleet.device(given.device)
    if given.verb == "ssh":
        options = inventory.ssh_options(fleet.workdir, device)
        _become(fleet, "ssh", *options, f"root@{device.address}", *given.words)
    elif given.verb == "off":
        if not device.pid:
            raise SimulationError(f"{given.device} is off already")
        device.stop()
    elif given.verb == "on":
        device.start()
    elif given.verb == "reboot":
        device.reboot()
    else:
        print(json.dumps(device.ask(**dict(_pair(word) for word in given.words))))
    return 0


def _become(fleet: Fleet, *words: str) -> NoReturn:
    """Be a command of the controller from now on."""
    sys.stdout.flush()
    command = fleet.command(*words, cwd=Path.cwd())
    os.execvpe(command[0], command, fleet.environment())


def _up(workdir: Path) -> int:
    with Fleet.create(SITES, workdir) as fleet:
        note = inventory.write_pin(fleet.workdir)
        fleet.keep()
    if note:
        print(f"fleet: {note}", file=sys.stderr)
    _status(fleet)
    handle = _write_handle(fleet.workdir)
    print(f"Run a playbook on them:  {handle} exec ansible-playbook playbooks/deploy.yml")
    print(f"Change a site's load:    {handle} ask {SITES[0].name} do=load w=41000")
    print(f"Stop them:               {handle} down")
    return 0


def _write_handle(workdir: Path) -> str:
    """Write a script that says `python3 -m gx.fleet ... --dir ...`; return how to call it."""
    script = workdir / "fleet"
    script.write_text(
        "#!/bin/sh\n"
        "# The simulated fleet of this directory: fleet VERB ..., `fleet --help` lists the verbs.\n"
        "verb=$1\n"
        "shift\n"
        f"export PYTHONPATH={TESTS}\n"
        f'exec {sys.executable} -m gx.fleet "$verb" --dir {workdir} "$@"\n'
    )
    script.chmod(0o755)
    return os.path.relpath(script)


def _status(fleet: Fleet) -> int:
    for name, device in fleet.devices.items():
        state = f"on, init is process {device.pid}" if device.pid else "off"
        print(f"{name:<12} {device.address:<14} {device.spec.version:<8} {state}")
    return 0


def _pair(word: str) -> tuple[str, object]:
    """Take `w=41000` apart; what is not JSON is text."""
    key, _, text = word.partition("=")
    try:
        return key, json.loads(text)
    except ValueError:
        return key, text
