"""What is not measured never opens a limit: hold, walk to the failsafe limit, come back.

Each row is a tick: time, output, export, cap then in force, state.
"""

import pytest

LIMIT = {"max_grid_export_w": 4000.0}


def settled(story, cap_w=9000.0, **config):
    """A site that has exported 3900 W for 5 s beside 5100 W of loads; the next tick is 5 s."""
    told = story(**LIMIT, **config)
    told.limiter.adopt(cap_w)
    for t_s in range(5):
        told.tick(t_s, 9000, 3900)
    return told


def test_an_export_limit_without_its_meter_walks_to_the_failsafe_limit(story):
    settled(story).tell(
        [
            (5, 9000, None, 9000, "limiting"),  # lost since 4 s: held for data_hold_s, 3 s
            (6, 9000, None, 9000, "limiting"),
            (7, 9000, None, 9000, "limiting"),
            (8, 9000, None, 8000, "failsafe"),  # 4 s after the last reading
            (9, 8000, None, 7000, "failsafe"),
            (10, 7000, None, 6000, "failsafe"),
            (11, 6000, None, 5000, "failsafe"),
            (12, 5000, None, 4000, "failsafe"),  # without any load that just meets the limit
            (13, 4000, None, 4000, "failsafe"),
            (300, 4000, None, 4000, "failsafe"),
        ]
    )


@pytest.mark.parametrize(
    ("config", "measured", "cap_w"),
    [
        pytest.param({}, {}, 4000, id="the export limit itself"),
        pytest.param({}, {"pv_inverter": True}, 1000, id="the floor beside a PV inverter"),
        pytest.param({"failsafe_limit_w": 2500.0}, {}, 2500, id="as configured"),
        pytest.param({"failsafe_limit_w": 200.0}, {}, 1000, id="never below the floor"),
    ],
)
def test_the_failsafe_limit_is(story, config, measured, cap_w):
    told = settled(story, **config)

    for t_s in range(5, 30):
        told.tick(t_s, told.limiter.cap_w, None, **measured)

    assert told.limiter.cap_w == cap_w


def test_a_gap_shorter_than_the_hold_changes_nothing(story):
    settled(story).tell(
        [
            (5, None, None, 9000, "limiting"),
            (6, None, 3900, 9000, "limiting"),
            (7, 9000, None, 9000, "limiting"),  # each figure came within 3 s
            (8, 9000, 3900, 9000, "limiting"),
        ]
    )


def test_a_longer_hold_is_configured(story):
    told = settled(story, data_hold_s=4.0)

    told.tell(
        [
            (8, 9000, None, 9000, "limiting"),
            (9, 9000, None, 8000, "failsafe"),
        ]
    )


def test_a_frozen_meter_counts_as_lost_at_once(story):
    told = settled(story)

    told.tell(
        [(5, 9000, 3900, 8000, "failsafe"), (6, 8000, 3900, 7000, "failsafe")], frozen=("export",)
    )
    assert told.reason == "no usable export measurement"


def test_failsafe_is_left_after_three_fresh_measurements_and_by_the_relax_rule(story):
    told = settled(story)
    told.tell([(8, 9000, None, 8000, "failsafe")])

    # Loads of 5100 W as before: 4000 - 100 + 5100 = 9000 would be right.
    told.tell(
        [
            (9, 8000, 2900, 8000, "failsafe"),  # first
            (10, 8000, 2900, 8000, "failsafe"),  # second; below 4000 - 2 x 100 for 1 s
            (11, 8000, 2900, 8500, "relaxing"),  # third, and 2 s of room: 500 W up
        ]
    )
    caps = [told.tick(t, told.limiter.cap_w, told.limiter.cap_w - 5100)[0] for t in range(12, 20)]

    assert caps == sorted(caps)
    assert 8800 <= caps[-1] <= 9000


def test_the_hold_before_a_rise_begins_anew_after_lost_data(story):
    told = settled(story, cap_w=5000.0, relax_hold_s=60.0)
    for t_s in range(5, 55):
        told.tick(t_s, 5000, 0)  # 8900 W would be right, and has been for 50 s
    for t_s in range(55, 75):
        told.tick(t_s, 5000, None)
    lowest_w = told.limiter.cap_w

    caps = [told.tick(t_s, lowest_w, lowest_w - 5000)[0] for t_s in range(75, 140)]

    assert caps[:60] == [lowest_w] * 60
    assert caps[60] > lowest_w


def test_a_cap_rises_no_further_than_any_reading_of_the_whole_hold_allows(story):
    told = story(**LIMIT, relax_hold_s=60.0)
    told.limiter.adopt(3000.0)

    caps = []
    for t_s in range(140):
        load_w = 1000 if t_s == 50 else 6000  # at 50 s for one reading 1900 W were fed in
        caps.append(told.tick(t_s, told.limiter.cap_w, told.limiter.cap_w - load_w)[0])

    assert max(caps[:59]) == 3000
    assert max(caps[:110]) <= 4900  # 4000 - 100 + 1000, for 60 s after that reading
    assert caps[-1] > 4900


