"""The inverter's own output under its limit: the cap is the limit, armed before it is needed.

Each row is a tick: time, output, export (not used here), cap then in force, state.
"""

LIMIT = {"max_multiplus_output_w": 5000.0}


def test_the_cap_is_armed_at_the_limit_and_a_load_step_moves_nothing(story):
    story(**LIMIT).tell(
        [
            (0, 2000, None, 5000, "monitoring"),  # nothing to walk: 5000 binds nothing at 2000
            (1, 2000, None, 5000, "monitoring"),
            (2, 8000, None, 5000, "limiting"),  # the load steps up: the cap stands there already
            (3, 6500, None, 5000, "limiting"),
            (4, 5000, None, 5000, "limiting"),
            (5, 3000, None, 5000, "limiting"),  # 5 s of higher output still count as held
            (10, 3000, None, 5000, "monitoring"),  # highest of the last 5 s: 3000 < 0.95 x 5000
        ]
    )


def test_an_output_above_the_limit_is_walked_down_from_where_it_is(story):
    story(**LIMIT).tell(
        [
            (0, 8000, None, 8000, "monitoring"),  # the first write is the output itself
            (1, 8000, None, 7000, "limiting"),  # then 1000 W each interval
            (2, 7000, None, 6000, "limiting"),
            (3, 6000, None, 5000, "limiting"),
            (4, 5000, None, 5000, "limiting"),
        ]
    )


def test_early_ticks_get_their_part_of_a_step_and_late_ones_no_more(story):
    story(**LIMIT).tell(
        [
            (0, 8000, None, 8000, "monitoring"),
            (1, 8000, None, 7000, "limiting"),
            (1.3, 8000, None, 6700, "limiting"),  # 0.3 s of 1000 W/s
            (2, 8000, None, 6000, "limiting"),  # 0.7 s
            (6, 7000, None, 5000, "limiting"),  # 4 s late: one step
        ]
    )


def test_a_lower_limit_after_a_deployment_is_walked_to_from_the_earlier_cap(story):
    told = story(**LIMIT)
    told.limiter.adopt(10000.0)

    told.tell(
        [
            (0, 10000, None, 9000, "limiting"),
            (1, 10000, None, 8000, "limiting"),
            (2, 9000, None, 7000, "limiting"),
            (3, 8000, None, 6000, "limiting"),
            (4, 7000, None, 5000, "limiting"),
            (5, 6000, None, 5000, "limiting"),
        ]
    )


def test_an_earlier_cap_above_the_output_may_fall_to_it_at_once(story):
    told = story(**LIMIT)
    told.limiter.adopt(10000.0)

    told.tell([(0, 6200, None, 6200, "monitoring"), (1, 6200, None, 5200, "limiting")])


def test_a_higher_limit_after_a_deployment_is_walked_up_by_500_w(story):
    told = story(max_multiplus_output_w=6200.0)
    told.limiter.adopt(5000.0)

    told.tell(
        [
            (0, 5000, None, 5500, "relaxing"),
            (1, 5500, None, 6000, "relaxing"),
            (2, 6000, None, 6200, "relaxing"),  # 6000 + 500 is above the limit
            (3, 6200, None, 6200, "limiting"),
        ]
    )


def test_without_gradual_adjustment_the_limit_is_written_at_once(story):
    told = story(**LIMIT, gradual_adjustment=False)

    told.tell([(0, 8000, None, 5000, "monitoring"), (1, 8000, None, 5000, "limiting")])


def test_lost_data_leave_the_armed_cap_where_it_is(story):
    story(**LIMIT).tell(
        [
            (0, 4900, None, 5000, "monitoring"),
            (1, 4900, None, 5000, "limiting"),  # 4900 is within 5 % of the cap
            (2, None, None, 5000, "limiting"),
            (4, None, None, 5000, "limiting"),  # held for data_hold_s, 3 s
            (5, None, None, 5000, "failsafe"),  # 4 s after the last reading
            (60, None, None, 5000, "failsafe"),
        ]
    )


