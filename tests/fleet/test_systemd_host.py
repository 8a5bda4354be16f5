"""A host with systemd: another service manager, another login, the same playbooks."""

import json

import pytest
from gx.device import DeviceSpec
from gx.systemd_host import LOGIN, SystemdHost
from gx.waiting import wait_until
from role import REPOSITORY
from trees.debian import TreeError
from trees.host import host_tree, missing

from fleet import held
from fleet.deployment import BASE, Controller, current

pytestmark = pytest.mark.slow  # the tree takes a minute to make, once

LIMIT_W = 30000
UNIT = f"{BASE}.service"
SPEC = DeviceSpec(
    name="workshop",
    portal_id="c0619a00dddd",
    site={"vebus": [{"name": "ttyS4", "phases": 3, "units": 3}], "load_w": 34000},
    variables={
        "ansible_user": LOGIN,
        "ansible_become": True,
        "export_limiter_max_multiplus_output_w": LIMIT_W,
    },
)


@pytest.fixture(scope="module")
def host(fleet):
    """A booted host with a site on its bus."""
    if reason := missing():
        pytest.skip(reason)
    try:
        SystemdHost.tree = host_tree()
    except TreeError as error:
        pytest.skip(str(error))
    (host,) = fleet.add_all([SPEC], SystemdHost)
    yield host
    fleet.remove(host)


@pytest.fixture(scope="module")
def controller(fleet, repository, tmp_path_factory):
    return Controller(fleet, repository, tmp_path_factory.mktemp("systemd"))


@pytest.fixture(scope="module")
def deployed(controller, host):
    """The same, deployed to; and what that came to."""
    return controller.play("deploy", [host])


def shown(host, *names):
    """Return properties of the unit as systemd shows them."""
    asked = f"systemctl show {UNIT} --property={','.join(names)}"
    return dict(line.split("=", 1) for line in host.run(asked).stdout.splitlines())


def test_deploy_starts_the_unit_and_the_second_run_finds_it_converged(controller, host, deployed):
    assert deployed.states == {"workshop": "confirmed"}, deployed.text
    assert controller.count_executions() == 2
    assert shown(host, "ActiveState", "UnitFileState", "NRestarts") == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "NRestarts": "0",
    }

    assert controller.play("deploy", [host]).states == {"workshop": "converged"}
    assert controller.count_executions() == 1


def test_status_and_check_know_it(controller, host, deployed):
    status = controller.play("status", [host])
    checked = controller.play("check", [host])

    assert status.rows["workshop"]["enforceable"] is True
    assert checked.states == {"workshop": "as wanted"}, checked.text


def test_unit_is_confined(host, deployed):
    assert shown(host, "ProtectSystem", "NoNewPrivileges", "MemoryMax") == {
        "ProtectSystem": "strict",
        "NoNewPrivileges": "yes",
        "MemoryMax": "104857600",
    }


def test_agent_that_hangs_is_started_again(host, deployed):
    before = held.said(host)["pid"]
    host.run(f"kill -STOP {before}; sleep 16; kill -CONT {before}")  # its alarm rings after 15 s

    wait_until(lambda: held.said(host)["pid"] != before, "the next one", 30)
    assert shown(host, "ActiveState") == {"ActiveState": "active"}
    assert "status=14/ALRM" in host.run(f"journalctl --unit {UNIT}").stdout


def test_boot_starts_it_and_the_cap_is_held(host, deployed):
    wait_until(lambda: held.limited(host, LIMIT_W), "the limit to be kept", 90)
    cap = held.Cap(host)

    host.reboot()

    wait_until(lambda: held.said(host).get("enforceable"), "the agent", 60)
    assert cap.held(LIMIT_W)


def test_crashing_release_goes_back(controller, host, deployed, repository):
    good = current(host)
    program = (REPOSITORY / "agent/export-limiter").read_text().partition("\n")
    crashing = {"export-limiter": f'{program[0]}\n[ "$1" != run ] || exit 1\n{program[2]}'}

    played = controller.play("deploy", [host], **repository.commit(crashing))

    assert played.states == {"workshop": "rolled back"}, played.text
    assert played.rows["workshop"]["reason"].startswith("it crashes: started 5 times")
    assert current(host) == good
    wait_until(lambda: held.said(host).get("enforceable"), "the agent", 60)


def test_first_activation_cut_by_power_stays_down_until_the_next(controller, host, deployed):
    undecided = json.dumps({"to": current(host), "back": None})
    host.run(f"echo '{undecided}' > /data/{BASE}/pending && systemctl kill -s KILL {UNIT}")

    wait_until(
        lambda: shown(host, "ActiveState") == {"ActiveState": "inactive"}, "it to stay down", 30
    )
    assert not (host.data / BASE / "current").is_symlink()

    assert controller.play("deploy", [host]).states == {"workshop": "confirmed"}
    assert shown(host, "ActiveState") == {"ActiveState": "active"}


def test_remove_leaves_no_unit(controller, host, deployed):
    removed = controller.play("remove", [host])

    assert removed.code == 0, removed.text
    assert shown(host, "LoadState") == {"LoadState": "not-found"}
    assert not (host.data / BASE).exists()
    assert f"{BASE}" not in host.run("ls /run").stdout
