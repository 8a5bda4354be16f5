"""Every method on a device that has it, and everybody else who has a say in the same place."""

from __future__ import annotations

from itertools import pairwise

import pytest
from gx.stage import near

OVERRIDE = "/Overrides/MaxDischargePower"
SETTING = "/Settings/CGwacs/MaxDischargePower"
MODE = "/Settings/CGwacs/Hub4Mode"
STATE = "/Settings/CGwacs/BatteryLife/State"
VEBUS = "com.victronenergy.vebus.ttyS4"
LIMIT = {"max_multiplus_output_w": 5000, "phase_count": 1}
ALL = ["ac_power_limit", "phase_power_limit", "max_power", "ess_override", "ess_setting"]


def cabin(**keys):
    """One phase, 8 kW installed, and a load that wants them all."""
    unit = {"name": "ttyS4", "phases": 1, "units": 1, "nominal_w": 8000, **keys.pop("unit", {})}
    return {"vebus": [unit], "load_w": 7000, **keys}


def hall(**keys):
    """Three phases, 18 kW installed, unevenly loaded."""
    unit = {"name": "ttyS4", "phases": 3, "units": 3, "nominal_w": 6000, **keys.pop("unit", {})}
    return {"vebus": [unit], "load_w": {"L1": 5000, "L2": 4000, "L3": 3000}, **keys}


def values(site, path):
    return [write["value"] for write in site.writes(path)]


def written(site):
    return {write["path"] for write in site.writes()}


def largest_step_down(caps):
    return max((high - low for high, low in pairwise(caps)), default=0)


def follows(site, limit_w, within_w=60):
    site.wait_until(lambda s: abs(s["output_w"] - limit_w) <= within_w, f"{limit_w} W", 20)


# --- the methods of the first versions, on a device that has their paths


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("ac_power_limit", "/Ac/PowerLimit"),
        ("ac_power_limit", "/Ac/Out/PowerLimit"),
        ("ac_power_limit", "/Settings/PowerLimit"),
        ("max_power", "/Settings/MaxPower"),
    ],
)
def test_a_total_limit_is_walked_down_and_put_back(stage, method, path):
    unit = {"limit_paths": {path: None}, "own_output_w": 7000}
    site = stage.site(**cabin(unit=unit, ess=False))
    agent = stage.agent(**LIMIT)

    status = agent.wait_for(cap_w=near(5000), enforceable=True)
    follows(site, 5000)
    site.let_pass(35)
    agent.stop()
    down = values(site, path)
    agent.call("release", "--config", str(agent.config))

    assert status["method"] == method
    assert status["control_point"] == VEBUS + path
    assert written(site) == {path}
    assert down[0] == pytest.approx(7000, abs=10)  # in W, from where the output is
    assert largest_step_down(down) <= 1000
    held = [value for value in down if value == pytest.approx(5000, rel=0.01)]
    assert len(held) >= 2  # not known to be kept for ever: refreshed
    assert site.get("vebus", path) == 8000


@pytest.mark.parametrize("pattern", ["/Ac/Out/{}/PowerLimit", "/Ac/{}/PowerLimit"])
def test_a_limit_of_each_phase_gets_its_part(stage, pattern):
    paths = [pattern.format(phase) for phase in ("L1", "L2", "L3")]
    unit = {"limit_paths": dict.fromkeys(paths), "own_output_w": 12000}
    site = stage.site(**hall(unit=unit, ess=False))
    agent = stage.agent(max_multiplus_output_w=9000)

    status = agent.wait_for(cap_w=near(9000), enforceable=True)
    site.wait_until(lambda s: max(s["output_phases_w"].values()) <= 3010, "3 kW a phase")
    agent.stop()
    agent.call("release", "--config", str(agent.config))

    assert status["method"] == "phase_power_limit"
    assert status["control_point"] == VEBUS + ",".join(paths)
    assert written(site) == set(paths)
    for path in paths:
        assert 3000 in values(site, path)
        assert largest_step_down(values(site, path)) <= 1000 / 3 + 1
        assert site.get("vebus", path) == 6000


