"""The settings of the law, one varied at a time: what each default buys, and why it is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.pool import Pool
from typing import NamedTuple

from bench.laws import Case, Ours
from bench.loop import run
from bench.metrics import Metrics, measure
from bench.profiles import BASE, EXPORT, PROFILES

SHOWN = ("P1", "P4", "P5", "P7", "P8/5-1")


class Choice(NamedTuple):
    """A setting, its default, other values it was tried with, and the reason for the default."""

    key: str
    default: float
    others: tuple[float, ...]
    reason: str


CHOICES = (
    Choice(
        "control_interval_s",
        1.0,
        (0.5, 2.0, 5.0),
        "Devices say something new about once a second. Slower costs exceed in proportion; faster "
        "allows more steps per second on figures that are no newer.",
    ),
    Choice(
        "max_power_change_per_step_w",
        1000.0,
        (500.0, 2000.0, 1e6),
        "What the first versions promised their users. 30 kW too much are gone in half the minute "
        "that G100 allows. Where an installer wants no ramp, gradual_adjustment is the switch.",
    ),
    Choice(
        "max_power_increase_per_step_w",
        500.0,
        (250.0, 1000.0),
        "Half of the way down: a load that comes and goes is followed down faster than up, which "
        "is what keeps exceed low on clouds and hobs. Slower gives away energy for little.",
    ),
    Choice(
        "export_margin_w",
        100.0,
        (0.0, 50.0, 200.0),
        "The least with which a meter of 100 W noise seldom crosses the limit. It costs 100 W "
        "while the limit binds, 6.7 Wh in these 240 s.",
    ),
    Choice(
        "relax_hold_s",
        2.0,
        (0.0, 5.0, 10.0),
        "Longer than the dead time of the inverter, so that the room seen is not the law's own "
        "last step; longer still trades energy for exceed on changing loads.",
    ),
    Choice(
        "measurement_skew_s",
        1.0,
        (0.0, 2.0, 5.0),
        "Meter and inverter are known to a second of each other on most sites. Less, and the first "
        "correction goes too far where they are not (P8/5-1 gives more away); more, and a walk "
        "down stops early. 5 s is what the law turns to by itself once the cap swings.",
    ),
)

Results = Mapping[tuple[str, float, str], Metrics]


def measure_choices(pool: Pool) -> Results:
    """Run ours with each value of each setting."""
    keys = [
        (choice.key, value, profile)
        for choice in CHOICES
        for value in (choice.default, *choice.others)
        for profile in SHOWN
    ]
    return dict(zip(keys, pool.map(_measure, keys, chunksize=4), strict=True))


def _measure(key: tuple[str, float, str]) -> Metrics:
    name, value, profile = key
    case = Case(PROFILES[profile], BASE, EXPORT)
    config = {name: value}
    if name == "max_power_change_per_step_w":
        config["max_power_increase_per_step_w"] = min(500.0, value)
    law = Ours(case, **config)
    law.interval_s = config.get("control_interval_s", law.interval_s)
    return measure(run(case, law))
