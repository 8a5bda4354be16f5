"""Any sequence of upgrades, rollbacks, crashes and reboots leaves one supervise and one agent."""

import random

import held
import pytest
from asked import Asking, ask, wanted
from crew import LIMIT_W
from deployment import CRASHING

SHORT = {"STABLE_S = 5": "STABLE_S = 2", "CRASHES = 4": "CRASHES = 1"}


def upgrade(member, _crashing):
    """Bring another release."""
    assert ask(member.device, "apply", member.new, tweaks=SHORT)["state"] == "confirmed"
    member.has_brought()


def fail(member, crashing):
    """Bring one that crashes."""
    assert ask(member.device, "apply", crashing, tweaks=SHORT)["state"] == "rolled back"


def roll_back(member, _crashing):
    """Have the release before this one again, as far as there is one."""
    reply = ask(member.device, "rollback", member.old, tweaks=SHORT)
    assert reply["state"] == "confirmed" or "no confirmed release" in reply["msg"], reply


def kill_agent(member, _crashing):
    """Kill the agent."""
    member.device.run(f"kill -9 {held.said(member.device)['pid']}")


def kill_worker(member, _crashing):
    """Kill a worker that has just switched."""
    fault = {"step": "run svok", "kind": "killed"}
    Asking(member.device, "apply", member.new, fault=fault).reply()


def reboot(member, _crashing):
    """Shut down and boot."""
    member.device.reboot()


def cut_power(member, _crashing):
    """Cut the power and boot."""
    member.device.power_cut()
    member.device.start()


OPERATIONS = (upgrade, fail, roll_back, kill_agent, kill_worker, reboot, cut_power)
SEQUENCES = [
    *((seed, 5) for seed in range(3)),
    *(pytest.param(seed, 25, marks=pytest.mark.slow) for seed in range(100, 112)),
]


@pytest.fixture(scope="module")
def ends(request, crew, repository):
    """What becomes of every sequence that is asked for, played some at a time."""
    crashing = wanted(repository.commit(CRASHING), max_multiplus_output_w=LIMIT_W)
    asked = [
        (item.callspec.params["seed"], item.callspec.params["length"])
        for item in request.session.items
        if item.module is request.module
    ]
    return {each: crew.play(sequence, *each, crashing) for each in asked}


@pytest.mark.parametrize(("seed", "length"), SEQUENCES)
def test_one_supervise_and_one_agent_after_each_of_many_operations(ends, seed, length):
    ends[seed, length].result()


def sequence(member, seed, length, crashing):
    """Play operations drawn by a seed; look after each."""
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    device = member.device
    cap = held.Cap(device)
    done = []
    for operation in draw.choices(OPERATIONS, k=length):
        done.append(operation.__name__)
        operation(member, crashing)
        held.wait_for_one(device, f"{device.spec.name} to run one agent after {done}")
    upgrade(member, crashing)
    held.tidy(device)
    assert cap.held(LIMIT_W)
