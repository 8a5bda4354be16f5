"""Every fault: what the cap does, within how many seconds, and what the status says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from itertools import pairwise

import pytest
from gx.bus import AGENT, PYTHON
from gx.process import Process
from gx.stage import near
from gx.waiting import wait_until

OVERRIDE = "/Overrides/MaxDischargePower"
SETTING = "/Settings/CGwacs/MaxDischargePower"
OWN = "com.victronenergy.exportlimiter"
METER = "grid.cgwacs_ttyUSB0_di30_mb1"
UNIT = {"name": "ttyS4", "phases": 1, "units": 1, "nominal_w": 8000}
LIMIT = {"max_multiplus_output_w": 5000, "phase_count": 1}
EXPORT = {"max_multiplus_output_w": None, "max_grid_export_w": 3000, "phase_count": 1}


def put(service, path, value):
    return lambda site: site.do("set", service=service, path=path, value=value)


def fault(name, service, **keys):
    return lambda site: site.do("fault", name=name, service=service, **keys)


def freeze(service):
    """Stop the values of one service while the load moves the others'."""

    def act(site):
        site.do("fault", name="freeze", service=service)
        site.do("load", w=6500)

    return act


OUTPUT_FAULTS = {
    "the output has no value": put("vebus", "/Ac/Out/P", None),
    "the output is NaN": put("vebus", "/Ac/Out/P", float("nan")),
    "the output is absurd": put("vebus", "/Ac/Out/P", 1e9),
    "the input has no value": put("vebus", "/Ac/ActiveIn/P", None),
    "the input is NaN": put("vebus", "/Ac/ActiveIn/P", float("nan")),
    "the inverter is frozen": freeze("vebus"),
    "the inverter's service is gone": fault("drop", "vebus"),
    "the inverter never answers": fault("hang", "vebus"),
}
METER_FAULTS = {
    "the meter has no value": put(METER, "/Ac/Power", None),
    "the meter is NaN": put(METER, "/Ac/Power", float("nan")),
    "the meter is absurd": put(METER, "/Ac/Power", -1e9),
    "the meter is frozen": freeze(METER),
    "the meter's service is gone": fault("drop", METER),
    "the meter never answers": fault("hang", METER),
    "the meter is not connected": put(METER, "/Connected", 0),
}


def speed_for(name):
    """Calls end in real time, so with a peer that never answers nothing can be hurried."""
    return 1.0 if "never answers" in name else 5.0


def first_within_s(name):
    return 15 if "frozen" in name else 5


# --- lost data


@pytest.mark.parametrize("name", [*OUTPUT_FAULTS, *METER_FAULTS])
def test_without_data_an_export_cap_walks_to_the_failsafe_limit(stage, name):
    stage.speed = speed_for(name)
    site = stage.site(vebus=[UNIT], load_w=6000)
    agent = stage.agent(**EXPORT)
    before = agent.wait_for(enforceable=True, state="monitoring")
    written = len(site.writes(OVERRIDE))

    lost_s = site.state()["t"]
    {**OUTPUT_FAULTS, **METER_FAULTS}[name](site)
    status = agent.wait_for(state="failsafe", deadline_s=30)
    # A cap that binds nothing is not written for the last 200 W.
    agent.wait_for(cap_w=lambda w: 3000 <= w <= 3200)

    writes = [w for w in site.writes(OVERRIDE)[written:] if w["value"] < before["cap_w"]]
    caps = [w["value"] for w in writes]
    assert before["cap_w"] > 6000
    assert writes[0]["t"] - lost_s <= first_within_s(name)
    assert caps == sorted(caps, reverse=True)  # nothing relaxes
    assert max(high - low for high, low in pairwise(caps)) <= 1000
    lost = "output" if name in OUTPUT_FAULTS else "export"
    assert status["reason"].startswith(f"no usable {lost}")
    assert agent.status()["counters"]["failsafe_entries"] == 1


