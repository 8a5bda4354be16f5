"""Where the only control point is a setting on flash, writes are counted and few."""

import pytest
from export_limiter.limits import Actuator


def stored(writes_left=24):
    """The control point, with so many writes left today."""
    return Actuator(stored=True, writes_left=writes_left)


def caps_of(told, ticks, output_w, export_w=None, actuator=None, start_s=0):
    """The cap after each tick while the site stays as it is."""
    return [
        told.tick(start_s + i, output_w, export_w, actuator or stored())[0] for i in range(ticks)
    ]


def test_a_binding_decrease_is_walked_in_steps(story):
    told = story(max_multiplus_output_w=5000.0)

    assert caps_of(told, 5, 8000) == [8000, 7000, 6000, 5000, 5000]
    assert told.writes == 4


def test_the_last_write_of_the_day_goes_all_the_way(story):
    told = story(max_multiplus_output_w=5000.0)
    told.limiter.adopt(8000.0)

    assert caps_of(told, 1, 8000, actuator=stored(writes_left=2)) == [7000]
    assert caps_of(told, 1, 8000, actuator=stored(writes_left=1), start_s=1) == [5000]


def test_an_increase_is_one_write_after_ten_minutes(story):
    told = story(max_multiplus_output_w=8000.0)
    told.limiter.adopt(5000.0)

    caps = caps_of(told, 602, 5000)

    assert caps[:600] == [5000] * 600
    assert caps[-1] == 8000
    assert told.writes == 1


@pytest.mark.parametrize(("export_w", "cap_w"), [(0, 4000), (None, 2000)])
def test_an_increase_waits_for_figures(story, export_w, cap_w):
    told = story(max_grid_export_w=4000.0)
    told.limiter.adopt(2000.0)

    caps_of(told, 600, 2000, 0)

    assert told.tick(600, 2000, export_w, stored())[0] == cap_w


def test_an_export_limit_stands_at_its_failsafe_limit_and_follows_no_load(story):
    told = story(max_grid_export_w=4000.0)

    # 6000 W, then whatever the loads do: 4000 is safe without any.
    assert caps_of(told, 4, 6000, 3000) == [6000, 5000, 4000, 4000]
    for t_s in range(4, 200):
        told.tick(t_s, 4000, -3000 + 500 * (t_s % 13), stored())

    assert told.limiter.cap_w == 4000
    assert told.writes == 3


def test_steady_output_at_the_limit_writes_nothing(story):
    told = story(max_multiplus_output_w=5000.0)
    told.limiter.adopt(5000.0)

    caps_of(told, 1000, 4990)

    assert told.writes == 0


def test_less_delivered_than_asked_for_raises_no_stored_cap(story):
    # Without loads 5 % less than the cap is delivered: that is no reason to write 5 % more.
    told = story(max_grid_export_w=4000.0)

    for t_s in range(2000):
        output_w = min(6000.0, 0.95 * (told.limiter.cap_w or 6000.0))
        told.tick(t_s, output_w, output_w, stored())

    assert told.limiter.cap_w == 4000
    assert told.writes == 3


def test_an_uncontrolled_inverter_that_comes_and_goes_wears_no_flash(story):
    told = story(max_multiplus_output_w=10000.0)

    # Beside ours another delivers 1850 to 2150 W for an hour, and nothing each third minute.
    for t_s in range(3600):
        other_w = 0 if t_s // 60 % 3 == 0 else 1850 + 37 * t_s % 301
        told.tick(t_s, 3000 + other_w, None, stored(), controlled_w=3000)

    assert told.limiter.cap_w == 7500  # 10000 - 2150, in whole 500 W
    assert told.writes <= 3


def test_a_stored_cap_rises_only_to_what_was_left_for_all_of_ten_minutes(story):
    told = story(max_multiplus_output_w=10000.0)

    # Another delivers 2500 W, then 500 W and 2000 W in turn, each for two minutes.
    for t_s in range(3600):
        other_w = 2500 if t_s < 60 else 500 if t_s // 120 % 2 else 2000
        told.tick(t_s, 3000 + other_w, None, stored(), controlled_w=3000)

    assert told.limiter.cap_w == 8000
    assert told.writes == 2


@pytest.mark.parametrize(("writes_left", "cap_w"), [(2, 8000), (1, 5000)])
def test_the_last_write_of_the_day_is_kept_for_a_decrease(story, writes_left, cap_w):
    told = story(max_multiplus_output_w=8000.0)
    told.limiter.adopt(5000.0)

    assert caps_of(told, 700, 5000, actuator=stored(writes_left))[-1] == cap_w


def test_what_is_delivered_above_a_stored_cap_takes_a_few_writes_to_correct(story):
    told = story(max_multiplus_output_w=5000.0)
    told.limiter.adopt(5000.0)

    for t_s in range(600):
        told.tick(t_s, 1.03 * told.limiter.cap_w, None, stored())

    assert 0.99 * 5000 <= 1.03 * told.limiter.cap_w <= 5025
    assert told.writes <= 3  # 1 % each
