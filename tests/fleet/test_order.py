"""The order in which an activation reaches the disk, as its system calls tell it.

At each change that means something, everything before it must be on the disk already: a power cut
can then take back the last change, and never an earlier one.
"""

import subprocess

import pytest
from gx.device import DeviceSpec
from gx.waiting import wait_until

from fleet import held, traced
from fleet.asked import Asking, ask, wanted
from fleet.deployment import BASE, CRASHING

HOME = f"/data/{BASE}/"
# Lost by a power cut without harm: who held the lock, a note for people, what every boot makes.
MAY_BE_LOST = {f"{HOME}lock", f"{HOME}failed", f"/data/log/{BASE}"}
SHORT = {"CRASHES = 4": "CRASHES = 1", "STABLE_S = 5": "STABLE_S = 2"}
LIMIT = {"max_multiplus_output_w": 30000}
SITE = {"vebus": [{"name": "ttyS4", "phases": 3, "units": 3}]}
SWITCHED = ["current", "run sh boot", "run svc -t"]
PREPARED = ["releases/NEW", "run export-limiter check-config", "back", "pending"]


def unless_traceable():
    """Return why nothing can be traced here."""
    try:
        done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True)
    except FileNotFoundError:
        return "missing strace: apt-get install strace"
    return "tracing is not permitted here" if done.returncode else ""


def play_ahead(stage):
    """Trace a first installation, an upgrade, a failed one, and going back at a start."""
    if reason := unless_traceable():
        pytest.skip(reason)
    device = stage.fleet.add(DeviceSpec("ordered", "c0619a00eeee", SITE))
    good = [wanted(stage.repository.commit({}), **LIMIT) for _ in range(3)]
    bad = wanted(stage.repository.commit(CRASHING), **LIMIT)
    directory = stage.directory("traces")
    story = {}
    for title, site in (("first", good[0]), ("upgrade", good[1]), ("failed", bad)):
        trace = directory / title
        reply = ask(device, "apply", site, tweaks=SHORT, traced=traced.command(trace))
        story[title] = (reply["state"], trace, site.ident)
    go_back(device, good[2], directory / "undecided")
    story["undecided"] = ("", directory / "undecided", good[2].ident)
    return story


def test_first_installation_is_on_the_disk_before_it_is_confirmed(story):
    state, steps = story["first"][0], steps_of(*story["first"][1:])

    assert state == "confirmed"
    assert steps == [
        *("releases/NEW", "run export-limiter check-config", "pending", "current"),
        *("../rc.local", "run sh boot", "run svc -u", "confirmed", "-pending"),
    ]


def test_upgrade_is_on_the_disk_before_each_switch(story):
    state, steps = story["upgrade"][0], steps_of(*story["upgrade"][1:])

    assert state == "confirmed"
    assert steps == [*PREPARED, *SWITCHED, "confirmed", "-back", "-pending"]


def test_failed_upgrade_is_back_on_the_disk_before_it_is_decided(story):
    state, steps = story["failed"][0], steps_of(*story["failed"][1:])

    assert state == "rolled back"
    # Whether what crashes has to be told to end depends on the moment.
    steps = [step for step in steps if step != "run svc -k"]
    assert steps == [*PREPARED, *SWITCHED, *SWITCHED, "-pending", "failed"]


def test_start_that_finds_it_undecided_goes_back_before_it_forgets(story):
    assert steps_of(*story["undecided"][1:]) == ["current", "-pending"]


def go_back(device, site, trace):
    """Kill an activation as it confirms; trace what the service's start does."""
    fault = {"step": "open confirmed.new", "kind": "abandoned"}
    Asking(device, "apply", site, fault=fault).reply()
    service = f"/run/service/{BASE}"
    words = device.command("/usr/bin/python3", f"{service}/go_back.py", f"/data/{BASE}")
    subprocess.run([*traced.command(trace), *words], check=True, stdout=subprocess.DEVNULL)
    device.run(f"svc -t {service}")
    wait_until(lambda: held.census(device) == (1, 1), "the agent")


def steps_of(trace, new):
    """Return the changes that mean something, in order; each is seen to be safe."""
    steps = []
    unsynced = traced.Unsynced("/data/")
    for call in traced.calls(trace):
        if step := named(call, new):
            own = set(call.paths[:1])
            lost = (unsynced.contents | unsynced.entries) - own - MAY_BE_LOST
            assert not lost, f"at {step!r} a power cut could take back {sorted(lost)}"
            steps.append(step)
        unsynced.follow(call)
    return steps


def named(call, new):
    """Name a change of what decides what runs, or the start of a program that acts on it."""
    if call.name == "execve":
        words = [word.rpartition("/")[2] for word in call.text.split()[:2]]
        acts = words[0] in ("svc", "export-limiter") or words == ["sh", "boot"]
        return "run " + " ".join(words) if acts else None
    last = call.paths[-1]
    if not last.startswith("/data/") or "/releases/.new" in last:
        return None
    last = last.replace(new, "NEW").replace(HOME, "").replace("/data/", "../")
    if call.name.startswith("rename") and last != "rc.local.before":
        return last
    if call.name.startswith("unlink") and last in ("back", "pending", "current"):
        return f"-{last}"
    return None
