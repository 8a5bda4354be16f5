"""What happens to a site in the benchmark, and in which plant: powers in W, times in s.

Each profile is told for an export limit: PV on the DC side that is fed in, and a load beside it.
For an output limit the same excess comes as a load on the AC output instead, so `pv - load` is
what the inverter would deliver. Everything happens from `START_S` on; the 60 s before are for the
law to find its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

START_S = 60.0
END_S = 300.0

EXPORT, OUTPUT = "export", "output"
PRODUCTS = (OUTPUT, EXPORT)

Power = Callable[[float], float]


class Profile(NamedTuple):
    """One story; `excess_w` is by how much an unlimited site ends up above its limit, at most.

    `one_event` is true where the site is disturbed once: only then a time to comply has a meaning.
    `config` holds keys of the agent that belong to the story.
    """

    key: str
    title: str
    load: Power
    limit: Power
    pv_w: float = 12000.0
    units: int = 3
    unit_w: float = 4000.0
    excess_w: float = 5000.0
    one_event: bool = False
    noise_w: float = 0.0
    meter_age_s: float = 1.0
    vebus_age_s: float = 1.0
    config: tuple[tuple[str, float], ...] = ()

    @property
    def nominal_w(self) -> float:
        """All units together."""
        return self.units * self.unit_w


class Setting(NamedTuple):
    """The plant around a profile; `None` ages are the profile's own."""

    key: str = "base"
    title: str = "gain 1, no slew, no inner loop"
    gain: float = 1.0
    slew_w_per_s: float | None = None
    loop_s: float | None = None
    meter_age_s: float | None = None
    phases: int = 1
    per_phase: bool = False
    oversize: float = 1.0
    holds_input: bool = False


BASE = Setting()
SETTINGS = {
    each.key: each
    for each in (
        BASE,
        Setting("gain 0.956", "delivers 4.4 % less than asked", gain=0.956),
        Setting("gain 1.03", "delivers 3 % more than asked", gain=1.03),
        Setting("slew", "400 W/s per unit", slew_w_per_s=400.0),
        Setting("loop", "inner ESS loop, half the error each 2.4 s", loop_s=2.4),
        Setting("slew and loop", "both", slew_w_per_s=400.0, loop_s=2.4),
        Setting("meter 0.25 s", "meter age 0.25 s, inverter 1 s", meter_age_s=0.25),
        Setting("meter 2.5 s", "meter age 2.5 s, inverter 1 s", meter_age_s=2.5),
        Setting("meter 5 s", "meter age 5 s, inverter 1 s", meter_age_s=5.0),
        Setting("roomy", "inverter 25 % larger than its PV or load", oversize=1.25),
        Setting(
            "holds input",
            "AC input held as hub4control of 2016 does, inner ESS loop",
            loop_s=2.4,
            holds_input=True,
        ),
        Setting("three phases", "load 40/33/27 % over three phases", phases=3, oversize=1.25),
        Setting(
            "per phase",
            "as three phases, each phase its share",
            phases=3,
            oversize=1.25,
            per_phase=True,
        ),
    )
}


def _always(power_w: float) -> Power:
    return lambda t_s: power_w


def _step(before_w: float, after_w: float) -> Power:
    return lambda t_s: before_w if t_s < START_S else after_w


def _ramp(t_s: float) -> float:
    return 6000.0 - min(6000.0, 100.0 * max(0.0, t_s - START_S))


def _cloud(t_s: float) -> float:
    """Clouds each 30 s with edges of 2 s, seen as a load that goes down by 5.4 kW."""
    at_s = (t_s - START_S) % 30.0
    if t_s < START_S or at_s >= 17.0:
        return 6000.0
    share = at_s / 2 if at_s < 2 else 1.0 if at_s < 15 else 1 - (at_s - 15) / 2
    return 6000.0 - 5400.0 * share


def _hob(t_s: float) -> float:
    off = t_s >= START_S and (t_s - START_S) // 10 % 2 == 1
    return 4000.0 if off else 6000.0


LIMIT = _always(6000.0)
DROP = _step(6000.0, 1000.0)

_P6 = Profile(
    "P6",
    "one unit, load falls by 3 kW",
    _step(2000.0, -1000.0),
    _always(2000.0),
    4000.0,
    units=1,
    excess_w=3000.0,
    one_event=True,
)
_P8 = Profile(
    "P8",
    "load falls by 5 kW, meter and inverter 5 s late",
    DROP,
    LIMIT,
    one_event=True,
    meter_age_s=5.0,
    vebus_age_s=5.0,
)

PROFILES = {
    each.key: each
    for each in (
        Profile("P1", "load falls by 5 kW", DROP, LIMIT, one_event=True),
        Profile(
            "P1/30",
            "load falls by 30 kW, 45 kW site",
            _step(36000.0, 6000.0),
            LIMIT,
            42000.0,
            unit_w=15000.0,
            excess_w=30000.0,
            one_event=True,
        ),
        Profile(
            "P2",
            "limit lowered from 10 to 5 kW",
            _always(0.0),
            _step(10000.0, 5000.0),
            one_event=True,
        ),
        Profile("P3", "load falls by 100 W/s for 60 s", _ramp, LIMIT, excess_w=6000.0),
        Profile("P4", "clouds of 5.4 kW each 30 s", _cloud, LIMIT, excess_w=5400.0),
        Profile("P5", "hob of 2 kW, 10 s on, 10 s off", _hob, LIMIT, excess_w=2000.0),
        _P6,
        _P6._replace(key="P6/0", title="as P6, floor 0 W", config=(("min_output_limit_w", 0.0),)),
        Profile(
            "P7",
            "at the limit, meter noise 100 W",
            _always(2000.0),
            LIMIT,
            excess_w=4000.0,
            noise_w=100.0,
        ),
        _P8,
        _P8._replace(
            key="P8/5-1", title="as P8, inverter 1 s late, not configured", vebus_age_s=1.0
        ),
        _P8._replace(
            key="P8/d4",
            title="as P8, inverter 1 s late, meter_delay_s 4",
            vebus_age_s=1.0,
            config=(("meter_delay_s", 4.0),),
        ),
    )
}
