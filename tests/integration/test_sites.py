"""Every site: the measured value has the right sign and size, the method fits or says why not."""

from __future__ import annotations

import pytest
from gx.stage import near

OVERRIDE = "/Overrides/MaxDischargePower"
SETTING = "/Settings/CGwacs/MaxDischargePower"
METER = "grid.cgwacs_ttyUSB0_di30_mb1"

# The limit is never reached here: what is looked at is measured and judged.
LIMIT = {"max_multiplus_output_w": 20000}
EXPORT = {"max_multiplus_output_w": None, "max_grid_export_w": 20000, "min_output_limit_w": 100}

OVERRIDES = {"method": "ess_override", "enforceable": True}
SETS = {"method": "ess_setting", "enforceable": True}


def no_limit(reason, **fields):
    return {
        "state": "not_enforceable",
        "enforceable": False,
        "reason": lambda said: reason in said,
        **fields,
    }


def vebus(name="ttyS4", phases=3, **keys):
    return {"name": name, "phases": phases, "units": phases, "nominal_w": 9000, **keys}


def site(*systems, **keys):
    return {"vebus": list(systems) or [vebus()], "load_w": 4000, **keys}


OTHER = vebus("ttyUSB0", 1, instance=288, ess=False, load_w=2000, own_output_w=1500)

SITES = {
    "one phase": (site(vebus(phases=1)), OVERRIDES),
    "two phases": (site(vebus(phases=2)), OVERRIDES),
    "three phases": (site(vebus(phases=3)), OVERRIDES),
    "three phases, unevenly loaded": (
        site(load_w={"L1": 4000, "L2": 300, "L3": 0}),
        OVERRIDES,
    ),
    **{
        f"named {name}": (site(vebus(name)), OVERRIDES)
        for name in ("ttyO1", "ttyO5", "ttyS2", "ttyS3", "ttyUSB0", "can0")
    },
    "old units": (site(vebus(old=True)), OVERRIDES),
    "units without a total": (
        site(lacks={"vebus.ttyS4": ["/Ac/Out/P", "/Ac/ActiveIn/P"]}),
        OVERRIDES,
    ),
    "two systems, one without ESS": (site(vebus(), OTHER), OVERRIDES),
    "two systems, the one with ESS on USB": (
        site(vebus("ttyUSB1", instance=100), {**OTHER, "name": "ttyS4"}),
        no_limit("the ESS assistant is not installed in com.victronenergy.vebus.ttyS4"),
    ),
    "charging": (site(load_w=0, battery={"charge_w": 3000}, pv_ac_w=5000), OVERRIDES),
    "DC-coupled PV fed in": (
        site(load_w=500, pv_dc_w=6000, feed_in=True, battery={"charge_w": 0}),
        OVERRIDES,
    ),
    "AC-coupled PV on the input": (site(pv_ac_w=9000, battery={"charge_w": 0}), OVERRIDES),
    "AC-coupled PV on the output": (
        site(pv_ac_w=9000, pv_ac_position="output", battery={"charge_w": 0}),
        OVERRIDES,
    ),
    "load on the AC input": (site(load_in_w=3000), OVERRIDES),
    "no grid meter": (site(grid_meter=False), OVERRIDES),
    "no grid meter, old units": (site(vebus(old=True), grid_meter=False), OVERRIDES),
    "a meter without a total": (site(lacks={METER: ["/Ac/Power"]}), OVERRIDES),
    "hub4 without overrides": (site(lacks={"hub4": [OVERRIDE]}), SETS),
    "hub4 never ran here": (
        site(hub4=None, settings={SETTING: None}),
        no_limit("ESS is not running: no hub4 service"),
    ),
    "hub4 without overrides and without the setting": (
        site(lacks={"hub4": [OVERRIDE]}, settings={SETTING: None}),
        no_limit("ESS never ran here"),
    ),
    "no such setting": (site(settings={SETTING: None}), OVERRIDES),
    "no ESS": (
        site(ess=False),
        no_limit("the ESS assistant is not installed in com.victronenergy.vebus.ttyS4"),
    ),
    "external control": (site(hub4_mode=3), no_limit("external control (Hub4Mode 3)")),
    "an unknown ESS mode": (site(hub4_mode=4), no_limit("Hub4Mode 4, not 1 or 2")),
    "phases regulated each": (site(hub4_mode=2), OVERRIDES),
    "keep charged": (
        site(settings={"/Settings/CGwacs/BatteryLife/State": 9}),
        no_limit("ESS keeps the batteries charged"),
    ),
    "no grid": (
        site(grid_on=False),
        no_limit("no grid on the AC input: the load decides"),
    ),
    "no grid and no meter": (
        site(grid_on=False, grid_meter=False),
        no_limit("no grid on the AC input: the load decides"),
    ),
}

