"""The record of a site's limit: bins, sums and percentiles, each against a plain count."""

import json

import pytest
from export_limiter.history import History
from export_limiter.tally import Reading
from hypothesis import given
from hypothesis import strategies as st
from role import load

compliance = load("controller/compliance.py")
history = load("controller/history.py")

NOON = 1_795_348_800  # 2026-11-22 12:00 UTC
MIDNIGHT = NOON - 43200


def minutes(count, until=NOON, **columns):
    """Minutes up to a time; a column is one value, or a list."""
    usual = {"measured_s": 60, "output_mean_w": 3000, "output_max_w": 3500}
    usual |= {"above_s": 0, "above_wh": 0.0, "state": "monitoring", **columns}
    lists = {k: v if isinstance(v, list) else [v] * count for k, v in usual.items()}
    return {"at": [until - 60 * (count - i) for i in range(count)], **lists}


def excursion(length_s, at=NOON - 3600, above_w=500):
    return {"limit": "output", "at": at, "length_s": length_s, "above_w": above_w}


def line(date, **columns):
    return {
        "date": date,
        **dict.fromkeys(("measured_s", "above_s", "above_wh"), 0),
        **dict.fromkeys(("below_15_s", "from_15_to_60_s", "above_60_s"), 0),
        **dict.fromkeys(("longest_s", "highest_w", "output_max_w"), 0),
        **columns,
    }


def site(**parts):
    return {"minutes": {}, "days": [], "excursions": [], "events": [], **parts}


@pytest.mark.parametrize(
    ("length_s", "name"),
    [
        (0.5, "below_15_s"),
        (14.9, "below_15_s"),
        (15, "from_15_to_60_s"),
        (60, "from_15_to_60_s"),
        (60.1, "above_60_s"),
        (7200, "above_60_s"),
    ],
)
def test_an_excursion_is_in_the_bin_of_g100(length_s, name):
    found = compliance.day(site(excursions=[excursion(length_s)]), NOON)

    assert {k: found[k] for k in compliance.BINS if found[k]} == {name: 1}


@given(st.lists(st.floats(0, 200)))
def test_no_excursion_is_lost_between_the_bins(lengths_s):
    assert sum(compliance.bins(lengths_s).values()) == len(lengths_s)


def test_the_day_says_what_was_measured_and_what_was_not():
    found = compliance.day(site(minutes=minutes(600, above_s=2, above_wh=0.5)), NOON)

    assert found["measured_s"] == 36000
    assert found["unmeasured_s"] == 86400 - 36000
    assert (found["above_s"], found["above_wh"]) == (1200, 300)


def test_what_is_older_than_a_day_is_not_counted():
    old = excursion(70, at=NOON - 86401)

    found = compliance.day(site(minutes=minutes(60, NOON - 86400), excursions=[old]), NOON)

    assert (found["measured_s"], found["above_60_s"], found["lockouts"]) == (0, 0, [])


def test_percentiles_are_those_of_the_minutes():
    found = compliance.day(site(minutes=minutes(101, output_mean_w=list(range(101)))), NOON)

    assert [found[f"output_p{n}_w"] for n in (50, 95, 99)] == [50, 95, 99]


def test_a_site_without_minutes_has_no_percentiles():
    assert compliance.day(site(), NOON)["output_p95_w"] is None


@pytest.mark.parametrize(
    ("story", "found"),
    [
        ([(14, 0)] * 50, []),
        ([(60, 0)], []),
        ([(61, 0)], ["an excursion above 60 s"]),
        ([(15, 0), (15, 600)], ["two excursions of 15 s or more within 10 min"]),
        ([(15, 0), (15, 601)], []),
        (
            [(15, 0), (15, 3000), (15, 6000), (15, 9000)],
            ["more than three excursions of 15 s or more in 24 h"],
        ),
    ],
    ids=["short", "60 s", "long", "pair", "apart", "four"],
)
def test_what_would_lock_a_scheme_out_is_said(story, found):
    excursions = [excursion(length_s, NOON - 20000 + start_s) for length_s, start_s in story]

    assert compliance.day(site(excursions=excursions), NOON)["lockouts"] == found


def test_a_month_is_its_lines_and_the_minutes_since():
    days = [
        line("2026-10-22", above_wh=1000.0),  # more than 30 days ago
        line("2026-11-20", above_wh=2.0, above_60_s=1, longest_s=90, highest_w=700),
        line("2026-11-21", above_wh=3.0, measured_s=86400, output_max_w=5100),
    ]
    # From yesterday noon: the line of yesterday holds the first half already.
    recent = minutes(1440, above_wh=0.01)
    events = [excursion(20, MIDNIGHT - 10), excursion(30, MIDNIGHT + 10)]

    found = compliance.month(site(minutes=recent, days=days, excursions=events), NOON)

    assert found["days"] == 2
    assert found["above_wh"] == pytest.approx(2 + 3 + 7.2)
    assert found["measured_s"] == 86400 + 43200
    assert [found[name] for name in compliance.BINS] == [0, 1, 1]
    assert (found["longest_s"], found["highest_w"], found["output_max_w"]) == (90, 700, 5100)


def test_a_line_of_the_future_counts_for_nothing():
    found = compliance.month(site(days=[line("2099-01-01", above_wh=5.0)]), NOON)

    assert (found["days"], found["above_wh"]) == (0, 0)


def test_the_agents_own_record_gives_what_a_plain_count_gives():
    told, now, above_s, above_ws = History(5000.0, None), 1000.0, 0, 0.0
    for i in range(86400 // 2):
        now += 2
        output_w = 5000.0 + (i * 37 % 601 - 560 if i % 200 > 180 else -300)
        above_s += 2 * (output_w > 5025)
        above_ws += 2 * (output_w - 5000) * (output_w > 5025)
        told.note(Reading("limiting", 5000.0, output_w, None, output_w - 5000), now, NOON)
    told.note(Reading("monitoring", 5000.0, 0.0, None, -5000.0), now + 60, NOON)
    ring = json.loads(told.ring(now))
    columns = [history_column(ring, i) for i in range(len(ring["fields"]))]
    reply = {**ring, "minutes": columns, "minutes_fields": ring["fields"], "clock_s": NOON}

    found = compliance.day(history.read(reply, NOON), NOON)

    assert found["above_s"] == pytest.approx(above_s, rel=0.01)
    assert found["above_wh"] == pytest.approx(above_ws / 3600, rel=0.01)


def history_column(ring, i):
    """A column as the device sends it."""
    return load("files/device.py").differences([row[i] for row in ring["minutes"]])


def test_the_statement_promises_no_certification():
    assert "not a certification" in compliance.STATEMENT
