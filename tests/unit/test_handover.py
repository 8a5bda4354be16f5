"""The history on its way: what the agent kept is what the controller reads from the probe."""

import base64
import bz2
import json
import random

import pytest
from export_limiter.history import DAY_FIELDS, MINUTE_FIELDS, History
from export_limiter.tally import Reading
from hypothesis import given
from hypothesis import strategies as st
from page import simulated
from role import load

device = load("files/device.py")
history = load("controller/history.py")

NOON = 1_795_348_800.0
RECEIVED = NOON + 500.0


@pytest.fixture
def place(tmp_path):
    for directory in (f"run/{device.NAME}", f"data/{device.NAME}"):
        (tmp_path / directory).mkdir(parents=True)
    return device.Place(str(tmp_path))


def keep(place, ring=None, days=None):
    for path, rows in device.HISTORY.items():
        text = {"minutes": ring, "days": days}[rows]
        if text is not None:
            with open(place.at(path), "w") as file:
                file.write(text)


def told_history(hours=2.0):
    told, now = History(5000.0, None), 1000.0
    told.event("started: version 0.1.0, no commit", now)
    for i in range(round(hours * 3600 / 5)):
        now += 5
        output_w = 5600.0 if i % 100 < 5 else 3000.0 + i % 700
        told.note(Reading("monitoring", 5000.0, output_w, None, output_w - 5000), now, NOON)
    return told, now


def test_what_is_read_is_what_was_kept(place, monkeypatch):
    told, now = told_history()
    keep(place, told.ring(now), told.days())
    monkeypatch.setattr(device.time, "monotonic", lambda: now + 30)

    reply = json.loads(json.dumps(place.history()))
    read = history.read(reply, RECEIVED)

    kept = [
        dict(zip(MINUTE_FIELDS, row, strict=True)) for row in json.loads(told.ring(now))["minutes"]
    ]
    assert len(kept) == 120
    for column in MINUTE_FIELDS[1:]:
        assert read["minutes"][column] == [row[column] for row in kept]
    assert read["minutes"]["at"][-1] == pytest.approx(
        RECEIVED - 30 - (now - kept[-1]["minute"] * 60), abs=1
    )
    assert read["events"] == [
        {
            "at": pytest.approx(RECEIVED - 30 - (now - 1000), abs=1),
            "text": "started: version 0.1.0, no commit",
        }
    ]
    assert [each["length_s"] for each in read["excursions"]][:3] == [20, 25, 25]


def test_days_are_read_by_name(place):
    days = [[f"2026-11-{day:02}", *range(day, day + len(DAY_FIELDS) - 1)] for day in (20, 21)]
    keep(place, None, json.dumps({"fields": DAY_FIELDS, "days": days}))

    read = history.read(place.history(), RECEIVED)

    assert read["days"] == [dict(zip(DAY_FIELDS, row, strict=True)) for row in days]
    assert read["minutes"] == {}


@pytest.mark.parametrize("ring", ["", "{", "[]", "7", '{"minutes": 7}', "x" * 500_000])
def test_a_ring_that_can_not_be_read_is_left_out(place, ring):
    keep(place, ring)

    read = history.read(place.history(), RECEIVED)

    assert (read["minutes"], read["excursions"], read["events"]) == ({}, [], [])


@pytest.mark.parametrize(
    "reply",
    [
        {"monotonic_s": 1, "clock_s": 2, "excursions": [7]},
        {"monotonic_s": 1, "clock_s": 2, "events": 3},
        {"monotonic_s": "x", "clock_s": 2},
        {"monotonic_s": 1, "clock_s": 2, "minutes": [[1]], "minutes_fields": ["day"]},
        [],
    ],
)
def test_a_reply_that_makes_no_sense_costs_nobody_else_the_report(reply):
    assert history.read(reply, RECEIVED) == history.NOTHING


def test_a_device_without_a_history_has_none():
    assert history.read(None, RECEIVED) is None


def test_a_day_and_ninety_before_it_are_few_bytes_on_the_link(place, record_property):
    chance = random.Random(1)
    ring = {"fields": MINUTE_FIELDS, "minutes": simulated.day(simulated.WELL, 30_000, chance)}
    days = [row for _ in range(4) for row in simulated.days_before(simulated.HELD, 3e4, chance)]
    keep(place, json.dumps(ring), json.dumps({"fields": DAY_FIELDS, "days": [*days, *days[:6]]}))

    reply = json.dumps(place.history(), sort_keys=True).encode()
    carried = len(base64.b85encode(bz2.compress(reply)))

    record_property("history_bytes", carried)
    assert len(history.read(json.loads(reply), RECEIVED)["days"]) == 90
    assert carried < 16_000


@given(st.lists(st.none() | st.integers(-50_000, 50_000) | st.sampled_from(["monitoring"])))
def test_differences_are_undone(column):
    assert history.sums(device.differences(column)) == column
