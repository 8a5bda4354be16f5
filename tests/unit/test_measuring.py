"""What is measured from one poll of the bus: signs, totals, phases, and what stands still."""

import math

import pytest
from export_limiter.inverters import Site
from export_limiter.measuring import Measuring
from gx.fakebus import METER, SETTINGS, SYSTEM, VEBUS, ess_site

OTHER = "com.victronenergy.vebus.ttyUSB0"
THIRD = "com.victronenergy.vebus.ttyUSB1"
PV = "com.victronenergy.pvinverter.pv_1"


class Rig:
    """A site whose values are polled; `change` sets values by path, None takes a path away."""

    def __init__(self, services=None, export_limited=True):
        self.services = services or ess_site()
        self.site = Site()
        for name, values in self.services.items():
            self.site.appeared(name)
            self.site.learned(name, values)
        self.measuring = Measuring(self.site, export_limited)

    def change(self, name, values):
        self.services[name].update(values)
        self.site.learned(name, values)

    def measure(self, now=0.0, cap_w=None, per_phase=False):
        self.wanted = self.measuring.polled_paths(per_phase, now)
        services = self.services
        answers = {(n, p): services[n][p] for n, p in self.wanted if p in services.get(n, {})}
        return self.measuring.measure(answers, cap_w, now)


def without(*paths, name=VEBUS):
    services = ess_site()
    for path in paths:
        del services[name][path]
    return services


def with_values(name=VEBUS, **values):
    services = ess_site()
    services[name].update(values)
    return services


IN = "/Ac/ActiveIn/P"
OUT = "/Ac/Out/P"
INPUT = "/Ac/ActiveIn/ActiveInput"
PHASES_1 = {"/Ac/Out/L1/P": 6000, "/Ac/ActiveIn/L1/P": 50}
PHASES_3 = {
    "/Ac/NumberOfPhases": 3,
    "/Ac/Out/L1/P": 3000,
    "/Ac/Out/L2/P": 2000,
    "/Ac/Out/L3/P": 1000,
    "/Ac/ActiveIn/L1/P": 300,
    "/Ac/ActiveIn/L2/P": 20,
    "/Ac/ActiveIn/L3/P": -100,
}


@pytest.mark.parametrize(
    ("services", "output_w"),
    [
        pytest.param(ess_site(), 5950, id="output is out minus in"),
        pytest.param(with_values(**{OUT: 3794, IN: 3799}), -5, id="passed through"),
        pytest.param(with_values(**{OUT: 500, IN: -2000}), 2500, id="fed in"),
        pytest.param(with_values(**{OUT: 0, IN: 3000}), -3000, id="charging"),
        pytest.param(with_values(**{INPUT: 240, IN: 15}), 6000, id="no active input"),
        pytest.param(with_values(**{INPUT: 240, IN: None}), 6000, id="no active input, no value"),
        pytest.param(without(IN, "/Ac/ActiveIn/L1/P"), 6000, id="never had an input figure"),
        pytest.param(with_values(**{IN: None}), None, id="no value on an active input"),
        pytest.param(with_values(**{OUT: None}), None, id="no value"),
        pytest.param(with_values(**{OUT: math.nan}), None, id="not a number"),
        pytest.param(with_values(**{OUT: 1e9}), None, id="absurd"),
        pytest.param(with_values(**{OUT: "6000"}), None, id="text"),
        pytest.param(with_values(**{OUT: True}), None, id="a truth"),
        pytest.param(without(OUT, IN), 5950, id="phases only"),
        pytest.param(with_values(**{"/Connected": 0}), None, id="no unit connected"),
    ],
)
def test_the_inverters_own_output(services, output_w):
    measurement = Rig(services).measure()

    assert measurement.output_w == measurement.controlled_w == output_w


def test_phases_without_a_total_are_summed():
    services = with_values(**PHASES_3)
    for path in (OUT, IN):
        del services[VEBUS][path]

    assert Rig(services).measure().output_w == 6000 - 220


def test_a_phase_that_loses_its_value_is_lost_data():
    services = with_values(**PHASES_3)
    for path in (OUT, IN):
        del services[VEBUS][path]
    rig = Rig(services)
    rig.measure()

    rig.change(VEBUS, {"/Ac/Out/L3/P": None})

    assert rig.measure().output_w is None


def test_a_poll_that_is_not_answered_is_lost_data():
    rig = Rig()
    wanted = rig.measuring.polled_paths(per_phase=False, now=0.0)

    measurement = rig.measuring.measure({key: 50 for key in wanted if key[1] != IN}, None, 0.0)

    assert measurement.output_w is None
    assert measurement.export_w == -50


