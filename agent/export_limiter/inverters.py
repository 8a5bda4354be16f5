"""What the bus last said about the site, and the measurement of each limited quantity.

Powers in W, times in s of a monotonic clock. Inverter output is positive out:
``/Ac/Out/P - /Ac/ActiveIn/P``, so that power only passed through from the AC input does not
count. Export is the negative of the grid meter, else of the AC input.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from export_limiter import victron
from export_limiter.limits import Measurement

Readings = Mapping[Tuple[str, str], Any]  # (service, path) -> value, of one poll

ABSURD_W = 2_000_000.0  # twice the highest limit that can be configured
FROZEN_S = 14.0  # so that the first reduction falls within 15 s
FROZEN_OTHER_W = 50.0
FROZEN_CAP_W = 200.0
AT_CURRENT_LIMIT_A = 0.5


class Inverter(NamedTuple):
    """One VE.Bus system as people know it."""

    service: str
    product: Optional[str]
    connected: bool
    main: bool
    phase_count: Optional[int]
    nominal_w: Optional[float]


class Site:
    """Every service we care about, with the last value of each path we read."""

    def __init__(self) -> None:
        self._services: Dict[str, Dict[str, Any]] = {}
        self._stillness: Dict[str, _Stillness] = {}
        self._meter: Optional[str] = None

    # Told by the bus

    def appeared(self, name: str) -> None:
        """A service has come, or come back with a new owner: nothing of it is known yet."""
        self._services[name] = {}

    def vanished(self, name: str) -> None:
        """A service is gone, and its values with it."""
        self._services.pop(name, None)
        self._stillness.pop(name, None)

    def learned(self, name: str, values: Mapping[str, Any]) -> None:
        """Values from a signal or a scan; ``None`` is Victron's ``[]``, no value."""
        if name in self._services:
            self._services[name].update(values)

    # Asked by the rest

    def names(self, service_class: str) -> List[str]:
        """Every service of a class, in a stable order."""
        mine = [n for n in self._services if victron.service_class(n) == service_class]
        return sorted(mine, key=lambda n: (self.value(n, victron.DEVICE_INSTANCE) or 0, n))

    def knows(self, name: str, path: str) -> bool:
        """Whether the service has the path, with a value or without."""
        return path in self._services.get(name, {})

    def value(self, name: str, path: str) -> Any:
        """The last value; ``None`` when there is none or the service is gone."""
        return self._services.get(name, {}).get(path)

    def single(self, service_class: str, path: str) -> Any:
        """A value of a class that has one service on the bus, such as ``system``."""
        names = self.names(service_class)
        return self.value(names[0], path) if names else None

    def power(self, name: str, path: str) -> Optional[float]:
        """A value in W; ``None`` where it is no sane number."""
        return sane(self.value(name, path))

    def inverters(self) -> List[str]:
        """Services with a unit attached. The service stays when the unit goes: /Connected is 0."""
        return [n for n in self.names(victron.VEBUS) if self._connected(n)]

    def main_inverter(self) -> Optional[str]:
        """The one that hub4control steers: systemcalc's choice, else the first."""
        candidates = self.inverters()
        main = self.single(victron.SYSTEM, victron.MAIN_VEBUS)
        if main in candidates:
            return str(main)
        return candidates[0] if candidates else None

    def describe(self) -> List[Inverter]:
        """Every inverter, for people."""
        main = self.main_inverter()
        return [
            Inverter(
                name,
                self.value(name, victron.PRODUCT_NAME),
                self._connected(name),
                name == main,
                self.value(name, victron.PHASE_COUNT),
                self.power(name, victron.NOMINAL_POWER),
            )
            for name in self.names(victron.VEBUS)
        ]

    def phases(self, name: str) -> Tuple[str, ...]:
        """The phases a VE.Bus system has: by its count, else by the values that are valid."""
        count = self.value(name, victron.PHASE_COUNT)
        if isinstance(count, int) and 1 <= count <= len(victron.PHASES):
            return victron.PHASES[:count]
        return tuple(
            p for p in victron.PHASES if self.power(name, victron.out_phase(p)) is not None
        )

    def on_grid(self, name: str) -> Optional[bool]:
        """Whether the grid is on the AC input; ``None`` while that can't be read."""
        active = self.value(name, victron.ACTIVE_INPUT)
        if active is None:
            return None
        if active == victron.NO_ACTIVE_INPUT:
            return False
        return bool(self.single(victron.SYSTEM, victron.AC_SOURCE) != victron.AC_SOURCE_GENSET)

    def assisting(self, name: str) -> bool:
        """PowerAssist: the inverter must add to an AC input that is at its current limit."""
        if self.value(name, victron.STATE) == victron.STATE_ASSISTING:
            return True
        limit_a = sane(self.value(name, victron.IN_CURRENT_LIMIT))
        currents_a = [sane(self.value(name, victron.in_current(p))) for p in victron.PHASES]
        if not limit_a or (self.power(name, victron.IN_POWER) or 0.0) <= 0:
            return False
        return any(a is not None and a >= limit_a - AT_CURRENT_LIMIT_A for a in currents_a)

    def meter(self) -> Optional[str]:
        """The grid meter. Once seen, its loss is lost data, never another way of measuring."""
        meters = [n for n in self.names(victron.GRID) if self._connected(n)]
        if meters:
            self._meter = meters[0]
        return self._meter

    # The measurement

    def polled_paths(self, per_phase: bool) -> List[Tuple[str, str]]:
        """What to read this tick: signals come on change only, so silence proves nothing."""
        wanted: List[Tuple[str, str]] = []
        for name in self.inverters():
            wanted += self._power_paths(name, victron.OUT_POWER, victron.out_phase, per_phase)
            if self.knows(name, victron.IN_POWER):
                wanted += self._power_paths(name, victron.IN_POWER, victron.in_phase, per_phase)
        meter = self.meter()
        if meter is not None:
            wanted += self._power_paths(meter, victron.GRID_POWER, victron.grid_phase, per_phase)
        return wanted

    def measure(
        self, readings: Readings, binding_cap_w: Optional[float], now: float
    ) -> Measurement:
        """The measurement from one poll. Out and ActiveIn are never taken from two moments."""
        outputs = {name: self._output_w(name, readings) for name in self.inverters()}
        main = self.main_inverter()
        controlled_w = outputs.get(main) if main else None
        lost = not outputs or any(w is None for w in outputs.values())
        export_w = self._export_w(main, readings)
        phases = self.phases(main) if main else ()
        return Measurement(
            output_w=None if lost else sum(w for w in outputs.values() if w is not None),
            controlled_w=None if lost else controlled_w,
            export_w=export_w,
            phase_outputs_w=self._per_phase(
                tuple(self._phase_output_w(main, p, readings) for p in phases) if main else ()
            ),
            phase_exports_w=self._per_phase(
                tuple(self._phase_export_w(main, p, readings) for p in phases)
            ),
            nominal_w=self.power(main, victron.NOMINAL_POWER) if main else None,
            pv_inverter=bool(self.names(victron.PVINVERTER)),
            assisting=bool(main and self.assisting(main)),
            frozen=self._frozen(main, readings, controlled_w, export_w, binding_cap_w, now),
        )

    def _connected(self, name: str) -> bool:
        return not self.knows(name, victron.CONNECTED) or bool(
            self.value(name, victron.CONNECTED) == 1
        )

    def _power_paths(
        self, name: str, total: str, phase_path: Any, per_phase: bool
    ) -> List[Tuple[str, str]]:
        """The total where the service has one, else its phases; both where phases count."""
        phases = [(name, phase_path(p)) for p in victron.PHASES if self.knows(name, phase_path(p))]
        if not self.knows(name, total):
            return phases
        return [(name, total)] + (phases if per_phase else [])

    def _total_w(
        self, name: str, total: str, phase_path: Any, readings: Readings
    ) -> Optional[float]:
        if self.knows(name, total):
            return sane(readings.get((name, total)))
        phases = [sane(readings.get((name, phase_path(p)))) for p in victron.PHASES]
        valid = [w for w in phases if w is not None]
        return sum(valid) if valid else None

    def _output_w(self, name: str, readings: Readings) -> Optional[float]:
        out_w = self._total_w(name, victron.OUT_POWER, victron.out_phase, readings)
        if out_w is None or self._no_input(name):
            return out_w
        in_w = self._total_w(name, victron.IN_POWER, victron.in_phase, readings)
        return None if in_w is None else out_w - in_w

    def _no_input(self, name: str) -> bool:
        """No active input, or a unit that never had the path: all output is its own."""
        if self.value(name, victron.ACTIVE_INPUT) == victron.NO_ACTIVE_INPUT:
            return True
        return not self.knows(name, victron.IN_POWER)

    def _phase_output_w(self, name: str, phase: str, readings: Readings) -> Optional[float]:
        out_w = sane(readings.get((name, victron.out_phase(phase))))
        if out_w is None or self._no_input(name):
            return out_w
        in_w = sane(readings.get((name, victron.in_phase(phase))))
        return None if in_w is None else out_w - in_w

    def _export_w(self, main: Optional[str], readings: Readings) -> Optional[float]:
        if self._meter is not None:
            import_w = self._total_w(self._meter, victron.GRID_POWER, victron.grid_phase, readings)
        elif main is not None and not self._no_input(main):
            import_w = self._total_w(main, victron.IN_POWER, victron.in_phase, readings)
        else:
            import_w = None
        return None if import_w is None else -import_w

    def _phase_export_w(
        self, main: Optional[str], phase: str, readings: Readings
    ) -> Optional[float]:
        name, path = self._meter, victron.grid_phase(phase)
        if name is None:
            name, path = main, victron.in_phase(phase)
        import_w = sane(readings.get((name, path))) if name else None
        return None if import_w is None else -import_w

    def _per_phase(self, values_w: Tuple[Optional[float], ...]) -> Tuple[float, ...]:
        """All phases or none: a missing one makes the others useless."""
        valid = tuple(w for w in values_w if w is not None)
        return valid if len(valid) == len(values_w) else ()

    def _frozen(
        self,
        main: Optional[str],
        readings: Readings,
        output_w: Optional[float],
        export_w: Optional[float],
        cap_w: Optional[float],
        now: float,
    ) -> Tuple[str, ...]:
        """Quantities whose service repeats itself while the rest of the site moves."""
        found = []
        for quantity, name, other_w in (
            ("output", main, export_w if self._meter else None),
            ("export", self._meter, output_w),
        ):
            if name is None:
                continue
            mine = tuple(v for (service, _), v in sorted(readings.items()) if service == name)
            still = self._stillness.setdefault(name, _Stillness())
            if mine and still.frozen(mine, other_w, cap_w, now):
                found.append(quantity)
        return tuple(found)


class _Stillness:
    """How long a service has repeated the same values, and what moved meanwhile."""

    def __init__(self) -> None:
        self._values: Optional[Tuple[Any, ...]] = None
        self._since = 0.0
        self._other_w: Optional[float] = None
        self._cap_w: Optional[float] = None
        self._moved = False

    def frozen(
        self,
        values: Tuple[Any, ...],
        other_w: Optional[float],
        cap_w: Optional[float],
        now: float,
    ) -> bool:
        if values != self._values:
            self._values, self._since, self._moved = values, now, False
            self._other_w, self._cap_w = other_w, cap_w
            return False
        self._moved = (
            self._moved
            or _apart(other_w, self._other_w) > FROZEN_OTHER_W
            or _apart(cap_w, self._cap_w) > FROZEN_CAP_W
        )
        return self._moved and now - self._since >= FROZEN_S


def sane(value: Any) -> Optional[float]:
    """A finite number of a plausible size; ``None`` for ``[]``, NaN, text or 1e9."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = float(value)
    return number if math.isfinite(number) and abs(number) <= ABSURD_W else None


def _apart(one: Optional[float], other: Optional[float]) -> float:
    return abs(one - other) if one is not None and other is not None else 0.0
