"""The agent's history: whatever clocks and restarts do, time is counted once."""

import json
from itertools import pairwise

import pytest
from export_limiter.history import DAY_FIELDS, DAY_S, History
from export_limiter.tally import STATES
from hypothesis import given
from hypothesis import strategies as st
from told import BOOT, LIMIT_W, NOON, Told, reading, restarted


def test_an_excursion_goes_on_through_a_quick_restart():
    told = restarted(Told().run(10, reading()).run(20, reading(5500)))

    told.run(10, reading(5500)).run(2, reading())

    assert [length for length, _ in told.excursions] == pytest.approx([33], abs=1.1)


def test_a_restart_loses_nothing():
    before = Told().run(600, reading(), reading(5500))
    before.history.event("started", before.now)

    after = restarted(before)

    assert after.minutes == before.minutes
    assert after.ring["events"] == before.ring["events"]
    assert after.ring["excursions"] == before.ring["excursions"]
    assert after.ring["sums"] == before.ring["sums"]


def test_minutes_of_more_than_a_day_ago_are_dropped():
    told = Told().run(90, reading())
    told.now += DAY_S
    told.run(90, reading())

    assert [minute["minute"] for minute in told.minutes] == [1000 + 1441, 1000 + 1442][:2]


def test_a_ring_of_another_boot_is_dropped():
    before = Told().run(600, reading())
    history = History(LIMIT_W, None)

    history.resume(before.ring, {}, 30.0)

    assert Told(history, 30.0).minutes == []


@pytest.mark.parametrize(
    "ring",
    [
        {"monotonic_s": 1},
        {"monotonic_s": "x"},
        {"monotonic_s": 1, "events": [1]},
        {"monotonic_s": 1, "events": [], "excursions": 7},
    ],
)
def test_a_ring_that_can_not_be_read_is_said_to_be_lost(ring):
    history = History(LIMIT_W, None)

    history.resume(ring, {"days": [[1]], "fields": 3}, BOOT)

    assert "could not be read" in json.loads(history.ring(BOOT))["events"][-1][1]
    Told(history).run(61, reading())


def test_a_row_of_another_version_is_read_by_its_names():
    history = History(LIMIT_W, None)

    history.resume({}, {"fields": ["above_wh", "date"], "days": [[3.5, "2026-11-20"]]}, BOOT)

    assert Told(history).days[0]["date"] == "2026-11-20"
    assert Told(history).days[0]["above_wh"] == 3.5
    assert Told(history).days[0]["longest_s"] is None


def test_a_day_becomes_one_line_at_midnight():
    told = Told(wall=NOON).run(DAY_S, reading(), step=5.0)

    assert [day["date"] for day in told.days] == ["2026-11-22"]
    assert told.days[0]["measured_s"] == pytest.approx(DAY_S / 2, abs=70)
    assert told.days[0]["monitoring_s"] == told.days[0]["measured_s"]


def test_a_clock_that_jumps_about_midnight_ends_the_day_once():
    told = Told(wall=NOON + DAY_S / 2 - 600).run(900, reading())
    for jump_s in (-900, 900, -900, 900):
        told.wall += jump_s
        told.run(120, reading())

    assert [day["date"] for day in told.days] == ["2026-11-22"]
    assert len(told.minutes) == (900 + 480) // 60


def test_a_clock_that_is_set_after_the_start_makes_no_line_of_1970():
    told = Told(wall=100.0).run(300, reading())
    told.wall = NOON
    told.run(DAY_S, reading(), step=5.0)

    assert [day["date"] for day in told.days] == ["2026-11-22"]


def test_a_clock_far_from_any_calendar_is_survived():
    Told(wall=1e15).run(120, reading())
    Told(wall=-1e15).run(120, reading())


clock_steps = st.lists(
    st.tuples(
        st.floats(0.2, 20_000.0),  # until the next tick
        st.floats(-3e9, 3e9) | st.just(0.0),  # a step of the wall clock
        st.sampled_from(STATES),
        st.none() | st.floats(-50_000, 50_000),
        st.booleans(),  # a restart before it
    ),
    max_size=60,
)


@given(clock_steps)
def test_whatever_the_clocks_do_time_is_counted_once_and_flash_written_once_a_day(ticks):
    told, writes, elapsed_s = Told(), [], 0.0
    for step_s, jump_s, state, output_w, restart in ticks:
        if restart:
            told = restarted(told, 0.0)
        told.wall += jump_s
        told.run(step_s, reading(output_w, state), step=step_s)
        writes += told.day_writes
        told.day_writes = []
        elapsed_s += step_s

    assert all(later - earlier >= 23 * 3600 for earlier, later in pairwise(writes))
    assert len({day["date"] for day in told.days}) == len(told.days)
    counted_s = sum(told.ring["sums"][2]["states_s"])
    counted_s += sum(day[name] for day in told.days for name in DAY_FIELDS[-len(STATES) :])
    # Each day's sums are rounded to whole seconds, and added in another order than the ticks.
    assert counted_s <= elapsed_s + len(told.days) * len(STATES) + 1e-6
    for minute in told.minutes:
        assert minute["above_s"] <= minute["measured_s"] <= 76
        if minute["measured_s"]:
            assert minute["output_min_w"] <= minute["output_mean_w"] <= minute["output_max_w"]
