"""The demo on simulated GX devices: started, deployed to by the real playbook, taken away again."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gx import inventory
from gx.device import Device
from gx.fleet import Fleet
from gx.sites import SITES

from demo.loads import site_of
from demo.story import RunningSite, StoryError
from demo.view import View

WORKDIR = inventory.REPOSITORY / "build/demo-fleet"
PLAYBOOK = "playbooks/deploy.yml"


@contextmanager
def on_devices(view: View) -> Iterator[list[RunningSite]]:
    """Start the devices, deploy the agent to them and stop them at the end."""
    commit = _head()
    with view.step("Starting two simulated GX devices"):
        fleet = Fleet.create(SITES, WORKDIR)
    with fleet:
        view.say(f"Deploying the agent of HEAD, {commit[:12]}")
        if note := inventory.write_pin(fleet.workdir):
            view.say(note)
        _deploy(fleet, view)
        yield [_running(device) for device in fleet.devices.values()]


def _head() -> str:
    git = ["git", "-C", str(inventory.REPOSITORY), "rev-parse", "--verify", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.partition("\n")[0].removeprefix("fatal: ")
        raise StoryError(f"only a git commit can be deployed, and this is not a clone: {why}")
    return done.stdout.strip()


def _deploy(fleet: Fleet, view: View) -> None:
    """Run the playbook and show what it prints."""
    colour = {"ANSIBLE_FORCE_COLOR": "1"} if view.console.is_terminal else {}
    view.say(f"$ ansible-playbook {PLAYBOOK}")
    with view.step(f"Running {PLAYBOOK}"):
        playbook = subprocess.Popen(
            fleet.command("ansible-playbook", PLAYBOOK),
            env={**fleet.environment(), **colour},
            cwd=inventory.REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo, which ends it with the devices
        )
        assert playbook.stdout
        try:
            for line in playbook.stdout:
                view.echo(line.rstrip())
            code = playbook.wait()
        except BaseException:
            playbook.kill()
            raise
    if code:
        raise StoryError(f"{PLAYBOOK} failed with exit code {code}")


def _running(device: Device) -> RunningSite:
    return RunningSite(
        site=site_of(device.spec),
        ask=device.ask,
        status=Path(f"/proc/{device.pid}/root/run/venus-export-limiter/status.json"),
        log=device.data / "log/venus-export-limiter/current",
    )
