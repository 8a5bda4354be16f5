"""Each method's verdict on a site, which one is chosen, and how long a failure is remembered."""

import pytest
from export_limiter.config import METHOD_NAMES
from export_limiter.inverters import Site
from export_limiter.methods import Methods
from gx.fakebus import (
    HUB4,
    METER,
    MODE,
    OVERRIDE,
    SETTING,
    SETTINGS,
    STATE,
    SYSTEM,
    VEBUS,
    ess_site,
)

ESS = ("ess_override", "ess_setting")
AUTO = METHOD_NAMES


def site_of(services):
    site = Site()
    for name, values in services.items():
        site.appeared(name)
        site.learned(name, values)
    return site


def changed(*without, **by_class):
    """The ESS site with values changed by class of service, or with services left out."""
    names = {"vebus": VEBUS, "hub4": HUB4, "settings": SETTINGS, "system": SYSTEM}
    services = {n: dict(v) for n, v in ess_site().items() if n not in without}
    for short, values in by_class.items():
        services[names[short]].update(values)
    return site_of(services)


def choose(site, names=AUTO, floor_w=1000, now=0.0):
    return Methods(names, floor_w).choose(site, now)


def lacking(name, path):
    services = ess_site()
    del services[name][path]
    return site_of(services)


@pytest.mark.parametrize(
    ("site", "method", "reason"),
    [
        pytest.param(changed(), "ess_override", "", id="ESS"),
        pytest.param(changed(settings={MODE: 2}), "ess_override", "", id="phases regulated each"),
        pytest.param(lacking(HUB4, OVERRIDE), "ess_setting", "", id="no overrides"),
        pytest.param(lacking(SETTINGS, SETTING), "ess_override", "", id="no setting"),
        pytest.param(
            changed(vebus={"/Hub4/AssistantId": 4}), None, "ESS assistant is not", id="old Hub-4"
        ),
        pytest.param(changed(HUB4), None, "no hub4 service", id="no hub4"),
        pytest.param(changed(settings={MODE: 3}), None, "Hub4Mode 3", id="external control"),
        pytest.param(changed(settings={MODE: 4}), None, "Hub4Mode 4", id="mode 4"),
        pytest.param(changed(SETTINGS), None, "the ESS mode can't be read", id="no settings"),
        pytest.param(lacking(SETTINGS, MODE), None, "ESS never ran here", id="no ESS settings"),
        pytest.param(changed(settings={STATE: 9}), None, "keeps the batteries", id="kept charged"),
        pytest.param(
            changed(vebus={"/Ac/ActiveIn/ActiveInput": 240}), None, "no grid", id="no active input"
        ),
        pytest.param(
            changed(system={"/Ac/ActiveIn/Source": 2}), None, "a generator", id="a genset"
        ),
        pytest.param(
            changed(vebus={"/Ac/ActiveIn/ActiveInput": None}),
            None,
            "can't be read",
            id="unknown input",
        ),
        pytest.param(changed(VEBUS), None, "no inverter on the bus", id="no inverter"),
        *(
            pytest.param(
                site_of({f"com.victronenergy.{name}.socketcan_can0": {}}),
                None,
                "no inverter on the bus (a Multi RS is here: it can't be limited)",
                id=f"a Multi RS by {name}",
            )
            for name in ("multi", "acsystem")
        ),
        pytest.param(
            changed(vebus={"/Connected": 0}), None, "no inverter on the bus", id="no unit connected"
        ),
        pytest.param(
            changed(system={"/DynamicEss/Active": 1}), "ess_setting", "", id="Dynamic ESS"
        ),
        pytest.param(
            changed(system={"/Control/ScheduledCharge": 1}), "ess_setting", "", id="schedule"
        ),
        pytest.param(
            changed(system={"/LoadShedding/Active": 1}), "ess_setting", "", id="load shedding"
        ),
    ],
)
def test_the_verdict_on_a_site(site, method, reason):
    verdict = choose(site)

    assert verdict.enforceable == (method is not None)
    assert verdict.method == (method or verdict.method)
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("site", "kept"),
    [
        pytest.param(changed(settings={STATE: 9}), True, id="kept charged"),
        pytest.param(changed(vebus={"/Ac/ActiveIn/ActiveInput": 240}), True, id="no grid"),
        pytest.param(changed(settings={MODE: 3}), False, id="external control"),
        pytest.param(changed(vebus={"/Hub4/AssistantId": None}), False, id="no ESS"),
        pytest.param(
            changed(settings={STATE: 9}, system={"/DynamicEss/Active": 1}), False, id="held"
        ),
    ],
)
def test_a_cap_is_kept_where_it_will_act_again(site, kept):
    verdict = choose(site)

    assert not verdict.enforceable
    assert verdict.usable == kept
    assert not verdict.usable or verdict.method == "ess_override"