WITHOUT_WRITES = {
    "two systems, the one with ESS on USB",
    "hub4 never ran here",
    "hub4 without overrides and without the setting",
    "no ESS",
    "external control",
    "an unknown ESS mode",
}


@pytest.mark.every_python
@pytest.mark.parametrize("name", SITES)
def test_every_site_is_measured_and_judged(stage, name):
    keys, expected = SITES[name]
    here = stage.site(**keys)
    agent = stage.agent(**LIMIT, stored_backstop=False)

    status = agent.wait_for(**expected)

    truth = here.state()
    assert status["inverter_output_w"] == pytest.approx(truth["output_w"], abs=5)
    assert status["grid_export_w"] == pytest.approx(truth["export_w"], abs=5)
    assert status["measured_w"] == status["inverter_output_w"]
    if name in WITHOUT_WRITES:
        assert here.writes() == []
        assert (status["method"], status["cap_w"]) == (None, None)


def test_the_phases_are_those_of_the_inverter(stage):
    here = stage.site(vebus=[vebus(phases=2)], load_w={"L1": 3000, "L2": 1000})
    agent = stage.agent(**LIMIT)

    status = agent.wait_for(enforceable=True)

    truth = here.state()["output_phases_w"]
    assert [phase["phase"] for phase in status["phases"]] == ["L1", "L2"]
    for phase in status["phases"]:
        assert phase["inverter_output_w"] == pytest.approx(truth[phase["phase"]], abs=5)


def test_several_systems_are_one_sum_and_one_is_limited(stage):
    here = stage.site(vebus=[vebus(), OTHER], load_w=9000)
    agent = stage.agent(max_multiplus_output_w=6000)

    status = agent.wait_for(state="limiting", cap_w=near(4500))
    here.wait_until(lambda s: s["output_w"] < 6050, "the sum to come down")

    # 1500 W come from the system that nobody can limit.
    assert [inverter["main"] for inverter in status["inverters"]] == [True, False]
    assert (
        "more than one VE.Bus system: only com.victronenergy.vebus.ttyS4 can be limited"
        in (status["warnings"])
    )


def test_an_inverter_that_nobody_limits_and_that_goes_away_gives_no_room(stage):
    here = stage.site(vebus=[vebus(), OTHER], load_w=9000)
    agent = stage.agent(max_multiplus_output_w=6000)
    agent.wait_for(state="limiting", cap_w=near(4500))
    here.let_pass(10)

    here.do("fault", name="drop", service="vebus.ttyUSB0")
    status = agent.wait_for(inverter_output_w=None)
    here.let_pass(60)
    later = agent.status()
    here.do("fault", name="come", service="vebus.ttyUSB0")
    back = agent.wait_for(inverter_output_w=lambda w: w is not None)

    assert near(4500)(later["cap_w"])
    assert [status["state"], later["state"]] == ["limiting", "limiting"]
    gone = [
        any("an inverter is gone" in text for text in each["warnings"]) for each in (later, back)
    ]
    assert gone == [True, False]


