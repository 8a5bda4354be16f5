"""The simulated plant behaves like the site it stands for."""

import math

import pytest
from gx.inverter import InverterSpec, Response, split
from gx.plant import EXTERNAL, KEEP_CHARGED, PASSTHROUGH, Plant, PlantSpec

DT_S = 0.1
CABIN = InverterSpec(name="ttyS4", phases=1, units=1, nominal_w=8000)
AT_ONCE = Response(dead_time_s=0, lag_s=0)


def a_plant(load_w=6000.0, inverter=CABIN, settled=True, **spec):
    spec.setdefault("loop_s", None)
    plant = Plant(PlantSpec(inverters=(inverter,), **spec))
    set_load(plant, load_w)
    if settled:
        plant.settle()
    return plant


def set_load(plant, load_w):
    for phase in plant.main.phases:
        plant.main.load_w[phase] = load_w / len(plant.main.phases)


def outputs(plant, seconds):
    """Real output after each step of the next seconds, W."""
    found = []
    for _ in range(round(seconds / DT_S)):
        plant.step(DT_S)
        found.append(plant.truth().output_w)
    return found


def test_ess_brings_the_grid_to_its_setpoint():
    plant = a_plant(load_w=6000)

    assert plant.truth().grid_w == pytest.approx(50)
    assert plant.truth().output_w == pytest.approx(5950)


def test_a_cap_acts_after_the_dead_time_and_with_the_lag():
    plant = a_plant(load_w=6000)

    plant.cap_w = 2000
    output = outputs(plant, 6)

    assert output[:9] == pytest.approx([5950] * 9)
    after_one_lag = output[10 + 6]
    assert after_one_lag == pytest.approx(2000 + 3950 / math.e, rel=0.12)
    assert output[-1] == pytest.approx(2000, abs=5)


def test_each_unit_moves_no_faster_than_its_slew():
    inverter = InverterSpec(phases=3, units=3, nominal_w=8000)
    plant = a_plant(18000, inverter, response=Response(slew_w_per_s=400), settled=False)

    output = outputs(plant, 20)

    steps = [later - earlier for earlier, later in zip(output, output[1:], strict=False)]
    assert max(steps) == pytest.approx(3 * 400 * DT_S)
    assert output[-1] == pytest.approx(17950, abs=50)


def test_the_inner_loop_halves_the_distance_each_2_4_s():
    plant = a_plant(8000, response=AT_ONCE, loop_s=2.4)

    plant.cap_w = 4000
    output = outputs(plant, 12)

    levels = sorted({round(w) for w in output}, reverse=True)
    distances = [w - 4000 for w in levels if w > 4010]
    ratios = [later / earlier for earlier, later in zip(distances, distances[1:], strict=False)]
    assert ratios == pytest.approx([0.5] * len(ratios), abs=0.01)
    assert len(ratios) >= 4


@pytest.mark.parametrize("gain", [0.95, 1.0, 1.03])
def test_the_cap_is_honoured_within_the_gain_error(gain):
    plant = a_plant(6000, response=Response(gain=gain, offset_w=5))

    plant.cap_w = 3000
    plant.settle()

    assert plant.truth().output_w == pytest.approx(3000 * gain + 5, abs=1)


def test_the_grid_serves_what_the_cap_keeps_from_the_load():
    plant = a_plant(6000)

    plant.cap_w = 2000
    plant.settle()

    reading = plant.vebus["ttyS4"]
    assert reading.out_w["L1"] == 6000
    assert reading.in_w["L1"] == pytest.approx(4000)
    assert plant.truth().grid_w == pytest.approx(4000)


def test_a_passed_through_load_is_no_inverter_output():
    plant = a_plant(3800)

    plant.control = PASSTHROUGH
    plant.settle()

    assert plant.truth().output_w == pytest.approx(0, abs=1)
    assert plant.vebus["ttyS4"].out_w["L1"] == 3800
    assert plant.vebus["ttyS4"].in_w["L1"] == pytest.approx(3800, abs=1)