def two_systems(**other):
    """A rig with a second system, which delivers 1500 W."""
    values = {"/Connected": 1, "/DeviceInstance": 1, OUT: 2000, IN: 500, **other}
    return Rig({**ess_site(), OTHER: values})


def test_several_systems_are_summed_and_one_is_controlled():
    measurement = two_systems().measure()

    assert (measurement.output_w, measurement.controlled_w) == (7450, 5950)


def test_without_systemcalc_the_lowest_instance_is_controlled():
    services = ess_site()
    services[OTHER] = {"/Connected": 1, "/DeviceInstance": 1, OUT: 2000, IN: 500}
    del services[SYSTEM]

    assert Rig(services).measure().controlled_w == 1500


def test_a_system_that_is_gone_is_missed_under_whatever_name_it_returns():
    rig = two_systems()
    gone = [rig.measure(float(now)).inverter_gone for now in range(15)]

    values = rig.services.pop(OTHER)
    rig.site.vanished(OTHER)
    away = rig.measure(15.0)
    rig.services[THIRD] = values
    rig.site.appeared(THIRD)
    rig.site.learned(THIRD, values)
    back = rig.measure(16.0)

    assert not any(gone)
    assert (away.inverter_gone, away.output_w, away.controlled_w) == (True, None, 5950)
    assert (back.inverter_gone, back.output_w) == (False, 7450)


def test_a_system_whose_unit_is_gone_is_missed():
    rig = two_systems()
    for now in range(15):
        rig.measure(float(now))

    rig.change(OTHER, {"/Connected": 0})

    assert rig.measure(15.0).inverter_gone


def test_an_inverter_that_has_come_back_without_its_power_has_no_output():
    """Its first figure is that of another owner: it was not left out, it does not tell."""
    rig = Rig()
    before = rig.measure()
    rig.site.vanished(VEBUS)
    rig.site.appeared(VEBUS)
    rig.site.learned(VEBUS, {"/Connected": 1, INPUT: 0})

    assert (before.output_w, rig.measure(1.0).output_w) == (5950, None)


def test_an_inverter_that_was_away_when_the_poll_was_sent_has_no_output():
    rig = Rig()
    rig.measure()
    rig.site.vanished(VEBUS)
    rig.measuring.polled_paths(False, 1.0)
    rig.site.appeared(VEBUS)
    rig.site.learned(VEBUS, rig.services[VEBUS])

    assert rig.measuring.measure({}, None, 1.5).output_w is None


def test_a_system_that_is_there_under_two_names_for_some_seconds_is_one():
    rig = Rig()
    for now in range(20):
        rig.measure(float(now))
    rig.services[THIRD] = dict(rig.services[VEBUS])
    rig.site.appeared(THIRD)
    rig.site.learned(THIRD, rig.services[THIRD])
    for now in range(20, 29):
        rig.measure(float(now))

    rig.site.vanished(VEBUS)

    assert not any(rig.measure(float(now)).inverter_gone for now in range(29, 60))


# --- the main system: the one with ESS of two; without `OTHER`'s own


def main_of(rig, *gone, main=None):
    """The main inverter once services are gone and systemcalc has made its choice."""
    for name in gone:
        rig.site.vanished(name)
    if main:
        rig.site.learned(SYSTEM, {"/VebusService": main})
    return rig.site.main_inverter()


def test_while_the_main_system_with_ess_is_away_none_without_takes_its_place():
    rig = two_systems()
    first = main_of(rig)
    away = main_of(rig, VEBUS, main=OTHER)
    lost = rig.measure()
    rig.site.appeared(THIRD)
    unknown = rig.site.main_inverter()
    rig.site.learned(THIRD, rig.services[VEBUS])

    assert (first, away) == (VEBUS, None)
    assert lost.controlled_w is None
    assert unknown is None
    assert main_of(rig, main=THIRD) == THIRD


def test_another_system_with_ess_may_become_the_main_one():
    rig = two_systems(**{"/Hub4/AssistantId": 5})
    main_of(rig)

    assert main_of(rig, VEBUS, main=OTHER) == OTHER


def test_a_main_system_that_loses_its_assistant_stays_the_main_one():
    rig = two_systems()
    main_of(rig)

    rig.change(VEBUS, {"/Hub4/AssistantId": 0})

    assert main_of(rig, main=OTHER) == VEBUS


def test_without_any_ess_the_main_system_is_systemcalcs_choice():
    rig = two_systems()
    rig.change(VEBUS, {"/Hub4/AssistantId": 0})
    main_of(rig)

    assert main_of(rig, main=OTHER) == OTHER