@pytest.mark.parametrize(
    ("value", "plausible"),
    [(8000, True), (1000, True), (16000, True), (999, False), (16001, False), (-1, False),
     (0, False), (None, False), (float("nan"), False), ("8000", False)],
)  # fmt: skip
def test_a_limit_path_needs_a_plausible_value(value, plausible):
    verdict = choose(changed(vebus={"/Settings/MaxPower": value}), ["max_power"])

    assert verdict.enforceable == plausible
    assert plausible or "holds no plausible limit" in verdict.reason


def test_limit_paths_come_before_ess_and_need_none():
    site = changed(HUB4, vebus={"/Ac/Out/PowerLimit": 8000, "/Hub4/AssistantId": None})

    verdict = choose(site)

    assert (verdict.method, verdict.point.paths) == ("ac_power_limit", ("/Ac/Out/PowerLimit",))


def test_the_order_is_the_configured_one():
    site = changed(vebus={"/Ac/PowerLimit": 8000})

    assert choose(site, ["ess_setting", "ac_power_limit"]).method == "ess_setting"


def test_a_method_that_failed_is_tried_again_after_ten_minutes():
    methods = Methods(ESS, 1000)

    methods.fail("ess_override", "no effect", 100.0)

    assert methods.choose(changed(), 699.0).method == "ess_setting"
    assert methods.choose(changed(), 701.0).method == "ess_override"


def test_a_held_method_is_not_tried_again():
    methods = Methods(ESS, 1000)

    methods.fail("ess_override", "held", 0.0, until_restart=True)
    methods.forgive(HUB4)

    assert methods.choose(changed(), 1e6).method == "ess_setting"


@pytest.mark.parametrize(
    ("service", "method"),
    [(HUB4, "ess_override"), (VEBUS, "ess_override"), (METER, "ess_setting")],
)
def test_a_failure_is_forgiven_when_what_failed_has_come_anew(service, method):
    methods = Methods(ESS, 1000)
    methods.fail("ess_override", "no effect", 0.0)

    methods.forgive(service)

    assert methods.choose(changed(), 1.0).method == method


def test_where_every_method_failed_the_last_reason_is_told():
    methods = Methods(ESS, 1000)
    methods.fail("ess_override", "first", 0.0)
    methods.fail("ess_setting", "second", 0.0)

    verdict = methods.choose(changed(), 1.0)

    assert (verdict.enforceable, verdict.reason) == (False, "second")


def test_a_verdict_stands_while_it_can_not_be_read():
    methods = Methods(ESS, 1000)
    last = methods.choose(changed(), 0.0)

    assert methods.choose(changed(VEBUS), 1.0) == last
    assert methods.choose(changed(settings={MODE: 3}), 1.0) != last


def test_a_method_that_can_act_is_taken_where_the_one_before_can_not_be_read():
    methods = Methods(["ess_override", "max_power"], 1000)
    methods.choose(changed(), 0.0)

    unread = changed(vebus={"/Settings/MaxPower": 6000.0, "/Ac/ActiveIn/ActiveInput": None})

    assert methods.choose(unread, 1.0).method == "max_power"


def test_a_verdict_on_what_was_given_up_stands_no_longer():
    methods = Methods(ESS, 1000)
    last = methods.choose(changed(), 0.0)

    methods.fail(last.method, "no effect", 1.0)

    assert methods.choose(changed(VEBUS), 2.0) != last
