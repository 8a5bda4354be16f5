"""The measurement of each limited quantity, from one poll of the bus.

Powers in W, times in s of a monotonic clock. Inverter output is positive out:
``/Ac/Out/P - /Ac/ActiveIn/P``, so that power only passed through from the AC input does not
count. Export is the negative of the grid meter, else of the AC input.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Tuple

from export_limiter import victron
from export_limiter.inverters import Site, sane
from export_limiter.limits import Measurement
from export_limiter.recent import Highest
from export_limiter.stillness import FROZEN_NOT_DUE_S, FROZEN_S, Stillness

Readings = Mapping[Tuple[str, str], Any]  # (service, path) -> value, of one poll

# An inverter that returns under another name may for some seconds be there twice.
COUNTED_S = 10.0
IDLE_W = 50.0  # an idle inverter stands still, whatever the rest of the site does
MOST_POLLED = 9.8  # values in one tick of a second; with the refresh of the cap not above ten calls


class Measuring:
    """Knows what to read, and makes a measurement of the answers.

    ``export_limited``: the cap follows the grid meter, so output and export must both live.
    """

    def __init__(self, site: Site, export_limited: bool = False) -> None:
        self._site = site
        self._export_limited = export_limited
        self._pv_inverter_seen = False  # it may leave the bus at night
        self._most_inverters = 0.0
        self._fewest_inverters = Highest()  # of the negative
        self._stillness: Dict[str, Stillness] = {}
        self._wanted: List[Tuple[str, str]] = []
        self._live: Set[Tuple[str, str]] = set()  # phases that have had a value
        self._outputs: Dict[str, Optional[float]] = {}
        self._others_polled_at = -math.inf

    def polled_paths(self, per_phase: bool, now: float) -> List[Tuple[str, str]]:
        """What to read this tick: signals come on change only, so silence proves nothing.

        Where that is much, inverters that we do not control have their turn each few seconds.
        """
        wanted: List[Tuple[str, str]] = []
        main, meter = self._site.main_inverter(), self._site.meter()
        for name in self._site.inverters():
            each = per_phase and name == main
            wanted += self._power_paths(name, victron.OUT_POWER, victron.out_phase, each)
            wanted += self._power_paths(name, victron.IN_POWER, victron.in_phase, each)
        if meter is not None:
            each = per_phase and self._export_limited
            wanted += self._power_paths(meter, victron.GRID_POWER, victron.grid_phase, each)
        others = [(name, path) for name, path in wanted if name not in (main, meter)]
        turn_s = len(others) / (MOST_POLLED - (len(wanted) - len(others)))
        # One that did not answer has nothing that could stand meanwhile: it is asked at once.
        all_known = all(self._outputs.get(name) is not None for name, _ in others)
        if turn_s > 1.0 and all_known and now - self._others_polled_at < turn_s:
            wanted = [key for key in wanted if key not in others]
        else:
            self._others_polled_at = now
        self._wanted = wanted
        return wanted

    def measure(
        self, readings: Readings, binding_cap_w: Optional[float], now: float
    ) -> Measurement:
        """The measurement from one poll. Out and ActiveIn are never taken from two moments.

        The output of an inverter that was not asked this time is that of the last.
        """
        asked = {name for name, _ in self._wanted}
        outputs = self._outputs = {
            name: self._output_w(name, readings) if name in asked else self._outputs.get(name)
            for name in self._site.inverters()
        }
        main = self._site.main_inverter()
        known = [w for w in outputs.values() if w is not None]
        gone = self._gone(len(outputs), now)
        all_known = bool(known) and len(known) == len(outputs) and not gone
        export_w = self._export_w(main, readings)
        self._pv_inverter_seen |= bool(self._site.names(victron.PVINVERTER))
        return Measurement(
            output_w=sum(known) if all_known else None,
            controlled_w=outputs.get(main) if main else None,
            export_w=export_w,
            phase_outputs_w=self._phases_w(main, self._phase_output_w, readings),
            phase_exports_w=self._phases_w(main, self._phase_export_w, readings),
            nominal_w=self._site.power(main, victron.NOMINAL_POWER) if main else None,
            pv_inverter=self._pv_inverter_seen,
            assisting=bool(main and self._site.assisting(main)),
            frozen=self._frozen(main, readings, outputs, export_w, binding_cap_w, now),
            inverter_gone=gone,
            no_meter=self._site.meter() is None and self._site.meter_lost(),
        )

    def _gone(self, there: int, now: float) -> bool:
        """Whether fewer inverters are there than have been, whatever their names."""
        fewest = -self._fewest_inverters.of(-there, now, COUNTED_S)
        self._most_inverters = max(self._most_inverters, fewest)
        return there < self._most_inverters

    def _power_paths(
        self, name: str, total: str, phase_path: Any, per_phase: bool
    ) -> List[Tuple[str, str]]:
        """The total where the service has one; else, or where phases count, its phases."""
        phases = [
            (name, phase_path(p)) for p in victron.PHASES if self._site.knows(name, phase_path(p))
        ]
        has_total = self._site.knows(name, total)
        return [(name, total)] if has_total and not (phases and per_phase) else phases

    def _total_w(
        self, name: str, total: str, phase_path: Any, readings: Readings
    ) -> Optional[float]:
        if (name, total) in self._wanted:
            return sane(readings.get((name, total)))
        keys = [(name, phase_path(p)) for p in victron.PHASES]
        valid_w = {key: w for key, w in ((k, sane(readings.get(k))) for k in keys) if w is not None}
        self._live.update(valid_w)
        # A phase that the system does not have never has a value; one that loses it is lost data.
        whole = bool(valid_w) and all(key in valid_w for key in keys if key in self._live)
        return sum(valid_w.values()) if whole else None

    def _output_w(self, name: str, readings: Readings) -> Optional[float]:
        out_w = self._total_w(name, victron.OUT_POWER, victron.out_phase, readings)
        if out_w is None or self._no_input(name):
            return out_w
        in_w = self._total_w(name, victron.IN_POWER, victron.in_phase, readings)
        return None if in_w is None else out_w - in_w

    def _no_input(self, name: str) -> bool:
        """No active input, or a unit that never had the path: all output is its own."""
        if self._site.value(name, victron.ACTIVE_INPUT) == victron.NO_ACTIVE_INPUT:
            return True
        paths = (victron.IN_POWER, *map(victron.in_phase, victron.PHASES))
        return not any(self._site.knows(name, path) for path in paths)

    def signalled_phase_w(self, name: str, phase: str) -> Optional[float]:
        """The output of a phase by the newest signals, of two moments: for people only."""
        paths = (victron.out_phase(phase), victron.in_phase(phase))
        signalled = {(name, path): self._site.value(name, path) for path in paths}
        return self._phase_output_w(name, phase, signalled)

    def _phase_output_w(self, name: str, phase: str, readings: Readings) -> Optional[float]:
        out_w = sane(readings.get((name, victron.out_phase(phase))))
        if out_w is None or self._no_input(name):
            return out_w
        in_w = sane(readings.get((name, victron.in_phase(phase))))
        return None if in_w is None else out_w - in_w

    def _export_w(self, main: Optional[str], readings: Readings) -> Optional[float]:
        meter = self._site.meter()
        if self._site.meter_lost():
            import_w = None
        elif meter is not None:
            import_w = self._total_w(meter, victron.GRID_POWER, victron.grid_phase, readings)
        elif main is None:
            import_w = None
        elif self._site.value(main, victron.ACTIVE_INPUT) == victron.NO_ACTIVE_INPUT:
            import_w = 0.0  # nothing to feed into
        else:
            import_w = self._total_w(main, victron.IN_POWER, victron.in_phase, readings)
        return None if import_w is None else 0.0 - import_w

    def _phase_export_w(self, main: str, phase: str, readings: Readings) -> Optional[float]:
        if self._site.meter_lost():
            return None
        meter = self._site.meter()
        key = (meter, victron.grid_phase(phase)) if meter else (main, victron.in_phase(phase))
        import_w = sane(readings.get(key))
        return None if import_w is None else -import_w

    def _phases_w(
        self,
        main: Optional[str],
        of_phase: Callable[[str, str, Readings], Optional[float]],
        readings: Readings,
    ) -> Tuple[float, ...]:
        """All phases or none: a missing one makes the others useless."""
        if main is None:
            return ()
        values_w = [of_phase(main, phase, readings) for phase in self._site.phases(main)]
        valid = tuple(w for w in values_w if w is not None)
        return valid if len(valid) == len(values_w) else ()

    def _frozen(
        self,
        main: Optional[str],
        readings: Readings,
        outputs: Mapping[str, Optional[float]],
        export_w: Optional[float],
        cap_w: Optional[float],
        now: float,
    ) -> Tuple[str, ...]:
        """Quantities of which a service repeats itself while the rest of the site moves."""
        meter = self._site.meter()
        metered_w = export_w if meter else None
        patience_s = FROZEN_S if self._export_limited else FROZEN_NOT_DUE_S
        found = []
        for name, output_w in outputs.items():
            own_cap_w = cap_w if name == main else None
            still = self._stands_still(name, readings, metered_w, own_cap_w, patience_s, now)
            if still and output_w is not None and abs(output_w) > IDLE_W:
                found.append("output" if name == main else "others")
        output_w = outputs.get(main) if main else None
        if meter and self._stands_still(meter, readings, output_w, cap_w, FROZEN_S, now):
            found.append("export")
        return tuple(found)

    def _stands_still(
        self,
        name: str,
        readings: Readings,
        other_w: Optional[float],
        cap_w: Optional[float],
        patience_s: float,
        now: float,
    ) -> bool:
        mine = tuple(v for (service, _), v in sorted(readings.items()) if service == name)
        stillness = self._stillness.setdefault(name, Stillness())
        if mine:
            stillness.note(mine, other_w, cap_w, patience_s, now)
        return stillness.frozen
