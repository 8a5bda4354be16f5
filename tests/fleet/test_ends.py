"""A first installation, a rollback and a removal that do not get to their end: the next one does.

The fault is put into the worker from outside, as in the matrix of an upgrade.
"""

import json

import pytest
from gx.waiting import wait_until

from fleet import held
from fleet.ahead import Tale
from fleet.asked import Asking, ask
from fleet.crew import LIMIT_W
from fleet.deployment import BASE

SHORT = {"STABLE_S = 5": "STABLE_S = 2"}
# By verb: a moment, and the beginning of the step that it is before.
MOMENTS = {
    "first": {
        "switches": "rename current.new",
        "has its boot line": "rename rc.local.new",
        "confirms": "rename confirmed.new",
    },
    "rollback": {
        "switches": "rename current.new",
        "confirms": "rename confirmed.new",
    },
    "remove": {
        "stops the service": "run svc -dx",
        "releases the limit": "run export-limiter release",
        "has released it": "remove current",
        "takes out the boot line": "remove rc.local",
        "has deleted its logs": "rmdir log/venus-export-limiter",
        "begins to delete its releases": "remove MANIFEST",
        "has deleted half": "rmdir export_limiter",
    },
}
FAULTS = ("killed", "power cut")


def stumbled(member, verb, site, step, fault):
    """Ask for a verb and let it be killed at a step; or cut the power then."""
    planned = {"step": step, "kind": "killed", "new": site.ident}
    asking = Asking(member.device, verb, site, fault=planned)
    reply = asking.reply()
    assert (member.device.sim / "reached").exists(), reply
    (member.device.sim / "reached").unlink()
    if fault == "power cut":
        have_stored(member.device)
        member.device.power_cut()
        member.device.start()


def have_stored(device):
    """Let a running agent store its limit, and the device its settings: they are late by seconds.

    An agent takes a limit that is gone for removed by the user.
    """
    if held.census(device) == (1, 1):
        wait_until(lambda: held.limited(device, LIMIT_W), "the limit to be kept", 90)
    setting, file = "/Settings/CGwacs/MaxDischargePower", device.sim / "settings.json"
    wait_until(
        lambda: json.loads(file.read_text())[setting] == device.ask("state")["setting_w"],
        "the setting to be stored",
    )


def first(member, step, fault):
    """Nothing, or the new release, is what a first installation leaves; the next one completes."""
    device = member.device
    removed(member)
    stumbled(member, "apply", member.new, step, fault)

    if fault == "power cut":
        wait_until(lambda: held.census(device)[1] <= 1, "the boot")
    assert ask(device, "apply", member.new, tweaks=SHORT)["state"] == "confirmed"
    return settled(member)


def rollback(member, step, fault):
    """One release or the other is what a rollback leaves; the next one completes."""
    device = member.device
    assert ask(device, "apply", member.new, tweaks=SHORT)["state"] == "confirmed"
    cap = held.Cap(device)
    stumbled(member, "rollback", member.old, step, fault)

    held.runs_one(device, member.both)
    again = ask(device, "rollback", member.old, tweaks=SHORT)
    assert again["state"] == "confirmed", again
    held.runs_one(device, member.both)
    assert cap.held(LIMIT_W)
    assert ask(device, "apply", member.new, tweaks=SHORT)["state"] == "confirmed"
    return settled(member)


def remove(member, step, fault):
    """Whatever a removal leaves, the next one removes."""
    device = member.device
    stumbled(member, "remove", quick(member.old), step, fault)

    removed(member)
    assert ask(device, "apply", member.new, tweaks=SHORT)["state"] == "confirmed"
    return settled(member)


def removed(member):
    """Have everything removed, and see that it is."""
    device = member.device
    reply = ask(device, "remove", quick(member.old))
    assert reply["state"] == "removed", reply
    assert held.census(device) == (0, 0)
    for left in (BASE, f"log/{BASE}", "rc.local"):
        assert not (device.data / left).exists(), left
    assert not (device.root / "run" / BASE).exists()


def quick(site):
    """Return the same, to be removed without walking the limit up for minutes."""
    return site._replace(settings={**site.settings, "release_limit": True, "release_s": 60})


def settled(member):
    """See that the new release is whole and runs alone."""
    held.runs_one(member.device, [member.new])
    held.tidy(member.device)
    wait_until(lambda: held.limited(member.device, LIMIT_W), "the limit to be kept", 90)
    return held.whole(member.device, [member.new]) is member.new


STORIES = {"first": first, "rollback": rollback, "remove": remove}
CELLS = [
    pytest.param(
        Tale(STORIES[verb], ((step, fault),)),
        id=f"{verb}: {fault} as it {moment}",
        marks=pytest.mark.slow if fault == "power cut" else (),
    )
    for verb, moments in MOMENTS.items()
    for moment, step in moments.items()
    for fault in FAULTS
]


@pytest.mark.parametrize("tale", CELLS)
def test_what_does_not_get_to_its_end_is_completed_by_the_next_one(told):
    assert told == [True]