def test_while_systemcalc_makes_no_choice_the_main_system_with_ess_stays():
    rig = two_systems()
    main_of(rig)

    assert main_of(rig, SYSTEM) == VEBUS  # the other one has the lower instance


def test_which_one_is_the_first_follows_the_bus():
    site = Site()
    site.appeared(VEBUS)
    before = site.main_inverter()
    site.appeared(OTHER)
    site.learned(OTHER, {"/DeviceInstance": 1})
    site.learned(VEBUS, {"/DeviceInstance": 2})
    both = site.main_inverter()
    site.vanished(OTHER)

    assert (before, both, site.main_inverter()) == (VEBUS, OTHER, VEBUS)


@pytest.mark.parametrize(
    ("services", "export_w"),
    [
        pytest.param(ess_site(), -50, id="by the meter"),
        pytest.param(with_values(METER, **{"/Ac/Power": -700.0}), 700, id="feeding in"),
        pytest.param(without("/Ac/Power", name=METER), -50, id="by the meter's phases"),
        pytest.param(with_values(METER, **{"/Ac/Power": None}), None, id="no value"),
        pytest.param(with_values(METER, **{"/Connected": 0}), None, id="not connected"),
        pytest.param({k: v for k, v in ess_site().items() if k != METER}, -50, id="by the input"),
    ],
)
def test_the_export(services, export_w):
    assert Rig(services).measure().export_w == export_w


def test_without_grid_and_meter_nothing_is_exported():
    services = with_values(**{INPUT: 240, IN: None})
    del services[METER]

    assert Rig(services).measure().export_w == 0


def test_a_meter_that_vanished_is_not_replaced_by_the_input():
    rig = Rig()
    rig.measure()

    rig.site.vanished(METER)
    del rig.services[METER]

    assert rig.measure().export_w is None


@pytest.mark.parametrize(
    ("without_meter", "export_w"),
    [
        pytest.param(0, None, id="ESS is set to an external meter"),
        pytest.param(1, -50, id="ESS is set to the inverter's own measurement"),
        pytest.param(None, -50, id="not known"),
    ],
)
@pytest.mark.parametrize("active_input", [0, 240])
def test_a_meter_that_ess_is_set_to_is_not_replaced_by_the_input(
    without_meter, export_w, active_input
):
    services = with_values(**PHASES_1, **{INPUT: active_input})
    services[SETTINGS]["/Settings/CGwacs/RunWithoutGridMeter"] = without_meter
    del services[METER]

    measurement = Rig(services).measure(per_phase=True)

    no_grid_w = None if export_w is None else 0
    assert measurement.export_w == (export_w if active_input == 0 else no_grid_w)
    assert measurement.phase_exports_w == (() if export_w is None else (-50,))


def test_settings_that_are_away_for_a_while_are_remembered():
    services = ess_site()
    services[SETTINGS]["/Settings/CGwacs/RunWithoutGridMeter"] = 0
    del services[METER]
    rig = Rig(services)
    rig.measure()

    rig.site.vanished(SETTINGS)

    assert rig.measure().export_w is None


def test_phases_are_measured_where_they_count():
    services = with_values(**PHASES_3)
    services[METER].update({"/Ac/L1/Power": 1.0, "/Ac/L2/Power": -2.0, "/Ac/L3/Power": 3.0})

    measurement = Rig(services).measure(per_phase=True)

    assert measurement.phase_outputs_w == (2700, 1980, 1100)
    assert measurement.phase_exports_w == (-1, 2, -3)
    assert measurement.output_w == 5780


def test_a_phase_that_draws_nothing_feeds_nothing_in():
    """Minus zero would be told as -0 W."""
    services = with_values(**PHASES_1)
    services[METER].update({"/Ac/L1/Power": 0.0})

    assert str(Rig(services).measure(per_phase=True).phase_exports_w) == "(0.0,)"


@pytest.mark.parametrize(
    ("systems", "export_limited", "per_phase", "calls"),
    [
        pytest.param(1, True, False, 3, id="totals"),
        pytest.param(2, True, False, 5, id="totals of two systems"),
        pytest.param(1, True, True, 9, id="every phase"),
        pytest.param(2, False, True, 9, id="phases of ours, totals of the other and the meter"),
        pytest.param(2, True, True, 11, id="phases of ours and the meter, totals of the other"),
    ],
)
def test_what_counts_is_read_and_nothing_else(systems, export_limited, per_phase, calls):
    services = with_values(**PHASES_3)
    services[METER].update({f"/Ac/L{n}/Power": 1.0 for n in (1, 2, 3)})
    if systems == 2:
        services[OTHER] = dict(services[VEBUS])

    assert len(Rig(services, export_limited).measuring.polled_paths(per_phase, 0.0)) == calls


