"""One roll-out on nine devices, of which six fail, each in its own way, and one is offline.

The tests read one story of five runs, each on what the run before has left.
"""

from typing import NamedTuple

import pytest
from gx.device import Device, DeviceSpec
from gx.waiting import wait_until
from role import REPOSITORY

from fleet import held
from fleet.deployment import BASE, HASTE, Controller, Played, current

LIMIT_W = 30000
OTHER_ID = "c0619affffff"
SITE = {"vebus": [{"name": "ttyS4", "phases": 3, "units": 3}], "load_w": 34000}

# A release that does what a file on the device says; without it, it is as good as any.
MOODS = """#!/bin/sh
case $(cat /data/mood 2>/dev/null) in
crash) exit 1 ;;
hang) exec sleep 1000 ;;
blind)
    dbus-send --system --print-reply --dest=com.victronenergy.settings \\
        /Settings/CGwacs/Hub4Mode com.victronenergy.BusItem.SetValue variant:int32:3
    ;;
esac
"""
# What the controller does to a device between the look at it and the change of it.
MEDDLING = {
    "unreachable": "ip link set gx{device.host} down",
    "no space": "dd if=/dev/zero of={device.directory}/data/fill bs=64k 2>/dev/null",
    "other portal id": f"echo {OTHER_ID} >{{device.directory}}/data/venus/unique-id",
}
# By name of the device: the state that it ends in, and the reason.
FAILURES = {
    "crash": ("rolled back", "it crashes: started 5 times; back to "),
    "hang": ("rolled back", "no status from the running agent; back to "),
    "unreachable": ("pending", "nothing was sent: offline: "),
    "blind": ("rolled back", "not enforceable: "),
    "no space": ("failed", "kB are needed"),
    "other portal id": ("failed", f"this is {OTHER_ID}, not c0619d"),
}
# In the order of the inventory, and so of the waves.
ORDER = ("crash", "hang", "unreachable", "good 1", "good 2", "blind", "no space")
NAMES = (*ORDER, "other portal id", "late")


class Run(NamedTuple):
    """One run of deploy.yml, by name of the device: states, reasons, executions, then current."""

    played: Played
    states: dict[str, str]
    reasons: dict[str, str]
    executions: dict[str, int]
    current: dict[str, str]


class Story:
    """The devices, and the runs so far."""

    def __init__(self, controller: Controller, devices: dict[str, Device]) -> None:
        self.controller = controller
        self.devices = devices
        self.runs: dict[str, Run] = {}
        self.caps: dict[str, held.Cap] = {}

    def run(self, title: str, **variables: object) -> Run:
        """Run deploy.yml on all devices."""
        variables = {"lost_link_s": 5, **variables}
        given = {f"export_limiter_{name}": value for name, value in variables.items()}
        played = self.controller.play("deploy", self.devices.values(), **HASTE, **given)
        rows = {name: played.rows.get(d.spec.name, {}) for name, d in self.devices.items()}
        run = Run(
            played,
            {name: row.get("state") for name, row in rows.items()},
            {name: row.get("reason") for name, row in rows.items()},
            {name: self.controller.count_executions(d) for name, d in self.devices.items()},
            {name: _current(device) for name, device in self.devices.items()},
        )
        self.runs[title] = run
        return run