@pytest.mark.every_python
@pytest.mark.parametrize("name", OUTPUT_FAULTS)
def test_without_data_an_output_limit_keeps_its_armed_cap(stage, name):
    stage.speed = speed_for(name)
    site = stage.site(vebus=[UNIT], load_w=4000)
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="monitoring", cap_w=near(5000), counters=lambda c: c["stored_writes"])
    written = len(site.writes())

    OUTPUT_FAULTS[name](site)
    if "frozen" in name:
        site.do("load", w=4500)
    status = agent.wait_for(state="failsafe", deadline_s=30)
    site.do("load", w=7500)
    site.let_pass(8)

    assert status["cap_w"] == 5000
    assert {(w["path"], w["value"]) for w in site.writes()[written:]} <= {(OVERRIDE, 5000)}
    assert site.state()["output_w"] <= 5010


@pytest.mark.parametrize(
    ("site_keys", "config", "failsafe_w"),
    [
        pytest.param({}, {}, 3000, id="the export limit itself"),
        pytest.param({}, {"failsafe_limit_w": 1500}, 1500, id="as configured"),
        pytest.param({"pv_inverter": True}, {}, 1000, id="the floor beside a PV inverter"),
        pytest.param({}, {"max_grid_export_w": 0}, 1000, id="never below the floor"),
    ],
)
def test_the_failsafe_limit_is(stage, site_keys, config, failsafe_w):
    site = stage.site(vebus=[UNIT], load_w=6000, **site_keys)
    agent = stage.agent(**{**EXPORT, **config})
    agent.wait_for(enforceable=True)

    site.do("set", service=METER, path="/Ac/Power", value=None)

    agent.wait_for(state="failsafe", cap_w=float(failsafe_w))


def test_three_fresh_measurements_end_the_failsafe_and_the_cap_rises_in_steps(stage):
    site = stage.site(vebus=[UNIT], load_w=6000)
    agent = stage.agent(**EXPORT)
    agent.wait_for(enforceable=True)
    site.do("set", service=METER, path="/Ac/Power", value=None)
    agent.wait_for(state="failsafe", cap_w=near(3000))
    written = len(site.writes(OVERRIDE))

    site.do("unset", service=METER, path="/Ac/Power")
    agent.wait_for(state="relaxing")
    agent.wait_for(state="monitoring")

    caps = [3000, *(w["value"] for w in site.writes(OVERRIDE)[written:])]
    assert caps == sorted(caps)
    assert max(high - low for low, high in pairwise(caps)) <= 500


def test_data_that_return_in_time_are_no_failsafe(stage):
    stage.speed = 5
    site = stage.site(vebus=[UNIT], load_w=6000)
    agent = stage.agent(**EXPORT)
    agent.wait_for(enforceable=True)
    written = len(site.writes())

    site.do("fault", name="drop", service=METER, seconds=1.3)
    site.let_pass(10)

    assert agent.status()["counters"]["failsafe_entries"] == 0
    assert len(site.writes()) == written


def test_a_quiet_site_is_not_frozen(stage):
    site = stage.site(vebus=[UNIT], load_w=3000)
    agent = stage.agent(**LIMIT, max_grid_export_w=3000)
    agent.wait_for(enforceable=True)

    site.let_pass(60)  # not one value changes

    assert agent.status()["counters"]["failsafe_entries"] == 0


def test_without_data_from_the_start_nothing_is_written(stage):
    site = stage.site(vebus=[UNIT], load_w=6000)
    site.do("set", service="vebus", path="/Ac/Out/P", value=None)
    agent = stage.agent(**LIMIT)

    starting = agent.wait_for(state="starting")
    agent.wait_for(state="not_enforceable")

    assert (starting["cap_w"], starting["enforceable"]) == (None, False)
    assert site.writes() == []


@pytest.mark.every_python
@pytest.mark.parametrize("service", ["vebus", METER, "hub4", "settings"])
def test_a_peer_that_never_answers_does_not_stretch_the_tick(stage, service):
    stage.speed = 1
    site = stage.site(vebus=[UNIT], load_w=6000)
    agent = stage.agent(**EXPORT, control_interval_s=0.5)
    agent.wait_for(enforceable=True)

    site.do("fault", name="hang", service=service)
    first = agent.status()
    last = agent.wait_for(updated_at=lambda at: at >= first["updated_at"] + 9.5)

    ticks = last["counters"]["ticks"] - first["counters"]["ticks"]
    assert ticks >= 0.8 * (last["updated_at"] - first["updated_at"]) / 0.5


