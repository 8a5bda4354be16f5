"""The series of a plot: an even grid, and nothing lost where a point holds many minutes."""

import pytest
from page.simulated import NOW
from role import load

fleet = load("controller/fleet.py")
series = load("controller/series.py")


def minutes(*rows, first=NOW - 600):
    names = ("measured_s", *series.POWERS, *series.RUNS)
    columns = zip(
        *([{**dict.fromkeys(names), **row}[n] for n in names] for row in rows), strict=True
    )
    return {
        "at": [round(first) + 60 * i for i in range(len(rows))],
        **dict(zip(names, columns, strict=True)),
    }


def minute(mean_w, state="monitoring", measured_s=60, **fields):
    powers = {"output_min_w": mean_w - 10, "output_mean_w": mean_w, "output_max_w": mean_w + 10}
    return {"measured_s": measured_s, **powers, "state": state, "cap_w": 5000, **fields}


def test_a_coarse_point_holds_the_least_the_mean_and_the_most():
    rows = [minute(1000), minute(4000, "failsafe", 20), minute(1000)] * 5

    told = series.series(minutes(*rows), fleet.STATES, NOW, 15)

    filled = [i for i, value in enumerate(told["output_mean_w"]) if value is not None]
    assert len(filled) in (1, 2)
    assert min(told["output_min_w"][i] for i in filled) == 990
    assert max(told["output_max_w"][i] for i in filled) == 4010
    assert told["output_mean_w"][filled[0]] == pytest.approx(1000 + 3000 * 20 / 140, rel=0.25)
    assert [state for _, state in told["state"]] == [None, "failsafe"] or told["state"][-1][
        1
    ] is None


def test_what_was_not_measured_is_a_hole():
    rows = [minute(1000), {"measured_s": 0, "state": "failsafe"}, minute(1000)]

    told = series.series(minutes(*rows), fleet.STATES, NOW, 1)

    known = [value is not None for value in told["output_mean_w"]]
    first = known.index(True)
    assert known[first : first + 3] == [True, False, True]
    assert "export_mean_w" not in told


def test_minutes_of_the_day_before_are_left_out():
    told = series.series(
        minutes(minute(1), minute(2), first=NOW - 86400 - 50), fleet.STATES, NOW, 1
    )

    assert len([value for value in told["output_mean_w"] if value is not None]) == 1