def test_while_the_limited_inverter_is_away_another_does_not_take_its_place(stage):
    here = stage.site(vebus=[vebus(), OTHER], load_w=9000)
    agent = stage.agent(max_multiplus_output_w=6000)
    agent.wait_for(state="limiting", cap_w=near(4500))
    here.let_pass(10)
    written = len(here.writes(OVERRIDE))

    here.do("fault", name="drop", service="vebus.ttyS4", seconds=60, rename="vebus.ttyS3")
    status = agent.wait_for(state="failsafe")
    here.let_pass(40)
    later = agent.status()
    agent.wait_for(state="limiting", cap_w=near(4500), deadline_s=60)

    assert status["reason"] == "no usable output measurement"
    assert (later["state"], later["reason"]) == (status["state"], status["reason"])
    refreshed = here.writes(OVERRIDE)[written:]
    assert len(refreshed) >= 1
    assert all(near(4500)(write["value"]) for write in refreshed)


def test_a_multi_rs_is_recognised_and_left_alone(stage):
    here = stage.site(vebus=[], hub4=None, multi_rs=True)
    agent = stage.agent(**LIMIT)

    status = agent.wait_for(state="not_enforceable")
    seen = agent.call("discover")

    assert status["reason"].startswith("no inverter")
    assert "a Multi RS is here: it can't be limited" in status["reason"]
    for name in ("multi.socketcan_can0_vi0_uc1", "acsystem.socketcan_can0_sys0"):
        assert f"com.victronenergy.{name}  a Multi RS can't be limited" in seen.stdout
    assert seen.returncode == 1
    assert here.writes() == []


# --- services come and go


def test_an_inverter_that_comes_late_is_found(stage):
    here = stage.site(**site(absent=["vebus.ttyS4"]))
    agent = stage.agent(**LIMIT)
    early = agent.wait_for(state="starting")
    late = agent.wait_for(state="not_enforceable")

    here.do("fault", name="come", service="vebus.ttyS4")

    agent.wait_for(state="monitoring", **OVERRIDES)
    assert early["reason"] == "waiting for the first measurement"
    assert late["reason"].startswith("no inverter")
    assert late["counters"]["writes"] == 0


def test_hub4_that_comes_late_is_used(stage):
    here = stage.site(**site(absent=["hub4"]))
    agent = stage.agent(**LIMIT)
    agent.wait_for(**no_limit("ESS is not running: no hub4 service"))

    here.do("fault", name="come", service="hub4")

    agent.wait_for(state="monitoring", **OVERRIDES)


def test_a_setting_that_is_made_late_becomes_the_backstop(stage):
    here = stage.site(**site(settings={SETTING: None}))
    agent = stage.agent(**LIMIT)
    agent.wait_for(**OVERRIDES)

    here.do("make", path=SETTING)

    agent.wait_for(counters=lambda c: c["stored_writes"] == 1, deadline_s=30)
    assert here.get("settings", SETTING) == 20000


@pytest.mark.parametrize("seconds", [1.3, 10])
def test_an_inverter_that_is_away_for_seconds_keeps_its_cap(stage, seconds):
    here = stage.site(**site(load_w=25000))
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="limiting", cap_w=near(20000), counters=lambda c: c["stored_writes"])
    written = len(here.writes())

    here.do("fault", name="drop", service="vebus", seconds=seconds)
    here.let_pass(seconds + 1)
    agent.wait_for(state="limiting", cap_w=near(20000), **OVERRIDES)
    here.let_pass(15)

    later = here.writes()[written:]
    assert {write["path"] for write in later} <= {OVERRIDE}
    assert all(near(20000)(write["value"]) for write in later)
    assert agent.status()["counters"]["failsafe_entries"] == (1 if seconds > 3 else 0)


