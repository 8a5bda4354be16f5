"""A deterministic model of the power in one site: inverters, loads, PV, battery and grid.

Powers are in W and times in s; grid power is positive on import, loads and PV are positive.

The main inverter is commanded by the ESS loop, which halves its error every 2.4 s, as a recording
of hub4control shows. The cap bounds AC output minus AC input of that inverter in total over the
phases; everything that the loads want above it is passed through from the grid.
"""

from __future__ import annotations

import math
import random
from collections import deque
from typing import NamedTuple

from gx.inverter import PHASES, Inverter, InverterSpec, PhasePower, Response, split

# Who commands the main inverter: the ESS loop; the ESS loop without the cap (Hub4Mode 3, where
# some other program does it); nobody may discharge the battery; nobody at all.
ESS, EXTERNAL, KEEP_CHARGED, PASSTHROUGH = "ess", "external", "keep_charged", "passthrough"

_TIE_S = 1e-9  # far below a step, far above the rounding of times


class PlantSpec(NamedTuple):
    """What does not change while a site runs; `loop_s` None lets the command follow at once.

    Readings are taken every `..._interval_s` (0 is every step) and are `..._lag_s` old when taken.
    The meter's noise has a standard deviation of `meter_noise` x power + `meter_noise_w`.
    """

    inverters: tuple[InverterSpec, ...] = (InverterSpec(),)
    response: Response = Response()
    loop_s: float | None = 2.4
    loop_gain: float = 0.5
    phase_split: str = "proportional"
    meter_lag_s: float = 1.0
    meter_interval_s: float = 1.0
    meter_noise: float = 0.0
    meter_noise_w: float = 0.0
    vebus_lag_s: float = 0.5
    vebus_interval_s: float = 1.0
    seed: int = 1


class MeterReading(NamedTuple):
    """What the grid meter shows, import positive, true at `measured_at_s`."""

    phases_w: PhasePower
    measured_at_s: float


class VebusReading(NamedTuple):
    """What one inverter says of itself, all true at `measured_at_s`."""

    out_w: PhasePower
    in_w: PhasePower
    assisting: bool
    measured_at_s: float


class Truth(NamedTuple):
    """What really happens now; the output is the sum of all inverters."""

    t_s: float
    output_w: float
    output_phases_w: PhasePower
    grid_w: float
    export_w: float
    load_w: float
    pv_dc_used_w: float
    cap_w: float | None


class _Moment(NamedTuple):
    t_s: float
    grid_w: PhasePower
    vebus: dict[str, VebusReading]


