"""Each step of an activation, and everything that can happen at it: old or new, never a mix.

The fault is put into the worker from outside, at the moment it is about to take the step.
"""

import os

import pytest
from gx.waiting import wait_until

from fleet import held, stumble
from fleet.ahead import Tale
from fleet.asked import Asking, ask
from fleet.crew import LIMIT_W
from fleet.deployment import BASE

# What the worker does, in its order: the beginning of each step's label, and the how manieth.
STEPS = {
    "takes the lock": ("open lock", 1),
    "begins to stage": ("mkdir releases/.new", 1),
    "has staged half": ("open releases/.new/export_limiter/limiter.py", 1),
    "has staged all": ("rename releases/.new", 1),
    "asks for a check": ("run export-limiter check-config", 1),
    "prepares the way back": ("rename back.new", 1),
    "notes that it is undecided": ("rename pending.new", 1),
    "switches": ("rename current.new", 1),
    "has switched": ("run svstat", 1),
    "builds its service": ("run sh", 1),
    "waits for it": ("run svok", 1),
    "restarts": ("run svc -t", 1),
    "judges": ("run svstat", 4),
    "confirms": ("rename confirmed.new", 1),
    "forgets the way back": ("remove back", 1),
    "forgets that it is undecided": ("remove pending", 1),
    "prunes": ("rmdir releases/OLD", 1),
    "tells its verdict": ("rename /run/venus-export-limiter/verdicts", 1),
}
FAULTS = ("error", "full", "killed", "hang", "reboot", "power cut", "link cut")
# A hang ends by the worker's own alarm, which is minutes: here it is seconds, as all else is.
SHORT = {
    "WORK_S = 120": "WORK_S = 10",
    "LOAD_S = 60": "LOAD_S = 0",
    "STABLE_S = 5": "STABLE_S = 2",
    "READ_S = 60": "READ_S = 9",
}
HEALTH_S = 7


def steps_of(member):
    """Return the labels of all steps of one activation."""
    steps = member.device.sim / "steps"
    steps.unlink(missing_ok=True)
    leave_something_to_prune(member.device)
    fault = {"new": member.new.ident}
    assert ask(member.device, "apply", member.new, fault=fault)["state"] == "confirmed"
    return steps.read_text().splitlines()


def nth(labels, beginning, number):
    """Return where the label with this beginning is found for the how manieth time."""
    return [at for at, label in enumerate(labels) if label.startswith(beginning)][number - 1]


def end_of(member, step, fault):
    """Let a fault happen at a step of bringing the new release; see that it ends well."""
    device = member.device
    cap = held.Cap(device)
    leave_something_to_prune(device)
    meet(member, STEPS[step], fault)

    held.runs_one(device, member.both)
    held.runs_one(device, [held.whole(device, member.both)])
    completed = ask(device, "apply", member.new, tweaks=SHORT)

    assert completed["state"] == "confirmed", completed
    assert held.whole(device, member.both) is member.new
    held.runs_one(device, [member.new])
    held.tidy(device)
    return cap.held(LIMIT_W)


def meet(member, step, fault):
    """Ask for the new release and let the fault happen; return when it is over."""
    device, fleet = member.device, member.crew.fleet
    beginning, number = step
    kind = "wait" if fault in ("reboot", "power cut", "link cut") else fault
    planned = {"step": beginning, "nth": number, "kind": kind, "new": member.new.ident}
    reached, go_on = (device.sim / os.path.basename(p) for p in (stumble.REACHED, stumble.GO_ON))
    for left in (reached, go_on):
        left.unlink(missing_ok=True)
    os.mkfifo(go_on)
    over = fleet if fault == "link cut" else None
    site = member.new._replace(settings={**member.new.settings, "health_s": HEALTH_S})
    asking = Asking(device, "apply", site, fault=planned, tweaks=SHORT, fleet=over)
    if kind == "wait":
        wait_until(lambda: reached.exists() or asking.ended, f"the step {beginning}", 40)
        assert reached.exists(), asking.reply()
    if fault == "reboot":
        device.reboot()
    elif fault == "power cut":
        device.power_cut()
        device.start()
    elif fault == "link cut":
        fleet.network.set_link(device.host, up=False)
        go_on.write_bytes(b"\n")
    reply = asking.reply()
    assert reached.exists(), reply
    if fault == "link cut":
        assert reply["state"] == "lost"
        verdict = device.root / "run/venus-export-limiter/verdicts" / asking.ident
        wait_until(verdict.exists, "the device to decide alone", 60)
        fleet.network.set_link(device.host, up=True)


def leave_something_to_prune(device):
    """Put a release there that is neither current nor to be gone back to."""
    (device.data / BASE / "releases" / f"{'0' * 40}-{'0' * 12}").mkdir()


CELLS = [
    pytest.param(
        Tale(end_of, ((step, fault),)),
        id=f"{fault} as it {step}",
        marks=[] if (at + 2 * number) % 5 == 0 else pytest.mark.slow,
    )
    for at, step in enumerate(STEPS)
    for number, fault in enumerate(FAULTS)
]


@pytest.mark.parametrize("tale", CELLS)
def test_it_ends_as_old_or_new_with_the_cap_held_and_the_next_run_completes(told):
    (samples,) = told

    assert samples > 0


@pytest.mark.parametrize("tale", [Tale(steps_of)], ids=["one activation"])
def test_every_step_of_an_activation_is_in_the_matrix(told):
    (labels,) = told

    at = [nth(labels, *step) for step in STEPS.values()]
    assert at == sorted(at)
    # Whatever takes effect at once is one of them, and between two of them lies more of the same.
    effects = [label for label in labels if label.startswith(("rename ", "run "))]
    named = tuple(beginning for beginning, _ in STEPS.values())
    assert [label for label in effects if not label.startswith(named)] == []
    assert {label.split()[0] for label in labels} == {
        *("open", "mkdir", "fsync", "rename", "run", "symlink", "remove", "rmdir")
    }