def test_an_inverter_that_is_gone_for_good_is_lost_data(stage):
    here = stage.site(**site(load_w=25000))
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="limiting", cap_w=near(20000))

    here.do("fault", name="drop", service="vebus")
    status = agent.wait_for(state="failsafe")
    here.let_pass(70)

    assert status["reason"] == "no usable output measurement"
    assert near(20000)(agent.status()["cap_w"])
    assert near(20000)(here.writes()[-1]["value"])  # still refreshed: the name may come back
    assert here.state()["t"] - here.writes()[-1]["t"] < 35


def test_an_inverter_that_returns_under_another_name_is_limited_again(stage):
    here = stage.site(**site(load_w=25000))
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="limiting", cap_w=near(20000))

    here.do("fault", name="drop", service="vebus", seconds=5, rename="vebus.ttyUSB1")
    agent.wait_for(state="failsafe")

    status = agent.wait_for(state="limiting", cap_w=near(20000))
    assert [i["service"] for i in status["inverters"]] == ["com.victronenergy.vebus.ttyUSB1"]


def test_a_service_without_a_unit_is_no_inverter(stage):
    here = stage.site(**site(load_w=25000))
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="limiting", cap_w=near(20000))

    here.do("set", service="vebus", path="/Connected", value=0)
    lost = agent.wait_for(state="failsafe")
    here.do("set", service="vebus", path="/Connected", value=1)

    agent.wait_for(state="limiting", cap_w=near(20000))
    assert lost["inverters"][0]["connected"] is False
    assert near(20000)(lost["cap_w"])


def test_a_service_without_a_unit_from_the_start_is_no_inverter(stage):
    here = stage.site(**site())
    here.do("set", service="vebus", path="/Connected", value=0)
    agent = stage.agent(**LIMIT)

    status = agent.wait_for(state="not_enforceable")

    assert status["reason"].startswith("no inverter")
    assert here.writes() == []


def test_a_lost_grid_is_told_and_the_cap_stands_when_it_returns(stage):
    here = stage.site(**site(load_w=25000, hub4={"override_expires_s": 60}))
    agent = stage.agent(**LIMIT, stored_backstop=False)
    agent.wait_for(state="limiting", cap_w=near(20000))

    here.do("grid", on=False)
    lost = agent.wait_for(**no_limit("no grid on the AC input: the load decides"))
    here.let_pass(80)  # longer than an override lasts without a refresh
    alone = agent.status()
    here.do("grid", on=True)
    back = agent.wait_for(state="limiting", cap_w=near(20000), **OVERRIDES)
    here.wait_until(lambda s: s["output_w"] < 20050, "the output to follow")

    assert near(20000)(lost["cap_w"])
    assert alone["inverter_output_w"] == 25000  # of its own: nothing is passed through
    assert alone["cap_w"] == pytest.approx(20000, rel=0.01)
    assert alone["counters"]["failsafe_entries"] == 0
    assert back["counters"]["refused_writes"] == 0


def test_old_units_tell_a_lost_grid_by_path(stage):
    here = stage.site(**site(vebus(old=True), load_w=25000))
    agent = stage.agent(**LIMIT)
    agent.wait_for(state="limiting", cap_w=near(20000))

    here.do("grid", on=False)
    agent.wait_for(**no_limit("no grid on the AC input: the load decides"))
    here.do("grid", on=True)

    agent.wait_for(state="limiting", **OVERRIDES)


def test_power_assist_is_no_disobedience(stage):
    # 40 A at 230 V are 9.2 kW a phase; what the load wants above that the inverter must add.
    here = stage.site(
        vebus=[vebus(phases=1, power_assist=True, input_current_limit_a=40, nominal_w=15000)],
        load_w=3000,
    )
    agent = stage.agent(max_multiplus_output_w=2000, phase_count=1)
    agent.wait_for(state="limiting", cap_w=near(2000))

    here.do("load", w=14000)
    status = agent.wait_for(reason="power assist")
    here.let_pass(60)
    later = agent.status()

    assert status["inverter_output_w"] > 4000
    assert (later["method"], later["reason"]) == ("ess_override", "power assist")
    assert later["cap_w"] == pytest.approx(2000, rel=0.01)


