"""In which state the agent says it is, and in which words."""

import pytest
from export_limiter.effect import Effect
from export_limiter.files import FoundValues
from export_limiter.inverters import Site
from export_limiter.judgement import Judgement, Sayings, held_lower_by, judge
from export_limiter.limiter import Decision
from export_limiter.methods import Verdict
from gx.fakebus import APPLIED, HUB4, OVERRIDE, SETTING, SETTINGS, SYSTEM, ess_site

ACTS = Verdict("ess_override", enforceable=True)
HELD = Verdict("ess_override", "Dynamic ESS holds the override")


def judged(state, reason="because", verdict=ACTS, waited_s=60.0, dry_run=False, cap_w=5000.0):
    decision = Decision(cap_w, state, reason, True)
    return judge(decision, verdict, 5000.0, True, "", waited_s, dry_run)


@pytest.mark.parametrize(
    ("state", "verdict", "waited_s", "told"),
    [
        pytest.param("starting", ACTS, 29, ("starting", "because"), id="at first"),
        pytest.param(
            "starting", ACTS, 31, ("not_enforceable", "no usable output figure"), id="no figure"
        ),
        pytest.param(
            "starting",
            HELD,
            31,
            ("not_enforceable", "no inverter: Dynamic ESS holds the override"),
            id="no inverter",
        ),
        pytest.param("failsafe", HELD, 60, ("failsafe", "because"), id="failsafe comes first"),
        pytest.param(
            "limiting", HELD, 60, ("not_enforceable", HELD.reason), id="held by another program"
        ),
        pytest.param("limiting", ACTS, 60, ("limiting", "because"), id="limiting"),
    ],
)
def test_the_first_state_that_applies_is_told(state, verdict, waited_s, told):
    cap_w = None if state == "starting" else 5000.0

    judgement = judged(state, verdict=verdict, waited_s=waited_s, cap_w=cap_w)

    assert (judgement.state, judgement.reason) == told


def test_an_output_limit_that_only_waits_for_the_meter_has_an_inverter():
    assert judged("starting", waited_s=31.0).state == "starting"


@pytest.mark.parametrize(
    ("state", "reason"),
    [("limiting", "dry run"), ("monitoring", "dry run"), ("failsafe", "dry run; because")],
)
def test_a_dry_run_says_what_would_be_wrong(state, reason):
    judgement = judged(state, dry_run=True)

    assert (judgement.enforceable, judgement.reason) == (False, reason)


@pytest.mark.parametrize(
    ("setting_w", "dynamic", "ours", "who"),
    [
        (4000.0, 0, None, "the GUI setting"),
        (-1.0, 0, None, "the BMS or another program"),
        (-1.0, 1, None, "Dynamic ESS"),
        (4000.0, 1, None, "the GUI setting"),
        (4000.0, 0, SETTINGS + SETTING, "our own stored setting"),
        (-1.0, 0, HUB4 + OVERRIDE, "our own override, until it lapses"),
    ],
)
def test_who_holds_the_output_lower_is_named(tmp_path, setting_w, dynamic, ours, who):
    services = ess_site()
    services[HUB4][APPLIED] = 4000.0
    services[SETTINGS][SETTING] = setting_w
    services[SYSTEM]["/DynamicEss/Active"] = dynamic
    found = FoundValues(str(tmp_path))
    if ours:
        found.will_write(ours, None, 4000.0, stored=True)
    services[HUB4][OVERRIDE] = 4000.0 if ours == HUB4 + OVERRIDE else None
    site = Site()
    for name, values in services.items():
        site.appeared(name)
        site.learned(name, values)
    effect = Effect()
    effect.fault(5000.0, 4000.0, None, 4000.0, False, 0.0)

    assert held_lower_by(site, found, effect, 1.0) == f"held lower, at 4000 W, by {who}"


def test_watts_that_wander_are_no_news():
    sayings = Sayings()

    lines = [
        sayings.line(
            Judgement("limiting", f"held lower, at {watts} W, by the BMS", True, 5e3, True)
        )
        for watts in (2500, 2513, 990)
    ]

    assert lines == ["limiting: held lower, at 2500 W, by the BMS (cap 5000 W)", None, None]
