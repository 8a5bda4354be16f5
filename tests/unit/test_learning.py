"""What the law learns of an inverter: only from a cap that is known to hold the output."""

from export_limiter.learning import GainEstimate

CAP_W = 5000.0
LESS_W = 4800.0  # 4 % less than the cap: all there is, or all the inverter gives


def learn(gain, cap_w, output_w, ticks, start_s=0):
    """Tick each second; the second after the last one."""
    for now in range(start_s, start_s + ticks):
        gain.learn(cap_w, output_w, float(now))
    return start_s + ticks


def test_an_output_below_a_cap_that_may_not_hold_it_raises_nothing():
    gain = GainEstimate()

    learn(gain, CAP_W, LESS_W, 60)

    assert gain.factor == 1.0


def test_what_was_corrected_downwards_finds_its_way_back_and_no_further():
    gain = GainEstimate()
    end_s = learn(gain, CAP_W, 5100.0, 20)
    lowered = gain.factor

    learn(gain, CAP_W, 4750.0, 60, end_s)

    assert lowered < 0.99
    assert gain.factor == 1.0


def test_a_cap_that_was_lowered_for_the_limit_holds_the_output():
    gain = GainEstimate()
    gain.hold()

    learn(gain, CAP_W, LESS_W, 60)

    assert abs(gain.factor * LESS_W / CAP_W - 1.0) < 0.005


def test_an_output_that_falls_away_from_its_cap_winds_nothing_up():
    gain = GainEstimate()
    gain.hold()
    end_s = learn(gain, CAP_W, CAP_W, 20)

    # The load is gone; for some seconds the cap still counts as what held it.
    learn(gain, CAP_W, 2500.0, 5, end_s)

    assert gain.factor == 1.0


def test_what_held_before_is_forgotten_after_30_s_without_a_binding_cap():
    factors = []
    for unbound_s in (25, 35):
        gain = GainEstimate()
        gain.hold()
        end_s = learn(gain, CAP_W, CAP_W, 10)
        end_s = learn(gain, None, 2500.0, unbound_s, end_s)
        learn(gain, CAP_W, LESS_W, 30, end_s)
        factors.append(gain.factor)

    assert factors[0] > 1.03
    assert factors[1] == 1.0
