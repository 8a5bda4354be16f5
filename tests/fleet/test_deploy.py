"""The playbooks with real Ansible and OpenSSH against simulated devices."""

from pathlib import Path

import pytest
from gx.device import Device, DeviceSpec
from gx.waiting import wait_until

from fleet import deployment
from fleet.deployment import (
    BASE,
    CRASHING,
    SILENT,
    Controller,
    Repository,
    agents,
    current,
    status,
    supervisors,
)

THREE_PHASES = {
    "site": {
        "name": "site",
        "vebus": [{"name": "ttyS4", "phases": 3, "units": 3}],
        "load_w": 18000,
    },
    "variables": {"export_limiter_max_multiplus_output_w": 30000},
}


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    return Repository(tmp_path_factory.mktemp("repository") / "git")


@pytest.fixture
def controller(fleet, repository, tmp_path):
    return Controller(fleet, repository, tmp_path)


@pytest.fixture
def device(make_device):
    return make_device(**THREE_PHASES)


@pytest.fixture(scope="module")
def deployed(fleet, repository, tmp_path_factory):
    """A device with the agent, which every test leaves as it found it."""
    device = fleet.add(DeviceSpec(name="shared", portal_id="c0619a00aaaa", **THREE_PHASES))
    controller = Controller(fleet, repository, tmp_path_factory.mktemp("controller"))
    played = controller.play("deploy", [device])
    assert played.code == 0, played.text
    yield device
    fleet.remove(device)


@pytest.mark.ahead
def test_deploy_starts_the_agent_and_the_limit_is_armed(stage):
    controller, device = stage.controller(), stage.device(**THREE_PHASES)

    played = controller.play("deploy", [device])

    assert (played.code, played.states) == (0, {device.spec.name: "confirmed"}), played.text
    assert controller.count_executions() == 2
    assert status(device)["enforceable"] is True
    assert status(device)["limits"]["max_multiplus_output_w"] == 30000
    wait_until(lambda: device.ask(do="state")["setting_w"] == 30000, "the stored backstop")
    assert (agents(device), supervisors(device)) == (1, 1)


def test_second_run_is_one_execution_and_changes_nothing(controller, deployed):
    before = deployment.tree(deployed, without=["log", f"{BASE}/state.json"])

    played = controller.play("deploy", [deployed])

    assert (played.code, played.states) == (0, {deployed.spec.name: "converged"}), played.text
    assert "changed=0" in played.text
    assert "changed=1" not in played.text
    assert controller.count_executions() == 1
    assert deployment.tree(deployed, without=["log", f"{BASE}/state.json"]) == before


def test_reboot_starts_the_agent_again(controller, deployed):
    deployed.reboot()

    wait_until(lambda: agents(deployed) == 1, "the agent", 20)
    assert supervisors(deployed) == 1
    assert controller.play("check", [deployed]).states == {deployed.spec.name: "as wanted"}


@pytest.mark.ahead
def test_remove_leaves_the_device_as_it_was(stage):
    controller, device = stage.controller(), stage.device(**THREE_PHASES)
    (device.data / "rc.local").write_text("#!/bin/sh\necho other >/run/other\nexit 0\n")
    found = device.ask(do="state")
    before = deployment.tree(device)
    assert controller.play("deploy", [device]).code == 0

    played = controller.play("remove", [device])

    assert played.code == 0, played.text
    assert deployment.tree(device) == before
    released = device.ask(do="state")
    assert released["setting_w"] == found["setting_w"]
    assert released["override_w"] == found["override_w"]
    assert agents(device) == 0
    assert BASE not in device.run("ls /run /run/service /service").stdout
    assert "changed=0" in controller.play("remove", [device]).text


def test_crashing_release_goes_back_and_the_cap_is_held(controller, deployed, repository):
    good = current(deployed)

    played = controller.play("deploy", [deployed], **repository.commit(CRASHING))

    row = played.rows[deployed.spec.name]
    assert (played.code, row["state"]) == (2, "rolled back"), played.text
    assert row["reason"] == f"it crashes: started 5 times; back to {good}"
    assert current(deployed) == good
    assert agents(deployed) == 1
    assert device_cap(deployed) <= 30000  # an agent that just came back starts 3 W lower
    wait_until(lambda: device_cap(deployed) == 30000, "the cap", 30)


