"""What a device goes through after its first deployment: full flash, load, crashes, all in turn.

The stories are played on the crew at the same time. However one goes, the cap is held, and an
upgrade works at its end.
"""

import threading

import pytest
from gx.waiting import wait_until

from fleet import held
from fleet.ahead import Tale
from fleet.asked import Asking, ask
from fleet.crew import LIMIT_W
from fleet.deployment import BASE

SHORT = {"STABLE_S = 5": "STABLE_S = 2", "CRASHES = 4": "CRASHES = 1"}
BURDENED = "import os; os.getloadavg = lambda: [float(open('/run/sim/load').read())]\n"
HOME = f"/data/{BASE}"
UNWRITTEN = f"/run/{BASE}/status.json can't be written (Read-only file system)"
REFRESH_S, LAPSED_S = 45.0, 240.0  # in which the agent writes its cap again, or anew
LOOP_S, LATER_S = 30.0, 45.0  # the back-off grows for half a minute


def endure(member, story):
    """Play a story, then see that the cap was held and that an upgrade still works."""
    device = member.device
    cap = held.Cap(device)
    story(member)

    completed = ask(device, "apply", member.new, tweaks=SHORT)
    assert completed["state"] == "confirmed", completed
    assert held.whole(device, member.both) is member.new
    held.runs_one(device, [member.new])
    held.tidy(device)
    return cap.held(LIMIT_W)


def flash_runs_full(member):
    """Nothing can be written any more: the agent comes back after a crash and after a boot."""
    device = member.device
    fill(device)
    crash(device)
    held.runs_one(device, [member.old])

    refused = ask(device, "apply", member.new)
    assert (refused["state"], "kB are needed" in refused["msg"]) == ("failed", True), refused
    device.reboot()
    held.runs_one(device, [member.old])
    assert held.whole(device, member.both) is member.old
    (device.data / "fill").unlink()


def flash_turns_read_only(member):
    """As a kernel does after errors: the agent goes on, nothing is half done."""
    device = member.device
    device.run("mount -o remount,abort /data")
    crash(device)
    held.runs_one(device, [member.old])

    refused = ask(device, "apply", member.new)
    assert (refused["state"], "Read-only" in refused["msg"]) == ("failed", True), refused
    assert held.whole(device, member.both) is member.old
    device.power_cut()
    device.start()
    held.runs_one(device, [member.old])


def load_stays_high(member):
    """It waits for the load to go down, and then refuses."""
    device = member.device
    burden(device, 9.0)
    soon = {"LOAD_S = 60": "LOAD_S = 2"}
    refused = ask(device, "apply", busy(member.new), tweaks=soon, ahead=BURDENED)

    assert refused["msg"] == "the load is 9.0, at most 4 is allowed"
    assert held.whole(device, member.both) is member.old


def load_goes_down(member):
    """It waits for the load to go down, and then goes on."""
    device = member.device
    burden(device, 9.0)
    asking = Asking(device, "apply", busy(member.new), ahead=BURDENED)
    lock = device.data / BASE / "lock"
    wait_until(lambda: lock.read_text() == asking.ident, "the worker to have the lock")
    assert held.whole(device, member.both) is member.old
    burden(device, 0.5)

    assert asking.reply()["state"] == "confirmed"


def look_at_the_lock(member):
    """Whoever only looks whether the lock is held keeps no activation from starting."""
    device = member.device
    look = "import fcntl, time; f = open('%s/lock'); fcntl.flock(f, 1); time.sleep(0.2)" % HOME
    for _ in range(3):
        device.run(f'python3 -c "{look}" >/dev/null 2>&1 &')
        reply = ask(device, "apply", member.old, tweaks=SHORT)
        assert reply["state"] == "confirmed", reply


def run_directory_is_read_only(member):
    """Status and history can't be written: it says so once and limits, after a restart as well."""
    device, place = member.device, f"/run/{BASE}"
    before = log(device)
    device.run(f"mount --bind {place} {place}; mount -o remount,bind,ro {place}")
    see_it_write(device, REFRESH_S)
    see_it_write(device, REFRESH_S)
    assert log(device).removeprefix(before).count(UNWRITTEN) == 1

    before = log(device)
    device.run(f"kill -9 {held.said(device)['pid']}")
    # The next one can't know that the cap it finds is ours, respects it as anybody's lower limit,
    # and writes its own when that has lapsed.
    see_it_write(device, LAPSED_S)
    told = log(device).removeprefix(before)
    assert (told.count("*** starting"), told.count(UNWRITTEN)) == (1, 1), told
    assert held.census(device) == (1, 1)
    device.run(f"umount {place}")


def see_it_write(device, within_s):
    """See the agent write its cap."""
    wrote = writes(device)
    wait_until(lambda: writes(device) > wrote, "the cap to be written", within_s)


def agent_crashes_in_a_loop(member):
    """It is started less and less often, and the stored limit holds the cap meanwhile."""
    device = member.device
    wait_until(lambda: held.limited(device, LIMIT_W), "the limit to be kept", 90)
    program = f"{HOME}/current/export-limiter"
    device.run("printf '#!/bin/sh\\nexit 1\\n' >/run/crash; chmod 755 /run/crash")
    device.run(f"mount --bind /run/crash {program}")
    device.run(f"kill -9 {held.said(device)['pid']}")

    # Nothing is waited for: how often it is started in that time is what is tested.
    threading.Event().wait(LOOP_S)
    soon = log(device)
    threading.Event().wait(LATER_S)
    later = log(device).removeprefix(soon)
    assert soon.count("ended quickly") >= 2, soon
    assert later.count("*** starting") <= 3, later
    assert held.census(device) == (0, 1)
    device.run(f"umount {program}")
    held.runs_one(device, [member.old])


def writes(device):
    """Count what was written to the site's control points."""
    return len(device.ask("state")["writes"])


def log(device):
    """Return the agent's log."""
    return (device.data / "log" / BASE / "current").read_text()


def fill(device):
    """Leave nothing free on /data."""
    device.run("dd if=/dev/zero of=/data/fill bs=64k 2>/dev/null", check=False)
    device.run("dd if=/dev/zero bs=1k 2>/dev/null >>/data/fill", check=False)


def crash(device):
    """Kill the agent the hard way; return when it is gone."""
    before = held.said(device)["pid"]
    device.run(f"kill -9 {before}")
    wait_until(lambda: held.said(device).get("pid") != before, "another agent", held.UP_S)


def burden(device, load):
    """Say which load the device program is to see, instead of that of the tests' own machine."""
    (device.sim / "load").write_text(f"{load}\n")


def busy(site):
    """Return the same, refused by a device with a load above 4."""
    return site._replace(settings={**site.settings, "max_load": 4})


STORIES = (
    flash_runs_full,
    flash_turns_read_only,
    load_stays_high,
    load_goes_down,
    look_at_the_lock,
    run_directory_is_read_only,
    agent_crashes_in_a_loop,
)


@pytest.mark.parametrize(
    "tale",
    [
        pytest.param(Tale(endure, ((story,),)), id=story.__name__.replace("_", " "))
        for story in STORIES
    ],
)
def test_it_gets_through_with_the_cap_held(told):
    (samples,) = told

    assert samples > 0
