"""The control law: a measurement in, the cap that shall be in force out.

Pure: no bus, no clock of its own. Powers in W, times in s of a monotonic clock. The cap steps
down at most ``max_power_change_per_step_w`` where it binds, up at most
``max_power_increase_per_step_w``, and never twice within one interval.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Optional

from export_limiter.bounds import Bounds
from export_limiter.config import Config, floor_w
from export_limiter.freshness import Freshness
from export_limiter.learning import BINDING_SHARE, BINDING_SLACK_W, GainEstimate
from export_limiter.limits import Actuator, Limits, Measurement, Tick
from export_limiter.recent import Hold, Recent

STARTING = "starting"
FAILSAFE = "failsafe"
LIMITING = "limiting"
RELAXING = "relaxing"
MONITORING = "monitoring"
WAITING = "waiting for the first measurement"
NO_METER = "no grid meter is there, and ESS is set to an external one"
FLOOR_ABOVE_LIMIT = "the floor of %.0f W keeps the limit from being met"

LOOK_BACK_S = 5.0  # a cap above the highest output of this long binds nothing
HIGHEST_POWER_W = 1_000_000.0  # the range's end where neither limit nor nominal power is known
QUIET_MOVE_W = 200.0  # a cap that binds nothing is not rewritten for less
STORED_INCREASE_HOLD_S = 600.0
VOLATILE_TOTAL = Actuator()


class Decision(NamedTuple):
    """The cap to have in force (``None``: leave all as it is), and why."""

    cap_w: Optional[float]
    state: str
    reason: str
    binding: bool


class Limiter:
    """Holds what the law must remember between ticks."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.cap_w: Optional[float] = None
        self._changed_at = -math.inf
        self._limits = Limits(config)
        self._data = Freshness(config)
        self._outputs = Recent()
        self._highest_w: Optional[float] = None
        self._gain = GainEstimate()
        self._rising = Hold()
        self._above_limit = False

    @property
    def failsafe_entries(self) -> int:
        """How often measurements were lost."""
        return self._data.failsafe_entries

    @property
    def hunting(self) -> bool:
        """Whether the cap was found to swing: the figures' ages differ by more than configured."""
        return self._limits.export is not None and self._limits.export.hunting.found

    def adopt(self, cap_w: Optional[float]) -> None:
        """Start over from a cap that stands at the control point; ``None`` for none of ours."""
        self.cap_w = cap_w
        self._gain = GainEstimate()

    def wrote(self, cap_w: float, now: float) -> None:
        """The cap is in force from ``now`` on."""
        if cap_w == self.cap_w:
            return
        if self.cap_w is not None and cap_w < self.cap_w and self._above_limit:
            self._gain.hold()
        if self._limits.export and self._binding():
            self._limits.export.hunting.moved(cap_w, now)
        self.cap_w = cap_w
        self._changed_at = now

    def decide(
        self, measurement: Measurement, now: float, actuator: Actuator = VOLATILE_TOTAL
    ) -> Decision:
        """One tick of the law. The caller tells :meth:`wrote` once the cap is in force."""
        self._data.note(measurement, now)
        output_w = measurement.controlled_w
        if output_w is not None and "output" not in measurement.frozen:
            self._outputs.add(now, output_w)
        self._highest_w = self._outputs.highest(now, LOOK_BACK_S)
        if not self._data.started:
            return Decision(None, STARTING, WAITING, False)

        binding = self._binding()
        if self._data.fresh and output_w is not None:
            obeyed = binding and actuator.acting and not measurement.assisting
            self._gain.learn(self.cap_w if obeyed else None, output_w, now)
        limit_w, export_w = self._config.max_grid_export_w, measurement.export_w
        self._above_limit = limit_w is not None and export_w is not None and export_w > limit_w
        known = self._data.fresh, self._data.lost, self._outputs, self._binding_from_w()
        bounds = self._limits.bounds(Tick(measurement, now, *known, self._gain.factor, actuator))
        lowest_w, highest_w = floor_w(self._config), self._ceiling_w(measurement)
        caps = Bounds(*(max(lowest_w, min(highest_w, w)) for w in bounds))
        # Only while all figures live: the state of an inverter that hangs stays its last one.
        if measurement.assisting and self._live() and self.cap_w is not None:
            caps = caps._replace(tighten_w=max(caps.tighten_w, self.cap_w))
        cap_w = self._next_cap(caps, actuator, now)
        if cap_w is not None and self._not_worth_a_write(cap_w, highest_w):
            cap_w = self.cap_w
        return self._decision(cap_w, bounds, binding, measurement)

    def _live(self) -> bool:
        return self._data.fresh and not self._data.failsafe

    def _binding(self) -> bool:
        return self.cap_w is not None and self.cap_w <= self._binding_from_w()

    def _binding_from_w(self) -> float:
        """The highest cap that may be what holds the output where it is."""
        if self._highest_w is None:
            return -math.inf
        return (self._highest_w + BINDING_SLACK_W) / BINDING_SHARE * max(1.0, self._gain.factor)

    def _ceiling_w(self, measurement: Measurement) -> float:
        if self._config.max_multiplus_output_w is not None:
            return self._config.max_multiplus_output_w
        return max(floor_w(self._config), measurement.nominal_w or HIGHEST_POWER_W)

    def _next_cap(self, bounds: Bounds, actuator: Actuator, now: float) -> Optional[float]:
        """Walk from the cap in force towards the bounds, one step at most."""
        last_write = actuator.stored and actuator.writes_left <= 1
        if self.cap_w is None:
            if self._highest_w is None:
                return None
            # A cap above the output binds nothing, so it needs no walk.
            gradual = self._config.gradual_adjustment
            return max(bounds.tighten_w, self._highest_w) if gradual else bounds.tighten_w
        if self.cap_w > bounds.tighten_w:
            step_w = self._step_w(self._config.max_power_change_per_step_w, now)
            if last_write:
                step_w = math.inf  # it goes all the way
            unbound_w = self.cap_w if self._highest_w is None else self._highest_w
            return max(bounds.tighten_w, min(self.cap_w - step_w, unbound_w))

        may_rise = self._live() and self.cap_w < bounds.relax_w
        hold_s = STORED_INCREASE_HOLD_S if actuator.stored else 0.0
        # The last write of the day is kept for a decrease.
        if not self._rising.holds(may_rise and not last_write, now, hold_s):
            return self.cap_w
        if actuator.stored:
            return bounds.relax_w  # one write, not many
        step_w = self._step_w(self._config.max_power_increase_per_step_w, now)
        return min(bounds.relax_w, self.cap_w + step_w)

    def _step_w(self, step_w: float, now: float) -> float:
        """The step allowed by now: an early tick gets its part of one, a late one no more."""
        if not self._config.gradual_adjustment:
            return math.inf
        return step_w * min(1.0, (now - self._changed_at) / self._config.control_interval_s)

    def _not_worth_a_write(self, cap_w: float, highest_w: float) -> bool:
        """A cap that follows the site stays as it is while it binds nothing and hardly moves."""
        if self.cap_w is None or not self._limits.follows_site or cap_w == highest_w:
            return False
        if self._data.failsafe:
            return False  # there the cap walks to a fixed end
        unbound = min(cap_w, self.cap_w) > self._binding_from_w()
        return unbound and abs(cap_w - self.cap_w) <= QUIET_MOVE_W

    def _decision(
        self, cap_w: Optional[float], bounds: Bounds, binding: bool, measurement: Measurement
    ) -> Decision:
        floor = floor_w(self._config)
        move_w = 0.0 if cap_w is None or self.cap_w is None else cap_w - self.cap_w
        state, reason = MONITORING, "output is below the cap"
        if self._data.failsafe:
            state, reason = FAILSAFE, "waiting for steady measurements"
            if self._data.lost:
                reason = "no usable %s measurement" % " and ".join(self._data.lost)
            if "export" in self._data.lost and measurement.no_meter:
                reason += ": %s" % NO_METER
        elif not self._data.complete:
            state, reason = STARTING, WAITING
        elif measurement.assisting:
            state, reason = LIMITING if binding else MONITORING, "power assist"
        elif cap_w is not None and cap_w <= floor and bounds.tighten_w < floor:
            state, reason = LIMITING, FLOOR_ABOVE_LIMIT % floor
        elif binding and move_w < 0:
            state, reason = LIMITING, "walking down"
        elif move_w > 0:
            state, reason = RELAXING, "room below the limit"
        elif binding:
            state, reason = LIMITING, "output is held at the cap"
        return Decision(cap_w, state, reason, binding)