def test_a_limit_of_a_phase_that_is_missing_is_no_method(stage):
    paths = {"/Ac/Out/L1/PowerLimit": None, "/Ac/Out/L2/PowerLimit": None}
    site = stage.site(**hall(unit={"limit_paths": paths}))
    agent = stage.agent(max_multiplus_output_w=9000)

    assert agent.wait_for(enforceable=True)["method"] == "ess_override"
    assert not written(site) & set(paths)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(-1, id="no limit"),
        pytest.param(0, id="below the floor"),
        pytest.param(100000, id="above twice what is installed"),
    ],
)
def test_an_implausible_value_is_no_limit_path(stage, first):
    site = stage.site(**cabin(unit={"limit_paths": {"/Ac/PowerLimit": first}}))
    agent = stage.agent(**LIMIT)

    assert agent.wait_for(enforceable=True)["method"] == "ess_override"
    assert "/Ac/PowerLimit" not in written(site)


def test_a_limit_without_effect_is_left_for_the_next_method(stage):
    unit = {"limit_paths": {"/Ac/PowerLimit": None}, "limits_act": False}
    site = stage.site(**cabin(unit=unit))
    agent = stage.agent(**LIMIT)

    first = agent.wait_for(method="ac_power_limit", cap_w=near(5000))
    status = agent.wait_for(method="ess_override", cap_w=near(5000), deadline_s=30)
    follows(site, 5000)

    assert first["enforceable"]
    assert status["enforceable"]


def test_a_lower_limit_that_was_found_is_never_raised(stage):
    unit = {"limit_paths": {"/Ac/PowerLimit": 3000}, "own_output_w": 7000}
    site = stage.site(**cabin(unit=unit, ess=False))
    agent = stage.agent(**LIMIT)

    status = agent.wait_for(enforceable=True)
    site.let_pass(40)

    assert status["cap_w"] == 3000
    assert "somebody else's lower limit of 3000 W" in agent.status()["reason"]
    assert site.writes() == []


# --- the RAM override


@pytest.mark.parametrize("expires_s", [60, 150, 300])
def test_an_override_is_refreshed_before_it_expires(stage, expires_s):
    stage.speed = 20
    site = stage.site(**cabin(hub4={"override_expires_s": expires_s}))
    agent = stage.agent(**LIMIT, stored_backstop=False)
    agent.wait_for(cap_w=near(5000))
    follows(site, 5000)
    end_s = site.state()["t"] + expires_s + 40

    held = []
    site.wait_until(
        lambda s: held.append((s["override_w"], s["output_w"])) or s["t"] > end_s, "the end", 60
    )

    assert min(override_w or 0 for override_w, _ in held) > 4900  # the gain estimate moves a little
    assert max(output_w for _, output_w in held) <= 5060
    assert site.state()["flash_writes"] == 0


def test_the_override_is_taken_back_at_release(stage):
    site = stage.site(**cabin())
    agent = stage.agent(**LIMIT)
    agent.wait_for(cap_w=near(5000))
    agent.stop()

    agent.call("release", "--config", str(agent.config))

    assert values(site, OVERRIDE)[-1] == -1
    assert site.get("hub4", OVERRIDE) is None


def test_an_override_that_is_ignored_is_left_for_the_setting(stage):
    site = stage.site(**cabin(hub4={"override_ignored": True}))
    agent = stage.agent(**LIMIT, stored_backstop=False)

    early = agent.wait_for(method="ess_override", cap_w=lambda w: w is not None)
    agent.wait_for(method="ess_setting", enforceable=True)
    site.wait_until(lambda s: s["output_w"] <= 5010, "the output to come down", 20)
    site.let_pass(5)

    assert not early["enforceable"]
    assert site.get("settings", SETTING) == pytest.approx(5000, rel=0.01)
    status = agent.status()
    assert status["counters"]["stored_writes"] == len(values(site, SETTING)) <= 6


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param({"max_multiplus_output_w": None, "max_grid_export_w": 3000}, id="export"),
        pytest.param({"max_multiplus_output_w": 5000, "max_grid_export_w": 3000}, id="both"),
    ],
)
@pytest.mark.slow
def test_an_override_that_is_ignored_never_opens_the_setting(stage, limit):
    # No loads to speak of: whatever the inverter delivers is fed in.
    sunny = {"load_w": 1000, "pv_dc_w": 8000, "feed_in": True, "battery": {"charge_w": 0}}
    site = stage.site(**cabin(hub4={"override_ignored": True}, **sunny))
    agent = stage.agent(phase_count=1, **limit)
    agent.wait_for(method="ess_setting", enforceable=True, deadline_s=30)
    site.wait_until(lambda s: s["export_w"] <= 3000, "the limit", 30)
    stored, exports_w = len(values(site, SETTING)), []

    for again in (False, True):
        if again:
            agent.stop()
            agent.start()
        end_s = site.state()["t"] + (60 if again else 700)  # a method is tried again after 600 s
        site.wait_until(
            lambda s, end_s=end_s: exports_w.append(s["export_w"]) or s["t"] > end_s, "the end", 150
        )

    assert max(exports_w) <= 3100
    assert len(values(site, SETTING)) == stored
    assert agent.wait_for(method="ess_setting", deadline_s=30)["enforceable"]


