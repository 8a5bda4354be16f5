"""What a technician reads: the running agent's status, and what a site offers."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from export_limiter.config import METHOD_NAMES, Config
from export_limiter.files import FoundValues
from export_limiter.inverters import Site
from export_limiter.judgement import Judgement
from export_limiter.limiter import NO_METER, Limiter
from export_limiter.limits import Measurement
from export_limiter.methods import ControlPoint, Methods
from export_limiter.screen import discover_report, discover_screen, status_screen
from export_limiter.status import TOLD_AT_ONCE, Identity, Telling, build, warnings_of
from export_limiter.writes import Writer
from gx.fakebus import HUB4, METER, SETTING, SETTINGS, SYSTEM, VEBUS, FakeBus, ess_site

EXPORT = {"max_grid_export_w": 3000.0}
AGENT = Path(__file__).parents[2] / "agent"


def site_of(services):
    site = Site()
    for name, values in services.items():
        site.appeared(name)
        site.learned(name, values)
    return site


def status_of(
    tmp_path, services=None, unwritten=None, refusal="", given_up=(), phases_w=((), ()), config=()
):
    site = site_of(services or ess_site())
    config = Config(**{"max_multiplus_output_w": 5000.0, "phase_count": 1, **dict(config)})
    methods = Methods(METHOD_NAMES, 1000)
    methods.choose(site, 0.0)
    for method, reason in given_up:
        methods.fail(method, reason, 7000.0)
    writer = Writer(config, FakeBus({}, site), site, FoundValues(str(tmp_path)), lambda: 0.0)
    if refusal:
        writer.last_refusal, writer.last_refused_at = refusal, 7000.0
    return build(
        Identity("1.2.3", "a" * 40, 77, 1000.0),
        config,
        Judgement("limiting", "output is held at the cap", True, 5000.0, True),
        Measurement(4990.0, 4990.0, -1010.0, *phases_w),
        site,
        methods,
        Limiter(config),
        writer,
        (unwritten,),
        5,
        20000.0,
        7420.0,
        100.0,
    )


def test_the_status_is_flat_and_complete(tmp_path):
    status = status_of(tmp_path)

    assert status["commit"] == "a" * 40
    assert (status["started_at"], status["updated_at"], status["pid"]) == (1000, 20000, 77)
    assert status["state_since"] == 20000 - 7320
    assert status["measured_w"] == 4990
    assert status["phases"] == [  # as last signalled
        {"phase": "L1", "inverter_output_w": 5950, "grid_export_w": None}
    ]
    assert (status["given_up"], status["last_refusal"], status["last_refusal_at"]) == (
        [],
        None,
        None,
    )
    assert status["inverters"] == [
        {
            "service": VEBUS,
            "product": "MultiPlus-II 48/8000",
            "connected": True,
            "main": True,
            "phase_count": 1,
            "nominal_w": 8000,
            "input_a": None,
            "input_limit_a": None,
        }
    ]


def test_the_screen_says_what_limits_and_who_else(tmp_path):
    services = ess_site()
    services[SETTINGS][SETTING] = 5000.0
    services[HUB4].update({"/Overrides/MaxDischargePower": 5000.0, "/MaxDischargePower": 4000.0})
    services[SYSTEM]["/DynamicEss/Active"] = 1

    screen = status_screen(status_of(tmp_path, services, "look here", "hub4 refused 1 W"), 3.2)

    for line in (
        "limiting: output is held at the cap",
        "  for              2 h, as of 3 s ago, version 1.2.3",
        "  inverter output  4990 W   limit 5000 W",
        "  grid export      -1010 W   limit ---",
        "  cap              5000 W, binding",
        "  others           in force 4000 W",
        "  others           override held by Dynamic ESS",
        "  warning          look here",
        "  refused          hub4 refused 1 W, 7 min ago",
    ):
        assert line in screen.splitlines()


def three_phases():
    services = ess_site()
    services[VEBUS].update(
        {"/Ac/NumberOfPhases": 3, "/Ac/Out/L2/P": 700.0, "/Ac/ActiveIn/L2/P": 50.0}
    )
    return services


def test_each_phase_has_what_is_polled_of_it(tmp_path):
    polled = (100.0, 200.0, 300.0), (-1.0, -2.0, 3.0)

    phases = status_of(tmp_path, three_phases(), phases_w=polled)["phases"]

    assert [phase["inverter_output_w"] for phase in phases] == [100, 200, 300]
    assert [phase["grid_export_w"] for phase in phases] == [-1, -2, 3]


def test_a_little_less_than_nothing_is_shown_as_nothing(tmp_path):
    status = {**status_of(tmp_path), "inverter_output_w": -0.4, "grid_export_w": -1.4}

    shown = status_screen(status, 1.0)

    assert "inverter output  0 W " in shown
    assert "grid export      -1 W " in shown


def test_the_screen_has_a_line_for_each_phase_of_several(tmp_path):
    signalled = status_screen(status_of(tmp_path, three_phases()), 3.2).splitlines()
    polled_w = (100.0, 200.0, 300.0), (-1.0, -2.0, 3.0)
    polled = status_screen(status_of(tmp_path, three_phases(), phases_w=polled_w), 3.2).splitlines()

    assert "  L2               650 W" in signalled
    assert "  L2               200 W   export -2 W" in polled
    assert not any(line.startswith("  L1") for line in status_screen(status_of(tmp_path), 3.2))


def test_the_screen_says_which_methods_were_given_up_and_why(tmp_path):
    given_up = [("ess_override", "another program keeps changing it")]
    status = status_of(tmp_path, given_up=given_up)

    assert status["given_up"] == [
        {"method": "ess_override", "reason": "another program keeps changing it"}
    ]
    line = "  given up         ess_override: another program keeps changing it"
    assert line in status_screen(status, 3.2).splitlines()


def test_a_refusal_has_its_time_by_the_wall_clock(tmp_path):
    assert status_of(tmp_path, refusal="no")["last_refusal_at"] == 20000 - 420


def test_a_file_that_cant_be_written_and_a_share_that_cant_be_armed_are_warnings(tmp_path):
    state = "/data/state.json can't be written (Read-only file system)"

    warnings = status_of(tmp_path, unwritten=state, config={"per_phase": True})["warnings"]

    assert warnings[0] == state
    assert ["until the cap has followed" in text for text in warnings[:2]] == [False, True]
    assert status_of(tmp_path, config={"per_phase": "strict"})["warnings"] == []


@pytest.mark.parametrize(
    ("config", "phases_w", "warned"),
    [
        pytest.param({"per_phase": True}, ((4990,), ()), False, id="outputs are known"),
        pytest.param({"per_phase": True}, ((), ()), True, id="outputs are not known"),
        pytest.param({"per_phase": "strict"}, ((), ()), False, id="one share, armed"),
        pytest.param({**EXPORT, "per_phase": True}, ((4990,), (-1010,)), False, id="all known"),
        pytest.param({**EXPORT, "per_phase": True}, ((4990,), ()), True, id="exports not known"),
        pytest.param({**EXPORT, "per_phase": "strict"}, ((4990,), ()), True, id="strict too"),
        pytest.param(EXPORT, ((), ()), False, id="without per_phase"),
    ],
)
def test_a_share_of_phases_that_are_not_known_is_warned_of(tmp_path, config, phases_w, warned):
    warnings = status_of(tmp_path, config=config, phases_w=phases_w)["warnings"]

    assert any("the power of each phase is not known" in text for text in warnings) is warned


def test_a_share_of_an_export_limit_is_never_armed(tmp_path):
    config = {**EXPORT, "per_phase": "strict"}

    warnings = status_of(tmp_path, config=config, phases_w=((4990,), (-1010,)))["warnings"]

    assert ["until the cap has followed" in text for text in warnings] == [True]


def test_the_screen_does_not_call_our_own_cap_somebody_elses(tmp_path):
    services = ess_site()
    services[SETTINGS].update({SETTING: 5000.0, "/Settings/CGwacs/MaxFeedInPower": 5000.0})
    services[HUB4].update({"/Overrides/MaxDischargePower": 5000.0, "/MaxDischargePower": 5000.0})

    screen = status_screen(status_of(tmp_path, services), 3.2)

    others = [line for line in screen.splitlines() if line.startswith("  others")]
    assert others == ["  others           grid feed-in limit 5000 W"]


@pytest.mark.parametrize(
    ("change", "age_s", "heard"),
    [
        pytest.param({}, 17.0, "17 s", id="silent"),
        pytest.param({}, 7400.0, "2 h", id="silent for long"),
        pytest.param({"state": "stopping"}, 2.0, "2 s", id="stopped"),
    ],
)
def test_a_dead_agent_is_called_dead_and_what_it_said_its_last_words(
    tmp_path, change, age_s, heard
):
    first, second, *others = status_screen({**status_of(tmp_path), **change}, age_s).splitlines()

    assert first == f"the agent is NOT running (last heard {heard} ago)"
    assert second == "its last words:"
    assert all(line.startswith("  ") for line in others)
    assert others[0].endswith(": output is held at the cap")


@pytest.mark.parametrize(
    ("age_s", "pid", "code"),
    [(5.0, os.getpid(), 0), (16.0, os.getpid(), 1), (-30.0, os.getpid(), 1), (5.0, 2**22 + 1, 1)],
)
def test_the_exit_code_tells_whether_the_agent_runs(tmp_path, age_s, pid, code):
    status = {**status_of(tmp_path), "updated_at": time.time() - age_s, "pid": pid}
    (tmp_path / "status.json").write_text(json.dumps(status))
    command = [sys.executable, "-m", "export_limiter", "status", "--runtime-dir", str(tmp_path)]

    done = subprocess.run(command, cwd=AGENT, capture_output=True, text=True, check=False)

    assert done.returncode == code
    assert done.stdout.startswith("the agent is NOT running") is bool(code)


@pytest.mark.parametrize(
    ("current_a", "shown"), [(15.5, "AC input at 15.5 A of its 16 A limit"), (12.0, None)]
)
def test_the_screen_warns_of_an_input_near_its_current_limit(tmp_path, current_a, shown):
    services = ess_site()
    services[VEBUS].update({"/Ac/ActiveIn/L1/I": current_a, "/Ac/ActiveIn/CurrentLimit": 16.0})

    screen = status_screen(status_of(tmp_path, services), 3.2)

    assert ("AC input" in screen) is (shown is not None)
    assert shown is None or shown in screen


def test_discover_names_every_method_and_its_obstacle():
    services = ess_site()
    services[VEBUS]["/Hub4/AssistantId"] = None
    site = site_of(services)
    report = discover_report(site, Methods(METHOD_NAMES, 1000).verdicts(site, 0.0))

    screen = discover_screen(report)

    assert report["would_use"] is None
    assert [method["method"] for method in report["methods"]] == list(METHOD_NAMES)
    assert all(method["reason"] for method in report["methods"])
    assert "would use: nothing, the limit can't be kept" in screen
    assert f"ess_override       no: the ESS assistant is not installed in {VEBUS}" in screen


def discovered(services, status=None):
    site = site_of(services)
    report = discover_report(site, Methods(METHOD_NAMES, 1000).verdicts(site, 0.0), status)
    return discover_screen(report).splitlines()


def test_discover_shows_what_each_inverter_delivers():
    services = three_phases()
    services[VEBUS].update({"/Ac/Out/L3/P": 100.0, "/Ac/ActiveIn/L3/P": 0.0})
    services["com.victronenergy.vebus.ttyUSB0"] = {"/Connected": 1, "/Ac/NumberOfPhases": 1}

    screen = "\n".join(discovered(services))

    assert "3 phases, delivers 6700 W, nominal 8000 W" in screen
    assert "1 phase, delivers ---, nominal ---" in screen


@pytest.mark.parametrize(
    ("dry_run", "ours"), [(False, True), (True, False)], ids=["a cap in force", "a dry run"]
)
def test_discover_knows_the_running_agents_own_cap(tmp_path, dry_run, ours):
    services = ess_site()
    services[SETTINGS].update({SETTING: 5000.0, "/Settings/CGwacs/MaxFeedInPower": 5000.0})
    services[HUB4].update({"/Overrides/MaxDischargePower": 5000.0, "/MaxDischargePower": 4000.0})
    status = {**status_of(tmp_path, services), "dry_run": dry_run}

    own = ", our own cap" if ours else ""
    others = [line for line in discovered(services, status) if line.startswith("others")]

    assert others == [
        "others: in force 4000 W",
        f"others: GUI setting 5000 W{own}",
        f"others: override 5000 W{own}",
        "others: grid feed-in limit 5000 W",
    ]


def test_an_inverter_that_is_gone_is_warned_of():
    config, site = Config(max_multiplus_output_w=5000.0, phase_count=1), site_of(ess_site())
    gone = Measurement(None, 3000.0, inverter_gone=True)

    found = warnings_of(config, site, None, gone)

    assert [text.startswith("an inverter is gone") for text in found] == [True]


def warnings_at(config, services, point=None):
    return warnings_of(config, site_of(services), point, Measurement(None, None))


def test_warnings_are_for_the_installer():
    services = ess_site()
    services["com.victronenergy.vebus.ttyUSB0"] = {"/Connected": 1}

    found = warnings_at(Config(max_multiplus_output_w=9000.0), services)

    assert found == [
        "max_multiplus_output_w 9000 W is above the 8000 W installed",
        "phase_count is 3, the inverter has 1",
        f"more than one VE.Bus system: only {VEBUS} can be limited",
    ]


@pytest.mark.parametrize(
    ("config", "warned"),
    [
        ({"phase_count": 3}, False),
        ({"phase_count": 1}, True),
        ({"phase_count": 3, "per_phase": True}, True),
    ],
)
def test_a_two_phase_inverter_is_warned_of_where_the_count_matters(config, warned):
    services = ess_site()
    services[VEBUS]["/Ac/NumberOfPhases"] = 2

    found = warnings_at(Config(max_multiplus_output_w=5000.0, **config), services)

    assert any("the inverter has 2" in text for text in found) is warned


@pytest.mark.parametrize(
    ("service", "limit", "warned"),
    [
        (SETTINGS, {"max_grid_export_w": 3000.0}, True),
        (SETTINGS, {}, False),
        (HUB4, {"max_grid_export_w": 3000.0}, False),
    ],
)
def test_an_export_limit_by_a_setting_on_flash_is_said_to_be_fixed(service, limit, warned):
    point = ControlPoint(service, ("/Path",))

    found = warnings_at(Config(phase_count=1, **limit), ess_site(), point)

    assert any("failsafe_limit_w" in text for text in found) is warned


def test_a_status_is_told_at_once_on_a_change_and_else_each_five_seconds():
    telling = Telling()
    quiet = dict.fromkeys(TOLD_AT_ONCE, "as before") | {"measured_w": 0}

    told_at = []
    for second in range(20):
        status = {**quiet, "measured_w": second}
        if second >= 12:
            status["cap_w"] = 4000
        if telling.due(status, float(second)):
            told_at.append(second)

    assert told_at == [0, 5, 10, 12, 17]


@pytest.mark.parametrize(("setting", "told"), [(0, NO_METER), (1, "none, the AC input is used")])
def test_discover_says_whether_a_meter_is_missing(setting, told):
    services = ess_site()
    services.pop(METER)
    services[SETTINGS]["/Settings/CGwacs/RunWithoutGridMeter"] = setting
    site = site_of(services)

    report = discover_report(site, Methods(METHOD_NAMES, 1000.0).verdicts(site, 0.0))

    assert f"grid meter: {told}" in discover_screen(report).splitlines()


def test_a_process_that_is_gone_is_not_running(tmp_path):
    screen = status_screen(status_of(tmp_path), 1.0, alive=False)

    assert screen.startswith("the agent is NOT running")