def few_replies(stage, most):
    """A daemon that soon has enough of a client whose calls are not answered."""
    stage.speed = 1  # calls end in real time
    stage.bus.stop()
    stage.bus.most_replies = most
    stage.bus.start()


@pytest.mark.slow
def test_beside_an_inverter_that_hangs_for_long_the_failsafe_cap_is_kept(stage):
    few_replies(stage, 40)
    site = stage.site(vebus=[UNIT], load_w=6000, hub4={"override_expires_s": 40})
    agent = stage.agent(**EXPORT)
    agent.wait_for(enforceable=True)
    pid = agent.status()["pid"]

    site.do("fault", name="hang", service="vebus")
    agent.wait_for(state="failsafe", cap_w=near(3000))
    site.let_pass(60)
    put(METER, "/Ac/Power", 7777)(site)
    status = agent.wait_for(grid_export_w=-7777)

    assert (status["pid"], status["state"]) == (pid, "failsafe")
    assert status["counters"]["refused_writes"] == 0
    assert site.state()["output_w"] <= 3010


@pytest.mark.parametrize("service", ["vebus", METER, "hub4"])
def test_a_peer_that_hangs_is_asked_for_little(stage, service):
    stage.speed = 1
    site = stage.site(vebus=[UNIT], load_w=7000)
    agent = stage.agent(**EXPORT)
    agent.wait_for(enforceable=True)

    def asked():
        calls = site.do("calls")["calls"]
        return sum(sum(n.values()) for name, n in calls.items() if service in name)

    site.do("fault", name="hang", service=service)
    before = asked()
    site.let_pass(35)  # past the refresh of the override

    assert 2 <= asked() - before <= 8


@pytest.mark.parametrize("service", ["vebus", "hub4", "settings"])
def test_a_peer_that_hangs_at_first_limits_once_it_answers(stage, service):
    stage.speed = 1  # calls end in real time
    site = stage.site(vebus=[UNIT], load_w=7000)
    site.do("fault", name="hang", service=service)
    agent = stage.agent(**LIMIT)
    agent.wait_for(counters=lambda c: c["ticks"] >= 6)  # the first calls are given up after 5 s
    assert agent.status()["enforceable"] is False

    site.do("fault", name="hang", service=service, on=False)
    answered_s = site.state()["t"]
    agent.wait_for(cap_w=near(5000), enforceable=True)
    site.wait_until(lambda s: s["output_w"] <= 5010, "the limit", 10)

    assert site.state()["t"] - answered_s <= 20


# --- writes that fail


@pytest.mark.every_python
@pytest.mark.parametrize(
    "what",
    [
        pytest.param({"name": "answer", "code": 1}, id="returns 1"),
        pytest.param({"name": "answer", "code": 2}, id="returns 2"),
        pytest.param({"name": "answer", "code": -1}, id="returns -1"),
        pytest.param({"name": "error"}, id="raises"),
        pytest.param({"name": "ignore"}, id="is ignored"),
        pytest.param({"name": "revert", "after_s": 1.5}, id="reverts later"),
    ],
)
def test_where_a_write_fails_the_next_method_limits(stage, what):
    site = stage.site(vebus=[UNIT], load_w=7000)
    site.do("fault", service="hub4", path=OVERRIDE, **what)
    agent = stage.agent(**LIMIT)
    claims = []

    def limited():
        status = agent.status() or {}
        claims.append((status.get("method"), status.get("enforceable")))
        return status.get("method") == "ess_setting" and status["enforceable"]

    wait_until(limited, "the setting", 30)
    site.wait_until(lambda s: s["output_w"] <= 5010, "the output to come down", 20)

    if what["name"] != "revert":  # it held for a while
        assert ("ess_override", True) not in claims
        assert 5 <= agent.status()["counters"]["refused_writes"] <= 6


@pytest.mark.every_python
def test_a_write_that_never_ends_is_refused(stage):
    stage.speed = 2
    site = stage.site(vebus=[UNIT], load_w=7000)
    agent = stage.agent(**LIMIT, stored_backstop=False)
    agent.wait_for(enforceable=True, cap_w=lambda w: w < 7000)

    site.do("fault", name="hang", service="hub4")

    status = agent.wait_for(last_refusal=lambda said: said is not None, deadline_s=30)
    assert "NoReply" in status["last_refusal"]


