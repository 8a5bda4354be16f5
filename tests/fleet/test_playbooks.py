"""The playbooks of day two: look, compare, go back, and try without changing anything."""

import json

import pytest
from gx.device import DeviceSpec
from gx.waiting import wait_until

from fleet import deployment
from fleet.deployment import BASE, HASTE, Controller, Repository, agents, current

SITE = {"name": "site", "vebus": [{"name": "ttyS4", "phases": 3, "units": 3}], "load_w": 18000}
LIMIT = {"export_limiter_max_multiplus_output_w": 30000}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return Repository(tmp_path_factory.mktemp("repository") / "git")


@pytest.fixture
def controller(fleet, repository, tmp_path):
    return Controller(fleet, repository, tmp_path)


@pytest.fixture(scope="module")
def deployed(fleet, repository, tmp_path_factory):
    """A device with the agent, which every test leaves as it found it."""
    device = fleet.add(DeviceSpec("dayfly", "c0619a00bbbb", SITE, variables=LIMIT))
    controller = Controller(fleet, repository, tmp_path_factory.mktemp("controller"))
    played = controller.play("deploy", [device])
    assert played.code == 0, played.text
    yield device
    fleet.remove(device)


def test_check_finds_nothing_on_a_device_that_is_as_wanted(controller, deployed):
    before = deployment.tree(deployed, without=["log", f"{BASE}/state.json"])

    played = controller.play("check", [deployed])

    assert (played.code, played.states) == (0, {"dayfly": "as wanted"}), played.text
    assert controller.count_executions() == 1
    assert deployment.tree(deployed, without=["log", f"{BASE}/state.json"]) == before


def test_check_exits_2_for_drift_and_names_it(controller, deployed):
    foreign = deployed.data / BASE / "releases" / current(deployed) / "json.py"
    foreign.write_text("")

    played = controller.play("check", [deployed])
    foreign.unlink()

    assert played.code == 2
    assert played.rows["dayfly"]["reason"] == "code: json.py is foreign"


BOOT_LINE = "sed -i.kept /venus-export-limiter/d /data/rc.local"
# What is done to a device, what undoes it, and the drift that it is.
DRIFTS = {
    "config": (
        f"cd /data/{BASE}/current; cp -p config.json /run/kept; echo {{}} >config.json",
        f"cp -p /run/kept /data/{BASE}/current/config.json",
        "code: config.json is changed",
    ),
    "boot line": (BOOT_LINE, "mv /data/rc.local.kept /data/rc.local", "boot line: absent"),
    "run state": (f"svc -d /service/{BASE}", f"svc -u /service/{BASE}", "service: down"),
    "foreign file": (f"touch /data/{BASE}/x", f"rm /data/{BASE}/x", "foreign files: x"),
    "undecided": (
        f"echo '{{}}' >/data/{BASE}/pending",
        f"rm /data/{BASE}/pending",
        "release: its activation was left undecided",
    ),
}


@pytest.mark.parametrize("kind", DRIFTS)
def test_check_finds_what_was_changed_on_the_device_and_leaves_it(controller, deployed, kind):
    change, undo, drift = DRIFTS[kind]
    deployed.run(change)
    wait_until(lambda: agents(deployed) == (kind != "run state"), "the agent to end or to stay")
    before = deployment.tree(deployed, without=["log", f"{BASE}/state.json"])

    played = controller.play("check", [deployed])
    after = deployment.tree(deployed, without=["log", f"{BASE}/state.json"])
    deployed.run(undo)

    assert (played.code, played.rows["dayfly"]["reason"]) == (2, drift), played.text
    assert after == before
    wait_until(lambda: agents(deployed) == 1, "the agent")


def test_check_exits_2_for_another_limit_than_the_inventory_has(controller, deployed):
    played = controller.play("check", [deployed], export_limiter_max_multiplus_output_w=5000)

    assert played.code == 2
    reason = played.rows["dayfly"]["reason"]
    assert reason.startswith("release: ")
    assert "config: max_multiplus_output_w is 30000, wanted is 5000" in reason


def test_check_exits_4_for_a_device_that_is_not_reached(controller, deployed, make_device):
    off = make_device(variables=LIMIT)
    off.stop()

    played = controller.play("check", [deployed, off])

    assert played.code == 4, played.text
    assert played.states == {"dayfly": "as wanted", off.spec.name: "not reached"}


def test_status_shows_what_the_agent_does(controller, deployed):
    played = controller.play("status", [deployed])

    assert played.code == 0
    assert played.rows["dayfly"]["method"] == "ess_override"
    assert "dayfly  monitoring  yes          ess_override" in played.text


def test_status_of_a_device_without_the_agent(controller, make_device):
    device = make_device(variables=LIMIT)

    assert controller.play("status", [device]).states == {device.spec.name: "not installed"}


def test_discover_names_the_methods_and_writes_nothing(controller, make_device):
    device = make_device(site=SITE, variables=LIMIT)
    before = deployment.tree(device)

    played = controller.play("discover", [device])

    assert played.code == 0, played.text
    assert "com.victronenergy.vebus.ttyS4" in played.text
    assert "ess_override" in played.text
    assert deployment.tree(device) == before
    assert BASE not in device.run("ls /run").stdout


