"""The agent as a process on a bus: start, limit, stop, start again, and its other verbs."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
from itertools import pairwise

import pytest
from gx.sites import CABIN, HARBOUR
from gx.stage import LIFELIKE, near
from gx.waiting import wait_until

pytestmark = pytest.mark.every_python

OVERRIDE = "/Overrides/MaxDischargePower"
SETTING = "/Settings/CGwacs/MaxDischargePower"
OWN = "com.victronenergy.exportlimiter"
ONE_PHASE = {"name": "ttyS4", "phases": 1, "units": 1, "nominal_w": 8000}
SMALL = {"vebus": [ONE_PHASE], "load_w": 2000}
LIMIT = {"max_multiplus_output_w": 5000, "phase_count": 1}


def demo_site(stage, spec, **changes):
    return stage.site(**{**spec.site, **changes}, plant=LIFELIKE)


def demo_config(spec):
    return {name.removeprefix("export_limiter_"): v for name, v in spec.variables.items()}


def recorded(site, since_s=0.0):
    with site.record.open() as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if float(row["t_s"]) >= since_s]


def caps_of(site):
    return [write["value"] for write in site.writes(OVERRIDE)]


# --- it limits


@pytest.mark.parametrize(
    ("spec", "load_w", "limit_w"),
    [
        pytest.param(HARBOUR, 41000, 30000, id="harbour, three phases"),
        pytest.param(CABIN, 8000, 5000, id="cabin, one phase and DC PV"),
    ],
)
def test_an_armed_cap_holds_when_the_load_rises_past_the_limit(stage, spec, load_w, limit_w):
    site = demo_site(stage, spec)
    agent = stage.agent(**demo_config(spec))
    armed = agent.wait_for(state="monitoring", enforceable=True)
    armed_s = site.state()["t"]

    site.do("load", w=load_w)
    status = agent.wait_for(state="limiting")
    site.let_pass(30)

    assert armed["cap_w"] == limit_w
    assert max(float(row["output_w"]) for row in recorded(site, armed_s)) <= limit_w + 1
    assert status["binding"]
    assert status["method"] == "ess_override"
    assert site.state()["output_w"] == pytest.approx(limit_w, rel=0.01)
    assert agent.status()["inverter_output_w"] == pytest.approx(limit_w, rel=0.01)


def test_a_site_above_its_limit_is_walked_down_in_steps(stage):
    site = demo_site(stage, HARBOUR, load_w=41000)
    agent = stage.agent(**demo_config(HARBOUR))

    agent.wait_for(cap_w=near(30000))
    site.wait_until(lambda state: state["output_w"] < 30100, "the output to follow", 20)

    caps = caps_of(site)
    assert caps[0] == pytest.approx(36000, abs=10)  # all that is installed
    assert max(high - low for high, low in pairwise(caps)) <= 1000
    first, *_, last = site.writes(OVERRIDE)[: caps.index(30000) + 1]
    assert (first["value"] - last["value"]) / (last["t"] - first["t"]) <= 1100  # W/s


def test_without_steps_the_cap_is_the_limit_at_once(stage):
    site = demo_site(stage, HARBOUR, load_w=41000)
    agent = stage.agent(**demo_config(HARBOUR), gradual_adjustment=False)

    agent.wait_for(cap_w=near(30000))

    assert caps_of(site) == [30000]


def test_an_export_limit_is_kept_by_a_cap_that_follows_the_site(stage):
    site = stage.site(vebus=[ONE_PHASE], load_w=6000, pv_dc_w=8000, feed_in=True, plant=LIFELIKE)
    site.do("battery", charge_w=0)
    agent = stage.agent(
        max_multiplus_output_w=None, max_grid_export_w=1000, min_output_limit_w=100, phase_count=1
    )
    agent.wait_for(enforceable=True)

    site.do("load", w=3000)

    agent.wait_for(state="limiting", grid_export_w=lambda w: 800 <= w <= 1000)
    site.let_pass(20)
    assert 700 <= site.state()["export_w"] <= 1000


UNEVEN = {
    "vebus": [{"name": "ttyS4", "phases": 3, "units": 3, "nominal_w": 6000}],
    "load_w": {"L1": 5500, "L2": 1500, "L3": 1000},
}


def test_per_phase_the_worst_phase_is_held_to_its_share(stage):
    site = stage.site(**UNEVEN, plant=LIFELIKE)
    agent = stage.agent(max_multiplus_output_w=12000, per_phase=True)

    site.wait_until(lambda s: s["output_phases_w"]["L1"] <= 4010, "L1 below its 4 kW", 30)
    site.let_pass(20)

    status, truth = agent.status(), site.state()
    assert 3500 <= truth["output_phases_w"]["L1"] <= 4010
    assert truth["output_w"] > 5000  # the others deliver on
    assert (status["state"], status["enforceable"]) == ("limiting", True)
    assert [phase["phase"] for phase in status["phases"]] == ["L1", "L2", "L3"]
    assert ["until the cap has followed" in text for text in status["warnings"]] == [True]


def test_per_phase_strictly_the_total_is_armed_at_one_share(stage):
    site = stage.site(**{**UNEVEN, "load_w": 3000})
    agent = stage.agent(max_multiplus_output_w=12000, per_phase="strict")

    status = agent.wait_for(state="monitoring", enforceable=True)
    site.do("load", w={"L1": 9000, "L2": 0, "L3": 0})
    site.let_pass(10)

    assert (status["cap_w"], status["warnings"]) == (4000, [])
    assert site.state()["output_w"] <= 4010


def test_both_limits_hold_at_once(stage):
    site = stage.site(
        vebus=[ONE_PHASE],
        load_w=7000,
        pv_dc_w=8000,
        feed_in=True,
        battery={"charge_w": 0},
        plant=LIFELIKE,
    )
    agent = stage.agent(
        max_multiplus_output_w=6000, max_grid_export_w=1000, min_output_limit_w=100, phase_count=1
    )
    agent.wait_for(state="limiting", cap_w=near(6000))
    site.wait_until(lambda s: s["output_w"] <= 6050, "the output to follow", 20)

    site.do("load", w=3000)
    site.wait_until(lambda s: 700 <= s["export_w"] <= 1000, "the export to come down", 30)
    site.do("load", w=7500)
    highest_w = []
    site.wait_until(lambda s: highest_w.append(s["output_w"]) or len(highest_w) > 60, "looks", 30)

    assert max(highest_w) <= 6050
    agent.wait_for(cap_w=near(6000), state="limiting")


# --- it tells


def test_the_status_file_has_what_others_rely_on(stage):
    stage.site(**SMALL)
    agent = stage.agent(**LIMIT)

    status = agent.wait_for(state="monitoring", enforceable=True)

    assert status["cap_w"] == 5000
    assert status["limits"] == {"max_multiplus_output_w": 5000, "max_grid_export_w": None}
    assert status["measured_w"] == status["inverter_output_w"] == pytest.approx(1950, abs=5)
    assert status["grid_export_w"] == pytest.approx(-50, abs=5)
    assert status["control_point"] == "com.victronenergy.hub4" + OVERRIDE
    assert status["phases"] == [
        {
            "phase": "L1",
            "inverter_output_w": pytest.approx(1950, abs=5),
            "grid_export_w": None,
        },
    ]
    assert {"version", "commit", "reason", "binding", "dry_run", "started_at"} < status.keys()
    assert {
        "ticks",
        "writes",
        "stored_writes",
        "refused_writes",
        "failsafe_entries",
    } <= status["counters"].keys()
    assert status["pid"] == agent.process.child.pid
    assert 0 <= status["updated_at"] - status["started_at"] < 60


def test_the_status_file_is_replaced_in_one_step(stage):
    stage.site(**SMALL)
    agent = stage.agent(**LIMIT)
    agent.wait_for(enforceable=True)

    seen = set()
    wait_until(lambda: seen.add(agent.status()["counters"]["ticks"]) or len(seen) > 6, "six files")

    assert sorted(agent.runtime.iterdir())[-1].name == "status.json"


def test_the_own_service_has_the_mandatory_paths_and_the_status(stage):
    stage.site(**SMALL)
    client = stage.client()
    agent = stage.agent(**LIMIT)
    status = agent.wait_for(state="monitoring", enforceable=True)
    wait_until(lambda: client.get(OWN, "/State") == "monitoring", "the service to follow")

    items = client.call(OWN, "/", "GetItems")["value"]

    assert {
        "/Mgmt/ProcessName",
        "/Mgmt/ProcessVersion",
        "/Mgmt/Connection",
        "/DeviceInstance",
        "/ProductId",
        "/ProductName",
        "/FirmwareVersion",
        "/HardwareVersion",
        "/Connected",
    } < items.keys()
    assert (items["/DeviceInstance"]["Value"], items["/Connected"]["Value"]) == (0, 1)
    shown = {path: items[f"/{path}"]["Value"] for path in ("Cap", "Limit", "Method", "Enforceable")}
    assert shown == {"Cap": 5000, "Limit": 5000, "Method": "ess_override", "Enforceable": 1}
    assert items["/Reason"]["Value"] == status["reason"]
    assert client.get(OWN, "/Measured") == pytest.approx(1950, abs=5)
    assert client.get(OWN, "/GridExportLimit") == []
    assert client.call(OWN, "/Cap", "GetText")["value"] == "5000"
    assert client.call(OWN, "/Caps", "GetValue")["error"].endswith("UnknownObject")


def test_nothing_in_the_own_service_can_be_written(stage):
    stage.site(**SMALL)
    client = stage.client()
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="monitoring", enforceable=True)
    paths = client.call(OWN, "/", "GetItems")["value"].keys()

    codes = {path: client.set(OWN, path, 1.0) for path in paths}

    assert set(codes.values()) == {1}
    assert client.get(OWN, "/Limit") == 5000


def test_changes_are_signalled(stage):
    site = stage.site(**SMALL)
    client = stage.client()
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="monitoring", enforceable=True)
    owner = client.ask("names")["names"][OWN]
    client.ask("signals")

    site.do("load", w=7000)
    agent.wait_for(state="limiting")

    def told():
        signals = [s for s in client.ask("signals")["signals"] if s["sender"] == owner]
        return [s["args"][0]["/State"]["Value"] for s in signals if "/State" in s["args"][0]]

    assert wait_until(told, "a signal") == ["limiting"]


def test_log_lines_come_on_change_only(stage):
    site = stage.site(**SMALL)
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="monitoring", enforceable=True)
    site.let_pass(5)
    before = agent.log.read_text()

    site.let_pass(100)

    assert agent.log.read_text() == before
    assert len(before.splitlines()) < 15


def test_the_log_begins_with_the_version_and_the_limits(stage):
    stage.site(**SMALL)
    agent = stage.agent(**LIMIT, methods=["ess_override"], dry_run=True)
    version = agent.wait_for(state="monitoring")["version"]

    assert agent.log.read_text().splitlines()[0] == (
        f"INFO version {version}, output limit 5000 W, export limit none, methods ess_override,"
        " dry run: nothing is written"
    )


def test_the_log_of_a_meter_that_comes_and_goes_is_bounded(stage):
    site = stage.site(**SMALL)
    agent = stage.agent(**LIMIT, max_grid_export_w=3000)
    agent.wait_for(state="monitoring", enforceable=True)

    for _ in range(30):
        site.do("fault", name="drop", service="grid.cgwacs_ttyUSB0_di30_mb1", seconds=1)
        site.let_pass(2)
    lines = agent.log.read_text().splitlines()
    agent.stop()

    assert len(lines) == 60
    last = agent.log.read_text().splitlines()[-1]
    assert last.startswith("INFO stopping: ")
    assert "(lines left out before this one: " in last


# --- it stops and comes back


def test_a_stop_signal_ends_it_and_keeps_the_cap(stage):
    site = stage.site(**SMALL)
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="monitoring", counters=lambda c: c["stored_writes"] == 1)
    writes = len(site.writes())

    code = agent.stop(signal.SIGTERM)

    assert code == 0
    status = agent.status()
    assert (status["state"], status["enforceable"], status["cap_w"]) == ("stopping", False, 5000)
    assert len(site.writes()) == writes
    assert site.get("hub4", OVERRIDE) == 5000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_takes_its_own_cap_over(stage, number):
    site = stage.site(vebus=[ONE_PHASE], load_w=8000)
    agent = stage.agent(**LIMIT, max_power_change_per_step_w=200)
    stopped_w = agent.wait_for(cap_w=lambda w: w and w < 6500)["cap_w"]
    agent.stop(number)
    standing_w = caps_of(site)[-1]
    agent.start()

    agent.wait_for(cap_w=near(5000))

    later = caps_of(site)[caps_of(site).index(standing_w) :]
    assert stopped_w >= standing_w >= stopped_w - 200
    assert max(later) == standing_w  # never back up
    assert max(high - low for high, low in pairwise(later)) <= 200


def test_a_restarted_agent_raises_its_own_cap_again(stage):
    site = stage.site(
        vebus=[ONE_PHASE],
        load_w=4000,
        pv_dc_w=8000,
        feed_in=True,
        battery={"charge_w": 0},
        hub4={"override_expires_s": None},
    )
    agent = stage.agent(
        max_multiplus_output_w=None, max_grid_export_w=1000, min_output_limit_w=100, phase_count=1
    )
    low_w = agent.wait_for(state="limiting", grid_export_w=lambda w: w <= 1000)["cap_w"]
    agent.stop(signal.SIGKILL)
    agent.start()
    agent.wait_for(enforceable=True)

    site.do("load", w=7000)

    agent.wait_for(cap_w=lambda w: w is not None and w > low_w + 1000)


def test_the_backstop_is_stored_once(stage):
    site = stage.site(**SMALL)
    agent = stage.agent(**LIMIT)
    agent.wait_for(counters=lambda c: c["stored_writes"] == 1)

    site.let_pass(60)
    agent.stop()
    agent.start()
    agent.wait_for(enforceable=True)
    site.let_pass(60)

    assert [write["value"] for write in site.writes(SETTING)] == [5000]
    assert site.state()["flash_writes"] == 1


def test_only_one_agent_runs(stage):
    site = stage.site(**SMALL)
    agent = stage.agent(**LIMIT)
    agent.wait_for(enforceable=True)
    second = stage.prepare(**{**LIMIT, "max_multiplus_output_w": 1000})

    code = second.call("run", "--config", str(second.config))

    assert code.returncode == 1
    assert code.stderr.strip().splitlines() == [
        "com.victronenergy.exportlimiter is taken: another agent runs here"
    ]
    assert set(caps_of(site)) == {5000}


# --- it never claims what is not so


@pytest.mark.parametrize("code", [1, 2, -1])
def test_a_refused_write_is_no_limit(stage, code):
    site = stage.site(vebus=[ONE_PHASE], load_w=8000)
    for service in ("hub4", "settings"):
        site.do("fault", name="answer", service=service, code=code)
    agent = stage.agent(**LIMIT)
    claims = []

    def refused():
        status = agent.status() or {}
        claims.append(status.get("enforceable", False))
        return status.get("state") == "not_enforceable" and status

    status = wait_until(refused, "the refusal", 20)

    assert not any(claims)
    assert f"SetValue returned {code}" in status["reason"]
    assert f"SetValue returned {code}" in status["last_refusal"]
    assert status["counters"]["writes"] == 0
    assert status["counters"]["refused_writes"] >= 2
    assert status["cap_w"] is None


def test_a_dry_run_decides_and_writes_nothing(stage):
    site = stage.site(vebus=[ONE_PHASE], load_w=8000)
    agent = stage.agent(**LIMIT, dry_run=True)

    status = agent.wait_for(cap_w=near(5000))
    site.let_pass(90)
    later = agent.status()

    assert (status["enforceable"], status["dry_run"], status["reason"]) == (False, True, "dry run")
    assert (later["method"], later["cap_w"]) == ("ess_override", pytest.approx(5000, rel=0.01))
    assert later["counters"]["writes"] == 0
    assert site.state()["writes"] == []


def test_a_dry_run_that_could_not_limit_writes_nothing_either(stage):
    site = stage.site(vebus=[ONE_PHASE], load_w=8000, hub4_mode=3)
    agent = stage.agent(**LIMIT, dry_run=True)
    status = agent.wait_for(state="not_enforceable")

    site.do("set", service="vebus", path="/Ac/Out/P", value=None)
    agent.wait_for(state="failsafe")
    site.let_pass(30)

    assert status["reason"] == "dry run; ESS is under external control (Hub4Mode 3)"
    assert site.state()["writes"] == []


def test_discover_shows_the_site_and_writes_nothing(stage):
    site = stage.site(vebus=[ONE_PHASE], load_w=2000)
    agent = stage.prepare(**LIMIT)

    done = agent.call("discover", "--json")
    screen = agent.call("discover")

    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert report["would_use"] == "ess_override"
    assert [inverter["service"] for inverter in report["inverters"]] == [
        "com.victronenergy.vebus.ttyS4"
    ]
    able = {method["method"]: method["enforceable"] for method in report["methods"]}
    assert able == {
        "ac_power_limit": False,
        "phase_power_limit": False,
        "max_power": False,
        "ess_override": True,
        "ess_setting": True,
    }
    assert all(m["reason"] for m in report["methods"] if not m["enforceable"])
    assert "would use: ess_override" in screen.stdout
    assert site.state()["writes"] == []
    assert not list(agent.state.iterdir()) + list(agent.runtime.iterdir())


def test_discover_beside_a_running_agent_knows_its_cap(stage):
    stage.site(**SMALL)
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="monitoring", counters=lambda c: c["stored_writes"] == 1)

    beside = agent.call("discover").stdout
    agent.stop()
    alone = agent.call("discover").stdout

    named = ("in force", "GUI setting", "override")
    assert "1 phase, delivers 1950 W" in beside
    assert all(f"others: {name} 5000 W, our own cap\n" in beside for name in named)
    assert all(f"others: {name} 5000 W\n" in alone for name in named)


def test_discover_beside_a_running_agent_knows_what_that_gave_up(stage):
    site = stage.site(**SMALL)
    site.do("fault", name="answer", service="hub4", path=OVERRIDE, code=1)
    agent = stage.agent(**LIMIT)
    agent.wait_for(method="ess_setting", enforceable=True)

    screen = agent.call("discover").stdout

    assert "ess_override       no: given up by the running agent: com.victronenergy.hub4" in screen
    assert "would use: ess_setting" in screen


def test_the_status_screen_is_for_people(stage):
    stage.site(**SMALL)
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="monitoring", enforceable=True)

    screen = agent.call("status")
    for_programs = agent.call("status", "--json")
    agent.stop()
    stopped = agent.call("status")

    assert screen.returncode == 0
    assert screen.stdout.startswith("monitoring: output is below the cap")
    assert "inverter output  1950 W   limit 5000 W" in screen.stdout
    assert "cap              5000 W" in screen.stdout
    assert "ess_override" in screen.stdout
    assert json.loads(for_programs.stdout)["state"] == "monitoring"
    assert stopped.returncode == 1
    assert stopped.stdout.startswith("the agent is NOT running (last heard ")


def test_without_a_run_since_boot_there_is_no_status(stage):
    agent = stage.prepare(**LIMIT)

    done = agent.call("status")

    assert done.returncode == 1
    assert done.stderr == "no status: the agent has not run since the last boot\n"


# --- its configuration


def test_check_config_names_every_fault_of_every_file(stage):
    agent = stage.prepare(**LIMIT)
    good, bad, worse = (stage.directory / f"{name}.json" for name in ("good", "bad", "worse"))
    good.write_text("{}")
    bad.write_text('{"max_multiplus_output_w": -1, "laod": 3, "control_interval_s": NaN}')
    worse.write_text('{"min_output_limit_w": 4000, "max_multiplus_output_w": 3000}')

    fine = agent.call("check-config", str(good))
    faulty = agent.call("check-config", *map(str, (good, bad, worse, stage.directory / "none")))

    assert (fine.returncode, fine.stderr) == (0, "")
    assert faulty.returncode == 2
    lines = faulty.stderr.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        [str(bad), "max_multiplus_output_w"],
        [str(bad), "laod"],
        [str(bad), "control_interval_s"],
        [str(worse), "min_output_limit_w"],
        [str(stage.directory / "none"), "can't be read"],
    ]
    assert "a number from 1 to 1000000 W" in lines[0]


def test_a_faulty_configuration_is_not_run(stage):
    agent = stage.prepare(max_multiplus_output_w=0)

    done = agent.call("run", "--config", str(agent.config))

    assert done.returncode == 2
    assert done.stderr.startswith(f"{agent.config}: max_multiplus_output_w: 0 is not allowed")


@pytest.mark.parametrize(
    ("config", "warning"),
    [
        pytest.param(
            {"max_multiplus_output_w": 9000, "phase_count": 1},
            "max_multiplus_output_w 9000 W is above the 8000 W installed",
            id="limit above what is installed",
        ),
        pytest.param(
            {"max_multiplus_output_w": 5000, "phase_count": 3},
            "phase_count is 3, the inverter has 1",
            id="three phases on a one-phase site",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_the_site_is_a_warning(stage, config, warning):
    stage.site(**SMALL)
    agent = stage.agent(**config)

    status = agent.wait_for(enforceable=True)

    assert status["warnings"] == [warning]


# --- how long it takes

METER = "grid.cgwacs_ttyUSB0_di30_mb1"


@pytest.mark.parametrize(("hold_s", "interval_s"), [(3, 1), (4, 1), (1, 5), (4, 10)])
def test_the_first_reduction_comes_a_hold_and_an_interval_after_the_last_data(
    stage, hold_s, interval_s
):
    site = stage.site(vebus=[ONE_PHASE], load_w=6000)
    config = {"max_multiplus_output_w": None, "max_grid_export_w": 3000, "phase_count": 1}
    agent = stage.agent(**config, data_hold_s=hold_s, control_interval_s=interval_s)
    cap_w = agent.wait_for(enforceable=True, state="monitoring")["cap_w"]

    lost_s = site.state()["t"]
    site.do("set", service=METER, path="/Ac/Power", value=None)
    agent.wait_for(state="failsafe", cap_w=lambda w: w < cap_w)

    lower = [write for write in site.writes(OVERRIDE) if write["value"] < cap_w]
    assert lower[0]["t"] - lost_s <= hold_s + interval_s + 0.5


@pytest.mark.parametrize(
    ("hub4", "fault", "within_s"),
    [
        pytest.param({}, {"name": "answer", "code": 1}, 10, id="refused"),
        pytest.param({}, {"name": "error"}, 10, id="raises"),
        pytest.param({}, {"name": "ignore"}, 10, id="not there when read back"),
        pytest.param({}, {"name": "revert", "after_s": 1.5}, 10, id="reverts"),
        pytest.param({"override_ignored": True}, None, 15, id="not applied"),
    ],
)
def test_a_method_that_fails_is_left_within(stage, hub4, fault, within_s):
    site = stage.site(vebus=[ONE_PHASE], load_w=7000, hub4=hub4)
    if fault:
        site.do("fault", service="hub4", path=OVERRIDE, **fault)
    agent = stage.agent(**LIMIT, stored_backstop=False)
    agent.wait_for(method="ess_override")
    begun_s = site.state()["t"]

    status = agent.wait_for(method="ess_setting", cap_w=lambda w: w is not None)

    assert site.writes(SETTING)[0]["t"] - begun_s <= within_s
    assert [each["method"] for each in status["given_up"]] == ["ess_override"]


def test_a_cap_that_is_not_obeyed_is_left_within_half_a_minute(stage):
    unit = {**ONE_PHASE, "limit_paths": {"/Ac/PowerLimit": None}, "limits_act": False}
    site = stage.site(vebus=[unit], load_w=7000)
    agent = stage.agent(**LIMIT)
    agent.wait_for(method="ac_power_limit", cap_w=near(5000))
    reached_s = site.state()["t"]

    status = agent.wait_for(method="ess_override", cap_w=lambda w: w is not None)

    assert site.writes(OVERRIDE)[0]["t"] - reached_s <= 30
    assert "the output stays above it" in status["given_up"][0]["reason"]


def test_a_cap_that_another_raises_is_put_right_within(stage):
    site = stage.site(vebus=[ONE_PHASE], load_w=7000)
    agent = stage.agent(**LIMIT)
    agent.wait_for(cap_w=near(5000), enforceable=True)
    site.let_pass(5)

    raised_s = site.state()["t"]
    site.do("write", service="hub4", path=OVERRIDE, value=7500)
    site.wait_until(lambda s: near(5000)(s["override_w"]), "our cap again")

    assert site.writes(OVERRIDE)[-1]["t"] - raised_s <= 3


# --- it hands back


@pytest.mark.parametrize("found_w", [-1, 6500], ids=["no setting", "a user's setting"])
def test_release_walks_up_and_puts_back_what_was_found(stage, found_w):
    site = stage.site(vebus=[ONE_PHASE], load_w=8000, settings={SETTING: found_w})
    agent = stage.agent(**LIMIT)
    agent.wait_for(cap_w=near(5000), counters=lambda c: c["stored_writes"] == 1)
    agent.stop()
    written = len(caps_of(site))

    done = agent.call("release", "--config", str(agent.config))

    assert done.returncode == 0, done.stderr
    assert site.get("hub4", OVERRIDE) is None
    assert site.get("settings", SETTING) == found_w
    ups = [5000, *caps_of(site)[written:-1]]
    assert len(ups) > 2
    assert max(high - low for low, high in pairwise(ups)) <= 500
    assert site.state()["flash_writes"] == 2
    assert json.loads((agent.state / "state.json").read_text())["points"] == {}


def test_release_on_stop(stage):
    site = stage.site(vebus=[ONE_PHASE], load_w=6500, settings={SETTING: 6500})
    agent = stage.agent(**LIMIT, on_stop="release")
    agent.wait_for(cap_w=near(5000), counters=lambda c: c["stored_writes"] == 1)

    code = agent.stop(signal.SIGTERM)

    assert code == 0
    assert site.get("hub4", OVERRIDE) is None
    assert site.get("settings", SETTING) == 6500


def test_release_leaves_what_somebody_else_has_set_since(stage):
    site = stage.site(**SMALL)
    agent = stage.agent(**LIMIT)
    agent.wait_for(counters=lambda c: c["stored_writes"] == 1)
    agent.stop()
    site.do("write", service="settings", path=SETTING, value=3000)
    site.do("write", service="hub4", path=OVERRIDE, value=2500)

    done = agent.call("release", "--config", str(agent.config))

    assert done.returncode == 0
    assert site.get("settings", SETTING) == 3000
    assert site.get("hub4", OVERRIDE) == 2500


def test_a_release_that_takes_too_long_ends_and_says_so(stage):
    stage.speed = 1  # the verb runs without a faster clock
    site = stage.site(vebus=[ONE_PHASE], load_w=8000)
    agent = stage.agent(**LIMIT, gradual_adjustment=False, max_power_increase_per_step_w=1)
    agent.wait_for(cap_w=near(5000))
    agent.stop()
    done = agent.call("release", "--config", str(agent.config), "--within", "6")
    walked_w = site.get("hub4", OVERRIDE)

    again = agent.call("release", "--config", str(agent.config), "--within", "6")

    assert (done.returncode, done.stderr) == (1, "not released within 6 s\n")
    assert 5000 < walked_w < 5500
    assert again.returncode == 1  # it knows for its own what it had raised, and goes on from it
    assert walked_w < site.get("hub4", OVERRIDE) < 6000


@pytest.mark.parametrize("within", ["0", "-1", "nan", "soon"])
def test_a_time_to_release_in_that_can_not_be_is_refused(stage, within):
    agent = stage.prepare(**LIMIT)

    done = agent.call("release", "--config", str(agent.config), f"--within={within}")

    assert done.returncode == 2
    assert done.stderr.endswith(f"--within: {within!r} is not allowed; 1 to 86400 s\n")


def test_release_waits_for_the_agent_to_stop(stage):
    site = stage.site(**SMALL)
    agent = stage.agent(**LIMIT)
    agent.wait_for(enforceable=True)

    done = agent.call("release", "--config", str(agent.config))

    assert done.returncode == 1
    assert "the agent is running: stop it first" in done.stderr
    assert site.get("hub4", OVERRIDE) == 5000


# --- its manners on the bus


def watched_calls(stage, seconds, site):
    """Method calls seen on the bus meanwhile, as (member, sender)."""
    log = stage.directory / "monitor.log"
    command = ["dbus-monitor", "--address", stage.bus.address, "--profile", "type='method_call'"]
    with log.open("w") as out, subprocess.Popen(["stdbuf", "-oL", *command], stdout=out) as monitor:
        wait_until(lambda: "mc\t" in log.read_text(), "a call")
        site.let_pass(seconds)
        monitor.terminate()
    calls = [line.split("\t") for line in log.read_text().splitlines() if line.startswith("mc")]
    return [(cells[-1], cells[3]) for cells in calls]


BOTH_LIMITS = {"max_grid_export_w": 20000, "per_phase": True}
SECOND = {"name": "ttyUSB0", "phases": 3, "units": 3, "instance": 288, "ess": False}
BESIDE = {"vebus": [*HARBOUR.site["vebus"], SECOND]}
NO_TOTAL = {"lacks": {"vebus.ttyUSB0": ["/Ac/Out/P", "/Ac/ActiveIn/P"]}}


@pytest.mark.parametrize(
    ("keys", "config"),
    [
        pytest.param({}, {}, id="total"),
        pytest.param({}, BOTH_LIMITS, id="per phase, both limits"),
        pytest.param(BESIDE, BOTH_LIMITS, id="per phase, both limits, a second system"),
        pytest.param({**BESIDE, **NO_TOTAL}, BOTH_LIMITS, id="a second system without a total"),
    ],
)
def test_steady_state_is_quiet_on_the_bus(stage, keys, config):
    site = demo_site(stage, HARBOUR, **keys)
    agent = stage.agent(**demo_config(HARBOUR), **config)
    agent.wait_for(state="monitoring", enforceable=True)
    site.let_pass(10)
    client = stage.client()
    owner = client.ask("names")["names"][OWN]
    flash, caps = site.state()["flash_writes"], len(caps_of(site))

    calls = [member for member, sender in watched_calls(stage, 125, site) if sender == owner]

    assert len(calls) / 125 <= 10
    assert set(calls) <= {"GetValue", "SetValue"}  # no introspection, nothing else
    assert 4 <= calls.count("SetValue") <= 5  # the refresh each 30 s
    assert site.state()["flash_writes"] == flash
    assert set(caps_of(site)[caps:]) == {caps_of(site)[-1]}
