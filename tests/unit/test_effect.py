"""Whether a cap is taken over and obeyed, second by second."""

from export_limiter.effect import CONFIRM_S, LAG_S, OBEY_S, Effect


def first_fault(caps_w, shown_w, outputs_w, elsewhere_w=None):
    """The second at which something is wrong, and what; ``None`` where nothing ever is."""
    effect = Effect()
    for second, each in enumerate(zip(caps_w, shown_w, outputs_w, strict=False)):
        cap, shown, output = each
        fault = effect.fault(cap, shown, elsewhere_w, output, False, float(second))
        if fault:
            return second, fault
    return None


def test_an_output_that_stays_above_the_cap_is_disobedience():
    fault = first_fault([5000.0] * 60, [5000.0] * 60, [6000.0] * 60)

    assert fault == (OBEY_S, "takes the cap over, but the output stays above it")


def test_an_output_on_its_way_down_is_none():
    falling = [9000.0 - 60 * second for second in range(60)]

    assert first_fault([5000.0] * 60, [5000.0] * 60, falling) is None


def test_the_output_is_given_time_to_follow():
    caps = [5000.0] + [4000.0] * 59

    fault = first_fault(caps, caps, [5000.0] * 60)

    assert fault is not None
    assert fault[0] == LAG_S + OBEY_S + 1


def test_a_device_that_shows_each_cap_late_takes_them_over():
    caps = [max(3000.0, 30000.0 - 1000 * second) for second in range(60)]
    shown = [30000.0] * 3 + caps

    assert first_fault(caps, shown, [1000.0] * 60) is None


def test_a_device_that_shows_no_cap_does_not_take_it_over():
    fault = first_fault([5000.0] * 60, [None] * 60, [1000.0] * 60)

    assert fault == (CONFIRM_S, "does not take the cap over: it applies no limit")


def test_a_cap_that_is_applied_no_longer_is_not_taken_over():
    fault = first_fault([5000.0] * 60, [5000.0] * 5 + [None] * 55, [1000.0] * 60)

    assert fault == (5 + CONFIRM_S, "does not take the cap over: it applies no limit")


def test_our_limit_at_another_point_confirms_nothing():
    fault = first_fault([4997.0] * 60, [4000.0] * 60, [1000.0] * 60, elsewhere_w=4000.0)

    assert fault == (CONFIRM_S, "does not take the cap over: it applies 4000 W")


def test_a_lower_limit_of_others_confirms_and_proves_nothing():
    effect = Effect()

    effect.fault(5000.0, 3000.0, None, 1000.0, False, 0.0)
    before = (effect.confirmed, effect.proven)
    effect.fault(5000.0, 5000.0, None, 1000.0, False, 1.0)

    assert before == (True, False)
    assert effect.proven
