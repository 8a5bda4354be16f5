"""The playbooks on the other ansible-core that is allowed: the same ends, and the same releases."""

import subprocess

import pytest
from gx.device import DeviceSpec
from role import REPOSITORY

from fleet import held
from fleet.deployment import CRASHING, Controller, current, tree

pytestmark = pytest.mark.slow  # what it needs is installed by `make test-all`

CORE = REPOSITORY / ".venv/other-core"
SPEC = DeviceSpec(
    name="other",
    portal_id="c0619a00eeee",
    site={"vebus": [{"name": "ttyS4", "phases": 3, "units": 3}], "load_w": 18000},
    variables={"export_limiter_max_multiplus_output_w": 30000},
)


@pytest.fixture(scope="module")
def usual(fleet, repository, tmp_path_factory):
    return Controller(fleet, repository, tmp_path_factory.mktemp("usual"))


@pytest.fixture(scope="module")
def other(fleet, repository, tmp_path_factory):
    if not CORE.is_dir():
        pytest.skip("the other ansible-core is not installed: sh tests/setup.sh --all")
    environment = {
        "PYTHONPATH": str(CORE),
        "PATH": f"{CORE}/bin:{fleet.environment()['PATH']}",
    }
    return Controller(fleet, repository, tmp_path_factory.mktemp("other"), environment)


@pytest.fixture(scope="module")
def before(fleet, other):
    """A device without the agent, and all that is on it."""
    device = fleet.add(SPEC)
    yield device, tree(device)
    fleet.remove(device)


@pytest.fixture(scope="module")
def device(before, other):
    """The same, deployed to by the other core."""
    played = other.play("deploy", [before[0]])
    assert played.states == {SPEC.name: "confirmed"}, played.text
    return before[0]


def told_version(controller):
    playing = subprocess.run(
        ["ansible-playbook", "--version"],
        env={**controller.fleet.environment(), **controller._environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return playing.stdout.split("]")[0].removeprefix("ansible-playbook [core ")


def test_it_is_another(usual, other):
    minors = [told_version(each).split(".")[:2] for each in (usual, other)]

    assert minors == [["2", "18"], ["2", "19"]]


def test_both_want_the_same_release_and_find_it_converged(usual, other, device):
    for controller in (usual, other):
        played = controller.play("deploy", [device])

        assert (played.code, played.states) == (0, {SPEC.name: "converged"}), played.text
        assert controller.count_executions() == 1


def test_status_check_and_discover_say_the_same(usual, other, device):
    said = {}
    for controller in (usual, other):
        plays = [controller.play(verb, [device]) for verb in ("status", "check", "discover")]
        assert [played.code for played in plays] == [0, 0, 0], plays
        status, check = (played.rows[SPEC.name] for played in plays[:2])
        found = [line.strip() for line in plays[2].text.splitlines() if "ess_" in line]
        names = ("release", "state", "method", "enforceable", "limits")
        said[told_version(controller)] = [status[name] for name in names], check, found

    first, second = said.values()
    assert first == second
    assert first[2]


def test_it_shows_a_difference_and_touches_nothing(other, device):
    ident = current(device)
    played = other.play(
        "deploy", [device], "--check", "--diff", export_limiter_max_multiplus_output_w=25000
    )

    assert played.code == 0, played.text
    assert '+  "max_multiplus_output_w": 25000,' in played.text
    assert current(device) == ident


def test_it_refuses_a_fault_before_any_device_is_touched(other, device):
    ident = current(device)
    played = other.play("deploy", [device], export_limiter_max_multiplus_output=1)

    assert played.code != 0
    assert "export_limiter_max_multiplus_output" in played.text
    assert current(device) == ident


def test_a_crashing_release_goes_back(other, device, repository):
    good = current(device)

    played = other.play("deploy", [device], **repository.commit(CRASHING))

    assert (played.code, played.states) == (2, {SPEC.name: "rolled back"}), played.text
    assert current(device) == good
    held.wait_for_one(device, "the agent")


def test_rollback_goes_to_the_release_before(other, device, repository):
    first = current(device)
    newer = repository.commit({"VERSION": "9.0.0\n"})
    assert other.play("deploy", [device], **newer).states == {SPEC.name: "confirmed"}

    played = other.play("rollback", [device], **newer)

    assert played.states == {SPEC.name: "confirmed"}, played.text
    assert current(device) == first


def test_remove_leaves_the_device_as_it_was(other, before, device):
    played = other.play("remove", [device])

    assert played.code == 0, played.text
    assert tree(device) == before[1]
