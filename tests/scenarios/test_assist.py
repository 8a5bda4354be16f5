"""PowerAssist rightly delivers more than any cap: it is named, and nothing is tightened for it."""

import pytest
from export_limiter.limits import Actuator


def test_assist_does_not_tighten_an_export_cap(story):
    told = story(max_grid_export_w=4000.0)
    told.limiter.adopt(6000.0)

    rows = [(t, 8000, 4500, 6000, "limiting") for t in range(10)]
    told.tell(rows, assisting=True)

    assert told.reason == "power assist"


def test_after_assist_the_walk_goes_on(story):
    told = story(max_grid_export_w=4000.0)
    told.limiter.adopt(6000.0)
    told.tell([(0, 6000, 4500, 6000, "limiting")], assisting=True)

    cap_w, state = told.tick(1, 6000, 4500)

    assert 5200 <= cap_w <= 5400  # 4000 - 100 + 1500 of loads, at most
    assert state == "limiting"


def test_assist_leaves_an_armed_output_cap_where_it_is(story):
    told = story(max_multiplus_output_w=5000.0)

    told.tell([(0, 3000, None, 5000, "monitoring")])
    told.tell([(t, 7000, None, 5000, "limiting") for t in range(1, 20)], assisting=True)


def test_assist_does_not_creep_an_export_cap_down(story):
    told = story(max_grid_export_w=4000.0)
    told.limiter.adopt(6000.0)

    told.tell([(t, 8000, 6500, 6000, "limiting") for t in range(20)], assisting=True)


@pytest.mark.parametrize("output_w", [6900, None], ids=["the meter", "the meter and the output"])
def test_assist_does_not_keep_lost_data_from_the_failsafe_limit(story, output_w):
    told = story(max_grid_export_w=4000.0)
    told.limiter.adopt(6900.0)
    told.tick(0, 6900, 3900, assisting=True)

    # /State stays the last one that was signalled where the VE.Bus service hangs.
    for t_s in range(1, 20):
        told.tick(t_s, output_w, None, assisting=True)

    assert told.tick(20, output_w, None, assisting=True) == (4000, "failsafe")


def test_assist_on_old_figures_does_not_stop_a_walk_that_needs_none(story):
    told = story(max_multiplus_output_w=5000.0)
    told.limiter.adopt(8000.0)

    told.tell(
        [(0, 8000, None, 8000, "limiting"), (1, None, None, 7000, "limiting")], assisting=True
    )


def test_assist_on_figures_that_return_does_not_stop_the_failsafe(story):
    told = story(max_grid_export_w=4000.0)
    told.limiter.adopt(6900.0)
    told.tick(0, 6900, 3900, assisting=True)
    told.tick(1, 6900, None, frozen=("export",), assisting=True)

    # Loads of 1900 W: 4000 - 100 + 1900 is right, and 200 W lower while the limit is exceeded.
    told.tell(
        [
            (2, 6900, 5000, 5600, "failsafe"),
            (3, 6900, 5000, 5600, "failsafe"),
            (4, 6900, 5000, 5600, "limiting"),  # from the third on assist is believed again
        ],
        assisting=True,
    )


@pytest.mark.parametrize(
    ("actuator", "assisting"),
    [
        pytest.param(Actuator(), True, id="an inverter that adds to a full input"),
        pytest.param(Actuator(acting=False), False, id="a control point that does not act"),
    ],
)
def test_output_above_a_cap_that_need_not_hold_it_teaches_nothing(story, actuator, assisting):
    told = story(max_multiplus_output_w=5000.0)
    told.tick(0, 3000)
    for t_s in range(1, 40):
        told.tick(t_s, 5300, None, actuator, assisting=assisting)

    caps = {told.tick(t_s, 4900)[0] for t_s in range(40, 50)}

    assert caps == {5000}
