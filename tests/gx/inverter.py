"""A deterministic model of one VE.Bus system: how its output follows a command.

Powers are in W, times in s; output is positive out of the inverter, negative charges the battery.

The response to a command is a dead time, a first-order lag and a slew: 1.0 s and 0.62 s as fitted
on a MultiPlus-II, 400 W/s per unit as the ESS manual says (off by default: traces disagree).
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

PHASES = ("L1", "L2", "L3")
MAINS_V = 230.0

PhasePower = dict[str, float]


class InverterSpec(NamedTuple):
    """One VE.Bus system: `units` MultiPlus of `nominal_w` each, evenly over `phases` phases."""

    name: str = "ttyS4"
    phases: int = 3
    units: int = 3
    nominal_w: float = 12000.0
    ess: bool = True


class Response(NamedTuple):
    """How power follows a command: `gain` x command + `offset_w`; the slew is per unit or None.

    With `holds_input` the inverter keeps its AC input where the command put it, as the open
    hub4control of 2016 commands it: what a load changes in between is carried by the inverter, so
    that a load step exceeds a cap until the next command acts. Without, the grid carries it.
    """

    dead_time_s: float = 1.0
    lag_s: float = 0.62
    slew_w_per_s: float | None = None
    gain: float = 1.0
    offset_w: float = 0.0
    holds_input: bool = False


class Actuator:
    """One phase of one inverter: from a command to real power."""

    def __init__(self, response: Response) -> None:
        self.power_w = 0.0
        self._response = response
        self._commands: deque[tuple[float, float]] = deque()
        self._command_w = 0.0

    def command(self, t_s: float, power_w: float) -> None:
        """Ask for `power_w`; it acts after the dead time."""
        self._commands.append((t_s + self._response.dead_time_s, power_w))

    def follow(self, t_s: float, dt_s: float) -> None:
        """Move towards the newest command whose dead time is over."""
        while self._commands and self._commands[0][0] <= t_s + 1e-9:
            self._command_w = self._commands.popleft()[1]
        response = self._response
        offset_w = response.offset_w if self._command_w > 0 else 0.0
        move_w = response.gain * self._command_w + offset_w - self.power_w
        if response.lag_s > 0:
            move_w *= 1 - math.exp(-dt_s / response.lag_s)
        if response.slew_w_per_s is not None:
            most_w = response.slew_w_per_s * dt_s
            move_w = max(-most_w, min(most_w, move_w))
        self.power_w += move_w

    def force(self, power_w: float) -> None:
        """Be at `power_w` at once, as an island's inverter has to, and stay there."""
        self._commands.clear()
        self._command_w = self.power_w = power_w


class Inverter:
    """One VE.Bus system; the public attributes are its inputs and may be changed at any time."""

    def __init__(self, spec: InverterSpec, response: Response) -> None:
        self.spec = spec
        self.phases = PHASES[: spec.phases]
        self.nominal_w = spec.units * spec.nominal_w
        self.load_w: PhasePower = dict.fromkeys(self.phases, 0.0)
        self.pv_w: PhasePower = dict.fromkeys(self.phases, 0.0)  # AC-coupled, on the AC output
        self.own_output_w = 0.0  # delivered by an inverter without ESS, at most its load
        self.limit_w: float | None = None  # bounds that hold whoever commands
        self.phase_limit_w: dict[str, float] = {}
        self.input_limit_a: float | None = None
        self._holds_input = response.holds_input
        self._assist_w: PhasePower = dict.fromkeys(self.phases, 0.0)
        units = spec.units / spec.phases
        slew_w_per_s = response.slew_w_per_s
        each = response._replace(
            offset_w=response.offset_w / spec.phases,
            slew_w_per_s=None if slew_w_per_s is None else slew_w_per_s * units,
        )
        self._actuators = {phase: Actuator(each) for phase in self.phases}

    @property
    def assisting(self) -> bool:
        """Whether PowerAssist adds to what was commanded."""
        return any(self._assist_w.values())

    def net_load_w(self, phase: str) -> float:
        """What the AC output of one phase draws, negative where its PV gives more."""
        return self.load_w[phase] - self.pv_w[phase]

    def output_w(self, phase: str) -> float:
        """Real inverter output of one phase: AC output minus AC input."""
        power_w = self._actuators[phase].power_w
        if self._holds_input:
            power_w = self.net_load_w(phase) - power_w
        return power_w + self._assist_w[phase]

    def command(self, t_s: float, split_w: PhasePower) -> None:
        """Pass a power per phase on to the actuators, bounded by nominal power and phase limit."""
        nominal_w = self.nominal_w / len(self.phases)
        for phase, power_w in split_w.items():
            most_w = min(nominal_w, self.phase_limit_w.get(phase, math.inf))
            bounded_w = max(-nominal_w, min(power_w, most_w))
            if self._holds_input:
                bounded_w = self.net_load_w(phase) - bounded_w
            self._actuators[phase].command(t_s, bounded_w)

    def follow(self, t_s: float, dt_s: float) -> None:
        """Advance with the grid present; above the input current limit PowerAssist helps."""
        for phase, actuator in self._actuators.items():
            actuator.follow(t_s, dt_s)
            self._assist_w[phase] = 0.0
            if self.input_limit_a is not None:
                in_w = self.net_load_w(phase) - self.output_w(phase)
                self._assist_w[phase] = max(0.0, in_w - self.input_limit_a * MAINS_V)

    def island(self) -> None:
        """Carry whatever the AC output draws: without a grid the load decides."""
        for phase, actuator in self._actuators.items():
            actuator.force(0.0 if self._holds_input else self.net_load_w(phase))
            self._assist_w[phase] = 0.0


def split(total_w: float, load_w: PhasePower, how: str) -> PhasePower:
    """Divide an output over phases: `proportional` to the loads, `equal_cut` or `equal_share`.

    How a three-phase ESS divides a bounded total is not documented, hence three ways. What exceeds
    the loads, and what charges, is shared equally in each.
    """
    need_w = sum(load_w.values())
    if how == "equal_share" or total_w < 0:
        return dict.fromkeys(load_w, total_w / len(load_w))
    if total_w >= need_w:
        return {phase: w + (total_w - need_w) / len(load_w) for phase, w in load_w.items()}
    if how == "proportional":
        drawn_w = sum(max(0.0, w) for w in load_w.values())
        return {phase: total_w * max(0.0, w) / drawn_w for phase, w in load_w.items()}
    return _equal_cut(total_w, load_w)


def _equal_cut(total_w: float, load_w: PhasePower) -> PhasePower:
    """Lower all phases by the same power, none below zero, until `total_w` remains."""
    cut_w, left = -math.inf, dict(load_w)
    while any(w < cut_w for w in left.values()) or cut_w == -math.inf:
        left = {phase: w for phase, w in left.items() if w > max(0.0, cut_w)}
        cut_w = (sum(left.values()) - total_w) / len(left)
    return {phase: max(0.0, w - cut_w) if phase in left else 0.0 for phase, w in load_w.items()}