def test_firmware_that_clears_the_override_leaves_the_setting(stage):
    site = stage.site(**cabin(hub4={"clear_override": True}))
    agent = stage.agent(**LIMIT)

    agent.wait_for(method="ess_setting", enforceable=True, cap_w=near(5000), deadline_s=30)
    follows(site, 5000)
    overrides = len(values(site, OVERRIDE))
    site.let_pass(60)

    assert len(values(site, OVERRIDE)) == overrides  # held by another: left alone until restart
    assert site.state()["flash_writes"] <= 4
    assert "another program keeps changing" in agent.log.read_text()


@pytest.mark.parametrize(
    ("path", "who"),
    [
        ("/DynamicEss/Active", "Dynamic ESS"),
        ("/Control/ScheduledCharge", "scheduled charging"),
        ("/LoadShedding/Active", "load shedding"),
    ],
)
def test_while_another_holds_the_override_the_setting_limits(stage, path, who):
    site = stage.site(**cabin(hub4={"hold_override_w": 7500, "held_by": path}))
    site.do("set", service="system", path=path, value=1)
    agent = stage.agent(**LIMIT)

    status = agent.wait_for(method="ess_setting", enforceable=True, cap_w=near(5000))
    follows(site, 5000)

    assert status["others"]["override_holder"] == who
    assert values(site, OVERRIDE) == []
    assert site.get("hub4", OVERRIDE) == 7500  # theirs


def test_the_override_is_used_again_when_it_is_free(stage):
    site = stage.site(**cabin(hub4={"override_expires_s": 10}))
    agent = stage.agent(**LIMIT)
    agent.wait_for(method="ess_override", cap_w=near(5000), counters=lambda c: c["stored_writes"])

    site.do("hub4", hold_override_w=7500)
    site.do("set", service="system", path="/DynamicEss/Active", value=1)
    during = agent.wait_for(method="ess_setting")
    site.let_pass(12)
    site.do("hub4", hold_override_w=None)
    site.do("set", service="system", path="/DynamicEss/Active", value=0)
    agent.wait_for(method="ess_override", enforceable=True, cap_w=near(5000))
    site.let_pass(20)

    assert near(5000)(during["cap_w"])  # the backstop stands there already
    assert site.state()["output_w"] == pytest.approx(5000, abs=60)
    assert site.state()["flash_writes"] == 1


def test_nobody_fights_over_a_lower_override(stage):
    site = stage.site(**cabin())
    agent = stage.agent(**LIMIT)
    agent.wait_for(cap_w=near(5000), enforceable=True)
    site.let_pass(5)
    count = len(values(site, OVERRIDE))

    site.do("write", service="hub4", path=OVERRIDE, value=2000)
    status = agent.wait_for(reason=lambda said: "lower limit of 2000 W" in said)
    site.let_pass(40)

    assert status["enforceable"]
    assert len(values(site, OVERRIDE)) == count
    assert site.get("hub4", OVERRIDE) == 2000
    assert agent.status()["method"] == "ess_override"


def test_a_higher_override_of_another_is_put_right_once(stage):
    site = stage.site(**cabin())
    agent = stage.agent(**LIMIT)
    agent.wait_for(cap_w=near(5000), enforceable=True)

    site.do("write", service="hub4", path=OVERRIDE, value=7500)

    site.wait_until(lambda s: near(5000)(s["override_w"]), "our cap again", 5)
    assert agent.wait_for(enforceable=True)["method"] == "ess_override"


def test_a_hub4_that_restarts_is_no_other_writer(stage):
    site = stage.site(**cabin())
    agent = stage.agent(**LIMIT)
    agent.wait_for(cap_w=near(5000), enforceable=True)

    for _ in range(3):
        site.do("fault", name="drop", service="hub4", seconds=2)
        agent.wait_for(state="not_enforceable", reason="ESS is not running: no hub4 service")
        agent.wait_for(method="ess_override", enforceable=True, cap_w=near(5000))
        site.wait_until(lambda s: near(5000)(s["override_w"]), "the cap", 5)

    assert "giving up" not in agent.log.read_text()