class Plant:
    """The site: change the public inputs, call `step`, read `meter`, `vebus` and `truth()`."""

    def __init__(self, spec: PlantSpec = PlantSpec()) -> None:  # noqa: B008 - immutable
        self.spec = spec
        self.t_s = 0.0
        self.inverters = {each.name: Inverter(each, spec.response) for each in spec.inverters}
        self.main = next((i for i in self.inverters.values() if i.spec.ess), None)
        self.phases = PHASES[: max((each.phases for each in spec.inverters), default=1)]

        self.cap_w: float | None = None
        self.control = ESS
        self.grid_setpoint_w = 50.0
        self.grid_on = True
        self.load_in_w: PhasePower = dict.fromkeys(self.phases, 0.0)
        self.pv_in_w: PhasePower = dict.fromkeys(self.phases, 0.0)  # AC-coupled, on the AC input
        self.pv_dc_w = 0.0
        self.feed_in = False  # feed in the DC PV that neither loads nor battery take
        self.discharge_w = math.inf  # what the battery can give
        self.charge_w = math.inf  # what it can take; 0 is a full battery

        self.meter = MeterReading(dict.fromkeys(self.phases, 0.0), 0.0)
        self.vebus: dict[str, VebusReading] = {}
        self._command_w = 0.0
        self._random = random.Random(spec.seed)
        self._next_loop_s = self._next_meter_s = self._next_vebus_s = 0.0
        self._past: deque[_Moment] = deque()

    def step(self, dt_s: float) -> None:
        """Advance by `dt_s`."""
        self.t_s = round(self.t_s + dt_s, 6)
        if self.grid_on:
            self._command()
            for inverter in self.inverters.values():
                inverter.follow(self.t_s, dt_s)
        else:
            for inverter in self.inverters.values():
                inverter.island()
            if self.main:
                self._command_w = sum(self.main.output_w(phase) for phase in self.main.phases)
        self._measure()

    def settle(self, seconds: float = 30.0, dt_s: float = 0.1) -> None:
        """Advance until the transients of the start are over."""
        for _ in range(round(seconds / dt_s)):
            self.step(dt_s)

    def truth(self) -> Truth:
        """Return what really happens now."""
        inverters = self.inverters.values()
        output = {
            phase: sum(each.output_w(phase) for each in inverters if phase in each.phases)
            for phase in self.phases
        }
        output_w = sum(output.values())
        load_w = sum(sum(each.load_w.values()) for each in inverters)
        grid_w = sum(self._grid_w().values())
        return Truth(
            t_s=self.t_s,
            output_w=output_w,
            output_phases_w=output,
            grid_w=grid_w,
            export_w=-grid_w,
            load_w=load_w + (sum(self.load_in_w.values()) if self.grid_on else 0.0),
            pv_dc_used_w=max(0.0, min(self.pv_dc_w, output_w + self.charge_w)),
            cap_w=self.cap_w,
        )

    def _command(self) -> None:
        how = self.spec.phase_split
        for inverter in self.inverters.values():
            limit_w = math.inf if inverter.limit_w is None else inverter.limit_w
            loads = {phase: inverter.net_load_w(phase) for phase in inverter.phases}
            if inverter is self.main:
                passed = self._run_loop(min(self._aim_w(inverter), limit_w))
                if self.spec.response.holds_input and not passed:
                    continue
                for phase in loads:
                    loads[phase] += self.load_in_w[phase] - self.pv_in_w[phase]
                inverter.command(self.t_s, split(self._command_w, loads, how))
            else:
                own_w = max(0.0, min(inverter.own_output_w, sum(loads.values()), limit_w))
                inverter.command(self.t_s, split(own_w, loads, how))

    def _run_loop(self, aim_w: float) -> bool:
        """Move the command towards its aim, and return whether it was time for that."""
        if self.spec.loop_s is None:
            self._command_w = aim_w
            return True
        if self.t_s < self._next_loop_s - _TIE_S:
            return False
        self._next_loop_s = self.t_s + self.spec.loop_s
        self._command_w += self.spec.loop_gain * (aim_w - self._command_w)
        return True

    def _aim_w(self, main: Inverter) -> float:
        """Output that brings the grid to its setpoint, within what DC side and cap allow."""
        if self.control == PASSTHROUGH:
            return 0.0
        need_w = sum(self.load_in_w.values()) - sum(self.pv_in_w.values())
        for inverter in self.inverters.values():
            need_w += sum(inverter.net_load_w(phase) for phase in inverter.phases)
            if inverter is not main:
                need_w -= sum(inverter.output_w(phase) for phase in inverter.phases)
        need_w -= self.grid_setpoint_w
        if self.feed_in:
            need_w = max(need_w, self.pv_dc_w - self.charge_w)
        discharge_w = 0.0 if self.control == KEEP_CHARGED else self.discharge_w
        most_w = min(main.nominal_w, self.pv_dc_w + discharge_w)
        if self.control == ESS and self.cap_w is not None:
            most_w = min(most_w, self.cap_w)
        least_w = max(-main.nominal_w, min(0.0, self.pv_dc_w - self.charge_w))
        return max(least_w, min(need_w, most_w))

    def _grid_w(self) -> PhasePower:
        if not self.grid_on:
            return dict.fromkeys(self.phases, 0.0)
        grid = {phase: self.load_in_w[phase] - self.pv_in_w[phase] for phase in self.phases}
        for inverter in self.inverters.values():
            for phase in inverter.phases:
                grid[phase] += inverter.net_load_w(phase) - inverter.output_w(phase)
        return grid

    def _measure(self) -> None:
        spec = self.spec
        self._past.append(_Moment(self.t_s, self._grid_w(), self._read_inverters()))
        oldest_s = self.t_s - max(spec.meter_lag_s, spec.vebus_lag_s)
        while len(self._past) > 1 and self._past[1].t_s <= oldest_s + _TIE_S:
            self._past.popleft()

        if self.t_s >= self._next_meter_s - _TIE_S:
            self._next_meter_s = self.t_s + spec.meter_interval_s
            then = self._at(self.t_s - spec.meter_lag_s)
            noisy = {phase: self._with_noise(w) for phase, w in then.grid_w.items()}
            self.meter = MeterReading(noisy, then.t_s)
        if self.t_s >= self._next_vebus_s - _TIE_S:
            self._next_vebus_s = self.t_s + spec.vebus_interval_s
            self.vebus = self._at(self.t_s - spec.vebus_lag_s).vebus

    def _read_inverters(self) -> dict[str, VebusReading]:
        readings = {}
        for name, inverter in self.inverters.items():
            out = {phase: inverter.net_load_w(phase) for phase in inverter.phases}
            in_w = {phase: out[phase] - inverter.output_w(phase) for phase in inverter.phases}
            readings[name] = VebusReading(out, in_w, inverter.assisting, self.t_s)
        return readings

    def _at(self, t_s: float) -> _Moment:
        """Return the newest moment not after `t_s`, else the oldest known."""
        return next(
            (each for each in reversed(self._past) if each.t_s <= t_s + _TIE_S), self._past[0]
        )

    def _with_noise(self, power_w: float) -> float:
        deviation_w = self.spec.meter_noise * abs(power_w) + self.spec.meter_noise_w
        return power_w + self._random.gauss(0.0, deviation_w) if deviation_w else power_w
