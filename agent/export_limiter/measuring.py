"""The measurement of each limited quantity, from one poll of the bus.

Powers in W, times in s of a monotonic clock. Inverter output is positive out:
``/Ac/Out/P - /Ac/ActiveIn/P``, so that power only passed through from the AC input does not
count. Export is the negative of the grid meter, else of the AC input.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Tuple

from export_limiter import victron
from export_limiter.inverters import Site, all_known, sane
from export_limiter.limits import Measurement
from export_limiter.recent import Recent
from export_limiter.stillness import Stillness

Key = Tuple[str, str]  # service and path
Readings = Mapping[Key, Any]  # the values of one poll
PowerOf = Callable[[str], Optional[float]]  # the power of a path such as victron.OUT_POWER

# An inverter that returns under another name may for some seconds be there twice.
COUNTED_S = 10.0
IDLE_W = 50.0  # an idle inverter stands still, whatever the rest of the site does
# Values a second, on average; with the refresh of the cap that is not above ten calls.
MOST_POLLED = 9.8
LONGEST_TURN_S = 8.0  # what is read twice within 14 s may be found to stand still


class Measuring:
    """Knows what to read, and makes a measurement of the answers.

    ``export_limited``: the cap follows the grid meter, so output and export must both live.
    """

    def __init__(self, site: Site, export_limited: bool = False) -> None:
        self._site = site
        self._export_limited = export_limited
        self._pv_inverter_seen = False  # it may leave the bus at night
        self._most_inverters = 0.0
        self._inverters_there = Recent()
        self._stillness: Dict[str, Stillness] = {}
        self._wanted: List[Key] = []
        self._others_polled_at = -math.inf
        self._left_out: Set[str] = set()  # inverters that have not their turn in this poll
        self._readings: Readings = {}
        self._outputs: Dict[str, Optional[float]] = {}
        self._live: Set[Key] = set()  # phases that have had a value

    def polled_paths(self, per_phase: bool, now: float) -> List[Key]:
        """What to read this tick: signals come on change only, so silence proves nothing.

        Where that is much, inverters that we do not control have their turn each few seconds.
        """
        main, meter = self._site.main_inverter(), self._site.meter()
        wanted: List[Key] = []
        for name in self._site.inverters():
            each = per_phase and name == main
            wanted += self._power_keys(name, victron.OUT_POWER, each)
            wanted += self._power_keys(name, victron.IN_POWER, each)
        if meter is not None:
            each = per_phase and self._export_limited
            wanted += self._power_keys(meter, victron.GRID_POWER, each)
        others = [(name, path) for name, path in wanted if name not in (main, meter)]
        turn_s = min(LONGEST_TURN_S, len(others) / (MOST_POLLED - len(wanted) + len(others)))
        # One that did not answer has nothing that could stand meanwhile: it is asked at once.
        all_stand = all(self._outputs.get(name) is not None for name, _ in others)
        if turn_s > 1.0 and all_stand and now - self._others_polled_at < turn_s:
            wanted = [key for key in wanted if key not in others]
            self._left_out = {name for name, _ in others}
        else:
            self._others_polled_at = now
            self._left_out = set()
        self._wanted = wanted
        return wanted

    def measure(
        self, readings: Readings, binding_cap_w: Optional[float], now: float
    ) -> Measurement:
        """The measurement from one poll. Out and ActiveIn are never taken from two moments.

        The output of an inverter that was left out this time is that of the last.
        """
        self._readings = readings
        outputs = self._outputs = {
            name: self._outputs.get(name) if name in self._left_out else self._output_w(name)
            for name in self._site.inverters()
        }
        main = self._site.main_inverter()
        known_w = all_known(list(outputs.values()))
        gone = self._gone(len(outputs), now)
        export_w = self._export_w(main)
        self._pv_inverter_seen |= bool(self._site.names(victron.PVINVERTER))
        return Measurement(
            output_w=sum(known_w) if known_w and not gone else None,
            controlled_w=outputs.get(main) if main else None,
            export_w=export_w,
            phase_outputs_w=self._phases_w(main, self._phase_output_w),
            phase_exports_w=self._phases_w(main, self._phase_export_w),
            nominal_w=self._site.power(main, victron.NOMINAL_POWER) if main else None,
            pv_inverter=self._pv_inverter_seen,
            assisting=bool(main and self._site.assisting(main)),
            frozen=self._frozen(main, export_w, binding_cap_w, now),
            inverter_gone=gone,
            no_meter=self._site.meter() is None and self._site.meter_lost(),
        )

    def _gone(self, there: int, now: float) -> bool:
        """Whether fewer inverters are there than have been, whatever their names."""
        self._inverters_there.add(now, there, COUNTED_S)
        fewest = min(self._inverters_there.aged(now, 0.0, COUNTED_S))
        self._most_inverters = max(self._most_inverters, fewest)
        return there < self._most_inverters

    def _power_keys(self, name: str, power: str, per_phase: bool) -> List[Key]:
        """The total where the service has one; else, or where phases count, its phases."""
        keys = [(name, victron.of_phase(power, phase)) for phase in victron.PHASES]
        phases = [key for key in keys if self._site.knows(*key)]
        has_total = self._site.knows(name, power)
        return [(name, power)] if has_total and not (phases and per_phase) else phases

    def _read_w(self, name: str, path: str) -> Optional[float]:
        return sane(self._readings.get((name, path)))

    def _total_w(self, name: str, power: str) -> Optional[float]:
        if (name, power) in self._wanted:
            return self._read_w(name, power)
        keys = [(name, victron.of_phase(power, phase)) for phase in victron.PHASES]
        self._live.update(key for key in keys if self._read_w(*key) is not None)
        # A phase that the system does not have never has a value; one that loses it is lost data.
        known_w = all_known([self._read_w(*key) for key in keys if key in self._live])
        return sum(known_w) if known_w else None

    def _output_w(self, name: str) -> Optional[float]:
        return _own_w(self._site, name, lambda power: self._total_w(name, power))

    def _phase_output_w(self, name: str, phase: str) -> Optional[float]:
        return _own_w(
            self._site, name, lambda power: self._read_w(name, victron.of_phase(power, phase))
        )

    def _export_w(self, main: Optional[str]) -> Optional[float]:
        key = self._import_key(main)
        if key is None:
            return None
        name, power = key
        no_input = self._site.value(name, victron.ACTIVE_INPUT) == victron.NO_ACTIVE_INPUT
        # Without an active input there is nothing to feed into.
        import_w = 0.0 if no_input else self._total_w(name, power)
        return None if import_w is None else 0.0 - import_w

    def _phase_export_w(self, main: str, phase: str) -> Optional[float]:
        key = self._import_key(main)
        import_w = self._read_w(key[0], victron.of_phase(key[1], phase)) if key else None
        return None if import_w is None else 0.0 - import_w  # never -0.0

    def _import_key(self, main: Optional[str]) -> Optional[Key]:
        """What the site draws is told by the grid meter, else by the AC input."""
        meter = self._site.meter()
        if self._site.meter_lost():
            return None
        if meter is not None:
            return meter, victron.GRID_POWER
        return None if main is None else (main, victron.IN_POWER)

    def _phases_w(
        self, main: Optional[str], of_phase: Callable[[str, str], Optional[float]]
    ) -> Tuple[float, ...]:
        """All phases or none: a missing one makes the others useless."""
        if main is None:
            return ()
        return all_known([of_phase(main, phase) for phase in self._site.phases(main)])

    def _frozen(
        self, main: Optional[str], export_w: Optional[float], cap_w: Optional[float], now: float
    ) -> Tuple[str, ...]:
        """Quantities of which a service repeats itself while the rest of the site moves."""
        meter = self._site.meter()
        metered_w = export_w if meter else None
        found = []
        for name, output_w in self._outputs.items():
            still = self._stands_still(name, metered_w, cap_w if name == main else None, now)
            if still and output_w is not None and abs(output_w) > IDLE_W:
                found.append("output" if name == main else "others")
        output_w = self._outputs.get(main) if main else None
        if meter and self._stands_still(meter, output_w, cap_w, now):
            found.append("export")
        return tuple(found)

    def _stands_still(
        self, name: str, other_w: Optional[float], cap_w: Optional[float], now: float
    ) -> bool:
        if name not in self._stillness:
            self._stillness[name] = Stillness(self._export_limited)
        read = tuple(v for (service, _), v in sorted(self._readings.items()) if service == name)
        if read:
            self._stillness[name].note(read, other_w, cap_w, now)
        return self._stillness[name].frozen


def signalled_phase_w(site: Site, name: str, phase: str) -> Optional[float]:
    """The output of a phase by the newest signals, of two moments: for people only."""
    return _own_w(site, name, lambda power: site.power(name, victron.of_phase(power, phase)))


def _own_w(site: Site, name: str, power_w: PowerOf) -> Optional[float]:
    """What an inverter delivers itself: all of its output while no input is active."""
    out_w = power_w(victron.OUT_POWER)
    if out_w is None or _no_input(site, name):
        return out_w
    in_w = power_w(victron.IN_POWER)
    return None if in_w is None else out_w - in_w


def _no_input(site: Site, name: str) -> bool:
    """No active input, or a unit that never had the path: all output is its own."""
    if site.value(name, victron.ACTIVE_INPUT) == victron.NO_ACTIVE_INPUT:
        return True
    phases = [victron.of_phase(victron.IN_POWER, phase) for phase in victron.PHASES]
    return not any(site.knows(name, path) for path in (victron.IN_POWER, *phases))