def test_a_single_reading_between_losses_does_not_end_failsafe(story):
    told = settled(story)
    told.tell([(8, 9000, None, 8000, "failsafe")])

    for t_s in range(9, 60):
        state = told.tick(t_s, told.limiter.cap_w, 0 if t_s % 3 == 0 else None)[1]
        assert state == "failsafe"

    assert told.limiter.cap_w <= 8000
    assert told.limiter.failsafe_entries == 1


def test_fresh_data_above_the_limit_tighten_even_in_failsafe(story):
    told = settled(story)
    told.tell(
        [
            (8, 9000, None, 8000, "failsafe"),
            (9, 8000, 8000, 7000, "failsafe"),  # no loads any more: 3900 is right
        ]
    )


def test_nothing_is_written_before_the_first_measurement(story):
    story(**LIMIT).tell([(t, None, None, None, "starting") for t in range(0, 100, 5)])


def test_a_meter_that_never_came_is_lost_after_30_s(story):
    told = story(**LIMIT)

    told.tell(
        [
            (0, 9000, None, None, "starting"),
            (30, 9000, None, None, "starting"),
            (31, 9000, None, 9000, "failsafe"),  # the first cap is the output: no step
            (32, 9000, None, 8000, "failsafe"),
        ]
    )


def test_a_restart_without_data_keeps_its_earlier_cap(story):
    told = story(**LIMIT)
    told.limiter.adopt(2000.0)

    told.tell([(t, None, None, 2000, "starting") for t in range(20)])


def test_a_restart_with_data_relaxes_by_the_rule_only(story):
    told = story(**LIMIT)
    told.limiter.adopt(2000.0)

    # Loads of 5000 W: 8900 would be right, yet the earlier cap is left by steps of 500 W.
    told.tell(
        [
            (0, 2000, -3000, 2000, "limiting"),
            (1, 2000, -3000, 2000, "limiting"),
            (2, 2000, -3000, 2500, "relaxing"),
            (3, 2500, -2500, 3000, "relaxing"),
        ]
    )


def test_a_lost_inverter_figure_is_lost_data_for_export_too(story):
    told = settled(story)

    told.tell([(8, None, 3900, 8000, "failsafe"), (9, None, 3900, 7000, "failsafe")])
    assert told.reason == "no usable output measurement"


def test_an_export_limit_needs_the_figure_of_the_inverter_that_obeys_the_cap_only(story):
    told = story(**LIMIT)

    states = [told.tick(t, None, 3000, controlled_w=5000)[1] for t in range(40)]

    assert set(states) <= {"monitoring", "relaxing", "limiting"}


@pytest.mark.parametrize(("gone", "state"), [(False, "failsafe"), (True, "monitoring")])
def test_an_output_limit_needs_the_figure_of_every_inverter_that_is_there(story, gone, state):
    told = story(max_multiplus_output_w=6000.0)
    told.tick(0, 3000, controlled_w=2000)

    ticks = [told.tick(t, None, controlled_w=2000, inverter_gone=gone) for t in range(1, 10)]

    assert ticks[-1] == (5000, state)  # 6000 less what the other one delivered


def test_an_export_limit_does_not_mind_another_inverter_that_stands_still(story):
    told = settled(story)

    ticks = [told.tick(t, 9500, 3900, controlled_w=9000, frozen=("others",)) for t in range(5, 40)]

    assert {state for _, state in ticks} == {"limiting"}


def test_an_output_limit_counts_nothing_that_stands_still(story):
    told = story(max_multiplus_output_w=6000.0)
    told.tick(0, 3000, controlled_w=2000)

    cap_w, state = told.tick(40, 3000, controlled_w=3000, frozen=("others",))

    assert (cap_w, state) == (5000, "failsafe")
    assert told.reason == "no usable output measurement"


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ((9000, None), "export measurement: no grid meter is there, and ESS is set to an external"),
        ((None, 3900), "output measurement"),
    ],
)
def test_failsafe_says_why_the_export_is_not_known(story, figures, reason):
    told = settled(story)

    told.tick(9, *figures, no_meter=True)

    assert told.reason.startswith("no usable " + reason)
    assert ("no grid meter" in told.reason) is (figures[1] is None)


def test_failsafe_says_what_it_waits_for(story):
    told = settled(story)
    told.tell([(8, 9000, None, 8000, "failsafe"), (9, 8000, 2900, 8000, "failsafe")])

    assert told.reason == "waiting for steady measurements"


def test_the_walk_to_the_failsafe_limit_goes_all_the_way(story):
    told = story(**LIMIT)
    told.limiter.adopt(4150.0)
    told.tick(0, 2000, 1900)  # 4000 W would be right: a cap that binds nothing is left for 150 W

    # Without an output nobody knows whether the cap binds.
    caps = [told.tick(t_s, None, None)[0] for t_s in range(1, 20)]

    assert caps[0] == 4150
    assert caps[-1] == 4000
