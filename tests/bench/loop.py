"""Law and plant in closed loop on a stepped clock: nothing here depends on the wall clock."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from export_limiter.limits import Measurement
from gx.inverter import InverterSpec, PhasePower, Response
from gx.plant import Plant, PlantSpec

from bench.laws import Case, Law, Unlimited, View
from bench.profiles import END_S, EXPORT, Profile

DT_S = 0.1
SHARES = {1: (1.0,), 3: (0.4, 0.33, 0.27)}  # of the load, by phase
GRID_SETPOINT_W = 50.0
SEED = 1
NAME = "ttyS4"


class Sample(NamedTuple):
    """The truth of one step, W; `allowed_w` is what the inverter could deliver within the limit.

    `limited_w` and `limit_w` are of the worst phase where each phase has its share.
    """

    t_s: float
    limited_w: float
    limit_w: float
    output_w: float
    allowed_w: float
    cap_w: float | None


class Write(NamedTuple):
    """One changed cap, W."""

    t_s: float
    before_w: float
    after_w: float


class Run(NamedTuple):
    """What came of a case under a law."""

    samples: Sequence[Sample]
    writes: Sequence[Write]
    hunting: bool


def run(case: Case, law: Law) -> Run:
    """Run a case to its end."""
    reach_w = None if isinstance(law, Unlimited) else _reach_w(case)
    return _Loop(case, law).run(reach_w)


@functools.lru_cache(maxsize=64)
def _reach_w(case: Case) -> Sequence[float]:
    """What the inverter delivers in the same case when nothing limits it, step by step."""
    return [sample.output_w for sample in run(case, Unlimited()).samples]


class _Loop:
    def __init__(self, case: Case, law: Law) -> None:
        self._case = case
        self._law = law
        self._plant = _make_plant(case)
        self._outputs: deque[tuple[float, float]] = deque()
        self._writes: list[Write] = []
        self._set_inputs(0.0)
        self._plant.settle()

    def run(self, reach_w: Sequence[float] | None) -> Run:
        plant, profile = self._plant, self._case.profile
        next_tick_s, samples = 0.0, []
        for i in range(round(END_S / DT_S)):
            t_s = i * DT_S
            self._set_inputs(t_s)
            plant.step(DT_S)
            truth = plant.truth()
            self._remember(truth.output_w)
            limit_w = profile.limit(t_s)
            if t_s >= next_tick_s - 1e-6:
                next_tick_s += self._law.interval_s
                self._tick(t_s, limit_w)
            allowed_w = truth.output_w
            if reach_w is not None:
                allowed_w = max(0.0, min(reach_w[i], self._room_w(t_s, limit_w)))
            limited_w = truth.export_w if self._case.product == EXPORT else truth.output_w
            if self._case.setting.per_phase:
                limited_w = len(plant.phases) * max(self._phases_w(truth.output_phases_w))
            samples.append(Sample(t_s, limited_w, limit_w, truth.output_w, allowed_w, plant.cap_w))
        return Run(samples, self._writes, getattr(self._law, "hunting", False))

    def _tick(self, t_s: float, limit_w: float) -> None:
        plant = self._plant
        view = self._view(t_s, limit_w)
        cap_w = self._law.decide(view)
        if cap_w is None:
            return
        cap_w = float(round(max(0.0, min(self._case.nominal_w, cap_w))))
        if cap_w != plant.cap_w:
            before_w = view.cap_w
            self._writes.append(Write(t_s, before_w, cap_w))
            plant.cap_w = cap_w

    def _view(self, t_s: float, limit_w: float) -> View:
        plant, export = self._plant, self._case.product == EXPORT
        vebus = plant.vebus[NAME]
        outputs_w = {p: vebus.out_w[p] - vebus.in_w[p] for p in plant.phases}
        exports_w = tuple(-w for w in plant.meter.phases_w.values())
        output_w, export_w = sum(outputs_w.values()), sum(exports_w)
        nominal_w = self._case.nominal_w
        return View(
            t_s=t_s,
            limited_w=export_w if export else output_w,
            output_w=output_w,
            limit_w=limit_w,
            cap_w=nominal_w if plant.cap_w is None else plant.cap_w,
            other_w=export_w - self._output_at(plant.meter.measured_at_s) if export else 0.0,
            measurement=Measurement(
                output_w,
                output_w,
                export_w,
                phase_outputs_w=tuple(outputs_w.values()),
                phase_exports_w=exports_w,
                nominal_w=nominal_w,
            ),
        )

    def _remember(self, output_w: float) -> None:
        self._outputs.append((self._plant.t_s, output_w))
        while self._outputs[0][0] < self._plant.t_s - 10.0:
            self._outputs.popleft()

    def _output_at(self, t_s: float) -> float:
        return min(self._outputs, key=lambda each: abs(each[0] - t_s))[1]

    def _room_w(self, t_s: float, limit_w: float) -> float:
        export = self._case.product == EXPORT
        return limit_w + self._case.profile.load(t_s) if export else limit_w

    def _phases_w(self, outputs_w: PhasePower) -> list[float]:
        """The limited quantity of each phase."""
        if self._case.product != EXPORT:
            return list(outputs_w.values())
        plant = self._plant
        return [w - plant.load_in_w[p] + plant.pv_in_w[p] for p, w in outputs_w.items()]

    def _set_inputs(self, t_s: float) -> None:
        plant, profile = self._plant, self._case.profile
        load_w = profile.load(t_s)
        if self._case.product == EXPORT:
            _share(plant.load_in_w, max(0.0, load_w))
            _share(plant.pv_in_w, max(0.0, -load_w))
        else:
            assert plant.main is not None
            # Beside this the plant imports its grid setpoint.
            _share(plant.main.load_w, demand_w(profile, t_s) + GRID_SETPOINT_W)


def demand_w(profile: Profile, t_s: float) -> float:
    """What the inverter would deliver without a limit where the excess comes as a load."""
    return min(profile.nominal_w, profile.pv_w - profile.load(t_s))


def _make_plant(case: Case) -> Plant:
    profile, setting = case.profile, case.setting
    meter_age_s = profile.meter_age_s if setting.meter_age_s is None else setting.meter_age_s
    unit_w = profile.unit_w * setting.oversize
    spec = PlantSpec(
        inverters=(InverterSpec(NAME, setting.phases, profile.units, unit_w),),
        response=Response(
            gain=setting.gain,
            slew_w_per_s=setting.slew_w_per_s,
            holds_input=setting.holds_input,
        ),
        loop_s=setting.loop_s,
        meter_lag_s=meter_age_s,
        meter_interval_s=0.0,
        meter_noise_w=profile.noise_w / setting.phases**0.5,
        vebus_lag_s=profile.vebus_age_s,
        vebus_interval_s=0.0,
        seed=SEED,
    )
    plant = Plant(spec)
    plant.grid_setpoint_w = GRID_SETPOINT_W
    if case.product == EXPORT:
        plant.feed_in, plant.charge_w, plant.pv_dc_w = True, 0.0, profile.pv_w
    return plant


def _share(phases_w: PhasePower, total_w: float) -> None:
    for phase, share in zip(phases_w, SHARES[len(phases_w)], strict=True):
        phases_w[phase] = share * total_w