def test_external_control_ignores_the_cap():
    plant = a_plant(6000)

    plant.control = EXTERNAL
    plant.cap_w = 1000
    plant.settle()

    assert plant.truth().output_w == pytest.approx(5950)


def test_a_battery_kept_charged_gives_only_pv():
    plant = a_plant(6000)

    plant.control = KEEP_CHARGED
    plant.pv_dc_w = 1500
    plant.settle()

    assert plant.truth().output_w == pytest.approx(1500)


def test_an_island_carries_its_load_whatever_the_cap():
    plant = a_plant(6000)
    plant.cap_w = 1000

    plant.grid_on = False
    plant.step(DT_S)

    assert plant.truth().output_w == 6000
    assert plant.truth().grid_w == 0


def test_nominal_power_bounds_the_output():
    plant = a_plant(20000)

    assert plant.truth().output_w == pytest.approx(8000)


def test_dc_pv_is_fed_in_when_battery_and_loads_are_full():
    plant = a_plant(1000)

    plant.pv_dc_w, plant.charge_w, plant.feed_in = 7000, 0, True
    plant.settle()

    assert plant.truth().output_w == pytest.approx(7000)
    assert plant.truth().export_w == pytest.approx(6000)


def test_dc_pv_is_throttled_where_it_may_not_be_fed_in():
    plant = a_plant(1000)

    plant.pv_dc_w, plant.charge_w = 7000, 0
    plant.settle()

    assert plant.truth().output_w == pytest.approx(950)
    assert plant.truth().pv_dc_used_w == pytest.approx(950)


def test_export_grows_when_the_load_drops_and_shrinks_with_the_cap():
    plant = a_plant(6000)
    plant.pv_dc_w, plant.charge_w, plant.feed_in = 8000, 0, True
    plant.settle()

    set_load(plant, 1000)
    plant.step(DT_S)
    grown_w = plant.truth().export_w
    plant.cap_w = 2500
    plant.settle()

    assert grown_w == pytest.approx(7000)
    assert plant.truth().export_w == pytest.approx(1500)


def test_ac_pv_on_the_output_makes_its_power_negative():
    plant = a_plant(1000)

    plant.main.pv_w["L1"] = 3000
    plant.settle()

    assert plant.vebus["ttyS4"].out_w["L1"] == -2000
    assert plant.truth().output_w == pytest.approx(-2050)


def test_ac_pv_on_the_input_replaces_inverter_output():
    plant = a_plant(6000)

    plant.pv_in_w["L1"] = 2000
    plant.settle()

    assert plant.truth().output_w == pytest.approx(3950)


def test_power_assist_exceeds_the_cap_to_keep_the_input_current():
    plant = a_plant(6000)

    plant.cap_w = 1000
    plant.main.input_limit_a = 10
    plant.settle()

    assert plant.vebus["ttyS4"].assisting
    assert plant.vebus["ttyS4"].in_w["L1"] == pytest.approx(2300)
    assert plant.truth().output_w == pytest.approx(3700)


def test_an_inverter_that_holds_its_input_carries_a_load_step_for_a_while():
    plant = a_plant(2000, response=Response(holds_input=True), loop_s=2.4)
    plant.cap_w = 3000
    plant.settle()

    set_load(plant, 6000)
    output = outputs(plant, 20)

    assert max(output) > 5900
    assert output[-1] == pytest.approx(3000, abs=50)


def test_a_load_step_stays_below_the_cap_otherwise():
    plant = a_plant(2000, loop_s=2.4)
    plant.cap_w = 3000
    plant.settle()

    set_load(plant, 6000)

    assert max(outputs(plant, 20)) <= 3000


def test_an_inverter_without_ess_obeys_its_own_limits():
    spec = InverterSpec(phases=3, units=3, nominal_w=5000, ess=False)
    plant = Plant(PlantSpec(inverters=(spec,)))
    inverter = plant.inverters["ttyS4"]
    inverter.load_w.update(L1=3000, L2=3000, L3=3000)
    inverter.own_output_w = 9000

    inverter.phase_limit_w["L2"] = 1000
    plant.settle()
    by_phase_w = plant.truth().output_w
    inverter.limit_w = 1500
    plant.settle()

    assert by_phase_w == pytest.approx(7000)
    assert plant.truth().output_w == pytest.approx(1500)


