"""The law: its invariants under any measurements, and that it settles where it should."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from export_limiter.config import Config
from export_limiter.limiter import FAILSAFE, MONITORING, STARTING, Limiter
from export_limiter.limits import Actuator, Measurement
from gx.inverter import InverterSpec, Response
from gx.plant import Plant, PlantSpec
from hypothesis import given, settings
from hypothesis import strategies as st

SLACK_W = 1e-6


class Write(NamedTuple):
    """One change of the cap, and what the law knew when it asked for it."""

    at: float
    before_w: float | None
    after_w: float
    highest_w: float | None  # highest usable output of the last 5 s
    fresh: bool


watts = st.floats(-50_000, 100_000)
maybe_watts = st.none() | watts


@st.composite
def configs(draw):
    output_w = draw(st.none() | st.floats(2_000, 60_000))
    export_w = draw(st.floats(0, 30_000) if output_w is None else st.none() | st.floats(0, 30_000))
    step_w = draw(st.floats(1, 5_000))
    return Config(
        max_multiplus_output_w=output_w,
        max_grid_export_w=export_w,
        phase_count=draw(st.sampled_from((1, 3))),
        per_phase=draw(st.sampled_from((False, True, "strict"))),
        min_output_limit_w=draw(st.floats(0, 2_000)),
        max_power_change_per_step_w=step_w,
        max_power_increase_per_step_w=draw(st.floats(1, step_w)) if step_w > 1 else 1,
        control_interval_s=draw(st.sampled_from((0.2, 1.0, 5.0))),
        gradual_adjustment=draw(st.sampled_from((True, True, True, False))),
        meter_delay_s=draw(st.sampled_from((0.0, 4.0))),
        measurement_skew_s=draw(st.sampled_from((0.0, 1.0, 5.0))),
        export_margin_w=draw(st.floats(0, 2_000)),
        relax_hold_s=draw(st.sampled_from((0.0, 2.0, 60.0))),
        data_hold_s=draw(st.sampled_from((1.0, 3.0, 4.0))),
        failsafe_limit_w=draw(st.none() | st.floats(0, 20_000)),
    )


@st.composite
def measurements(draw):
    output_w, export_w = draw(maybe_watts), draw(maybe_watts)
    phases = draw(st.just(()) | st.tuples(watts, watts, watts))
    other_w = draw(st.just(0.0) | st.floats(-5_000, 20_000))
    return Measurement(
        output_w=output_w,
        controlled_w=None if output_w is None else output_w - other_w,
        export_w=export_w,
        phase_outputs_w=phases,
        phase_exports_w=phases,
        nominal_w=draw(st.none() | st.floats(1_000, 60_000)),
        pv_inverter=draw(st.booleans()),
        assisting=draw(st.booleans()),
        frozen=draw(st.sampled_from(((), (), (), ("output",), ("others",), ("export",)))),
    )


@st.composite
def runs(draw):
    """A configuration, and ticks that come early, in time, late or after a long gap."""
    config = draw(configs())
    gaps = st.sampled_from((0.1, 0.5, 0.99, 1.0, 1.0, 1.0, 1.3, 30.0))
    ticks = draw(st.lists(st.tuples(gaps, measurements(), st.booleans()), max_size=40))
    return config, ticks


def play(config: Config, ticks, actuator: Actuator) -> list[Write]:
    limiter, now, writes = Limiter(config), 100.0, []
    outputs: list[tuple[float, float]] = []
    for gap, measurement, accepted in ticks:
        now += gap * config.control_interval_s
        usable = measurement.controlled_w is not None and "output" not in measurement.frozen
        others_ok = config.max_multiplus_output_w is None or "others" not in measurement.frozen
        if usable:
            outputs.append((now, measurement.controlled_w))
        export_ok = config.max_grid_export_w is None or (
            measurement.export_w is not None and "export" not in measurement.frozen
        )
        recent = [w for at, w in outputs if now - at <= 5.1]
        before_w = limiter.cap_w
        cap_w = limiter.decide(measurement, now, actuator).cap_w
        if cap_w is not None and cap_w != before_w and accepted:
            highest_w = max(recent) if recent else None
            writes.append(
                Write(now, before_w, cap_w, highest_w, usable and others_ok and export_ok)
            )
            limiter.wrote(cap_w, now)
    return writes


def binding_part_w(write: Write) -> float:
    """How much of a decrease lies below the output, where a cap holds something down."""
    assert write.before_w is not None
    from_w = write.before_w if write.highest_w is None else min(write.before_w, write.highest_w)
    return max(0.0, from_w - write.after_w)


actuators = st.builds(
    Actuator,
    stored=st.booleans(),
    per_phase=st.booleans(),
    writes_left=st.sampled_from((0, 1, 2, 24)),
    acting=st.booleans(),
)


def largest_fall_w(config: Config, actuator: Actuator) -> float:
    """The step; where steps are off, or the last write to flash is left, all the way."""
    last_write = actuator.stored and actuator.writes_left <= 1
    every_way = last_write or not config.gradual_adjustment
    return math.inf if every_way else config.max_power_change_per_step_w


def largest_rise_w(config: Config, actuator: Actuator) -> float:
    """The step up; to flash an increase is one write."""
    if actuator.stored or not config.gradual_adjustment:
        return math.inf
    return config.max_power_increase_per_step_w


@given(runs(), actuators)
@settings(max_examples=300, deadline=None)
def test_no_change_that_binds_is_larger_than_the_step(run, actuator):
    config, ticks = run

    for write in play(config, ticks, actuator):
        if write.before_w is not None:
            assert binding_part_w(write) <= largest_fall_w(config, actuator) + SLACK_W
            rise_w = write.after_w - write.before_w
            assert rise_w <= largest_rise_w(config, actuator) + SLACK_W


@given(runs(), actuators)
@settings(max_examples=300, deadline=None)
def test_never_two_steps_within_one_interval(run, actuator):
    config, ticks = run
    writes = [w for w in play(config, ticks, actuator) if w.before_w is not None]

    for earlier, later in pairwise(writes):
        share = min(1.0, (later.at - earlier.at) / config.control_interval_s)
        assert binding_part_w(later) <= share * largest_fall_w(config, actuator) + SLACK_W


@given(runs(), actuators)
@settings(max_examples=300, deadline=None)
def test_the_first_cap_never_binds_more_than_the_output_of_that_moment(run, actuator):
    config, ticks = run

    for write in play(config, ticks, actuator):
        if write.before_w is None:
            assert write.highest_w is not None
            assert write.after_w >= write.highest_w - SLACK_W or not config.gradual_adjustment


@given(runs(), actuators)
@settings(max_examples=300, deadline=None)
def test_nothing_relaxes_on_missing_or_frozen_data(run, actuator):
    config, ticks = run

    for write in play(config, ticks, actuator):
        if write.before_w is not None and write.after_w > write.before_w:
            assert write.fresh


@given(runs(), actuators)
@settings(max_examples=300, deadline=None)
def test_the_cap_stays_within_its_range(run, actuator):
    config, ticks = run
    ceiling_w = config.max_multiplus_output_w or 1_000_000

    for write in play(config, ticks, actuator):
        assert write.after_w >= min(ceiling_w, max(1.0, config.min_output_limit_w)) - SLACK_W
        # Above the range only where the walk down from a higher output leads through.
        assert write.after_w <= max(ceiling_w, write.before_w or 0, write.highest_w or 0) + SLACK_W


@given(st.lists(st.floats(0.1, 3.0), min_size=1, max_size=29))
def test_before_the_first_output_there_is_no_cap(gaps):
    limiter, now = Limiter(Config()), 0.0

    for gap in gaps:
        now += gap
        decision = limiter.decide(Measurement(None, None), now)
        assert (decision.cap_w, decision.state) == (None, STARTING)


def test_a_refused_write_is_asked_for_again_from_where_the_cap_really_is():
    limiter = Limiter(Config(max_multiplus_output_w=10_000.0))
    limiter.adopt(12_000.0)
    measurement = Measurement(11_900.0, 11_900.0)

    first = limiter.decide(measurement, 1.0)
    second = limiter.decide(measurement, 2.0)

    assert first.cap_w == second.cap_w == 11_000.0


def test_an_output_limit_waits_for_no_meter():
    limiter = Limiter(Config(max_multiplus_output_w=9_000.0, max_grid_export_w=2_000.0))
    caps_w, states = [], []

    for second in range(40):
        decision = limiter.decide(Measurement(9_500.0, 9_500.0), float(second))
        limiter.wrote(decision.cap_w, float(second))
        caps_w.append(decision.cap_w)
        states.append(decision.state)

    assert caps_w[:4] == [9_500, 9_000, 9_000, 9_000]
    assert states[:30] == [STARTING] * 30  # so long the meter may still come
    assert (states[-1], caps_w[-1]) == ("failsafe", 2_000)


def test_three_fresh_measurements_end_the_failsafe():
    config = Config(max_multiplus_output_w=None, max_grid_export_w=2_000.0)
    limiter, good = Limiter(config), Measurement(500.0, 500.0, 0.0)
    limiter.adopt(4_000.0)
    limiter.decide(good, 0.0)
    for now in (1.0, 2.0, 3.0, 4.0):
        lost = limiter.decide(good._replace(export_w=None), now)

    states = [limiter.decide(good, now).state for now in (5.0, 6.0, 7.0)]

    assert lost.state == FAILSAFE
    assert states[:2] == [FAILSAFE, FAILSAFE]
    assert states[2] != FAILSAFE


def test_a_jump_of_the_wall_clock_is_none_of_the_laws_business():
    """Only the given monotonic time counts: the same ticks from another origin decide the same."""
    ticks = [(1.0, Measurement(9_000.0 + i, 9_000.0 + i, 5_000.0 + i), True) for i in range(20)]
    config = Config(max_multiplus_output_w=None, max_grid_export_w=3_000.0)

    caps = []
    for origin in (0.0, 1e9):
        limiter = Limiter(config)
        now, seen = origin, []
        for gap, measurement, _ in ticks:
            now += gap
            cap_w = limiter.decide(measurement, now).cap_w
            limiter.wrote(cap_w, now)
            seen.append(round(cap_w))
        caps.append(seen)

    assert caps[0] == caps[1]


@given(
    lag_s=st.sampled_from((0.25, 1.0, 2.5, 5.0)),
    gain=st.sampled_from((0.95, 1.0, 1.03)),
    loop_s=st.sampled_from((None, 2.4)),
    drop_w=st.floats(500, 5_500),
)
@settings(max_examples=25, deadline=None)
def test_an_export_limit_settles_below_itself_and_stays_there(lag_s, gain, loop_s, drop_w):
    limit_w, load_w = 6_000.0, 6_000.0
    plant = Plant(
        PlantSpec(
            inverters=(InverterSpec(phases=1, units=1, nominal_w=12_000.0),),
            response=Response(gain=gain),
            loop_s=loop_s,
            meter_lag_s=lag_s,
            meter_interval_s=0.0,
            vebus_lag_s=1.0,
            vebus_interval_s=0.0,
        )
    )
    plant.feed_in, plant.charge_w, plant.pv_dc_w = True, 0.0, 12_000.0
    plant.load_in_w["L1"] = load_w
    plant.settle()
    limiter = Limiter(Config(max_multiplus_output_w=None, max_grid_export_w=limit_w))

    exports, caps = [], []
    for second in range(300):
        if second == 60:
            plant.load_in_w["L1"] = load_w - drop_w
        for _ in range(10):
            plant.step(0.1)
        vebus = plant.vebus["ttyS4"]
        output_w = sum(vebus.out_w.values()) - sum(vebus.in_w.values())
        export_w = -sum(plant.meter.phases_w.values())
        decision = limiter.decide(
            Measurement(output_w, output_w, export_w, nominal_w=12_000.0), float(second)
        )
        limiter.wrote(decision.cap_w, float(second))
        plant.cap_w = limiter.cap_w
        exports.append(plant.truth().export_w)
        caps.append(limiter.cap_w)

    assert max(exports[240:]) <= limit_w + 20
    assert min(exports[240:]) >= limit_w - 350  # 2 x margin, and the coarsest settling seen
    assert max(caps[240:]) - min(caps[240:]) <= 200


def test_an_output_limit_is_armed_before_it_is_needed():
    limiter = Limiter(Config(max_multiplus_output_w=5_000.0))

    decision = limiter.decide(Measurement(2_000.0, 2_000.0), 0.0)

    assert (decision.cap_w, decision.state) == (5_000.0, MONITORING)


def test_a_share_that_is_no_whole_number_is_walked_down_to_and_held():
    limiter = Limiter(Config(max_multiplus_output_w=5000.0, per_phase="strict"))

    for second in range(20):
        output_w = min(6000.0, limiter.cap_w or math.inf)
        decision = limiter.decide(Measurement(output_w, output_w), float(second))
        limiter.wrote(float(round(decision.cap_w)), float(second))  # as it is written

    assert limiter.cap_w == 1666
    assert decision.reason == "output is held at the cap"
