"""What playbooks leave behind for people: the page of the fleet, its data and the metrics."""

import json
import re
import subprocess

import jsonschema
import pytest
from gx.waiting import wait_until
from role import REPOSITORY, ROLE

from fleet import held
from fleet.deployment import agents

ONE_PHASE = {
    "site": {"name": "site", "vebus": [{"name": "ttyS4", "phases": 1}], "load_w": 2000},
    "variables": {"export_limiter_max_multiplus_output_w": 5000, "export_limiter_phase_count": 1},
}
README = (REPOSITORY / "README.md").read_text()
SCHEMA = json.loads((ROLE / "controller/data.schema.json").read_text())

pytestmark = pytest.mark.ahead


def commands(after):
    """The commands of the README's first block after these words."""
    return README.split(after)[1].split("```")[1].strip().splitlines()


def written(controller):
    """The newest report's data, by site."""
    data = json.loads((controller.workdir / "reports/latest/data.json").read_text())
    jsonschema.validate(data, SCHEMA)
    return data, {site["name"]: site for site in data["sites"]}


def test_a_roll_out_and_a_look_leave_a_page_each(stage):
    controller = stage.controller()
    device, off = stage.device(**ONE_PHASE), stage.device(**ONE_PHASE)
    name = device.spec.name
    controller.play("deploy", [device, off])
    off.stop()
    data, sites = written(controller)

    assert data["playbook"] == "deploy"
    assert sites[name]["rollout"]["state"] == "confirmed"
    assert sites[name]["verdict"] == "kept"
    assert sites[name]["release"]["commit"] == controller.repository.whole["export_limiter_commit"]
    assert sites[name]["history"]["series"] is None  # nothing ran there before

    played = controller.play(
        "status", [device, off], export_limiter_prometheus=str(controller.workdir)
    )
    data, sites = written(controller)

    assert "/index.html" in played.text, played.text
    assert data["totals"]["verdicts"]["not_reached"] == 1
    assert data["totals"]["sites"] == 2
    assert sites[name]["output_w"] == pytest.approx(2000, abs=100)
    assert sites[name]["config"]["max_multiplus_output_w"] == 5000
    assert sites[name]["compliance"]["day"]["above_60_s"] == 0
    assert sites[off.spec.name]["last_contact"] is not None  # it was there for the roll-out
    assert sites[off.spec.name]["limits"]["output_w"] == 5000  # that of the inventory
    metrics = (controller.workdir / f"export_limiter_{name}.prom").read_text()
    assert f'export_limiter_up{{site="{name}"}} 1' in metrics


def test_a_stopped_agent_hands_over_what_it_had_recorded(stage):
    controller, device = stage.controller(), stage.device(**ONE_PHASE)
    controller.play("deploy", [device])
    device.run("svc -d /service/venus-export-limiter")
    wait_until(lambda: agents(device) == 0, "the agent to stop")

    controller.play("status", [device])

    _, sites = written(controller)
    site = sites[device.spec.name]
    assert (site["verdict"], site["reason"]) == ("not_running", "the service is down")
    events = [event["text"] for event in site["history"]["events"]]
    assert events[0].startswith("started: version ")
    assert events[-1] == "stopping: asked to stop"


def test_the_readme_tells_a_technician_at_the_device_what_is_there(stage):
    device, printed = stage.device(**ONE_PHASE), stage.directory("technician") / "printed"
    stage.controller().play("deploy", [device])
    log, status = re.findall(r"`(/data/log/[^`]+)`", README)[0], commands("this shows the present")

    assert "limiting by ess_override" in device.run(f"cat {log}").stdout
    assert device.run(status[0]).stdout.startswith("monitoring: ")

    down, enter, run, up = commands("run the agent by hand")
    device.run(down)
    wait_until(lambda: agents(device) == 0, "the agent to stop")
    with printed.open("w") as file:
        words = device.command("sh", "-c", f"{enter} && exec {run}")
        by_hand = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
    decided = r"DEBUG output (\d+) W, export -?\d+ W, cap 5000 W: monitoring"
    wait_until(lambda: len(re.findall(decided, printed.read_text())) >= 3, "some decisions", 40)
    numbers = [number for number, words in held.processes(device) if b"--debug" in words]
    device.run(f"kill -INT {numbers[0]}")

    assert by_hand.wait(20) == 0
    assert "stopping: asked to stop" in printed.read_text()
    device.run(up)
    wait_until(lambda: agents(device) == 1, "the service to run again")
