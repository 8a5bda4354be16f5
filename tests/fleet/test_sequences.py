"""Any sequence of upgrades, rollbacks, crashes and reboots leaves one supervise and one agent."""

import random

import pytest

from fleet import held
from fleet.ahead import Tale
from fleet.asked import Asking, ask
from fleet.crew import LIMIT_W

SHORT = {"STABLE_S = 5": "STABLE_S = 2", "CRASHES = 4": "CRASHES = 1"}


def upgrade(member):
    """Bring another release."""
    assert ask(member.device, "apply", member.new, tweaks=SHORT)["state"] == "confirmed"
    member.has_brought()


def fail(member):
    """Bring one that crashes."""
    assert ask(member.device, "apply", member.crew.crashing, tweaks=SHORT)["state"] == "rolled back"


def roll_back(member):
    """Have the release before this one again, as far as there is one."""
    reply = ask(member.device, "rollback", member.old, tweaks=SHORT)
    assert reply["state"] == "confirmed" or "no confirmed release" in reply["msg"], reply


def kill_agent(member):
    """Kill the agent."""
    (pid,) = (pid for pid, words in held.processes(member.device) if held.is_agent(words))
    member.device.run(f"kill -9 {pid}")


def kill_worker(member):
    """Kill a worker that has just switched."""
    fault = {"step": "run svstat", "kind": "killed"}
    Asking(member.device, "apply", member.new, fault=fault).reply()


def reboot(member):
    """Shut down and boot."""
    member.device.reboot()


def cut_power(member):
    """Cut the power and boot."""
    member.device.power_cut()
    member.device.start()


OPERATIONS = (upgrade, fail, roll_back, kill_agent, kill_worker, reboot, cut_power)


def sequence(member, seed, length):
    """Play operations drawn by a seed; look after each."""
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    device = member.device
    cap = held.Cap(device)
    done = []
    for operation in draw.choices(OPERATIONS, k=length):
        done.append(operation.__name__)
        operation(member)
        held.wait_for_one(device, f"{device.spec.name} to run one agent after {done}")
    completed = ask(device, "apply", member.new, tweaks=SHORT)
    assert completed["state"] == "confirmed", completed
    held.tidy(device)
    return cap.held(LIMIT_W)


SEQUENCES = [
    *((seed, 5) for seed in range(3)),
    *((seed, 25) for seed in range(100, 112)),
]


@pytest.mark.parametrize(
    "tale",
    [
        pytest.param(
            Tale(sequence, ((seed, length),)),
            id=f"{length} drawn by {seed}",
            marks=pytest.mark.slow if length > 5 else (),
        )
        for seed, length in SEQUENCES
    ],
)
def test_one_supervise_and_one_agent_after_each_of_many_operations(told):
    (samples,) = told

    assert samples > 0
