"""What can limit a site in the benchmark: our law, the best there could be, and none."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from export_limiter.config import Config
from export_limiter.limiter import Limiter
from export_limiter.limits import Measurement

from bench.profiles import EXPORT, Profile, Setting

STEP_W = 1000.0  # our default step, for every law that is compared under the same step
INTERVAL_S = 1.0


class View(NamedTuple):
    """What a law is shown at a tick, W.

    `limited_w` is the limited quantity and `output_w` the inverter's, both as old as their meter
    makes them. `other_w` is what the rest of the site really did when `limited_w` was taken: no
    real program can know it that well, only the bound may use it.
    """

    t_s: float
    limited_w: float
    output_w: float
    limit_w: float
    cap_w: float
    other_w: float
    measurement: Measurement


class Law(Protocol):
    """A cap for each tick; the caller writes it, rounded to 1 W, where it changed."""

    interval_s: float

    def decide(self, view: View) -> float | None:
        """The cap to have in force, W; None leaves all as it is."""


class Case(NamedTuple):
    """What a law is made for."""

    profile: Profile
    setting: Setting
    product: str

    @property
    def nominal_w(self) -> float:
        """What all units together can deliver."""
        return self.profile.nominal_w * self.setting.oversize


class Ours:
    """The agent's law with its defaults; a changed limit is a deployed one, so it starts anew."""

    interval_s = INTERVAL_S

    def __init__(self, case: Case, **config: Any) -> None:
        self._case = case
        self._given = config
        self._limit_w: float | None = None
        self._limiter: Limiter | None = None

    @property
    def hunting(self) -> bool:
        """Whether the law noticed that it swings."""
        return bool(self._limiter and self._limiter.hunting)

    def decide(self, view: View) -> float | None:
        """One tick of the real limiter."""
        if self._limiter is None or view.limit_w != self._limit_w:
            earlier = self._limiter
            self._limit_w = view.limit_w
            self._limiter = Limiter(self._config(view.limit_w))
            if earlier and earlier.cap_w is not None:
                self._limiter.adopt(earlier.cap_w)
        cap_w = self._limiter.decide(view.measurement, view.t_s).cap_w
        if cap_w is None:
            return None
        cap_w = float(round(cap_w))
        if cap_w != self._limiter.cap_w:
            self._limiter.wrote(cap_w, view.t_s)
        return cap_w

    def _config(self, limit_w: float) -> Config:
        export = self._case.product == EXPORT
        keys: dict[str, Any] = {
            "max_multiplus_output_w": None if export else limit_w,
            "max_grid_export_w": limit_w if export else None,
            "phase_count": self._case.setting.phases,
            "per_phase": self._case.setting.per_phase,
        }
        return Config(**{**keys, **dict(self._case.profile.config), **self._given})


class Bound:
    """The best causal law: it knows the plant's gain and what the rest of the site did exactly.

    It learns of a disturbance no earlier than the meter shows it, and moves by at most one step
    per interval. No margin, no hold, no doubt; it gives no allowed power away.
    """

    def __init__(self, case: Case, interval_s: float = INTERVAL_S, step_w: float = STEP_W) -> None:
        self.interval_s = interval_s
        self._gain = case.setting.gain
        self._step_w = step_w

    def decide(self, view: View) -> float:
        """One step at most towards the cap that just meets the limit."""
        wanted_w = (view.limit_w - view.other_w) / self._gain
        return view.cap_w + max(-self._step_w, min(self._step_w, wanted_w - view.cap_w))


class Constant:
    """The limit, written once before anything happens."""

    interval_s = INTERVAL_S

    def decide(self, view: View) -> float:
        """The limit itself."""
        return view.limit_w


class Unlimited:
    """No limiter at all."""

    interval_s = INTERVAL_S

    def decide(self, view: View) -> float | None:
        """Nothing."""
        return None