def test_check_mode_shows_the_difference_and_touches_nothing(controller, deployed):
    before = deployment.tree(deployed, without=["log", f"{BASE}/state.json"])
    tighter = {"export_limiter_max_multiplus_output_w": 20000}

    played = controller.play("deploy", [deployed], "--check", "--diff", **tighter)

    assert (played.code, played.states) == (0, {"dayfly": "not tried"}), played.text
    assert '-  "max_multiplus_output_w": 30000,' in played.text
    assert '+  "max_multiplus_output_w": 20000,' in played.text
    assert controller.count_executions() == 1
    assert deployment.tree(deployed, without=["log", f"{BASE}/state.json"]) == before


@pytest.mark.ahead
def test_rollback_runs_the_old_code_and_does_not_raise_the_limit(stage):
    controller, device = stage.controller(), stage.device(site=SITE, variables=LIMIT)
    assert controller.play("deploy", [device]).code == 0
    newer = {**stage.repository.commit({"VERSION": "9.0.0\n"})}
    newer["export_limiter_max_multiplus_output_w"] = 20000
    assert controller.play("deploy", [device], **newer).code == 0

    played = controller.play("rollback", [device], **newer)

    assert (played.code, played.states) == (0, {device.spec.name: "confirmed"}), played.text
    assert current(device).startswith(stage.repository.whole["export_limiter_commit"])
    assert deployment.config(device)["max_multiplus_output_w"] == 20000
    assert agents(device) == 1
    told = json.loads((controller.workdir / "reports/latest/data.json").read_text())
    site = told["sites"][0]
    assert (told["playbook"], site["release"]["id"]) == ("rollback", current(device))
    assert (site["rollout"]["state"], len(site["drift"])) == ("confirmed", 1)
    assert site["history"]["events"]
    wait_until(lambda: device.ask(do="state")["setting_w"] == 20000, "the stored backstop", 20)
    left = current(device)
    again = controller.play("rollback", [device], **newer)
    assert (again.code, again.states) == (0, {device.spec.name: "converged"}), again.text
    assert (current(device), controller.count_executions()) == (left, 1)


def test_rollback_without_a_release_to_go_back_to_leaves_what_runs_and_fails(controller, deployed):
    runs = current(deployed)

    played = controller.play("rollback", [deployed])

    assert (played.code, played.states) == (2, {"dayfly": "not tried"}), played.text
    told = f"there is no confirmed release to go back to: {runs} still runs"
    assert (played.rows["dayfly"]["reason"], current(deployed)) == (told, runs)
    assert agents(deployed) == 1


@pytest.mark.slow  # ssh takes a while to miss a device; the story of waves has one, too
def test_device_that_is_gone_when_its_wave_comes_is_pending_and_stops_nobody(
    fleet, controller, make_device
):
    gone, other = make_device(site=SITE, variables=LIMIT), make_device(site=SITE, variables=LIMIT)
    controller.before(gone, 2, f"ip link set gx{gone.host} down")

    played = controller.play("deploy", [gone, other], **HASTE, export_limiter_lost_link_s=5)
    fleet.network.set_link(gone.host, up=True)

    assert played.code == 0, played.text
    assert played.states == {gone.spec.name: "pending", other.spec.name: "confirmed"}
    assert played.rows[gone.spec.name]["reason"].startswith("nothing was sent: offline: ")
    assert not (gone.data / BASE).exists()


def test_older_version_is_refused_unless_asked_for(controller, deployed, repository):
    older = repository.commit({"VERSION": "0.0.1\n"})

    played = controller.play("deploy", [deployed], **older)

    assert played.code == 2
    told = " ".join(played.text.split())
    assert "is version 0.0.1, the device has" in told
    asked_for = controller.play(
        "deploy", [deployed], "--check", **older, export_limiter_allow_older=True
    )
    assert (asked_for.code, asked_for.states) == (0, {"dayfly": "not tried"}), asked_for.text


def test_edited_tree_is_refused_without_a_terminal(controller, deployed, repository):
    repository.commit({})
    before = deployment.tree(deployed, without=["log", f"{BASE}/state.json"])
    edited = {"export_limiter_commit": "worktree", "export_limiter_max_multiplus_output_w": 20000}

    played = controller.play("deploy", [deployed], **edited)

    assert played.code == 2
    assert "was not named" in " ".join(played.text.split())
    assert controller.count_executions() == 1
    assert deployment.tree(deployed, without=["log", f"{BASE}/state.json"]) == before


PROMPT = "Type its first eight digits to deploy them"


@pytest.mark.parametrize("named", [True, False], ids=["named", "misnamed"])
def test_edited_tree_is_deployed_only_when_its_digits_are_typed(
    controller, deployed, repository, named
):
    repository.commit({})
    edited = deployment.pin.worktree(str(repository.directory))
    answer = edited.sha256[:8] if named else "0" * 8
    given = {"export_limiter_commit": "worktree", "export_limiter_max_multiplus_output_w": 20000}

    played = controller.play("deploy", [deployed], "--check", answering=(PROMPT, answer), **given)

    told = " ".join(played.text.split())
    assert f"Their sha256 is {edited.sha256}." in told
    assert ("Nothing was touched" in told, played.code) == ((False, 0) if named else (True, 2))
    assert played.states == {"dayfly": "not tried"}


def test_first_version_on_the_device_is_refused_with_what_removes_it(controller, make_device):
    device = make_device(variables=LIMIT)
    (device.data / "dbus-limit").mkdir()

    played = controller.play("deploy", [device])

    assert played.code == 2
    assert "rm -r /data/dbus-limit" in " ".join(played.text.split())


def test_report_is_json_with_every_device(controller, deployed):
    controller.play("deploy", [deployed])

    rows = json.loads((controller.workdir / "report.json").read_text())
    assert rows == [{"host": "dayfly", "reason": "", "state": "converged"}]