class PhasesRig(Rig):
    """Every phase of ours and of the meter is polled, and a second system each few seconds."""

    def __init__(self, **other):
        services = with_values(**PHASES_3)
        services[METER].update({f"/Ac/L{n}/Power": 1.0 for n in (1, 2, 3)})
        services[OTHER] = {"/Connected": 1, "/DeviceInstance": 1, **(other or {OUT: 2000, IN: 500})}
        super().__init__(services)
        self.polled = []

    def measure(self, now=0.0, cap_w=None, per_phase=True):
        measurement = super().measure(now, cap_w, per_phase)
        self.polled.append(sum(name == OTHER for name, _ in self.wanted))
        return measurement


def others_w(rig, seconds):
    """What the second system delivers, second by second."""
    return [rig.measure(float(second)).other_w for second in seconds]


@pytest.mark.parametrize(
    ("other", "paths", "each_s"),
    [
        pytest.param({}, 2, 3, id="a total"),
        pytest.param({OUT: None, IN: 500}, 2, 1, id="a total without a value"),
        pytest.param(PHASES_3, 6, 8, id="phases only"),
    ],
)
def test_a_second_system_is_polled_in_turns_where_phases_are(other, paths, each_s):
    rig = PhasesRig(**other)

    others_w(rig, range(17))

    assert rig.polled == [paths if second % each_s == 0 else 0 for second in range(17)]


def test_with_many_systems_a_turn_is_no_longer_than_eight_seconds():
    """Two equal figures from more than 14 s apart would look frozen."""
    rig = PhasesRig(**PHASES_3)
    rig.services[THIRD] = dict(rig.services[OTHER])
    rig.site.appeared(THIRD)
    rig.site.learned(THIRD, rig.services[THIRD])

    others_w(rig, range(17))

    assert [second for second, paths in enumerate(rig.polled) if paths] == [0, 8, 16]


def test_what_a_second_system_delivered_stands_until_its_next_turn():
    rig = PhasesRig()

    before = others_w(rig, range(2))
    rig.change(OTHER, {OUT: 3000, IN: 0})

    assert before == [1500, 1500]
    assert others_w(rig, range(2, 5)) == [1500, 3000, 3000]


def test_a_longer_interval_leaves_out_no_turn():
    rig = PhasesRig()

    others_w(rig, range(0, 30, 3))

    assert rig.polled == [2] * 10


@pytest.mark.parametrize("path", [OUT, IN])
def test_a_second_system_that_does_not_answer_is_lost_data_at_once(path):
    rig = PhasesRig()
    others_w(rig, range(3))

    answer = rig.services[OTHER].pop(path)
    without_it = others_w(rig, range(3, 5))
    rig.services[OTHER][path] = answer

    assert without_it == [None, None]  # it is asked again at the next tick
    assert others_w(rig, range(5, 7)) == [1500, 1500]
    assert rig.polled == [2, 0, 0, 2, 2, 2, 0]


def test_a_second_system_that_vanishes_between_its_turns_is_gone_at_once():
    rig = PhasesRig()
    others_w(rig, range(16))

    rig.site.vanished(OTHER)
    away = rig.measure(16.0)
    rig.site.appeared(OTHER)
    rig.site.learned(OTHER, rig.services[OTHER])
    rig.change(OTHER, {OUT: 4000})

    assert rig.polled[15] == 2
    assert (away.inverter_gone, away.output_w) == (True, None)
    assert others_w(rig, [17]) == [3500]


def test_a_pv_inverter_that_leaves_the_bus_at_night_is_remembered():
    rig = Rig({**ess_site(), PV: {"/Connected": 1}})
    before = rig.measure().pv_inverter

    rig.site.vanished(PV)

    assert (before, rig.measure().pv_inverter) == (True, True)
    assert not Rig().measure().pv_inverter


def test_a_second_system_without_a_figure_is_lost_data():
    """Counted as nothing it would leave to ours what it delivers itself."""
    rig = two_systems()

    rig.change(OTHER, {OUT: None})

    assert rig.measure()[:2] == (None, 5950)


# --- figures that stand still: polled each second


def frozen_after(rig, seconds, at=lambda second: None, cap_w=lambda second: None):
    """The first second at which something is frozen, and what."""
    for second in range(seconds):
        at(second)
        found = rig.measure(float(second), cap_w(second)).frozen
        if found:
            return second, found
    return None


def other_loads(rig):
    """Let the meter move by what the inverter has no part in."""
    return lambda second: rig.change(METER, {"/Ac/Power": 50.0 + 60 * second})