# --- the grid meter


def test_an_export_limit_needs_the_meter_back_once_it_was_seen(stage):
    here = stage.site(**site(vebus(phases=1), load_w=2000))
    agent = stage.agent(**EXPORT, phase_count=1, failsafe_limit_w=1500)
    agent.wait_for(enforceable=True)

    here.do("fault", name="drop", service=METER)
    status = agent.wait_for(state="failsafe", cap_w=near(1500))

    assert status["reason"] == "no usable export measurement"
    assert status["grid_export_w"] is None


def test_a_replaced_meter_is_taken(stage):
    here = stage.site(**site(vebus(phases=1), load_w=2000))
    agent = stage.agent(**EXPORT, phase_count=1)
    agent.wait_for(enforceable=True)

    here.do("fault", name="drop", service=METER, seconds=6, rename="grid.shelly_1")
    agent.wait_for(state="failsafe")

    status = agent.wait_for(state="monitoring")
    assert status["grid_export_w"] == pytest.approx(-50, abs=5)


def test_a_meter_that_is_not_connected_measures_nothing(stage):
    here = stage.site(**site(vebus(phases=1), load_w=2000))
    agent = stage.agent(**EXPORT, phase_count=1)
    agent.wait_for(enforceable=True)

    here.do("set", service=METER, path="/Connected", value=0)

    assert agent.wait_for(state="failsafe")["grid_export_w"] is None


def test_without_a_meter_the_ac_input_shows_the_export(stage):
    here = stage.site(
        vebus=[vebus(phases=1)],
        load_w=500,
        pv_dc_w=4000,
        feed_in=True,
        battery={"charge_w": 0},
        grid_meter=False,
    )
    agent = stage.agent(**{**EXPORT, "max_grid_export_w": 1000}, phase_count=1)

    agent.wait_for(state="limiting", grid_export_w=lambda w: w is not None and w <= 1000)

    here.let_pass(10)
    assert 700 <= here.state()["export_w"] <= 1000


def test_a_meter_that_is_not_there_at_the_start_is_waited_for(stage):
    here = stage.site(**site(vebus(phases=1)), absent=[METER], pv_dc_w=6000, feed_in=True)
    agent = stage.agent(**{**EXPORT, "max_grid_export_w": 1000}, phase_count=1)

    status = agent.wait_for(state="failsafe", cap_w=near(1000), deadline_s=90)
    here.do("fault", name="come", service=METER)
    back = agent.wait_for(state=lambda s: s != "failsafe", cap_w=lambda w: w > 3000)

    assert status["grid_export_w"] is None
    assert "no grid meter is there" in status["reason"]
    assert "no grid meter is there" not in back["reason"]


@pytest.mark.parametrize("lag_s", [1, 3, 5])
def test_a_late_meter_still_limits_the_export(stage, lag_s):
    here = stage.site(
        vebus=[vebus(phases=1)],
        load_w=6000,
        pv_dc_w=8000,
        feed_in=True,
        battery={"charge_w": 0},
        plant={"meter_lag_s": lag_s, "loop_s": 2.4, "vebus_lag_s": 0.5},
    )
    agent = stage.agent(**{**EXPORT, "max_grid_export_w": 1000}, phase_count=1, meter_delay_s=lag_s)
    agent.wait_for(enforceable=True)

    here.do("load", w=3000)
    here.let_pass(40)
    exports = []
    here.wait_until(lambda s: exports.append(s["export_w"]) or len(exports) > 40, "40 looks", 30)

    assert max(exports) <= 1010
    assert min(exports) >= 500
    assert not any("hunting" in text for text in agent.status()["warnings"])