# --- the bus, the process, the files


@pytest.mark.every_python
def test_when_the_bus_restarts_the_agent_ends_and_begins_anew(stage):
    site = stage.site(vebus=[UNIT], load_w=7000)
    agent = stage.agent(**LIMIT)
    agent.wait_for(cap_w=near(5000), counters=lambda c: c["stored_writes"] == 1)

    stage.bus.stop()
    wait_until(lambda: agent.process.ended, "the end")
    stage.bus.start()
    assert "the bus is gone" in agent.log.read_text()
    agent.start()  # as supervision does
    agent.wait_for(cap_w=near(5000), enforceable=True)
    site.let_pass(5)

    assert site.state()["output_w"] <= 5010
    assert site.state()["flash_writes"] == 1


def test_a_callback_that_fails_ends_the_process(tmp_path):
    code = "import sys; sys.exit(77)"
    script = (
        "from export_limiter.loop import Loop\n"
        "loop = Loop()\n"
        "loop.every(0.05, lambda: 1 / 0)\n"
        f"loop.after(5, lambda: exec({code!r}))\n"
        "loop.run()\n"
    )

    done = subprocess.run(
        [PYTHON, "-c", script],
        env={**os.environ, "PYTHONPATH": str(AGENT)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    ("callback", "code"),
    [
        pytest.param("threading.Event().wait(30)", -signal.SIGALRM, id="a tick hangs"),
        pytest.param("None", 0, id="ticks come"),
    ],
)
def test_the_alarm_is_renewed_by_each_tick_alone(callback, code):
    script = (
        "from export_limiter.loop import Loop\n"
        "import threading\n"
        "loop = Loop()\n"
        f"loop.every(0.05, lambda: {callback}, hang_s=1)\n"
        "loop.after(3, lambda: loop.end(0))\n"
        "raise SystemExit(loop.run())\n"
    )

    done = subprocess.run(
        [PYTHON, "-c", script],
        env={**os.environ, "PYTHONPATH": str(AGENT)},
        capture_output=True,
        timeout=20,
        check=False,
    )

    assert done.returncode == code


@pytest.mark.slow
def test_an_agent_that_hangs_is_ended_and_its_cap_stays(stage):
    stage.speed = 1
    site = stage.site(vebus=[UNIT], load_w=7000)
    agent = stage.agent(**LIMIT)
    agent.wait_for(cap_w=near(5000), enforceable=True)

    site.let_pass(17)  # longer than the alarm that is set for connecting
    assert not agent.process.ended
    agent.process.child.send_signal(signal.SIGSTOP)
    site.let_pass(16)  # the alarm is renewed for 15 s with each tick
    agent.process.child.send_signal(signal.SIGCONT)

    wait_until(lambda: agent.process.ended, "the end")
    assert agent.process.child.returncode == -signal.SIGALRM
    assert near(5000)(site.get("hub4", OVERRIDE))


@pytest.mark.slow
def test_an_agent_that_hangs_as_it_connects_is_ended(stage):
    stage.bus.stop()
    with socket.socket(socket.AF_UNIX) as mute:  # in the daemon's place: takes what comes
        mute.bind(stage.bus.address.removeprefix("unix:path="))
        mute.listen()
        agent = stage.prepare(**LIMIT)
        agent.start()
        wait_until(lambda: agent.process.ended, "the end", 40)

    assert agent.process.child.returncode == -signal.SIGALRM


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--runtime-dir", "/proc/1/none"], id="no runtime directory"),
        pytest.param(["--state-dir", "/proc/1/none"], id="no state directory"),
    ],
)
def test_without_a_directory_of_its_own_it_still_limits(stage, arguments):
    site = stage.site(vebus=[UNIT], load_w=7000)
    client = stage.client()
    stage.agent(*arguments, **LIMIT)

    site.wait_until(lambda s: s["output_w"] <= 5010, "the limit", 20)
    site.wait_until(lambda s: s["setting_w"] == 5000, "the backstop", 20)

    assert client.get(OWN, "/State") == "limiting"
    assert near(5000)(client.get(OWN, "/Cap"))


