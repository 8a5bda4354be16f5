"""The simulated site answers as the real services do, and its faults are what they claim."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from gx.bus import PYTHON, TESTS, BusClient, Site
from gx.process import Process
from gx.waiting import wait_until

SETTING = "/Settings/CGwacs/MaxDischargePower"
MODE = "/Settings/CGwacs/Hub4Mode"
OVERRIDE = "/Overrides/MaxDischargePower"
APPLIED = "/MaxDischargePower"
VEBUS = "vebus.ttyS4"
RECORDINGS = Path(__file__).parents[2].with_name("shared") / "recordings"

CABIN = {"name": "ttyS4", "phases": 1, "units": 1, "nominal_w": 8000}
QUICKLY = ("--speed", "5")


@pytest.fixture
def site(start_site):
    return start_site(*QUICKLY, vebus=[CABIN], load_w=6000)


def signals_of(client, path):
    """Signals about one path, as (member, what it says of the path)."""
    found = []
    for each in client.ask("signals")["signals"]:
        said = each["args"][0]
        if each["member"] == "ItemsChanged" and path in said:
            found.append(("ItemsChanged", said[path]))
        elif each["path"] == path:
            found.append((each["member"], said))
    return found


def wait_for_output(site, output_w, within_w=60):
    return site.wait_until(
        lambda state: abs(state["output_w"] - output_w) <= within_w, f"{output_w} W", 15
    )


# --- velib's semantics


@pytest.mark.parametrize(
    ("path", "kind", "value", "code"),
    [
        pytest.param("/Ac/Out/P", "i", 5, 1, id="not writable"),
        pytest.param("/Ac/In/1/CurrentLimit", "d", 50, 0, id="accepted"),
        pytest.param("/Ac/In/1/CurrentLimit", "d", 100, 0, id="equal"),
        pytest.param("/Ac/In/1/CurrentLimit", "s", "much", 1, id="wrong type"),
        pytest.param("/Ac/In/1/CurrentLimit", "d", -1, 2, id="refused by the service"),
    ],
)
def test_set_value_answers_as_velib_does(site, client, path, kind, value, code):
    assert client.set(VEBUS, path, value, kind) == code


def test_an_invalid_value_is_an_empty_array_of_int32(site, client):
    answer = client.call(VEBUS, "/Ac/Out/L2/P", "GetValue")

    assert answer == {"value": [], "type": "ai"}
    assert client.call(VEBUS, "/Ac/Out/L2/P", "GetText")["value"] == "---"


def test_a_missing_path_is_an_unknown_object(site, client):
    answer = client.call(VEBUS, "/Ac/PowerLimit", "SetValue", ("d", 5000))

    assert answer == {"error": "org.freedesktop.DBus.Error.UnknownObject"}


def test_the_root_gives_all_items_at_once(site, client):
    items = client.call(VEBUS, "/", "GetItems")["value"]
    values = client.call(VEBUS, "/", "GetValue")["value"]

    assert items["/Ac/Out/P"] == {"Value": 6000, "Text": "6000"}
    assert values["Ac/Out/P"] == 6000
    assert client.call(VEBUS, "/Ac/Out", "GetValue")["value"]["L1/P"] == 6000


def test_new_services_signal_all_changes_in_one_message(site, client):
    client.ask("signals")

    site.do("load", w=7000)

    found = wait_until(lambda: signals_of(client, "/Ac/Out/P"), "a signal")
    assert found == [("ItemsChanged", {"Value": 7000, "Text": "7000"})]


def test_old_services_signal_each_path(start_site, client):
    site = start_site(*QUICKLY, vebus=[{**CABIN, "old": True}], load_w=6000)
    client.ask("signals")

    site.do("load", w=7000)

    found = wait_until(lambda: signals_of(client, "/Ac/Out/P"), "a signal")
    assert found == [("PropertiesChanged", {"Value": 7000, "Text": "7000"})]
    assert not site.do("get", service=VEBUS, path="/Ac/Out/NominalInverterPower")["exists"]


def test_a_steady_value_is_not_signalled(site, client):
    client.ask("signals")
    site.do("load", w=6001)
    wait_until(lambda: signals_of(client, "/Ac/Out/P"), "the first signal")

    start_s = site.state()["t"]
    site.wait_until(lambda state: state["t"] > start_s + 2.5, "two more readings")

    assert signals_of(client, "/Ac/Out/P") == []


# --- localsettings' semantics


@pytest.mark.parametrize(
    ("kind", "value", "code", "stored"),
    [
        pytest.param("i", 12000, 0, 12000, id="another number type"),
        pytest.param("d", -2, -1, -1, id="below the minimum"),
        pytest.param("d", 1e7, -1, -1, id="above the maximum"),
        pytest.param("s", "abc", -1, -1, id="no number"),
        pytest.param("s", "500", 0, 500, id="a number as text"),
        pytest.param("b", True, 0, 1, id="true"),
        pytest.param("d", math.nan, 0, math.nan, id="not a number"),
        pytest.param("ai", [], -1, -1, id="invalid"),
    ],
)
def test_settings_take_and_reject_as_localsettings_does(site, client, kind, value, code, stored):
    assert client.set("settings", SETTING, value, kind) == code
    assert client.get("settings", SETTING) == pytest.approx(stored, nan_ok=True)


def test_settings_tell_their_range(site, client):
    assert client.call("settings", SETTING, "GetMin")["value"] == -1
    assert client.call("settings", SETTING, "GetMax")["value"] == 1e6
    assert client.call("settings", MODE, "GetMax") == {"value": 0, "type": "i"}
    assert client.call(VEBUS, "/Ac/Out/P", "GetMax")["error"].endswith("UnknownMethod")


def test_only_changes_wear_the_flash(site, client):
    for value in (5000, 5000, 6000, 1e7):
        client.set("settings", SETTING, value)

    site.wait_until(lambda state: state["flash_rewrites"] == 1, "the write-back", 5)
    assert site.state()["flash_writes"] == 2


def test_stored_settings_survive_a_restart(start_site, client, bus, tmp_path):
    arguments = [*QUICKLY, "--settings", str(tmp_path / "settings.json")]
    with Site(bus, {"vebus": [CABIN]}, tmp_path, arguments) as first:
        client.set("settings", SETTING, 4500)
        first.wait_until(lambda state: state["flash_rewrites"] == 1, "the write-back", 5)

    with Site(bus, {"vebus": [CABIN], "load_w": 6000}, tmp_path, arguments) as second:
        state = second.state()

    assert state["setting_w"] == 4500
    assert state["output_w"] == pytest.approx(4500, abs=1)


def test_a_setting_that_was_never_made_is_missing(start_site, client):
    start_site(*QUICKLY, vebus=[CABIN], settings={SETTING: None})

    assert "error" in client.call("settings", SETTING, "GetValue")


# --- the ESS control


@pytest.mark.parametrize(("service", "path"), [("settings", SETTING), ("hub4", OVERRIDE)])
def test_setting_and_override_bound_the_output(site, client, service, path):
    assert client.set(service, path, 3000) == 0

    wait_for_output(site, 3000)
    assert site.get("hub4", APPLIED) == 3000


def test_the_lower_of_setting_and_override_counts(site, client):
    client.set("settings", SETTING, 2500)
    client.set("hub4", OVERRIDE, 4000)

    wait_for_output(site, 2500)
    assert site.get("hub4", APPLIED) == 2500


def test_a_lower_limit_of_the_bms_counts(site, client):
    site.do("hub4", bms_limit_w=1500)
    client.set("hub4", OVERRIDE, 4000)

    wait_for_output(site, 1500)
    assert site.get("hub4", APPLIED) == 1500


@pytest.mark.parametrize(("kind", "value"), [("d", -1), ("ai", [])])
def test_an_override_is_taken_back(site, client, kind, value):
    client.set("hub4", OVERRIDE, 2000)

    assert client.set("hub4", OVERRIDE, value, kind) == 0

    wait_for_output(site, 5950)
    assert client.get("hub4", OVERRIDE) == []


def test_an_override_is_forgotten_after_its_last_write(start_site, client):
    site = start_site(*QUICKLY, vebus=[CABIN], load_w=6000, hub4={"override_expires_s": 3})
    client.set("hub4", OVERRIDE, 2000)
    written_s = site.state()["t"]

    site.wait_until(lambda state: state["t"] > written_s + 2, "two seconds")
    client.set("hub4", OVERRIDE, 2000)
    gone = site.wait_until(lambda state: state["override_w"] is None, "the expiry")

    assert gone["t"] - written_s == pytest.approx(5, abs=1)


def test_an_override_that_is_cleared_again_and_again(start_site, client):
    site = start_site(*QUICKLY, vebus=[CABIN], load_w=6000, hub4={"clear_override": True})
    client.set("hub4", OVERRIDE, 2000)

    site.wait_until(lambda state: state["override_w"] is None, "systemcalc", 7)


def test_an_override_that_is_ignored(start_site, client):
    site = start_site(*QUICKLY, vebus=[CABIN], load_w=6000, hub4={"override_ignored": True})
    client.set("hub4", OVERRIDE, 2000)
    client.set("settings", SETTING, 4000)

    wait_for_output(site, 4000)
    assert client.get("hub4", OVERRIDE) == 2000
    assert site.get("hub4", APPLIED) == 4000


def test_an_override_held_by_dynamic_ess(site, client):
    site.do("hub4", hold_override_w=1200)
    wait_for_output(site, 1200)
    client.set("hub4", OVERRIDE, 4000)

    site.wait_until(lambda state: state["override_w"] == 1200, "Dynamic ESS", 7)
    assert site.get("system", "/DynamicEss/Active") == 1

    site.do("hub4", hold_override_w=None)
    site.wait_until(lambda state: state["override_w"] is None, "its end", 7)
    assert site.get("system", "/DynamicEss/Active") == 0


@pytest.mark.parametrize(
    ("service", "path", "value"),
    [
        pytest.param("settings", MODE, 3, id="external control"),
        pytest.param("settings", "/Settings/CGwacs/BatteryLife/State", 9, id="keep charged"),
        pytest.param(VEBUS, "/Hub4/AssistantId", None, id="no ESS assistant"),
    ],
)
def test_where_ess_is_not_in_control_nothing_is_applied(site, client, service, path, value):
    client.set("hub4", OVERRIDE, 2000)
    wait_for_output(site, 2000)

    site.do("set", service=service, path=path, value=value)

    site.wait_until(lambda state: state["cap_w"] is None, "the cap to be out of force")
    assert site.get("hub4", APPLIED) is None


def test_the_grid_setpoint_moves_the_grid_and_not_the_cap(site, client):
    client.set("settings", "/Settings/CGwacs/AcPowerSetPoint", 1000)

    wait_for_output(site, 5000)
    assert site.state()["cap_w"] is None


def test_power_assist_is_seen_and_exceeds_the_cap(start_site, client):
    vebus = {**CABIN, "power_assist": True, "input_current_limit_a": 10}
    site = start_site(*QUICKLY, vebus=[vebus], load_w=6000)
    client.set("hub4", OVERRIDE, 1000)

    wait_for_output(site, 3700)
    wait_until(lambda: client.get(VEBUS, "/State") == 10, "the state")


def test_a_lost_grid_makes_an_island_and_comes_back(site, client):
    client.set("hub4", OVERRIDE, 2000)
    wait_for_output(site, 2000)

    site.do("grid", on=False)
    lost = wait_for_output(site, 6000)
    wait_until(lambda: client.get(VEBUS, "/Ac/ActiveIn/ActiveInput") == 240, "the lost input")
    in_w = client.get(VEBUS, "/Ac/ActiveIn/P")
    site.do("grid", on=True)
    wait_for_output(site, 2000)

    assert lost["cap_w"] is None
    assert in_w == []


# --- more and other services


def test_each_vebus_service_shows_its_own_power(start_site, client):
    other = {"name": "ttyUSB0", "phases": 1, "units": 1, "instance": 288, "load_w": 2000}
    start_site(
        *QUICKLY, vebus=[{**CABIN, "name": "ttyS3"}, {**other, "own_output_w": 1500}], load_w=4000
    )

    assert client.get("vebus.ttyS3", "/Ac/Out/P") == 4000
    assert client.get("vebus.ttyUSB0", "/Ac/Out/P") == 2000
    assert client.get("vebus.ttyUSB0", "/Ac/ActiveIn/P") == 500
    assert client.get("system", "/VebusService") == "com.victronenergy.vebus.ttyS3"
    assert client.get("system", "/Devices/NumberOfVebusDevices") == 2


@pytest.mark.parametrize("path", ["/Ac/PowerLimit", "/Ac/Out/L1/PowerLimit", "/Settings/MaxPower"])
def test_limit_paths_of_the_first_versions_act_where_they_exist(start_site, client, path):
    site = start_site(*QUICKLY, vebus=[{**CABIN, "limit_paths": {path: None}}], load_w=6000)
    found = client.get(VEBUS, path)

    assert client.set(VEBUS, path, 2000) == 0

    assert found == 8000
    wait_for_output(site, 2000)


def test_a_multi_rs_has_neither_vebus_nor_hub4(start_site, client):
    start_site(*QUICKLY, vebus=[], hub4=None, multi_rs=True)

    names = client.ask("names")["names"]

    assert any(name.startswith("com.victronenergy.multi.") for name in names)
    assert not any(".vebus" in name or ".hub4" in name for name in names)


def test_a_notification_has_three_fields(site, client):
    path = "/Notifications/Inject"

    codes = [
        client.set("platform", path, text, "s")
        for text in ("1\tlimiter\tno power", "no fields", "x\ty\tz", "3\tlimiter\tno such type")
    ]

    assert codes == [0, -1, -2, -3]
    assert site.state()["notifications"] == ["1\tlimiter\tno power"]


# --- faults


def test_a_frozen_service_still_answers(site, client):
    site.do("fault", name="freeze", service=VEBUS)
    site.do("load", w=7000)

    wait_for_output(site, 6950)

    assert client.get(VEBUS, "/Ac/Out/P") == 6000
    site.do("fault", name="clear")
    wait_until(lambda: client.get(VEBUS, "/Ac/Out/P") == 7000, "the thaw")


@pytest.mark.parametrize("value", [None, math.nan, 1e9])
def test_a_raw_value_stays_until_it_is_unset(site, client, value):
    site.do("set", service=VEBUS, path="/Ac/Out/P", value=value)
    site.do("load", w=7000)
    wait_for_output(site, 6950)

    shown = client.get(VEBUS, "/Ac/Out/P")
    site.do("unset", service=VEBUS, path="/Ac/Out/P")
    wait_until(lambda: client.get(VEBUS, "/Ac/Out/P") == 7000, "the measured value")

    assert shown == ([] if value is None else pytest.approx(value, nan_ok=True))


def test_a_dropped_service_returns_under_another_name(site, client):
    before = client.ask("names")["names"]

    site.do("fault", name="drop", service=VEBUS, seconds=0.5, rename="vebus.ttyUSB1")
    during = client.ask("names")["names"]
    name = "com.victronenergy.vebus.ttyUSB1"
    after = wait_until(lambda: name in (n := client.ask("names")["names"]) and n, "its return")

    assert set(before) - set(during) == {"com.victronenergy.vebus.ttyS4"}
    assert after[name] not in before.values()


def test_a_hanging_service_never_answers(site, client):
    site.do("fault", name="hang", service="hub4")

    answer = client.ask(
        "call", service="com.victronenergy.hub4", path=OVERRIDE, member="GetValue", timeout_s=0.3
    )

    assert answer == {"error": "org.freedesktop.DBus.Error.NoReply"}


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ({"name": "answer", "code": 2}, {"value": 2, "type": "i"}),
        ({"name": "error"}, {"error": "org.freedesktop.DBus.Error.Failed"}),
        ({"name": "ignore"}, {"value": 0, "type": "i"}),
    ],
)
def test_a_write_that_has_no_effect(site, client, fault, answer):
    site.do("fault", service="hub4", path=OVERRIDE, **fault)

    said = client.call("hub4", OVERRIDE, "SetValue", ("d", 2000))

    assert said == answer
    assert client.get("hub4", OVERRIDE) == []
    assert site.writes(OVERRIDE)[-1]["value"] == 2000


def test_a_write_that_is_reverted_later(site, client):
    client.set("hub4", OVERRIDE, 4000)
    site.do("fault", name="revert", service="hub4", after_s=1)

    code = client.set("hub4", OVERRIDE, 2000)
    taken = client.get("hub4", OVERRIDE)

    assert (code, taken) == (0, 2000)
    wait_until(lambda: client.get("hub4", OVERRIDE) == 4000, "the old value")


def test_services_come_back_after_the_bus_was_restarted(bus, site, tmp_path):
    bus.stop()
    bus.start()

    with BusClient(bus, tmp_path / "second.log") as client:
        wait_until(lambda: "value" in client.call(VEBUS, "/Ac/Out/P", "GetValue"), "the return")


def test_writes_are_recorded_with_sender_and_code(site, client):
    client.set("hub4", OVERRIDE, 2000)
    site.do("write", service="settings", path=SETTING, value=1e7)

    first, second = site.state()["writes"]

    assert first["sender"].startswith(":1.")
    assert (first["path"], first["value"], first["code"]) == (OVERRIDE, 2000, 0)
    assert (second["sender"], second["value"], second["code"]) == ("other", 1e7, -1)


def test_calls_are_counted(site, client):
    for _ in range(3):
        client.get(VEBUS, "/Ac/Out/P")

    calls = site.do("calls")["calls"]

    assert calls[VEBUS] == {"com.victronenergy.BusItem.GetValue": 3}


# --- running it


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"laod_w": 1}, "no such key: laod_w"),
        ({"plant": {"delay_s": 1}}, "no such key: delay_s"),
        ({"vebus": [{"nominal": 1}]}, "no such key: nominal"),
        ({"load_w": {"L4": 1}}, "no such phase: L4"),
        ({"hub4": {"expires": 1}}, "hub4 has no quirk expires"),
        ({"absent": ["hub5"]}, "no such service: hub5"),
    ],
)
def test_a_wrong_site_file_is_refused_in_one_line(bus, tmp_path, spec, what):
    file = tmp_path / "site.json"
    file.write_text(json.dumps(spec))
    command = [PYTHON, "-B", "-m", "gx.services", "--bus", bus.address, "--site", str(file)]

    process = Process(command, {"PYTHONPATH": str(TESTS)}, tmp_path / "log")
    process.child.wait(10)

    assert process.kill() == 2
    said = (tmp_path / "log").read_text()
    assert what in said
    assert said.count(os.linesep) == 1


def test_an_unknown_verb_is_answered_with_an_error(site):
    with pytest.raises(ValueError, match="no such verb: dance"):
        site.do("dance")
    with pytest.raises(ValueError, match="no such service: vebus.ttyX"):
        site.do("get", service="vebus.ttyX", path="/")


def test_the_truth_is_recorded(site):
    site.wait_until(lambda state: state["t"] > 1.2, "a second")

    header, *rows = site.record.read_text().splitlines()

    assert header == "t_s,output_w,export_w,load_w,cap_w,setting_w,override_w,flash_writes"
    assert len(rows) >= 10
    assert rows[0].split(",")[3:] == ["6000.0", "", "-1.0", "", "0"]


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not here")
def test_a_recording_is_played_as_its_service(start_site, client):
    file = RECORDINGS / "quattro-3phase-passthrough.csv"
    site = start_site(*QUICKLY, vebus=[], replay=[{"file": str(file), "speed": 50, "scale": 2}])

    name = client.get("system", "/VebusService")
    first_w = client.get("vebus.ttyO1", "/Ac/Out/P")
    site.wait_until(lambda state: state["recordings_ended"], "the end", 15)

    assert name == "com.victronenergy.vebus.ttyO1"
    assert first_w == 2 * 3794
    assert site.state()["control"] == "passthrough"
