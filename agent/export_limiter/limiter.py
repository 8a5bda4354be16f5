"""The control law: a measurement in, the cap that shall be in force out.

Pure: no bus, no clock of its own. Powers in W, times in s of a monotonic clock. The cap steps
down at most ``max_power_change_per_step_w`` where it binds, up at most
``max_power_increase_per_step_w``, and never twice within one interval.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Deque, List, NamedTuple, Optional

from export_limiter.config import Config, failsafe_limit_w, floor_w
from export_limiter.limits import (
    NO_CHANGE,
    Bounds,
    ExportLimit,
    Hold,
    Measurement,
    OutputLimit,
    PhaseShare,
    Recent,
)

STARTING = "starting"
FAILSAFE = "failsafe"
LIMITING = "limiting"
RELAXING = "relaxing"
MONITORING = "monitoring"

LOOK_BACK_S = 5.0  # a cap above the highest output of this long binds nothing
HIGHEST_POWER_W = (
    1_000_000.0  # the range's end where neither a limit nor the nominal power is known
)
# A MultiPlus delivers 0.95 to 1.03 of its cap: from 5 % below it the cap is taken to bind.
BINDING_SHARE = 0.95
BINDING_SLACK_W = 50.0
BIAS_LIMIT = 0.08
BIAS_GAIN_PER_S = 0.2
SETTLED_SHARE = 0.02
SETTLED_S = 5.0
QUIET_MOVE_W = 200.0  # a cap that binds nothing is not rewritten for less
FRESH_TO_LEAVE_FAILSAFE = 3
STORED_INCREASE_HOLD_S = 600.0
REVERSAL_W = 25.0
REVERSALS = 3
REVERSALS_WITHIN_S = 30.0
HUNTING_SKEW_S = 5.0
START_S = 30.0


class Actuator(NamedTuple):
    """What the control point is like: written to flash or not, each phase or the total."""

    stored: bool = False
    per_phase: bool = False
    writes_left: int = 1000


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
        self._output: Optional[OutputLimit] = None
        self._export: Optional[ExportLimit] = None
        self._output_share: Optional[PhaseShare] = None
        self._export_share: Optional[PhaseShare] = None
        self.cap_w: Optional[float] = None
        self.hunting = False
        self.failsafe_entries = 0
        self._changed_at = -math.inf
        self._outputs = Recent()
        self._caps = Recent()
        self._bias = 0.0
        self._biased_at: Optional[float] = None
        self._seen_at: dict[str, float] = {}
        self._in_failsafe = False
        self._fresh_in_a_row = 0
        self._rising = Hold()
        self._first_tick_at: Optional[float] = None
        self._direction = 0
        self._reversals: Deque[float] = deque(maxlen=REVERSALS)

        output_w, export_w = config.max_multiplus_output_w, config.max_grid_export_w
        if output_w is not None:
            strict = config.per_phase == "strict"
            self._output = OutputLimit(output_w / config.phase_count if strict else output_w)
            self._output_share = PhaseShare(output_w, config)
        if export_w is not None:
            self._export = ExportLimit(export_w, config)
            self._export_share = PhaseShare(export_w, config)
        self._needed = ("output",) if export_w is None else ("output", "export")

    def decide(
        self, measurement: Measurement, now: float, actuator: Actuator = VOLATILE_TOTAL
    ) -> Decision:
        """One tick of the law. The caller tells :meth:`wrote` once the cap is in force."""
        fresh, lost = self._note(measurement, now)
        if not self._started(now):
            return Decision(None, STARTING, "waiting for the first measurement", False)

        bounds = self._bounds(measurement, fresh, lost, actuator, now)
        binding = self._binding(now)
        if fresh:
            self._learn_bias(measurement, binding, now)
        may_relax = fresh and not self._in_failsafe
        before = self.cap_w
        cap_w = self._next_cap(bounds, measurement, may_relax, actuator, now)
        return self._decision(cap_w, before, binding, lost, bounds, measurement)

    def adopt(self, cap_w: float) -> None:
        """Take over a cap found in force that an earlier run of ours has written."""
        self.cap_w = cap_w

    def wrote(self, cap_w: float, now: float) -> None:
        """The cap is in force from ``now`` on."""
        if self.cap_w is not None and self._binding(now):
            self._watch_for_hunting(cap_w - self.cap_w, now)
        self.cap_w = cap_w
        self._changed_at = now

    # What is known

    def _note(self, measurement: Measurement, now: float) -> tuple[bool, List[str]]:
        """Remember the readings; tell whether all are fresh, and which are lost."""
        values = {"output": measurement.controlled_w, "export": measurement.export_w}
        self._first_tick_at = now if self._first_tick_at is None else self._first_tick_at
        if measurement.controlled_w is not None and "output" not in measurement.frozen:
            self._outputs.add(now, measurement.controlled_w)
        missing = [q for q in self._needed if values[q] is None or q in measurement.frozen]
        for quantity in self._needed:
            if quantity not in missing:
                self._seen_at[quantity] = now

        lost = [
            quantity
            for quantity in missing
            if quantity in measurement.frozen
            or now - self._seen_at.get(quantity, self._first_tick_at) > self._config.data_hold_s
        ]
        self._fresh_in_a_row = 0 if missing else self._fresh_in_a_row + 1
        if lost and not self._in_failsafe and self._started(now):
            self._in_failsafe = True
            self.failsafe_entries += 1
        elif self._fresh_in_a_row >= FRESH_TO_LEAVE_FAILSAFE:
            self._in_failsafe = False
        if self.cap_w is not None:
            self._caps.add(now, self.cap_w)
        return not missing, lost

    def _started(self, now: float) -> bool:
        """Every quantity was seen once; or the output was, and the rest does not come."""
        if all(quantity in self._seen_at for quantity in self._needed):
            return True
        assert self._first_tick_at is not None
        return "output" in self._seen_at and now - self._first_tick_at > START_S

    def _binding(self, now: float) -> bool:
        highest_w = self._outputs.highest(now, LOOK_BACK_S)
        if self.cap_w is None or highest_w is None:
            return False
        return self.cap_w <= self._binding_from_w(highest_w)

    def _binding_from_w(self, output_w: float) -> float:
        """The highest cap that may be what holds the output where it is."""
        return (output_w + BINDING_SLACK_W) / BINDING_SHARE * max(1.0, 1.0 + self._bias)

    def _learn_bias(self, measurement: Measurement, binding: bool, now: float) -> None:
        """Follow, slowly, how far a settled binding cap and the delivered output differ."""
        since, self._biased_at = self._biased_at, now
        caps = self._caps.aged(now, 0.0, SETTLED_S)
        cap_w, output_w = self.cap_w, measurement.controlled_w
        if since is None or cap_w is None or output_w is None or not binding:
            return
        settled = now - self._changed_at >= SETTLED_S or (
            max(caps) - min(caps) <= SETTLED_SHARE * cap_w
        )
        wanted_w = cap_w / (1.0 + self._bias)
        if not settled or output_w < BINDING_SHARE * wanted_w - BINDING_SLACK_W:
            return
        gain = min(1.0, BIAS_GAIN_PER_S * (now - since))
        bias = self._bias + gain * (wanted_w - output_w) / wanted_w
        self._bias = max(-BIAS_LIMIT, min(BIAS_LIMIT, bias))

    def _watch_for_hunting(self, move_w: float, now: float) -> None:
        """Three reversals in half a minute: the ages of the figures differ by more than thought."""
        if abs(move_w) < REVERSAL_W:
            return
        direction = 1 if move_w > 0 else -1
        if self._direction and direction != self._direction:
            self._reversals.append(now)
        self._direction = direction
        full = len(self._reversals) == REVERSALS
        if self._export and full and now - self._reversals[0] <= REVERSALS_WITHIN_S:
            self.hunting = True
            self._export.skew_s = max(self._export.skew_s, HUNTING_SKEW_S)

    # What follows from it

    def _bounds(
        self,
        measurement: Measurement,
        fresh: bool,
        lost: List[str],
        actuator: Actuator,
        now: float,
    ) -> Bounds:
        """The tightest of what every limit asks for."""
        every = []
        if self._output:
            every.append(self._output.bounds(measurement if fresh else None))
        if self._export:
            every.append(self._export_bounds(measurement, fresh, lost, actuator, now))
        if self._config.per_phase is True and not actuator.per_phase:
            every.extend(self._share_bounds(measurement, fresh, now))
        tighten_w = min(bounds.tighten_w for bounds in every)
        relax_w = min(bounds.relax_w for bounds in every)
        if measurement.assisting and self.cap_w is not None:
            tighten_w = max(tighten_w, self.cap_w)
        return Bounds(tighten_w, relax_w)

    def _export_bounds(
        self,
        measurement: Measurement,
        fresh: bool,
        lost: List[str],
        actuator: Actuator,
        now: float,
    ) -> Bounds:
        failsafe_w = failsafe_limit_w(self._config, measurement.pv_inverter)
        if actuator.stored:
            # Following a load would wear the flash: the cap stands where no load can matter.
            return Bounds(failsafe_w, failsafe_w)
        if lost:
            return Bounds(tighten_w=failsafe_w)
        if not fresh or measurement.export_w is None or self._export is None:
            return NO_CHANGE
        highest_w = self._outputs.highest(now, LOOK_BACK_S)
        assert highest_w is not None
        binding_from_w = self._binding_from_w(highest_w)
        return self._export.bounds(measurement.export_w, self._outputs, binding_from_w, now)

    def _share_bounds(self, measurement: Measurement, fresh: bool, now: float) -> List[Bounds]:
        if not fresh:
            return [NO_CHANGE]
        outputs_w, exports_w = measurement.phase_outputs_w, measurement.phase_exports_w
        every = []
        if self._output_share:
            nothing = tuple(0.0 for _ in outputs_w)
            every.append(self._output_share.bounds(outputs_w, nothing, now))
        if self._export_share:
            others_w = tuple(x - o for x, o in zip(exports_w, outputs_w))
            known = outputs_w if len(others_w) == len(outputs_w) else ()
            every.append(self._export_share.bounds(known, others_w, now))
        return every

    def _next_cap(
        self,
        bounds: Bounds,
        measurement: Measurement,
        may_relax: bool,
        actuator: Actuator,
        now: float,
    ) -> Optional[float]:
        """Walk from the cap in force towards what the bounds ask, within the step limits."""
        lowest_w, highest_w = floor_w(self._config), self._ceiling_w(measurement)
        tighten_w = bounds.tighten_w * (1.0 + min(0.0, self._bias))
        relax_w = bounds.relax_w * (1.0 + self._bias)
        tighten_w = max(lowest_w, min(highest_w, tighten_w))
        relax_w = max(lowest_w, min(highest_w, relax_w))
        output_w = self._outputs.highest(now, LOOK_BACK_S)

        if self.cap_w is None:
            # A cap above the output binds nothing, so it needs no walk.
            return None if output_w is None else max(tighten_w, min(highest_w, output_w))
        if self.cap_w > tighten_w:
            unbound_w = self.cap_w if output_w is None else output_w
            down_w = self._step_w(self._config.max_power_change_per_step_w, now)
            if actuator.stored and actuator.writes_left <= 1:
                down_w = math.inf  # the last write of the day goes all the way
            return self._quietly(
                max(tighten_w, min(self.cap_w - down_w, unbound_w)), highest_w, now
            )
        up_w = self._step_w(self._config.max_power_increase_per_step_w, now)
        rising = self._rising.holds(
            may_relax and self.cap_w < relax_w,
            now,
            STORED_INCREASE_HOLD_S if actuator.stored else 0,
        )
        if not rising:
            return self.cap_w
        if actuator.stored:
            return relax_w
        return self._quietly(min(relax_w, self.cap_w + up_w), highest_w, now)

    def _step_w(self, step_w: float, now: float) -> float:
        """The step allowed by now: an early tick gets its part of one, a late one no more."""
        if not self._config.gradual_adjustment:
            return math.inf
        return step_w * min(1.0, (now - self._changed_at) / self._config.control_interval_s)

    def _quietly(self, cap_w: float, highest_w: float, now: float) -> float:
        """Leave a cap that follows the site as it is while it binds nothing and hardly moves."""
        assert self.cap_w is not None
        follows = self._export is not None or self._config.per_phase is True
        output_w = self._outputs.highest(now, LOOK_BACK_S)
        if not follows or output_w is None or cap_w == highest_w:
            return cap_w
        unbound = min(cap_w, self.cap_w) > self._binding_from_w(output_w)
        return self.cap_w if unbound and abs(cap_w - self.cap_w) <= QUIET_MOVE_W else cap_w

    def _ceiling_w(self, measurement: Measurement) -> float:
        if self._config.max_multiplus_output_w is not None:
            return self._config.max_multiplus_output_w
        return max(floor_w(self._config), measurement.nominal_w or HIGHEST_POWER_W)

    def _decision(
        self,
        cap_w: Optional[float],
        before: Optional[float],
        binding: bool,
        lost: List[str],
        bounds: Bounds,
        measurement: Measurement,
    ) -> Decision:
        if self._in_failsafe:
            what = " and ".join(lost) if lost else "data"
            reason = "no usable %s measurement" % what if lost else "measurements are back"
            return Decision(cap_w, FAILSAFE, reason, binding)
        if measurement.assisting:
            return Decision(cap_w, LIMITING if binding else MONITORING, "power assist", binding)
        walking_down = cap_w is not None and cap_w > bounds.tighten_w + 1.0 and binding
        if (
            cap_w is not None
            and bounds.tighten_w < floor_w(self._config)
            and cap_w <= floor_w(self._config)
        ):
            reason = "the floor of %.0f W keeps the limit from being met" % cap_w
            return Decision(cap_w, LIMITING, reason, binding)
        if binding or walking_down:
            reason = "walking down" if walking_down else "output is held at the cap"
            return Decision(cap_w, LIMITING, reason, binding)
        if before is not None and cap_w is not None and cap_w > before:
            return Decision(cap_w, RELAXING, "room below the limit", binding)
        return Decision(cap_w, MONITORING, "output is below the cap", binding)
