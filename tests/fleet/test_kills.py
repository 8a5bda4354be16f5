"""An activation is killed, or the power cut, at any moment: it ends as old or as new.

The moments are spread over 0 to 1.1 of what an upgrade takes, so that some end undisturbed.
"""

import random
import threading
import time
from collections import Counter

import held
import pytest
from asked import Asking, ask, plugin
from crew import LIMIT_W

SEED = 20
BEYOND = 1.1


@pytest.mark.parametrize("count", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_killed_or_cut_at_any_moment_it_has_the_old_or_the_new_release(crew, capsys, count):
    length_s = crew.play(undisturbed).result()
    draw = random.Random(SEED)  # noqa: S311 - not for secrets
    moments = [draw.uniform(0, BEYOND * length_s) for _ in range(count)]

    ends = [
        crew.play(end_of, moment_s, (kill, cut)[number % 2])
        for number, moment_s in enumerate(moments)
    ]
    counts = Counter(end.result() for end in ends)

    with capsys.disabled():
        told = ", ".join(f"{word} {number}" for word, number in sorted(counts.items()))
        print(f"\n{count} in an upgrade of {length_s:.1f} s: {told}")
    assert {"killed, old", "cut, old", "too late, new"} <= set(counts)


def undisturbed(member):
    """Return how long an upgrade takes."""
    start = time.monotonic()
    assert ask(member.device, "apply", member.new)["state"] == "confirmed"
    return time.monotonic() - start


def end_of(member, moment_s, disturb):
    """Disturb an upgrade at its moment; see that it ends well, and say how."""
    device = member.device
    cap = held.Cap(device)
    asking = Asking(device, "apply", member.new)
    threading.Event().wait(moment_s)  # nothing is waited for: the moment is what is tested
    word = "too late" if asking.ended else disturb(device)
    asking.reply()

    held.runs_one(device, member.both)
    end = "old" if held.whole(device, member.both) is member.old else "new"
    completed = ask(device, "apply", member.new, tweaks={"STABLE_S = 5": "STABLE_S = 2"})

    assert completed["state"] == "confirmed", completed
    assert held.whole(device, member.both) is member.new
    held.runs_one(device, [member.new])
    held.tidy(device)
    assert cap.held(LIMIT_W)
    return f"{word}, {end}"


def kill(device):
    """Kill every process of the device program."""
    program = plugin.BOOTSTRAP.encode()
    running = [pid for pid, words in held.processes(device) if program in words]
    device.run(f"kill -9 {' '.join(running)}", check=False)
    return "killed"


def cut(device):
    """Cut the power and turn it on again."""
    device.power_cut()
    device.start()
    return "cut"