def test_two_inverters_add_up_and_ess_steers_only_the_first():
    plant = Plant(PlantSpec(inverters=(CABIN, CABIN._replace(name="ttyUSB0", ess=False))))
    plant.inverters["ttyS4"].load_w["L1"] = 4000
    plant.inverters["ttyUSB0"].load_w["L1"] = 2000
    plant.inverters["ttyUSB0"].own_output_w = 1500

    plant.cap_w = 3000
    plant.settle(60)

    assert plant.truth().output_w == pytest.approx(4500, abs=2)
    assert plant.truth().grid_w == pytest.approx(1500, abs=2)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("proportional", {"L1": 3000, "L2": 2000, "L3": 1000}),
        ("equal_cut", {"L1": 4000, "L2": 2000, "L3": 0}),
        ("equal_share", {"L1": 2000, "L2": 2000, "L3": 2000}),
    ],
)
def test_a_bounded_total_is_split_over_the_phases(how, expected):
    assert split(6000, {"L1": 6000, "L2": 4000, "L3": 2000}, how) == pytest.approx(expected)


@pytest.mark.parametrize("how", ["proportional", "equal_cut", "equal_share"])
@pytest.mark.parametrize("total_w", [-3000, 0, 1, 500, 2000, 2500, 9000])
@pytest.mark.parametrize("loads", [(6000, 4000, 2000), (0, 0, 0), (-2500, 3000, 2000), (0, 0, 9)])
def test_a_split_sums_to_its_total(how, total_w, loads):
    parts = split(total_w, dict(zip(("L1", "L2", "L3"), loads, strict=True)), how)

    assert sum(parts.values()) == pytest.approx(total_w)


def test_phases_sum_to_the_totals():
    plant = a_plant(18000, InverterSpec(phases=3, units=3, nominal_w=8000))
    plant.main.load_w.update(L1=9000, L2=5000, L3=4000)

    plant.cap_w = 10000
    plant.settle()

    truth = plant.truth()
    assert sum(truth.output_phases_w.values()) == pytest.approx(truth.output_w)
    assert sum(plant.meter.phases_w.values()) == pytest.approx(truth.grid_w)
    assert truth.load_w == pytest.approx(truth.output_w + truth.grid_w)


def test_the_meter_shows_the_past():
    plant = a_plant(6000, meter_lag_s=2.0, meter_interval_s=0)

    set_load(plant, 8000)
    plant.step(DT_S)
    now_w = plant.meter.phases_w["L1"]
    age_s = plant.t_s - plant.meter.measured_at_s
    plant.settle(1.9)
    shown_w = plant.meter.phases_w["L1"]
    plant.step(DT_S)

    assert (now_w, shown_w) == pytest.approx((50, 50))
    assert plant.meter.phases_w["L1"] == pytest.approx(2050)
    assert age_s == pytest.approx(2.0)


def test_readings_are_held_for_their_interval():
    plant = a_plant(6000, meter_lag_s=0, meter_interval_s=1.0, vebus_lag_s=0, vebus_interval_s=2.0)
    meter, vebus = set(), set()

    for _ in range(80):
        plant.step(DT_S)
        meter.add(plant.meter.measured_at_s)
        vebus.add(plant.vebus["ttyS4"].measured_at_s)

    assert 8 <= len(meter) <= 9
    assert 4 <= len(vebus) <= 5


def test_the_same_seed_gives_the_same_noise():
    def readings(seed):
        plant = a_plant(6000, meter_noise=0.01, meter_noise_w=5, meter_interval_s=0, seed=seed)
        return [plant.meter.phases_w["L1"] for _ in outputs(plant, 2)]

    assert readings(1) == readings(1)
    assert readings(1) != readings(2)