def test_lost_data_do_not_stop_the_walk_down(story):
    story(**LIMIT).tell(
        [
            (0, 8000, None, 8000, "monitoring"),
            (1, 8000, None, 7000, "limiting"),
            (2, None, None, 6000, "limiting"),  # the limit needs no measurement
            (3, None, None, 5000, "limiting"),
        ]
    )


def test_an_uncontrolled_inverter_leaves_less_for_the_controlled_one(story):
    # Both deliver 6000 W, 4000 of it ours: 5000 - 2000 is ours to deliver.
    told = story(**LIMIT)

    found = [told.tick(t, 6000.0, controlled_w=4000.0)[0] for t in range(3)]

    assert found == [4000, 3000, 3000]


def test_an_uncontrolled_inverter_that_wobbles_moves_the_cap_rarely(story):
    told = story(max_multiplus_output_w=10000.0)

    for t_s in range(600):
        other_w = 2000 + 37 * t_s % 301 - 150  # every W from 1850 to 2150, in disorder
        told.tick(t_s, 3000 + other_w, controlled_w=3000)
        assert told.limiter.cap_w <= 10000 - other_w

    assert told.limiter.cap_w == 7800  # 10000 - 2150, in whole 100 W
    assert told.writes <= 4


def test_what_an_uncontrolled_inverter_no_longer_delivers_is_ours_after_30_s(story):
    told = story(max_multiplus_output_w=10000.0)

    told.tick(0, 7000, controlled_w=3000)
    caps = [told.tick(t, 3000, controlled_w=3000)[0] for t in range(1, 50)]

    assert caps[:30] == [6000] * 30
    assert caps[30:33] == [6500, 7000, 7500]
    assert caps[-1] == 10000


def test_what_a_vanished_inverter_delivers_is_not_taken_for_nothing(story):
    told = story(max_multiplus_output_w=10000.0)
    told.tick(0, 7000, controlled_w=3000)
    gone = [told.tick(t, None, controlled_w=3000, inverter_gone=True)[0] for t in range(1, 300)]

    back = [told.tick(t, 4000, controlled_w=3000)[0] for t in range(300, 320)]

    assert set(gone) == {6000}  # 10000 less the 4000 that it delivered
    assert (back[0], back[-1]) == (6500, 9000)  # 1000 W of it: the rest is ours again


def test_beside_a_vanished_inverter_a_cap_above_the_limit_still_comes_down(story):
    told = story(**LIMIT)
    told.limiter.adopt(8000.0)

    caps = [told.tick(t, None, controlled_w=7900, inverter_gone=True)[0] for t in range(5)]

    assert caps == [7000, 6000, 5000, 5000, 5000]


def test_without_the_grid_meter_the_other_inverter_still_counts(story):
    told = story(max_multiplus_output_w=10000.0, max_grid_export_w=8000.0, failsafe_limit_w=9000.0)
    for t_s in range(10):
        told.tick(t_s, 7000, 0, controlled_w=5000)
    before_w = told.limiter.cap_w

    caps = [told.tick(t, 11000, None, controlled_w=5000)[0] for t in range(10, 30)]

    assert before_w == 8000
    assert (caps[0], caps[-1]) == (5000, 4000)  # the other one delivers 6000 now


def test_an_inverter_that_delivers_too_much_is_capped_lower_by_that(story):
    # 3 % above a settled cap: 0.97 x 5000 is where the correction goes, and it never rises above.
    told = story(**LIMIT)

    caps = [told.tick(t, 1.03 * (told.limiter.cap_w or 5000.0))[0] for t in range(60)]

    assert abs(caps[-1] - 5000 / 1.03) < 25
    assert max(caps) <= 1.03 * 5000


def test_an_inverter_that_delivers_too_little_is_not_given_more_than_the_limit(story):
    told = story(**LIMIT)

    caps = {told.tick(t, 4780.0)[0] for t in range(60)}

    assert caps == {5000}


def test_what_was_learned_at_one_control_point_is_not_applied_at_another(story):
    told = story(**LIMIT)
    for t_s in range(60):
        told.tick(t_s, 1.03 * (told.limiter.cap_w or 5000.0))
    learned_w = told.limiter.cap_w

    told.limiter.adopt(5000.0)

    assert learned_w < 4900
    assert told.tick(60, 4000)[0] == 5000
