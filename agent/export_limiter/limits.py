"""Every limit together, judged by the measurement of the moment: the tightest wins. Powers in W."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

from export_limiter.bounds import NO_CHANGE, Bounds, ExportLimit, OutputLimit, PhaseShare
from export_limiter.config import Config, failsafe_limit_w
from export_limiter.recent import Recent


class Measurement(NamedTuple):
    """One poll of the site, W; ``None`` where the bus gave no usable figure this time.

    ``output_w`` is what all inverters deliver themselves (of some by the poll of their last turn),
    ``controlled_w`` the part of the one inverter that obeys the cap. The phase tuples follow L1,
    L2, L3 and are empty when unknown.
    ``frozen`` names quantities whose figure is there but no longer lives: "output" (of the one
    inverter), "others" (of an inverter beside it), "export".
    With ``inverter_gone`` fewer inverters are there than there have been, and ``output_w`` is
    ``None``: the one that does not tell any more may go on delivering. With ``no_meter`` ESS is
    set to an external grid meter, and none has been seen.
    """

    output_w: Optional[float]
    controlled_w: Optional[float]
    export_w: Optional[float] = None
    phase_outputs_w: Tuple[float, ...] = ()
    phase_exports_w: Tuple[float, ...] = ()
    nominal_w: Optional[float] = None
    pv_inverter: bool = False
    assisting: bool = False
    frozen: Tuple[str, ...] = ()
    inverter_gone: bool = False
    no_meter: bool = False

    @property
    def other_w(self) -> Optional[float]:
        """What the inverters deliver that the cap does not act on."""
        if self.output_w is None or self.controlled_w is None:
            return None
        return self.output_w - self.controlled_w


class Actuator(NamedTuple):
    """What the control point is like: written to flash or not, each phase or the total.

    Not ``acting``: nothing obeys a cap there now, so output teaches nothing about it.
    """

    stored: bool = False
    per_phase: bool = False
    writes_left: int = 1000
    acting: bool = True


class Tick(NamedTuple):
    """What the limits are judged by: one measurement, how fresh it is, and what the cap acts on.

    ``outputs`` holds the inverter's output of the last seconds; a cap up to ``binding_from_w``
    binds; a wanted output times ``gain`` is the cap that yields it.
    """

    measurement: Measurement
    now: float
    fresh: bool
    lost: Sequence[str]
    outputs: Recent
    binding_from_w: float
    gain: float
    actuator: Actuator


class Limits:
    """Every configured limit at once: the tightest wins."""

    def __init__(self, config: Config) -> None:
        self._config = config
        output_w, export_w = config.max_multiplus_output_w, config.max_grid_export_w
        self._output = None if output_w is None else OutputLimit(output_w, config)
        self.export = None if export_w is None else ExportLimit(export_w, config)
        self._output_share: Optional[PhaseShare] = None
        self._export_share: Optional[PhaseShare] = None
        if output_w is not None and config.per_phase is True:  # "strict" is armed beforehand
            self._output_share = PhaseShare(output_w, config)
        if export_w is not None and config.per_phase:
            self._export_share = PhaseShare(export_w, config)
        self.follows_site = self.export is not None or config.per_phase is True

    def bounds(self, tick: Tick) -> Bounds:
        """The lowest of what they ask for, and the lowest of what they allow."""
        stored, per_phase = tick.actuator.stored, tick.actuator.per_phase
        # In whole hundredths where each correction is a write to flash.
        gain = round(tick.gain, 2) if stored else tick.gain
        # A fixed cap is never raised because less is delivered: it is what may be delivered.
        fixed_gain = min(1.0, gain)
        every = []
        if self._output:
            # Known as long as the inverters tell it, whatever the grid meter does.
            other_w = tick.measurement.other_w
            output = self._output.bounds(other_w, stored, per_phase, tick.now)
            every.append(output.corrected(fixed_gain))
        if self.export:
            export = self._export_bounds(self.export, tick)
            every.append(export.corrected(fixed_gain if stored else gain))
        if not per_phase:
            every.extend(share.corrected(gain) for share in self._share_bounds(tick))
        return Bounds(min(b.tighten_w for b in every), min(b.relax_w for b in every))

    def _export_bounds(self, export: ExportLimit, tick: Tick) -> Bounds:
        failsafe_w = failsafe_limit_w(self._config, tick.measurement.pv_inverter)
        export_w = tick.measurement.export_w
        if tick.fresh and export_w is not None and not tick.actuator.stored:
            return export.bounds(export_w, tick.outputs, tick.binding_from_w, tick.now)
        export.unseen()
        if tick.actuator.stored:
            # Following a load would wear the flash: the cap stands where no load can matter.
            return Bounds(failsafe_w, failsafe_w)
        return Bounds(tighten_w=failsafe_w) if tick.lost else NO_CHANGE

    def _share_bounds(self, tick: Tick) -> List[Bounds]:
        outputs_w = tick.measurement.phase_outputs_w if tick.fresh else ()
        exports_w = tick.measurement.phase_exports_w
        every = []
        if self._output_share:
            every.append(self._output_share.bounds(outputs_w, [0.0] * len(outputs_w), tick.now))
        if self._export_share:
            others_w = tuple(x - o for x, o in zip(exports_w, outputs_w))
            known = outputs_w if len(others_w) == len(outputs_w) else ()
            every.append(self._export_share.bounds(known, others_w, tick.now))
        return every