# --- the stored setting


def without_override(**keys):
    return cabin(lacks={"hub4": [OVERRIDE]}, **keys)


def test_the_setting_alone_is_walked_in_stored_steps(stage):
    site = stage.site(**without_override())
    agent = stage.agent(**LIMIT)

    status = agent.wait_for(method="ess_setting", cap_w=near(5000), enforceable=True)
    follows(site, 5000)
    site.let_pass(70)
    agent.stop()
    walked = values(site, SETTING)
    agent.call("release", "--config", str(agent.config))

    assert walked[0] == pytest.approx(6950, abs=60)
    assert walked[-1] == pytest.approx(5000, abs=10)
    assert largest_step_down(walked) <= 1000
    assert len(walked) == len(set(walked)) <= 6  # no refresh: it is kept
    assert status["counters"]["stored_writes"] <= len(walked)
    assert site.get("settings", SETTING) == -1


def test_the_last_stored_write_of_a_day_goes_all_the_way(stage):
    site = stage.site(**without_override(load_w=8000))
    agent = stage.agent(**LIMIT, stored_writes_per_day=2)

    agent.wait_for(method="ess_setting", cap_w=near(5000))
    agent.stop()
    agent.start()
    agent.wait_for(method="ess_setting", cap_w=near(5000), enforceable=True)
    site.let_pass(20)

    first, last = values(site, SETTING)
    assert (first, last) == (pytest.approx(7950, abs=60), 5000)


def test_a_setting_that_a_user_raises_is_lowered_again(stage):
    site = stage.site(**without_override())
    agent = stage.agent(**LIMIT)
    agent.wait_for(method="ess_setting", cap_w=near(5000), enforceable=True)

    site.do("write", service="settings", path=SETTING, value=7800)

    site.wait_until(lambda s: near(5000)(s["setting_w"]), "our cap again", 5)
    agent.wait_for(method="ess_setting", enforceable=True)


def test_a_setting_that_a_user_lowers_stays(stage):
    site = stage.site(**without_override())
    agent = stage.agent(**LIMIT)
    agent.wait_for(method="ess_setting", cap_w=near(5000), enforceable=True)
    count = len(values(site, SETTING))

    site.do("write", service="settings", path=SETTING, value=3000)
    status = agent.wait_for(reason="held lower, at 3000 W, by the GUI setting")
    site.let_pass(60)

    assert status["enforceable"]
    assert site.get("settings", SETTING) == 3000
    assert len(values(site, SETTING)) == count


def test_a_setting_that_is_raised_is_put_right_while_writes_are_left(stage):
    site = stage.site(**without_override())
    agent = stage.agent(**LIMIT, stored_writes_per_day=10)
    walked = agent.wait_for(method="ess_setting", cap_w=near(5000), enforceable=True)

    for count in range(walked["counters"]["stored_writes"], 10):
        site.do("write", service="settings", path=SETTING, value=7800)
        site.wait_until(lambda s: near(5000)(s["setting_w"]), "our cap again", 5)
        agent.wait_for(counters=lambda c, n=count + 1: c["stored_writes"] == n)
    site.do("write", service="settings", path=SETTING, value=7800)
    status = agent.wait_for(state="not_enforceable")
    site.let_pass(60)

    assert status["reason"] == "all 10 stored writes of a day are used"
    assert site.get("settings", SETTING) == 7800


# --- users, BMS and modes


def test_a_users_lower_setting_is_left_and_named(stage):
    site = stage.site(**cabin(settings={SETTING: 3000}))
    agent = stage.agent(**LIMIT)

    status = agent.wait_for(enforceable=True, reason=lambda said: "GUI setting" in said)
    site.let_pass(20)

    assert "at 3000 W" in status["reason"]
    assert status["others"]["setting_w"] == 3000
    assert site.get("settings", SETTING) == 3000
    assert values(site, SETTING) == []
    assert site.state()["output_w"] == pytest.approx(3000, abs=60)


def test_a_user_who_lowers_the_setting_meanwhile_wins(stage):
    site = stage.site(**cabin())
    agent = stage.agent(**LIMIT)
    agent.wait_for(cap_w=near(5000), counters=lambda c: c["stored_writes"] == 1)

    site.do("write", service="settings", path=SETTING, value=3000)

    agent.wait_for(enforceable=True, reason=lambda said: "3000 W, by the GUI setting" in said)
    follows(site, 3000)
    site.let_pass(20)
    assert site.get("settings", SETTING) == 3000


