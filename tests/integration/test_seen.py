"""What a site shows of itself: notifications on its screen, and a history for the controller."""

from __future__ import annotations

import json
import signal

ONE_PHASE = {"name": "ttyS4", "phases": 1, "units": 1, "nominal_w": 8000}
SMALL = {"vebus": [ONE_PHASE], "load_w": 2000}
LIMIT = {"max_multiplus_output_w": 5000, "phase_count": 1}


def history(agent):
    return json.loads((agent.runtime / "history.json").read_text())


def events(agent):
    return [text for _, text in history(agent)["events"]]


def test_failsafe_is_shown_when_it_starts_and_when_it_ends(stage):
    site = stage.site(**SMALL)
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="monitoring", enforceable=True)

    site.do("fault", name="drop", service="vebus.ttyS4")
    agent.wait_for(state="failsafe")
    site.wait_until(lambda state: len(state["notifications"]) == 1, "a notification", 20)
    site.do("fault", name="come", service="vebus.ttyS4")
    agent.wait_for(state="monitoring")
    state = site.wait_until(lambda state: len(state["notifications"]) == 2, "its end", 20)

    assert state["notifications"] == [
        "0\tExport limiter\tfailsafe: no usable output measurement",
        "2\tExport limiter\tfailsafe has ended",
    ]


def test_a_limit_that_can_not_be_kept_is_shown(stage):
    site = stage.site(**SMALL, hub4_mode=3)
    stage.agent(**LIMIT)

    state = site.wait_until(lambda state: state["notifications"], "a notification", 20)

    assert state["notifications"] == [
        "1\tExport limiter\tthe limit can't be kept: ESS is under external control (Hub4Mode 3)"
    ]


def test_a_device_without_notifications_is_limited_all_the_same(stage):
    site = stage.site(**SMALL, hub4_mode=3)
    site.do("fault", name="drop", service="platform")
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="not_enforceable")

    site.let_pass(60)

    assert not agent.process.ended


def test_minutes_are_recorded_and_survive_a_restart(stage):
    stage.speed = 1.0
    stage.site(**SMALL)
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="monitoring", enforceable=True)

    agent.stop()
    before, first_pid = history(agent), agent.status()["pid"]
    agent.start()
    agent.wait_for(state="monitoring", enforceable=True, pid=lambda pid: pid != first_pid)
    agent.stop()

    assert [text for text in events(agent) if text.startswith("started: ")] == 2 * [
        f"started: version {agent.status()['version']}, no commit"
    ]
    assert sum(history(agent)["sums"][2]["states_s"]) > sum(before["sums"][2]["states_s"])


def test_an_hour_of_minutes_says_what_the_output_was(stage):
    site = stage.site(**SMALL)
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="monitoring", enforceable=True)

    site.do("load", w=7000)
    site.let_pass(150)

    ring = history(agent)
    last = dict(zip(ring["fields"], ring["minutes"][-1], strict=True))
    assert (last["state"], last["cap_w"], last["output_limit_w"]) == ("limiting", 5000, 5000)
    assert abs(last["output_mean_w"] - 5000) < 50
    assert last["above_s"] == 0


def test_why_a_cap_was_not_released_on_stop_is_logged(stage):
    site = stage.site(**{**SMALL, "load_w": 6500})
    agent = stage.agent(**LIMIT, on_stop="release")
    agent.wait_for(counters=lambda c: c["stored_writes"] == 1)
    for service in ("hub4", "settings"):
        site.do("fault", name="answer", service=service, code=2)

    code = agent.stop(signal.SIGTERM)

    assert code == 1
    last = agent.log.read_text().splitlines()[-1]
    assert last.startswith("ERROR not released: com.victronenergy.settings")
    assert last.endswith("refused -1 W: SetValue returned 2")
