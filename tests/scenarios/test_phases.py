"""A limit per phase: each phase its share, at a control point for the total or for each phase."""

import pytest
from export_limiter.limits import Actuator

LIMIT = {"max_multiplus_output_w": 6000.0, "phase_count": 3}
EACH = Actuator(per_phase=True)


def closed(told, shares, demand_w, ticks=40, loads_w=None):
    """Caps of an inverter that splits its total by `shares` and delivers it one tick later."""
    caps, output_w = [], demand_w
    for t_s in range(ticks):
        outputs_w = tuple(share * output_w for share in shares)
        exports_w = tuple(o - (loads_w or (0, 0, 0))[i] for i, o in enumerate(outputs_w))
        told.tick(
            t_s,
            output_w,
            sum(exports_w),
            phase_outputs_w=outputs_w,
            phase_exports_w=exports_w,
        )
        caps.append(told.limiter.cap_w)
        output_w = min(demand_w, told.limiter.cap_w)
    return caps


def test_without_per_phase_only_the_total_counts(story):
    told = story(**LIMIT)

    assert closed(told, (0.5, 0.3, 0.2), 9000.0)[-1] == 6000


def test_the_worst_phase_sets_the_total(story):
    told = story(**LIMIT, per_phase=True)

    caps = closed(told, (0.5, 0.3, 0.2), 9000.0)

    # Half of the total is on one phase, whose share is 2000 W: at most 4000 W, and 1 % less.
    assert 0.96 * 4000 <= caps[-1] <= 4000
    assert len(set(caps[-20:])) == 1


def test_even_phases_lose_no_more_than_the_aim(story):
    told = story(**LIMIT, per_phase=True)

    caps = closed(told, (1 / 3, 1 / 3, 1 / 3), 9000.0)

    assert 0.96 * 6000 <= caps[-1] <= 6000


def test_all_output_on_one_phase_gets_one_share(story):
    told = story(**LIMIT, per_phase=True)

    assert 0.96 * 2000 <= closed(told, (1.0, 0.0, 0.0), 9000.0)[-1] <= 2000


def test_phases_that_draw_power_bring_the_total_not_below_one_share(story):
    told = story(**LIMIT, per_phase=True)

    # L1 delivers 3000 W of 2000 W, yet the total is 500 W: no cap on it helps L1.
    for t_s in range(20):
        told.tick(t_s, 500.0, phase_outputs_w=(3000.0, -1500.0, -1000.0))

    assert told.limiter.cap_w == 2000


def test_strict_gives_one_share_whatever_the_phases_do(story):
    told = story(**LIMIT, per_phase="strict")

    told.tell(
        [
            (0, 1500, None, 2000, "monitoring"),  # 6000 / 3
            (1, 1900, None, 2000, "limiting"),
            (2, 9000, None, 2000, "limiting"),
        ]
    )


def test_strict_needs_no_phases(story):
    told = story(**LIMIT, per_phase="strict")
    told.limiter.adopt(1500.0)

    assert [told.tick(t_s, 1000)[0] for t_s in range(3)] == [2000, 2000, 2000]


def test_a_control_point_for_each_phase_needs_no_shares(story):
    told = story(**LIMIT, per_phase=True)

    for t_s in range(20):
        told.tick(t_s, 6000, actuator=EACH, phase_outputs_w=(3000.0, 2000.0, 1000.0))

    assert told.limiter.cap_w == 6000


def test_strict_gives_each_phase_its_share_once_where_each_has_a_control_point(story):
    told = story(**LIMIT, per_phase="strict")

    # 6000 W over three paths is 2000 W each.
    assert told.tick(0, 3000, actuator=EACH)[0] == 6000


def test_unknown_phases_never_relax_a_shared_limit(story):
    told = story(**LIMIT, per_phase=True)
    told.limiter.adopt(3000.0)

    told.tell([(t, 3000, None, 3000, "limiting") for t in range(20)])


@pytest.mark.parametrize("shares", [(0.5, 0.3, 0.2), (0.4, 0.35, 0.25)])
def test_each_phase_of_an_export_limit_keeps_to_its_share(story, shares):
    told = story(max_grid_export_w=6000.0, phase_count=3, per_phase=True)
    loads_w = (1000.0, 500.0, 0.0)

    cap_w = closed(told, shares, 12000.0, loads_w=loads_w)[-1]

    exports_w = [share * cap_w - load for share, load in zip(shares, loads_w, strict=True)]
    assert max(exports_w) <= 2000
    assert max(exports_w) >= 0.9 * 2000


def test_one_phase_has_the_whole_limit_as_its_share(story):
    told = story(max_multiplus_output_w=5000.0, phase_count=1, per_phase=True)

    for t_s in range(20):
        told.tick(t_s, min(8000.0, told.limiter.cap_w or 8000.0), phase_outputs_w=(5000.0,))

    assert told.limiter.cap_w == 5000


def test_beside_an_export_limit_strict_still_never_gives_more_than_one_share(story):
    told = story(max_multiplus_output_w=12000.0, max_grid_export_w=3000.0, per_phase="strict")

    # The inverter delivers 5 % less than its cap; for 10 s no load, and too much is fed in.
    caps = []
    for t_s in range(400):
        output_w = min(9000.0, 0.95 * (told.limiter.cap_w or 9000.0))
        export_w = output_w - (0.0 if 50 < t_s < 60 else 3000.0)
        phases = {"phase_outputs_w": (output_w / 3,) * 3, "phase_exports_w": (export_w / 3,) * 3}
        caps.append(told.tick(t_s, output_w, export_w, **phases)[0])

    assert set(caps[200:]) == {4000}  # 12000 / 3


def test_strict_holds_each_phase_of_an_export_limit_to_its_share_too(story):
    told = story(max_grid_export_w=6000.0, phase_count=3, per_phase="strict")

    # A third of 12 kW each, and all the loads on L2 and L3: L1 alone feeds in 4 kW, the site 3.
    cap_w = closed(told, (1 / 3, 1 / 3, 1 / 3), 12000.0, loads_w=(0.0, 4500.0, 4500.0))[-1]

    assert 0.9 * 2000 <= cap_w / 3 <= 2000


def test_room_for_a_share_counts_from_when_the_phases_are_known_again(story):
    told = story(max_multiplus_output_w=6000.0, per_phase=True, relax_hold_s=60.0)
    told.limiter.adopt(3000.0)
    even = {"phase_outputs_w": (1000.0, 1000.0, 1000.0)}

    for t_s in range(50):
        told.tick(t_s, 3000.0, **even)
    for t_s in range(50, 70):
        told.tick(t_s, None)
    caps = [told.tick(t_s, 3000.0, **even)[0] for t_s in range(70, 140)]

    assert caps[:60] == [3000] * 60
    assert caps[-1] > 3000