@pytest.mark.ahead
def test_going_back_keeps_the_tighter_limit(stage):
    controller, device = stage.controller(), stage.device(**THREE_PHASES)
    assert controller.play("deploy", [device]).code == 0
    tight = {**stage.repository.commit(CRASHING), "export_limiter_max_multiplus_output_w": 20000}

    played = controller.play("deploy", [device], **tight)

    row = played.rows[device.spec.name]
    assert row["state"] == "rolled back"
    assert row["reason"].endswith("(new limit)")
    assert deployment.config(device)["max_multiplus_output_w"] == 20000
    assert current(device).startswith(stage.repository.whole["export_limiter_commit"])
    wait_until(lambda: device_cap(device) == 20000, "the tighter cap", 30)


def device_cap(device: Device) -> float:
    return device.ask(do="state")["cap_w"]


@pytest.mark.ahead
def test_first_installation_that_fails_leaves_nothing_running(stage):
    device = stage.device(**THREE_PHASES)

    played = stage.controller().play("deploy", [device], **stage.repository.commit(CRASHING))

    row = played.rows[device.spec.name]
    assert (played.code, row["state"]) == (2, "rolled back"), played.text
    assert "nothing was installed before, and nothing runs now" in row["reason"]
    assert agents(device) == supervisors(device) == 0
    assert not (device.data / "rc.local").exists()


def test_power_cut_while_undecided_goes_back_at_boot(controller, deployed, repository):
    good, silent = current(deployed), repository.commit(SILENT)
    pending = deployed.data / BASE / "pending"
    playing = controller.start("deploy", [deployed], **silent)
    wait_until(lambda: pending.exists() and current(deployed) != good, "the switch", 30)

    deployed.power_cut()
    deployed.start()
    controller.kill(playing)

    wait_until(lambda: agents(deployed) == 1, "the agent", 20)
    assert current(deployed) == good
    assert not pending.exists()


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"export_limiter_sha256": "0" * 64}, "export_limiter_sha256: commit "),
        ({"export_limiter_commit": "0" * 40}, f"export_limiter_commit: {'0' * 40} is not in /"),
        (
            {"export_limiter_max_mutliplus_output_w": 1},
            "export_limiter_max_mutliplus_output_w: unknown variable; did you mean "
            "export_limiter_max_multiplus_output_w?",
        ),
        (
            {"export_limiter_max_multiplus_output_w": -5},
            "export_limiter_max_multiplus_output_w: -5 is not allowed; a number from 1 to 1000000",
        ),
        (
            {"export_limiter_portal_id": "c0619a999999"},
            "export_limiter_portal_id: this device is",
        ),
    ],
    ids=["hash", "commit", "variable", "number", "portal id"],
)
def test_fault_is_refused_before_any_device_is_touched(controller, device, variables, told):
    before = deployment.tree(device)

    played = controller.play("deploy", [device], **variables)

    assert played.code == 2
    text = " ".join(played.text.split())
    assert told in text
    assert f"{device.spec.name}: " in text
    assert deployment.tree(device) == before


@pytest.mark.ahead
def test_offline_device_is_pending_and_stops_nobody(stage):
    on, off = stage.device(**THREE_PHASES), stage.device(**THREE_PHASES)
    off.stop()

    played = stage.controller().play("deploy", [on, off])

    assert played.code == 0, played.text
    assert played.states == {on.spec.name: "confirmed", off.spec.name: "pending"}


def test_device_with_another_host_key_is_refused(controller, device, fleet):
    known = Path(fleet.workdir / "ssh/known_hosts")
    lines = known.read_text()
    known.write_text(
        "".join(line for line in lines.splitlines(True) if device.spec.name not in line)
    )

    played = controller.play("deploy", [device])
    known.write_text(lines)

    assert played.code == 2
    told = " ".join(played.text.split())
    assert f"{device.spec.name}: host key: none in known_hosts for this site" in told


@pytest.mark.ahead
def test_failure_stops_before_the_next_wave_and_the_rest_is_not_tried(stage):
    devices = [stage.device(**THREE_PHASES) for _ in range(2)]

    played = stage.controller().play("deploy", devices, **stage.repository.commit(CRASHING))

    assert played.code == 2
    assert sorted(played.states.values()) == ["not tried", "rolled back"]
