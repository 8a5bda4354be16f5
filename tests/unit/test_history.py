"""The agent's history: minutes and days of ticks, whatever the clocks and restarts do."""

import json
from itertools import pairwise

import pytest
from export_limiter import judgement, limiter
from export_limiter.history import DAY_FIELDS, DAY_S, EXCURSIONS, MINUTE_FIELDS, MINUTES, History
from export_limiter.tally import STATES, Reading
from hypothesis import given
from hypothesis import strategies as st

LIMIT_W = 5000.0
NOON = 1_795_348_800.0  # 2026-11-22 12:00 UTC
BOOT = 1000 * 60.0  # monotonic, at the start of a minute


def reading(output_w: float | None = 3000.0, state: str = "monitoring", **fields) -> Reading:
    over_w = None if output_w is None else output_w - LIMIT_W
    return Reading(state, LIMIT_W, output_w, over_output_w=over_w, **fields)


class Told:
    """A history that is told a reading each second, and both of its files."""

    def __init__(self, history: History | None = None, now: float = BOOT, wall: float = NOON):
        self.history = history or History(LIMIT_W, None)
        self.now, self.wall = now, wall
        self.day_writes: list[float] = []

    def run(self, seconds: float, *readings: Reading, step: float = 1.0) -> "Told":
        """Tell the readings in turn for so long."""
        for i in range(round(seconds / step)):
            self.now, self.wall = self.now + step, self.wall + step
            if self.history.note(readings[i % len(readings)], self.now, self.wall)[1]:
                self.day_writes.append(self.now)
        return self

    @property
    def ring(self) -> dict:
        return json.loads(self.history.ring(self.now))

    @property
    def minutes(self) -> list[dict]:
        return [dict(zip(MINUTE_FIELDS, row, strict=True)) for row in self.ring["minutes"]]

    @property
    def days(self) -> list[dict]:
        rows = json.loads(self.history.days())["days"]
        return [dict(zip(DAY_FIELDS, row, strict=True)) for row in rows]

    @property
    def excursions(self) -> list[tuple[float, float]]:
        """Length and height of each."""
        return [(each[2], each[3]) for each in self.ring["excursions"]]


def restarted(told: Told, after_s: float = 3.0) -> Told:
    """The same device with a new process of the agent."""
    history = History(LIMIT_W, None)
    now = told.now + after_s
    history.resume(told.ring, json.loads(told.history.days()), now)
    return Told(history, now, told.wall + after_s)


def test_it_knows_every_state_of_the_agent():
    of_the_law = {limiter.STARTING, limiter.FAILSAFE, limiter.LIMITING, limiter.RELAXING}

    assert set(STATES) == {
        *of_the_law,
        limiter.MONITORING,
        judgement.NOT_ENFORCEABLE,
        judgement.STOPPING,
    }


def test_a_minute_holds_least_mean_most_cap_and_state():
    told = Told().run(125, reading(2000), reading(4000))

    full = told.minutes[1]

    assert full == {
        "minute": 1001,
        "measured_s": 60,
        "output_min_w": 2000,
        "output_mean_w": 3000,
        "output_max_w": 4000,
        "export_mean_w": None,
        "export_max_w": None,
        "above_s": 0,
        "above_wh": 0.0,
        "cap_w": 5000,
        "state": "monitoring",
        "output_limit_w": 5000,
        "export_limit_w": None,
    }


def test_a_minute_is_as_bad_as_its_worst_second():
    told = Told().run(30, reading()).run(1, reading(None, "failsafe")).run(60, reading())

    assert told.minutes[0]["state"] == "failsafe"
    assert told.minutes[0]["measured_s"] == 57  # the first reading stands for nothing before it


def test_export_is_kept_where_it_is_limited():
    over = Reading("limiting", 2000.0, 2000.0, 600.0, over_export_w=100.0)
    told = Told(History(None, 500.0)).run(121, over)

    minute = told.minutes[1]

    assert (minute["export_mean_w"], minute["export_max_w"]) == (600, 600)
    assert minute["above_s"] == 60
    assert minute["above_wh"] == pytest.approx(100 / 60, abs=0.01)
    assert told.ring["open"][0][0] == "export"


@pytest.mark.parametrize(
    ("length_s", "column"),
    [
        (14, "below_15_s"),
        (15, "from_15_to_60_s"),
        (60, "from_15_to_60_s"),
        (61, "above_60_s"),
    ],
)
def test_an_excursion_is_counted_in_its_bin(length_s, column):
    told = Told(wall=NOON + DAY_S / 2 - 300)
    told.run(30, reading()).run(length_s - 1, reading(5600)).run(1, reading(5100))
    told.run(300, reading())

    day = told.days[0]
    assert told.excursions == [(length_s, 600)]
    assert (day["longest_s"], day["highest_w"]) == (length_s, 600)
    counts = {name: day[name] for name in ("below_15_s", "from_15_to_60_s", "above_60_s")}
    assert counts == {**dict.fromkeys(counts, 0), column: 1}


def test_what_a_meter_would_not_show_is_no_excursion():
    told = Told().run(60, reading(LIMIT_W + 25))

    assert told.excursions == []
    assert told.ring["open"] == []


def test_losing_the_measurement_ends_an_excursion():
    told = Told().run(5, reading()).run(5, reading(5500)).run(5, reading(None, "failsafe"))

    assert told.excursions == [(5, 500)]


def test_a_gap_in_the_ticks_counts_as_nothing_measured():
    told = Told().run(30, reading(6000))
    told.now += 600
    told.run(89, reading(6000))

    assert told.ring["sums"][2]["measured_s"] == 29 + 88
    assert [length for length, _ in told.excursions] == [29]


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


def test_quiet_events_do_not_push_out_the_others():
    told = Told()
    told.history.event("started", told.now)
    for _ in range(1000):
        told.now += 20
        told.history.event("limiting", told.now, quiet=True)

    assert told.ring["events"][0][1] == "started"
    assert len(told.ring["events"]) < 40


def test_ring_and_days_are_bounded():
    told = Told()
    for i in range(500):
        told.history.event("x" * 1000, told.now)
        told.run(2, reading(9_999_999.0 if i % 2 else -9_999_999.0))
    told.run(2 * DAY_S, reading(-12345.6, "not_enforceable"), reading(54321.9), step=10.0)

    assert len(told.minutes) <= MINUTES
    assert len(told.ring["excursions"]) <= EXCURSIONS + 1
    assert len(told.history.ring(told.now)) < 300_000


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
    assert counted_s <= elapsed_s + len(told.days) * len(STATES)
    for minute in told.minutes:
        assert minute["above_s"] <= minute["measured_s"] <= 76
        if minute["measured_s"]:
            assert minute["output_min_w"] <= minute["output_mean_w"] <= minute["output_max_w"]
