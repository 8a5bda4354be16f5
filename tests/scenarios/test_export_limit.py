"""The site's feed-in under its limit: the cap follows what the rest of the site does.

Each row is a tick: time, output, export, cap then in force, state. The output obeys the cap one
tick later. Limit 6000 W, margin 100 W, steps of 1000 W down and 500 W up, 12 kW of inverters.
"""

import pytest

LIMIT = {"max_grid_export_w": 6000.0}


def test_a_load_that_falls_is_walked_after_in_steps(story):
    # Loads of 3000 W until 1 s, none from 2 s on: 6000 - 100 is what may be delivered then.
    told = story(**LIMIT)

    told.tell(
        [
            (0, 8000, 5000, 8900, "monitoring"),  # 6000 - 100 + 3000 of loads: binds nothing
            (1, 8000, 5000, 8900, "monitoring"),
            (2, 8000, 8000, 7900, "monitoring"),  # 1000 W down, not yet below the output
            (3, 8000, 8000, 6900, "limiting"),
        ]
    )
    for t_s, output_w in enumerate((7000, 6900, 6900), 4):
        told.tick(t_s, output_w, output_w)

    caps = [told.tick(t, cap_w, cap_w)[0] for t, cap_w in ((7, 6900), (8, 5900), (9, 5900))]

    assert caps[0] <= 5900  # at most 6000 - 100, and no further below than the margin twice more
    assert caps[0] >= 5900 - 2 * 100


def test_a_cap_far_above_the_output_may_fall_to_the_output_at_once(story):
    told = story(**LIMIT)
    told.limiter.adopt(12000.0)

    told.tell(
        [
            (0, 8000, 7500, 8000, "monitoring"),
            (1, 8000, 7500, 7000, "limiting"),  # from there 1000 W at a time
        ]
    )
    for t_s in range(2, 10):
        told.tick(t_s, told.limiter.cap_w, told.limiter.cap_w - 500)

    assert 6400 <= told.limiter.cap_w <= 6500  # 500 W of loads, less the margin or not


@pytest.mark.parametrize("export_w", [5810, 5900, 5990])
def test_within_the_margin_nothing_is_written(story, export_w):
    told = story(**LIMIT)
    told.limiter.adopt(6900.0)

    # Loads of 1000 W; the band from 6000 - 2 x 100 to 6000 is where the cap may stay.
    told.tell([(t, 6900, export_w, 6900, "limiting") for t in range(10)])


def test_there_is_no_deadband_above_the_limit(story):
    told = story(**LIMIT)
    told.limiter.adopt(6900.0)

    assert told.tick(0, 6900, 5990) == (6900, "limiting")
    cap_w, state = told.tick(1, 6900, 6001)

    assert 6700 <= cap_w <= 6799  # 1 W above: to 6000 - 100 + 899 of loads at the most
    assert state == "limiting"


def test_room_is_taken_back_after_the_hold_and_in_smaller_steps(story):
    told = story(**LIMIT)
    told.limiter.adopt(5900.0)

    # A load of 1200 W comes on: 6000 - 100 + 1200 = 7100 may be delivered.
    told.tell(
        [
            (0, 5900, 5900, 5900, "limiting"),
            (1, 5900, 4700, 5900, "limiting"),  # below 5800, since now
            (2, 5900, 4700, 5900, "limiting"),
            (3, 5900, 4700, 6400, "relaxing"),  # for 2 s
        ]
    )
    caps = [told.tick(t, told.limiter.cap_w, told.limiter.cap_w - 1200)[0] for t in range(4, 15)]

    assert caps[-1] == 7100
    assert caps == sorted(caps)


def test_a_load_that_comes_and_goes_does_not_move_the_cap_up(story):
    told = story(**LIMIT)
    told.limiter.adopt(5900.0)

    # 2 s with room, then none: the hold never ends.
    rows = [(t, 5900, 4700 if t % 3 else 5900, 5900, "limiting") for t in range(30)]
    told.tell(rows)


def test_a_cap_that_binds_nothing_is_not_rewritten_for_small_moves(story):
    told = story(**LIMIT)

    # Loads between 3000 and 3180 W, output 5000 W.
    for t in range(30):
        told.tick(t, 5000, 5000 - 3000 - 18 * (t % 11))

    assert told.writes == 1


def test_the_floor_keeps_the_cap_up_and_says_so(story):
    told = story(**LIMIT)
    told.limiter.adopt(2000.0)

    # 5500 W of PV beside: only 400 W would be allowed.
    told.tell(
        [
            (0, 2000, 7500, 1000, "limiting"),
            (1, 1000, 6500, 1000, "limiting"),
            (2, 1000, 6500, 1000, "limiting"),
            (3, 1000, 6500, 1000, "limiting"),
        ]
    )
    assert told.reason == "the floor of 1000 W keeps the limit from being met"


def test_a_floor_of_zero_is_written_as_one_watt(story):
    told = story(**LIMIT, min_output_limit_w=0.0)
    told.limiter.adopt(900.0)

    told.tell([(0, 900, 9000, 1, "limiting"), (1, 1, 8101, 1, "limiting")])


def test_a_late_meter_that_is_configured_is_compared_with_the_output_of_its_time(story):
    # The meter is 4 s older than the inverter's figures; no loads. The inverter goes from
    # 5000 to 5900 W at 10 s, which the meter shows at 14 s: nothing else has changed.
    told = story(**LIMIT, meter_delay_s=4.0, measurement_skew_s=0.0)
    told.limiter.adopt(5900.0)

    caps = {
        told.tick(t, 5900 if t >= 10 else 5000, 5900 if t >= 14 else 5000)[0] for t in range(5, 30)
    }

    assert caps == {5900}


def test_a_late_meter_that_is_not_configured_is_found_by_the_swing(story):
    # Output follows the cap at once, the meter 4 s later: the law corrects what is long done.
    told = story(**LIMIT)
    told.limiter.adopt(9000.0)
    outputs = [9000.0] * 5
    caps = []
    for t in range(120):
        caps.append(told.tick(t, outputs[-1], outputs[-5])[0])
        outputs.append(caps[-1])

    assert told.limiter.hunting
    assert max(caps[-40:]) - min(caps[-40:]) <= 25


def test_both_limits_hold_and_the_tighter_one_wins(story):
    told = story(max_multiplus_output_w=5000.0, max_grid_export_w=3000.0)

    told.tell(
        [
            (0, 6000, 1000, 6000, "monitoring"),  # loads of 5000 W: the output limit is tighter
            (1, 6000, 1000, 5000, "limiting"),
            (2, 5000, 0, 5000, "limiting"),
            (10, 5000, 5000, 4000, "limiting"),  # no loads: 3000 - 100 for the export limit
        ]
    )
    for t in range(11, 20):
        told.tick(t, told.limiter.cap_w, told.limiter.cap_w)

    assert 2900 <= told.limiter.cap_w <= 3000


def test_beside_an_output_limit_less_delivered_than_asked_for_raises_no_armed_cap(story):
    # Another system delivers 4000 W: 6000 W of the output limit are left for ours.
    told = story(max_multiplus_output_w=10000.0, max_grid_export_w=5000.0)

    caps = []
    for t_s in range(400):
        output_w = min(9000.0, 0.95 * (told.limiter.cap_w or 9000.0))
        total_w = output_w + 4000.0
        load_w = 0.0 if 50 < t_s < 62 else 9000.0
        caps.append(told.tick(t_s, total_w, total_w - load_w, controlled_w=output_w)[0])

    assert set(caps[200:]) == {6000}
