"""Control quality does not get worse unnoticed: figures of today's law against recorded ones.

Where the law is meant to change them, `make guard` records them anew for review.
"""

import json

import pytest
from bench import guard

RECORDED = json.loads(guard.FILE.read_text())


@pytest.mark.parametrize("key", guard.cases(), ids=guard.name_of)
def test_no_figure_is_worse_than_the_recorded_one(key):
    now = guard.figures_of(key)

    assert guard.worsened(now, RECORDED[guard.name_of(key)]) == []


def test_every_recorded_case_is_still_run():
    assert sorted(RECORDED) == sorted(map(guard.name_of, guard.cases()))


def test_a_figure_that_grew_by_more_than_5_percent_is_named():
    recorded = dict.fromkeys(guard.SLACK, 100.0)

    found = guard.worsened({**recorded, "above_s": 106.0, "writes": 105.0}, recorded)

    assert found == ["above_s: 106, recorded 100"]