def test_a_site_where_nothing_moves_is_not_frozen():
    assert frozen_after(Rig(), 100) is None


def test_an_inverter_that_stands_still_while_the_meter_moves_is_frozen():
    rig = Rig()

    def move(second):
        rig.change(METER, {"/Ac/Power": 50.0 + 60 * (second >= 5)})

    # Its values are those of second 0; judged from 14 s on, so that the cap falls within 15.
    assert frozen_after(rig, 60, move) == (14, ("output",))


def test_without_an_export_limit_that_is_not_judged_before_90_s():
    rig = Rig(export_limited=False)

    # Older units tell a constant output anew after up to 58 s.
    assert frozen_after(rig, 100, other_loads(rig)) == (90, ("output",))


@pytest.mark.parametrize(
    ("out_w", "in_w", "found"),
    [
        pytest.param(0, 0, None, id="off"),
        pytest.param(3794, 3799, None, id="passed through"),
        pytest.param(27, 0, None, id="noise of an idle one"),
        pytest.param(0, 51, (14, ("output",)), id="charging"),
        pytest.param(51, 0, (14, ("output",)), id="delivering"),
    ],
)
def test_an_idle_inverter_stands_still_rightly(out_w, in_w, found):
    rig = Rig(with_values(**{OUT: out_w, IN: in_w}))

    assert frozen_after(rig, 300, other_loads(rig)) == found


@pytest.mark.parametrize(("out_w", "found"), [(2000, (14, ("others",))), (500, None)])
def test_a_second_system_that_stands_still_is_frozen_unless_idle(out_w, found):
    rig = two_systems(**{OUT: out_w})

    def move(second):
        other_loads(rig)(second)
        rig.change(VEBUS, {OUT: 6000 + second})

    assert frozen_after(rig, 100, move) == found


def in_turns(rig, moved):
    """Every second the meter moves, and now and then the second system does."""

    def move(second):
        rig.change(METER, {f"/Ac/L{n}/Power": 20.0 * second for n in (1, 2, 3)})
        rig.change(VEBUS, {"/Ac/Out/L1/P": 3000 + second})
        rig.change(OTHER, {OUT: 2000 + moved(second)})

    return move


def test_a_second_system_that_is_polled_in_turns_is_frozen_until_it_moves():
    rig = PhasesRig()
    move = in_turns(rig, lambda second: second >= 31)
    frozen = []

    for second in range(40):
        move(second)
        frozen.append(rig.measure(float(second)).frozen)

    assert frozen == [()] * 15 + [("others",)] * 18 + [()] * 7


def test_a_second_system_that_moves_within_14_s_is_not_frozen_between_its_turns():
    rig = PhasesRig()

    assert frozen_after(rig, 200, in_turns(rig, lambda second: second // 13)) is None


def test_what_moved_before_a_change_is_no_sign_of_what_stands_still_after_it():
    rig = Rig()

    def move(second):
        rig.change(METER, {"/Ac/Power": 50.0 + 100 * (second >= 5)})
        rig.change(VEBUS, {OUT: 6000 + 10 * (second >= 10)})

    assert frozen_after(rig, 120, move) is None


def test_the_cap_of_ours_tells_nothing_of_a_second_system():
    rig = two_systems()

    def move(second):
        rig.change(METER, {"/Ac/Power": 50.0 + second % 2})
        rig.change(VEBUS, {OUT: 6000 + second % 2})

    assert frozen_after(rig, 60, move, lambda second: 6000 - 10 * second) is None


def test_a_meter_that_stands_still_while_the_inverter_moves_is_frozen():
    rig = Rig()

    def move(second):
        rig.change(VEBUS, {OUT: 6000 + second * 10})

    assert frozen_after(rig, 60, move) == (14, ("export",))


def test_a_small_move_of_the_other_is_no_sign():
    rig = Rig()

    def move(second):
        rig.change(METER, {"/Ac/Power": 50.0 + second % 50})

    assert frozen_after(rig, 60, move) is None


@pytest.mark.parametrize("export_limited", [False, True])
def test_an_inverter_that_ignores_a_binding_cap_is_frozen(export_limited):
    rig = Rig(export_limited=export_limited)

    assert frozen_after(rig, 60, cap_w=lambda second: 6000 - 10 * second) == (
        21,
        ("output", "export"),
    )


def test_one_changed_value_is_life():
    rig = Rig()

    def move(second):
        other_loads(rig)(second)
        rig.change(VEBUS, {IN: 50 + (second // 10) % 2})

    assert frozen_after(rig, 60, move) is None