def play_ahead(stage):
    """Install; be refused; upgrade until it stops; go on with the rest; do the rest of that."""
    specs = [
        DeviceSpec(
            name=f"w{number}-{name.replace(' ', '-')}",
            portal_id=f"c0619d{number:06x}",
            site=SITE,
            data_mb=32,
            variables={"export_limiter_max_multiplus_output_w": LIMIT_W},
        )
        for number, name in enumerate(NAMES)
    ]
    devices = dict(zip(NAMES, stage.fleet.add_all(specs), strict=True))
    story, network = Story(stage.controller(), devices), stage.fleet.network
    network.set_link(devices["late"].host, up=False)
    story.run("install", waves=["100%"])
    story.run("refuse", waves=["100%"], max_offline=0)
    network.set_link(devices["late"].host, up=True)
    for name in (*ORDER, "other portal id"):
        wait_until(
            lambda name=name: held.limited(devices[name], LIMIT_W), "the limit to be kept", 90
        )
        story.caps[name] = held.Cap(devices[name])

    run = (REPOSITORY / "agent/run").read_text().removeprefix("#!/bin/sh\n")
    moody = {k[15:]: v for k, v in stage.repository.commit({"run": MOODS + run}).items()}
    for name in ("crash", "hang", "blind"):
        (devices[name].data / "mood").write_text(name)
    for name, script in MEDDLING.items():
        story.controller.before(devices[name], 2, script.format(device=devices[name]))
    upgrade = {**moody, "health_s": 15}
    story.run("stop", waves=["1", "4", "100%"], max_failures=1, **upgrade)

    for name in ("crash", "hang"):
        (devices[name].data / "mood").unlink()
    network.set_link(devices["unreachable"].host, up=True)
    story.run("go on", waves=["100%"], max_failures=9, **upgrade)

    (devices["blind"].data / "mood").unlink()
    devices["blind"].ask("write", service="settings", path="/Settings/CGwacs/Hub4Mode", value=1)
    (devices["no space"].data / "fill").unlink()
    identity = devices["other portal id"].data / "venus/unique-id"
    identity.write_text(devices["other portal id"].spec.portal_id)
    story.run("finish", waves=["100%"], **upgrade)
    return story


def test_one_offline_device_stops_nobody(story):
    run = story.runs["install"]

    assert run.played.code == 0, run.played.text
    assert run.states == dict.fromkeys(ORDER, "confirmed") | {
        "other portal id": "confirmed",
        "late": "pending",
    }


def test_offline_devices_stop_all_where_the_inventory_says_so(story):
    run = story.runs["refuse"]

    assert run.played.code == 2
    assert "export_limiter_max_offline: 1 are offline, allowed: 0" in _unwrapped(run.played)
    assert set(run.executions.values()) == {1, 3}  # only looked at; ssh tries thrice
    assert run.current == story.runs["install"].current


def test_no_wave_starts_after_too_many_failures(story):
    run = story.runs["stop"]

    assert run.played.code == 2
    assert {name: run.states[name] for name in NAMES[:5]} == {
        "crash": "rolled back",
        "hang": "rolled back",
        "unreachable": "pending",
        "good 1": "confirmed",
        "good 2": "confirmed",
    }
    for name in NAMES[5:]:
        assert (run.states[name], run.executions[name]) == ("not tried", 1)
        assert run.current[name] == story.runs["install"].current[name]


def test_next_run_does_only_the_rest(story):
    run = story.runs["go on"]

    assert [run.states[name] for name in ("good 1", "good 2")] == ["converged"] * 2
    assert [run.executions[name] for name in ("good 1", "good 2")] == [1, 1]
    for name in ("crash", "hang", "unreachable", "late"):
        assert (run.states[name], run.executions[name]) == ("confirmed", 2), run.reasons[name]


@pytest.mark.parametrize("name", FAILURES)
def test_failure_is_named_and_leaves_what_ran(story, name):
    run = story.runs["stop" if name in NAMES[:5] else "go on"]

    state, reason = FAILURES[name]
    assert run.states[name] == state
    assert reason in run.reasons[name]
    assert run.current[name] == story.runs["install"].current[name]


def test_last_run_leaves_all_the_same(story):
    run = story.runs["finish"]

    assert run.played.code == 0, run.played.text
    rest = ("blind", "no space", "other portal id")
    assert run.states == {n: "confirmed" if n in rest else "converged" for n in NAMES}
    assert len(set(run.current.values())) == 1
    assert [held.census(device) for device in story.devices.values()] == [(1, 1)] * len(NAMES)


@pytest.mark.parametrize("title", ["install", "stop", "go on", "finish"])
def test_every_run_reports_each_device_once(story, title):
    run = story.runs[title]

    assert None not in run.states.values()
    assert len(run.played.rows) == len(NAMES)
    told = run.played.text.partition("PLAY [Report on every device]")[2]
    for name, device in story.devices.items():
        assert f"{device.spec.name}  " in told
        assert run.states[name] in told


def test_cap_is_held_through_all_of_it(story):
    del story.caps["blind"]  # nobody can hold a cap where somebody takes the site's ESS away

    for cap in story.caps.values():
        assert cap.held(LIMIT_W)


def _current(device):
    return current(device) if (device.data / BASE / "current").is_symlink() else ""


def _unwrapped(played):
    return " ".join(played.text.split())