@pytest.mark.parametrize("name", ["run/status.json", "state/state.json"])
def test_on_a_full_disk_it_still_limits(stage, name):
    site = stage.site(vebus=[UNIT], load_w=7000)
    client = stage.client()
    agent = stage.prepare(**LIMIT)
    (agent.runtime.parent / f"{name}.new").symlink_to("/dev/full")
    agent.start()

    site.wait_until(lambda s: s["output_w"] <= 5010, "the limit", 20)
    site.wait_until(lambda s: s["setting_w"] == 5000, "the backstop", 20)

    assert client.get(OWN, "/State") == "limiting"
    assert agent.log.read_text().count("can't be written") == 1
    agent.stop()


def fill(pipe):
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x" * 4096)
    os.set_blocking(pipe, True)


def test_a_stuck_log_never_holds_up_the_loop(stage):
    site = stage.site(vebus=[UNIT], load_w=7000)
    agent = stage.prepare(**LIMIT)
    read_end, write_end = os.pipe()
    fill(write_end)
    command = agent.command("run", "--config", str(agent.config), "--debug")

    child = subprocess.Popen(
        command, env={**os.environ, **agent.environment}, cwd=AGENT, stderr=write_end
    )
    try:
        site.wait_until(lambda s: s["output_w"] <= 5010, "the limit", 20)
        ticks = agent.status()["counters"]["ticks"]
        wait_until(lambda: agent.status()["counters"]["ticks"] > ticks + 20, "more ticks")
    finally:
        child.terminate()
        child.wait(10)
        os.close(read_end)
        os.close(write_end)


@pytest.mark.parametrize("text", ["", '{"points": {"half', '{"points": []}', "[]", "\0\0\0"])
def test_a_damaged_file_is_no_obstacle(stage, text):
    site = stage.site(vebus=[UNIT], load_w=7000)
    agent = stage.prepare(**LIMIT)
    (agent.state / "state.json").write_text(text)
    (agent.runtime / "status.json").write_text(text)
    agent.start()

    site.wait_until(lambda s: s["output_w"] <= 5010, "the limit", 20)
    agent.wait_for(cap_w=near(5000), enforceable=True)
    assert json.loads((agent.state / "state.json").read_text())["points"]
    agent.stop()


def test_after_a_reboot_the_backstop_limits_before_the_agent_is_up(stage):
    keep = ["--settings", str(stage.directory / "settings.json")]
    hall = {"vebus": [{**UNIT, "phases": 3, "units": 3, "nominal_w": 15000}], "load_w": 40000}
    site = stage.site(*keep, **hall)
    agent = stage.agent(max_multiplus_output_w=30000)
    agent.wait_for(cap_w=near(30000), counters=lambda c: c["stored_writes"] == 1)
    site.wait_until(lambda s: s["flash_rewrites"] == 1, "the write to flash")

    agent.stop(signal.SIGKILL)
    site.process.kill(signal.SIGKILL)
    (agent.runtime / "status.json").unlink()
    again = stage.site(*keep, **hall)
    highest_w = []
    again.wait_until(lambda s: highest_w.append(s["output_w"]) or len(highest_w) > 10, "some looks")
    agent.start()
    agent.wait_for(state="limiting", cap_w=near(30000), enforceable=True)
    again.wait_until(lambda s: highest_w.append(s["output_w"]) or len(highest_w) > 60, "more", 20)

    assert max(highest_w) <= 30010
    assert again.writes(SETTING) == []


def test_an_unknown_process_that_owns_the_name_is_told(stage):
    stage.site(vebus=[UNIT], load_w=2000)
    first = stage.agent(**LIMIT)
    first.wait_for(enforceable=True)
    second = stage.prepare(**LIMIT)
    log = stage.directory / "second.log"

    process = Process(
        second.command("run", "--config", str(second.config)), second.environment, log, cwd=AGENT
    )
    wait_until(lambda: process.ended, "the end")

    assert process.kill() == 1
    assert "another agent runs here" in log.read_text()