def test_a_user_who_takes_the_backstop_away_is_not_fought_until_the_agent_starts_anew(stage):
    site = stage.site(**cabin())
    agent = stage.agent(**LIMIT)
    agent.wait_for(cap_w=near(5000), counters=lambda c: c["stored_writes"] == 1)

    site.do("write", service="settings", path=SETTING, value=-1)
    site.let_pass(60)
    his_w, status = site.get("settings", SETTING), agent.status()
    output_w = site.state()["output_w"]
    agent.stop()
    agent.start()
    agent.wait_for(enforceable=True, state="limiting", counters=lambda c: c["stored_writes"] == 1)

    assert his_w == -1
    assert any("each start of the agent stores it again" in text for text in status["warnings"])
    assert output_w == pytest.approx(5000, abs=60)  # the override holds it
    assert site.get("settings", SETTING) == 5000


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_lower_limit_of_the_bms_is_named(stage, when):
    site = stage.site(**cabin(hub4={"bms_limit_w": 2500} if when == "before" else {}))
    agent = stage.agent(**LIMIT)
    agent.wait_for(enforceable=True)

    site.do("hub4", bms_limit_w=2500)

    agent.wait_for(reason=lambda said: "2500 W, by the BMS or another program" in said)
    follows(site, 2500)
    assert agent.status()["enforceable"]


def test_external_control_is_left_alone_while_it_lasts(stage):
    site = stage.site(**cabin())
    agent = stage.agent(**LIMIT)
    agent.wait_for(cap_w=near(5000), enforceable=True)

    site.do("write", service="settings", path=MODE, value=3)
    during = agent.wait_for(state="not_enforceable")
    site.let_pass(1)
    before = site.writes()
    site.let_pass(60)
    after = site.writes()
    site.do("write", service="settings", path=MODE, value=1)
    agent.wait_for(cap_w=near(5000), enforceable=True)

    assert "Hub4Mode 3" in during["reason"]
    assert (during["cap_w"], during["method"]) == (None, None)
    assert before == after


def test_while_the_battery_is_kept_charged_the_cap_is_refreshed(stage):
    site = stage.site(**cabin(hub4={"override_expires_s": 60}))
    agent = stage.agent(**LIMIT, stored_backstop=False)
    agent.wait_for(cap_w=near(5000), enforceable=True)

    site.do("write", service="settings", path=STATE, value=9)
    during = agent.wait_for(state="not_enforceable")
    site.let_pass(80)
    site.do("write", service="settings", path=STATE, value=10)
    agent.wait_for(cap_w=lambda w: w is not None and w <= 5000, enforceable=True)
    site.let_pass(20)

    assert "keeps the batteries charged" in during["reason"]
    assert during["method"] == "ess_override"
    assert site.state()["output_w"] <= 5060


def test_an_explicit_list_of_methods_is_kept_to(stage):
    site = stage.site(**cabin(unit={"limit_paths": {"/Ac/PowerLimit": None}}))
    agent = stage.agent(**LIMIT, methods=["ess_setting"])

    status = agent.wait_for(method="ess_setting", cap_w=near(5000))

    assert status["enforceable"]
    assert written(site) == {SETTING}


def test_no_method_that_could_act_is_said_with_its_reason(stage):
    site = stage.site(**cabin())
    agent = stage.agent(**LIMIT, methods=["max_power"])

    status = agent.wait_for(state="not_enforceable")

    assert status["reason"] == f"{VEBUS} has no such path"
    assert site.writes() == []


# --- a cap that can't act teaches nothing


@pytest.mark.parametrize(
    ("dry_run", "hub4", "verb", "keys"),
    [
        pytest.param(True, {}, "state", {}, id="dry run"),
        pytest.param(False, {}, "grid", {"on": False}, id="no grid"),
        pytest.param(False, {"override_ignored": True}, "state", {}, id="ignored override"),
    ],
)
def test_a_cap_that_can_not_act_is_not_learned_from(stage, dry_run, hub4, verb, keys):
    site = stage.site(**cabin(hub4=hub4))
    agent = stage.agent(**LIMIT, dry_run=dry_run, stored_backstop=False)
    agent.wait_for(cap_w=near(5000))

    site.do(verb, **keys)
    caps = set()
    end_s = site.state()["t"] + 30
    site.wait_until(lambda s: caps.add(agent.status()["cap_w"]) or s["t"] > end_s, "30 s", 20)

    assert min(cap for cap in caps if cap) >= 4990
