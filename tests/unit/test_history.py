"""The agent's history: what its minutes, days, excursions and events say of the ticks."""

import json
import tracemalloc

import pytest
from export_limiter import judgement, limiter
from export_limiter.history import DAY_FIELDS, DAY_S, DAYS, EVENTS, EXCURSIONS, MINUTES, History
from export_limiter.tally import STATES, Reading, Sums
from hypothesis import given
from hypothesis import strategies as st
from told import LIMIT_W, NOON, Told, reading, restarted


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


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.2, 1.0, 14.0, 16.0, 70.0, 90_000.0]),
            st.sampled_from(STATES),
            st.none() | st.tuples(*[st.floats(-40_000, 40_000)] * 2),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_whatever_is_told_and_when_the_rows_make_sense(ticks):
    told = Told(History(LIMIT_W, 500.0))
    for step, state, powers_w, restarts in ticks:
        told.run(step, Reading(state, LIMIT_W, *(powers_w or ())), step=step)
        told = restarted(told) if restarts else told

    for row in told.minutes + told.days:
        least, mean, most = (row[f"output_{name}_w"] for name in ("min", "mean", "max"))
        assert mean is None or least <= mean <= most
        assert row["export_mean_w"] is None or row["export_mean_w"] <= row["export_max_w"]
        assert mean is not None or row["measured_s"] == 0


@pytest.mark.parametrize("end", ["events", "excursions", "minutes", "sums", "day"])
@pytest.mark.parametrize("garbage", [None, 7, [[]], {"a": 1}, [float("inf")], "text"])
def test_an_earlier_history_that_is_garbage_is_left_out(end, garbage):
    told = Told().run(200, reading())
    history = History(LIMIT_W, None)

    history.resume({**told.ring, end: garbage}, {}, told.now + 1)
    Told(history, told.now + 1).run(200, reading())

    texts = [text for _, text in json.loads(history.ring(told.now + 1))["events"]]
    assert texts[-1] == "an earlier history could not be read"


@pytest.mark.parametrize(
    "inside",
    [
        {"sums": [17, {"measured_s": 1.0}, {}]},
        {"sums": [17, *[{**vars(Sums()), "states_s": [0.0]}] * 2]},
        {"sums": [17, *[{**vars(Sums()), "measured_s": None}] * 2]},
        {"sums": ["x", vars(Sums()), vars(Sums())]},
        {"open": [["output", None, 3.0, 100.0]]},
        {"excursions": [["output", "x", 3.0, 100.0]]},
    ],
)
def test_an_earlier_history_of_the_wrong_kind_is_left_out(inside):
    told = Told().run(200, reading())
    history = History(LIMIT_W, None)

    history.resume({**told.ring, **inside}, {}, told.now + 1)

    after = Told(history, told.now + 1).run(200, reading())
    assert after.ring["events"][-1][1] == "an earlier history could not be read"
    assert len(after.minutes) >= 3


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


def test_a_full_history_takes_at_most_two_megabytes_also_while_it_is_read_and_written():
    told = Told()
    told.run(1440 * 60, reading(3210.9), step=10.0)
    for i in range(4 * EXCURSIONS):
        told.history.event("x" * 9000, told.now)
        told.run(4, reading(LIMIT_W + 140.1 * (-1) ** (i // 2)), step=2.0)
    days = [["2026-11-22", *[1234.567] * (len(DAY_FIELDS) - 1)]] * DAYS
    files = told.history.ring(told.now), json.dumps({"fields": DAY_FIELDS, "days": days})
    ring = json.loads(files[0])
    assert (len(ring["events"]), len(ring["excursions"])) == (EVENTS, EXCURSIONS)
    assert len(ring["minutes"]) >= MINUTES - 1

    tracemalloc.start()
    resumed = History(LIMIT_W, None)
    resumed.resume(*map(json.loads, files), told.now + 1)
    text = resumed.ring(told.now + 2)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(text) > 100_000
    assert kept < peak < 2_000_000
