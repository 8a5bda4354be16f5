"""An activation is killed, or the power cut, at any moment: it ends as old or as new.

The moments are spread over 0 to 1.1 of what an upgrade takes, so that some end undisturbed.
"""

import random
import threading
from collections import Counter

import pytest
from gx.waiting import wait_until

from fleet import held
from fleet.ahead import Tale
from fleet.asked import Asking, ask, plugin
from fleet.crew import LIMIT_W

BEYOND = 1.1
SHORT = {"STABLE_S = 5": "STABLE_S = 2"}


def moments(count):
    """Return so many moments, as parts of an upgrade, and what happens then."""
    draw = random.Random(count)
    return tuple((draw.uniform(0, BEYOND), (kill, cut)[number % 2]) for number in range(count))


def end_of(member, moment, disturb):
    """Disturb an upgrade at its moment; see that it ends well, and say how."""
    device = member.device
    cap = held.Cap(device)
    asking = Asking(device, "apply", member.new)
    # Nothing is waited for here: the moment is what is tested.
    threading.Event().wait(moment * member.crew.upgrade_s)
    word = "too late" if asking.ended else disturb(device)
    asking.reply()

    held.runs_one(device, member.both)
    end = "old" if held.whole(device, member.both) is member.old else "new"
    completed = ask(device, "apply", member.new, tweaks=SHORT)

    assert completed["state"] == "confirmed", completed
    assert held.whole(device, member.both) is member.new
    held.runs_one(device, [member.new])
    held.tidy(device)
    assert cap.held(LIMIT_W)
    return f"{word}, {end}"


def kill(device):
    """Kill every process of the device program, also one that is just being made."""
    program = plugin.BOOTSTRAP.encode()

    def gone():
        running = [pid for pid, words in held.processes(device) if program in words]
        device.run(f"kill -9 {' '.join(running)}", check=False)
        return not running

    wait_until(gone, "the device program to be gone")
    return "killed"


def cut(device):
    """Cut the power and turn it on again."""
    device.power_cut()
    device.start()
    return "cut"


@pytest.mark.parametrize(
    "tale",
    [
        pytest.param(Tale(end_of, moments(20)), id="20"),
        pytest.param(Tale(end_of, moments(300)), id="300", marks=pytest.mark.slow),
    ],
)
def test_killed_or_cut_at_any_moment_it_has_the_old_or_the_new_release(told, capsys):
    counts = Counter(told)

    with capsys.disabled():
        words = ", ".join(f"{word} {number}" for word, number in sorted(counts.items()))
        print(f"\n{len(told)} moments of an upgrade: {words}")
    assert {word.partition(",")[0] for word in counts} >= {"cut", "killed"}
